// Making, opening and waiting for queues; open tasks.
#include "sluice/detail/queue_core.hpp"

#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "sluice/detail/failure.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::uint64_t kCapacityMax = 1ULL << 26U;
constexpr std::uint32_t kWaitMask = shm::SegmentOptions::kWaitMask;
constexpr std::uint32_t kExtentsOption = shm::SegmentOptions::kQueueExtents;

std::string object_name(std::string_view name) {
    return name.empty() ? std::string("Queue") : "Queue \"" + std::string(name) + '"';
}

std::size_t cells_offset(const shm::MpmcRing::Shape& shape) noexcept {
    return shm::round_up(shm::MpmcRing::bytes(shape), shm::kIsolationBytes);
}

std::size_t body_bytes(const shm::MpmcRing::Shape& shape, std::uint32_t members) noexcept {
    return cells_offset(shape) + members * sizeof(TaskCellLayout);
}

/// A segment that another has made. What the header says is checked against what there is.
std::shared_ptr<QueueCore> adopt_segment(std::shared_ptr<shm::Segment> segment,
                                         const QueueShape& wanted, const std::string& object) {
    const shm::MpmcRing::Shape shape{segment->capacity(), segment->element_bytes(),
                                     wanted.values_have_extents, wanted.first_position};
    const bool extents = (segment->options() & kExtentsOption) != 0;
    if (!shm::MpmcRing::fits(shape, segment->body_bytes()) ||
        body_bytes(shape, segment->members().capacity()) > segment->body_bytes() ||
        // Plain values have one size; of packed ones the maker chose how much lies in the slot.
        (wanted.values_have_extents ? shape.slot_bytes < sizeof(shm::ValueSlotLayout)
                                    : shape.slot_bytes != wanted.slot_bytes) ||
        extents != wanted.values_have_extents ||
        (segment->options() & kWaitMask) > static_cast<std::uint32_t>(Wait::park)) {
        throw BadSegment(object +
                         ": has a damaged header: its ring does not fit into it; remove it");
    }
    const auto wait = static_cast<Wait>(segment->options() & kWaitMask);
    return std::make_shared<QueueCore>(std::move(segment), shape, wait, object);
}

shm::SegmentSpec spec_of(const QueueShape& wanted) {
    shm::SegmentSpec spec;
    spec.kind = shm::SegmentKind::queue;
    spec.layout_signature = shm::MpmcRing::layout_signature();
    spec.type_signature = wanted.type_signature;
    spec.type_text = wanted.type_text;
    return spec;
}

}  // namespace

std::shared_ptr<QueueCore> QueueCore::make(const shm::SegmentPlace& place, Open how,
                                           const QueueShape& wanted,
                                           const shm::MemoryOptions& memory, unsigned permissions) {
    const std::string object = object_name(place.name);
    if (wanted.capacity == 0 || wanted.capacity > kCapacityMax) {
        throw std::invalid_argument(object + ": a capacity is 1 to " +
                                    std::to_string(kCapacityMax) + " messages, not " +
                                    std::to_string(wanted.capacity));
    }
    const shm::MpmcRing::Shape shape{std::bit_ceil(wanted.capacity), wanted.slot_bytes,
                                     wanted.values_have_extents, wanted.first_position};
    shm::SegmentSpec spec = spec_of(wanted);
    spec.capacity = shape.capacity;
    spec.element_bytes = shape.slot_bytes;
    spec.options =
        static_cast<std::uint32_t>(wanted.wait) | (shape.values_have_extents ? kExtentsOption : 0U);
    spec.body_bytes = body_bytes(shape, spec.member_capacity);
    spec.beyond_bytes =
        shape.values_have_extents ? shape.capacity << shm::MpmcRing::kExtentShift : 0;

    shm::Failure failure;
    for (;;) {
        failure = {};
        std::shared_ptr<shm::Segment> segment;
        if (how != Open::create) {
            segment = shm::Segment::open(place, spec, failure);
            if (segment) {
                return adopt_segment(std::move(segment), wanted, object);
            }
            const bool missing =
                failure.kind == shm::FailureKind::environment && failure.error == ENOENT;
            if (how == Open::open || !missing) {
                throw_failure(object, failure);
            }
            failure = {};
        }
        segment = shm::Segment::create(
            place, spec, memory, permissions, failure,
            [&shape](shm::Segment& made) { shm::MpmcRing::initialise(made.body(), shape); });
        if (segment) {
            return std::make_shared<QueueCore>(std::move(segment), shape, wanted.wait, object);
        }
        const bool taken = failure.kind == shm::FailureKind::environment && failure.error == EEXIST;
        if (how != Open::open_or_create || !taken) {
            throw_failure(object, failure);
        }
    }
}

