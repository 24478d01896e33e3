// The lock word: mutual exclusion between any processes. Its owner may be killed at any
// instruction, because the compare-and-swap that takes the lock carries its taker's id: there is no
// instant at which the lock is held by nobody in particular. Its waiters are not in any list that
// one of their deaths could tear: they sleep on the word itself.
//
//   word   owner:16 | waiters:1 | abandoned:1 | handoff:1 | tag:13
//   heir   id:16 | tag:16
//
//   free            --lock-->            owned by me
//   owned by me     --unlock-->          free
//   owned by X      --rescue of X-->     free, abandoned, tag + 1
//   free, handoff   --lock by the heir-->  owned by the heir, no handoff
//
// I1 only the owner, or who holds proof of his death, makes an owned word free.
// I2 `waiters` may be set in vain; it is never clear while somebody sleeps and nobody is on his
//    way to wake him. Who has slept takes the lock with the bit set: he cannot know whether others
//    sleep.
// I3 while `handoff` is set only the heir takes the free word. It is set by who is noted in `heir`,
//    after he has noted himself, and it is cleared before he is no longer noted.
// I4 each rescue raises the tag of what it changes: the compare-and-swap of a rescuer who was
//    stopped meanwhile fails. Between his look at the word and that, he looks whether the id is
//    still the dead one's: the owner may be a newcomer.
//
// A waiter sleeps on the word and on the bell of whom he waits for, the owner or the heir, so he
// hears of that one's death at once. Who watches a former owner's bell (others have taken the lock
// since) is woken by an unlock; if that wake-up dies with whom it woke, when his chunk ends.
//
// Fairness: a newcomer may take a free lock before the sleepers do, which is what makes locks fast.
// But who has been woken, or has slept a chunk, kFailuresMax times in vain notes himself as the
// heir: from then on nobody overtakes him.
//
// Ordering ledger
//   R1 unlock, rescue -> A1 lock : what was done under the lock is seen under the next
//   R2 `heir` noted before `handoff` is set -> A2 : who is barred by the bit finds whose it is
//   The rest needs no orders: a waiter sets the bit and an owner clears himself in the same word,
//   by read-modify-writes, and the kernel compares that word before it lets anybody sleep.
// Source: the three states of Drepper's "Futexes Are Tricky", mutex 3; WebKit's ParkingLot for
// barging with hand-offs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/members.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice::shm {

/// The lock's word, taken apart.
struct LockControl {
    static constexpr std::uint32_t kOwnerMask = 0xffff;
    static constexpr std::uint32_t kWaiters = 1U << 16U;
    static constexpr std::uint32_t kAbandoned = 1U << 17U;
    static constexpr std::uint32_t kHandoff = 1U << 18U;
    static constexpr std::uint32_t kTagStep = 1U << 19U;

    std::uint32_t word;

    constexpr MemberId owner() const noexcept { return static_cast<MemberId>(word); }
    constexpr bool has_waiters() const noexcept { return (word & kWaiters) != 0; }
    constexpr bool is_abandoned() const noexcept { return (word & kAbandoned) != 0; }
    constexpr bool has_handoff() const noexcept { return (word & kHandoff) != 0; }

    constexpr LockControl freed() const noexcept { return {word & ~kOwnerMask}; }
    /// Free by way of a rescue (I4).
    constexpr LockControl rescued() const noexcept {
        return {((word & ~kOwnerMask) | kAbandoned) + kTagStep};
    }
    /// The heir's claim taken back by way of a rescue.
    constexpr LockControl disinherited() const noexcept { return {(word & ~kHandoff) + kTagStep}; }
};

/// All zero: free.
struct LockWordLayout {
    static constexpr std::uint32_t kHeirTagStep = 1U << 16U;

    FutexWord word;
    FutexWord heir;                         // the heir sleeps here
    std::atomic<std::uint32_t> owner_node;  // NUMA node + 1 of who last took it after waiting
    std::atomic<std::uint32_t> depth;       // RLock: how often its owner holds it; his alone
};
static_assert(sizeof(LockWordLayout) == 16 && offsetof(LockWordLayout, heir) == 4);
static_assert(offsetof(LockWordLayout, depth) == 12);

enum class LockResult : std::uint8_t {
    done,
    timed_out,
    would_deadlock,  // this thread is the owner
    abandoned,       // not taken: the last owner died, and the caller does not want it so
    damaged,         // the owner is an id that there is not
};

