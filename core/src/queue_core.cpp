// Making, opening and waiting for queues; open tasks.
#include "sluice/detail/queue_core.hpp"

#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "sluice/detail/failure.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::uint64_t kCapacityMax = 1ULL << 26U;
constexpr std::uint32_t kWaitMask = 3;
constexpr std::uint32_t kExtentsOption = 4;

std::string object_name(std::string_view name) {
    return name.empty() ? std::string("Queue") : "Queue \"" + std::string(name) + '"';
}

std::size_t cells_offset(const shm::MpmcRing::Shape& shape) noexcept {
    return shm::round_up(shm::MpmcRing::bytes(shape), shm::kIsolationBytes);
}

std::size_t body_bytes(const shm::MpmcRing::Shape& shape, std::uint32_t members) noexcept {
    return cells_offset(shape) + members * sizeof(TaskCellLayout);
}

}  // namespace

std::shared_ptr<QueueCore> QueueCore::make(std::string_view name, Open how, const QueueShape& wanted,
                                           const shm::MemoryOptions& memory, unsigned permissions) {
    const std::string object = object_name(name);
    if (wanted.capacity == 0 || wanted.capacity > kCapacityMax) {
        throw std::invalid_argument(object + ": a capacity is 1 to " +
                                    std::to_string(kCapacityMax) + " messages, not " +
                                    std::to_string(wanted.capacity));
    }
    shm::MpmcRing::Shape shape{std::bit_ceil(wanted.capacity), wanted.slot_bytes,
                               wanted.values_have_extents, wanted.first_position};
    shm::SegmentSpec spec;
    spec.kind = shm::SegmentKind::queue;
    spec.layout_signature = shm::MpmcRing::layout_signature();
    spec.type_signature = wanted.type_signature;
    spec.type_text = wanted.type_text;
    spec.capacity = shape.capacity;
    spec.element_bytes = shape.slot_bytes;
    spec.options = static_cast<std::uint32_t>(wanted.wait) |
                   (shape.values_have_extents ? kExtentsOption : 0U);
    spec.body_bytes = body_bytes(shape, spec.member_capacity);

    shm::Failure failure;
    for (;;) {
        failure = {};
        std::shared_ptr<shm::Segment> segment;
        if (how != Open::create) {
            segment = shm::Segment::open(name, spec, failure);
            if (segment) {
                // What the header says is checked against what there is.
                shape.capacity = segment->capacity();
                shape.slot_bytes = segment->element_bytes();
                const bool extents = (segment->options() & kExtentsOption) != 0;
                if (!shm::MpmcRing::fits(shape, segment->body_bytes()) ||
                    body_bytes(shape, segment->members().capacity()) > segment->body_bytes() ||
                    shape.slot_bytes != wanted.slot_bytes ||
                    extents != wanted.values_have_extents ||
                    (segment->options() & kWaitMask) > static_cast<std::uint32_t>(Wait::park)) {
                    throw BadSegment(object + ": has a damaged header: its ring does not fit into it");
                }
                const auto wait = static_cast<Wait>(segment->options() & kWaitMask);
                return std::make_shared<QueueCore>(std::move(segment), shape, wait, object);
            }
            const bool missing =
                failure.kind == shm::FailureKind::environment && failure.error == ENOENT;
            if (how == Open::open || !missing) {
                throw_failure(object, failure);
            }
            failure = {};
        }
        segment = shm::Segment::create(
            name, spec, memory, permissions, failure,
            [&shape](shm::Segment& made) { shm::MpmcRing::initialise(made.body(), shape); });
        if (segment) {
            return std::make_shared<QueueCore>(std::move(segment), shape, wanted.wait, object);
        }
        const bool taken =
            failure.kind == shm::FailureKind::environment && failure.error == EEXIST;
        if (how != Open::open_or_create || !taken) {
            throw_failure(object, failure);
        }
    }
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

bool QueueCore::refuse_or_wait(shm::RingResult result) {
    switch (result) {
        case shm::RingResult::closed: throw Closed(object_ + " is closed");
        case shm::RingResult::no_member: {
            shm::Failure failure;
            if (ring_.members().join(failure) == shm::kNobody) {
                throw_failure(object_, failure);
            }
            return false;
        }
        default: return false;
    }
}

bool QueueCore::claim(shm::ClaimedSlot& claimed, Deadline deadline) {
    shm::RingResult result{};
    const auto attempt = [&] {
        result = ring_.claim(claimed);
        return result != shm::RingResult::full;
    };
    for (;;) {
        const shm::Waited waited = shm::wait_until(
            ring_.layout().room, wait_, put_spin_, deadline, attempt, [] {},
            [&] { return ring_.stuck_putting(); });
        if (waited == shm::Waited::timed_out) {
            return false;
        }
        if (result == shm::RingResult::done) {
            return true;
        }
        refuse_or_wait(result);
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
            [&] { return ring_.stuck_getting(); });
        if (waited == shm::Waited::timed_out) {
            return false;
        }
        if (result == shm::RingResult::done) {
            return true;
        }
        refuse_or_wait(result);
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
    const std::uint64_t bytes = slot.value_bytes;  // once: what is shared is input
    if (bytes <= inline_bytes_) [[likely]] {
        return {slot.inline_bytes, bytes};
    }
    if (bytes > slot.extent_bytes.load(std::memory_order_acquire)) {
        throw BadSegment(object_ + ": a message's length is damaged");
    }
    const std::span<std::byte> buffer = room(context, bytes);
    shm::Failure failure;
    if (!ring_.read_extent(claimed, buffer, failure)) {
        throw_failure(object_, failure);
    }
    return buffer;
}

namespace {

constexpr std::uint64_t task_word(std::uint32_t tag, std::int32_t count) noexcept {
    return (static_cast<std::uint64_t>(tag) << 32U) | static_cast<std::uint32_t>(count);
}
constexpr std::uint32_t tag_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word >> 32U);
}
constexpr std::int32_t count_of(std::uint64_t word) noexcept {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(word));
}

}  // namespace

