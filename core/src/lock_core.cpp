// Making and opening locks; what a lock's answers mean.
#include "sluice/detail/lock_core.hpp"

#include <limits>
#include <new>
#include <utility>

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::uint32_t kRefuseOption = shm::SegmentOptions::kRefuseAbandoned;

SyncShape sync_shape(const LockShape& shape) {
    SyncShape sync;
    const bool again = shape.kind == LockKind::rlock;
    sync.kind = again ? shm::SegmentKind::rlock : shm::SegmentKind::lock;
    sync.noun = again ? "RLock" : "Lock";
    sync.layout_signature = shm::LockWord::layout_signature();
    sync.body_bytes = [](std::uint64_t, std::uint32_t) { return sizeof(shm::LockWordLayout); };
    sync.initialise = [](std::byte* body, const SyncShape&, std::uint32_t) {
        new (body) shm::LockWordLayout{};
    };
    sync.options = shape.if_abandoned == shm::IfAbandoned::refuse ? kRefuseOption : 0;
    sync.wait = shape.wait;
    return sync;
}

}  // namespace

std::shared_ptr<LockCore> LockCore::make(const shm::SegmentPlace& place, SyncOpen how,
                                         const LockShape& shape, const shm::MemoryOptions& memory,
                                         unsigned permissions) {
    return std::make_shared<LockCore>(place, how, shape, memory, permissions);
}

void LockCore::unlink(LockKind kind, std::string_view name) {
    SyncCore::unlink(kind == LockKind::rlock ? "RLock" : "Lock", name);
}

LockCore::LockCore(const shm::SegmentPlace& place, SyncOpen how, const LockShape& shape,
                   const shm::MemoryOptions& memory, unsigned permissions)
    : LockCore(SyncCore(place, how, sync_shape(shape), memory, permissions)) {}

LockCore::LockCore(Unparcel& parcel, LockKind kind)
    : LockCore(SyncCore(parcel, sync_shape({kind, {}, {}}))) {}

LockCore::LockCore(SyncCore sync)
    : sync_(std::move(sync)),
      word_(*reinterpret_cast<shm::LockWordLayout*>(sync_.body()), sync_.members()),
      if_abandoned_((sync_.options() & kRefuseOption) != 0 ? shm::IfAbandoned::refuse
                                                           : shm::IfAbandoned::take) {
    sync_.members().set_sweeper({[](void* word, shm::MemberId id, const shm::DeadTenant& dead) {
                                     static_cast<shm::LockWord*>(word)->sweep(id, dead);
                                 },
                                 &word_});
}

LockCore::~LockCore() {
    // Without becoming a member for it: who is none holds nothing.
    if (const shm::MemberId me = sync_.members().id_if_any(); me != shm::kNobody) {
        word_.abandon(me);
    }
}

bool LockCore::settle(shm::LockResult result) const {
    switch (result) {
        case shm::LockResult::done:
            return true;
        case shm::LockResult::timed_out:
            return false;
        case shm::LockResult::would_deadlock:
            throw Error(sync_.object() +
                        ": would deadlock: this thread holds it already; an RLock may be taken "
                        "again by its owner");
        case shm::LockResult::abandoned:
            throw OwnerDied(sync_.object() +
                            ": its last owner died holding it; put right what it guards, then "
                            "call repair()");
        case shm::LockResult::damaged:
            break;
    }
    sync_.throw_damaged();
}

bool LockCore::lock_slowly(Deadline deadline) {
    return settle(attempt(deadline, sync_.me()));
}

bool LockCore::try_lock_slowly() {
    const shm::LockResult result = attempt(Deadline::passed(), sync_.me());
    return result != shm::LockResult::would_deadlock && settle(result);
}

void LockCore::unlock_slowly() {
    if (!word_.unlock(sync_.me())) {
        throw_not_held();
    }
}

void LockCore::repair() {
    if (!word_.repair(sync_.me())) {
        throw Error(sync_.object() + ": cannot be repaired: another thread holds it");
    }
}

void LockCore::throw_not_held() const {
    throw Error(sync_.object() + ": cannot be given back: this thread does not hold it");
}

// relaxed, here and below: only the owner reads and writes it
std::uint32_t LockCore::depth() const noexcept {
    return word_.layout().depth.load(std::memory_order_relaxed);
}
void LockCore::set_depth(std::uint32_t depth) noexcept {
    // relaxed: as above
    word_.layout().depth.store(depth, std::memory_order_relaxed);
}

bool LockCore::lock_again_until(Deadline deadline) {
    const shm::MemberId me = sync_.me();
    if (word_.is_held_by(me)) {
        if (depth() == std::numeric_limits<std::uint32_t>::max()) {
            throw Error(sync_.object() + ": is held too often");
        }
        set_depth(depth() + 1);
        return true;
    }
    if (!word_.try_lock_now(me) && !settle(attempt(deadline, me))) {
        return false;
    }
    set_depth(1);  // whatever a dead owner has left there
    return true;
}

void LockCore::unlock_once() {
    const shm::MemberId me = sync_.me();
    if (!word_.is_held_by(me)) {
        throw_not_held();
    }
    if (depth() > 1) {
        set_depth(depth() - 1);
    } else if (!word_.unlock_now(me)) {
        unlock_slowly();
    }
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

}  // namespace sluice::detail
