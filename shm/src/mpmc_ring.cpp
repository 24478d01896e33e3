// The owner-tagged ring: shape, rescue, redelivery, closing. The fast paths are in the header.
#include "sluice/shm/mpmc_ring.hpp"

#include <bit>
#include <new>

namespace sluice::shm {

std::size_t MpmcRing::bytes(const Shape& shape) noexcept {
    return offsetof(MpmcRingLayout, slots) + shape.capacity * shape.slot_bytes;
}

std::uint64_t MpmcRing::layout_signature() noexcept {
    std::uint64_t hash =
        fnv1a("mpmc ring: control lap40 tag5 state3 owner16; 7 states; gate; hints; slots");
    hash = fnv1a(offsetof(MpmcRingLayout, tail_hint), hash);
    hash = fnv1a(offsetof(MpmcRingLayout, head_hint), hash);
    hash = fnv1a(offsetof(ValueSlotLayout, inline_bytes), hash);
    return fnv1a(offsetof(MpmcRingLayout, slots), hash);
}

bool MpmcRing::fits(const Shape& shape, std::size_t body_bytes) noexcept {
    constexpr std::uint64_t kCapacityMax = 1ULL << 26U;  // 2^26 slots x 2^36 bytes beside each
    return std::has_single_bit(shape.capacity) && shape.capacity <= kCapacityMax &&
           shape.slot_bytes >= 16 && shape.slot_bytes % 16 == 0 &&
           shape.slot_bytes <= (body_bytes / shape.capacity) && bytes(shape) <= body_bytes;
}

void MpmcRing::initialise(std::byte* body, const Shape& shape) noexcept {
    auto* layout = new (body) MpmcRingLayout{};
    // Nobody sees the ring before its segment is ready: relaxed throughout.
    layout->tail_hint.store(shape.first_position, std::memory_order_relaxed);
    layout->head_hint.store(shape.first_position, std::memory_order_relaxed);
    const auto shift = static_cast<unsigned>(std::countr_zero(shape.capacity));
    for (std::uint64_t step = 0; step < shape.capacity; ++step) {
        const std::uint64_t position = shape.first_position + step;
        std::byte* at = layout->slots + (position & (shape.capacity - 1)) * shape.slot_bytes;
        auto* slot = new (at) SlotLayout{};
        slot->control.store(SlotControl::make(position >> shift, 0, SlotState::empty, kNobody).word,
                            std::memory_order_relaxed);
    }
}

MpmcRing::MpmcRing(Segment& segment, const Shape& shape) noexcept
    : layout_(reinterpret_cast<MpmcRingLayout*>(segment.body())),
      slots_(layout_->slots),
      segment_(&segment),
      mask_(shape.capacity - 1),
      slot_bytes_(shape.slot_bytes),
      lap_shift_(static_cast<unsigned>(std::countr_zero(shape.capacity))),
      values_have_extents_(shape.values_have_extents),
      tail_(layout_->tail_hint.load(std::memory_order_relaxed)),
      head_(layout_->head_hint.load(std::memory_order_relaxed)),
      epoch_seen_(0) {
    // epoch_seen_ 0: a newcomer to a ring that has seen deaths scans once.
    segment.members().set_sweeper({[](void* ring, MemberId id, const DeadTenant& dead) {
                                       static_cast<MpmcRing*>(ring)->sweep(id, dead);
                                   },
                                   this});
}

bool MpmcRing::abandon(const ClaimedSlot& claimed) noexcept {
    // Nothing to read, but the same rules.
    if (!leave(claimed, claimed.control.with(SlotState::skip, kNobody))) {
        return false;
    }
    // A consumer may be waiting for just this slot; once closed, all of them.
    if (closed()) {
        layout_->items.notify_all();
    } else {
        layout_->items.notify_one();
    }
    layout_->tasks.notify_all();
    return true;
}

bool MpmcRing::give_back(const ClaimedSlot& claimed) noexcept {
    if (!leave(claimed, claimed.control.with(SlotState::returned, kNobody))) {
        return false;
    }
    layout_->control.fetch_add(MpmcRingLayout::kEpochStep, std::memory_order_seq_cst);  // R4
    layout_->items.notify_all();
    return true;
}

// Slots are published and freed out of order: then the one wake-up of the younger went to
// somebody who had to wait for the older, and sleeps again. So who claims the older passes
// it on, at once: he may hold his claim for long. The loads of the next slot may be
// relaxed: who found it of no use has announced himself since, and we have seen that.

void MpmcRing::pass_on_room(std::uint64_t position) noexcept {
    // relaxed: a hint; who is woken looks for himself
    const SlotControl next{slot_at(position).control.load(std::memory_order_relaxed)};
    if (next.laps_ahead_of(lap_of(position)) == 0 && next.state() == SlotState::empty) {
        layout_->room.wake_one();
    }
}

void MpmcRing::pass_on_items(std::uint64_t position) noexcept {
    // relaxed: a hint; who is woken looks for himself
    const SlotControl next{slot_at(position).control.load(std::memory_order_relaxed)};
    if (next.laps_ahead_of(lap_of(position)) == 0 &&
        (next.state() == SlotState::full || next.state() == SlotState::skip)) {
        layout_->items.wake_one();
    }
}

RingResult MpmcRing::claim_given_back(ClaimedSlot& claimed, MemberId me,
                                      std::uint64_t control) noexcept {
    // In every slot, and by a state of its own: no position says where such a message may lie. (A
    // walk behind the head misses one that another thread's head, or a hint, has gone past.)
    const std::uint64_t near =
        head_.load(std::memory_order_relaxed);  // I2: only to count laps from
    for (;;) {
        bool found = false;
        ClaimedSlot oldest;
        for (std::uint64_t index = 0; index <= mask_; ++index) {
            SlotLayout& slot = slot_at(index);
            const SlotControl seen{slot.control.load(std::memory_order_acquire)};  // A1
            if (seen.state() != SlotState::returned) {
                continue;
            }
            const std::uint64_t here = (near & ~mask_) + index;
            const std::uint64_t position = position_of(here, seen.laps_ahead_of(lap_of(here)));
            if (!found || static_cast<std::int64_t>(position - oldest.position) < 0) {
                oldest = {reinterpret_cast<std::byte*>(&slot), seen, position};
                found = true;
            }
        }
        if (!found) {
            // As of that epoch. (Of an older one, where another thread was faster: one more look.)
            epoch_seen_.store(control >> 1U, std::memory_order_relaxed);
            return RingResult::empty;
        }
        auto& slot = *reinterpret_cast<SlotLayout*>(oldest.slot);
        const SlotControl mine = oldest.control.with(SlotState::reading, me);
        if (slot.control.compare_exchange_strong(oldest.control.word, mine.word,
                                                 std::memory_order_acq_rel,
                                                 std::memory_order_relaxed)) {  // A1
            claimed = {oldest.slot, mine, oldest.position};
            return RingResult::done;  // the epoch stays unseen: there may be more
        }
    }
}

void MpmcRing::pass_by(SlotLayout& slot, SlotControl seen, MemberId me) noexcept {
    if (values_have_extents_ && holds_much(reinterpret_cast<std::byte*>(&slot))) {
        const SlotControl mine = seen.with(SlotState::clearing, me);
        // A2: the clearing comes after the last reader's copy.
        if (slot.control.compare_exchange_strong(seen.word, mine.word, std::memory_order_acq_rel,
                                                 std::memory_order_relaxed)) {
            finish_clearing(slot, mine);
            layout_->room.notify_one();
        }
        return;
    }
    if (slot.control.compare_exchange_strong(seen.word, seen.next_lap().word,
                                             std::memory_order_seq_cst,  // R2 S1
                                             std::memory_order_relaxed)) {
        layout_->room.notify_one();
    }
}

bool MpmcRing::holds_much(std::byte* slot) const noexcept {
    // relaxed: the slot is ours, or its content is nobody's
    return value_slot(slot).extent_bytes.load(std::memory_order_relaxed) > kExtentKept;
}

void MpmcRing::finish_clearing(SlotLayout& slot, SlotControl mine) noexcept {
    auto& value = value_slot(reinterpret_cast<std::byte*>(&slot));
    const auto index =
        static_cast<std::uint64_t>(reinterpret_cast<std::byte*>(&slot) - slots_) / slot_bytes_;
    // Idempotent, so that whoever finds a dead clearer's slot does it again. I5: the memory first,
    // then the note.
    const std::uint64_t noted = value.extent_bytes.load(std::memory_order_relaxed);  // ours
    // A damaged number must not reach into the neighbours' memory.
    constexpr std::uint64_t kExtentMax = 1ULL << kExtentShift;
    segment_->mapping().release_beyond(index << kExtentShift,
                                       noted < kExtentMax ? noted : kExtentMax);
    value.extent_bytes.store(0, std::memory_order_relaxed);  // published by the exchange
    slot.control.exchange(mine.next_lap().word, std::memory_order_seq_cst);  // R2 S1
}

bool MpmcRing::write_extent(const ClaimedSlot& claimed, std::span<const std::byte> value,
                            Failure& failure) noexcept {
    ValueSlotLayout& slot = value_slot(claimed.slot);
    if (value.size() > (1ULL << kExtentShift)) {
        failure.set(FailureKind::bad_argument,
                    "a value of " + std::to_string(value.size()) + " bytes is longer than 64 GiB");
        return false;
    }
    // I5: noted before it is taken, for whoever finds us dead.
    if (slot.extent_bytes.load(std::memory_order_relaxed) < value.size()) {  // ours
        slot.extent_bytes.store(value.size(), std::memory_order_release);
    }
    const std::uint64_t index = claimed.position & mask_;
    return segment_->mapping().write_beyond(index << kExtentShift, value, failure);
}

bool MpmcRing::read_extent(const ClaimedSlot& claimed, std::span<std::byte> value,
                           Failure& failure) const noexcept {
    const std::uint64_t index = claimed.position & mask_;
    return segment_->mapping().read_beyond(index << kExtentShift, value, failure);
}

void MpmcRing::close() noexcept {
    layout_->control.fetch_or(MpmcRingLayout::kClosed, std::memory_order_seq_cst);  // S3
    layout_->items.notify_all();
    layout_->room.notify_all();
    layout_->tasks.notify_all();
}

std::uint64_t MpmcRing::unfinished() const noexcept {
    std::uint64_t count = 0;
    for (std::uint64_t index = 0; index <= mask_; ++index) {
        const SlotControl seen{slot_at(index).control.load(std::memory_order_seq_cst)};  // S3
        count += seen.state() == SlotState::reading || seen.state() == SlotState::full ||
                         seen.state() == SlotState::writing || seen.state() == SlotState::returned
                     ? 1U
                     : 0U;
    }
    return count;
}

std::uint64_t MpmcRing::find_tail() const noexcept {
    std::uint64_t position = tail_.load(std::memory_order_relaxed);  // I2
    for (std::uint64_t step = 0; step < 4 * capacity(); ++step) {
        const SlotControl seen{slot_at(position).control.load(std::memory_order_acquire)};  // A1
        const std::int64_t ahead = seen.laps_ahead_of(lap_of(position));
        if (ahead < 0 || (ahead == 0 && seen.state() == SlotState::empty)) {
            break;
        }
        if (ahead == 0) {
            ++position;
        } else {
            const std::uint64_t there = position_of(position, ahead);
            const std::uint64_t bound =
                seen.state() == SlotState::empty ? there - capacity() + 1 : there + 1;
            position = static_cast<std::int64_t>(bound - position) > 0 ? bound : position + 1;
        }
    }
    return position;
}

std::uint64_t MpmcRing::find_head() const noexcept {
    std::uint64_t position = head_.load(std::memory_order_relaxed);  // I2
    for (std::uint64_t step = 0; step < 4 * capacity(); ++step) {
        const SlotControl seen{slot_at(position).control.load(std::memory_order_acquire)};  // A1
        const std::int64_t ahead = seen.laps_ahead_of(lap_of(position));
        if (ahead < 0 || (ahead == 0 &&
                          (seen.state() == SlotState::empty || seen.state() == SlotState::writing ||
                           seen.state() == SlotState::full || seen.state() == SlotState::skip))) {
            break;
        }
        const std::uint64_t bound = position_of(position, ahead) - capacity() + 1;
        position =
            ahead > 0 && static_cast<std::int64_t>(bound - position) > 0 ? bound : position + 1;
    }
    return position;
}

bool MpmcRing::has_given_back() const noexcept {
    // Read before the slots are: what comes later shows as another epoch.
    const std::uint64_t control = layout_->control.load(std::memory_order_seq_cst);  // A4
    if (control >> 1U == epoch_seen_.load(std::memory_order_relaxed)) {  // as in claim_read()
        return false;
    }
    for (std::uint64_t index = 0; index <= mask_; ++index) {
        const SlotControl seen{slot_at(index).control.load(std::memory_order_acquire)};  // A1
        if (seen.state() == SlotState::returned) {
            return true;
        }
    }
    return false;
}

std::uint64_t MpmcRing::size() const noexcept {
    if (has_given_back()) [[unlikely]] {
        std::uint64_t count = 0;
        for (std::uint64_t index = 0; index <= mask_; ++index) {
            const SlotControl seen{slot_at(index).control.load(std::memory_order_acquire)};  // A1
            count += seen.state() == SlotState::full || seen.state() == SlotState::returned;
        }
        return count;
    }
    const std::uint64_t head = find_head();
    const std::uint64_t tail = find_tail();
    const auto between = static_cast<std::int64_t>(tail - head);
    if (between <= 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(between) < capacity() ? static_cast<std::uint64_t>(between)
                                                            : capacity();
}

bool MpmcRing::readable() const noexcept {
    if (has_given_back()) [[unlikely]] {
        return true;
    }
    const std::uint64_t head = find_head();
    const SlotControl seen{slot_at(head).control.load(std::memory_order_acquire)};  // A1
    return seen.laps_ahead_of(lap_of(head)) == 0 && seen.state() == SlotState::full;
}

bool MpmcRing::full() const noexcept {
    const std::uint64_t tail = find_tail();
    const SlotControl seen{slot_at(tail).control.load(std::memory_order_acquire)};  // A1
    return seen.laps_ahead_of(lap_of(tail)) < 0;
}

void MpmcRing::sweep(MemberId id, const DeadTenant& dead) noexcept {
    for (std::uint64_t index = 0; index <= mask_; ++index) {
        SlotLayout& slot = slot_at(index);
        SlotControl seen{slot.control.load(std::memory_order_acquire)};  // A1
        if (seen.owner() != id) {
            continue;
        }
        SlotControl mended{};
        switch (seen.state()) {
            case SlotState::writing:
                mended = seen.rescued(SlotState::skip, kNobody);
                break;
            case SlotState::reading:
                mended = seen.rescued(SlotState::returned, kNobody);
                break;
            case SlotState::clearing:
                // Taken already; what is left is to give the memory back. SKIP says just that: the
                // next who passes clears it.
                mended = seen.rescued(SlotState::skip, kNobody);
                break;
            default:
                continue;
        }
        if (!dead.is_still_there()) {
            return;  // another finished the rescue: what we see may be a newcomer's claim
        }
        slot.control.compare_exchange_strong(seen.word, mended.word, std::memory_order_seq_cst,
                                             std::memory_order_relaxed);  // I4
    }
    // Raised even if nothing changed here: another rescuer may have died between mending
    // and this.
    layout_->control.fetch_add(MpmcRingLayout::kEpochStep, std::memory_order_seq_cst);  // R4
    layout_->items.notify_all();
    layout_->room.notify_all();
    layout_->tasks.notify_all();
}

MemberId MpmcRing::stuck_on() noexcept {
    // A reader that died holds a message that nobody is stuck on: look at everyone.
    members().rescue();
    const std::uint64_t head = find_head();
    const SlotControl seen{slot_at(head).control.load(std::memory_order_acquire)};  // A1
    if (seen.owner() != kNobody) {
        return seen.owner();
    }
    // Nothing at the head. The youngest message that another still reads comes back when he dies.
    // Not the whole of a long ring: who is not named is watched by those who sleep again.
    constexpr std::uint64_t kWatchedMax = 64;
    const std::uint64_t watched = capacity() < kWatchedMax ? capacity() : kWatchedMax;
    const MemberId me = members().id();
    for (std::uint64_t step = 1; step <= watched; ++step) {
        const SlotControl taken{
            slot_at(head - step).control.load(std::memory_order_acquire)};  // A1
        if (taken.state() == SlotState::reading && taken.owner() != me) {
            return taken.owner();
        }
    }
    return kNobody;
}

Bells MpmcRing::bells(MemberId first, unsigned sleeps) noexcept {
    Bells bells;
    bells.add(members().watch(first));
    if (sleeps != 0) {
        const MemberId me = members().id_if_any();
        for (std::uint32_t index = 1; index <= members().capacity(); ++index) {
            if (const auto id = static_cast<MemberId>(index); id != me && id != first) {
                bells.add(members().watch(id));
            }
        }
    }
    return bells;
}

Bells MpmcRing::stuck_putting(unsigned sleeps) noexcept {
    const SlotControl seen{slot_at(find_tail()).control.load(std::memory_order_acquire)};  // A1
    if (members().has_ended(seen.owner())) {
        members().rescue(seen.owner());
        return {};
    }
    if (seen.owner() == kNobody) {
        // Who gave a message back may have died before he raised the epoch: nobody has found it.
        members().rescue();
    }
    return bells(seen.owner(), sleeps);
}

Bells MpmcRing::stuck_getting(unsigned sleeps) noexcept {
    return bells(stuck_on(), sleeps);
}

}  // namespace sluice::shm
