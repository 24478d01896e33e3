// The untyped body of Pool: handing tasks out, collecting what became of them, and telling who
// waits. Pool<>'s templates add only the copying of arguments and results.
//
// Three kinds of tasks share the table: those that a caller waits for (apply), those of a window
// that a caller works through (map, imap), and those that workers report (apply_async, map_async),
// which whoever comes by collects: a getter, a submitter that finds no room, else the handler
// thread, which also runs the callbacks.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "sluice/pool_options.hpp"
#include "sluice/shm/task_word.hpp"
#include "sluice/wait.hpp"

namespace sluice {

namespace detail {

class PoolArea;
class PoolCore;

/// A task as its function in the worker sees it.
class TaskContext {
 public:
    TaskContext(PoolArea& area, std::uint32_t task, std::vector<std::byte>& buffer)
        : area_(area), buffer_(buffer), task_(task) {}

    [[nodiscard]] std::span<const std::byte> arguments() const;
    [[nodiscard]] std::uint64_t function() const;
    /// Stores the result. `write(place)` fills that many bytes, in the task where they fit.
    template <class Write>
    void result(std::size_t bytes, Write&& write) {
        if (std::byte* const place = place_for(bytes)) [[likely]] {
            write(place);
            return;
        }
        std::vector<std::byte> large(bytes);
        write(large.data());
        result(large);
    }
    void result(std::span<const std::byte> bytes);

 private:
    [[nodiscard]] std::byte* place_for(std::size_t bytes);

    PoolArea& area_;
    std::vector<std::byte>& buffer_;
    std::uint32_t task_;
};

/// Decodes the arguments, calls, stores the result. Runs in the worker; found there at the same
/// address, since the worker is a copy of the owner.
using Thunk = void (*)(TaskContext& context);

/// What is to be done: the arguments are copied.
struct TaskOrder {
    Thunk thunk{};
    std::uint64_t function{};
    std::span<const std::byte> arguments{};
    bool timed{};
};

/// What became of a task.
struct TaskOutcome {
    std::exception_ptr error{};           // none: it returned
    std::span<const std::byte> result{};  // valid until the next outcome of this thread
    std::chrono::nanoseconds duration{};
};

/// What an AsyncResult leads to: one task, or the parts of a map.
class AsyncCore : public std::enable_shared_from_this<AsyncCore> {
 public:
    AsyncCore(std::shared_ptr<PoolCore> pool, std::uint32_t parts);
    AsyncCore(const AsyncCore&) = delete;
    AsyncCore& operator=(const AsyncCore&) = delete;
    virtual ~AsyncCore() = default;

    [[nodiscard]] bool wait(Deadline deadline);
    [[nodiscard]] bool ready() const noexcept {
        return settled_.load(std::memory_order_acquire);  // A6
    }
    /// Requires ready().
    [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
    bool cancel();
    /// Of a map of nothing.
    void settle_empty() noexcept { settled_.store(true, std::memory_order_seq_cst); }  // R6
    /// Runs it on the handler thread once this is settled.
    void then(std::function<void()> callback);

 protected:
    /// Takes the result of one part; may throw, then that is the result.
    virtual void take(std::uint32_t part, std::span<const std::byte> result) = 0;

 private:
    friend class PoolCore;
    // Where a part is: in the owner's memory, or a task number.
    static constexpr std::uint64_t kWaiting = ~0ULL;
    static constexpr std::uint64_t kGone = kWaiting - 1;

    void part_ended(std::uint32_t part, const TaskOutcome& outcome) noexcept;

    std::shared_ptr<PoolCore> pool_;
    // Most have one: that needs no memory of its own.
    [[nodiscard]] std::uint64_t& place_of(std::uint32_t part) noexcept {
        return parts_.empty() ? part_ : parts_[part];
    }
    [[nodiscard]] std::uint32_t part_count() const noexcept {
        return parts_.empty() ? 1 : static_cast<std::uint32_t>(parts_.size());
    }

    std::uint64_t part_;                // under the pool's mutex, as what follows
    std::vector<std::uint64_t> parts_;  // where there are several
    std::uint32_t open_;                // parts; under the mutex below, as what follows
    std::mutex mutex_{};
    std::vector<std::function<void()>> callbacks_{};
    std::exception_ptr error_{};        // the first
    std::atomic<bool> settled_{false};  // R6: value and error are there
    shm::EventCountLayout waiters_{};
    shm::SpinBudget spin_{};
};

class TaskWindow;

class PoolCore : public std::enable_shared_from_this<PoolCore> {
 public:
    static std::shared_ptr<PoolCore> make(const PoolOptions& options);
    explicit PoolCore(const PoolOptions& options);
    PoolCore(const PoolCore&) = delete;
    PoolCore& operator=(const PoolCore&) = delete;
    ~PoolCore();

    /// Does the task and waits for it. `take` gets the result; throws what became of it.
    void run(const TaskOrder& order, void (*take)(void*, std::span<const std::byte>),
             void* context);
    /// Queues one part of an asynchronous task.
    void submit(const TaskOrder& order, const std::shared_ptr<AsyncCore>& task, std::uint32_t part);
    /// Whether new tasks are taken; throws if not.
    void require_open();

    void close();
    void join();
    void terminate() noexcept;
    [[nodiscard]] std::vector<WorkerInfo> workers() const;
    [[nodiscard]] std::uint32_t worker_count() const noexcept;
    /// The last segment that the workers have from this process: Segment::last_serial().
    [[nodiscard]] std::uint64_t inherited() const noexcept { return inherited_; }
    /// Throws NotPermitted in a child.
    void require_here() const;

 private:
    friend class AsyncCore;
    friend class TaskWindow;

