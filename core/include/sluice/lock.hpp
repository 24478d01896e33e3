// Lock and RLock: mutual exclusion between any processes and threads.
//
//     sluice::Lock lock;                          // or Lock::create("door"), open("door")
//     sluice::Process p([lock] { std::scoped_lock guard(lock); ... });
//
// A handle is shallow-const and cheap to copy; copies lead to the same lock, also in children made
// by fork. Its owner is a thread: a child made while its parent holds the lock does not hold it.
// Commit store of lock(): the compare-and-swap that writes the owner into the word; of unlock():
// the store that clears him (shm/lock_word.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "sluice/detail/lock_core.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// What becomes of a lock whose owner died holding it. mark: the next gets it, and abandoned() says
/// so until repair(). raise: nobody gets it, lock() throws OwnerDied until repair().
enum class OnAbandoned : std::uint8_t { mark, raise };

/// How a lock is made. Units: permissions: of a named lock's file.
struct LockOptions {
    Wait wait{};                 ///< how its users wait
    MemoryOptions memory{};      ///< where its memory lies
    OnAbandoned on_abandoned{};  ///< what becomes of it when its owner dies
    unsigned permissions{0600};
};

namespace detail {

inline std::shared_ptr<LockCore> make_lock(LockKind kind, const shm::SegmentPlace& place,
                                           SyncOpen how, const LockOptions& options) {
    const bool raises = options.on_abandoned == OnAbandoned::raise;
    return LockCore::make(
        place, how,
        {kind, options.wait, raises ? shm::IfAbandoned::refuse : shm::IfAbandoned::take},
        options.memory, options.permissions);
}

}  // namespace detail

/// One owner at a time. Lockable as the standard library means it: std::scoped_lock,
/// std::unique_lock and std::lock take it, const or not.
///
/// Progress: blocking. A newcomer may be faster than those who sleep; who has slept four times in
/// vain is next, and is overtaken once more at most, by one whose lock() met an unlock() under way.
/// Errors: Error: it is locked again by its owner (which would wait for ever), or given back by
/// another; OwnerDied: see OnAbandoned; std::system_error: this thread finds no place among the
/// lock's 512 participants.
/// Callers: any thread of any process that holds a handle. The thread that locks is the one that
/// unlocks.
/// Crash: the owner's death, however it ends, passes the lock on at once; abandoned() tells. The
/// end of the last handle in a process counts as that, where it holds the lock. A waiter's death
/// loses no wake-up. A stopped owner is waited for, never robbed.
/// Cost: one locked instruction for both; no system call unless somebody sleeps.
class Lock {
 public:
    /// Makes an anonymous lock. Errors: std::system_error: no memory.
    Lock() : Lock(LockOptions{}) {}
    explicit Lock(LockOptions options) : Lock({}, detail::SyncOpen::anonymous, options) {}

    /// Makes a named lock. Errors: std::system_error with EEXIST when the name is taken.
    static Lock create(std::string_view name, LockOptions options = {}) {
        return Lock(name, detail::SyncOpen::create, options);
    }
    /// Opens a named lock. Errors: std::system_error with ENOENT; BadSegment when it is no Lock.
    static Lock open(std::string_view name) { return Lock(name, detail::SyncOpen::open, {}); }
    /// Opens the lock, or makes it where it does not exist; options count only for the maker.
    static Lock open_or_create(std::string_view name, LockOptions options = {}) {
        return Lock(name, detail::SyncOpen::open_or_create, options);
    }
    /// Removes the name; who has the lock open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) {
        detail::LockCore::unlink(detail::LockKind::lock, name);
    }

    /// Takes the lock. Blocks: until it is free.
    void lock() const { core_->lock(); }
    /// Takes the lock if it is free; false too where this thread holds it. Blocks: never.
    [[nodiscard]] bool try_lock() const { return core_->try_lock(); }
    /// Takes the lock if it is free in time. Blocks: until free or deadline.
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) const {
        return core_->lock_until(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> time) const {
        return core_->lock_until(detail::Deadline::at(time));
    }
    /// Gives the lock back. Blocks: never.
    void unlock() const { core_->unlock(); }

    /// The same by Python's names.
    void acquire() const { lock(); }
    [[nodiscard]] bool try_acquire() const { return try_lock(); }
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) const {
        return try_lock_for(timeout);
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> time) const {
        return try_lock_until(time);
    }
    void release() const { unlock(); }

    /// Whether anybody alive holds it. Of others' locks: some answer it had.
    bool locked() const { return core_->is_locked(); }
    /// Whether an owner died holding it, and nobody has called repair() since: what it guards may
    /// be half done.
    bool abandoned() const { return core_->is_abandoned(); }
    /// Says that what it guards is whole again. With OnAbandoned::mark the owner calls it. With
    /// OnAbandoned::raise nobody is the owner, so if several may repair they must agree who does.
    /// Errors: Error when another thread holds it: it is for that one to say.
    void repair() const { core_->repair(); }

    /// "" for an anonymous lock.
    std::string_view name() const { return core_->sync().segment().name(); }

 private:
    friend detail::PassingShared<Lock>;
    explicit Lock(std::shared_ptr<detail::LockCore> core) : core_(std::move(core)) {}
    static std::shared_ptr<detail::LockCore> received(detail::Unparcel& parcel) {
        return parcel.take_object<detail::LockCore>(
            [&] { return std::make_shared<detail::LockCore>(parcel, detail::LockKind::lock); });
    }
    friend class Condition;
    friend class Manager;
    Lock(const shm::SegmentPlace& place, detail::SyncOpen how, const LockOptions& options)
        : core_(detail::make_lock(detail::LockKind::lock, place, how, options)) {}

    std::shared_ptr<detail::LockCore> core_;
};

