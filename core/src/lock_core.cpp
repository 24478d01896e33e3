// Making and opening locks; what a lock's answers mean.
#include "sluice/detail/lock_core.hpp"

#include <limits>
#include <new>
#include <string>

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::uint32_t kRefuseOption = shm::SegmentOptions::kRefuseAbandoned;

ObjectShape shape_of(shm::SegmentKind kind, std::string_view noun, Wait wait,
                     shm::IfAbandoned if_abandoned) {
    ObjectShape shape;
    shape.kind = kind;
    shape.noun = noun;
    shape.layout_signature = shm::LockWord::layout_signature();
    shape.body_bytes = [](std::uint64_t, std::uint32_t) { return sizeof(shm::LockWordLayout); };
    shape.initialise = [](std::byte* body, const ObjectShape&, std::uint32_t) {
        new (body) shm::LockWordLayout{};
    };
    shape.options = option_of(if_abandoned);
    shape.wait = wait;
    return shape;
}

}  // namespace

std::uint32_t option_of(shm::IfAbandoned if_abandoned) noexcept {
    return if_abandoned == shm::IfAbandoned::refuse ? kRefuseOption : 0;
}
shm::IfAbandoned if_abandoned_of(const ObjectCore& core) noexcept {
    return (core.options() & kRefuseOption) != 0 ? shm::IfAbandoned::refuse
                                                 : shm::IfAbandoned::take;
}

bool settle(const ObjectCore& core, shm::LockResult result, const LockTexts& texts) {
    switch (result) {
        case shm::LockResult::done:
            return true;
        case shm::LockResult::timed_out:
            return false;
        case shm::LockResult::would_deadlock:
            throw Error(core.object() + ": would deadlock: this thread " +
                        std::string(texts.deadlock));
        case shm::LockResult::abandoned:
            throw OwnerDied(core.object() + ": " + std::string(texts.abandoned) +
                            " died holding it; put right what it guards, then call repair()");
        case shm::LockResult::damaged:
            break;
    }
    core.throw_damaged();
}

void throw_not_held(const ObjectCore& core) {
    throw Error(core.object() + ": cannot be given back: this thread does not hold it");
}

LockCore::LockCore(const Origin& origin, Wait wait, shm::IfAbandoned if_abandoned)
    : LockCore(origin, shape_of(shm::SegmentKind::lock, kNoun, wait, if_abandoned)) {}

LockCore::LockCore(const Origin& origin, const ObjectShape& shape)
    : ObjectCore(origin, shape),
      word_(*reinterpret_cast<shm::LockWordLayout*>(body()), members()),
      if_abandoned_(if_abandoned_of(*this)) {
    members().set_sweeper({[](void* word, shm::MemberId id, const shm::DeadTenant& dead) {
                               static_cast<shm::LockWord*>(word)->sweep(id, dead);
                           },
                           &word_});
}

bool LockCore::settle(shm::LockResult result) const {
    return detail::settle(
        *this, result,
        {"holds it already; an RLock may be taken again by its owner", "its last owner"});
}

bool LockCore::lock_slowly(Deadline deadline) {
    return settle(attempt(deadline, me()));
}

bool LockCore::try_lock_slowly() {
    const shm::LockResult result = attempt(Deadline::passed(), me());
    return result != shm::LockResult::would_deadlock && settle(result);
}

void LockCore::unlock_slowly() {
    if (!word_.unlock(me())) {
        throw_not_held(*this);
    }
}

void LockCore::repair() {
    if (!word_.repair(me())) {
        throw Error(object() + ": cannot be repaired: another thread holds it");
    }
}

// relaxed, here and below: only the owner reads and writes it
std::uint32_t LockCore::depth() const noexcept {
    return word_.layout().depth.load(std::memory_order_relaxed);
}
void LockCore::set_depth(std::uint32_t depth) noexcept {
    // relaxed: as above
    word_.layout().depth.store(depth, std::memory_order_relaxed);
}

std::uint32_t LockCore::release_all() {
    const std::uint32_t held = depth();
    unlock();
    return held;
}

void LockCore::reacquire(std::uint32_t depth) {
    lock();
    set_depth(depth);
}

RLockCore::RLockCore(const Origin& origin, Wait wait, shm::IfAbandoned if_abandoned)
    : LockCore(origin, shape_of(shm::SegmentKind::rlock, kNoun, wait, if_abandoned)) {}

bool RLockCore::lock_until(Deadline deadline) {
    const shm::MemberId id = me();
    if (word().is_held_by(id)) {
        if (depth() == std::numeric_limits<std::uint32_t>::max()) {
            throw Error(object() + ": is held too often");
        }
        set_depth(depth() + 1);
        return true;
    }
    if (!take(id, deadline)) {
        return false;
    }
    set_depth(1);  // whatever a dead owner has left there
    return true;
}

void RLockCore::unlock() {
    const shm::MemberId id = me();
    if (!word().is_held_by(id)) {
        throw_not_held(*this);
    }
    if (depth() > 1) {
        set_depth(depth() - 1);
    } else {
        give_back(id);
    }
}

}  // namespace sluice::detail
