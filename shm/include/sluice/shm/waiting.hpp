// Waiting for what another process does: spin a while, then sleep on an eventcount.
//
// The protocol (an eventcount, after Vyukov; one word a side):
//   waiter:   announce (S1) ... look again (S2) ... sleep while the word is unchanged
//   notifier: publish (S3) ... are there sleepers? (S4) ... raise the word and wake one
// S1 and S3 are seq_cst read-modify-writes, S2 and S4 seq_cst loads: in the total
//    order either S3 comes before
// S2 (the waiter sees what was published) or S1 before S4 (the notifier sees the
// waiter). The interleaving forbidden is both missing each other: S2 S4 before S1 S3.
// Rings whose publication is a plain store use the asymmetric form: see fence.hpp.
//
// The word is sequence:31 | sleepers:1. Every announcement and every notification
// raises the sequence, so
//   I1 a set bit may be stale only towards "sleepers": never clear while somebody sleeps, but for
//      the time between a notifier's last wake and its clearing, in which nobody can have fallen
//      asleep, because
//   I2 a waiter sleeps only on the value that its own announcement made.
// The notifier asks the kernel whether somebody is left (futex_wake_one) and clears
// the bit only then, by a compare-and-swap that fails if anyone has announced since.
// So a put on which nobody sleeps makes no system call, one put wakes one sleeper, and
// there is no counter that a death could leave wrong.
//
// A wake-up can still die with its sender, between publication and system call, or with
// the woken, before he acts. So sleeps are chunked: 5 ms, 20, 80, then 100.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sluice/shm/deadline.hpp"
#include "sluice/shm/facts.hpp"
#include "sluice/shm/futex.hpp"

namespace sluice::shm {

/// How an operation waits. spin_then_park: a while in user space, then asleep. spin:
/// never asleep, for a core of one's own. park: asleep at once.
enum class Wait : std::uint8_t { spin_then_park, spin, park };

/// Lets others have the CPU. Who spins without end does it now and then: under a real-time policy
/// the kernel takes the CPU from nobody, so whoever must run on the same one, perhaps only to die
/// of a SIGKILL, would wait for ever. Cost: one system call.
void give_way() noexcept;

/// The shared word that one side of an object sleeps on.
struct EventCountLayout {
    static constexpr std::uint32_t kSleepers = 1;
    static constexpr std::uint32_t kStep = 2;

    FutexWord word;
    std::uint32_t numa_node;  // reserved: FUTEX2_NUMA wants the node in the word that follows

    /// S4. Whether somebody may sleep here.
    bool has_sleepers() const noexcept {
        return (word.load(std::memory_order_seq_cst) & kSleepers) != 0;
    }

    /// An announcement: the value to sleep on, and whether it was this one that set the bit.
    struct Ticket {
        std::uint32_t value{};
        bool first{};
    };

    /// S1.
    Ticket announce() noexcept {
        std::uint32_t seen = word.load(std::memory_order_relaxed);  // checked by the exchange
        while (!word.compare_exchange_weak(seen, (seen + kStep) | kSleepers,
                                           std::memory_order_seq_cst, std::memory_order_relaxed)) {
        }
        return {(seen + kStep) | kSleepers, (seen & kSleepers) == 0};
    }

    /// The announcer does not sleep after all: spares the next notifier a futile system call.
    /// Safe because the comparison fails if anyone has announced or notified since (I2).
    void retract(Ticket ticket) noexcept {
        if (ticket.first) {
            std::uint32_t expected = ticket.value;
            word.compare_exchange_strong(expected, ticket.value & ~kSleepers,
                                         std::memory_order_relaxed, std::memory_order_relaxed);
        }
    }

    /// Wakes one sleeper, if there is any. Call after the publication. No system call
    /// where nobody sleeps.
    void notify_one() noexcept {
        if (has_sleepers()) [[unlikely]] {
            wake_one();
        }
    }

    /// Wakes all sleepers.
    void notify_all() noexcept {
        if (has_sleepers()) {
            wake_all();
        }
    }

