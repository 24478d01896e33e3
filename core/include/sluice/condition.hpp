// Condition: waiting, with a lock, until another says that something has changed.
//
//     sluice::Lock lock;
//     sluice::Condition changed;
//     {
//         std::unique_lock held(lock);                   // here, or in any other process
//         changed.wait(held, [&] { return ready(); });
//     }
//     ...
//     { std::scoped_lock held(lock); make_ready(); changed.notify_one(); }
//
// A notification goes to one waiter by name (shm/condition_word.hpp), so that it is not lost with
// him: if he dies before he could act on it, another is woken.
#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>
#include <string_view>
#include <type_traits>

#include "sluice/detail/condition_core.hpp"
#include "sluice/detail/handle.hpp"
#include "sluice/lock.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a condition is made. Units: permissions are those of a named one's file.
struct ConditionOptions {
    Wait wait{};             ///< how its users wait
    MemoryOptions memory{};  ///< where its memory lies
    unsigned permissions{0600};
};

/// A place to wait for a change that a lock guards. A handle: copies lead to the same condition,
/// also in children made by fork. It has no lock of its own: each call names the one it is used
/// with, a Lock, an RLock (all of whose levels are released) or a std::unique_lock of either; all
/// who use a condition use it with the same one.
///
/// Outcomes: forms with a time-out return false when it came first; with a predicate they return
/// what that says in the end.
/// Errors: Error when a waiter does not hold the lock; what the lock throws (OwnerDied), then it is
/// not held; std::system_error when this thread finds no place among the 512 participants.
/// Callers: any thread of any process that holds a handle.
/// Crash: a notified waiter that dies before it holds the lock again passes the notification on.
/// The death of whoever holds the lock wakes all who wait with it: it may have been told and not
/// have acted, or have made a change and told nobody. So a death may wake others in vain: wait with
/// a predicate, or in a loop. Without a death nobody wakes in vain.
/// Cost: no system call unless somebody sleeps.
class Condition : public detail::Handle<detail::ConditionCore> {
 public:
    /// Makes an anonymous condition. Errors: std::system_error: no memory.
    Condition() : Condition(ConditionOptions{}) {}
    explicit Condition(ConditionOptions options)
        : Condition({}, detail::Open::anonymous, options) {}

    /// Makes a named condition. Errors: std::system_error with EEXIST when the name is taken.
    static Condition create(std::string_view name, ConditionOptions options = {}) {
        return Condition(name, detail::Open::create, options);
    }
    /// Opens a named condition. Errors: std::system_error with ENOENT; BadSegment when it is none.
    static Condition open(std::string_view name) { return Condition(name, detail::Open::open, {}); }
    /// Opens the condition, or makes it where it does not exist; options count only for the maker.
    static Condition open_or_create(std::string_view name, ConditionOptions options = {}) {
        return Condition(name, detail::Open::open_or_create, options);
    }
    /// Removes the name; who has it open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("Condition", name); }

    /// Releases the lock, waits for a notification, acquires the lock again.
    /// Blocks: until notified, then until the lock is free. Crash: see above.
    template <class L>
    void wait(L& lock) const {
        static_cast<void>(wait_once(lock, detail::Deadline::never()));
    }
    /// Waits until the predicate holds. It is called with the lock held.
    template <class L, class Predicate>
    void wait(L& lock, Predicate predicate) const {
        static_cast<void>(wait_until_true(lock, detail::Deadline::never(), predicate));
    }
    /// The same with a time-out. Blocks: until notified or the deadline, then until the lock is
    /// free: for that there is no time-out.
    template <class L, class Rep, class Period>
    [[nodiscard]] bool wait_for(L& lock, std::chrono::duration<Rep, Period> timeout) const {
        return wait_once(lock, detail::Deadline::after(timeout));
    }
    template <class L, class Rep, class Period, class Predicate>
    [[nodiscard]] bool wait_for(L& lock, std::chrono::duration<Rep, Period> timeout,
                                Predicate predicate) const {
        return wait_until_true(lock, detail::Deadline::after(timeout), predicate);
    }
    template <class L, class Clock, class Duration>
    [[nodiscard]] bool wait_until(L& lock, std::chrono::time_point<Clock, Duration> time) const {
        return wait_once(lock, detail::Deadline::at(time));
    }
    template <class L, class Clock, class Duration, class Predicate>
    [[nodiscard]] bool wait_until(L& lock, std::chrono::time_point<Clock, Duration> time,
                                  Predicate predicate) const {
        return wait_until_true(lock, detail::Deadline::at(time), predicate);
    }

    /// Wakes the one who has waited longest, if anybody waits. The lock may be held, and should
    /// have been held when the change was made.
    /// Blocks: never; lock-free. Commit store: the waiter's cell. Crash: before it nobody was
    /// notified; after it the waiter wakes, at the latest when the chunk of its sleep ends.
    void notify_one() const { core_->word().notify(1); }
    /// Wakes the `count` who have waited longest, one after the other: who dies in between has
    /// notified those before.
    void notify(std::size_t count) const { core_->word().notify(count); }
    /// Wakes all who wait. Commit store: one for all of them.
    void notify_all() const { core_->word().notify_all(); }

    /// "" for an anonymous condition.
    std::string_view name() const { return core_->segment().name(); }

 private:
    friend class Manager;
    using Handle::Handle;
    Condition(const shm::SegmentPlace& place, detail::Open how, const ConditionOptions& options)
        : Handle({place, how, options}, options.wait) {}

    template <class L>
    bool wait_once(L& lock, detail::Deadline deadline) const {
        if constexpr (requires { lock.owns_lock(); }) {
            return wait_once_in_guard(lock, deadline);
        } else {
            static_assert(
                std::is_same_v<std::remove_const_t<L>, Lock> ||
                    std::is_same_v<std::remove_const_t<L>, RLock>,
                "sluice: a Condition waits with a Lock, an RLock, or a std::unique_lock of "
                "one of them");
            return core_->wait(*lock.core_, deadline);
        }
    }
    template <class L>
    bool wait_once_in_guard(std::unique_lock<L>& guard, detail::Deadline deadline) const {
        if (!guard.owns_lock()) {
            core_->throw_not_held();
        }
        try {
            return wait_once(*guard.mutex(), deadline);
        } catch (...) {
            // Error, before the lock was released, or what acquiring it threw.
            if (!guard.mutex()->core_->is_held()) {
                guard = std::unique_lock<L>(*guard.release(), std::defer_lock);
            }
            throw;
        }
    }
    template <class L, class Predicate>
    bool wait_until_true(L& lock, detail::Deadline deadline, Predicate& predicate) const {
        while (!predicate()) {
            if (!wait_once(lock, deadline)) {
                return static_cast<bool>(predicate());
            }
        }
        return true;
    }
};

}  // namespace sluice
