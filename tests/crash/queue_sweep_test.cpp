// The kill sweep over Queue: each operation, from each starting state that makes a difference to
// it, for values that lie in their slot, beside it, and too wide for one exchange.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "crash/queue_scene.hpp"
#include "crash/report.hpp"
#include "crash/sweep.hpp"

namespace sluice::crash {
namespace {

using State = QueueState;

template <class T, class Values>
struct QueueOperations {
    using Scene = QueueScene<T, Values>;
    using Plan = typename Scene::Plan;

    static void put_noted(Scene& scene, bool put) {
        if (put) {
            scene.notes().note_put();
        }
    }
    static void try_put(Scene& scene) {
        put_noted(scene, scene.queue().try_put(scene.value(Scene::kVictimValue)));
    }
    static void put(Scene& scene) {
        scene.queue().put(scene.value(Scene::kVictimValue));
        scene.notes().note_put();
    }
    static void put_many(Scene& scene) {
        const std::vector<T> values = {scene.value(Scene::kVictimValue),
                                       scene.value(Scene::kVictimValue + 1),
                                       scene.value(Scene::kVictimValue + 2)};
        for (std::size_t done = scene.queue().try_put_many(values); done != 0; --done) {
            scene.notes().note_put();
        }
    }
    static void claim_and_publish(Scene& scene) {
        if (auto slot = scene.queue().try_claim()) {
            **slot = scene.value(Scene::kVictimValue);
            slot->publish();
            scene.notes().note_put();
        }
    }
    static void claim_and_drop(Scene& scene) { static_cast<void>(scene.queue().try_claim()); }

