// Making and opening guarded values; who writes.
#include "sluice/detail/guarded_core.hpp"

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

// SyncShape's functions know the shape, and that knows the value's size; its bytes lie in front.
struct Shape : SyncShape {
    const std::byte* initial{};
};

Shape sync_shape(const GuardedShape& guarded) {
    Shape shape;
    shape.kind = shm::SegmentKind::guarded;
    shape.noun = "Guarded";
    shape.layout_signature = shm::GuardedWord::layout_signature();
    // The capacity is the value's size, so that body_bytes() knows it.
    shape.capacity = guarded.initial.size();
    shape.capacity_max = guarded.initial.size();
    shape.element_bytes = guarded.initial.size();
    shape.body_bytes = [](std::uint64_t value_bytes, std::uint32_t) {
        return shm::GuardedWord::bytes(value_bytes);
    };
    shape.initialise = [](std::byte* body, const SyncShape& made, std::uint32_t) {
        const auto& whole = static_cast<const Shape&>(made);
        shm::GuardedWord::initialise(body, whole.initial, whole.capacity);
    };
    shape.type_signature = guarded.type_signature;
    shape.type_text = guarded.type_text;
    shape.wait = guarded.wait;
    shape.initial = guarded.initial.data();
    return shape;
}

}  // namespace

GuardedCore::GuardedCore(const shm::SegmentPlace& place, SyncOpen how, const GuardedShape& shape,
                         const shm::MemoryOptions& memory, unsigned permissions)
    : sync_(place, how, sync_shape(shape), memory, permissions),
      word_(sync_.body(), sync_.members(), shape.initial.size()) {
    if (sync_.capacity() != shape.initial.size()) {
        sync_.throw_damaged();
    }
}

GuardedCore::~GuardedCore() {
    // Without becoming a member for it: who is none holds nothing.
    if (const shm::MemberId me = sync_.members().id_if_any(); me != shm::kNobody) {
        word_.lock().abandon(me);
    }
}

bool GuardedCore::settle(shm::LockResult result) const {
    switch (result) {
        case shm::LockResult::done:
            return true;
        case shm::LockResult::timed_out:
            return false;
        case shm::LockResult::would_deadlock:
            throw Error(sync_.object() + ": would deadlock: this thread writes it already");
        case shm::LockResult::abandoned:
        case shm::LockResult::damaged:
            break;
    }
    sync_.throw_damaged();
}

bool GuardedCore::begin(Deadline deadline) {
    const shm::MemberId me = sync_.me();
    // Abandoned or not: what a dead writer left half-written is nobody's value.
    return word_.lock().try_lock_now(me) ||
           settle(word_.lock().lock(me, sync_.wait(), spin_, deadline, shm::IfAbandoned::take));
}

bool GuardedCore::try_begin() {
    const shm::MemberId me = sync_.me();
    if (word_.lock().try_lock_now(me)) {
        return true;
    }
    const shm::LockResult result =
        word_.lock().lock(me, sync_.wait(), spin_, Deadline::passed(), shm::IfAbandoned::take);
    return result != shm::LockResult::would_deadlock && settle(result);
}

void GuardedCore::end() noexcept {
    if (const shm::MemberId me = sync_.members().id_if_any();
        me != shm::kNobody && !word_.lock().unlock_now(me)) {
        static_cast<void>(word_.lock().unlock(me));
    }
}

bool GuardedCore::is_writer() noexcept {
    const shm::MemberId me = sync_.members().id_if_any();
    return me != shm::kNobody && word_.lock().is_held_by(me);
}

void GuardedCore::throw_not_writer() const {
    throw Error(sync_.object() +
                ": cannot be committed: it was committed or dropped already, or this is not the "
                "thread that writes");
}

}  // namespace sluice::detail
