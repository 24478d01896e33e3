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
#include <string_view>

#include "sluice/detail/handle.hpp"
#include "sluice/detail/lock_core.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

class Condition;
class Manager;

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

/// What Lock, RLock and RWLock have in common: how they are made, and the owner's side (of an
/// RWLock: the writer's).
template <class Self, class Core>
class LockHandle : public Handle<Core> {
 public:
    /// Makes a named lock. Errors: std::system_error with EEXIST when the name is taken.
    static Self create(std::string_view name, LockOptions options = {}) {
        return Self(name, Open::create, options);
    }
    /// Opens a named lock. Errors: std::system_error with ENOENT; BadSegment when it is something
    /// else, or a lock of another kind.
    static Self open(std::string_view name) { return Self(name, Open::open, LockOptions{}); }
    /// Opens the lock, or makes it where it does not exist; options count only for the maker.
    static Self open_or_create(std::string_view name, LockOptions options = {}) {
        return Self(name, Open::open_or_create, options);
    }
    /// Removes the name; who has the lock open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { unlink_object(Core::kNoun, name); }

    /// Takes the lock. Blocks: until it is free (an RLock: or this thread's, and then it counts one
    /// more; an RWLock: until nobody reads or writes).
    void lock() const { this->core_->lock(); }
    /// Takes the lock if it is free. False too where this thread holds it, but for an RLock, which
    /// counts. Blocks: never.
    [[nodiscard]] bool try_lock() const { return this->core_->try_lock(); }
    /// Takes the lock if it is free in time. Blocks: until free or deadline.
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) const {
        return this->core_->lock_until(Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> time) const {
        return this->core_->lock_until(Deadline::at(time));
    }
    /// Gives the lock back; an RLock, when it has been given back as often as taken.
    /// Blocks: never.
    void unlock() const { this->core_->unlock(); }

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

    /// Whether anybody alive holds it; of an RWLock: writes, or waits for the last readers to
    /// leave. Of others' locks: some answer it had.
    bool locked() const { return this->core_->is_locked(); }
    /// Whether somebody (of an RWLock, a reader too) died holding it, and nobody has called
    /// repair() since: what it guards may be half done.
    bool abandoned() const { return this->core_->is_abandoned(); }
    /// Says that what it guards is whole again. With OnAbandoned::mark the owner calls it. With
    /// OnAbandoned::raise nobody is the owner, so if several may repair they must agree who does.
    /// Errors: Error when another thread holds it: it is for that one to say.
    void repair() const { this->core_->repair(); }

    /// "" for an anonymous lock.
    std::string_view name() const { return this->core_->segment().name(); }

 protected:
    using Handle<Core>::Handle;
    LockHandle(const shm::SegmentPlace& place, Open how, const LockOptions& options)
        : Handle<Core>({place, how, options}, options.wait,
                       options.on_abandoned == OnAbandoned::raise ? shm::IfAbandoned::refuse
                                                                  : shm::IfAbandoned::take) {}

 private:
    friend class sluice::Condition;
    friend class sluice::Manager;
};

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
class Lock : public detail::LockHandle<Lock, detail::LockCore> {
 public:
    /// Makes an anonymous lock. Errors: std::system_error: no memory.
    Lock() : Lock(LockOptions{}) {}
    explicit Lock(LockOptions options) : LockHandle({}, detail::Open::anonymous, options) {}

 private:
    friend LockHandle;
    using LockHandle::LockHandle;
};

/// A Lock that its owner may take again; it is free when he has given it back as often. All else as
/// Lock.
/// Crash: as Lock; however often the dead one held it, it is free at once.
class RLock : public detail::LockHandle<RLock, detail::RLockCore> {
 public:
    /// Makes an anonymous lock. Errors: std::system_error: no memory.
    RLock() : RLock(LockOptions{}) {}
    explicit RLock(LockOptions options) : LockHandle({}, detail::Open::anonymous, options) {}

 private:
    friend LockHandle;
    using LockHandle::LockHandle;
};

}  // namespace sluice