    struct Waiting {
        Thunk thunk{};
        std::uint64_t function{};
        bool timed{};
        std::uint32_t part{};
        std::shared_ptr<AsyncCore> task{};
        std::vector<std::byte> arguments{};
    };
    struct Entry {  // what the owner knows of a task in the table
        std::shared_ptr<AsyncCore> async{};
        std::uint32_t part{};
        std::uint64_t serial{};
    };
    static constexpr std::uint32_t kNoTask = ~0U;

    std::uint32_t take_slot(std::uint64_t& serial);
    void hand_out(std::uint32_t task, const TaskOrder& order, std::uint64_t flags);
    [[nodiscard]] bool is_settled(std::uint32_t task) const noexcept;
    void wait_settled(std::uint32_t task);
    TaskOutcome outcome_of(std::uint32_t task, std::uint64_t serial);
    void recycle(std::uint32_t task) noexcept;
    void give_back(std::span<const std::uint32_t> tasks);
    void abandon(std::uint32_t task, std::vector<std::uint32_t>& freed);

    std::size_t try_collect() noexcept;
    std::size_t collect_all() noexcept;
    std::size_t collect() noexcept;
    void collect_lost() noexcept;
    void collect_one(std::uint32_t task) noexcept;
    void flush_freed() noexcept;
    void refill() noexcept;
    void count_down(std::size_t tasks) noexcept;
    bool cancel(AsyncCore& task);

    void need_handler() {
        // relaxed: only whether it was made; what it works on has locks of its own
        if (!handler_is_there_.load(std::memory_order_relaxed)) [[unlikely]] {
            make_handler();
        }
    }
    void make_handler();
    std::uint64_t next_serial() noexcept {
        return serial_.fetch_add(1, std::memory_order_relaxed) + 1;  // only a number
    }
    void handle() noexcept;
    void post(std::shared_ptr<AsyncCore> task);
    bool run_callbacks() noexcept;
    void stop_handler() noexcept;

    /// Looks whether the nursery is well; if not, everything outstanding is lost. What to sleep on
    /// beside one's own word.
    shm::FutexWatch look_after_nursery() noexcept;
    void lose_all() noexcept;
    [[nodiscard]] std::exception_ptr broken_error() const;
    void end_nursery(shm::PoolRequest request) noexcept;
    void await_workers();

    std::unique_ptr<PoolArea> area_;
    PoolOptions options_;
    std::uint32_t generation_;  // of forks
    std::uint64_t inherited_{};
    pid_t nursery_{};
    int nursery_pidfd_{-1};
    int request_{-1};
    shm::SpinBudget spin_{};

    std::mutex mutex_{};  // guards what follows
    std::vector<std::uint32_t> free_{};
    std::deque<Waiting> backlog_{};
    std::vector<Entry> entries_;
    bool closed_{};

    std::mutex collecting_{};  // guards what follows
    std::vector<std::uint64_t> collected_;
    std::vector<std::uint32_t> freed_{};
    std::vector<std::byte> buffer_{};

    std::mutex ending_{};  // guards the end of the nursery and of the handler
    bool nursery_ended_{};

    std::atomic<std::uint64_t> serial_{0};     // of tasks, for people
    std::atomic<std::size_t> outstanding_{0};  // tasks and callbacks
    std::atomic<bool> lost_{false};
    std::atomic<bool> terminated_{false};
    std::atomic<std::uint32_t> slot_waiters_{0};
    shm::EventCountLayout idle_{};
    std::atomic<std::uint32_t> submitted_{0};

    std::mutex handler_mutex_{};  // guards what follows
    std::deque<std::shared_ptr<AsyncCore>> settled_{};
    std::unique_ptr<std::thread> handler_{};
    std::atomic<bool> handler_is_there_{false};  // a submission need not look under the mutex
    std::atomic<bool> stop_{false};
    std::atomic<std::size_t> posted_{0};
};

/// Some places of the table that one caller works through: it starts tasks in them, looks which
/// are settled, and uses the places again.
class TaskWindow {
 public:
    /// Takes up to `wanted` places, at least one. Blocks: until there is one.
    TaskWindow(std::shared_ptr<PoolCore> pool, std::size_t wanted);
    TaskWindow(const TaskWindow&) = delete;
    TaskWindow& operator=(const TaskWindow&) = delete;
    /// What has not started is cancelled; what has is left to end by itself.
    ~TaskWindow();

    [[nodiscard]] std::size_t size() const noexcept { return places_.size(); }
    [[nodiscard]] bool in_use(std::size_t place) const noexcept { return places_[place].in_use; }
    void start(std::size_t place, const TaskOrder& order);
    [[nodiscard]] bool settled(std::size_t place) const noexcept;
    /// Waits until that place, or one of all, is settled.
    void wait(std::size_t place);
    void wait_any();
    /// Of a settled place, which is free afterwards. `take(result, duration)`; throws what became
    /// of the task.
    template <class Take>
    void finish(std::size_t place, Take&& take) {
        struct Free {
            TaskWindow& window;
            std::size_t place;
            ~Free() { window.recycle(place); }
        } free{*this, place};
        const TaskOutcome outcome = outcome_of(place);
        if (outcome.error) [[unlikely]] {
            std::rethrow_exception(outcome.error);
        }
        take(outcome.result, outcome.duration);
    }

 private:
    struct Place {
        std::uint32_t task{};
        bool in_use{};
        std::uint64_t serial{};
    };
    TaskOutcome outcome_of(std::size_t place);
    void recycle(std::size_t place) noexcept;
    [[nodiscard]] bool any_settled() const noexcept;

    std::shared_ptr<PoolCore> pool_;
    std::vector<Place> places_{};
    shm::SpinBudget spin_{};
};

}  // namespace detail
}  // namespace sluice
