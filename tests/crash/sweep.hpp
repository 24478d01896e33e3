// The kill sweep. A scene brings objects to a starting state; a child, the victim, performs one
// operation on them and is killed, or stopped, at one point of it; a survivor, this process, then
// checks the promise. Every point of every operation gets a scene of its own.
//
//   kill     at each point                                   survivor: check()
//   pause    SIGSTOP at each point (or once in each distinct state of the shared memory), others
//            work on, SIGCONT                                survivor: rival(), check()
//   pairs    at each point others work on while the victim stands there, then it is killed, or
//            goes on                                         survivor: rival(), check()
//            and two victims: one stands in each distinct state while the other is taken through
//            all of its points; then both are killed, or the first and the other goes on
//
// "Each point" is every instruction of the program's own code, and each entry into and return from
// the kernel; of a loop that changes nothing shared, the first four rounds. What hangs is ended by
// a watchdog, which says where it was.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "crash/tracee.hpp"

namespace sluice::crash {

/// A promise that was not kept.
struct Violation : std::runtime_error {
    using std::runtime_error::runtime_error;
};
inline void require(bool holds, const std::string& what) {
    if (!holds) {
        throw Violation(what);
    }
}

/// One starting state and one operation. Made anew for each point; its destructor ends what it
/// started.
class Scene {
 public:
    Scene() = default;
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;
    virtual ~Scene() = default;

    /// In the victim, before the first point.
    virtual void prepare() {}
    /// In the survivor, when the victim has been made.
    virtual void started() {}
    /// In the victim: the operation.
    virtual void act() = 0;
    /// By the survivor, once, when the victim sleeps: what it waits for.
    virtual void wake() {}
    virtual bool may_sleep() const { return false; }
    /// Whether the operation's way depends on how fast another process is: then points may be
    /// missed.
    virtual bool depends_on_others() const { return false; }
    /// Whether what has happened at a point has happened at each later one.
    virtual bool is_steady() const { return true; }

    /// By the survivor, while the victim stands still: operations that must neither be harmed by it
    /// nor harm it. Must not wait for the victim.
    virtual void rival() {}
    /// The same as an operation of a second victim.
    virtual void rival_act() {}

    /// By the survivor, after the victim was killed (or has returned): throws Violation. Returns
    /// how much of the operation has happened: 0 before its commit store, 1 after it; operations of
    /// several steps count them.
    virtual int check(bool returned) = 0;
};
using MakeScene = std::function<std::unique_ptr<Scene>()>;

struct SweepOptions {
    bool pause{true};
    bool pairs{true};  // others work on while the victim stands
    bool two{false};   // two victims
    // Else only at the first point of each distinct state of the shared memory, and at system
    // calls: who dies or stands at another leaves the same. For operations of thousands of points.
    // (SLUICE_SOAK: at all of them.)
    bool kills_at_each_point{true};
    bool pairs_at_each_point{true};
};

/// Whether there is time for everything (SLUICE_SOAK is set: `tools/test --soak`): every starting
/// state for every type of value, pauses at all points. Else states that bring nothing new for a
/// type are left out.
bool is_thorough();

/// What a sweep has done.
struct SweepCounts {
    std::uint64_t points{};
    std::uint64_t kills{};
    std::uint64_t pauses{};
    std::uint64_t pairs{};
    std::uint64_t missed{};  // points that a repetition did not come by, though nobody slept
    std::uint64_t idle{};  // points left out: further rounds of a loop that changes nothing shared
    std::uint64_t states{};

    void operator+=(const SweepCounts& other) noexcept;
};

/// From here on only what has the text in its "operation, state" is swept; empty: everything again.
void sweep_only(const std::string& text);

/// Sweeps one operation from one starting state; throws Violation, which names the point.
/// Prints a line. `operation` and `state` are names for people.
SweepCounts sweep(const std::string& operation, const std::string& state, const MakeScene& make,
                  const SweepOptions& options = {});

}  // namespace sluice::crash
