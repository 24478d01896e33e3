// Making and opening reader-writer locks; what their answers mean.
#include "sluice/detail/rw_lock_core.hpp"

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

ObjectShape shape_of(Wait wait, shm::IfAbandoned if_abandoned) {
    ObjectShape shape;
    shape.kind = shm::SegmentKind::rw_lock;
    shape.noun = RwLockCore::kNoun;
    shape.layout_signature = shm::RwLockWord::layout_signature();
    shape.body_bytes = [](std::uint64_t, std::uint32_t members) {
        return shm::RwLockWord::bytes(members);
    };
    // All zeros: nobody reads or writes.
    shape.initialise = [](std::byte*, const ObjectShape&, std::uint32_t) {};
    shape.options = option_of(if_abandoned);
    shape.wait = wait;
    return shape;
}

}  // namespace

RwLockCore::RwLockCore(const Origin& origin, Wait wait, shm::IfAbandoned if_abandoned)
    : ObjectCore(origin, shape_of(wait, if_abandoned)),
      word_(body(), members()),
      if_abandoned_(if_abandoned_of(*this)) {}

bool RwLockCore::settle(shm::LockResult result) const {
    return detail::settle(*this, result,
                          {"reads or writes already. (It may read again while it reads, up to "
                           "65535 times.)",
                           "somebody"});
}

bool RwLockCore::lock_until(Deadline deadline) {
    return settle(word_.lock(me(), how_to_wait(), spin_, deadline, if_abandoned_));
}

bool RwLockCore::try_lock() {
    const shm::LockResult result =
        word_.lock(me(), how_to_wait(), spin_, Deadline::passed(), if_abandoned_);
    return result != shm::LockResult::would_deadlock && settle(result);
}

void RwLockCore::unlock() {
    if (!word_.unlock(me())) {
        throw_not_held(*this);
    }
}

bool RwLockCore::lock_shared_slowly(Deadline deadline) {
    return settle(word_.lock_shared(me(), how_to_wait(), spin_, deadline, if_abandoned_));
}

bool RwLockCore::try_lock_shared_slowly() {
    const shm::LockResult result =
        word_.lock_shared(me(), how_to_wait(), spin_, Deadline::passed(), if_abandoned_);
    return result != shm::LockResult::would_deadlock && settle(result);
}

void RwLockCore::repair() {
    if (!word_.repair(me())) {
        throw Error(object() + ": cannot be repaired: another thread writes");
    }
}

}  // namespace sluice::detail
