// The untyped body of RWLock: the segment, the word and its readers' cells, waiting, errors.
#pragma once

#include <string_view>

#include "sluice/detail/sync_core.hpp"
#include "sluice/shm/rw_lock_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

class RwLockCore {
 public:
    RwLockCore(const shm::SegmentPlace& place, SyncOpen how, Wait wait,
               shm::IfAbandoned if_abandoned, const shm::MemoryOptions& memory,
               unsigned permissions);
    explicit RwLockCore(Unparcel& parcel);
    RwLockCore(const RwLockCore&) = delete;
    RwLockCore& operator=(const RwLockCore&) = delete;
    /// Held by this thread: as if it had died with it, for nobody could give it back any more.
    ~RwLockCore();

    bool lock_until(Deadline deadline);
    bool try_lock();
    void unlock();

    void lock_shared() {
        if (!lock_shared_now()) [[unlikely]] {
            static_cast<void>(lock_shared_slowly(Deadline::never()));
        }
    }
    bool lock_shared_until(Deadline deadline) {
        return lock_shared_now() || lock_shared_slowly(deadline);
    }
    bool try_lock_shared() { return lock_shared_now() || try_lock_shared_slowly(); }
    void unlock_shared() {
        if (!word_.unlock_shared(sync_.me())) [[unlikely]] {
            throw_not_held();
        }
    }

    void repair();

    shm::RwLockWord& word() noexcept { return word_; }
    const SyncCore& sync() const noexcept { return sync_; }

 private:
    explicit RwLockCore(SyncCore sync);
    bool lock_shared_now() {
        // Who refuses an abandoned one looks for the marks, too.
        return if_abandoned_ == shm::IfAbandoned::take && word_.try_lock_shared_now(sync_.me());
    }
    bool lock_shared_slowly(Deadline deadline);
    bool try_lock_shared_slowly();
    /// True: it is ours; false: it timed out. Throws what else it came to.
    bool settle(shm::LockResult result) const;
    [[noreturn]] void throw_not_held() const;

    SyncCore sync_;
    shm::RwLockWord word_;
    shm::IfAbandoned if_abandoned_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::detail
