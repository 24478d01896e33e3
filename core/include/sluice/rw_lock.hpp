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
#include <memory>
#include <string_view>
#include <utility>

#include "sluice/detail/parcel.hpp"
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
/// Cost: reading: one locked instruction each way, on a line of one's own; writing: besides, a look
/// at the cell of each thread that ever read. No system call unless somebody sleeps.
class RWLock {
 public:
    /// Makes an anonymous lock. Errors: std::system_error: no memory.
    RWLock() : RWLock(LockOptions{}) {}
    explicit RWLock(LockOptions options) : RWLock({}, detail::SyncOpen::anonymous, options) {}

    /// Makes a named lock. Errors: std::system_error with EEXIST when the name is taken.
    static RWLock create(std::string_view name, LockOptions options = {}) {
        return RWLock(name, detail::SyncOpen::create, options);
    }
    /// Opens a named lock. Errors: std::system_error with ENOENT; BadSegment when it is no RWLock.
    static RWLock open(std::string_view name) { return RWLock(name, detail::SyncOpen::open, {}); }
    /// Opens the lock, or makes it where it does not exist; options count only for the maker.
    static RWLock open_or_create(std::string_view name, LockOptions options = {}) {
        return RWLock(name, detail::SyncOpen::open_or_create, options);
    }
    /// Removes the name; who has the lock open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::SyncCore::unlink("RWLock", name); }

    /// Writes. Blocks: until nobody reads or writes.
    /// Commit store: the compare-and-swap that writes the owner into the writers' word.
    void lock() const { static_cast<void>(core_->lock_until(detail::Deadline::never())); }
    /// Writes if nobody reads or writes; false too where this thread does. Blocks: never.
    [[nodiscard]] bool try_lock() const { return core_->try_lock(); }
    /// Writes if nobody else does in time. Blocks: until then or deadline.
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) const {
        return core_->lock_until(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> time) const {
        return core_->lock_until(detail::Deadline::at(time));
    }
    /// Ends writing. Blocks: never.
    void unlock() const { core_->unlock(); }

    /// Reads. Blocks: until nobody writes, or waits to write; a thread that reads already is not
    /// barred.
    /// Commit store: the exchange of its cell; of unlock_shared() likewise.
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

    /// Python's names, for writing.
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

    /// Whether anybody alive writes, or waits for the last readers to leave. Some answer it had.
    bool locked() const { return core_->word().is_locked(); }
    /// How many threads read. Some answer it had.
    std::uint32_t readers() const { return core_->word().readers(); }
    /// Whether a writer or a reader died holding it, and nobody has called repair() since.
    bool abandoned() const { return core_->word().is_abandoned(); }
    /// As Lock's.
    void repair() const { core_->repair(); }

    /// "" for an anonymous lock.
    std::string_view name() const { return core_->sync().segment().name(); }

 private:
    friend class Manager;
    friend detail::PassingShared<RWLock>;
    explicit RWLock(std::shared_ptr<detail::RwLockCore> core) : core_(std::move(core)) {}
    static std::shared_ptr<detail::RwLockCore> received(detail::Unparcel& parcel) {
        return parcel.take_object<detail::RwLockCore>(
            [&] { return std::make_shared<detail::RwLockCore>(parcel); });
    }
    RWLock(const shm::SegmentPlace& place, detail::SyncOpen how, const LockOptions& options)
        : core_(std::make_shared<detail::RwLockCore>(place, how, options.wait,
                                                     options.on_abandoned == OnAbandoned::raise
                                                         ? shm::IfAbandoned::refuse
                                                         : shm::IfAbandoned::take,
                                                     options.memory, options.permissions)) {}

    std::shared_ptr<detail::RwLockCore> core_;
};

template <>
struct detail::Passing<RWLock> : detail::PassingShared<RWLock> {};

}  // namespace sluice