std::shared_ptr<QueueCore> QueueCore::unpack(Unparcel& parcel, const QueueShape& wanted) {
    std::shared_ptr<shm::Segment> segment = parcel.take_segment(spec_of(wanted), object_name({}));
    const std::string object = object_name(segment->name());
    return adopt_segment(std::move(segment), wanted, object);
}

void QueueCore::unlink(std::string_view name) {
    shm::Failure failure;
    if (!shm::Segment::unlink(name, failure)) {
        throw_failure(object_name(name), failure);
    }
}

QueueCore::QueueCore(std::shared_ptr<shm::Segment> segment, const shm::MpmcRing::Shape& shape,
                     Wait wait, std::string object)
    : segment_(std::move(segment)),
      ring_(*segment_, shape),
      cells_(reinterpret_cast<TaskCellLayout*>(segment_->body() + cells_offset(shape))),
      inline_bytes_(shape.slot_bytes - offsetof(shm::ValueSlotLayout, inline_bytes)),
      wait_(wait),
      object_(std::move(object)) {}

void QueueCore::refuse_or_join(shm::RingResult result) {
    if (result == shm::RingResult::closed) {
        throw Closed(object_ + " is closed");
    }
    if (result == shm::RingResult::damaged) {
        throw BadSegment(object_ +
                         ": its ring is damaged, something else wrote to its memory: remove it and "
                         "make it anew");
    }
    if (result == shm::RingResult::no_member) {
        shm::Failure failure;
        if (ring_.members().join(failure) == shm::kNobody) {
            throw_failure(object_, failure);
        }
    }
}

bool QueueCore::look_and_claim(shm::ClaimedSlot& claimed) {
    static_cast<void>(ring_.stuck_putting(0));
    for (;;) {
        const shm::RingResult result = ring_.claim(claimed);
        if (result == shm::RingResult::done || result == shm::RingResult::full) {
            return result == shm::RingResult::done;
        }
        refuse_or_join(result);
    }
}

bool QueueCore::look_and_claim_read(shm::ClaimedSlot& claimed) {
    static_cast<void>(ring_.stuck_getting(0));
    for (;;) {
        const shm::RingResult result = ring_.claim_read(claimed);
        if (result == shm::RingResult::done || result == shm::RingResult::empty ||
            result == shm::RingResult::pending) {
            return result == shm::RingResult::done;
        }
        refuse_or_join(result);
    }
}

bool QueueCore::holds(const shm::ClaimedSlot& claimed) const noexcept {
    const auto& slot = *reinterpret_cast<const shm::SlotLayout*>(claimed.slot);
    // relaxed: only compared; a rescue that comes at this very moment is not seen by any order
    return slot.control.load(std::memory_order_relaxed) == claimed.control.word;
}

bool HeldClaim::is_held(const QueueCore& core) const noexcept {
    return generation_ == shm::fork_generation && core.holds(claimed_);
}

void HeldClaim::require(const QueueCore& core) const {
    if (generation_ != shm::fork_generation) {
        throw NotPermitted(core.object() +
                           ": the claim is that of the process that made it, not its child's");
    }
    require_done(core, core.holds(claimed_));
}

void HeldClaim::require_done(const QueueCore& core, bool done) const {
    if (!done) {
        throw Error(core.object() +
                    ": the thread that made the claim has ended, and the claim with it");
    }
}

bool QueueCore::claim(shm::ClaimedSlot& claimed, Deadline deadline) {
    shm::RingResult result{};
    const auto attempt = [&] {
        result = ring_.claim(claimed);
        return result != shm::RingResult::full;
    };
    if (!deadline.is_passed()) {
        shm::pause_when_full(wait_);
    }
    for (;;) {
        const shm::Waited waited = shm::wait_until(
            ring_.layout().room, wait_, put_spin_, deadline, attempt, [] {},
            [&, sleeps = 0U]() mutable { return ring_.stuck_putting(sleeps++); });
        if (waited == shm::Waited::timed_out) {
            return settle_claim(result, claimed);
        }
        if (result == shm::RingResult::done) {
            return true;
        }
        refuse_or_join(result);
    }
}

