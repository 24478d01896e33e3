// A lock for one writer or many readers. Writers share a lock word (lock_word.hpp); each reader has
// a cell of its own, so readers do not disturb each other: reading costs one locked instruction on
// a line that nobody else writes, and dead readers have names.
//
// A reader's cell, which a writer sleeps on:   tag:15 | wanted:1 | count:16
//
//   reader:  count 1 into its cell (S1) ... no writer (S2): it reads; else count 0, and it queues
//            up at the writers' word, takes it, counts 1, and gives it back
//   writer:  takes the word, a fence (S3) ... waits until each cell is 0 (S4)
//
// Neither starves: while a writer holds the word, or waits there for the last readers, no new
// reader comes in; readers that have come meanwhile stand in the same line as the next writers,
// with the same hand-off for who has waited in vain too often.
//
// I1 only its owner, or who holds proof of the owner's death, changes a cell's count.
// I2 `wanted` may be set in vain (it costs one futile system call); it is set by a writer who found
//    a count, and an owner who leaves takes it away in the same exchange.
// I3 readers_high is no less than any id whose cell was ever counted.
// I4 each rescue raises the cell's tag, and `fallen` first, by an exchange that compares what was
//    read before the cell: neither of a late rescuer's exchanges succeeds.
//
// Ordering ledger
//   R1 a reader leaves, or is swept -> A1 : the writer's stores come after the reader's loads
//   R2 a cell swept -> A2 : the next owner's counts come after the sweep
//   S1 count, before the look at the writers' word (S2); the word taken, then a fence (S3) before
//      the look at the cells (S4), and at readers_high, which a reader raises before S1. The
//      interleaving forbidden: S2 S4 before S1 and the taking, a reader beside a writer.
//   What a writer wrote is seen by readers by the lock word's own order: S2 acquires, too.
// Source: reader indicators as in Calciu et al., "NUMA-aware reader-writer locks" (PPoPP 2013),
// with one indicator for each reader, so that a death can be told from a stop.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/lock_word.hpp"

namespace sluice::shm {

/// A reader's word, taken apart.
struct ReaderControl {
    static constexpr std::uint32_t kCountMask = 0xffff;
    static constexpr std::uint32_t kWanted = 1U << 16U;
    static constexpr std::uint32_t kTagStep = 1U << 17U;

    std::uint32_t word;

    /// How often its owner reads: more than once, where it did so again while it read.
    constexpr std::uint32_t count() const noexcept { return word & kCountMask; }
    constexpr bool is_wanted() const noexcept { return (word & kWanted) != 0; }
    constexpr ReaderControl left() const noexcept { return {word & ~(kCountMask | kWanted)}; }
    /// As left(), by way of a rescue (I4).
    constexpr ReaderControl rescued() const noexcept { return {left().word + kTagStep}; }
};

struct alignas(kCacheLineBytes) ReaderCellLayout {
    FutexWord word;  // ReaderControl
    std::uint32_t reserved[15];
};
static_assert(sizeof(ReaderCellLayout) == kCacheLineBytes);

/// The body of a reader-writer lock's segment. The first line is written by who takes the writers'
/// word only, so each reader's core keeps a copy of it.
struct RwLockLayout {
    static constexpr std::uint32_t kFallen = 1;
    static constexpr std::uint32_t kFallenStep = 2;

    LockWordLayout writer;
    std::atomic<std::uint32_t> readers_high;  // I3
    std::atomic<std::uint32_t> fallen;        // generation:31 | a reader died reading:1
    std::uint32_t reserved[24];
    ReaderCellLayout cells[1];  // one a member; id n has cell n - 1
};
static_assert(offsetof(RwLockLayout, readers_high) == 24);
static_assert(offsetof(RwLockLayout, fallen) == 28);
static_assert(offsetof(RwLockLayout, cells) == kIsolationBytes);

/// This process's view of one reader-writer lock.
///
/// Commit stores: of a writer's lock() the one of its word, as LockWord's; of lock_shared() the
/// exchange of the own cell, of unlock_shared() likewise.
/// Crash: a dead reader no longer reads, and a dead writer no longer writes, once a survivor has
/// looked; is_abandoned() tells it until repair().
class RwLockWord {
 public:
    static std::size_t bytes(std::uint32_t members) noexcept {
        return offsetof(RwLockLayout, cells) + members * sizeof(ReaderCellLayout);
    }
    static std::uint64_t layout_signature() noexcept;