    /// The cold halves.
    void wake_one() noexcept;
    void wake_all() noexcept;
};
static_assert(sizeof(EventCountLayout) == 8);

/// How long to spin before sleeping: learns from whether spinning paid. One a side of
/// a handle; threads of one process share it, races on it do no harm (it is a guess).
class SpinBudget {
 public:
    /// Units: nanoseconds. 0 where the machine has one CPU: nobody could answer while it spins. Not
    /// where this thread may run on one only: who is pinned waits for somebody who is pinned
    /// elsewhere. Where they share the one CPU the budget learns that, and shrinks to 1 us.
    std::int64_t ns() const noexcept;
    void paid() noexcept;
    void wasted() noexcept;

 private:
    // A wake-up through the kernel costs 25 to 60 us on virtual machines, 1 to 5 us on bare metal;
    // spinning for about as long as that costs at most twice the optimum (the ski-rental bound).
    static constexpr std::int64_t kMaxNs = 40'000;
    static constexpr std::int64_t kMinNs = 1'000;
    std::atomic<std::int64_t> ns_{kMaxNs / 2};
};

/// When to fall back behind a streaming producer.
///
/// A consumer that polls the very slot which the producer is writing takes the line from it, twice
/// a message: both then run at the pace of the coherence fabric, some ten times slower than when
/// the consumer lags a few messages behind (FastForward's "temporal slipping"). In a ping-pong, on
/// the other hand, every pause is lost. So the consumer tries: once in a while it pauses before it
/// polls, and looks whether more than one message came of it. If so it pauses at each miss, until
/// that stops paying; if not it tries again later and later. One a consuming handle; races between
/// threads of a process do no harm (it is a guess).
class Slip {
 public:
    /// Before polling for a message that is not there: pauses if that is likely to pay. True: tell
    /// judge().
    bool pause() noexcept {
        // relaxed, here and below: a guess, shared by this process's threads
        const std::uint32_t left = countdown_.load(std::memory_order_relaxed);
        if (left > 1) [[likely]] {
            countdown_.store(left - 1, std::memory_order_relaxed);
            return false;
        }
        for (unsigned spin = 0; spin < kPauses; ++spin) {
            spin_pause();
        }
        return true;
    }
    /// After a pause, when the wait is over: whether another message is there already.
    void judge(bool more) noexcept {
        // relaxed: as above
        const std::uint32_t interval = interval_.load(std::memory_order_relaxed);
        const std::uint32_t longer = interval < kLastInterval ? 2 * interval : interval;
        interval_.store(more ? kFirstInterval : longer, std::memory_order_relaxed);
        countdown_.store(more ? kStreaming : longer, std::memory_order_relaxed);
    }

 private:
    static constexpr unsigned kPauses = 20;
    static constexpr std::uint32_t kFirstInterval = 16;
    static constexpr std::uint32_t kLastInterval = 8192;
    static constexpr std::uint32_t kStreaming = 1;  // pause at the next miss, too

    std::atomic<std::uint32_t> interval_{kFirstInterval};
    std::atomic<std::uint32_t> countdown_{kFirstInterval};
};

/// A producer that finds the ring full lets the consumer get some messages ahead before it looks
/// again: else it takes the consumer's lines from it for the sake of one free slot at a time. No
/// latency is lost: whoever waits for room is behind anyhow.
inline void pause_when_full(Wait mode) noexcept {
    constexpr unsigned kPauses = 32;
    if (mode != Wait::park) {
        for (unsigned spin = 0; spin < kPauses; ++spin) {
            spin_pause();
        }
    }
}

/// Grows the sleeps of one wait: 5 ms, 20, 80, then 100. A sleep costs 35 us of CPU on a virtual
/// machine, whatever one does with it; an idle second has 12 of them. The first is longer than the
/// kernel's tick (4 ms where CONFIG_HZ is 250): a CPU that falls idle then need not set its timer
/// for it, twice a sleep. With 1 ms a round trip between sleepers took 31 us, with 5 ms 24, as
/// with no time-out at all.
class SleepChunk {
 public:
    std::int64_t next_ns() noexcept {
        const std::int64_t now = ns_;
        ns_ = 4 * ns_ < kMaxNs ? 4 * ns_ : kMaxNs;
        return now;
    }

