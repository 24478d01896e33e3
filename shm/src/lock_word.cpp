// Waiting for a lock, hand-over, rescue. The fast paths are in the header.
#include "sluice/shm/lock_word.hpp"

#include <climits>

#include "sluice/shm/node_memory.hpp"

namespace sluice::shm {

std::uint64_t LockWord::layout_signature() noexcept {
    std::uint64_t hash =
        fnv1a("lock word: owner16 waiters abandoned handoff tag13; heir id16 tag16");
    hash = fnv1a(offsetof(LockWordLayout, heir), hash);
    hash = fnv1a(offsetof(LockWordLayout, depth), hash);
    return fnv1a(sizeof(LockWordLayout), hash);
}

/// One thread's wait for one lock.
class LockWord::Waiter {
 public:
    Waiter(LockWord& lock, MemberId me, IfAbandoned if_abandoned) noexcept
        : lock_(lock), word_(lock.layout_->word), me_(me), if_abandoned_(if_abandoned) {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() {
        if (heir_ != 0) {
            resign();
        }
    }

    /// One look at the word, and what it allows. False: somebody is in the way, whom blocker()
    /// names.
    bool attempt() noexcept {
        for (;;) {
            seen_ = {word_.load(std::memory_order_relaxed)};  // checked by the exchange
            if (seen_.owner() != kNobody) {
                if (is_final_with_owner()) {
                    return true;
                }
                if (heir_ == 0 || seen_.has_handoff() ||
                    word_.compare_exchange_strong(seen_.word, seen_.word | LockControl::kHandoff,
                                                  std::memory_order_release,
                                                  std::memory_order_relaxed)) {  // R2
                    return false;
                }
                continue;
            }
            if (seen_.has_handoff() && heir_ == 0) {
                return false;
            }
            if (seen_.is_abandoned() && if_abandoned_ == IfAbandoned::refuse) {
                result_ = LockResult::abandoned;
                return true;
            }
            const std::uint32_t waiters = slept_ ? LockControl::kWaiters : 0;  // I2
            const std::uint32_t mine = (seen_.word & ~LockControl::kHandoff) | waiters | me_;
            if (word_.compare_exchange_strong(seen_.word, mine, std::memory_order_acquire,
                                              std::memory_order_relaxed)) {  // A1
                lock_.remember({mine});
                if (heir_ != 0) {
                    clear_heir();
                }
                result_ = LockResult::done;
                return true;
            }
        }
    }

    /// Who is in the way, by the last attempt: the owner, or the heir.
    MemberId blocker() const noexcept {
        return seen_.owner() != kNobody ? seen_.owner()
                                        : static_cast<MemberId>(lock_.layout_->heir.load(
                                              std::memory_order_acquire));  // A2
    }

    /// Looks at the word for so long, more and more rarely: who polls takes the line from the
    /// owner, who needs it to unlock.
    bool spin(Deadline until) noexcept {
        const unsigned pauses_max = is_far() ? 4 * kPausesMax : kPausesMax;
        unsigned pauses = kPausesMin;
        do {
            for (unsigned look = 0; look < kLooksPerClock; ++look) {
                for (unsigned pause = 0; pause < pauses; ++pause) {
                    spin_pause();
                }
                if (attempt()) {
                    return true;
                }
                // The heir is next: there is nobody whom he could leave the line to.
                pauses = heir_ != 0 ? kPausesMin : pauses < pauses_max ? 2 * pauses : pauses;
            }
        } while (!until.has_passed());
        return false;
    }

    /// Sleeps until the word changes, or whom it waits for dies, or the chunk ends.
    void sleep(Deadline deadline) noexcept {
        const MemberId blocker = this->blocker();
        const std::uint32_t wanted = seen_.word | LockControl::kWaiters;
        if (wanted != seen_.word && !word_.compare_exchange_strong(
                                        seen_.word, wanted, std::memory_order_relaxed,
                                        std::memory_order_relaxed)) {  // relaxed: I2 is of one word
            return;
        }
        slept_ = true;
        FutexWatch watches[3] = {{&word_, wanted}};
        std::size_t count = 1;
        if (const FutexWatch bell = lock_.members_->watch(blocker); bell.word != nullptr) {
            watches[count++] = bell;
        }
        if (heir_ != 0) {
            watches[count++] = {&lock_.layout_->heir, heir_};
        }
        const Deadline until = deadline.chunk(chunk_.next_ns());
        static_cast<void>(count == 1 ? futex_wait(word_, wanted, until)
                                     : futex_wait_any({watches, count}, until));
        fail();
    }
    void fail() noexcept { ++failures_; }

    /// Mends what the dead have left in the way; true when it did.
    bool rescue() noexcept {
        const MemberId blocker = this->blocker();
        return lock_.members_->has_ended(blocker) && lock_.members_->rescue(blocker);
    }

    /// After too many failures: the next to have the lock, unless somebody else is.
    void become_heir() noexcept {
        if (heir_ != 0 || failures_ < kFailuresMax) {
            return;
        }
        FutexWord& heir = lock_.layout_->heir;
        std::uint32_t noted = heir.load(std::memory_order_relaxed);  // checked by the exchange
        if (static_cast<MemberId>(noted) != kNobody ||
            !heir.compare_exchange_strong(noted, noted | me_, std::memory_order_relaxed,
                                          std::memory_order_relaxed)) {
            return;
        }
        heir_ = noted | me_;  // the next attempt sets the bit
    }

    LockResult result() const noexcept { return result_; }

 private:
    // lock_bench, 2 and 4 processes on the two CPUs of a Zen 3 virtual machine.
    static constexpr unsigned kPausesMin = 4;
    static constexpr unsigned kPausesMax = 64;
    static constexpr unsigned kLooksPerClock = 4;

    bool is_final_with_owner() noexcept {
        if (seen_.owner() > lock_.members_->capacity()) {
            result_ = LockResult::damaged;
            return true;
        }
        if (seen_.owner() == stranger_) {
            return false;
        }
        if (lock_.is_mine(seen_.owner(), me_)) {
            result_ = LockResult::would_deadlock;
            return true;
        }
        stranger_ = seen_.owner();
        return false;
    }

    /// Whether the owner took the lock on another NUMA node: then every look costs both more.
    bool is_far() const noexcept {
        const std::uint32_t node = lock_.layout_->owner_node.load(std::memory_order_relaxed);
        return node != 0 && node != static_cast<std::uint32_t>(current_node()) + 1;  // a hint
    }

    void clear_heir() noexcept {
        std::uint32_t noted = heir_;
        // relaxed: the next heir reads nothing of ours
        lock_.layout_->heir.compare_exchange_strong(noted, noted & ~LockControl::kOwnerMask,
                                                    std::memory_order_relaxed,
                                                    std::memory_order_relaxed);
        heir_ = 0;
    }

    // Without the lock: timed out, or refused. The bit first (I3), then the note, then whoever was
    // barred by it.
    void resign() noexcept {
        const LockControl left{word_.fetch_and(~LockControl::kHandoff, std::memory_order_relaxed)};
        clear_heir();
        if (left.owner() == kNobody && left.has_waiters()) {
            futex_wake(word_, 1);
        }
    }

    LockWord& lock_;
    FutexWord& word_;
    MemberId me_;
    IfAbandoned if_abandoned_;
    LockControl seen_{};
    LockResult result_{LockResult::timed_out};
    bool slept_{};
    std::uint32_t heir_{};  // as it stands in the layout while it is this thread
    unsigned failures_{};
    MemberId stranger_{};  // an owner that is known not to be this thread
    SleepChunk chunk_{};
};

LockResult LockWord::lock(MemberId me, Wait mode, SpinBudget& budget, Deadline deadline,
                          IfAbandoned if_abandoned) noexcept {
    constexpr std::int64_t kSpinRoundNs = 100'000;
    Waiter waiter(*this, me, if_abandoned);
    while (!waiter.attempt()) {
        if (waiter.rescue()) {
            continue;
        }
        if (deadline.has_passed()) {
            return LockResult::timed_out;
        }
        const std::int64_t spin_ns = mode == Wait::spin             ? kSpinRoundNs
                                     : mode == Wait::spin_then_park ? budget.ns()
                                                                    : 0;
        if (spin_ns > 0) {
            if (waiter.spin(deadline.chunk(spin_ns))) {
                budget.paid();
                break;
            }
            budget.wasted();
        }
        if (mode == Wait::spin) {
            waiter.fail();
        } else if (!waiter.attempt()) {
            waiter.sleep(deadline);
        } else {
            break;
        }
        waiter.become_heir();
    }
    if (waiter.result() == LockResult::done) {
        note_node();
    }
    return waiter.result();
}

void LockWord::note_node() noexcept {
    // relaxed: a hint. Written only where it changes: the line is everybody's.
    const auto node = static_cast<std::uint32_t>(current_node()) + 1;
    if (layout_->owner_node.load(std::memory_order_relaxed) != node) {
        layout_->owner_node.store(node, std::memory_order_relaxed);
    }
}

bool LockWord::unlock(MemberId me) noexcept {
    LockControl seen = control();
    if (!is_mine(seen.owner(), me)) {
        return false;
    }
    while (!layout_->word.compare_exchange_weak(seen.word, seen.freed().word,
                                                std::memory_order_release,
                                                std::memory_order_relaxed)) {  // R1
    }
    remember(seen);
    if (seen.has_waiters() || seen.has_handoff()) {
        wake_next(seen.freed());
    }
    return true;
}

void LockWord::wake_next(LockControl left) noexcept {
    if (left.has_handoff()) {
        // Only he can take it, and he wakes the others in his turn. (Awake already, or about to
        // sleep: he sees the word change.)
        futex_wake(layout_->heir, 1);
    } else if (futex_wake(layout_->word, 1) == 0) {
        // Nobody slept. If the word is as we left it nobody has fallen asleep since: one sleeps
        // only on a word that is taken. (Or it was taken meanwhile, and freed by one who saw the
        // bit: then whom he woke sets it again, I2.)
        layout_->word.compare_exchange_strong(left.word, left.word & ~LockControl::kWaiters,
                                              std::memory_order_relaxed, std::memory_order_relaxed);
    }
}

void LockWord::wake_all() noexcept {
    futex_wake(layout_->word, INT_MAX);
    futex_wake(layout_->heir, INT_MAX);
}

bool LockWord::is_locked() const noexcept {
    const MemberId owner = control().owner();
    return owner != kNobody && !members_->has_ended(owner);
}

bool LockWord::is_abandoned() const noexcept {
    const LockControl seen = control();
    return seen.is_abandoned() || members_->has_ended(seen.owner());
}

void LockWord::repair() noexcept {
    const MemberId owner = control().owner();
    if (members_->has_ended(owner)) {
        members_->rescue(owner);
    }
    // release: where nobody may take the lock before, this is what publishes the repaired. R1
    layout_->word.fetch_and(~LockControl::kAbandoned, std::memory_order_release);
}

void LockWord::abandon(MemberId me) noexcept {
    LockControl seen = control();
    while (seen.owner() == me) {
        if (layout_->word.compare_exchange_weak(seen.word, seen.rescued().word,
                                                std::memory_order_release,
                                                std::memory_order_relaxed)) {  // R1
            wake_all();
            return;
        }
    }
}

void LockWord::sweep(MemberId id, const DeadTenant& dead) noexcept {
    // acquire, here and below: the looks before the question whether the id is still the dead one's
    LockControl seen{layout_->word.load(std::memory_order_acquire)};  // A1
    while (seen.owner() == id) {
        if (!dead.is_still_there()) {
            return;
        }
        if (layout_->word.compare_exchange_weak(seen.word, seen.rescued().word,
                                                std::memory_order_acq_rel,
                                                std::memory_order_acquire)) {  // A1 R1
            seen = seen.rescued();
        }
    }
    std::uint32_t heir = layout_->heir.load(std::memory_order_acquire);  // A2
    if (static_cast<MemberId>(heir) == id) {
        // I3: the bit first. It may have become another heir's meanwhile: then either `heir` has
        // changed, or the word's tag, which the first rescuer raised (I4).
        seen = {layout_->word.load(std::memory_order_acquire)};  // A1
        while (seen.has_handoff()) {
            if (layout_->heir.load(std::memory_order_acquire) != heir ||  // A2
                !dead.is_still_there()) {
                break;
            }
            if (layout_->word.compare_exchange_weak(seen.word, seen.disinherited().word,
                                                    std::memory_order_acq_rel,
                                                    std::memory_order_acquire)) {  // A1 R1
                break;
            }
        }
        if (!dead.is_still_there()) {
            return;
        }
        const std::uint32_t nobody =
            (heir & ~LockControl::kOwnerMask) + LockWordLayout::kHeirTagStep;
        layout_->heir.compare_exchange_strong(heir, nobody, std::memory_order_acq_rel,
                                              std::memory_order_relaxed);  // A2 R2
    }
    // Also where another has mended the word: he may have died before he woke anybody.
    wake_all();
}

}  // namespace sluice::shm
