// Sleeping and waking between processes: the futex system calls without
// FUTEX_PRIVATE_FLAG. std::atomic::wait cannot be used: libstdc++ waits on private
// futexes, which no other process can wake.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "sluice/shm/deadline.hpp"

namespace sluice::shm {

using FutexWord = std::atomic<std::uint32_t>;
static_assert(sizeof(FutexWord) == 4 && FutexWord::is_always_lock_free);

/// Why a wait ended. `gone`: the word is no longer mapped memory (the kernel answered EFAULT).
enum class FutexResult : std::uint8_t { woken, value_changed, timed_out, gone };

/// Sleeps while `word` holds `expected`.
/// Blocks: until woken, the value differs, or the deadline. Wake-ups may be spurious:
/// re-check the condition.
/// Units: the deadline is absolute on CLOCK_MONOTONIC. EINTR is retried inside.
/// Crash: nothing is left behind; the kernel forgets a dead sleeper.
/// Source: futex(2), FUTEX_WAIT_BITSET.
FutexResult futex_wait(const FutexWord& word, std::uint32_t expected, Deadline deadline) noexcept;

/// Wakes up to `count` sleepers; returns how many.
/// Blocks: never. Source: futex(2), FUTEX_WAKE.
unsigned futex_wake(const FutexWord& word, unsigned count) noexcept;

/// Wakes one sleeper and says whether others still sleep on `word`.
/// Blocks: never. Cost: one system call. Source: futex(2), FUTEX_CMP_REQUEUE from the
/// word to itself: its result counts woken and requeued sleepers, so 2 means that at
/// least one is left. Gives `none` (nobody slept), `last` (one did) or `others_sleep`;
/// `value_changed` if the word is not `expected`.
enum class WakeOne : std::uint8_t { none, last, others_sleep, value_changed };
WakeOne futex_wake_one(const FutexWord& word, std::uint32_t expected) noexcept;

/// Adds `operand` (0 to 2047) to `target` and wakes up to `count` sleepers of `word`,
/// in one system call that no SIGKILL can split: what was published is also announced.
/// Returns how many were woken. Source: futex(2), FUTEX_WAKE_OP with FUTEX_OP_ADD.
unsigned futex_add_and_wake(FutexWord& target, std::uint32_t operand, const FutexWord& word,
                            unsigned count) noexcept;

/// One word that futex_wait_any watches.
struct FutexWatch {
    const FutexWord* word{};
    std::uint32_t expected{};
};

/// Sleeps while every watched word holds its expected value (at most 128 words).
/// Who is woken by another than the first wakes all who sleep on that one: it is a bell, which the
/// kernel rings for one sleeper only, and a death may concern others than him.
/// Blocks: as futex_wait. Where the kernel has no futex_waitv (before 5.16, or
/// forbidden) it watches the first word only and sleeps in chunks of one millisecond,
/// so that a change of the others is seen that late.
/// Source: futex_waitv(2).
FutexResult futex_wait_any(std::span<const FutexWatch> watches, Deadline deadline) noexcept;

/// Whether futex_waitv works here. Asked once.
bool futex_waitv_available() noexcept;

}  // namespace sluice::shm
