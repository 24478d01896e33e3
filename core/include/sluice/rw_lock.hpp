// RWLock: one writer or many readers, between any processes and threads.
//
//     sluice::RWLock lock;
//     { std::shared_lock reading(lock); ... }     // many at once
//     { std::unique_lock writing(lock); ... }     // one, and nobody reads
//
// Each reader has a cell of its own, so readers on many cores do not disturb each other
// (shm/rw_lock_word.hpp).
#pragma once

#include <chrono>
#include <cstdint>

#include "sluice/detail/rw_lock_core.hpp"
#include "sluice/lock.hpp"

namespace sluice {

/// Many readers or one writer. SharedLockable as the standard library means it: std::shared_lock,
/// std::unique_lock and std::scoped_lock take it, const or not. A handle: copies lead to the same
/// lock, also in children made by fork.
///
/// Progress: blocking; neither side starves: a waiting writer bars new readers, and readers that
/// wait stand in the same line as writers.
/// Errors: Error: writing while this thread reads or writes, or reading while it writes (which
/// would wait for ever), or giving back what it does not hold; OwnerDied: see OnAbandoned;
/// std::system_error: this thread finds no place among the lock's 512 participants.
/// Callers: any thread of any process that holds a handle. The thread that locks is the one that
/// unlocks. One that reads may read again.
/// Crash: the death of a writer, or of a reader, passes the lock on at once; abandoned() tells. The
/// end of the last handle in a process counts as that, where it holds the lock. A waiter's death
/// loses no wake-up. A stopped holder is waited for, never robbed.
/// Commit store: of lock(), which writes, the compare-and-swap that writes the owner into the
/// writers' word; of lock_shared() and unlock_shared(), the exchange of the reader's cell.
/// Cost: reading: one locked instruction each way, on a line of one's own; writing: besides, a look
/// at the cell of each thread that ever read. No system call unless somebody sleeps.
class RWLock : public detail::LockHandle<RWLock, detail::RwLockCore> {
 public:
    /// Makes an anonymous lock. Errors: std::system_error: no memory.
    RWLock() : RWLock(LockOptions{}) {}
    explicit RWLock(LockOptions options) : LockHandle({}, detail::Open::anonymous, options) {}

    /// Reads. Blocks: until nobody writes, or waits to write; a thread that reads already is not
    /// barred.
    void lock_shared() const { core_->lock_shared(); }
    /// Reads if nobody writes or waits to; false too where this thread writes. Blocks: never.
    [[nodiscard]] bool try_lock_shared() const { return core_->try_lock_shared(); }
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_shared_for(std::chrono::duration<Rep, Period> timeout) const {
        return core_->lock_shared_until(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_shared_until(std::chrono::time_point<Clock, Duration> time) const {
        return core_->lock_shared_until(detail::Deadline::at(time));
    }
    /// Ends reading. Blocks: never.
    void unlock_shared() const { core_->unlock_shared(); }

    /// How many threads read. Some answer it had.
    std::uint32_t readers() const { return core_->word().readers(); }

 private:
    friend LockHandle;
    using LockHandle::LockHandle;
};

}  // namespace sluice
