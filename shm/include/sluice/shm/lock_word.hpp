// The lock word: mutual exclusion between any processes. Its owner may be killed at any
// instruction, because the compare-and-swap that takes the lock carries its taker's id: there is no
// instant at which the lock is held by nobody in particular. Its waiters are not in any list that
// one of their deaths could tear: they sleep on an eventcount beside the word.
//
//   word   owner:16 | abandoned:1 | reserved:1 | tag:14
//   heir   id:16 | tag:16
//
//   free             --lock-->             owned by me
//   owned by me      --unlock-->           free
//   owned by me      --unlock, where there is an heir-->  reserved
//   reserved         --lock by the heir-->  owned by the heir
//   owned by X       --rescue of X-->      free, abandoned, tag + 1
//   reserved for X   --rescue of X, X gives up-->  free
//
// I1 only the owner, or who holds proof of his death, changes an owned word. So unlocking is a
//    plain store of what the owner has read there.
// I2 a reserved word is taken by nobody but the heir; where nobody is noted as the heir, by
//    anybody.
// I3 each rescue raises the tag of what it changes: the compare-and-swap of a rescuer who was
//    stopped meanwhile fails. Between his look at the word and that, he looks whether the id is
//    still the dead one's: the owner may be a newcomer.
//
// A waiter sleeps on the eventcount and on the bell of whom he waits for, the owner or the heir, so
// he hears of that one's death at once. Who watches a former owner's bell (others have taken the
// lock since) is woken by an unlock; if that wake-up dies with whom it woke, when his chunk ends.
//
// Fairness: a newcomer may take a free lock before the sleepers do, which is what makes locks fast.
// But who has slept kFailuresMax times in vain notes himself as the heir. From then on every unlock
// that sees the note reserves the lock for him. (One that is under way may not see it: so he is
// overtaken once more, at most.)
//
// Unlocking is a store and then a look at the sleepers, which processors reorder. Not the owner
// pays for that, but who goes to sleep: heavy_fence(), between his announcement and his last look.
// Measured (bench/lock_bench, uncontended, EPYC virtual machine): 5.4 ns for a lock and an unlock,
// 10.3 where both are locked instructions.
//
// Ordering ledger
//   R1 unlock, rescue -> A1 lock : what was done under the lock is seen under the next
//   A2 the word before the heir: who finds the word reserved finds for whom
//      (R2: his note, and the reservation that follows it)
//   R1 before the load of the sleepers' word: light_fence(), against the waiter's heavy_fence()
//   S1 reserving, then a look at the heir; S2 the heir's note taken back, then a look at the word.
//      Forbidden: both miss each other, and the lock stays reserved for nobody while all sleep
// Source: barging with hand-offs as in WebKit's ParkingLot; the fence as in P1202.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/fence.hpp"
#include "sluice/shm/members.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice::shm {

/// The lock's word, taken apart.
struct LockControl {
    static constexpr std::uint32_t kOwnerMask = 0xffff;
    static constexpr std::uint32_t kAbandoned = 1U << 16U;
    static constexpr std::uint32_t kReserved = 1U << 17U;
    static constexpr std::uint32_t kTagStep = 1U << 18U;

    std::uint32_t word;

    constexpr MemberId owner() const noexcept { return static_cast<MemberId>(word); }
    constexpr bool is_abandoned() const noexcept { return (word & kAbandoned) != 0; }
    constexpr bool is_reserved() const noexcept { return (word & kReserved) != 0; }

    constexpr LockControl freed() const noexcept { return {word & ~(kOwnerMask | kReserved)}; }
    constexpr LockControl reserved() const noexcept { return {freed().word | kReserved}; }
    constexpr LockControl owned_by(MemberId id) const noexcept { return {freed().word | id}; }
    /// Free by way of a rescue (I3).
    constexpr LockControl rescued() const noexcept {
        return {(freed().word | kAbandoned) + kTagStep};
    }
};

/// All zero: free.
struct LockWordLayout {
    static constexpr std::uint32_t kHeirTagStep = 1U << 16U;