bool QueueCore::claim_read(shm::ClaimedSlot& claimed, Deadline deadline) {
    shm::RingResult result{};
    const auto attempt = [&] {
        result = ring_.claim_read(claimed);
        return result != shm::RingResult::empty && result != shm::RingResult::pending;
    };
    for (;;) {
        const shm::Waited waited = shm::wait_until(
            ring_.layout().items, wait_, get_spin_, deadline, attempt, [] {},
            [&, sleeps = 0U]() mutable { return ring_.stuck_getting(sleeps++); });
        if (waited == shm::Waited::timed_out) {
            return settle_claim_read(result, claimed);
        }
        if (result == shm::RingResult::done) {
            return true;
        }
        refuse_or_join(result);
    }
}

bool QueueCore::look_and_take(CopySlot copy, void* context) {
    const auto copy_slot = [copy, context](const std::byte* slot) { copy(context, slot); };
    static_cast<void>(ring_.stuck_getting(0));
    for (;;) {
        const shm::RingResult result = take(copy_slot);
        if (result == shm::RingResult::done || result == shm::RingResult::empty ||
            result == shm::RingResult::pending) {
            return result == shm::RingResult::done;
        }
        refuse_or_join(result);
    }
}

bool QueueCore::take(CopySlot copy, void* context, Deadline deadline) {
    const auto copy_slot = [copy, context](const std::byte* slot) { copy(context, slot); };
    shm::RingResult result{};
    const auto attempt = [&] {
        result = take(copy_slot);
        return result != shm::RingResult::empty && result != shm::RingResult::pending;
    };
    const bool slipped = wait_ != Wait::park && !deadline.is_passed() && slip_.pause();
    for (;;) {
        const shm::Waited waited = shm::wait_until(
            ring_.layout().items, wait_, get_spin_, deadline, attempt, [] {},
            [&, sleeps = 0U]() mutable { return ring_.stuck_getting(sleeps++); });
        if (slipped) {
            slip_.judge(waited == shm::Waited::done && ring_.more());
        }
        if (waited == shm::Waited::timed_out) {
            return settle_take(result, copy, context);
        }
        if (result == shm::RingResult::done) {
            return true;
        }
        refuse_or_join(result);
    }
}

void QueueCore::write_value(const shm::ClaimedSlot& claimed, std::span<const std::byte> value) {
    auto& slot = *reinterpret_cast<shm::ValueSlotLayout*>(claimed.slot);
    slot.value_bytes = value.size();
    if (value.size() <= inline_bytes_) [[likely]] {
        if (!value.empty()) {
            std::memcpy(slot.inline_bytes, value.data(), value.size());
        }
        return;
    }
    shm::Failure failure;
    if (!ring_.write_extent(claimed, value, failure)) {
        throw_failure(object_, failure);
    }
}

std::span<const std::byte> QueueCore::read_value(const shm::ClaimedSlot& claimed,
                                                 std::span<std::byte> (*room)(void*, std::size_t),
                                                 void* context) {
    const auto& slot = *reinterpret_cast<const shm::ValueSlotLayout*>(claimed.slot);
    // Once, and the compiler must not look again: what is shared is input. relaxed: ours, as below
    const std::uint64_t bytes =
        reinterpret_cast<const std::atomic<std::uint64_t>&>(slot.value_bytes)
            .load(std::memory_order_relaxed);
    if (bytes <= inline_bytes_) [[likely]] {
        return {slot.inline_bytes, bytes};
    }
    // Both numbers may be damaged. Before a buffer is made of them: no value is longer than all
    // the memory that the kernel holds for the queue. (For short ones asking costs too much.)
    constexpr std::uint64_t kShort = 1U << 20U;
    // relaxed: ours, since the slot was claimed
    if (bytes > slot.extent_bytes.load(std::memory_order_relaxed) ||
        (bytes > kShort && bytes > segment_->mapping().bytes_allocated())) {
        throw BadSegment(object_ + ": a message's length is damaged");
    }
    const std::span<std::byte> buffer = room(context, bytes);
    shm::Failure failure;
    if (!ring_.read_extent(claimed, buffer, failure)) {
        throw_failure(object_, failure);
    }
    return buffer;
}

