// What lies in the bodies of the kinds that this build knows: how full, who holds what.
#include "inspect_body.hpp"

#include <bit>

#include "sluice/shm/array_word.hpp"
#include "sluice/shm/barrier_word.hpp"
#include "sluice/shm/byte_ring.hpp"
#include "sluice/shm/condition_word.hpp"
#include "sluice/shm/dict_table.hpp"
#include "sluice/shm/directory.hpp"
#include "sluice/shm/event_word.hpp"
#include "sluice/shm/guarded_word.hpp"
#include "sluice/shm/list_table.hpp"
#include "sluice/shm/lock_word.hpp"
#include "sluice/shm/mpmc_ring.hpp"
#include "sluice/shm/pipe_ends.hpp"
#include "sluice/shm/rw_lock_word.hpp"
#include "sluice/shm/semaphore_word.hpp"
#include "sluice/shm/spsc_ring.hpp"
#include "sluice/shm/task_word.hpp"

namespace sluice::shm {

std::string to_string(const Holding& holding) {
    const std::string index = std::to_string(holding.index);
    const std::string times =
        holding.count > 1 ? ", " + std::to_string(holding.count) + " times" : std::string();
    switch (holding.kind) {
        case HoldKind::writing_slot:
            return "is writing slot " + index;
        case HoldKind::reading_slot:
            return "holds slot " + index;
        case HoldKind::clearing_slot:
            return "is clearing slot " + index;
        case HoldKind::lock:
            return "holds the lock" + times;
        case HoldKind::heir:
            return "is the lock's next owner";
        case HoldKind::permit:
            return "holds permit " + index;
        case HoldKind::reading:
            return "reads" + times;
        case HoldKind::party:
            return "is a party";
        case HoldKind::waiting:
            return "waits";
        case HoldKind::notified:
            return "was notified";
        case HoldKind::stripe:
            return "is changing stripe " + index;
        case HoldKind::steps:
            return "is changing several keys in one step";
        case HoldKind::end:
            break;
    }
    return holding.index == 0 ? "has the first end" : "has the second end";
}

namespace inspection {
namespace {

constexpr std::uint64_t kSlotsLookedAtMax = 1ULL << 20U;

void decode_queue(const Inspector& inspector, Inspection& seen) {
    const SegmentFacts& facts = seen.facts;
    const Bytes head(inspector, facts.body_offset, offsetof(MpmcRingLayout, slots));
    const std::uint64_t control = head.u64(offsetof(MpmcRingLayout, control));
    seen.closed = (control & MpmcRingLayout::kClosed) != 0;
    seen.counters.emplace_back("rescues", control / MpmcRingLayout::kEpochStep);
    note_sleepers(head, offsetof(MpmcRingLayout, items), "getters", seen);
    note_sleepers(head, offsetof(MpmcRingLayout, room), "putters", seen);
    note_sleepers(head, offsetof(MpmcRingLayout, tasks), "join", seen);

    Flow flow;
    flow.capacity = facts.capacity;
    if (facts.capacity > kSlotsLookedAtMax) {
        flow.exact = false;
        flow.put = head.u64(offsetof(MpmcRingLayout, tail_hint));
        flow.taken = head.u64(offsetof(MpmcRingLayout, head_hint));
        const auto depth = static_cast<std::int64_t>(flow.put - flow.taken);
        flow.depth = depth < 0 ? 0 : std::min(static_cast<std::uint64_t>(depth), flow.capacity);
        seen.flows.push_back(flow);
        seen.doubts.emplace_back("who holds which slot is not told: there are too many slots");
        return;
    }
    // Each slot has come as far as its lap: their sum counts what was put, and what was taken.
    flow.bits = 64U - SlotControl::kLapShift;
    std::uint64_t writing = 0;
    std::uint64_t on_loan = 0;
    const auto note = [&](std::uint64_t index, SlotControl slot) {
        flow.taken += slot.lap();
        flow.put += slot.lap() + (slot.state() != SlotState::empty ? 1U : 0U);
        HoldKind kind{};
        switch (slot.state()) {
            case SlotState::full:
            case SlotState::returned:
                ++flow.depth;
                return;
            case SlotState::writing:
                ++writing;
                kind = HoldKind::writing_slot;
                break;
            case SlotState::reading:
                ++on_loan;
                kind = HoldKind::reading_slot;
                break;
            case SlotState::clearing:
                kind = HoldKind::clearing_slot;
                break;
            default:
                return;
        }
        seen.holdings.push_back({kind, slot.owner(), index, 1, slot.word});
    };
    const std::uint64_t slots = facts.body_offset + offsetof(MpmcRingLayout, slots);
    // Several slots a call; of large slots only the word that begins them.
    constexpr std::uint64_t kChunkBytes = 64U << 10U;
    const std::uint64_t slots_a_chunk =
        std::max<std::uint64_t>(kChunkBytes / facts.element_bytes, 1);
    for (std::uint64_t first = 0; first < facts.capacity; first += slots_a_chunk) {
        const std::uint64_t count = std::min(slots_a_chunk, facts.capacity - first);
        const Bytes chunk(inspector, slots + first * facts.element_bytes,
                          (count - 1) * facts.element_bytes + sizeof(std::uint64_t));
        for (std::uint64_t step = 0; step < count; ++step) {
            note(first + step, {chunk.u64(step * facts.element_bytes)});
        }
    }
    seen.counters.emplace_back("being written", writing);
    seen.counters.emplace_back("on loan", on_loan);
    flow.depth += on_loan;  // a lease that is dropped gives it back
    seen.flows.push_back(flow);
}

struct PipeShape {
    bool records{};
    std::uint64_t slot_bytes{};
    std::uint64_t payload_offset{};
    std::uint64_t ring_bytes{};  // from one direction's words to the other's
};

// Which ring a pipe has is told by the signature alone; how wide its slots are, by trying.
bool find_pipe_shape(const SegmentFacts& facts, std::uint64_t signature, PipeShape& shape) {
    if (signature ==
        segment_layout_signature(fnv1a(sizeof(EndLayout), ByteRing::layout_signature()))) {
        shape.records = true;
        shape.ring_bytes = sizeof(ByteRingLayout);
        return true;
    }
    if (facts.element_bytes == 0 || facts.element_bytes > facts.body_bytes) {
        return false;
    }
    for (std::size_t alignment = 8; alignment <= kPageBytesMin; alignment *= 2) {
        shape.slot_bytes = spsc_slot_bytes(facts.element_bytes, alignment);
        shape.payload_offset = round_up(sizeof(std::uint64_t), alignment);
        if (signature == segment_layout_signature(fnv1a(
                             sizeof(EndLayout),
                             spsc_layout_signature(shape.slot_bytes, shape.payload_offset)))) {
            shape.ring_bytes =
                round_up(offsetof(SpscRingLayout, slots) + facts.capacity * shape.slot_bytes,
                         kIsolationBytes);
            return true;
        }
    }
    return false;
}

bool pipe_fits(const SegmentFacts& facts, const PipeShape& shape) {
    constexpr std::uint64_t kCapacityMax = 1ULL << 31U;
    if (!std::has_single_bit(facts.capacity) || facts.capacity > kCapacityMax) {
        return false;
    }
    return shape.records ? facts.capacity <= facts.body_bytes / 2 &&
                               sizeof(PipeLayout) + 2 * sizeof(ByteRingLayout) <= facts.body_bytes
                         : facts.capacity <= facts.body_bytes / shape.slot_bytes &&
                               sizeof(PipeLayout) + 2 * shape.ring_bytes <= facts.body_bytes;
}

bool shape_of_pipe(const Inspector& inspector, PipeShape& shape) {
    const std::uint64_t signature = inspector.word(offsetof(SegmentLayout, layout_signature));
    return find_pipe_shape(inspector.facts(), signature, shape) &&
           pipe_fits(inspector.facts(), shape);
}

bool is_simplex(const SegmentFacts& facts) noexcept {
    return (facts.options & SegmentOptions::kPipeSimplex) != 0;
}

void decode_pipe(const Inspector& inspector, Inspection& seen) {
    PipeShape shape;
    if (!shape_of_pipe(inspector, shape)) {
        return;
    }
    MemberId id = 0;
    for (const PipeEnd& end : pipe_ends(inspector)) {
        ++id;
        if (end.owner != EndLayout::kNobody) {
            const bool known = end.owner != EndLayout::kHandedOver && end.identity_known;
            seen.holdings.push_back({HoldKind::end, known ? id : kNobody, id - 1U, 1, end.owner});
        }
    }
    static_assert(offsetof(SpscRingLayout, write_position) ==
                  offsetof(ByteRingLayout, write_position));
    static_assert(offsetof(SpscRingLayout, read_position) ==
                  offsetof(ByteRingLayout, read_position));
    const int directions = is_simplex(seen.facts) ? 1 : 2;
    for (int direction = 0; direction < directions; ++direction) {
        const Bytes ring(inspector,
                         seen.facts.body_offset + sizeof(PipeLayout) +
                             static_cast<std::uint64_t>(direction) * shape.ring_bytes,
                         sizeof(ByteRingLayout));
        Flow flow;
        // One-way, the second end sends.
        flow.name = directions == 1  ? "second to first"
                    : direction == 0 ? "first to second"
                                     : "second to first";
        flow.put = ring.u64(offsetof(ByteRingLayout, write_position));
        flow.taken = ring.u64(offsetof(ByteRingLayout, read_position));
        flow.capacity = seen.facts.capacity;
        flow.in_bytes = shape.records;
        const std::uint64_t depth = flow.put - flow.taken;
        flow.depth = depth > (1ULL << 63U) ? 0 : std::min(depth, flow.capacity);
        seen.flows.push_back(flow);
        note_sleepers(ring, offsetof(GateLayout, items), "receiver", seen);
        note_sleepers(ring, offsetof(GateLayout, room), "sender", seen);
        const std::uint32_t closed = ring.u32(offsetof(GateLayout, closed));
        if ((closed & GateLayout::kSenderClosed) != 0) {
            seen.marks.push_back("sender has closed");
        }
        if ((closed & GateLayout::kReceiverClosed) != 0) {
            seen.marks.push_back("receiver has closed");
        }
        seen.closed = seen.closed || closed != 0;
    }
}

void decode_rw_lock(const Inspector& inspector, Inspection& seen) {
    const Bytes body(inspector, seen.facts.body_offset,
                     RwLockWord::bytes(seen.facts.member_capacity));
    decode_lock(body, {.sleepers = "writers"}, seen);
    if ((body.u32(offsetof(RwLockLayout, fallen)) & RwLockLayout::kFallen) != 0) {
        seen.marks.push_back("abandoned by a reader");
    }
    for (std::uint32_t index = 0; index < seen.facts.member_capacity; ++index) {
        const ReaderControl cell{
            body.u32(offsetof(RwLockLayout, cells) + index * sizeof(ReaderCellLayout))};
        if (cell.count() != 0) {
            seen.holdings.push_back(
                {HoldKind::reading, static_cast<MemberId>(index + 1U), 0, cell.count(), cell.word});
        }
    }
}

SemaphoreWord::Shape semaphore_shape(const SegmentFacts& facts) {
    return {
        static_cast<std::uint32_t>(facts.capacity),
        (facts.options & SegmentOptions::kPermitsOwned) != 0 ? Permits::owned : Permits::counted};
}

void decode_semaphore(const Inspector& inspector, Inspection& seen) {
    const SemaphoreWord::Shape shape = semaphore_shape(seen.facts);
    const Bytes body(inspector, seen.facts.body_offset, SemaphoreWord::bytes(shape));
    std::uint64_t value = body.u32(offsetof(SemaphoreLayout, value));
    if (shape.permits == Permits::owned) {
        value = 0;
        for (std::uint32_t index = 0; index < shape.limit; ++index) {
            const std::uint32_t word =
                body.u32(offsetof(SemaphoreLayout, owners) + index * sizeof(std::uint32_t));
            if (const auto owner = static_cast<MemberId>(word); owner != kNobody) {
                seen.holdings.push_back({HoldKind::permit, owner, index, 1, word});
            } else {
                ++value;
            }
        }
        seen.marks.push_back("owned");
    }
    seen.counters.emplace_back("value", value);
    note_sleepers(body, offsetof(SemaphoreLayout, sleepers), "acquirers", seen);
}

void decode_event(const Inspector& inspector, Inspection& seen) {
    const Bytes body(inspector, seen.facts.body_offset, sizeof(EventLayout));
    const std::uint32_t state = body.u32(offsetof(EventLayout, state));
    seen.marks.push_back((state & EventWord::kSet) != 0 ? "set" : "clear");
    seen.counters.emplace_back("sets", state / EventWord::kStep);
    note_sleepers(body, offsetof(EventLayout, sleepers), "waiters", seen);
}

void decode_barrier(const Inspector& inspector, Inspection& seen) {
    const Bytes body(inspector, seen.facts.body_offset,
                     BarrierWord::bytes(seen.facts.member_capacity));
    const BarrierState state{body.u64(offsetof(BarrierLayout, state))};
    seen.counters.emplace_back("arrived", state.arrived());
    seen.counters.emplace_back("generation", state.generation());
    if (state.is_broken()) {
        seen.marks.push_back("broken");
    }
    note_sleepers(body, offsetof(BarrierLayout, sleepers), "parties", seen);
    for (const Participant& member : seen.participants) {
        const std::uint32_t tag =
            body.u32(offsetof(BarrierLayout, attached) + (member.id - 1U) * sizeof(std::uint32_t));
        if (tag != 0) {
            seen.holdings.push_back({HoldKind::party, member.id, 0, 1, tag});
        }
    }
}

void decode_condition(const Inspector& inspector, Inspection& seen) {
    const std::uint32_t members = seen.facts.member_capacity;
    const std::size_t bytes = ConditionWord::bytes(members);
    const std::size_t cells = bytes - members * sizeof(ConditionCellLayout);
    const Bytes body(inspector, seen.facts.body_offset, bytes);
    std::uint64_t waiting = 0;
    for (std::uint32_t index = 0; index < members; ++index) {
        const ConditionControl cell{body.u32(cells + index * sizeof(ConditionCellLayout))};
        const auto id = static_cast<MemberId>(index + 1U);
        if (cell.is_waiting()) {
            ++waiting;
            seen.holdings.push_back({HoldKind::waiting, id, 0, 1, cell.word});
        } else if (cell.state() == ConditionState::notified) {
            seen.holdings.push_back({HoldKind::notified, id, 0, 1, cell.word});
        }
    }
    seen.counters.emplace_back("waiting", waiting);
    if (waiting != 0) {
        seen.sleepers.push_back("waiters");
    }
}

void decode_guarded(const Inspector& inspector, Inspection& seen) {
    const Bytes body(inspector, seen.facts.body_offset, offsetof(GuardedLayout, buffers));
    decode_lock(body, {.sleepers = "writers"}, seen);
    std::erase(seen.marks, "abandoned");  // of no account: the value is the last committed
    seen.counters.emplace_back("version", body.u64(offsetof(GuardedLayout, version)));
}

MpmcRing::Shape queue_shape(const SegmentFacts& facts) {
    MpmcRing::Shape shape;
    shape.capacity = facts.capacity;
    shape.slot_bytes = facts.element_bytes;
    shape.values_have_extents = (facts.options & SegmentOptions::kQueueExtents) != 0;
    return shape;
}

}  // namespace

bool is_pipe(SegmentKind kind) noexcept {
    return kind == SegmentKind::pipe || kind == SegmentKind::byte_pipe;
}

void note_sleepers(const Bytes& body, std::size_t event_count, std::string_view who,
                   Inspection& seen) {
    if ((body.u32(event_count) & EventCountLayout::kSleepers) != 0) {
        seen.sleepers.push_back(who);
    }
}

std::string printable(const Bytes& bytes, std::size_t offset, std::size_t bytes_max) {
    std::string text;
    for (std::size_t at = 0; at + 1 < bytes_max; ++at) {
        const char letter = bytes.at<char>(offset + at);
        if (letter == '\0') {
            break;
        }
        text += letter >= ' ' && letter <= '~' ? letter : '?';
    }
    return text;
}

void decode_lock(const Bytes& body, const LockPlace& place, Inspection& seen) {
    const auto at = [&](std::size_t field) { return body.u32(place.offset + field); };
    const LockControl word{at(offsetof(LockWordLayout, word))};
    if (word.owner() != kNobody) {
        const std::uint32_t depth = at(offsetof(LockWordLayout, depth));
        const bool again = seen.facts.kind == SegmentKind::rlock;
        seen.holdings.push_back(
            {place.held, word.owner(), place.index, again && depth > 0 ? depth : 1, word.word});
    }
    const std::uint32_t heir = at(offsetof(LockWordLayout, heir));
    if (const auto id = static_cast<MemberId>(heir); id != kNobody) {
        seen.holdings.push_back({HoldKind::heir, id, place.index, 1, heir});
    }
    if (word.is_abandoned()) {
        seen.marks.push_back("abandoned");
    }
    if (word.is_reserved()) {
        seen.marks.push_back("reserved");
    }
    note_sleepers(body, place.offset + offsetof(LockWordLayout, sleepers), place.sleepers, seen);
}

bool knows_layout(const SegmentFacts& facts, std::uint64_t layout_signature) noexcept {
    const auto is = [&](std::uint64_t body) {
        return layout_signature == segment_layout_signature(body);
    };
    switch (facts.kind) {
        case SegmentKind::queue:
            return is(MpmcRing::layout_signature());
        case SegmentKind::pipe:
        case SegmentKind::byte_pipe: {
            PipeShape shape;
            return find_pipe_shape(facts, layout_signature, shape);
        }
        case SegmentKind::lock:
        case SegmentKind::rlock:
            return is(LockWord::layout_signature());
        case SegmentKind::rw_lock:
            return is(RwLockWord::layout_signature());
        case SegmentKind::semaphore:
        case SegmentKind::bounded_semaphore:
            return is(SemaphoreWord::layout_signature());
        case SegmentKind::event:
            return is(EventWord::layout_signature());
        case SegmentKind::condition:
            return is(ConditionWord::layout_signature());
        case SegmentKind::barrier:
            return is(BarrierWord::layout_signature());
        case SegmentKind::guarded:
        case SegmentKind::value:
            return is(GuardedWord::layout_signature());
        case SegmentKind::array:
            return is(ArrayWord::layout_signature());
        case SegmentKind::dict:
            return is(DictTable::layout_signature());
        case SegmentKind::list:
            return is(ListTable::layout_signature());
        case SegmentKind::pool:
            return is(PoolShape::layout_signature());
        case SegmentKind::manager:
            return is(Directory::layout_signature());
    }
    return false;
}

bool fits(const Inspector& inspector, std::uint64_t layout_signature) noexcept {
    const SegmentFacts& facts = inspector.facts();
    const auto has = [&](std::size_t bytes) { return bytes <= facts.body_bytes; };
    switch (facts.kind) {
        case SegmentKind::queue:
            return MpmcRing::fits(queue_shape(facts), facts.body_bytes);
        case SegmentKind::pipe:
        case SegmentKind::byte_pipe: {
            PipeShape shape;
            return find_pipe_shape(facts, layout_signature, shape) && pipe_fits(facts, shape);
        }
        case SegmentKind::lock:
        case SegmentKind::rlock:
            return has(sizeof(LockWordLayout));
        case SegmentKind::rw_lock:
            return has(RwLockWord::bytes(facts.member_capacity));
        case SegmentKind::semaphore:
        case SegmentKind::bounded_semaphore:
            return facts.capacity <= SemaphoreWord::kLimitMax &&
                   SemaphoreWord::fits(semaphore_shape(facts), facts.body_bytes);
        case SegmentKind::event:
            return has(EventWord::bytes());
        case SegmentKind::condition:
            return has(ConditionWord::bytes(facts.member_capacity));
        case SegmentKind::barrier:
            return has(BarrierWord::bytes(facts.member_capacity));
        case SegmentKind::guarded:
        case SegmentKind::value:
            return has(facts.element_bytes) && has(GuardedWord::bytes(facts.element_bytes));
        case SegmentKind::array:
            return facts.element_bytes != 0 && has(facts.element_bytes) && has(facts.capacity) &&
                   facts.capacity <= facts.body_bytes / facts.element_bytes &&
                   has(ArrayWord::bytes(facts.capacity, facts.element_bytes));
        case SegmentKind::dict:
        case SegmentKind::list:
            return arena_fits(inspector);
        case SegmentKind::pool:
            return pool_fits(inspector);
        case SegmentKind::manager:
            return has(Directory::bytes());
    }
    return false;
}

std::vector<PipeEnd> pipe_ends(const Inspector& inspector) {
    std::vector<PipeEnd> ends;
    if (inspector.facts().body_bytes < sizeof(PipeLayout)) {
        return ends;
    }
    const Bytes body(inspector, inspector.facts().body_offset, sizeof(PipeLayout));
    for (std::size_t side = 0; side < 2; ++side) {
        const std::size_t at = side * sizeof(EndLayout);
        PipeEnd end;
        end.owner = body.u64(at + offsetof(EndLayout, owner));
        end.identity_known = end.owner > EndLayout::kHandedOver &&
                             body.u32(at + offsetof(EndLayout, identity_known)) == 1;
        end.identity.nonce = end.owner;
        end.identity.pid = body.at<std::int32_t>(at + offsetof(EndLayout, pid));
        end.identity.start_time = body.u64(at + offsetof(EndLayout, start_time));
        end.identity.pid_namespace = body.u64(at + offsetof(EndLayout, pid_namespace));
        end.identity.pidfd_inode = body.u64(at + offsetof(EndLayout, pidfd_inode));
        ends.push_back(end);
    }
    return ends;
}

void decode_body(const Inspector& inspector, Inspection& seen) {
    switch (seen.facts.kind) {
        case SegmentKind::queue:
            return decode_queue(inspector, seen);
        case SegmentKind::pipe:
        case SegmentKind::byte_pipe:
            return decode_pipe(inspector, seen);
        case SegmentKind::lock:
        case SegmentKind::rlock:
            return decode_lock(Bytes(inspector, seen.facts.body_offset, sizeof(LockWordLayout)),
                               {.sleepers = "waiters"}, seen);
        case SegmentKind::rw_lock:
            return decode_rw_lock(inspector, seen);
        case SegmentKind::semaphore:
        case SegmentKind::bounded_semaphore:
            return decode_semaphore(inspector, seen);
        case SegmentKind::event:
            return decode_event(inspector, seen);
        case SegmentKind::condition:
            return decode_condition(inspector, seen);
        case SegmentKind::barrier:
            return decode_barrier(inspector, seen);
        case SegmentKind::guarded:
        case SegmentKind::value:
            return decode_guarded(inspector, seen);
        case SegmentKind::array:
            return decode_array(inspector, seen);
        case SegmentKind::dict:
            return decode_dict(inspector, seen);
        case SegmentKind::list:
            return decode_list(inspector, seen);
        case SegmentKind::pool:
            return decode_pool(inspector, seen);
        case SegmentKind::manager:
            return decode_manager(inspector, seen);
    }
}

}  // namespace inspection

std::vector<RingPlace> Inspector::rings() const {
    std::vector<RingPlace> places;
    if (!facts_.body_known) {
        return places;
    }
    if (facts_.kind == SegmentKind::queue) {
        const bool packed = (facts_.options & SegmentOptions::kQueueExtents) != 0;
        places.push_back({RingPlace::Form::slots, packed, facts_.body_offset, facts_.element_bytes,
                          sizeof(SlotLayout), 0});
        return places;
    }
    inspection::PipeShape shape;
    if (!inspection::is_pipe(facts_.kind) || !inspection::shape_of_pipe(*this, shape)) {
        return places;
    }
    const int directions = inspection::is_simplex(facts_) ? 1 : 2;
    for (int direction = 0; direction < directions; ++direction) {
        RingPlace place;
        const auto index = static_cast<std::uint64_t>(direction);
        const std::uint64_t first = facts_.body_offset + sizeof(PipeLayout);
        place.form = shape.records ? RingPlace::Form::records : RingPlace::Form::numbered;
        place.packed = shape.records && facts_.kind == SegmentKind::pipe;
        place.offset = first + index * shape.ring_bytes;
        place.slot_bytes = shape.slot_bytes;
        place.payload_offset = shape.payload_offset;
        if (shape.records) {
            // At a page's boundary (core's byte_channel.cpp); the pages are the file system's.
            const std::uint64_t page = page_bytes();
            if (page == 0) {
                return {};
            }
            place.data_offset =
                round_up(first + 2 * sizeof(ByteRingLayout), page) + index * facts_.capacity;
            if (place.data_offset + facts_.capacity > facts_.total_bytes) {
                return {};
            }
        }
        places.push_back(place);
    }
    return places;
}

}  // namespace sluice::shm
