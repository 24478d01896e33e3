// Semaphore and BoundedSemaphore: permits that any processes and threads take and give back.
//
//     sluice::Semaphore pool(3);                  // or Semaphore::create("pool", 3), open("pool")
//     pool.acquire();                             // waits while all three are taken
//     pool.release();
//
// A handle is shallow-const and cheap to copy; copies lead to the same semaphore, also in children
// made by fork.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>

#include "sluice/detail/handle.hpp"
#include "sluice/detail/semaphore_core.hpp"
#include "sluice/error.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a semaphore is made. owned: a permit belongs to the thread that took it: only that thread
/// gives it back, and its death does; there are as many as at first, never more (at most 4096,
/// which taking and giving back look through). Else a permit is a mere count: anybody may release,
/// and what a dead process had taken stays taken, as in Python. permissions: of a named one's file.
struct SemaphoreOptions {
    bool owned{};
    Wait wait{};             ///< how its users wait
    MemoryOptions memory{};  ///< where its memory lies
    unsigned permissions{0600};
};

namespace detail {

/// The operations of both semaphores.
class SemaphoreHandle : public Handle<SemaphoreCore> {
 public:
    /// Takes a permit. Commit store: one compare-and-swap.
    /// Blocks: until there is one. Errors: std::system_error when permits are owned and this thread
    /// finds no place among the semaphore's 512 participants.
    /// Crash: before the commit store nothing was taken. After it, the permit stays taken; an owned
    /// one comes back, within a millisecond for who sleeps. A killed waiter takes none.
    /// Cost: one locked instruction, no system call, where a permit is free.
    void acquire() const { core_->acquire(); }
    /// Takes a permit if there is one. Blocks: never.
    [[nodiscard]] bool try_acquire() const { return core_->try_acquire(); }
    /// Takes a permit if there is one in time. Blocks: until then, or the deadline.
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) const {
        return core_->acquire(Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> time) const {
        return core_->acquire(Deadline::at(time));
    }

    /// Gives permits back. Commit store: one read-modify-write; of owned permits, one for each.
    /// Blocks: never. Errors: Error when there would be too many: more than a BoundedSemaphore
    /// began with, more than 2^31 - 1, or, of owned permits, more than this thread holds; nothing
    /// is released then.
    /// Crash: before the commit store nothing was released; after it the permits are there, and a
    /// wake-up that died with the releaser is made up for within 100 ms.
    /// Cost: one locked instruction; a system call for each sleeper that is woken.
    void release(unsigned count = 1) const { core_->release(count); }

    /// How many permits are free: exact when nobody operates.
    unsigned value() const { return core_->value(); }

    /// "" for an anonymous one.
    std::string_view name() const { return core_->segment().name(); }

 protected:
    using Handle::Handle;
    SemaphoreHandle(shm::SegmentKind kind, const shm::SegmentPlace& place, Open how, unsigned value,
                    const SemaphoreOptions& options)
        : Handle({place, how, options},
                 SemaphoreCore::Wanted{kind, value,
                                       options.owned ? shm::Permits::owned : shm::Permits::counted,
                                       options.wait}) {}
    static std::shared_ptr<SemaphoreCore> received(Unparcel& parcel, shm::SegmentKind kind) {
        return Handle::received(parcel, SemaphoreCore::Wanted{kind, 1, {}, {}});
    }
};

}  // namespace detail

/// Permits without an upper limit: release() may be called by who never acquired.
class Semaphore : public detail::SemaphoreHandle {
    static constexpr auto kKind = shm::SegmentKind::semaphore;

 public:
    /// Makes an anonymous semaphore. Errors: std::invalid_argument: more than 2^31 - 1 permits (or,
    /// owned, none or more than 4096); std::system_error: no memory.
    explicit Semaphore(unsigned value = 1, SemaphoreOptions options = {})
        : SemaphoreHandle(kKind, {}, detail::Open::anonymous, value, options) {}

    /// Makes a named one. Errors: std::system_error with EEXIST when the name is taken.
    static Semaphore create(std::string_view name, unsigned value = 1,
                            SemaphoreOptions options = {}) {
        return Semaphore(kKind, name, detail::Open::create, value, options);
    }
    /// Opens a named one. Errors: std::system_error with ENOENT; BadSegment when it is no
    /// Semaphore.
    static Semaphore open(std::string_view name) {
        return Semaphore(kKind, name, detail::Open::open, 1, {});
    }
    /// Opens it, or makes it where it does not exist; value and options count only for the maker.
    static Semaphore open_or_create(std::string_view name, unsigned value = 1,
                                    SemaphoreOptions options = {}) {
        return Semaphore(kKind, name, detail::Open::open_or_create, value, options);
    }
    /// Removes the name; who has it open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("Semaphore", name); }

 private:
    friend class Manager;
    friend struct detail::Passing<Semaphore>;
    using SemaphoreHandle::SemaphoreHandle;
    static std::shared_ptr<detail::SemaphoreCore> received(detail::Unparcel& parcel) {
        return SemaphoreHandle::received(parcel, kKind);
    }
};

/// Never more permits than at first: to release more often than was acquired throws Error.
class BoundedSemaphore : public detail::SemaphoreHandle {
    static constexpr auto kKind = shm::SegmentKind::bounded_semaphore;

 public:
    /// Makes an anonymous semaphore. Errors: std::invalid_argument: none, or more than 2^31 - 1
    /// permits (owned: 4096); std::system_error: no memory.
    explicit BoundedSemaphore(unsigned value = 1, SemaphoreOptions options = {})
        : SemaphoreHandle(kKind, {}, detail::Open::anonymous, value, options) {}

    /// Makes a named one. Errors: std::system_error with EEXIST when the name is taken.
    static BoundedSemaphore create(std::string_view name, unsigned value = 1,
                                   SemaphoreOptions options = {}) {
        return BoundedSemaphore(kKind, name, detail::Open::create, value, options);
    }
    /// Opens a named one. Errors: std::system_error with ENOENT; BadSegment when it is no
    /// BoundedSemaphore.
    static BoundedSemaphore open(std::string_view name) {
        return BoundedSemaphore(kKind, name, detail::Open::open, 1, {});
    }
    /// Opens it, or makes it where it does not exist; value and options count only for the maker.
    static BoundedSemaphore open_or_create(std::string_view name, unsigned value = 1,
                                           SemaphoreOptions options = {}) {
        return BoundedSemaphore(kKind, name, detail::Open::open_or_create, value, options);
    }
    /// Removes the name; who has it open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("BoundedSemaphore", name); }

 private:
    friend class Manager;
    friend struct detail::Passing<BoundedSemaphore>;
    using SemaphoreHandle::SemaphoreHandle;
    static std::shared_ptr<detail::SemaphoreCore> received(detail::Unparcel& parcel) {
        return SemaphoreHandle::received(parcel, kKind);
    }
};

}  // namespace sluice
