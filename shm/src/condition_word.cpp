// Waiting in a condition's cells, notifying them, and passing on what the dead were told.
#include "sluice/shm/condition_word.hpp"

#include <bit>
#include <limits>
#include <new>

namespace sluice::shm {
namespace {

constexpr std::uint32_t kBits = 64;

constexpr std::uint32_t bit_words(std::uint32_t members) noexcept {
    return (members + kBits - 1) / kBits;
}
constexpr std::uint64_t bit_of(MemberId id) noexcept {
    return 1ULL << ((id - 1U) % kBits);
}
constexpr std::size_t cells_offset(std::uint32_t members) noexcept {
    return round_up(offsetof(ConditionLayout, waiting) + bit_words(members) * sizeof(std::uint64_t),
                    kIsolationBytes);
}
// Tickets wrap round.
constexpr bool is_before(std::uint64_t ticket, std::uint64_t other) noexcept {
    return static_cast<std::int64_t>(ticket - other) < 0;
}

}  // namespace

std::size_t ConditionWord::bytes(std::uint32_t members) noexcept {
    return cells_offset(members) + members * sizeof(ConditionCellLayout);
}

std::uint64_t ConditionWord::layout_signature() noexcept {
    std::uint64_t hash = fnv1a("condition: tickets; bits; cells: tag30 state2, ticket64; 4 states");
    hash = fnv1a(offsetof(ConditionLayout, waiting), hash);
    return fnv1a(sizeof(ConditionCellLayout), hash);
}

void ConditionWord::initialise(std::byte* body, std::uint32_t members,
                               std::uint64_t first_ticket) noexcept {
    auto* layout = new (body) ConditionLayout{};
    // Nobody sees it before its segment is ready: relaxed throughout.
    layout->next_ticket.store(first_ticket, std::memory_order_relaxed);
    layout->everybody.store(first_ticket, std::memory_order_relaxed);
    const ConditionControl tag{static_cast<std::uint32_t>(first_ticket)
                               << ConditionControl::kStateBits};
    for (std::uint32_t index = 0; first_ticket != 0 && index < members; ++index) {
        auto* cell = new (body + cells_offset(members) + index * sizeof(ConditionCellLayout))
            ConditionCellLayout{};
        cell->word.store(tag.word, std::memory_order_relaxed);
    }
}

ConditionWord::ConditionWord(std::byte* body, Members& members) noexcept
    : layout_(reinterpret_cast<ConditionLayout*>(body)),
      cells_(reinterpret_cast<ConditionCellLayout*>(body + cells_offset(members.capacity()))),
      members_(&members),
      bit_words_(bit_words(members.capacity())) {
    members_->set_sweeper({[](void* condition, MemberId id, const DeadTenant& dead) {
                               static_cast<ConditionWord*>(condition)->sweep(id, dead);
                           },
                           this});
}

ConditionWord::Place ConditionWord::announce(MemberId me) noexcept {
    ConditionCellLayout& mine = cell(me);
    // relaxed: only a number; who notifies is ordered by the lock, or not at all
    const std::uint64_t ticket = layout_->next_ticket.fetch_add(1, std::memory_order_relaxed);
    const ConditionControl seen{mine.word.load(std::memory_order_acquire)};  // A3
    const ConditionControl announced = seen.next(ConditionState::waiting);
    mine.ticket.store(ticket, std::memory_order_relaxed);        // published by R1
    mine.word.store(announced.word, std::memory_order_release);  // R1; I1: we alone make it WAITING
    layout_->waiting[(me - 1U) / kBits].fetch_or(bit_of(me), std::memory_order_seq_cst);  // S1
    return {me, announced, ticket};
}

bool ConditionWord::is_everybody(std::uint64_t ticket) const noexcept {
    return is_before(ticket, layout_->everybody.load(std::memory_order_seq_cst));  // S2
}

void ConditionWord::clear_bit(MemberId id) noexcept {
    // relaxed: our own bit, and we do not sleep; in vain it may be seen for a while (I3)
    layout_->waiting[(id - 1U) / kBits].fetch_and(~bit_of(id), std::memory_order_relaxed);
}

Waited ConditionWord::wait(const Place& place, Wait mode, SpinBudget& budget, Deadline deadline,
                           ConditionDisturbance disturbance) noexcept {
    constexpr unsigned kLooksPerClock = 64;
    constexpr unsigned kLooksPerCheck = 1U << 14U;
    ConditionCellLayout& mine = cell(place.id);
    const ConditionControl asleep = place.announced.with(ConditionState::asleep);
    const ConditionControl notified = place.announced.with(ConditionState::notified);
    // I5: what `everybody` says is written into the cell, for whoever finds us dead (I2).
    const auto is_notified = [&] {
        ConditionControl seen{mine.word.load(std::memory_order_acquire)};  // A2
        while (seen.is_waiting() && is_everybody(place.ticket)) {
            if (mine.word.compare_exchange_weak(seen.word, notified.word,
                                                std::memory_order_acq_rel,  // R2 A2
                                                std::memory_order_acquire)) {
                return true;
            }
        }
        return !seen.is_waiting();
    };
    // Out of the race for a notification, if none has come.
    const auto gives_up = [&] {
        ConditionControl seen{mine.word.load(std::memory_order_acquire)};  // A2
        const ConditionControl idle = place.announced.with(ConditionState::idle);
        while (seen.is_waiting()) {
            if (mine.word.compare_exchange_weak(seen.word, idle.word, std::memory_order_acquire,
                                                std::memory_order_acquire)) {  // A2
                return true;
            }
        }
        return false;
    };
    const auto is_disturbed = [&] {
        if (disturbance.has_happened == nullptr || !disturbance.has_happened(disturbance.context)) {
            return false;
        }
        static_cast<void>(gives_up());  // notified or not: it is awake
        return true;
    };
    const auto over = [&](Waited how) {
        clear_bit(place.id);
        return how;
    };

    const std::int64_t spin_ns = mode == Wait::spin_then_park ? budget.ns() : 0;
    if (mode == Wait::spin || spin_ns > 0) {
        const Deadline until = mode == Wait::spin ? deadline : deadline.chunk(spin_ns);
        for (unsigned look = 1;; ++look) {
            if (is_notified()) {
                budget.paid();
                return over(Waited::done);
            }
            if (look % kLooksPerClock == 0 && until.has_passed()) {
                break;
            }
            if (look % kLooksPerCheck == 0) {
                if (is_disturbed()) {
                    return over(Waited::done);
                }
                members_->rescue();
                give_way();
            }
            spin_pause();
        }
        budget.wasted();
    }
    for (SleepChunk chunk;;) {
        if (is_notified()) {
            return over(Waited::done);
        }
        if (deadline.has_passed()) {
            return over(gives_up() ? Waited::timed_out : Waited::done);
        }
        if (is_disturbed()) {
            return over(Waited::done);
        }
        // The dead pass on what they were told: perhaps to us.
        members_->rescue();
        ConditionControl seen = place.announced;
        // relaxed: the notifier reads nothing of ours by it. A notification that comes first makes
        // the exchange fail, and the sleep does not begin.
        mine.word.compare_exchange_strong(seen.word, asleep.word, std::memory_order_relaxed,
                                          std::memory_order_relaxed);
        if (!is_everybody(place.ticket)) {
            static_cast<void>(futex_wait(mine.word, asleep.word, deadline.chunk(chunk.next_ns())));
        }
    }
}

void ConditionWord::finish(const Place& place) noexcept {
    ConditionControl notified = place.announced.with(ConditionState::notified);
    // relaxed: an IDLE cell tells nothing but that. Timed out, it is IDLE already.
    cell(place.id).word.compare_exchange_strong(
        notified.word, place.announced.with(ConditionState::idle).word, std::memory_order_relaxed,
        std::memory_order_relaxed);
}

void ConditionWord::withdraw(const Place& place) noexcept {
    const ConditionControl idle = place.announced.with(ConditionState::idle);
    ConditionControl seen{cell(place.id).word.load(std::memory_order_relaxed)};  // only compared
    while (seen.is_waiting() &&
           // relaxed: an IDLE cell tells nothing but that
           !cell(place.id).word.compare_exchange_weak(
               seen.word, idle.word, std::memory_order_relaxed, std::memory_order_relaxed)) {
    }
    clear_bit(place.id);
    if (seen.state() == ConditionState::notified) {
        notify(1);
        finish(place);
    }
}

MemberId ConditionWord::find_oldest(std::uint64_t before, ConditionControl& found) const noexcept {
    MemberId oldest = kNobody;
    std::uint64_t oldest_ticket = 0;
    for (std::uint32_t index = 0; index < bit_words_; ++index) {
        std::uint64_t bits = layout_->waiting[index].load(std::memory_order_seq_cst);  // S4
        for (; bits != 0; bits &= bits - 1) {
            const std::uint32_t member =
                index * kBits + static_cast<std::uint32_t>(std::countr_zero(bits));
            if (member >= members_->capacity()) {
                break;  // damaged
            }
            const auto id = static_cast<MemberId>(member + 1U);
            const ConditionControl seen{cell(id).word.load(std::memory_order_acquire)};  // A1
            // relaxed: of this wait, or of a later one: then the exchange of the word fails
            const std::uint64_t ticket = cell(id).ticket.load(std::memory_order_relaxed);
            if (seen.is_waiting() && is_before(ticket, before) &&
                (oldest == kNobody || is_before(ticket, oldest_ticket))) {
                oldest = id;
                oldest_ticket = ticket;
                found = seen;
            }
        }
    }
    return oldest;
}

bool ConditionWord::notify_cell(MemberId id, ConditionControl seen) noexcept {
    const ConditionControl notified = seen.with(ConditionState::notified);
    if (!cell(id).word.compare_exchange_strong(seen.word, notified.word,
                                               std::memory_order_acq_rel,  // R2 A1
                                               std::memory_order_relaxed)) {
        return false;
    }
    if (seen.state() == ConditionState::asleep) {
        futex_wake(cell(id).word, 1);
    }
    return true;
}

unsigned ConditionWord::notify_oldest(std::uint64_t count) noexcept {
    // Who comes after this call began is not meant: else one that waits again at once would take
    // the notifications of all the others. relaxed: whoever must be notified is seen by the lock's
    // order.
    const std::uint64_t before = layout_->next_ticket.load(std::memory_order_relaxed);
    unsigned notified = 0;
    while (notified < count) {
        ConditionControl seen{};
        const MemberId id = find_oldest(before, seen);
        if (id == kNobody) {
            break;
        }
        if (members_->has_ended(id) && members_->rescue(id)) {
            continue;
        }
        if (notify_cell(id, seen)) {
            ++notified;
            // It may have died just before: then nobody else would look for a while.
            static_cast<void>(members_->has_ended(id) && members_->rescue(id));
        }
    }
    return notified;
}

void ConditionWord::notify_all() noexcept {
    // relaxed: as in notify_oldest()
    const std::uint64_t before = layout_->next_ticket.load(std::memory_order_relaxed);
    std::uint64_t everybody = layout_->everybody.load(std::memory_order_relaxed);  // compared below
    while (is_before(everybody, before) &&
           !layout_->everybody.compare_exchange_weak(everybody, before, std::memory_order_seq_cst,
                                                     std::memory_order_relaxed)) {  // S3
    }
    notify(std::numeric_limits<std::uint64_t>::max());
}

void ConditionWord::sweep(MemberId id, const DeadTenant& dead) noexcept {
    ConditionControl seen{cell(id).word.load(std::memory_order_acquire)};  // A1
    for (;;) {
        if (!dead.is_still_there() || seen.state() == ConditionState::idle) {
            return;
        }
        // Passed on first: who dies in between, or is too late, passes it on twice, and that only
        // wakes somebody in vain (I2).
        if (seen.state() == ConditionState::notified) {
            notify(1);
        }
        if (cell(id).word.compare_exchange_strong(seen.word, seen.next(ConditionState::idle).word,
                                                  std::memory_order_acq_rel,  // R3
                                                  std::memory_order_acquire)) {
            return;
        }
    }
}

}  // namespace sluice::shm
