// Waiting to write; what the lock's answers mean.
#include "sluice/detail/writer_lock.hpp"

namespace sluice::detail {

bool WriterLock::settle(shm::LockResult result) const {
    return detail::settle(*core_, result, {.deadlock = "writes it already"});
}

shm::LockResult WriterLock::attempt(shm::MemberId me, Deadline deadline) noexcept {
    // Abandoned or not: what a dead writer left half-written is nobody's value.
    return word_->lock(me, core_->how_to_wait(), spin_, deadline, shm::IfAbandoned::take);
}

bool WriterLock::begin_slowly(shm::MemberId me, Deadline deadline) {
    return settle(attempt(me, deadline));
}

bool WriterLock::try_begin() {
    const shm::MemberId me = core_->me();
    if (word_->try_lock_now(me)) {
        return true;
    }
    const shm::LockResult result = attempt(me, Deadline::passed());
    return result != shm::LockResult::would_deadlock && settle(result);
}

void WriterLock::end() noexcept {
    if (const shm::MemberId me = core_->members().id_if_any();
        me != shm::kNobody && !word_->unlock_now(me)) {
        static_cast<void>(word_->unlock(me));
    }
}

bool WriterLock::is_writer() noexcept {
    const shm::MemberId me = core_->members().id_if_any();
    return me != shm::kNobody && word_->is_held_by(me);
}

}  // namespace sluice::detail
