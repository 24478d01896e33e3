// Waiting in a Condition: what happens to the lock, and to the notification where that goes wrong.
#include "sluice/detail/condition_core.hpp"

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

ObjectShape shape_of(Wait wait) {
    ObjectShape shape;
    shape.kind = shm::SegmentKind::condition;
    shape.noun = "Condition";
    shape.layout_signature = shm::ConditionWord::layout_signature();
    shape.body_bytes = [](std::uint64_t, std::uint32_t members) {
        return shm::ConditionWord::bytes(members);
    };
    shape.initialise = [](std::byte* body, const ObjectShape&, std::uint32_t members) {
        shm::ConditionWord::initialise(body, members);
    };
    shape.wait = wait;
    return shape;
}

// Whoever died with the lock may have been told and not have acted on it, or have changed what
// others wait for and told nobody: so his death wakes all who wait with that lock.
struct OwnerDeath {
    LockCore* lock;
    std::uint32_t rescues;

    static bool has_happened(void* self) {
        const auto& death = *static_cast<OwnerDeath*>(self);
        return death.lock->rescues() != death.rescues;
    }
};

}  // namespace

ConditionCore::ConditionCore(const Origin& origin, Wait wait)
    : ObjectCore(origin, shape_of(wait)), word_(body(), members()) {}

void ConditionCore::throw_not_held() const {
    throw Error(object() + ": waiting takes a lock that this thread holds");
}

bool ConditionCore::wait(LockCore& lock, Deadline deadline) {
    if (!lock.is_held()) {
        throw_not_held();
    }
    // Announced while the lock is held: who changes what we wait for must take it first, and then
    // sees us. (Released first, a notification between the two would find nobody.)
    OwnerDeath death{&lock, lock.rescues()};
    const shm::ConditionWord::Place place = word_.announce(me());
    std::uint32_t depth = 0;
    try {
        depth = lock.release_all();
    } catch (...) {
        word_.withdraw(place);
        throw;
    }
    const shm::Waited waited =
        word_.wait(place, how_to_wait(), spin_, deadline, {&OwnerDeath::has_happened, &death});
    try {
        lock.reacquire(depth);
    } catch (...) {
        // We were told and cannot act on it (OwnerDied): somebody else may.
        word_.withdraw(place);
        throw;
    }
    word_.finish(place);
    return waited == shm::Waited::done;
}

}  // namespace sluice::detail
