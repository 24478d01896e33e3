// A condition: a cell for each member, in which it waits; a notification goes to cells by name.
//
// An eventcount would lose a notification with whoever it woke: nobody could say afterwards who
// that was. Here a notification is a compare-and-swap on the cell of the one who is to wake, so a
// death leaves it where a survivor finds it, and passes it on.
//
// A cell's word, which its owner sleeps on:   tag:30 | state:2
//
//   IDLE              --wait-->          WAITING(t+1)   by its owner, who still holds the lock
//   WAITING(t)        --about to sleep--> ASLEEP(t)      by its owner
//   WAITING, ASLEEP   --notify-->        NOTIFIED(t)    by anyone; the commit store of notify
//   WAITING, ASLEEP   --time-out-->      IDLE(t)        by its owner
//   NOTIFIED          --the lock is held again--> IDLE(t)  by its owner
//   any               --rescue-->        IDLE(t+1)      NOTIFIED: passed on first
//
// I1 only its owner, or who holds proof of the owner's death, makes a cell IDLE or WAITING.
// I2 a cell stays NOTIFIED when its owner has woken, until that one holds the lock again: who dies
//    before it could act on the wake-up passes it on. Who dies after that dies with the lock, and
//    then all who wait wake up in vain: perhaps it had not acted yet, perhaps it had made a change
//    and told nobody.
// I3 a bit in `waiting` may be set in vain, never clear while its member's cell is WAITING or
//    ASLEEP and the lock was released. A dead one's bit stays: clearing it could hit a newcomer.
// I4 each wait and each rescue raises the tag: the compare-and-swap of a notifier or a rescuer who
//    was stopped meanwhile fails.
// I5 whoever has a ticket below `everybody` is notified, whatever its cell says: notify_all is one
//    store, and what follows only tells the sleepers.
//
// Ordering ledger
//   R1 cell WAITING -> A1 : who finds it reads the ticket of this wait (else: not the oldest)
//   R2 cell NOTIFIED -> A2 : who wakes sees what the notifier wrote before, also without the lock
//   R3 cell IDLE by a rescue -> A3 : the next owner's wait comes after the sweep
//   S1 announcing (the bit in `waiting`) before the look at `everybody` (S2); notify_all raises
//      `everybody` (S3) before its look at `waiting` (S4). The interleaving forbidden: S2 S4 before
//      S1 S3, a sleeper whom nobody tells that everybody was notified.
//   A notifier that held the lock since the waiter released it sees the waiter by the lock's order.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/members.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice::shm {

enum class ConditionState : std::uint32_t { idle, waiting, asleep, notified };

/// A cell's word, taken apart.
struct ConditionControl {
    static constexpr unsigned kStateBits = 2;
    static constexpr std::uint32_t kStateMask = (1U << kStateBits) - 1;

    std::uint32_t word;

    constexpr ConditionState state() const noexcept {
        return static_cast<ConditionState>(word & kStateMask);
    }
    constexpr bool is_waiting() const noexcept {
        return state() == ConditionState::waiting || state() == ConditionState::asleep;
    }
    /// The same tag in another state.
    constexpr ConditionControl with(ConditionState state) const noexcept {
        return {(word & ~kStateMask) | static_cast<std::uint32_t>(state)};
    }
    /// The next wait, or a rescue (I4).
    constexpr ConditionControl next(ConditionState state) const noexcept {
        return {((word | kStateMask) + 1U) | static_cast<std::uint32_t>(state)};
    }
};

/// One member's place to wait. A line of its own: its owner spins on it.
struct alignas(kCacheLineBytes) ConditionCellLayout {
    FutexWord word;  // ConditionControl
    std::uint32_t reserved;
    std::atomic<std::uint64_t> ticket;  // of the wait that `word` tells of; written before it
};
static_assert(sizeof(ConditionCellLayout) == kCacheLineBytes);
static_assert(offsetof(ConditionCellLayout, ticket) == 8);