 private:
    static constexpr std::int64_t kMaxNs = 100'000'000;
    std::int64_t ns_{5'000'000};
};

enum class Waited : std::uint8_t { done, timed_out };

/// The bells of all those whose death would end a wait. Where they are more than a sleeper can
/// watch, the rest are looked at when a sleep's chunk ends.
class Bells {
 public:
    static constexpr std::size_t kMax = 63;

    /// A null watch (nobody has that id any more) is left out.
    void add(FutexWatch bell) noexcept {
        if (bell.word != nullptr && count_ <= kMax) {
            watches_[count_++] = bell;
        }
    }
    /// All of them, behind the word that the sleeper itself sleeps on.
    std::span<const FutexWatch> behind(FutexWatch word) noexcept {
        watches_[0] = word;
        return {watches_, count_};
    }
    std::size_t size() const noexcept { return count_ - 1; }

 private:
    FutexWatch watches_[kMax + 1];
    std::size_t count_{1};
};

/// One sleep, on the word and on the bell, or bells, beside it.
inline void sleep_on(FutexWatch word, FutexWatch other, Deadline until) noexcept {
    if (other.word != nullptr) {
        const FutexWatch both[] = {word, other};
        static_cast<void>(futex_wait_any(both, until));
    } else {
        static_cast<void>(futex_wait(*word.word, word.expected, until));
    }
}
inline void sleep_on(FutexWatch word, Bells& others, Deadline until) noexcept {
    static_cast<void>(futex_wait_any(others.behind(word), until));
}

/// Repeats `attempt` until it returns true or the deadline passes.
///   attempt() -> bool: the operation once; true when it is over, successfully or not.
///   barrier(): what makes the announcement visible to publishers (nothing, where they publish by
///     RMW).
///   stuck() -> FutexWatch, or Bells: called before each sleep and now and then while spinning;
///     looks for dead owners, and may name a bell, or several, to sleep on beside the word.
/// Blocks: as `mode` says. A deadline that has passed still tries once.
template <class Attempt, class Barrier, class Stuck>
Waited wait_until(EventCountLayout& events, Wait mode, SpinBudget& budget, Deadline deadline,
                  Attempt&& attempt, Barrier&& barrier, Stuck&& stuck) {
    constexpr unsigned kLooksPerClock = 64;
    constexpr unsigned kLooksPerCheck = 1U << 14U;
    if (attempt()) {
        return Waited::done;
    }
    if (deadline.has_passed()) {
        return Waited::timed_out;
    }
    if (mode == Wait::spin) {
        for (unsigned look = 1;; ++look) {
            spin_pause();
            if (attempt()) {
                return Waited::done;
            }
            if (look % kLooksPerClock == 0 && deadline.has_passed()) {
                return Waited::timed_out;
            }
            if (look % kLooksPerCheck == 0) {
                static_cast<void>(stuck());
                give_way();
            }
        }
    }
    if (mode == Wait::spin_then_park) {
        if (const std::int64_t spin_ns = budget.ns(); spin_ns > 0) {
            const Deadline until = deadline.chunk(spin_ns);
            do {
                for (unsigned look = 0; look < kLooksPerClock; ++look) {
                    spin_pause();
                    if (attempt()) {
                        budget.paid();
                        return Waited::done;
                    }
                }
            } while (!until.has_passed());
            budget.wasted();
        }
    }
    for (SleepChunk chunk;;) {
        // Announced first: if what is waited for changes hands after we have asked whose bells to
        // watch, the word has been raised, and the sleep does not begin.
        const EventCountLayout::Ticket ticket = events.announce();
        auto others = stuck();
        barrier();
        if (attempt()) {
            events.retract(ticket);
            return Waited::done;
        }
        const Deadline until = deadline.chunk(chunk.next_ns());
        sleep_on({&events.word, ticket.value}, others, until);
        // By time-out: nobody has cleared the bit for us. Woken: the comparison fails,
        // nothing happens.
        events.retract(ticket);
        if (attempt()) {
            return Waited::done;
        }
        // However the sleep ended: where others announce and notify all the time it never ends by
        // time-out.
        if (deadline.has_passed()) {
            return Waited::timed_out;
        }
    }
}

}  // namespace sluice::shm
