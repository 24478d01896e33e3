// Waiting to write; what the lock's answers mean.
#include "sluice/detail/writer_lock.hpp"

#include "sluice/error.hpp"

namespace sluice::detail {

WriterLock::~WriterLock() {
    // Without becoming a member for it: who is none holds nothing.
    if (const shm::MemberId me = sync_->members().id_if_any(); me != shm::kNobody) {
        word_->abandon(me);
    }
}

bool WriterLock::settle(shm::LockResult result) const {
    switch (result) {
        case shm::LockResult::done:
            return true;
        case shm::LockResult::timed_out:
            return false;
        case shm::LockResult::would_deadlock:
            throw Error(sync_->object() + ": would deadlock: this thread writes it already");
        case shm::LockResult::abandoned:
        case shm::LockResult::damaged:
            break;
    }
    sync_->throw_damaged();
}

shm::LockResult WriterLock::attempt(shm::MemberId me, Deadline deadline) noexcept {
    // Abandoned or not: what a dead writer left half-written is nobody's value.
    return word_->lock(me, sync_->wait(), spin_, deadline, shm::IfAbandoned::take);
}

bool WriterLock::begin_slowly(shm::MemberId me, Deadline deadline) {
    return settle(attempt(me, deadline));
}

bool WriterLock::try_begin() {
    const shm::MemberId me = sync_->me();
    if (word_->try_lock_now(me)) {
        return true;
    }
    const shm::LockResult result = attempt(me, Deadline::passed());
    return result != shm::LockResult::would_deadlock && settle(result);
}

void WriterLock::end() noexcept {
    if (const shm::MemberId me = sync_->members().id_if_any();
        me != shm::kNobody && !word_->unlock_now(me)) {
        static_cast<void>(word_->unlock(me));
    }
}

bool WriterLock::is_writer() noexcept {
    const shm::MemberId me = sync_->members().id_if_any();
    return me != shm::kNobody && word_->is_held_by(me);
}

}  // namespace sluice::detail
