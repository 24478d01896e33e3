// The untyped body of RWLock: the segment, the word and its readers' cells, waiting, errors.
#pragma once

#include <string_view>

#include "sluice/detail/lock_core.hpp"
#include "sluice/shm/rw_lock_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

class RwLockCore : public ObjectCore {
 public:
    static constexpr std::string_view kNoun = "RWLock";

    explicit RwLockCore(const Origin& origin, Wait wait = {}, shm::IfAbandoned if_abandoned = {});
    ~RwLockCore() { abandon_held(*this, word_); }

    void lock() { static_cast<void>(lock_until(Deadline::never())); }
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
        if (!word_.unlock_shared(me())) [[unlikely]] {
            throw_not_held(*this);
        }
    }

    bool is_locked() const noexcept { return word_.is_locked(); }
    bool is_abandoned() const noexcept { return word_.is_abandoned(); }
    void repair();

    const shm::RwLockWord& word() const noexcept { return word_; }

 private:
    bool lock_shared_now() {
        // Who refuses an abandoned one looks for the marks, too.
        return if_abandoned_ == shm::IfAbandoned::take && word_.try_lock_shared_now(me());
    }
    bool lock_shared_slowly(Deadline deadline);
    bool try_lock_shared_slowly();
    bool settle(shm::LockResult result) const;

    shm::RwLockWord word_;
    shm::IfAbandoned if_abandoned_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::detail