/// A Lock that its owner may take again; it is free when he has given it back as often. All else as
/// Lock.
/// Crash: as Lock; however often the dead one held it, it is free at once.
class RLock {
 public:
    /// Makes an anonymous lock. Errors: std::system_error: no memory.
    RLock() : RLock(LockOptions{}) {}
    explicit RLock(LockOptions options) : RLock({}, detail::SyncOpen::anonymous, options) {}

    /// Makes a named lock. Errors: std::system_error with EEXIST when the name is taken.
    static RLock create(std::string_view name, LockOptions options = {}) {
        return RLock(name, detail::SyncOpen::create, options);
    }
    /// Opens a named lock. Errors: std::system_error with ENOENT; BadSegment when it is no RLock.
    static RLock open(std::string_view name) { return RLock(name, detail::SyncOpen::open, {}); }
    /// Opens the lock, or makes it where it does not exist; options count only for the maker.
    static RLock open_or_create(std::string_view name, LockOptions options = {}) {
        return RLock(name, detail::SyncOpen::open_or_create, options);
    }
    /// Removes the name; who has the lock open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) {
        detail::LockCore::unlink(detail::LockKind::rlock, name);
    }

    /// Takes the lock, or counts one more. Blocks: until it is free, or this thread's.
    void lock() const { core_->lock_again(); }
    /// The same if it is free or this thread's. Blocks: never.
    [[nodiscard]] bool try_lock() const { return core_->try_lock_again(); }
    /// The same, in time. Blocks: until free or deadline.
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) const {
        return core_->lock_again_until(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> time) const {
        return core_->lock_again_until(detail::Deadline::at(time));
    }
    /// Counts one less; the last gives the lock back. Blocks: never.
    void unlock() const { core_->unlock_once(); }

    /// The same by Python's names.
    void acquire() const { lock(); }
    [[nodiscard]] bool try_acquire() const { return try_lock(); }
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) const {
        return try_lock_for(timeout);
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> time) const {
        return try_lock_until(time);
    }
    void release() const { unlock(); }

    /// As Lock's.
    bool locked() const { return core_->is_locked(); }
    bool abandoned() const { return core_->is_abandoned(); }
    void repair() const { core_->repair(); }

    /// "" for an anonymous lock.
    std::string_view name() const { return core_->sync().segment().name(); }

 private:
    friend detail::PassingShared<RLock>;
    explicit RLock(std::shared_ptr<detail::LockCore> core) : core_(std::move(core)) {}
    static std::shared_ptr<detail::LockCore> received(detail::Unparcel& parcel) {
        return parcel.take_object<detail::LockCore>(
            [&] { return std::make_shared<detail::LockCore>(parcel, detail::LockKind::rlock); });
    }
    friend class Condition;
    friend class Manager;
    RLock(const shm::SegmentPlace& place, detail::SyncOpen how, const LockOptions& options)
        : core_(detail::make_lock(detail::LockKind::rlock, place, how, options)) {}

    std::shared_ptr<detail::LockCore> core_;
};

template <>
struct detail::Passing<RLock> : detail::PassingShared<RLock> {};

template <>
struct detail::Passing<Lock> : detail::PassingShared<Lock> {};

}  // namespace sluice
