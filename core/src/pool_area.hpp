// A Pool's shared memory as its processes see it: the queue of task numbers, and the segment with
// the table of tasks, the workers' lines and their rings of reports (shm/task_word.hpp). Owner,
// nursery and workers use the same object: the last two have it by fork.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sluice/detail/queue_core.hpp"
#include "sluice/placement.hpp"
#include "sluice/shm/segment.hpp"
#include "sluice/shm/task_word.hpp"

namespace sluice::detail {

class PoolArea {
 public:
    static constexpr std::uint32_t kTasks = shm::PoolShape::kTasks;
    static constexpr std::uint64_t kReports = shm::PoolShape::kReports;
    static constexpr std::uint64_t kQueueCapacity = kReports;  // for the same reason

    /// Errors: std::system_error: no memory.
    PoolArea(std::uint32_t workers, Wait wait, const MemoryOptions& memory);

    [[nodiscard]] std::uint32_t workers() const noexcept { return workers_; }
    [[nodiscard]] shm::PoolLayout& pool() const noexcept { return *pool_; }
    [[nodiscard]] shm::TaskLayout& task(std::uint32_t index) const noexcept {
        return tasks_[index];
    }
    [[nodiscard]] shm::WorkerLayout& worker(std::uint32_t index) const noexcept {
        return lines_[index];
    }
    [[nodiscard]] QueueCore& queue() const noexcept { return *queue_; }
    /// The nursery is the only member: its bell is the pool's.
    [[nodiscard]] shm::Members& members() const noexcept { return segment_->members(); }

    /// Memory that the kernel holds for the table, that beside it included. Units: bytes.
    [[nodiscard]] std::uint64_t memory_bytes() const noexcept {
        return segment_->mapping().bytes_allocated();
    }

    /// Puts a task's number. Throws Closed, std::system_error as Queue's put.
    void put(std::uint64_t number) const;

    /// Says that the task is settled, in the ring of that worker. Callers: that worker, or the
    /// nursery once it has ended.
    void report(std::uint32_t worker, std::uint32_t task) const noexcept;
    /// The owner's look at the report of that position.
    [[nodiscard]] bool read_report(std::uint32_t worker, std::uint64_t position,
                                   std::uint32_t& task) const noexcept {
        const std::uint64_t seen =
            reports_of(worker)[position % kReports].load(std::memory_order_acquire);  // A3
        task = static_cast<std::uint32_t>(seen) % kTasks;
        return seen >> 32U == lap_of(position);
    }

    /// Wakes who waits for a task that is not reported.
    void announce(std::uint32_t task) const noexcept {
        tasks_[task].settled.notify_all();
        pool_->batches.notify_all();
    }

    /// Where the bytes lie: in the task, or, read from beside it, in `buffer`.
    /// Throws std::system_error.
    std::span<const std::byte> arguments(std::uint32_t task, std::vector<std::byte>& buffer) const;
    std::span<const std::byte> result(std::uint32_t task, std::vector<std::byte>& buffer) const;
    /// Stores them. Throws std::length_error above 4 GiB; std::system_error where there is no
    /// memory beside the table.
    void write_arguments(std::uint32_t task, std::span<const std::byte> bytes) const;
    void write_result(std::uint32_t task, std::span<const std::byte> bytes) const;
    /// Gives the memory beside the task back: of a result, perhaps half-written; all.
    void release_result(std::uint32_t task) const noexcept;
    void release_extents(std::uint32_t task) const noexcept;

    /// Tries for a while before its caller goes to sleep, where that may pay. Not SpinBudget: that
    /// rightly does not spin where its process may run on one CPU only, but a worker is bound to
    /// one, and who it waits for is elsewhere. Units: about what a wake-up through the kernel costs
    /// on a virtual machine, so that no more than that is lost.
    template <class Attempt>
    [[nodiscard]] bool spin(Wait wait, Attempt&& attempt) const {
        constexpr std::int64_t kSpinNs = 50'000;
        constexpr unsigned kLooksPerClock = 64;
        if (attempt()) {
            return true;
        }
        if (wait != Wait::spin_then_park || !may_spin_) {
            return false;
        }
        const Deadline until = Deadline::never().chunk(kSpinNs);
        do {
            for (unsigned look = 0; look < kLooksPerClock; ++look) {
                shm::spin_pause();
                if (attempt()) {
                    return true;
                }
            }
        } while (!until.has_passed());
        return false;
    }

    /// How many bytes of result fit into the task.
    [[nodiscard]] std::size_t result_room(std::uint32_t task) const noexcept {
        return shm::TaskLayout::kInlineBytes -
               shm::TaskLayout::result_offset(tasks_[task].argument_bytes);
    }
    [[nodiscard]] std::byte* result_place(std::uint32_t task) const noexcept {
        return tasks_[task].inline_bytes +
               shm::TaskLayout::result_offset(tasks_[task].argument_bytes);
    }

 private:
    static constexpr std::uint64_t lap_of(std::uint64_t position) noexcept {
        return (position / kReports + 1) & 0xffff'ffffU;
    }
    [[nodiscard]] shm::ReportEntry* reports_of(std::uint32_t worker) const noexcept {
        return reports_ + worker * kReports;
    }
    static std::uint64_t argument_extent(std::uint32_t task) noexcept {
        return static_cast<std::uint64_t>(task) << shm::TaskLayout::kExtentShift;
    }
    static std::uint64_t result_extent(std::uint32_t task) noexcept {
        return argument_extent(task) + (1ULL << (shm::TaskLayout::kExtentShift - 1U));
    }

    std::uint32_t workers_;
    bool may_spin_;  // owner and workers need not share one CPU
    std::shared_ptr<QueueCore> queue_;
    std::shared_ptr<shm::Segment> segment_;
    shm::PoolLayout* pool_;
    shm::WorkerLayout* lines_;
    shm::ReportEntry* reports_;
    shm::TaskLayout* tasks_;
};

}  // namespace sluice::detail
