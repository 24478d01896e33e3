// A barrier: arriving, breaking, mending.
#include "sluice/shm/barrier_word.hpp"

#include <new>

namespace sluice::shm {

std::size_t BarrierWord::bytes(std::uint32_t members) noexcept {
    return offsetof(BarrierLayout, attached) + members * sizeof(std::uint32_t);
}

std::uint64_t BarrierWord::layout_signature() noexcept {
    std::uint64_t hash =
        fnv1a("barrier: generation32 endings15 broken1 arrived16, sleepers; attached: tags");
    hash = fnv1a(offsetof(BarrierLayout, attached_max), hash);
    return fnv1a(offsetof(BarrierLayout, attached), hash);
}

void BarrierWord::initialise(std::byte* body, std::uint32_t generation) noexcept {
    // New memory is zero: nobody is attached.
    auto* layout = new (body) BarrierLayout{};
    // relaxed: nobody sees it before its segment is ready
    layout->state.store(static_cast<std::uint64_t>(generation) << BarrierState::kGenerationShift,
                        std::memory_order_relaxed);
}

BarrierWord::BarrierWord(std::byte* body, Members& members, std::uint32_t parties) noexcept
    : layout_(reinterpret_cast<BarrierLayout*>(body)), members_(&members), parties_(parties) {
    members.set_sweeper({[](void* word, MemberId id, const DeadTenant& dead) {
                             static_cast<BarrierWord*>(word)->sweep(id, dead);
                         },
                         this});
}

BarrierResult BarrierWord::arrive(Arrival& arrival) noexcept {
    const MemberId me = members().id();
    if (me == kNobody || !is_party(me)) [[unlikely]] {
        return BarrierResult::no_party;
    }
    BarrierState seen{layout_->state.load(std::memory_order_acquire)};  // A1
    for (;;) {
        if (seen.is_broken()) {
            return BarrierResult::broken;
        }
        arrival = {seen.generation(), seen.arrived()};
        if (seen.arrived() + 1 >= parties_) {
            if (end_generation(seen, seen.opened())) {
                return BarrierResult::opened;
            }
        } else if (layout_->state.compare_exchange_weak(seen.word, seen.with_arrival().word,
                                                        std::memory_order_seq_cst,
                                                        std::memory_order_acquire)) {  // R1 A1 S1
            return BarrierResult::waiting;
        }
    }
}

bool BarrierWord::give_up(const Arrival& arrival) noexcept {
    BarrierState seen = state();
    while (seen.generation() == arrival.generation) {
        if (end_generation(seen, seen.broken())) {
            return true;
        }
    }
    return false;
}

void BarrierWord::abort() noexcept {
    BarrierState seen = state();
    while (!seen.is_broken() && !end_generation(seen, seen.broken())) {
    }
    // Of one who broke it and died before he woke the others.
    layout_->sleepers.notify_all();
}

void BarrierWord::reset() noexcept {
    members().rescue();
    BarrierState seen = state();
    while (!end_generation(seen, seen.mended())) {
    }
}

std::uint32_t BarrierWord::attached_max() const noexcept {
    const std::uint32_t seen = layout_->attached_max.load(std::memory_order_acquire);  // A2
    const std::uint32_t capacity = members().capacity();
    return seen < capacity ? seen : capacity;  // it may be damaged
}

void BarrierWord::attach(MemberId me) noexcept {
    members().rescue();                                                          // I2
    std::uint32_t seen = layout_->attached_max.load(std::memory_order_relaxed);  // checked below
    while (seen < me &&
           !layout_->attached_max.compare_exchange_weak(seen, me, std::memory_order_release,
                                                        std::memory_order_relaxed)) {  // R2
    }
    // seq_cst: before the load of the sleepers' word
    layout_->attached[me - 1U].exchange(members().tenant_tag(me), std::memory_order_seq_cst);  // R2
    layout_->sleepers.notify_all();
}

bool BarrierWord::has_living_party_beside(MemberId id) const noexcept {
    const std::uint32_t last = attached_max();
    for (std::uint32_t other = 1; other <= last; ++other) {
        const auto party = static_cast<MemberId>(other);
        if (party != id && is_party(party) && !members().has_ended(party)) {
            return true;
        }
    }
    return false;
}

void BarrierWord::sweep(MemberId id, const DeadTenant& dead) noexcept {
    // Read before the parties are: the exchange fails if anything has happened since.
    BarrierState seen{layout_->state.load(std::memory_order_seq_cst)};  // A1
    while (!seen.is_broken() && is_party(id) &&
           (seen.arrived() != 0 || has_living_party_beside(id))) {
        if (!dead.is_still_there()) {
            return;  // another finished the rescue: those alive have come since (I2)
        }
        if (end_generation(seen, seen.broken())) {
            return;
        }
    }
    // Even if nothing changed here: another rescuer may have died between breaking and this.
    layout_->sleepers.notify_all();
}

Bells BarrierWord::stuck() noexcept {
    Bells bells;
    const MemberId me = members().id();
    const std::uint32_t last = attached_max();
    for (std::uint32_t other = 1; other <= last; ++other) {
        const auto party = static_cast<MemberId>(other);
        if (party != me && is_party(party) && !members().rescue(party)) {
            bells.add(members().watch(party));
        }
    }
    return bells;
}

}  // namespace sluice::shm
