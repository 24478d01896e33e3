// Operations on bare semaphores, events and barriers; rescues, and newcomers with a dead one's id.
#include "crash/meeting_sweep.hpp"

#include <memory>
#include <string>
#include <vector>

#include "crash/barrier_scene.hpp"
#include "crash/event_scene.hpp"
#include "crash/semaphore_scene.hpp"

namespace sluice::crash {
namespace {

using Semaphore = SemaphoreScene<BareSemaphoreSubject>;
using Event = EventScene<BareEventSubject>;
using Barrier = BarrierScene<BareBarrierSubject>;

void try_acquire(Semaphore& scene) {
    if (scene.sut().try_acquire()) {
        scene.note_taken();
    }
}
// Asleep without end: a wake-up that is lost without a death hangs.
void acquire_endlessly(Semaphore& scene) {
    scene.sut().acquire_endlessly();
    scene.note_taken();
}
void acquire(Semaphore& scene) {
    scene.sut().acquire();
    scene.note_taken();
}
void release(Semaphore& scene) {
    scene.sut().release();
    scene.note_given();
}
void acquire_and_release(Semaphore& scene) {
    acquire(scene);
    release(scene);
}
void rescue(Semaphore& scene) {
    scene.sut().rescue();
}

void set(Event& scene) {
    scene.sut().set();
}
void clear(Event& scene) {
    scene.sut().clear();
}
void set_and_clear(Event& scene) {
    scene.sut().set();
    scene.sut().clear();
}
void wait(Event& scene) {
    scene.sut().wait();
}
void wait_endlessly(Event& scene) {
    scene.sut().wait_endlessly();
}

void meet(Barrier& scene) {
    scene.note(scene.sut().meet());
}
void meet_endlessly(Barrier& scene) {
    scene.note(scene.sut().meet(test::Asleep::endless));
}
void come_and_give_up(Barrier& scene) {
    shm::BarrierWord::Arrival arrival;
    if (scene.sut().arrive(arrival) == shm::BarrierResult::waiting) {
        static_cast<void>(scene.sut()->give_up(arrival));
    }
}
void abort(Barrier& scene) {
    scene.sut().abort();
}
void reset(Barrier& scene) {
    scene.sut().reset();
}
void rescue(Barrier& scene) {
    scene.sut().rescue();
}

}  // namespace

// In each sweep first what few faults are found by: mutants are run until one is.

SweepCounts sweep_semaphore() {
    using State = SemaphoreState;
    using shm::Permits;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, Permits kind, const Semaphore::Plan& plan,
                            const std::vector<State>& states, const SweepOptions& options = {}) {
        for (const State state : states) {
            sum += sweep((kind == Permits::owned ? "owned permits: " : "permits: ") + operation,
                         name_of(state),
                         [&] { return std::make_unique<Semaphore>(state, kind, plan); }, options);
        }
    };
    run("rescue, id reused", Permits::owned, {.act = rescue, .newcomer_takes_over = true},
        {State::beside_dead});
    // Others working on meanwhile is tried where the code differs, unless there is time.
    const SweepOptions brief{.pairs = is_thorough()};
    for (const Permits kind : {Permits::counted, Permits::owned}) {
        run("acquire, asleep", kind, {.act = acquire_endlessly, .takes = 1, .may_sleep = true},
            {State::taken});
        run("release", kind, {.act = release, .releases = 1},
            {State::victim_holds, State::waiter_asleep});
        run("try_acquire", kind, {.act = try_acquire, .takes = 1}, {State::free}, {.two = true});
        run("try_acquire", kind, {.act = try_acquire, .takes = 1}, {State::taken}, brief);
        run("acquire", kind, {.act = acquire, .takes = 1, .may_sleep = true}, {State::taken},
            brief);
        run("acquire, release", kind, {.act = acquire_and_release, .takes = 1, .releases = 1},
            {State::free});
    }
    run("rescue", Permits::owned, {.act = rescue}, {State::dead_holder});
    run("try_acquire", Permits::owned, {.act = try_acquire, .takes = 1}, {State::dead_holder},
        brief);
    run("try_acquire", Permits::owned, {.act = try_acquire, .takes = 1}, {State::beside_dead});
    run("acquire", Permits::owned, {.act = acquire, .takes = 1}, {State::beside_dead}, brief);
    run("try_acquire, first of all", Permits::owned,
        {.act = try_acquire, .takes = 1, .newcomer = true}, {State::free}, {.pairs = false});
    return sum;
}

SweepCounts sweep_event() {
    using State = EventState;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, const Event::Plan& plan,
                            const std::vector<State>& states) {
        for (const State state : states) {
            sum += sweep("event: " + operation, name_of(state),
                         [&] { return std::make_unique<Event>(state, plan); });
        }
    };
    run("wait, asleep", {.act = wait_endlessly, .may_sleep = true}, {State::clear});
    run("set", {.act = set, .sets = true}, {State::clear, State::set, State::waiter_asleep});
    run("set, clear", {.act = set_and_clear, .sets = true, .clears = true},
        {State::clear, State::waiter_asleep});
    run("clear", {.act = clear, .clears = true}, {State::clear, State::set});
    run("wait", {.act = wait}, {State::set});
    run("wait", {.act = wait, .may_sleep = true}, {State::clear});
    return sum;
}

SweepCounts sweep_barrier() {
    using State = BarrierMoment;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, const Barrier::Plan& plan,
                            const std::vector<State>& states, const SweepOptions& options = {}) {
        for (const State state : states) {
            sum += sweep(
                "barrier: " + operation, name_of(state),
                [&] { return std::make_unique<Barrier>(state, plan); }, options);
        }
    };
    // Others working on meanwhile is tried where the code differs, unless there is time.
    const SweepOptions brief{.pairs = is_thorough()};
    run("rescue, id reused", {.act = rescue, .newcomer_takes_over = true}, {State::dead_party});
    run("wait, last", {.act = meet, .waits = true}, {State::waiter_asleep});
    run("reset", {.act = reset, .ends = true}, {State::waiter_unknown});
    run("abort", {.act = abort, .ends = true}, {State::waiter_unknown});
    run("wait, asleep", {.act = meet_endlessly, .waits = true, .may_sleep = true},
        {State::attached});
    run("wait", {.act = meet, .waits = true, .may_sleep = true}, {State::attached}, brief);
    run("wait, second of three", {.act = meet, .parties = 3, .waits = true, .may_sleep = true},
        {State::waiter_asleep}, brief);
    run("wait", {.act = meet, .waits = true, .may_sleep = true}, {State::fresh}, brief);
    run("wait, last", {.act = meet, .waits = true}, {State::waiter_unknown});
    run("wait, first of all", {.act = meet, .waits = true, .newcomer = true},
        {State::waiter_unknown}, brief);
    run("wait", {.act = meet, .waits = true}, {State::dead_party}, brief);
    run("wait", {.act = meet, .waits = true}, {State::broken}, brief);
    run("give up", {.act = come_and_give_up, .parties = 3, .ends = true}, {State::waiter_unknown},
        brief);
    run("reset", {.act = reset, .ends = true}, {State::broken});
    run("abort", {.act = abort, .ends = true}, {State::fresh});
    run("rescue", {.act = rescue}, {State::dead_party});
    return sum;
}

}  // namespace sluice::crash