void QueueCore::open_task() noexcept {
    const shm::MemberId me = ring_.members().id();
    if (me == shm::kNobody) {
        return;
    }
    const std::uint32_t tag = ring_.members().tenant_tag(me);
    std::atomic<std::uint64_t>& word = cell(me).word;
    const std::uint64_t seen = word.load(std::memory_order_relaxed);  // only this thread writes it
    const std::int32_t count = tag_of(seen) == tag ? count_of(seen) : 0;
    word.store(task_word(tag, count + 1), std::memory_order_release);  // before the commit store
}

void QueueCore::task_done() {
    const shm::MemberId me = ring_.members().id();
    if (me == shm::kNobody) {
        refuse_or_wait(shm::RingResult::no_member);
        return;
    }
    const std::uint32_t tag = ring_.members().tenant_tag(me);
    std::atomic<std::uint64_t>& word = cell(me).word;
    const std::uint64_t seen = word.load(std::memory_order_relaxed);  // only this thread writes it
    const std::int32_t count = tag_of(seen) == tag ? count_of(seen) : 0;
    // Another thread may have got the message (then its cell is the positive one); only the sum must hold.
    if (count <= 0 && open_tasks() <= 0) {
        throw Error(object_ + ": task_done() was called more often than there were messages");
    }
    // seq_cst exchange: before the look at join()'s sleepers (waiting.hpp: S3, S4).
    word.exchange(task_word(tag, count - 1), std::memory_order_seq_cst);
    ring_.layout().tasks.notify_all();
}

std::int64_t QueueCore::open_tasks() const noexcept {
    // Slots first, then cells: a message that moves from one to the other meanwhile is seen in its cell, which
    // is raised before the slot is released.
    std::int64_t open = static_cast<std::int64_t>(ring_.unfinished());
    for (std::uint32_t index = 0; index < segment_->members().capacity(); ++index) {
        const auto id = static_cast<shm::MemberId>(index + 1U);
        const std::uint64_t word = cell(id).word.load(std::memory_order_seq_cst);
        if (word != 0 && tag_of(word) == segment_->members().tenant_tag(id) &&
            !segment_->members().has_ended(id)) {
            open += count_of(word);
        }
    }
    return open;
}

bool QueueCore::join(Deadline deadline) {
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
