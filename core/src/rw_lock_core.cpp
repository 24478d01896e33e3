// Making and opening reader-writer locks; what their answers mean.
#include "sluice/detail/rw_lock_core.hpp"

#include <utility>

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::uint32_t kRefuseOption = shm::SegmentOptions::kRefuseAbandoned;

SyncShape sync_shape(Wait wait, shm::IfAbandoned if_abandoned) {
    SyncShape sync;
    sync.kind = shm::SegmentKind::rw_lock;
    sync.noun = "RWLock";
    sync.layout_signature = shm::RwLockWord::layout_signature();
    sync.body_bytes = [](std::uint64_t, std::uint32_t members) {
        return shm::RwLockWord::bytes(members);
    };
    // All zeros: nobody reads or writes.
    sync.initialise = [](std::byte*, const SyncShape&, std::uint32_t) {};
    sync.options = if_abandoned == shm::IfAbandoned::refuse ? kRefuseOption : 0;
    sync.wait = wait;
    return sync;
}

}  // namespace

RwLockCore::RwLockCore(const shm::SegmentPlace& place, SyncOpen how, Wait wait,
                       shm::IfAbandoned if_abandoned, const shm::MemoryOptions& memory,
                       unsigned permissions)
    : RwLockCore(SyncCore(place, how, sync_shape(wait, if_abandoned), memory, permissions)) {}

RwLockCore::RwLockCore(Unparcel& parcel) : RwLockCore(SyncCore(parcel, sync_shape({}, {}))) {}

RwLockCore::RwLockCore(SyncCore sync)
    : sync_(std::move(sync)),
      word_(sync_.body(), sync_.members()),
      if_abandoned_((sync_.options() & kRefuseOption) != 0 ? shm::IfAbandoned::refuse
                                                           : shm::IfAbandoned::take) {}

RwLockCore::~RwLockCore() {
    // Without becoming a member for it: who is none holds nothing.
    if (const shm::MemberId me = sync_.members().id_if_any(); me != shm::kNobody) {
        word_.abandon(me);
    }
}

bool RwLockCore::settle(shm::LockResult result) const {
    switch (result) {
        case shm::LockResult::done:
            return true;
        case shm::LockResult::timed_out:
            return false;
        case shm::LockResult::would_deadlock:
            throw Error(sync_.object() +
                        ": would deadlock: this thread reads or writes already. (It may read "
                        "again while it reads, up to 65535 times.)");
        case shm::LockResult::abandoned:
            throw OwnerDied(sync_.object() +
                            ": somebody died holding it; put right what it guards, then call "
                            "repair()");
        case shm::LockResult::damaged:
            break;
    }
    sync_.throw_damaged();
}

bool RwLockCore::lock_until(Deadline deadline) {
    return settle(word_.lock(sync_.me(), sync_.wait(), spin_, deadline, if_abandoned_));
}

bool RwLockCore::try_lock() {
    const shm::LockResult result =
        word_.lock(sync_.me(), sync_.wait(), spin_, Deadline::passed(), if_abandoned_);
    return result != shm::LockResult::would_deadlock && settle(result);
}

void RwLockCore::unlock() {
    if (!word_.unlock(sync_.me())) {
        throw_not_held();
    }
}

bool RwLockCore::lock_shared_slowly(Deadline deadline) {
    return settle(word_.lock_shared(sync_.me(), sync_.wait(), spin_, deadline, if_abandoned_));
}

bool RwLockCore::try_lock_shared_slowly() {
    const shm::LockResult result =
        word_.lock_shared(sync_.me(), sync_.wait(), spin_, Deadline::passed(), if_abandoned_);
    return result != shm::LockResult::would_deadlock && settle(result);
}

void RwLockCore::repair() {
    if (!word_.repair(sync_.me())) {
        throw Error(sync_.object() + ": cannot be repaired: another thread writes");
    }
}

void RwLockCore::throw_not_held() const {
    throw Error(sync_.object() + ": cannot be given back: this thread does not hold it so");
}

}  // namespace sluice::detail
