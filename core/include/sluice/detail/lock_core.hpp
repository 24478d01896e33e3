// The untyped body of Lock and RLock: the segment, the word in it, waiting, errors.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "sluice/detail/sync_core.hpp"
#include "sluice/shm/lock_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

enum class LockKind : std::uint8_t { lock, rlock };

/// How a lock is made.
struct LockShape {
    LockKind kind{};
    Wait wait{};
    shm::IfAbandoned if_abandoned{};
};

class LockCore {
 public:
    static std::shared_ptr<LockCore> make(const shm::SegmentPlace& place, SyncOpen how,
                                          const LockShape& shape, const shm::MemoryOptions& memory,
                                          unsigned permissions);
    static void unlink(LockKind kind, std::string_view name);

    LockCore(const shm::SegmentPlace& place, SyncOpen how, const LockShape& shape,
             const shm::MemoryOptions& memory, unsigned permissions);
    LockCore(Unparcel& parcel, LockKind kind);
    LockCore(const LockCore&) = delete;
    LockCore& operator=(const LockCore&) = delete;
    /// Held by this thread: as if it had died with it, for nobody could give it back any more.
    ~LockCore();

    // Lock: not again by its owner.
    void lock() {
        if (!word_.try_lock_now(sync_.me())) [[unlikely]] {
            static_cast<void>(lock_slowly(Deadline::never()));
        }
    }
    bool try_lock() { return word_.try_lock_now(sync_.me()) || try_lock_slowly(); }
    bool lock_until(Deadline deadline) {
        return word_.try_lock_now(sync_.me()) || lock_slowly(deadline);
    }
    void unlock() {
        if (!word_.unlock_now(sync_.me())) [[unlikely]] {
            unlock_slowly();
        }
    }

    // RLock: its owner counts.
    void lock_again() { static_cast<void>(lock_again_until(Deadline::never())); }
    bool try_lock_again() { return lock_again_until(Deadline::passed()); }
    bool lock_again_until(Deadline deadline);
    void unlock_once();

    // For Condition: all of it, however often it is held, and back.
    std::uint32_t release_all();
    void reacquire(std::uint32_t depth);

    /// Changes with each death of an owner that is noticed; this looks for one. (A count that wraps
    /// round after 16,384.)
    std::uint32_t rescues() noexcept { return word_.rescues(); }

    bool is_held() { return word_.is_held_by(sync_.me()); }
    bool is_locked() const noexcept { return word_.is_locked(); }
    bool is_abandoned() const noexcept { return word_.is_abandoned(); }
    void repair();

    const SyncCore& sync() const noexcept { return sync_; }

 private:
    explicit LockCore(SyncCore sync);
    bool lock_slowly(Deadline deadline);
    bool try_lock_slowly();
    void unlock_slowly();
    shm::LockResult attempt(Deadline deadline, shm::MemberId me) noexcept {
        return word_.lock(me, sync_.wait(), spin_, deadline, if_abandoned_);
    }
    /// True: it is ours; false: it timed out. Throws what else it came to.
    bool settle(shm::LockResult result) const;
    [[noreturn]] void throw_not_held() const;
    std::uint32_t depth() const noexcept;
    void set_depth(std::uint32_t depth) noexcept;

    SyncCore sync_;
    shm::LockWord word_;
    shm::IfAbandoned if_abandoned_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::detail
