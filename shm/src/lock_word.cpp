// Waiting for a lock, hand-over, rescue. The fast paths are in the header.
#include "sluice/shm/lock_word.hpp"

#include <climits>

#include "sluice/shm/node_memory.hpp"

namespace sluice::shm {

std::uint64_t LockWord::layout_signature() noexcept {
    std::uint64_t hash = fnv1a("lock word: owner16 abandoned reserved tag14; heir id16 tag16");
    hash = fnv1a(offsetof(LockWordLayout, heir), hash);
    hash = fnv1a(offsetof(LockWordLayout, sleepers), hash);
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
            seen_ = {word_.load(std::memory_order_acquire)};  // A2
            if (seen_.owner() != kNobody) {
                return is_final_with_owner();
            }
            if (seen_.is_reserved() && heir_ == 0) {
                const std::uint32_t noted =
                    lock_.layout_->heir.load(std::memory_order_acquire);  // A2
                const auto heir = static_cast<MemberId>(noted);
                if (heir > lock_.members_->capacity()) {
                    result_ = LockResult::damaged;
                    return true;
                }
                if (heir != kNobody && !lock_.is_mine(heir, me_)) {
                    return false;
                }
                heir_ = heir != kNobody ? noted : 0;  // of which it does not know: damage
            }
            if (seen_.is_abandoned() && if_abandoned_ == IfAbandoned::refuse) {
                result_ = LockResult::abandoned;
                return true;
            }
            if (word_.compare_exchange_strong(seen_.word, seen_.owned_by(me_).word,
                                              std::memory_order_acquire,
                                              std::memory_order_relaxed)) {  // A1
                lock_.remember(seen_);
                if (heir_ != 0) {
                    take_note_back();
                }
                result_ = LockResult::done;
                return true;
            }
        }
    }

    /// Who is in the way, by the last attempt: the owner, or the heir.
    MemberId blocker() const noexcept { return seen_.owner() != kNobody ? seen_.owner() : heir(); }

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
                if (heir_ == 0 && pauses < pauses_max) {
                    pauses += 1 + pauses / kLooksPerDoubling;
                }
            }
        } while (!until.has_passed());
        return false;
    }

    /// Sleeps until it is woken, or whom it waits for dies, or the chunk ends. True: it need not
    /// sleep, it is over.
    bool sleep(Deadline deadline) noexcept {
        EventCountLayout& sleepers = lock_.layout_->sleepers;
        const EventCountLayout::Ticket ticket = sleepers.announce();
        heavy_fence();
        if (attempt()) {
            sleepers.retract(ticket);
            return true;
        }
        FutexWatch watches[3] = {{&sleepers.word, ticket.value}};
        std::size_t count = 1;
        if (const FutexWatch bell = lock_.members_->watch(blocker()); bell.word != nullptr) {
            watches[count++] = bell;
        }
        if (heir_ != 0) {
            watches[count++] = {&lock_.layout_->heir, heir_};
        }
        const Deadline until = deadline.chunk(chunk_.next_ns());
        static_cast<void>(count == 1 ? futex_wait(sleepers.word, ticket.value, until)
                                     : futex_wait_any({watches, count}, until));
        sleepers.retract(ticket);
        fail();
        return false;
    }
    void fail() noexcept { ++failures_; }

    /// Mends what the dead have left in the way, or what names an id that nobody has: damage, or a
    /// look of before its tenant went. True when it did.
    bool rescue() noexcept {
        const MemberId blocker = this->blocker();
        return lock_.members_->has_ended(blocker) ? lock_.members_->rescue(blocker)
                                                  : lock_.members_->sweep_vacant(blocker);
    }

    /// After too many failures: the next to have the lock, unless somebody else is.
    void become_heir() noexcept {
        if (heir_ != 0 || failures_ < kFailuresMax) {
            return;
        }
        FutexWord& heir = lock_.layout_->heir;
        std::uint32_t noted = heir.load(std::memory_order_relaxed);  // checked by the exchange
        if (static_cast<MemberId>(noted) == kNobody &&
            heir.compare_exchange_strong(noted, noted | me_, std::memory_order_release,
                                         std::memory_order_relaxed)) {  // R2
            heir_ = noted | me_;
        }
    }

    /// Where the lock now has its owner, for those who wait for him.
    void note_node() const noexcept {
        // relaxed: a hint. Written only where it changes: the line is everybody's.
        std::atomic<std::uint32_t>& noted = lock_.layout_->owner_node;
        if (node_ != 0 && noted.load(std::memory_order_relaxed) != node_) {
            noted.store(node_, std::memory_order_relaxed);
        }
    }

    LockResult result() const noexcept { return result_; }

 private:
    // Rare looks soon: whoever looks at the word of an owner of 20 ns takes the line from him. Not
    // too rare: each pause is lost when the owner of 600 ns is done. Chosen by lock_bench, 2
    // processes, on an EPYC virtual machine, from eleven such triples: more looks (1, 128, 8)
    // cost short sections a fifth, fewer (4, 128, 8) cost long ones a tenth.
    static constexpr unsigned kPausesMin = 1;
    static constexpr unsigned kPausesMax = 16;
    static constexpr unsigned kLooksPerDoubling = 2;
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
    bool is_far() noexcept {
        // Asked while somebody else holds the lock, so that note_node() need not.
        node_ = static_cast<std::uint32_t>(current_node()) + 1;
        const std::uint32_t node =
            lock_.layout_->owner_node.load(std::memory_order_relaxed);  // a hint
        return node != 0 && node != node_;
    }

    MemberId heir() const noexcept {
        return static_cast<MemberId>(lock_.layout_->heir.load(std::memory_order_acquire));  // A2
    }
    void take_note_back() noexcept {
        std::uint32_t noted = heir_;
        lock_.layout_->heir.compare_exchange_strong(noted, noted & ~LockControl::kOwnerMask,
                                                    std::memory_order_seq_cst,
                                                    std::memory_order_relaxed);  // S2
        heir_ = 0;
    }

    // Without the lock: timed out, or refused. If it is reserved by now it is nobody's in
    // particular, and whoever sleeps must hear of it.
    void resign() noexcept {
        take_note_back();
        LockControl seen{word_.load(std::memory_order_seq_cst)};  // S2
        if (seen.is_reserved()) {
            // relaxed: orders nothing; where it fails somebody has taken it
            word_.compare_exchange_strong(seen.word, seen.freed().word, std::memory_order_relaxed,
                                          std::memory_order_relaxed);
            lock_.layout_->sleepers.notify_one();
        }
    }

    LockWord& lock_;
    std::atomic<std::uint32_t>& word_;
    MemberId me_;
    IfAbandoned if_abandoned_;
    LockControl seen_{};
    LockResult result_{LockResult::timed_out};
    std::uint32_t node_{};  // 1 + that of this thread, where it has spun
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
            give_way();
            waiter.fail();
        } else if (waiter.sleep(deadline)) {
            break;
        }
        waiter.become_heir();
    }
    if (waiter.result() == LockResult::done) {
        waiter.note_node();
    }
    return waiter.result();
}

