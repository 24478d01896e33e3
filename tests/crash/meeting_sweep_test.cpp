// The sweeps over semaphores, events and barriers, as tests; and their public forms.
#include "crash/meeting_sweep.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "crash/barrier_scene.hpp"
#include "crash/event_scene.hpp"
#include "crash/report.hpp"
#include "crash/semaphore_scene.hpp"
#include "sluice/barrier.hpp"
#include "sluice/event.hpp"
#include "sluice/semaphore.hpp"

namespace sluice::crash {
namespace {

struct SemaphoreSubject : Semaphore {
    SemaphoreSubject(std::uint32_t permits, shm::Permits kind, std::uint32_t)
        : Semaphore(permits, {.owned = kind == shm::Permits::owned, .wait = Wait::park}) {}
    void become_member() const { static_cast<void>(value()); }
};
using PublicSemaphore = SemaphoreScene<SemaphoreSubject>;

struct EventSubject : Event {
    EventSubject() : Event({.wait = Wait::park}) {}
};
using PublicEvent = EventScene<EventSubject>;

struct BarrierSubject : Barrier {
    BarrierSubject(std::uint32_t parties, std::uint32_t) : Barrier(parties, {.wait = Wait::park}) {}
    Met meet() const {
        try {
            static_cast<void>(wait());
            return Met::opened;
        } catch (const BrokenBarrier&) {
            return Met::broken;
        }
    }
    bool is_broken() const { return broken(); }
    void leave() const { detail::BarrierCore::leave_all(); }
    void become_member() const {}
    void join() const {
        static_cast<void>(wait_for(std::chrono::seconds(0)));
        reset();
    }
};
using PublicBarrier = BarrierScene<BarrierSubject>;

void acquire(PublicSemaphore& scene) {
    scene.sut().acquire();
    scene.note_taken();
}
void release(PublicSemaphore& scene) {
    scene.sut().release();
    scene.note_given();
}
void try_acquire(PublicSemaphore& scene) {
    if (scene.sut().try_acquire()) {
        scene.note_taken();
    }
}

TEST(KillSweep, SemaphoreWord) {
    Report::run([] { Report::add(sweep_semaphore()); });
}
TEST(KillSweep, EventWord) {
    Report::run([] { Report::add(sweep_event()); });
}
TEST(KillSweep, BarrierWord) {
    Report::run([] { Report::add(sweep_barrier()); });
}

// What core/ adds: kills only.
TEST(KillSweep, SemaphoreEventAndBarrier) {
    Report::run([] {
        const SweepOptions kills{.pause = false, .pairs = false};
        const auto semaphore = [&](const std::string& name, shm::Permits kind,
                                   const PublicSemaphore::Plan& plan, SemaphoreState state) {
            Report::add(sweep(
                "Semaphore::" + name, name_of(state),
                [&] { return std::make_unique<PublicSemaphore>(state, kind, plan); }, kills));
        };
        using shm::Permits;
        for (const Permits kind : {Permits::counted, Permits::owned}) {
            semaphore("acquire", kind, {.act = acquire, .takes = 1, .may_sleep = true},
                      SemaphoreState::taken);
            semaphore("release", kind, {.act = release, .releases = 1},
                      SemaphoreState::waiter_asleep);
        }
        semaphore("try_acquire", Permits::owned, {.act = try_acquire, .takes = 1},
                  SemaphoreState::dead_holder);
        const auto event = [&](const std::string& name, const PublicEvent::Plan& plan,
                               EventState state) {
            Report::add(sweep(
                "Event::" + name, name_of(state),
                [&] { return std::make_unique<PublicEvent>(state, plan); }, kills));
        };
        event("wait", {.act = [](PublicEvent& scene) { scene.sut().wait(); }, .may_sleep = true},
              EventState::clear);
        event("set", {.act = [](PublicEvent& scene) { scene.sut().set(); }, .sets = true},
              EventState::waiter_asleep);
        const auto barrier = [&](const std::string& name, const PublicBarrier::Plan& plan,
                                 BarrierMoment state) {
            Report::add(sweep(
                "Barrier::" + name, name_of(state),
                [&] { return std::make_unique<PublicBarrier>(state, plan); }, kills));
        };
        const auto meet = [](PublicBarrier& scene) { scene.note(scene.sut().meet()); };
        barrier("wait", {.act = meet, .waits = true, .may_sleep = true}, BarrierMoment::attached);
        barrier("wait, last", {.act = meet, .waits = true}, BarrierMoment::waiter_asleep);
        barrier("wait, first of all", {.act = meet, .waits = true, .newcomer = true},
                BarrierMoment::dead_party);
    });
}

}  // namespace
}  // namespace sluice::crash
