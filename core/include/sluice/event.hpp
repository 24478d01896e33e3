// Event: a flag that any process sets, and any number of processes and threads wait for.
//
//     sluice::Event ready;                        // or Event::create("ready"), open("ready")
//     sluice::Process p([ready] { load(); ready.set(); });
//     p.start();
//     ready.wait();
//
// A handle is shallow-const and cheap to copy; copies lead to the same event, also in children made
// by fork.
#pragma once

#include <chrono>
#include <string_view>

#include "sluice/detail/event_core.hpp"
#include "sluice/detail/handle.hpp"
#include "sluice/error.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How an event is made. permissions: of a named one's file.
struct EventOptions {
    Wait wait{};             ///< how its users wait
    MemoryOptions memory{};  ///< where its memory lies
    unsigned permissions{0600};
};

/// A flag, clear at first.
///
/// Nobody owns anything here: no death leaves anything to be mended. What was written before set()
/// is seen by who returns from wait(), finds is_set(), or clears it.
class Event : public detail::Handle<detail::EventCore> {
 public:
    /// Makes an anonymous event. Errors: std::system_error: no memory.
    Event() : Event(EventOptions{}) {}
    explicit Event(EventOptions options) : Event({}, detail::Open::anonymous, options) {}

    /// Makes a named event. Errors: std::system_error with EEXIST when the name is taken.
    static Event create(std::string_view name, EventOptions options = {}) {
        return Event(name, detail::Open::create, options);
    }
    /// Opens a named event. Errors: std::system_error with ENOENT; BadSegment when it is no Event.
    static Event open(std::string_view name) { return Event(name, detail::Open::open, {}); }
    /// Opens the event, or makes it where it does not exist; options count only for the maker.
    static Event open_or_create(std::string_view name, EventOptions options = {}) {
        return Event(name, detail::Open::open_or_create, options);
    }
    /// Removes the name; who has the event open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("Event", name); }

    /// Sets the flag and wakes all who wait: each of them returns, even if it is cleared at once.
    /// Commit store: one read-modify-write. Blocks: never.
    /// Crash: before the commit store the event was not set; after it, it is, and wake-ups that
    /// died with the setter are made up for within 100 ms.
    /// Cost: one locked instruction; a system call where somebody sleeps.
    void set() const { core_->word().set(); }
    /// Clears the flag. Commit store: one read-modify-write. Blocks: never.
    void clear() const { core_->word().clear(); }
    bool is_set() const { return core_->word().is_set(); }

    /// Waits until the flag is set. Blocks: until then. Cost: one load where it is set already.
    void wait() const { static_cast<void>(core_->wait(detail::Deadline::never())); }
    /// The same; false when it was not set in time.
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
        return core_->wait(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> time) const {
        return core_->wait(detail::Deadline::at(time));
    }

    /// "" for an anonymous event.
    std::string_view name() const { return core_->segment().name(); }

 private:
    friend class Manager;
    using Handle::Handle;
    Event(const shm::SegmentPlace& place, detail::Open how, const EventOptions& options)
        : Handle({place, how, options}, options.wait) {}
};

}  // namespace sluice
