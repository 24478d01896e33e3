// Who writes a Guarded, a Value or an Array: one thread at a time. Readers know nothing of it.
#pragma once

#include "sluice/detail/lock_core.hpp"
#include "sluice/detail/object_core.hpp"
#include "sluice/shm/lock_word.hpp"

namespace sluice::detail {

/// The lock in an object whose content is whole whatever a writer leaves: an owner's death passes
/// it on, and says nothing.
class WriterLock {
 public:
    WriterLock(ObjectCore& core, shm::LockWord& word) noexcept : core_(&core), word_(&word) {}
    WriterLock(const WriterLock&) = delete;
    WriterLock& operator=(const WriterLock&) = delete;
    /// A writer's lock goes with the last handle.
    ~WriterLock() { abandon_held(*core_, *word_); }

    /// False when the deadline passed first. Throws Error: this thread writes already.
    bool begin(Deadline deadline) {
        const shm::MemberId me = core_->me();
        return word_->try_lock_now(me) || begin_slowly(me, deadline);
    }
    bool try_begin();
    void end() noexcept;
    /// Whether this thread is the one that writes.
    bool is_writer() noexcept;

 private:
    bool begin_slowly(shm::MemberId me, Deadline deadline);
    shm::LockResult attempt(shm::MemberId me, Deadline deadline) noexcept;
    bool settle(shm::LockResult result) const;

    ObjectCore* core_;
    shm::LockWord* word_;
    shm::SpinBudget spin_{};
};

/// Writes for as long as it lives.
class Writing {
 public:
    explicit Writing(WriterLock& lock) : lock_(&lock) {
        static_cast<void>(lock.begin(Deadline::never()));
    }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;
    ~Writing() { lock_->end(); }

 private:
    WriterLock* lock_;
};

}  // namespace sluice::detail