/// The body of a condition's segment. Behind the bits, at a multiple of 128, one cell a member.
struct ConditionLayout {
    std::atomic<std::uint64_t> next_ticket;  // order of arrival; one that a death loses is no gap
    std::atomic<std::uint64_t> everybody;    // I5
    std::uint64_t reserved[6];
    std::atomic<std::uint64_t> waiting[1];  // I3: a bit a member; id n is bit n - 1
};
static_assert(offsetof(ConditionLayout, waiting) == kCacheLineBytes);

/// Why else a wait may end: asked before each sleep.
struct ConditionDisturbance {
    bool (*has_happened)(void* context){};
    void* context{};
};

/// This process's view of a condition. Any thread of any process may call, many at once; a member
/// waits in one place at a time.
class ConditionWord {
 public:
    static std::size_t bytes(std::uint32_t members) noexcept;
    static std::uint64_t layout_signature() noexcept;
    /// `first_ticket`: tests start near the wrap, of the cells' tags, too.
    static void initialise(std::byte* body, std::uint32_t members,
                           std::uint64_t first_ticket = 0) noexcept;

    /// Becomes the sweeper of `members`: the object must stay where it is.
    ConditionWord(std::byte* body, Members& members) noexcept;
    ConditionWord(const ConditionWord&) = delete;
    ConditionWord& operator=(const ConditionWord&) = delete;

    /// One wait, from its announcement to its end.
    struct Place {
        MemberId id{};
        ConditionControl announced{};
        std::uint64_t ticket{};
    };

    /// Takes this member's place. Call while the lock is held: from then on no notification misses
    /// it.
    /// Blocks: never. Crash: the place is swept.
    Place announce(MemberId me) noexcept;

    /// Waits for a notification. Call when the lock has been released, and finish() when it is held
    /// again. Done: it was notified (whoever dies now passes that on, I2), or disturbed.
    /// Blocks: until notified, disturbed, or the deadline. Crash: nothing is lost, see above.
    Waited wait(const Place& place, Wait mode, SpinBudget& budget, Deadline deadline,
                ConditionDisturbance disturbance = {}) noexcept;

    /// Takes note that the lock is held again: what was told has arrived.
    void finish(const Place& place) noexcept;

    /// Gives the place up without having waited; a notification that has come meanwhile is passed
    /// on.
    void withdraw(const Place& place) noexcept;

    /// Notifies the oldest of those who wait, at most `count`, and returns how many.
    /// Blocks: never; lock-free. Commit store: of each one, its cell's NOTIFIED. Crash: those
    /// before are notified; a sleeper whom the kernel was not told of wakes when its chunk ends.
    /// Cost: a look at the bits, and one system call for each who sleeps.
    unsigned notify(std::uint64_t count) noexcept {
        if (!has_waiters()) [[likely]] {
            return 0;
        }
        return notify_oldest(count);
    }

    /// Notifies everybody who waits. Commit store: `everybody` (I5). Otherwise as notify().
    void notify_all() noexcept;

    /// Whether anybody may wait (I3).
    bool has_waiters() const noexcept {
        for (std::uint32_t index = 0; index < bit_words_; ++index) {
            if (layout_->waiting[index].load(std::memory_order_seq_cst) != 0) {  // S4
                return true;
            }
        }
        return false;
    }

    /// Resolves the place of a dead member.
    void sweep(MemberId id, const DeadTenant& dead) noexcept;

    Members& members() const noexcept { return *members_; }
    ConditionLayout& layout() const noexcept { return *layout_; }
    ConditionCellLayout& cell(MemberId id) const noexcept { return cells_[id - 1U]; }

 private:
    unsigned notify_oldest(std::uint64_t count) noexcept;
    MemberId find_oldest(std::uint64_t before, ConditionControl& found) const noexcept;
    bool notify_cell(MemberId id, ConditionControl seen) noexcept;
    bool is_everybody(std::uint64_t ticket) const noexcept;
    void clear_bit(MemberId id) noexcept;

    ConditionLayout* layout_;
    ConditionCellLayout* cells_;
    Members* members_;
    std::uint32_t bit_words_;
};

}  // namespace sluice::shm