void QueueCore::reopen_task() noexcept {
    // Another getter won the message: it counts it. Our own count was too high for a moment, which
    // join() may have seen.
    const shm::MemberId me = ring_.members().id();
    const std::uint32_t tag = ring_.members().tenant_tag(me);
    std::atomic<std::uint64_t>& got = cell(me).got;
    const std::uint64_t seen =
        got.load(std::memory_order_relaxed);  // I2: only this thread writes it
    // seq_cst exchange: before the look at join()'s sleepers (waiting.hpp: S3, S4).
    got.exchange(task_word(tag, task_count(seen, tag) - 1), std::memory_order_seq_cst);
    ring_.layout().tasks.notify_all();
}

std::int64_t QueueCore::open_tasks_of(shm::MemberId id) const noexcept {
    // `done` first: it never overtakes `got`, so that the difference is never negative. seq_cst:
    // after the look at the slots, in one order with the commit stores.
    const std::uint64_t done = cell(id).done.load(std::memory_order_seq_cst);
    const std::uint64_t got = cell(id).got.load(std::memory_order_seq_cst);  // as above
    const shm::Members& members = segment_->members();
    const std::uint32_t tag = members.tenant_tag(id);
    if (got == 0 || tag == 0 || static_cast<std::uint32_t>(got >> 32U) != tag ||
        members.has_ended(id)) {
        return 0;
    }
    return static_cast<std::int32_t>(task_count(got, tag) - task_count(done, tag));
}

bool QueueCore::report_done(shm::MemberId id) noexcept {
    std::atomic<std::uint64_t>& done = cell(id).done;
    std::uint64_t seen = done.load(std::memory_order_acquire);  // so that `got` is read after it
    for (;;) {
        const std::uint32_t tag = ring_.members().tenant_tag(id);
        const std::uint64_t got = cell(id).got.load(std::memory_order_acquire);  // as above
        if (tag == 0 || task_count(got, tag) == task_count(seen, tag)) {
            return false;
        }
        // seq_cst: before the look at join()'s sleepers (waiting.hpp: S3, S4).
        if (done.compare_exchange_weak(seen, task_word(tag, task_count(seen, tag) + 1),
                                       std::memory_order_seq_cst, std::memory_order_acquire)) {
            return true;
        }
    }
}

void QueueCore::task_done() {
    const shm::MemberId me = ring_.members().id();
    if (me == shm::kNobody) {
        refuse_or_join(shm::RingResult::no_member);
    }
    // Mostly one's own message; else another thread got it, and this one did the work.
    bool reported = me != shm::kNobody && report_done(me);
    for (std::uint32_t id = 1; !reported && id <= segment_->members().capacity(); ++id) {
        const auto other = static_cast<shm::MemberId>(id);
        reported = open_tasks_of(other) > 0 && report_done(other);
    }
    if (!reported) {
        throw Error(object_ + ": task_done() was called more often than there were messages");
    }
    ring_.layout().tasks.notify_all();
}

std::int64_t QueueCore::open_tasks() const noexcept {
    // Slots first, then cells: a message that moves from one to the other meanwhile is seen in its
    // cell, which is raised before the slot is released.
    std::int64_t open = static_cast<std::int64_t>(ring_.unfinished());
    for (std::uint32_t id = 1; id <= segment_->members().capacity(); ++id) {
        open += open_tasks_of(static_cast<shm::MemberId>(id));
    }
    return open;
}

bool QueueCore::join(Deadline deadline) {
    if (deadline.at_ns() == 0) {
        ring_.members().rescue();  // wait_until() looks for the dead only before it sleeps
    }
    shm::SpinBudget budget;
    return shm::wait_until(
               ring_.layout().tasks, Wait::park, budget, deadline,
               [&] { return open_tasks() <= 0; }, [] {},
               [&] {
                   ring_.members().rescue();
                   return shm::FutexWatch{};
               }) == shm::Waited::done;
}

}  // namespace sluice::detail
