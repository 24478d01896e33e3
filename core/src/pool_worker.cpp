// The worker's loop, and settling what a dead worker has left.
//
// Orders: shm/task_word.hpp
//   A1 of a task's QUEUED, R2 of its settlement, R4 of the phase: as there
#include "pool_worker.hpp"

#include <cxxabi.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio_ext.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <typeinfo>

#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

using shm::TaskControl;
using shm::TaskLayout;
using shm::TaskState;
using shm::WorkerLayout;
using shm::WorkerPhase;

std::string demangled(const char* name) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> text(
        abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
    return text ? text.get() : name;
}

/// Of the exception that is being handled.
std::string current_exception_type() {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    return type == nullptr ? "unknown" : demangled(type->name());
}

/// What a task has printed is out before its result is: the worker may be ended at any time.
void flush_what_was_printed() noexcept {
    if (__fpending(stdout) != 0) [[unlikely]] {
        std::fflush(stdout);
    }
}

std::uint64_t number_in(const shm::ClaimedSlot& claimed) noexcept {
    std::byte word[sizeof(std::uint64_t)];
    shm::load_words<sizeof word>(word, claimed.payload(sizeof(shm::SlotLayout)));
    std::uint64_t number = 0;
    std::memcpy(&number, word, sizeof number);
    return number;
}

}  // namespace

std::span<const std::byte> TaskContext::arguments() const {
    return area_.arguments(task_, buffer_);
}

std::uint64_t TaskContext::function() const {
    return area_.task(task_).function;
}

std::byte* TaskContext::place_for(std::size_t bytes) {
    if (bytes > area_.result_room(task_)) {
        return nullptr;
    }
    area_.task(task_).result_bytes = static_cast<std::uint32_t>(bytes);
    return area_.result_place(task_);
}

void TaskContext::result(std::span<const std::byte> bytes) {
    area_.write_result(task_, bytes);
}

void PoolWorker::store_failure(std::uint32_t task, const char* type, const char* message) noexcept {
    try {
        // type, 0, message
        std::string text(type);
        text += '\0';
        text += message;
        area_.write_result(task, std::as_bytes(std::span(text)));
    } catch (...) {  // no memory for the text: the type alone, as much as fits
        const std::size_t bytes = std::min(std::strlen(type), area_.result_room(task));
        std::memcpy(area_.result_place(task), type, bytes);
        area_.task(task).result_bytes = static_cast<std::uint32_t>(bytes);
    }
}

shm::TaskState PoolWorker::call(std::uint32_t task) noexcept {
    TaskLayout& layout = area_.task(task);
    try {
        TaskContext context(area_, task, buffer_);
        reinterpret_cast<Thunk>(layout.thunk)(context);
        flush_what_was_printed();
        return TaskState::done;
    } catch (const std::exception& error) {
        store_failure(task, demangled(typeid(error).name()).c_str(), error.what());
    } catch (...) {
        store_failure(task, current_exception_type().c_str(), "not a std::exception");
    }
    flush_what_was_printed();
    return TaskState::failed;
}

void PoolWorker::settle(std::uint32_t task, TaskControl running, TaskState state) noexcept {
    TaskLayout& layout = area_.task(task);
    TaskControl seen = running;
    // R2. It fails when the owner asks for a report meanwhile, or has given everything up.
    while (!layout.control.compare_exchange_strong(seen.word, seen.with(state, index_).word,
                                                   std::memory_order_seq_cst,
                                                   std::memory_order_relaxed)) {
        if (seen.state() != TaskState::running) {
            return;
        }
    }
    if (seen.is_reported()) {
        area_.report(index_, task);
    } else {
        area_.announce(task);
    }
}

bool PoolWorker::serve_one() {
    QueueCore& queue = area_.queue();
    shm::ClaimedSlot claimed;
    try {
        if (!area_.spin(options_.wait, [&] {
                return queue.ring().claim_read(claimed) == shm::RingResult::done;
            })) {
            queue.claim_read(claimed, Deadline::never());
        }
    } catch (const Closed&) {
        return false;
    }
    const std::uint64_t number = number_in(claimed);
    const auto task = static_cast<std::uint32_t>(number) % PoolArea::kTasks;
    TaskLayout& layout = area_.task(task);
    const bool clocked = options_.task_timeout.count() > 0;
    if (clocked) {
        line_.started_ns.store(shm::monotonic_now_ns(), std::memory_order_relaxed);  // by I3
    }
    line_.current.store(number, std::memory_order_release);            // I3: after `started_ns`
    TaskControl seen{layout.control.load(std::memory_order_acquire)};  // A1
    TaskControl mine{};
    for (;;) {
        const bool current = seen.generation() == static_cast<std::uint32_t>(number >> 32U);
        const bool cancelled = seen.state() == TaskState::cancelled;
        if (!current || (!cancelled && seen.state() != TaskState::queued)) {
            // Delivered twice (I1), or lost with the pool.
            queue.ring().commit(claimed);
            line_.current.store(WorkerLayout::kNoTask, std::memory_order_release);  // I3
            return true;
        }
        mine = seen.with(cancelled ? TaskState::passed : TaskState::running, index_);
        // A1. seq_cst: of a cancelled task it is the settlement.
        if (layout.control.compare_exchange_strong(seen.word, mine.word, std::memory_order_seq_cst,
                                                   std::memory_order_acquire)) {
            break;
        }
    }
    queue.ring().commit(claimed);
    if (mine.state() == TaskState::passed) {
        area_.report(index_, task);
    } else {
        const std::int64_t started = mine.is_timed() ? shm::monotonic_now_ns() : std::int64_t{0};
        const TaskState state = call(task);
        if (mine.is_timed()) {  // before the settlement
            layout.duration_ns = static_cast<std::uint64_t>(shm::monotonic_now_ns() - started);
        }
        // relaxed: only this process writes it; a number for people. Before the settlement, so that
        // who has a result finds it counted.
        line_.tasks_done.store(line_.tasks_done.load(std::memory_order_relaxed) + 1,
                               std::memory_order_relaxed);
        settle(task, mine, state);
    }
    line_.current.store(WorkerLayout::kNoTask, std::memory_order_release);  // I3: after the report
    return true;
}