/// What is to be done about a lock whose last owner died holding it.
enum class IfAbandoned : std::uint8_t { take, refuse };

/// This process's view of one lock.
///
/// Commit stores: of lock() the compare-and-swap that writes the owner, of unlock() the one that
/// clears him.
/// Crash: killed before its commit store lock() never happened; from then on until unlock()'s the
/// lock is the dead one's, and goes on to the next with `abandoned` set. A dead waiter leaves at
/// most a bit that costs one futile system call, a dead heir is swept.
/// Cost: each one locked instruction, no system call, unless others wait.
class LockWord {
 public:
    /// Woken, or slept a chunk, that often in vain: becomes the heir.
    static constexpr unsigned kFailuresMax = 4;

    /// `segment`'s members name the owners. The caller sees to it that sweep() is called for them.
    LockWord(LockWordLayout& layout, Members& members) noexcept
        : layout_(&layout), members_(&members) {}

    static std::uint64_t layout_signature() noexcept;

    /// Takes the lock if it is free; true when it did. False also where a look at the word may find
    /// more: the caller goes on to lock(). Blocks: never.
    bool try_lock_now(MemberId me) noexcept {
        // relaxed: what a free word last looked like to this process. A guess, which the exchange
        // checks; a load of the word itself would fetch its line once more.
        std::uint32_t free = free_.load(std::memory_order_relaxed);
        return layout_->word.compare_exchange_strong(free, free | me, std::memory_order_acquire,
                                                     std::memory_order_relaxed);  // A1
    }

    /// Takes the lock. Blocks: until it is free or the deadline passes; a deadline that has passed
    /// still tries once, and takes it from a dead owner.
    LockResult lock(MemberId me, Wait mode, SpinBudget& budget, Deadline deadline,
                    IfAbandoned if_abandoned) noexcept;

    /// Gives the lock back if nobody waits and all is as it was taken; else the caller goes on to
    /// unlock().
    bool unlock_now(MemberId me) noexcept {
        const std::uint32_t free = free_.load(std::memory_order_relaxed);  // as above
        std::uint32_t expected = free | me;
        return layout_->word.compare_exchange_strong(expected, free, std::memory_order_release,
                                                     std::memory_order_relaxed);  // R1
    }

    /// Gives the lock back, and wakes who is to have it. False: this thread does not hold it.
    bool unlock(MemberId me) noexcept;

    /// Whether this thread is the owner, perhaps through another opening of the segment.
    bool is_held_by(MemberId me) const noexcept { return is_mine(control().owner(), me); }
    /// Whether anybody alive is the owner. Of another thread's lock: some answer it had.
    bool is_locked() const noexcept;
    /// Whether the last owner died holding it and nobody has called repair() since.
    bool is_abandoned() const noexcept;
    /// Clears that mark.
    void repair() noexcept;

    /// How often something was taken from the dead, modulo 8,192; a dead owner is noticed first.
    std::uint32_t rescues() noexcept {
        if (members_->has_ended(control().owner())) {
            static_cast<void>(members_->rescue(control().owner()));
        }
        return control().word / LockControl::kTagStep;
    }

    /// As if this thread had died with it: what becomes of a lock whose last handle goes.
    void abandon(MemberId me) noexcept;

    /// Takes the lock, and the inheritance, from a dead member. See Members::Sweeper.
    void sweep(MemberId id, const DeadTenant& dead) noexcept;

    LockWordLayout& layout() const noexcept { return *layout_; }

 private:
    class Waiter;

    LockControl control() const noexcept {
        // relaxed: compared with this thread's own id, which only it writes; or a mere answer
        return {layout_->word.load(std::memory_order_relaxed)};
    }
    bool is_mine(MemberId owner, MemberId me) const noexcept {
        return owner == me || (owner != kNobody && members_->are_one_thread(owner, me));
    }
    /// The next guess of try_lock_now() and unlock_now(): without the bits that come and go.
    void remember(LockControl seen) noexcept {
        constexpr std::uint32_t kPassing = LockControl::kOwnerMask | LockControl::kWaiters |
                                           LockControl::kAbandoned | LockControl::kHandoff;
        free_.store(seen.word & ~kPassing, std::memory_order_relaxed);  // relaxed: a guess
    }
    void note_node() noexcept;
    void wake_next(LockControl left) noexcept;
    void wake_all() noexcept;

    LockWordLayout* layout_;
    Members* members_;
    std::atomic<std::uint32_t> free_{};
};

}  // namespace sluice::shm
