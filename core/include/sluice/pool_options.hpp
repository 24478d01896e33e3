// How a Pool is made, and what it says of its workers.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// What becomes of a task whose worker dies: it fails with WorkerDied, or another worker runs it
/// again, from the beginning, up to PoolOptions::retries times.
enum class OnWorkerDeath { fail_task, retry };

/// How a Pool is made.
///
/// workers              0: one for each CPU that this process can really use (cpu_count()).
/// placement            Where they run: see plan().
/// initializer          Runs in each worker before its first task. A worker that dies or throws in
///                      it is replaced; the third time in a row the Pool is broken.
/// on_worker_death      What becomes of its task; `retries`: how often that is run again at most.
/// max_tasks_per_child  A worker that has done so many is replaced by a fresh one. 0: never.
/// task_timeout         A worker whose task takes longer is killed and replaced; the task fails
///                      with WorkerDied and is not retried. 0: no limit.
/// wait                 How idle workers, and callers of the Pool, wait.
struct PoolOptions {
    std::size_t workers{};
    Placement placement{};
    std::function<void()> initializer{};
    std::size_t max_tasks_per_child{};
    OnWorkerDeath on_worker_death{};
    unsigned retries{3};
    std::chrono::nanoseconds task_timeout{};
    Wait wait{};
    MemoryOptions memory{};  ///< where its memory lies
};

/// One worker. pid: 0 while none lives. binding: read back from the kernel. tasks_done: with those
/// of the workers that it replaced.
struct WorkerInfo {
    pid_t pid{};
    Binding binding{};
    std::uint64_t tasks_done{};
};

}  // namespace sluice
