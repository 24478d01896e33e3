// Who a process is, beyond its pid: pids are reused, and mean different things in
// different PID namespaces.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace sluice::shm {

/// A process, named so that no other process of this boot can be taken for it.
struct ProcessIdentity {
    std::uint64_t nonce{};          // random, never 0: what shared memory refers to
    std::uint64_t start_time{};     // clock ticks since boot (10 ms: not unique alone)
    std::uint64_t pid_namespace{};  // inode of /proc/self/ns/pid, 0 where unknown
    std::uint64_t pidfd_inode{};    // unique for the boot since Linux 6.9, 0 where unknown
    std::int32_t pid{};             // in its own namespace
};

/// This process. Made at the first call, and anew in every child made by fork.
/// Errors: none; fields that the kernel does not tell are 0.
const ProcessIdentity& this_process() noexcept;

/// Another process of this PID namespace, as far as the kernel tells; nonce is 0. For
/// a child that has not yet said itself who it is.
ProcessIdentity identify(pid_t pid) noexcept;

/// What the kernel says about a process that was seen earlier.
enum class Liveness : std::uint8_t { alive, dead, unknown };

/// Asks the kernel whether that process still runs. A zombie is dead. Another PID
/// namespace is `unknown`, and unknown must be treated as alive. May stay `alive`
/// until a dead process's memory is torn down (85 ms at 1 GiB).
/// Blocks: never. Cost: two to four system calls. Source: pidfd_open(2); /proc/PID/stat.
Liveness process_liveness(const ProcessIdentity& identity) noexcept;

/// Random bits from the kernel; never 0.
std::uint64_t random_nonce() noexcept;

}  // namespace sluice::shm