    static void try_get(Scene& scene) {
        if (const auto got = scene.queue().try_get()) {
            scene.notes().note_got(scene.number(*got));
        }
    }
    static void get(Scene& scene) { scene.notes().note_got(scene.number(scene.queue().get())); }
    static void get_many(Scene& scene) {
        std::vector<T> values(3);
        const std::size_t count = scene.queue().try_get_many(values);
        for (std::size_t index = 0; index < count; ++index) {
            scene.notes().note_got(scene.number(values[index]));
        }
    }
    static void lease_and_commit(Scene& scene) {
        if (auto lease = scene.queue().try_lease()) {
            const std::uint64_t number = scene.number(**lease);
            lease->commit();
            scene.notes().note_got(number);
        }
    }
    static void lease_and_drop(Scene& scene) { static_cast<void>(scene.queue().try_lease()); }
    static void get_and_report(Scene& scene) {
        if (const auto got = scene.queue().try_get()) {
            scene.notes().note_got(scene.number(*got));
            scene.queue().task_done();
        }
    }
    static void close(Scene& scene) { scene.queue().close(); }
};

// Values that are copied in and out by the same code share their fate with those of the first type:
// others working on meanwhile is tried where that code differs.
enum class Depth : std::uint8_t { everything, kills };

// Of values that lie beside their slots, what differs: writing, reading, giving memory back.
template <class T, class Values>
void sweep_long_values(const std::string& type) {
    using Operations = QueueOperations<T, Values>;
    using Plan = typename QueueScene<T, Values>::Plan;
    const auto run = [&](const std::string& name, const Plan& plan,
                         const std::vector<State>& states) {
        for (const State state : states) {
            Report::add(sweep("Queue<" + type + ">::" + name, name_of(state),
                              [&] { return std::make_unique<QueueScene<T, Values>>(state, plan); },
                              {.pairs = false}));
        }
    };
    run("try_put", {.act = &Operations::try_put, .puts = 1}, {State::empty});
    run("try_get", {.act = &Operations::try_get, .gets = 1}, {State::one, State::dead_reader});
    run("get_many", {.act = &Operations::get_many, .gets = 3}, {State::wrapping});
    run("lease, commit", {.act = &Operations::lease_and_commit, .gets = 1}, {State::one});
    run("lease, drop", {.act = &Operations::lease_and_drop, .loans = 1}, {State::one});
}

template <class T, class Values = Numbered<T>>
void sweep_queue(const std::string& type, Depth depth) {
    using Operations = QueueOperations<T, Values>;
    using Plan = typename QueueScene<T, Values>::Plan;
    const auto run = [&](const std::string& name, const Plan& plan,
                         const std::vector<State>& states, const std::vector<State>& two = {}) {
        for (const State state : states) {
            Plan planned = plan;
            planned.may_sleep = plan.may_sleep && (state == State::full || state == State::empty);
            SweepOptions options;
            options.pairs = depth == Depth::everything;
            options.two = std::find(two.begin(), two.end(), state) != two.end() && options.pairs;
            Report::add(sweep(
                "Queue<" + type + ">::" + name, name_of(state),
                [&] { return std::make_unique<QueueScene<T, Values>>(state, planned); }, options));
        }
    };
    std::vector<State> putting = {State::empty,         State::nearly_full, State::full,
                                  State::wrapping,      State::dead_writer, State::dead_reader,
                                  State::getter_asleep, State::closed};
    std::vector<State> getting = {State::empty,         State::one,         State::full,
                                  State::wrapping,      State::dead_writer, State::dead_reader,
                                  State::putter_asleep, State::closed};
    // Of the further types only what reads and writes their values.
    const bool brief = depth == Depth::kills && !is_thorough();
    if (brief) {
        putting = {State::empty, State::getter_asleep};
        getting = {State::one, State::dead_reader};
    }
    run("try_put", {.act = &Operations::try_put, .puts = 1}, putting,
        {State::nearly_full, State::dead_writer});
    run("try_get", {.act = &Operations::try_get, .gets = 1}, getting,
        {State::one, State::dead_reader});
    if (brief) {
        run("put_many", {.act = &Operations::put_many, .puts = 3}, {State::nearly_full});
        run("get", {.act = &Operations::get, .gets = 1, .may_sleep = true}, {State::empty});
        run("get_many", {.act = &Operations::get_many, .gets = 3}, {State::one});
        run("lease, commit", {.act = &Operations::lease_and_commit, .gets = 1}, {State::one});
        run("lease, drop", {.act = &Operations::lease_and_drop, .loans = 1}, {State::one});
        return;
    }
    run("put", {.act = &Operations::put, .puts = 1, .may_sleep = true},
        {State::one, State::full, State::dead_writer});
    run("put_many", {.act = &Operations::put_many, .puts = 3},
        {State::empty, State::nearly_full, State::getter_asleep});
    run("claim, publish", {.act = &Operations::claim_and_publish, .puts = 1},
        {State::empty, State::wrapping});
    run("claim, drop", {.act = &Operations::claim_and_drop}, {State::one, State::getter_asleep});
    run("get", {.act = &Operations::get, .gets = 1, .may_sleep = true},
        {State::empty, State::one, State::dead_writer});
    run("get_many", {.act = &Operations::get_many, .gets = 3}, {State::one, State::full});
    run("lease, commit", {.act = &Operations::lease_and_commit, .gets = 1},
        {State::one, State::full, State::wrapping, State::putter_asleep}, {State::one});
    run("lease, drop", {.act = &Operations::lease_and_drop, .loans = 1},
        {State::one, State::full, State::getter_asleep});
    run("get, task_done", {.act = &Operations::get_and_report, .gets = 1}, {State::full});
    run("close", {.act = &Operations::close},
        {State::empty, State::full, State::dead_writer, State::dead_reader, State::getter_asleep,
         State::putter_asleep});
    run("try_put, first of all", {.act = &Operations::try_put, .puts = 1, .newcomer = true},
        {State::one});
}

TEST(KillSweep, QueueOfPlainValues) {
    Report::run([] { sweep_queue<std::uint64_t>("u64", Depth::everything); });
}
TEST(KillSweep, QueueOfWideValues) {
    Report::run([] { sweep_queue<Wide>("640 B", Depth::kills); });
}
TEST(KillSweep, QueueOfPackedValues) {
    Report::run([] { sweep_queue<std::string, NumberedText<40>>("string", Depth::kills); });
}
TEST(KillSweep, QueueOfValuesBesideTheirSlots) {
    Report::run([] { sweep_long_values<std::string, NumberedText<70'000>>("70 kB string"); });
}

}  // namespace
}  // namespace sluice::crash
