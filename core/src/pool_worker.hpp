// A Pool's worker: takes numbers from the queue, runs the tasks, reports. And what the nursery does
// about one that died.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "pool_area.hpp"
#include "sluice/detail/pool_core.hpp"

namespace sluice::detail {

class PoolWorker {
 public:
    PoolWorker(PoolArea& area, const PoolOptions& options, std::uint32_t index) noexcept
        : area_(area), options_(options), index_(index), line_(area.worker(index)) {}

    /// Waits for a task and does it. False once the queue is closed and drained.
    /// Crash: before the claim of the task it is another worker's; from then on until it is settled
    /// it is DIED, or QUEUED again; from then on it is reported by the nursery, if need be.
    bool serve_one();

    /// Binds itself, runs the initializer, serves. Returns the exit code.
    int live(const Binding& binding) noexcept;

 private:
    void settle(std::uint32_t task, shm::TaskControl running, shm::TaskState state) noexcept;
    [[nodiscard]] shm::TaskState call(std::uint32_t task) noexcept;
    void store_failure(std::uint32_t task, const char* type, const char* message) noexcept;
    void read_binding_back() const;
    void refuse(const char* reason) noexcept;

    PoolArea& area_;
    const PoolOptions& options_;
    std::uint32_t index_;
    shm::WorkerLayout& line_;
    std::vector<std::byte> buffer_{};
};

/// How a worker ended.
struct WorkerEnd {
    pid_t pid{};
    int status{};            // as waitpid gives it
    std::int64_t overdue{};  // not 0: killed because its task ran longer than so many ns
};

/// Settles what the dead worker of that line has left: its loans go back to the queue; the task
/// that it ran is DIED, or QUEUED again; one that it had settled is reported.
/// Callers: the nursery, once the kernel says that the worker has ended. May be repeated.
void settle_dead_worker(PoolArea& area, const PoolOptions& options, std::uint32_t index,
                        const WorkerEnd& end) noexcept;

}  // namespace sluice::detail
