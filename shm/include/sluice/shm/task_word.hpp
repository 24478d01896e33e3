// What a Pool's processes share: the table of tasks, a line for each worker, and the words between
// the owner and the nursery. Hand-out goes through a queue of task numbers; the truth is the task's
// control word, which carries who runs it.
//
//   control:   generation:32 | deaths:8 | flags:4 | state:4 | worker:16
//
//   FREE(g)        --owner: arguments written, then its number is put-->  QUEUED(g)
//   QUEUED(g)      --worker w-->         RUNNING(g, w)
//   QUEUED(g)      --owner: cancel-->    CANCELLED(g)
//   RUNNING(g, w)  --worker w-->         DONE(g, w) | FAILED(g, w)
//   RUNNING(g, w)  --nursery, w died-->  DIED(g, w) | QUEUED(g) with one more death
//   QUEUED, RUNNING --nursery gone-->    LOST(g)
//   CANCELLED(g)   --worker w, who meets its number-->  PASSED(g, w)
//   DONE, FAILED, DIED, LOST, PASSED  --owner-->  FREE(g + 1)
//
// I1 a number delivered twice does no harm: only one compare-and-swap from QUEUED(g) succeeds. A
//    number is never lost: the worker holds it on loan until that compare-and-swap has happened.
// I2 only worker w, or the nursery that has proof of w's end, leaves RUNNING(g, w); and after LOST
//    nothing in the pool is used again.
// I3 before a worker claims a task it says so in its own line (`current`), and it clears that after
//    it has reported: so upon its death one word tells what it may have left undone.
// I4 the nursery settles what the dead has left before it makes the next worker of that line.
//
// Orders, of the operations in core/src/pool_*.cpp:
//   R1 control QUEUED  -> A1 : the worker sees thunk and arguments
//   R2 control settled -> A2 : the owner sees the result; seq_cst, before the look at the sleepers
//      (waiting.hpp: S3, S4)
//   R3 a report        -> A3 : the owner finds the task settled; seq_cst, as R2
//   R4 worker's phase  -> A4 : the owner sees where it is bound, the nursery why it failed
//   R5 pool's state    -> A5 : the owner sees the text that says why
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/facts.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice::shm {

enum class TaskState : std::uint8_t {
    free,
    queued,
    running,
    cancelled,
    done,
    failed,  // it threw: the type's name and the message are the result
    died,    // its worker did: DeathNote
    lost,    // the pool broke, or was terminated
    passed,  // cancelled, and out of the queue
};

/// The control word, taken apart.
struct TaskControl {
    static constexpr unsigned kStateShift = 16;
    static constexpr unsigned kFlagShift = 20;
    static constexpr unsigned kDeathShift = 24;
    static constexpr unsigned kGenerationShift = 32;
    /// The worker reports the end in its ring; else somebody looks at the word.
    static constexpr std::uint64_t kReport = 1ULL << kFlagShift;
    /// The worker measures how long it takes.
    static constexpr std::uint64_t kTimed = 2ULL << kFlagShift;
    static constexpr std::uint32_t kDeathsMax = 255;

    std::uint64_t word;

    static constexpr TaskControl make(std::uint32_t generation, TaskState state,
                                      std::uint64_t flags) noexcept {
        return {(static_cast<std::uint64_t>(generation) << kGenerationShift) | flags |
                (static_cast<std::uint64_t>(state) << kStateShift)};
    }
    constexpr std::uint32_t generation() const noexcept {
        return static_cast<std::uint32_t>(word >> kGenerationShift);
    }
    constexpr TaskState state() const noexcept {
        return static_cast<TaskState>((word >> kStateShift) & 15U);
    }
    constexpr std::uint32_t deaths() const noexcept { return (word >> kDeathShift) & 255U; }
    constexpr std::uint32_t worker() const noexcept { return word & 0xffffU; }
    constexpr bool is_reported() const noexcept { return (word & kReport) != 0; }
    constexpr bool is_timed() const noexcept { return (word & kTimed) != 0; }
    constexpr bool is_settled() const noexcept { return state() >= TaskState::done; }

    /// The same task in another state, by that worker.
    constexpr TaskControl with(TaskState state, std::uint32_t worker) const noexcept {
        constexpr std::uint64_t kBoth = (15ULL << kStateShift) | 0xffffU;
        return {(word & ~kBoth) | (static_cast<std::uint64_t>(state) << kStateShift) | worker};
    }
    constexpr TaskControl with_report() const noexcept { return {word | kReport}; }
    constexpr TaskControl with_death() const noexcept { return {word + (1ULL << kDeathShift)}; }
    constexpr TaskControl next() const noexcept {
        return make(generation() + 1, TaskState::free, 0);
    }
};

/// What travels through the queue, and what a worker announces: generation:32 | task index:32.
constexpr std::uint64_t task_number(std::uint32_t index, std::uint32_t generation) noexcept {
    return (static_cast<std::uint64_t>(generation) << 32U) | index;
}

/// Why a task is DIED.
struct DeathNote {
    std::int32_t pid;
    std::int32_t status;   // as waitpid gives it
    std::int64_t overdue;  // not 0: it was killed because the task ran longer than this, in ns
};

/// One task. Small arguments and results share the first line with the control word.
struct TaskLayout {
    static constexpr std::size_t kBytes = 256;
    static constexpr std::size_t kInlineBytes = kBytes - 48;
    static constexpr std::uint64_t kBytesMax = 0xffff'ffffU;
    /// What does not fit lies beside the table, in the same sparse file: arguments in the first
    /// half of this range, the result in the second.
    static constexpr unsigned kExtentShift = 36;

    alignas(kIsolationBytes) std::atomic<std::uint64_t> control;
    std::uint64_t thunk;           // code of the image that all of the pool's processes share
    std::uint64_t function;        // the same, where the task is a call through a pointer
    std::uint32_t argument_bytes;  // above kInlineBytes: beside the table
    std::uint32_t result_bytes;    // above what the arguments leave of kInlineBytes: beside it
    std::uint64_t duration_ns;     // where the task was to be timed
    EventCountLayout settled;      // who waits for just this task sleeps here
    std::byte inline_bytes[kInlineBytes];  // the arguments, then the result at a multiple of 8

    static constexpr std::size_t result_offset(std::uint64_t argument_bytes) noexcept {
        return argument_bytes > kInlineBytes ? 0 : round_up(argument_bytes, 8);
    }
};
static_assert(sizeof(TaskLayout) == TaskLayout::kBytes);
static_assert(offsetof(TaskLayout, settled) == 40 && offsetof(TaskLayout, inline_bytes) == 48);

/// How far a worker has come in its life.
enum class WorkerPhase : std::uint32_t {
    none,
    forked,
    bound,     // runs where it is to run
    working,   // its initializer has returned
    retiring,  // has done max_tasks_per_child tasks, ends of its own accord
    refused,   // could not start: `text` says why
};

/// One worker's lines. A successor takes them over.
struct WorkerLayout {
    static constexpr std::size_t kCpuWords = 16;
    static constexpr std::size_t kTextBytes = 192;

    alignas(kIsolationBytes) std::atomic<std::uint64_t> current;  // I3: task_number, kNoTask
    std::atomic<std::int64_t> started_ns;   // when, where tasks have a time limit
    std::atomic<std::uint64_t> tasks_done;  // by all who had this line
    std::atomic<std::uint64_t> reported;    // a lower bound of where the ring's next report is
    std::atomic<WorkerPhase> phase;         // R4
    std::atomic<std::int32_t> pid;          // 0: none lives
    std::atomic<std::int32_t> node;         // read back, as the CPUs
    std::uint32_t reserved;
    alignas(kIsolationBytes) std::atomic<std::uint64_t> cpus[kCpuWords];
    char text[kTextBytes];

    static constexpr std::uint64_t kNoTask = ~0ULL;
};
static_assert(sizeof(WorkerLayout) == 512 && offsetof(WorkerLayout, cpus) == 128);

/// One entry of a worker's ring of reports: lap:32 | task index:32. The lap says that it is
/// written; laps begin at 1, so that fresh memory holds no report.
using ReportEntry = std::atomic<std::uint64_t>;

enum class PoolState : std::uint32_t {
    running,
    broken,  // `text` says why; the nursery has ended the workers, or is about to
    ended,   // by the owner's wish
};

/// What the owner asks of the nursery.
enum class PoolRequest : std::uint32_t { run, finish, terminate };

/// The words between owner and nursery; the tasks, the workers' lines and their rings follow.
struct PoolLayout {
    static constexpr std::size_t kTextBytes = 256;

    alignas(kIsolationBytes) EventCountLayout results;  // who waits for reports sleeps here: R3
    EventCountLayout batches;                           // who waits for one of many: R2
    std::atomic<PoolState> state;                       // R5
    std::atomic<PoolRequest> request;
    std::uint32_t workers;  // constant
    alignas(kIsolationBytes) char text[kTextBytes];
};
static_assert(sizeof(PoolLayout) == 384 && offsetof(PoolLayout, text) == 128);
static_assert(offsetof(PoolLayout, workers) == 24);

/// Where they follow.
struct PoolShape {
    static constexpr std::uint32_t kTasks = 4096;
    // A number may be in the queue twice, a report in a ring: once more for each death that nobody
    // has looked at yet.
    static constexpr std::uint64_t kReports = 2ULL * kTasks;

    std::uint32_t workers{};

    constexpr std::size_t lines_offset() const noexcept { return sizeof(PoolLayout); }
    constexpr std::size_t reports_offset() const noexcept {
        return lines_offset() + workers * sizeof(WorkerLayout);
    }
    constexpr std::size_t tasks_offset() const noexcept {
        return reports_offset() + workers * kReports * sizeof(ReportEntry);
    }
    constexpr std::size_t bytes() const noexcept {
        return tasks_offset() + kTasks * sizeof(TaskLayout);
    }
    static constexpr std::uint64_t layout_signature() noexcept {
        return fnv1a("sluice pool: words, workers; lines, reports, tasks");
    }
};

}  // namespace sluice::shm
