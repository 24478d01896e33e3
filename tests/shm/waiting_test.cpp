#include "sluice/shm/waiting.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "sluice/shm/fence.hpp"
#include "support/processes.hpp"
#include "support/ring.hpp"

namespace sluice::shm {
namespace {

using namespace std::chrono_literals;
using test::await;
using test::Child;
using test::Shared;
using test::wait_endlessly;
using test::Watchdog;

constexpr auto kNothing = [] {};
constexpr auto kNobodyToWatch = [] { return FutexWatch{}; };

TEST(EventCount, WithoutSleepersTheBitIsClear) {
    EventCountLayout sut{};
    EXPECT_FALSE(sut.has_sleepers());
    sut.notify_one();
    sut.notify_all();
    EXPECT_EQ(sut.word.load(), 0U) << "nobody sleeps: nothing was written";
}

TEST(EventCount, AnAnnouncementSetsTheBitAndRetractingClearsIt) {
    EventCountLayout sut{};
    const auto ticket = sut.announce();
    EXPECT_TRUE(sut.has_sleepers());
    EXPECT_TRUE(ticket.first);
    sut.retract(ticket);
    EXPECT_FALSE(sut.has_sleepers());
}

TEST(EventCount, ALaterAnnouncementIsNotRetractedByAnEarlierOne) {
    EventCountLayout sut{};
    const auto first = sut.announce();
    const auto second = sut.announce();
    EXPECT_NE(first.value, second.value);
    EXPECT_FALSE(second.first);
    sut.retract(first);
    EXPECT_TRUE(sut.has_sleepers()) << "the second may sleep";
    sut.retract(second);
    EXPECT_TRUE(sut.has_sleepers()) << "stale is allowed towards sleepers";
    sut.notify_one();
    EXPECT_FALSE(sut.has_sleepers()) << "the next notifier finds nobody and says so";
}

TEST(EventCount, WhoHasAnnouncedDoesNotFallAsleepAfterANotification) {
    for (const bool all : {false, true}) {
        EventCountLayout sut{};
        const auto ticket = sut.announce();
        all ? sut.notify_all() : sut.notify_one();
        EXPECT_EQ(futex_wait(sut.word, ticket.value, Deadline::never()),
                  FutexResult::value_changed);
        EXPECT_FALSE(sut.has_sleepers());
    }
}

TEST(EventCount, TheSequenceWrapsWithoutTouchingTheBit) {
    EventCountLayout sut{};
    sut.word.store(0xffff'fffeU);
    const auto ticket = sut.announce();
    EXPECT_EQ(ticket.value, 1U);
    EXPECT_TRUE(sut.has_sleepers());
    sut.word.store(0xffff'ffffU);
    sut.wake_one();
    EXPECT_FALSE(sut.has_sleepers());
}

TEST(EventCount, ANotificationWakesOneSleeperAndKeepsTheBitForTheOthers) {
    const Watchdog watchdog(60);
    struct State {
        EventCountLayout events{};
        std::atomic<int> tokens{0};
        std::atomic<int> taken{0};
    };
    const Shared<State> state;
    std::vector<Child> children;
    for (int index = 0; index < 3; ++index) {
        children.emplace_back([&] {
            wait_endlessly(
                state->events,
                [&] {
                    int seen = state->tokens.load(std::memory_order_seq_cst);
                    while (seen > 0 && !state->tokens.compare_exchange_weak(seen, seen - 1)) {
                    }
                    return seen > 0;
                },
                kNothing);
            state->taken.fetch_add(1, std::memory_order_seq_cst);
        });
        await([&] { return test::sleeps_in_futex(children.back().pid()); });
    }
    for (int round = 1; round <= 3; ++round) {
        EXPECT_TRUE(state->events.has_sleepers());
        state->tokens.fetch_add(1, std::memory_order_seq_cst);
        state->events.notify_one();
        await([&] { return state->taken.load(std::memory_order_seq_cst) == round; });
    }
    EXPECT_FALSE(state->events.has_sleepers()) << "exact: no system call for the next";
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
}

TEST(EventCount, AKilledSleeperCostsOneFutileCallAtMost) {
    const Watchdog watchdog(60);
    const Shared<EventCountLayout> sut;
    Child child([&] {
        wait_endlessly(
            *sut, [] { return false; }, kNothing);
    });
    await([&] { return test::sleeps_in_futex(child.pid()); });
    child.kill_and_join();
    EXPECT_TRUE(sut->has_sleepers());
    sut->notify_one();
    EXPECT_FALSE(sut->has_sleepers());
}

// Tokens are published and taken by processes that sleep without end: one lost wake-up hangs them.
struct TokenState {
    EventCountLayout events{};
    alignas(128) std::atomic<std::int64_t> tokens{0};
    alignas(128) std::atomic<std::int64_t> taken{0};
};

class EventCountStress : public ::testing::TestWithParam<std::pair<int, int>> {};

TEST_P(EventCountStress, NoWakeUpIsLost) {
    const Watchdog watchdog(150);
    const auto [publishers, takers] = GetParam();
    constexpr std::int64_t kEach = 20'000;
    const std::int64_t total = kEach * publishers;
    const Shared<TokenState> state;
    std::vector<Child> children;
    for (int index = 0; index < takers; ++index) {
        children.emplace_back([&] {
            for (;;) {
                bool over = false;
                wait_endlessly(
                    state->events,
                    [&] {
                        over = state->taken.load(std::memory_order_seq_cst) >= total;
                        std::int64_t seen = state->tokens.load(std::memory_order_seq_cst);
                        while (seen > 0 && !state->tokens.compare_exchange_weak(seen, seen - 1)) {
                        }
                        return over || seen > 0;
                    },
                    kNothing);
                if (over) {
                    return;
                }
                if (state->taken.fetch_add(1, std::memory_order_seq_cst) + 1 == total) {
                    state->events.notify_all();
                }
            }
        });
    }
    for (int index = 0; index < publishers; ++index) {
        children.emplace_back([&] {
            for (std::int64_t round = 0; round < kEach; ++round) {
                state->tokens.fetch_add(1, std::memory_order_seq_cst);
                state->events.notify_one();
                if (round % 3 == 0) {
                    sched_yield();  // lets takers fall asleep between
                }
            }
        });
    }
    for (Child& child : children) {
        ASSERT_EQ(child.join(), 0);
    }
    EXPECT_EQ(state->taken.load(), total);
    EXPECT_EQ(state->tokens.load(), 0);
    state->events.notify_one();
    EXPECT_FALSE(state->events.has_sleepers());
}

INSTANTIATE_TEST_SUITE_P(Processes, EventCountStress,
                         ::testing::Values(std::pair{1, 1}, std::pair{1, 4}, std::pair{4, 1},
                                           std::pair{3, 3}));

// Ping-pong: each side sleeps at each round, so each round needs its wake-up.
TEST(EventCount, PingPongLosesNoWakeUp) {
    const Watchdog watchdog(120);
    struct State {
        EventCountLayout events[2]{};
        std::atomic<std::uint64_t> turn{0};
    };
    constexpr std::uint64_t kRounds = 20'000;
    const Shared<State> state;
    const auto play = [&](std::uint64_t side) {
        for (std::uint64_t round = side; round < 2 * kRounds; round += 2) {
            wait_endlessly(
                state->events[side],
                [&] { return state->turn.load(std::memory_order_seq_cst) == round; }, kNothing);
            state->turn.exchange(round + 1, std::memory_order_seq_cst);
            state->events[1 - side].notify_one();
        }
    };
    Child other([&] { play(1); });
    play(0);
    EXPECT_EQ(other.join(), 0);
    EXPECT_FALSE(state->events[0].has_sleepers());
}

TEST(WaitUntil, AnAttemptThatSucceedsAtOnceWritesNothing) {
    for (const Wait mode : {Wait::spin_then_park, Wait::spin, Wait::park}) {
        EventCountLayout events{};
        SpinBudget budget;
        EXPECT_EQ(wait_until(
                      events, mode, budget, Deadline::passed(), [] { return true; }, kNothing,
                      kNobodyToWatch),
                  Waited::done);
        EXPECT_EQ(events.word.load(), 0U);
    }
}

TEST(WaitUntil, ADeadlineThatHasPassedTriesOnce) {
    for (const Wait mode : {Wait::spin_then_park, Wait::spin, Wait::park}) {
        EventCountLayout events{};
        SpinBudget budget;
        int attempts = 0;
        EXPECT_EQ(wait_until(
                      events, mode, budget, Deadline::passed(),
                      [&] {
                          ++attempts;
                          return false;
                      },
                      kNothing, kNobodyToWatch),
                  Waited::timed_out);
        EXPECT_EQ(attempts, 1);
    }
}

TEST(WaitUntil, TimesOutNotBeforeTheDeadlineAndLeavesNoSleeper) {
    for (const Wait mode : {Wait::spin_then_park, Wait::spin, Wait::park}) {
        EventCountLayout events{};
        SpinBudget budget;
        const Deadline deadline = Deadline::after(10ms);
        EXPECT_EQ(
            wait_until(
                events, mode, budget, deadline, [] { return false; }, kNothing, kNobodyToWatch),
            Waited::timed_out);
        EXPECT_GE(monotonic_now_ns(), deadline.at_ns());
        EXPECT_FALSE(events.has_sleepers());
    }
}

TEST(WaitUntil, TimesOutAlthoughTheWordChangesAllTheTime) {
    // Others announce and notify without pause, so that the sleep always ends with "value changed".
    const Watchdog watchdog(60);
    EventCountLayout events{};
    SpinBudget budget;
    unsigned attempts = 0;
    EXPECT_EQ(wait_until(
                  events, Wait::park, budget, Deadline::after(5ms),
                  [&] {
                      if (++attempts % 2 == 0) {
                          static_cast<void>(events.announce());  // after ours, before our sleep
                      }
                      return false;
                  },
                  kNothing, kNobodyToWatch),
              Waited::timed_out);
}

TEST(WaitUntil, TheBarrierComesBetweenAnnouncementAndLook) {
    EventCountLayout events{};
    SpinBudget budget;
    bool announced_at_barrier = false;
    bool barrier_passed = false;
    EXPECT_EQ(wait_until(
                  events, Wait::park, budget, Deadline::never(), [&] { return barrier_passed; },
                  [&] {
                      announced_at_barrier = events.has_sleepers();
                      barrier_passed = true;
                  },
                  kNobodyToWatch),
              Waited::done);
    EXPECT_TRUE(announced_at_barrier);
    EXPECT_FALSE(events.has_sleepers()) << "retracted";
}

TEST(WaitUntil, ABellWakesTheSleeper) {
    const Watchdog watchdog(60);
    if (!futex_waitv_available()) {
        GTEST_SKIP() << "no futex_waitv here";
    }
    struct State {
        EventCountLayout events{};
        FutexWord bell{};
        std::atomic<bool> rung{false};
    };
    const Shared<State> state;
    Child child([&] {
        SpinBudget budget;
        EXPECT_EQ(wait_until(
                      state->events, Wait::park, budget, Deadline::never(),
                      [&] { return state->rung.load(std::memory_order_seq_cst); }, kNothing,
                      [&] {
                          return FutexWatch{&state->bell, state->bell.load()};
                      }),
                  Waited::done);
    });
    await([&] { return test::sleeps_in_futex(child.pid()); });
    state->rung.store(true, std::memory_order_seq_cst);
    state->bell.store(1, std::memory_order_seq_cst);
    futex_wake(state->bell, 1);
    EXPECT_EQ(child.join(), 0);
}

TEST(WaitUntil, AStoppedWaiterGoesOn) {
    const Watchdog watchdog(60);
    struct State {
        EventCountLayout events{};
        std::atomic<bool> go{false};
    };
    const Shared<State> state;
    for (const Wait mode : {Wait::spin_then_park, Wait::spin, Wait::park}) {
        state->go.store(false, std::memory_order_seq_cst);
        Child child([&] {
            SpinBudget budget;
            EXPECT_EQ(wait_until(
                          state->events, mode, budget, Deadline::never(),
                          [&] { return state->go.load(std::memory_order_seq_cst); }, kNothing,
                          kNobodyToWatch),
                      Waited::done);
        });
        child.stop();
        state->go.store(true, std::memory_order_seq_cst);
        state->events.notify_one();
        child.resume();
        EXPECT_EQ(child.join(), 0);
    }
}

/// Binds this process to one CPU, its first, under SCHED_FIFO. False where that is not allowed.
bool become_real_time_on_one_cpu() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return false;
    }
    std::size_t first = 0;
    while (first < CPU_SETSIZE && !CPU_ISSET(first, &set)) {
        ++first;
    }
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    const sched_param lowest{.sched_priority = sched_get_priority_min(SCHED_FIFO)};
    // In this order: on the spinner's CPU nobody of an ordinary policy might come to run.
    return sched_setscheduler(0, SCHED_FIFO, &lowest) == 0 &&
           sched_setaffinity(0, sizeof set, &set) == 0;
}

// Nothing takes the CPU from a real-time spinner: it has to give it.
TEST(Waiting, ARealTimeSpinnerLetsItsEqualsHaveTheCpu) {
    const Watchdog watchdog(120);
    struct State {
        EventCountLayout events{};
        std::atomic<bool> spins{};
        std::atomic<bool> go{};
    };
    const Shared<State> state;
    constexpr int kNotAllowed = 77;
    Child waiter([&] {
        if (!become_real_time_on_one_cpu()) {
            _exit(kNotAllowed);
        }
        state->spins.store(true);
        SpinBudget budget;
        wait_until(
            state->events, Wait::spin, budget, Deadline::never(), [&] { return state->go.load(); },
            kNothing, kNobodyToWatch);
    });
    // On the spinner's CPU, at its priority, and there only when it spins.
    Child publisher([&] {
        await([&] { return state->spins.load(); });
        if (!become_real_time_on_one_cpu()) {
            _exit(kNotAllowed);
        }
        state->go.store(true);
    });
    const int code = waiter.join();
    if (code == kNotAllowed) {
        GTEST_SKIP() << "no permission for a real-time policy";
    }
    EXPECT_EQ(code, 0);
    EXPECT_EQ(publisher.join(), 0);
}

TEST(SleepChunk, GrowsFourfoldUpToItsMaximum) {
    SleepChunk sut;
    for (const std::int64_t ms : {5, 20, 80, 100, 100}) {
        EXPECT_EQ(sut.next_ns(), ms * 1'000'000);
    }
}

TEST(SpinBudget, LearnsWithinItsBounds) {
    SpinBudget sut;
    for (int round = 0; round < 20; ++round) {
        sut.wasted();
    }
    const std::int64_t low = sut.ns();
    for (int round = 0; round < 20; ++round) {
        sut.paid();
    }
    const std::int64_t high = sut.ns();
    EXPECT_LE(low, high);
    EXPECT_LE(high, 1'000'000);
}

}  // namespace
}  // namespace sluice::shm