bool LockWord::unlock(MemberId me) noexcept {
    LockControl seen = control();
    if (!is_mine(seen.owner(), me)) {
        return false;
    }
    remember(seen);
    // relaxed: the next unlock sees who noted himself since
    const auto heir = static_cast<MemberId>(layout_->heir.load(std::memory_order_relaxed));
    // A dead one is swept first: whom he bars does not know of him.
    if (heir != kNobody && !members_->rescue(heir)) {
        layout_->word.exchange(seen.reserved().word, std::memory_order_seq_cst);  // R1 R2 S1
    } else {
        layout_->word.store(seen.freed().word, std::memory_order_release);  // R1
    }
    wake_after_store();
    return true;
}

void LockWord::wake_next() noexcept {
    // Also where he was there when the lock was reserved, but has given up meanwhile.
    const auto heir = static_cast<MemberId>(layout_->heir.load(std::memory_order_seq_cst));  // S1
    if (heir != kNobody) {
        // Raised first, so that he looks again if he has not fallen asleep yet.
        layout_->sleepers.word.fetch_add(EventCountLayout::kStep, std::memory_order_seq_cst);
        futex_wake(layout_->heir, 1);
        if (control().is_reserved()) {
            return;  // only he can take it, and he wakes the next in his turn
        }
    }
    layout_->sleepers.wake_one();
}

void LockWord::wake_all() noexcept {
    layout_->sleepers.wake_all();
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

bool LockWord::repair(MemberId me) noexcept {
    LockControl seen = control();
    if (members_->has_ended(seen.owner())) {
        members_->rescue(seen.owner());
        seen = control();
    }
    if (is_mine(seen.owner(), me)) {
        // relaxed: I1, and our unlock publishes it
        layout_->word.store(seen.word & ~LockControl::kAbandoned, std::memory_order_relaxed);
        return true;
    }
    while (seen.owner() == kNobody) {
        // Where nobody may take the lock before, this is what publishes the repaired. R1
        if (layout_->word.compare_exchange_weak(seen.word, seen.word & ~LockControl::kAbandoned,
                                                std::memory_order_release,
                                                std::memory_order_relaxed)) {
            return true;
        }
    }
    return !seen.is_abandoned();
}

void LockWord::abandon(MemberId me) noexcept {
    const LockControl seen = control();
    if (seen.owner() == me) {
        layout_->word.store(seen.rescued().word, std::memory_order_release);  // R1
        wake_all();
    }
}

void LockWord::sweep(MemberId id, const DeadTenant& dead) noexcept {
    // acquire, here and below: the looks before the question whether the id is still the dead one's
    LockControl seen{layout_->word.load(std::memory_order_acquire)};  // A1
    if (seen.owner() == id) {
        if (!dead.is_still_there()) {
            return;
        }
        // Once: nobody but another rescuer changes it (I1).
        layout_->word.compare_exchange_strong(seen.word, seen.rescued().word,
                                              std::memory_order_acq_rel,
                                              std::memory_order_relaxed);  // A1 R1
    }
    std::uint32_t heir = layout_->heir.load(std::memory_order_acquire);  // A2
    if (static_cast<MemberId>(heir) == id) {
        if (!dead.is_still_there()) {
            return;
        }
        const std::uint32_t nobody =
            (heir & ~LockControl::kOwnerMask) + LockWordLayout::kHeirTagStep;
        layout_->heir.compare_exchange_strong(heir, nobody, std::memory_order_seq_cst,
                                              std::memory_order_relaxed);  // S2
    }
    // Reserved for nobody it may be taken by anybody (I2), and who sleeps must hear of it. Also
    // where another has mended the lock: he may have died before he woke anybody.
    wake_all();
}

}  // namespace sluice::shm
