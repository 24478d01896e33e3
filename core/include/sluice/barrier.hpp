// Barrier: a number of threads, of any processes, wait for each other, again and again.
//
//     sluice::Barrier barrier(3);                 // or Barrier::create("start", 3), open("start")
//     barrier.wait();                             // in each of three processes: all go on together
//
// A handle is shallow-const and cheap to copy; copies lead to the same barrier, also in children
// made by fork.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "sluice/detail/barrier_core.hpp"
#include "sluice/detail/handle.hpp"
#include "sluice/error.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a barrier is made. permissions: of a named one's file.
struct BarrierOptions {
    Wait wait{};             ///< how its users wait
    MemoryOptions memory{};  ///< where its memory lies
    unsigned permissions{0600};
};

/// A meeting point for a fixed number of parties.
///
/// A thread that has waited here once is a party. Its death breaks the barrier for the others:
/// those who wait get BrokenBarrier within a millisecond, those who come later at once, until
/// reset(). (Where a generation has all its arrivals none the less, it opens; where no party is
/// left alive and nobody was waiting, who comes begins anew.) A thread that ends in good order, or
/// a process, by returning from main, by exit(), or as a Process whose target returns, leaves the
/// barrier and breaks nothing; whoever waits for it then goes on waiting. Ending by _exit(), by a
/// signal, or by an exception in a Process is a death.
class Barrier : public detail::Handle<detail::BarrierCore> {
 public:
    /// Makes an anonymous barrier. Errors: std::invalid_argument: no parties, or above 512;
    /// std::system_error: no memory.
    explicit Barrier(unsigned parties, BarrierOptions options = {})
        : Barrier({}, detail::Open::anonymous, parties, options) {}

    /// Makes a named barrier. Errors: std::system_error with EEXIST when the name is taken.
    static Barrier create(std::string_view name, unsigned parties, BarrierOptions options = {}) {
        return Barrier(name, detail::Open::create, parties, options);
    }
    /// Opens a named barrier. Errors: std::system_error with ENOENT; BadSegment when it is no
    /// Barrier.
    static Barrier open(std::string_view name) { return Barrier(name, detail::Open::open, 1, {}); }
    /// Opens the barrier, or makes it where it does not exist; parties and options count only for
    /// the maker.
    static Barrier open_or_create(std::string_view name, unsigned parties,
                                  BarrierOptions options = {}) {
        return Barrier(name, detail::Open::open_or_create, parties, options);
    }
    /// Removes the name; who has the barrier open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("Barrier", name); }

    /// Waits until all parties have come; returns how many had come before: each of 0 to
    /// parties() - 1 is one party's. Commit store: one compare-and-swap; the last one's opens.
    /// Blocks: until then. Errors: BrokenBarrier; std::system_error when this thread finds no place
    /// among the barrier's 512 participants.
    /// Crash: see above. Cost: one locked instruction; a system call for who sleeps, and one for
    /// the last to come where somebody does.
    unsigned wait() const { return *core_->wait(detail::Deadline::never()); }
    /// The same; nothing when the others have not come in time: the barrier is broken then, for all
    /// of them.
    template <class Rep, class Period>
    [[nodiscard]] std::optional<unsigned> wait_for(
        std::chrono::duration<Rep, Period> timeout) const {
        return core_->wait(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] std::optional<unsigned> wait_until(
        std::chrono::time_point<Clock, Duration> time) const {
        return core_->wait(detail::Deadline::at(time));
    }

    /// Breaks the barrier: who waits, and who comes until reset(), gets BrokenBarrier. Blocks:
    /// never.
    void abort() const { core_->word().abort(); }
    /// Makes it whole and empty: who waits gets BrokenBarrier, who comes then waits. Who died
    /// before is forgotten. Blocks: never.
    void reset() const { core_->word().reset(); }
    /// Whether it is broken. A death is noticed by who waits: until then it is not.
    bool broken() const { return core_->word().is_broken(); }
    unsigned parties() const { return core_->word().parties(); }
    /// How many wait now.
    unsigned waiting() const { return core_->word().arrived(); }

    /// "" for an anonymous barrier.
    std::string_view name() const { return core_->segment().name(); }

 private:
    friend class Manager;
    using Handle::Handle;
    Barrier(const shm::SegmentPlace& place, detail::Open how, unsigned parties,
            const BarrierOptions& options)
        : Handle({place, how, options}, parties, options.wait) {}
};

}  // namespace sluice
