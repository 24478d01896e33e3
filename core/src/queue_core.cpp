// Making, opening and waiting for queues; open tasks.
#include "sluice/detail/queue_core.hpp"

#include <bit>
#include <cstring>
#include <stdexcept>

#include "sluice/detail/failure.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::uint64_t kCapacityMax = 1ULL << 26U;
constexpr std::uint32_t kExtentsOption = shm::SegmentOptions::kQueueExtents;

std::size_t cells_offset(const shm::MpmcRing::Shape& shape) noexcept {
    return shm::round_up(shm::MpmcRing::bytes(shape), shm::kIsolationBytes);
}

std::uint32_t option_of(const QueueShape& queue) noexcept {
    return queue.values_have_extents ? kExtentsOption : 0;
}

// Where a new ring begins, which ObjectShape does not know.
struct Shape : ObjectShape {
    shm::MpmcRing::Shape ring{};
};

Shape object_shape(const Origin& origin, const QueueShape& queue) {
    if (origin.may_make() && (queue.capacity == 0 || queue.capacity > kCapacityMax)) {
        throw std::invalid_argument(origin.object("Queue") + ": a capacity is 1 to " +
                                    std::to_string(kCapacityMax) + " messages, not " +
                                    std::to_string(queue.capacity));
    }
    Shape shape;
    shape.ring = {std::bit_ceil(queue.capacity), queue.slot_bytes, queue.values_have_extents,
                  queue.first_position};
    shape.kind = shm::SegmentKind::queue;
    shape.noun = "Queue";
    shape.layout_signature = shm::MpmcRing::layout_signature();
    shape.type_signature = queue.type_signature;
    shape.type_text = queue.type_text;
    shape.capacity = shape.ring.capacity;
    shape.capacity_max = kCapacityMax;
    shape.element_bytes = queue.slot_bytes;
    // Plain values have one size; of packed ones the maker chose how much lies in the slot.
    shape.any_element_bytes = queue.values_have_extents;
    shape.options = option_of(queue);
    // How large it is depends on the slots, too: that is looked at below.
    shape.body_bytes = [](std::uint64_t, std::uint32_t members) {
        return members * sizeof(TaskCellLayout);
    };
    shape.extra_bytes = cells_offset(shape.ring);
    shape.beyond_bytes =
        queue.values_have_extents ? shape.capacity << shm::MpmcRing::kExtentShift : 0;
    shape.initialise = [](std::byte* body, const ObjectShape& made, std::uint32_t) {
        shm::MpmcRing::initialise(body, static_cast<const Shape&>(made).ring);
    };
    shape.wait = queue.wait;
    return shape;
}

shm::MpmcRing::Shape ring_shape(const ObjectCore& core, const QueueShape& wanted) noexcept {
    return {core.capacity(), core.segment().element_bytes(), wanted.values_have_extents,
            wanted.first_position};
}

shm::MpmcRing::Shape found_shape(const ObjectCore& core, const QueueShape& wanted) {
    const shm::MpmcRing::Shape shape = ring_shape(core, wanted);
    const std::size_t bytes = core.segment().body_bytes();
    if (!shm::MpmcRing::fits(shape, bytes) ||
        cells_offset(shape) + core.members().capacity() * sizeof(TaskCellLayout) > bytes ||
        (wanted.values_have_extents && shape.slot_bytes < sizeof(shm::ValueSlotLayout)) ||
        core.options() != option_of(wanted)) {
        core.throw_damaged_header();
    }
    return shape;
}

}  // namespace

QueueCore::QueueCore(const Origin& origin, const QueueShape& wanted)
    : ObjectCore(origin, object_shape(origin, wanted)),
      ring_(segment(), found_shape(*this, wanted)),
      cells_(reinterpret_cast<TaskCellLayout*>(body() + cells_offset(ring_shape(*this, wanted)))),
      inline_bytes_(segment().element_bytes() - offsetof(shm::ValueSlotLayout, inline_bytes)) {}

void QueueCore::refuse_or_join(shm::RingResult result) {
    if (result == shm::RingResult::closed) {
        throw Closed(object() + " is closed");
    }
    if (result == shm::RingResult::damaged) {
        throw_damaged();
    }
    if (result == shm::RingResult::no_member) {
        static_cast<void>(me());
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
        shm::pause_when_full(how_to_wait());
    }
    for (;;) {
        const shm::Waited waited = shm::wait_until(
            ring_.layout().room, how_to_wait(), put_spin_, deadline, attempt, [] {},
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
            ring_.layout().items, how_to_wait(), get_spin_, deadline, attempt, [] {},
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
    const bool slipped = how_to_wait() != Wait::park && !deadline.is_passed() && slip_.pause();
    for (;;) {
        const shm::Waited waited = shm::wait_until(
            ring_.layout().items, how_to_wait(), get_spin_, deadline, attempt, [] {},
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
        throw_failure(object(), failure);
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
        (bytes > kShort && bytes > segment().mapping().bytes_allocated())) {
        throw BadSegment(object() + ": a message's length is damaged");
    }
    const std::span<std::byte> buffer = room(context, bytes);
    shm::Failure failure;
    if (!ring_.read_extent(claimed, buffer, failure)) {
        throw_failure(object(), failure);
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
    const shm::Members& members = segment().members();
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
    for (std::uint32_t id = 1; !reported && id <= members().capacity(); ++id) {
        const auto other = static_cast<shm::MemberId>(id);
        reported = open_tasks_of(other) > 0 && report_done(other);
    }
    if (!reported) {
        throw Error(object() + ": task_done() was called more often than there were messages");
    }
    ring_.layout().tasks.notify_all();
}

std::int64_t QueueCore::open_tasks() const noexcept {
    // Slots first, then cells: a message that moves from one to the other meanwhile is seen in its
    // cell, which is raised before the slot is released.
    std::int64_t open = static_cast<std::int64_t>(ring_.unfinished());
    for (std::uint32_t id = 1; id <= members().capacity(); ++id) {
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
