// The asymmetric fence: publishers of a single-producer ring pay nothing, who goes to
// sleep pays a system call.
//
// A plain store followed by a load of the sleepers' word may be reordered (the store waits in
// the store buffer): publisher and waiter could miss each other. Instead of a fence at each
// message, a waiter that has announced itself makes every CPU that runs a registered process
// execute one: membarrier(2), MEMBARRIER_CMD_GLOBAL_EXPEDITED. After it, a publisher's earlier
// stores are visible to the waiter's next look, and its later loads see the announcement.
//
// Measured (bench/pipe_bench, stream of 8 B): an exchange at each message costs about
// 7 ns on Zen 3, more than all the rest of the send.
#pragma once

namespace sluice::shm {

/// Registers this process as a publisher (once; again in each child). False where the
/// kernel lacks the command or a filter forbids it: then publishers must use a full
/// fence, and waiters' sleeps are short.
bool register_for_heavy_fence() noexcept;

/// Makes every running publisher execute a full fence. No effect where it is not available.
/// Cost: a system call, and an interrupt to each CPU that runs a registered process.
void heavy_fence() noexcept;

/// The publisher's part: keeps the compiler from moving the load above the store; the
/// processor is taken care of by heavy_fence().
inline void light_fence() noexcept {
    asm volatile("" ::: "memory");
}

}  // namespace sluice::shm