void PoolWorker::read_binding_back() const {
    constexpr std::size_t kBits = 64;
    std::uint64_t words[WorkerLayout::kCpuWords] = {};
    // The bare call: it copies what the kernel has, however many CPUs that are.
    if (::syscall(SYS_sched_getaffinity, 0, sizeof words, words) > 0) {
        for (std::size_t index = 0; index < WorkerLayout::kCpuWords; ++index) {
            line_.cpus[index].store(words[index], std::memory_order_relaxed);  // published by R4
        }
    }
    int mode = MPOL_DEFAULT;
    unsigned long mask[1024 / kBits] = {};
    int node = -1;
    if (::syscall(SYS_get_mempolicy, &mode, mask, sizeof mask * 8, nullptr, 0) == 0 &&
        mode == MPOL_PREFERRED) {
        for (std::size_t bit = 0; bit < sizeof mask * 8 && node < 0; ++bit) {
            if ((mask[bit / kBits] >> (bit % kBits) & 1U) != 0) {
                node = static_cast<int>(bit);
            }
        }
    }
    line_.node.store(node, std::memory_order_relaxed);  // published by R4
}

void PoolWorker::refuse(const char* reason) noexcept {
    std::snprintf(line_.text, sizeof line_.text, "%s", reason);
    line_.phase.store(WorkerPhase::refused, std::memory_order_release);  // R4
    area_.pool().results.notify_all();
}

int PoolWorker::live(const Binding& binding) noexcept {
    try {
        KeptObjects::begin_here();
        bind_this_thread(binding);
        read_binding_back();
        line_.pid.store(::getpid(), std::memory_order_relaxed);  // published by R4
        // seq_cst exchange, R4: before the look at the sleepers
        line_.phase.exchange(options_.initializer ? WorkerPhase::bound : WorkerPhase::working,
                             std::memory_order_seq_cst);
        area_.pool().results.notify_all();
        if (options_.initializer) {
            options_.initializer();
            line_.phase.store(WorkerPhase::working, std::memory_order_release);  // R4
        }
        for (std::size_t served = 0; serve_one();) {
            if (options_.max_tasks_per_child != 0 && ++served >= options_.max_tasks_per_child) {
                line_.phase.store(WorkerPhase::retiring, std::memory_order_release);  // R4
                break;
            }
        }
        return 0;
    } catch (const std::exception& error) {
        refuse((demangled(typeid(error).name()) + ": " + error.what()).c_str());
    } catch (...) {
        refuse(current_exception_type().c_str());
    }
    return 1;
}

void settle_dead_worker(PoolArea& area, const PoolOptions& options, std::uint32_t index,
                        const WorkerEnd& end) noexcept {
    // What it held on loan goes back to the queue, and who sleeps for it wakes.
    area.queue().ring().members().rescue();
    WorkerLayout& line = area.worker(index);
    const std::uint64_t number = line.current.load(std::memory_order_acquire);  // I3
    if (number == WorkerLayout::kNoTask) {
        return;
    }
    const auto task = static_cast<std::uint32_t>(number) % PoolArea::kTasks;
    TaskLayout& layout = area.task(task);
    TaskControl seen{layout.control.load(std::memory_order_acquire)};  // A2
    while (seen.generation() == static_cast<std::uint32_t>(number >> 32U) &&
           seen.state() == TaskState::running && seen.worker() == index) {
        const bool again = options.on_worker_death == OnWorkerDeath::retry && end.overdue == 0 &&
                           seen.deaths() < options.retries &&
                           seen.deaths() < TaskControl::kDeathsMax;
        if (again) {
            area.release_result(task);
            const TaskControl queued = seen.with(TaskState::queued, 0).with_death();
            // seq_cst: the next worker's claim comes after all that (A1)
            if (layout.control.compare_exchange_strong(
                    seen.word, queued.word, std::memory_order_seq_cst, std::memory_order_acquire)) {
                try {
                    area.put(number);
                } catch (const std::exception&) {
                    // The queue is closed: the pool is being terminated, which loses the task.
                }
                break;
            }
            continue;
        }
        const shm::DeathNote note{end.pid, end.status, end.overdue};
        // Nobody reads the arguments any more.
        std::memcpy(layout.inline_bytes, &note, sizeof note);
        // R2
        if (layout.control.compare_exchange_strong(
                seen.word, seen.with(TaskState::died, index).word, std::memory_order_seq_cst,
                std::memory_order_acquire)) {
            seen = seen.with(TaskState::died, index);
        }
    }
    if (seen.generation() == static_cast<std::uint32_t>(number >> 32U) && seen.is_settled()) {
        // Perhaps a second time: the owner looks at the word, and finds it free.
        if (seen.is_reported()) {
            area.report(index, task);
        } else {
            area.announce(task);
        }
    }
    line.current.store(WorkerLayout::kNoTask, std::memory_order_release);  // I4
}

}  // namespace sluice::detail