    std::atomic<std::uint32_t> word;
    FutexWord heir;                         // he sleeps here, too
    EventCountLayout sleepers;              // all do
    std::atomic<std::uint32_t> owner_node;  // NUMA node + 1 of who last took it after waiting
    std::atomic<std::uint32_t> depth;       // RLock: how often its owner holds it; his alone
};
static_assert(sizeof(LockWordLayout) == 24 && offsetof(LockWordLayout, heir) == 4);
static_assert(offsetof(LockWordLayout, sleepers) == 8 && offsetof(LockWordLayout, depth) == 20);

enum class LockResult : std::uint8_t {
    done,
    timed_out,
    would_deadlock,  // this thread is the owner
    abandoned,       // not taken: the last owner died, and the caller does not want it so
    damaged,         // the owner, or the heir, is an id that there cannot be
};

/// What is to be done about a lock whose last owner died holding it.
enum class IfAbandoned : std::uint8_t { take, refuse };

/// This process's view of one lock.
///
/// Commit stores: of lock() the compare-and-swap that writes the owner, of unlock() the store that
/// clears him.
/// Crash: killed before its commit store lock() never happened; from then on until unlock()'s the
/// lock is the dead one's, and goes on to the next, marked as abandoned. A dead waiter leaves at
/// most a bit that costs one futile system call, a dead heir is swept.
/// Cost: one locked instruction for both, no system call, unless others wait.
class LockWord {
 public:
    /// Has slept that often in vain: becomes the heir.
    static constexpr unsigned kFailuresMax = 4;

    /// `segment`'s members name the owners. The caller sees to it that sweep() is called for them.
    LockWord(LockWordLayout& layout, Members& members) noexcept
        : layout_(&layout), members_(&members), full_fence_(!register_for_heavy_fence()) {}

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

    /// Gives the lock back, and wakes who is to have it next. False, and nothing was done: there is
    /// an heir, or this thread does not hold it: the caller goes on to unlock().
    bool unlock_now(MemberId me) noexcept {
        // relaxed: I1, where it is ours. The heir: the next unlock sees who noted himself since
        const LockControl seen{layout_->word.load(std::memory_order_relaxed)};
        const std::uint32_t heir = layout_->heir.load(std::memory_order_relaxed);
        if (seen.owner() != me || static_cast<MemberId>(heir) != kNobody) [[unlikely]] {
            return false;
        }
        layout_->word.store(seen.freed().word, std::memory_order_release);  // R1
        wake_after_store();
        return true;
    }

    /// The same in all cases. False: this thread does not hold it.
    bool unlock(MemberId me) noexcept;

    /// Whether this thread is the owner, perhaps through another opening of the segment.
    bool is_held_by(MemberId me) const noexcept { return is_mine(control().owner(), me); }
    /// Whether anybody alive is the owner. Of another thread's lock: some answer it had.
    bool is_locked() const noexcept;
    /// Whether the last owner died holding it and nobody has called repair() since.
    bool is_abandoned() const noexcept;
    /// Clears that mark. False: somebody else holds the lock, whose mark it is.
    bool repair(MemberId me) noexcept;

    /// How often something was taken from the dead, modulo 16,384; a dead owner is noticed first.
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
        return owner == me || (owner != kNobody && members_->is_this_threads(owner));
    }
    /// The next guess of try_lock_now(): without the bits that come and go.
    void remember(LockControl seen) noexcept {
        // relaxed: a guess
        free_.store(seen.freed().word & ~LockControl::kAbandoned, std::memory_order_relaxed);
    }
    void wake_after_store() noexcept {
        if (full_fence_) [[unlikely]] {
            // A full fence where the waiter cannot make this processor execute one: R1's store
            // before the load of the sleepers' word, as fence.hpp explains.
            std::atomic_thread_fence(std::memory_order_seq_cst);
        } else {
            light_fence();
        }
        // relaxed: a stale "nobody" is what heavy_fence() on the waiter's side rules out
        const std::uint32_t sleepers = layout_->sleepers.word.load(std::memory_order_relaxed);
        if ((sleepers & EventCountLayout::kSleepers) != 0) [[unlikely]] {
            wake_next();
        }
    }
    void wake_next() noexcept;
    void wake_all() noexcept;

    LockWordLayout* layout_;
    Members* members_;
    std::atomic<std::uint32_t> free_{};
    bool full_fence_;
};

}  // namespace sluice::shm
