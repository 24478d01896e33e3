// Readers behind writers, writers behind readers, and what the dead of both leave.
#include "sluice/shm/rw_lock_word.hpp"

#include <climits>

namespace sluice::shm {

std::uint64_t RwLockWord::layout_signature() noexcept {
    std::uint64_t hash = fnv1a("rw lock: writer, high, fallen; cells: tag15 wanted1 count16");
    hash = fnv1a(LockWord::layout_signature(), hash);
    hash = fnv1a(offsetof(RwLockLayout, cells), hash);
    return fnv1a(sizeof(ReaderCellLayout), hash);
}

RwLockWord::RwLockWord(std::byte* body, Members& members) noexcept
    : layout_(reinterpret_cast<RwLockLayout*>(body)),
      members_(&members),
      writer_(layout_->writer, members) {
    members_->set_sweeper({[](void* lock, MemberId id, const DeadTenant& dead) {
                               static_cast<RwLockWord*>(lock)->sweep(id, dead);
                           },
                           this});
}

void RwLockWord::wake(FutexWord& cell) noexcept {
    futex_wake(cell, INT_MAX);
}

void RwLockWord::leave(FutexWord& mine) noexcept {
    const ReaderControl seen{mine.load(std::memory_order_relaxed)};  // I1: ours
    const ReaderControl left{mine.exchange(seen.left().word, std::memory_order_release)};  // R1
    if (left.is_wanted()) {
        wake(mine);
    }
}

bool RwLockWord::unlock_inner(FutexWord& mine, ReaderControl seen) noexcept {
    if (seen.count() == 0) {
        return false;
    }
    // relaxed: this thread reads on. By read-modify-write, for a writer may set `wanted` meanwhile.
    mine.fetch_sub(1, std::memory_order_relaxed);
    return true;
}

void RwLockWord::raise_high(MemberId me) noexcept {
    std::uint32_t high = layout_->readers_high.load(std::memory_order_relaxed);  // checked below
    // seq_cst: before S1, so that a writer who does not see it is seen at S2.
    while (high < me && !layout_->readers_high.compare_exchange_weak(
                            high, me, std::memory_order_seq_cst, std::memory_order_relaxed)) {
    }
}

LockResult RwLockWord::lock_shared(MemberId me, Wait mode, SpinBudget& budget, Deadline deadline,
                                   IfAbandoned if_abandoned) noexcept {
    constexpr unsigned kLooksPerClock = 64;
    FutexWord& mine = cell(me).word;
    const ReaderControl seen{mine.load(std::memory_order_acquire)};  // A2
    if (seen.count() != 0) {
        if (seen.count() == ReaderControl::kCountMask) {
            return LockResult::would_deadlock;
        }
        // relaxed: it reads already. Barring it would be a deadlock: the writer waits for it.
        mine.fetch_add(1, std::memory_order_relaxed);
        return LockResult::done;
    }
    if (writer_.is_held_by(me)) {
        return LockResult::would_deadlock;
    }
    if (if_abandoned == IfAbandoned::refuse && is_abandoned()) {
        return LockResult::abandoned;
    }
    raise_high(me);
    if (enter(mine, seen)) {
        return LockResult::done;
    }
    // A while in user space without taking the word: readers that passed it from hand to hand would
    // bar each other, one after the other.
    if (const std::int64_t spin_ns = mode == Wait::park || deadline.is_passed() ? 0 : budget.ns();
        spin_ns > 0) {
        const Deadline until = deadline.chunk(spin_ns);
        for (unsigned look = 1; look % kLooksPerClock != 0 || !until.has_passed(); ++look) {
            spin_pause();
            // relaxed: a guess, which enter() checks
            const LockControl writer{layout_->writer.word.load(std::memory_order_relaxed)};
            if (writer.owner() == kNobody && enter(mine, seen.left())) {
                budget.paid();
                return LockResult::done;
            }
        }
        budget.wasted();
    }
    const LockResult result = writer_.lock(me, mode, budget, deadline, if_abandoned);
    if (result != LockResult::done) {
        return result;
    }
    // relaxed: nobody else writes while the word is ours, and the next writer has it from us.
    mine.fetch_add(1, std::memory_order_relaxed);
    static_cast<void>(unlock(me));
    if (if_abandoned == IfAbandoned::refuse && is_abandoned()) {
        leave(mine);
        return LockResult::abandoned;
    }
    return LockResult::done;
}

LockResult RwLockWord::lock(MemberId me, Wait mode, SpinBudget& budget, Deadline deadline,
                            IfAbandoned if_abandoned) noexcept {
    if (is_reader(me)) {
        return LockResult::would_deadlock;
    }
    if (!writer_.try_lock_now(me)) {
        const LockResult result = writer_.lock(me, mode, budget, deadline, if_abandoned);
        if (result != LockResult::done) {
            return result;
        }
    }
    LockResult result = drain(mode, budget, deadline);
    if (result == LockResult::done && if_abandoned == IfAbandoned::refuse && is_abandoned()) {
        result = LockResult::abandoned;
    }
    if (result != LockResult::done) {
        static_cast<void>(unlock(me));
    }
    return result;
}

LockResult RwLockWord::drain(Wait mode, SpinBudget& budget, Deadline deadline) noexcept {
    // S3. Taking the word was an acquire read-modify-write, over which the looks at the cells might
    // go ahead: a reader whose count we missed could miss our word. With the fence between them one
    // of the two sees the other. On x86 the taking was a full fence already; this costs a writer,
    // who is about to look at every reader's line, another one.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::uint32_t high = layout_->readers_high.load(std::memory_order_relaxed);  // S4
    for (std::uint32_t member = 1; member <= high && member <= members_->capacity(); ++member) {
        const auto id = static_cast<MemberId>(member);
        // A1, and S4 by the fence before it
        if (ReaderControl{cell(id).word.load(std::memory_order_acquire)}.count() == 0) {
            continue;
        }
        const LockResult result = wait_for(id, mode, budget, deadline);
        if (result != LockResult::done) {
            return result;
        }
    }
    return LockResult::done;
}

LockResult RwLockWord::wait_for(MemberId id, Wait mode, SpinBudget& budget,
                                Deadline deadline) noexcept {
    constexpr unsigned kLooksPerClock = 64;
    constexpr unsigned kLooksPerCheck = 1U << 14U;
    FutexWord& word = cell(id).word;
    if (members_->is_this_threads(id)) {
        return LockResult::would_deadlock;  // through another opening of the segment
    }
    static_cast<void>(members_->rescue(id));
    const std::int64_t spin_ns =
        mode == Wait::park || deadline.is_passed() ? 0 : (mode == Wait::spin ? 1 : budget.ns());
    if (spin_ns > 0) {
        const Deadline until = mode == Wait::spin ? deadline : deadline.chunk(spin_ns);
        for (unsigned look = 1; look % kLooksPerClock != 0 || !until.has_passed(); ++look) {
            if (ReaderControl{word.load(std::memory_order_acquire)}.count() == 0) {  // A1
                budget.paid();
                return LockResult::done;
            }
            if (look % kLooksPerCheck == 0) {
                static_cast<void>(members_->rescue(id));
                give_way();
            }
            spin_pause();
        }
        budget.wasted();
    }
    for (SleepChunk chunk;;) {
        ReaderControl seen{word.load(std::memory_order_acquire)};  // A1
        if (seen.count() == 0) {
            return LockResult::done;
        }
        if (members_->has_ended(id) && members_->rescue(id)) {
            continue;
        }
        if (deadline.has_passed()) {
            return LockResult::timed_out;
        }
        const std::uint32_t wanted = seen.word | ReaderControl::kWanted;
        // acquire: before the look at the bell
        // It only asks to be woken; the leaving exchange takes it along (I2).
        if (!seen.is_wanted() &&
            !word.compare_exchange_strong(seen.word, wanted, std::memory_order_acquire,
                                          std::memory_order_relaxed)) {  // A1
            continue;
        }
        const FutexWatch bell = members_->watch(id);
        if (bell.word == nullptr) {
            // Nobody's id: its owner has gone since; or the count is none that a reader made, if it
            // stands there still. Asked after `wanted` was set, which whoever leaves takes along:
            // without it, it could be a newcomer's count that looks the same.
            // relaxed: only compared
            if (word.load(std::memory_order_relaxed) == wanted) {
                return LockResult::damaged;
            }
            continue;
        }
        const FutexWatch both[] = {{&word, wanted}, bell};
        static_cast<void>(futex_wait_any(both, deadline.chunk(chunk.next_ns())));
    }
}

std::uint32_t RwLockWord::readers() const noexcept {
    std::uint32_t count = 0;
    // relaxed: some answer it had
    const std::uint32_t high = layout_->readers_high.load(std::memory_order_relaxed);
    for (std::uint32_t member = 1; member <= high && member <= members_->capacity(); ++member) {
        const auto id = static_cast<MemberId>(member);
        const ReaderControl seen{cell(id).word.load(std::memory_order_relaxed)};  // as above
        count += seen.count() != 0 && !members_->has_ended(id) ? 1U : 0U;
    }
    return count;
}

bool RwLockWord::mark_fallen(std::uint32_t seen) noexcept {
    // release: whoever is told finds the data as the dead one left them
    return layout_->fallen.compare_exchange_strong(
        seen, (seen + RwLockLayout::kFallenStep) | RwLockLayout::kFallen, std::memory_order_release,
        std::memory_order_relaxed);
}

bool RwLockWord::repair(MemberId me) noexcept {
    if (!writer_.repair(me)) {
        return false;
    }
    std::uint32_t seen = layout_->fallen.load(std::memory_order_relaxed);  // checked below
    // relaxed: the lock orders the data
    while ((seen & RwLockLayout::kFallen) != 0 &&
           !layout_->fallen.compare_exchange_weak(
               seen, (seen + RwLockLayout::kFallenStep) & ~RwLockLayout::kFallen,
               std::memory_order_relaxed, std::memory_order_relaxed)) {
    }
    return true;
}

void RwLockWord::abandon(MemberId me) noexcept {
    writer_.abandon(me);
    if (is_reader(me)) {
        // relaxed: checked by the exchange
        while (!mark_fallen(layout_->fallen.load(std::memory_order_relaxed))) {
        }
        leave(cell(me).word);
    }
}

void RwLockWord::sweep(MemberId id, const DeadTenant& dead) noexcept {
    writer_.sweep(id, dead);
    for (;;) {
        // acquire: before the cell is read (I4)
        const std::uint32_t fallen = layout_->fallen.load(std::memory_order_acquire);
        ReaderControl seen{cell(id).word.load(std::memory_order_acquire)};  // A1
        if (!dead.is_still_there() || seen.count() == 0) {
            return;
        }
        // Marked first: who dies in between, marks it twice. If somebody else has marked or
        // repaired it since we looked, he may have swept the cell, too.
        if (!mark_fallen(fallen)) {
            continue;
        }
        if (cell(id).word.compare_exchange_strong(seen.word, seen.rescued().word,
                                                  std::memory_order_acq_rel,  // R1 R2
                                                  std::memory_order_relaxed)) {
            if (seen.is_wanted()) {
                wake(cell(id).word);
            }
            return;
        }
    }
}

}  // namespace sluice::shm
