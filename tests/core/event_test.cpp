// Event: its contract, names, and deaths of those who wait and set.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <sluice/event.hpp>
#include <sluice/process.hpp>
#include <sluice/semaphore.hpp>
#include <system_error>
#include <vector>

#include "support/processes.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::Event;
using sluice::Wait;
using sluice::test::await;
using sluice::test::Child;
using sluice::test::FreshName;
using sluice::test::Shared;
using sluice::test::sleeps_in_futex;
using sluice::test::Watchdog;

TEST(Event, IsClearAtFirst) {
    const Event sut;
    EXPECT_FALSE(sut.is_set());
    EXPECT_FALSE(sut.wait_for(1ms));
    EXPECT_FALSE(sut.wait_for(-1ms));
    EXPECT_FALSE(sut.wait_until(std::chrono::steady_clock::now()));
}

TEST(Event, WaitReturnsAtOnceWhileItIsSet) {
    const Watchdog watchdog(60);
    const Event sut;
    sut.set();
    sut.wait();
    EXPECT_TRUE(sut.wait_for(0ms));
    EXPECT_TRUE(sut.wait_for(1h));
    sut.clear();
    EXPECT_FALSE(sut.is_set());
    EXPECT_FALSE(sut.wait_for(1ms));
}

TEST(Event, SettingWakesAllWhoWait) {
    const Watchdog watchdog(60);
    for (const Wait wait : {Wait::spin_then_park, Wait::spin, Wait::park}) {
        const Event sut({.wait = wait});
        std::vector<Child> waiters;
        for (int count = 0; count < 3; ++count) {
            waiters.emplace_back([&] { sut.wait(); });
            if (wait != Wait::spin) {
                await([&] { return sleeps_in_futex(waiters.back().pid()); });
            }
        }
        sut.set();
        for (Child& waiter : waiters) {
            EXPECT_EQ(waiter.join(), 0);
        }
    }
}

TEST(Event, WhoWaitsReturnsEvenIfItIsClearedAtOnce) {
    const Watchdog watchdog(60);
    const Event sut({.wait = Wait::park});
    std::vector<Child> waiters;
    for (int count = 0; count < 3; ++count) {
        waiters.emplace_back([&] { sut.wait(); });
        await([&] { return sleeps_in_futex(waiters.back().pid()); });
    }
    waiters[1].stop();  // one who is slow to look
    sut.set();
    sut.clear();
    waiters[1].resume();
    for (Child& waiter : waiters) {
        EXPECT_EQ(waiter.join(), 0);
    }
    EXPECT_FALSE(sut.is_set());
}

TEST(Event, IsFoundByItsName) {
    const FreshName name("event");
    const Event sut = Event::create(name.name());
    EXPECT_EQ(sut.name(), name.name());
    EXPECT_THROW(Event::create(name.name()), std::system_error);
    Event::open(name.name()).set();
    EXPECT_TRUE(sut.is_set());
    EXPECT_TRUE(Event::open_or_create(name.name()).is_set());
    Event::unlink(name.name());
    EXPECT_THROW(Event::open(name.name()), std::system_error);
    EXPECT_THROW(Event::unlink(name.name()), std::system_error);
    EXPECT_FALSE(Event::open_or_create(name.name()).is_set());
}

TEST(Event, AnObjectOfAnotherKindIsABadSegment) {
    const FreshName name("event");
    const auto other = sluice::Semaphore::create(name.name());
    EXPECT_THROW(Event::open(name.name()), sluice::BadSegment);
}

TEST(Event, WhatWasWrittenBeforeItWasSetIsSeenByTheWoken) {
    const Watchdog watchdog(60);
    const Event asked;
    const Event answered;
    const Shared<int> question;
    const Shared<int> answer;
    Child child([&] {
        for (int round = 1; round <= 2000; ++round) {
            asked.wait();
            asked.clear();
            EXPECT_EQ(*question, round);
            *answer = 2 * *question;
            answered.set();
        }
    });
    for (int round = 1; round <= 2000; ++round) {
        *question = round;
        asked.set();
        answered.wait();
        answered.clear();
        EXPECT_EQ(*answer, 2 * round);
    }
    EXPECT_EQ(child.join(), 0);
}

TEST(Event, AKilledWaiterKeepsNoOtherFromWaking) {
    const Watchdog watchdog(60);
    const Event sut({.wait = Wait::park});
    Child doomed([&] { sut.wait(); });
    await([&] { return sleeps_in_futex(doomed.pid()); });
    Child waiter([&] { sut.wait(); });
    await([&] { return sleeps_in_futex(waiter.pid()); });
    doomed.kill_and_join();
    sut.set();
    EXPECT_EQ(waiter.join(), 0);
}

TEST(Event, AKilledSetterLeavesItSetOrClear) {
    const Watchdog watchdog(120);
    std::mt19937_64 random(sluice::test::announce_seed());
    for (int round = 0; round < 40; ++round) {
        const Event sut({.wait = Wait::park});
        Child waiter([&] { sut.wait(); });
        await([&] { return sleeps_in_futex(waiter.pid()); });
        const Shared<std::atomic<int>> begun;
        Child setter([&] {
            begun->store(1);
            sut.set();
            pause();
        });
        await([&] { return begun->load() == 1; });
        usleep(static_cast<useconds_t>(random() % 40));
        setter.kill_and_join();
        if (!sut.is_set()) {
            sut.set();
        }
        EXPECT_EQ(waiter.join(), 0);
    }
}

TEST(Event, IsPassedToProcessesAsAnArgument) {
    const Watchdog watchdog(60);
    const Event sut;
    sluice::Process child([](const Event& given) { given.set(); }, sut);
    child.start();
    sut.wait();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
}

}  // namespace
