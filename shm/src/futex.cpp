// The futex system calls. glibc has no wrappers; struct futex_waitv comes from the kernel's header.
#include "sluice/shm/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>

namespace sluice::shm {
namespace {

// Kernel headers older than 5.16 lack it; the number is the same on every architecture.
#ifndef SYS_futex_waitv
constexpr long SYS_futex_waitv = 449;
#endif
// FUTEX2_SIZE_U32 (named FUTEX_32 in older headers); shared.
constexpr std::uint32_t kFutexSize32 = 2;
constexpr std::size_t kWatchesMax = 128;  // FUTEX_WAITV_MAX

enum class Availability : int { unknown, yes, no };
constinit std::atomic<Availability> waitv_available{Availability::unknown};

// The kernel's struct futex_waitv, under our own name so that an old header does not matter.
struct KernelWatch {
    std::uint64_t value;
    std::uint64_t address;
    std::uint32_t flags;
    std::uint32_t reserved;
};
static_assert(sizeof(KernelWatch) == 24);

// The kernel writes through the address only for WAKE_OP; its prototype is not const.
std::uint32_t* address_of(const FutexWord& word) noexcept {
    return const_cast<std::uint32_t*>(reinterpret_cast<const std::uint32_t*>(&word));
}

timespec to_timespec(Deadline deadline) noexcept {
    timespec time{};
    time.tv_sec = static_cast<time_t>(deadline.at_ns() / 1'000'000'000);
    time.tv_nsec = static_cast<long>(deadline.at_ns() % 1'000'000'000);
    return time;
}

FutexResult result_of(int error) noexcept {
    switch (error) {
        case EAGAIN:
            return FutexResult::value_changed;
        case ETIMEDOUT:
            return FutexResult::timed_out;
        default:
            return FutexResult::gone;
    }
}

}  // namespace

FutexResult futex_wait(const FutexWord& word, std::uint32_t expected, Deadline deadline) noexcept {
    const timespec until = to_timespec(deadline);
    const timespec* timeout = deadline.is_never() ? nullptr : &until;
    for (;;) {
        const long rc = syscall(SYS_futex, address_of(word), FUTEX_WAIT_BITSET, expected, timeout,
                                nullptr, FUTEX_BITSET_MATCH_ANY);
        if (rc == 0) {
            return FutexResult::woken;
        }
        if (errno != EINTR) {
            return result_of(errno);
        }
    }
}

unsigned futex_wake(const FutexWord& word, unsigned count) noexcept {
    const auto limit = count > INT_MAX ? INT_MAX : static_cast<int>(count);
    const long rc = syscall(SYS_futex, address_of(word), FUTEX_WAKE, limit, nullptr, nullptr, 0);
    return rc > 0 ? static_cast<unsigned>(rc) : 0;
}

WakeOne futex_wake_one(const FutexWord& word, std::uint32_t expected) noexcept {
    constexpr long kRequeue = 1;  // the fourth argument counts, it is no time-out here
    const long rc =
        syscall(SYS_futex, address_of(word), FUTEX_CMP_REQUEUE, 1,
                reinterpret_cast<const timespec*>(kRequeue), address_of(word), expected);
    if (rc < 0) {
        return errno == EAGAIN ? WakeOne::value_changed : WakeOne::none;
    }
    if (rc == 0) {
        return WakeOne::none;
    }
    return rc == 1 ? WakeOne::last : WakeOne::others_sleep;
}

unsigned futex_add_and_wake(FutexWord& target, std::uint32_t operand, const FutexWord& word,
                            unsigned count) noexcept {
    const auto limit = count > INT_MAX ? INT_MAX : static_cast<int>(count);
    // Where the comparison holds the kernel wakes one sleeper of `target` too, even if it is told
    // to wake 0. So it compares with what no sequence or state of ours is: all bits set (-1,
    // sign-extended from 12 bits).
    const std::uint32_t operation = (static_cast<std::uint32_t>(FUTEX_OP_ADD) << 28U) |
                                    (static_cast<std::uint32_t>(FUTEX_OP_CMP_EQ) << 24U) |
                                    ((operand & 0xfffU) << 12U) | 0xfffU;
    const long rc = syscall(SYS_futex, address_of(word), FUTEX_WAKE_OP, limit,
                            static_cast<const timespec*>(nullptr), address_of(target), operation);
    return rc > 0 ? static_cast<unsigned>(rc) : 0;
}

bool futex_waitv_available() noexcept {
    // No static local: a child that is forked while another thread makes it would wait for that
    // thread. Relaxed: asking twice does no harm, and the answer orders nothing.
    Availability known = waitv_available.load(std::memory_order_relaxed);
    if (known == Availability::unknown) {
        // No watch at all is EINVAL where the call exists, ENOSYS (or EPERM by a filter) where not.
        const long rc = syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, CLOCK_MONOTONIC);
        known = rc == -1 && errno == EINVAL ? Availability::yes : Availability::no;
        waitv_available.store(known, std::memory_order_relaxed);
    }
    return known == Availability::yes;
}

FutexResult futex_wait_any(std::span<const FutexWatch> watches, Deadline deadline) noexcept {
    if (watches.empty() || watches.size() > kWatchesMax) {
        return FutexResult::gone;
    }
    if (watches.size() == 1) {
        return futex_wait(*watches[0].word, watches[0].expected, deadline);
    }
    if (!futex_waitv_available()) {
        constexpr std::int64_t kChunkNs = 1'000'000;
        for (;;) {
            for (const FutexWatch& watch : watches) {
                // acquire: what the changer wrote before is seen by the woken. Pairs
                // with its release.
                if (watch.word->load(std::memory_order_acquire) != watch.expected) {
                    return FutexResult::value_changed;
                }
            }
            const FutexResult result =
                futex_wait(*watches[0].word, watches[0].expected, deadline.chunk(kChunkNs));
            if (result != FutexResult::timed_out || deadline.has_passed()) {
                return result;
            }
        }
    }
    KernelWatch list[kWatchesMax];
    for (std::size_t index = 0; index < watches.size(); ++index) {
        list[index] = {watches[index].expected,
                       reinterpret_cast<std::uint64_t>(address_of(*watches[index].word)),
                       kFutexSize32, 0};
    }
    const timespec until = to_timespec(deadline);
    const timespec* timeout = deadline.is_never() ? nullptr : &until;
    for (;;) {
        const long rc = syscall(SYS_futex_waitv, list, static_cast<unsigned>(watches.size()), 0U,
                                timeout, CLOCK_MONOTONIC);
        if (rc >= 0) {
            if (rc > 0) {
                futex_wake(*watches[static_cast<std::size_t>(rc)].word, INT_MAX);
            }
            return FutexResult::woken;
        }
        if (errno != EINTR) {
            return result_of(errno);
        }
    }
}

}  // namespace sluice::shm