    /// Becomes the sweeper of `members`: the object must stay where it is.
    RwLockWord(std::byte* body, Members& members) noexcept;
    RwLockWord(const RwLockWord&) = delete;
    RwLockWord& operator=(const RwLockWord&) = delete;

    /// Reads if no writer is there and this thread does not read yet; true when it does now. False
    /// also where lock_shared() may find more. Blocks: never. Cost: one locked instruction.
    bool try_lock_shared_now(MemberId me) noexcept {
        FutexWord& mine = cell(me).word;
        const ReaderControl seen{mine.load(std::memory_order_acquire)};  // A2
        // relaxed: only grows (I3), and what this thread raised it sees
        if (seen.count() != 0 || layout_->readers_high.load(std::memory_order_relaxed) < me)
            [[unlikely]] {
            return false;
        }
        return enter(mine, seen);
    }

    /// Reads. A thread that reads already reads once more, whoever waits. Blocks: while there is a
    /// writer, or the deadline passes; a deadline that has passed still tries once.
    LockResult lock_shared(MemberId me, Wait mode, SpinBudget& budget, Deadline deadline,
                           IfAbandoned if_abandoned) noexcept;

    /// Ends what one lock_shared() began. False: this thread does not read. Blocks: never.
    bool unlock_shared(MemberId me) noexcept {
        FutexWord& mine = cell(me).word;
        const ReaderControl seen{mine.load(std::memory_order_relaxed)};  // I1: ours
        if (seen.count() != 1) [[unlikely]] {
            return unlock_inner(mine, seen);
        }
        const ReaderControl left{mine.exchange(seen.left().word, std::memory_order_release)};  // R1
        if (left.is_wanted()) [[unlikely]] {
            wake(mine);
        }
        return true;
    }

    /// Writes. Blocks: until there is neither reader nor writer, or the deadline passes; a deadline
    /// that has passed still tries once, and takes it from the dead.
    LockResult lock(MemberId me, Wait mode, SpinBudget& budget, Deadline deadline,
                    IfAbandoned if_abandoned) noexcept;
    /// False: this thread does not write.
    bool unlock(MemberId me) noexcept { return writer_.unlock_now(me) || writer_.unlock(me); }

    bool is_writer(MemberId me) const noexcept { return writer_.is_held_by(me); }
    bool is_reader(MemberId me) const noexcept {
        // relaxed: this thread's own cell
        return ReaderControl{cell(me).word.load(std::memory_order_relaxed)}.count() != 0;
    }
    /// Whether anybody alive writes, or waits for the last readers to leave.
    bool is_locked() const noexcept { return writer_.is_locked(); }
    /// How many threads read. Of others' reading: some answer it had.
    std::uint32_t readers() const noexcept;

    /// Whether somebody died writing or reading, and nobody has called repair() since.
    bool is_abandoned() const noexcept {
        // relaxed: an answer; whoever must know has taken the lock since
        return writer_.is_abandoned() ||
               (layout_->fallen.load(std::memory_order_relaxed) & RwLockLayout::kFallen) != 0;
    }
    /// Clears that mark. False: another writes, whose mark it is.
    bool repair(MemberId me) noexcept;

    /// As if this thread had died with it: what becomes of a lock whose last handle goes.
    void abandon(MemberId me) noexcept;
    void sweep(MemberId id, const DeadTenant& dead) noexcept;

    Members& members() const noexcept { return *members_; }
    RwLockLayout& layout() const noexcept { return *layout_; }
    ReaderCellLayout& cell(MemberId id) const noexcept { return layout_->cells[id - 1U]; }

 private:
    bool enter(FutexWord& mine, ReaderControl seen) noexcept {
        mine.exchange(seen.word + 1, std::memory_order_seq_cst);                         // S1
        const LockControl writer{layout_->writer.word.load(std::memory_order_seq_cst)};  // S2
        if (writer.owner() == kNobody) [[likely]] {
            return true;
        }
        leave(mine);
        return false;
    }
    void leave(FutexWord& mine) noexcept;
    bool unlock_inner(FutexWord& mine, ReaderControl seen) noexcept;
    void raise_high(MemberId me) noexcept;
    LockResult drain(Wait mode, SpinBudget& budget, Deadline deadline) noexcept;
    LockResult wait_for(MemberId id, Wait mode, SpinBudget& budget, Deadline deadline) noexcept;
    bool mark_fallen(std::uint32_t seen) noexcept;
    static void wake(FutexWord& cell) noexcept;

    RwLockLayout* layout_;
    Members* members_;
    LockWord writer_;
};

}  // namespace sluice::shm
