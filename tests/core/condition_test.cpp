#include "sluice/condition.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "sluice/error.hpp"
#include "support/processes.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::await;
using test::Child;
using test::FreshName;
using test::Shared;
using test::Watchdog;

template <class L>
class ConditionWith : public ::testing::Test {};
using Locks = ::testing::Types<Lock, RLock>;
TYPED_TEST_SUITE(ConditionWith, Locks);

/// What producers and consumers share.
struct Counters {
    std::atomic<int> there;  // changed under the lock only
    std::atomic<int> taken;
    std::atomic<int> ready;
};

TYPED_TEST(ConditionWith, WakesAProcessThatWaitsWithTheLockItself) {
    const Watchdog watchdog(60);
    const TypeParam lock;
    const Condition sut;
    const Shared<Counters> counters;
    Child child([&] {
        lock.lock();
        counters->ready.store(1);
        while (counters->there.load() == 0) {
            sut.wait(lock);
        }
        EXPECT_TRUE(lock.locked());
        lock.unlock();
    });
    await([&] { return counters->ready.load() == 1; });
    {
        const std::scoped_lock held(lock);
        counters->there.store(1);
        sut.notify_one();
    }
    EXPECT_EQ(child.join(), 0);
    EXPECT_FALSE(lock.locked());
}

TYPED_TEST(ConditionWith, WakesAProcessThatWaitsWithAUniqueLockAndAPredicate) {
    const Watchdog watchdog(60);
    const TypeParam lock;
    const Condition sut;
    const Shared<Counters> counters;
    Child child([&] {
        std::unique_lock held(lock);
        counters->ready.store(1);
        sut.wait(held, [&] { return counters->there.load() == 2; });
        EXPECT_TRUE(held.owns_lock());
    });
    for (int step = 1; step <= 2; ++step) {
        await([&] { return counters->ready.load() == 1; });
        const std::scoped_lock held(lock);
        counters->there.store(step);
        sut.notify_all();
    }
    EXPECT_EQ(child.join(), 0);
}

TYPED_TEST(ConditionWith, TimesOutWithTheLockHeldAgain) {
    const TypeParam lock;
    const Condition sut;
    std::unique_lock held(lock);
    EXPECT_FALSE(sut.wait_for(held, 2ms));
    EXPECT_TRUE(held.owns_lock());
    EXPECT_FALSE(sut.wait_for(held, 2ms, [] { return false; }));
    EXPECT_TRUE(sut.wait_for(held, 2ms, [] { return true; }));
    EXPECT_FALSE(sut.wait_until(held, std::chrono::system_clock::now() + 2ms));
    EXPECT_FALSE(sut.wait_until(held, std::chrono::steady_clock::now() - 1s, [] { return false; }));
    held.unlock();
    lock.lock();
    EXPECT_FALSE(sut.wait_for(lock, 2ms));
    EXPECT_TRUE(lock.locked());
    lock.unlock();
}

TYPED_TEST(ConditionWith, WaitingWithoutTheLockThrows) {
    const TypeParam lock;
    const Condition sut;
    EXPECT_THROW(sut.wait(lock), Error);
    std::unique_lock not_yet(lock, std::defer_lock);
    EXPECT_THROW(sut.wait(not_yet), Error);
    EXPECT_FALSE(lock.locked());
    // Held by another.
    const std::scoped_lock held(lock);
    Child child([&] {
        EXPECT_THROW(sut.wait(lock), Error);
        EXPECT_THROW(static_cast<void>(sut.wait_for(lock, 1ms)), Error);
    });
    EXPECT_EQ(child.join(), 0);
    sut.notify_one();  // nobody waits
}

TEST(Condition, ReleasesAllLevelsOfAnRLock) {
    const Watchdog watchdog(60);
    const RLock lock;
    const Condition sut;
    const Shared<Counters> counters;
    Child child([&] {
        const std::scoped_lock outer(lock);
        std::unique_lock inner(lock);
        counters->ready.store(1);
        sut.wait(inner, [&] { return counters->there.load() == 1; });
        inner.unlock();
        EXPECT_TRUE(lock.locked()) << "the outer level is back, too";
    });
    await([&] { return counters->ready.load() == 1; });
    {
        const std::scoped_lock held(lock);  // would hang if a level were kept
        counters->there.store(1);
        sut.notify_one();
    }
    EXPECT_EQ(child.join(), 0);
}

TEST(Condition, NotifyWakesAsManyAsAskedOldestFirst) {
    const Watchdog watchdog(60);
    const Lock lock;
    const Condition sut(ConditionOptions{.wait = Wait::park});
    struct State {
        std::array<std::atomic<int>, 4> waits;
        std::array<std::atomic<int>, 4> woken;
    };
    const Shared<State> state;
    std::vector<Child> children;
    for (std::size_t number = 0; number < 4; ++number) {
        children.emplace_back([&, number] {
            std::unique_lock held(lock);
            state->waits[number].store(1);
            sut.wait(held);
            state->woken[number].store(1);
        });
        await([&] { return state->waits[number].load() == 1; });
        const std::scoped_lock held(lock);  // it has announced itself, and released
    }
    sut.notify(2);
    EXPECT_EQ(children[0].join(), 0);
    EXPECT_EQ(children[1].join(), 0);
    EXPECT_EQ(state->woken[2].load() + state->woken[3].load(), 0);
    sut.notify_one();
    EXPECT_EQ(children[2].join(), 0);
    EXPECT_EQ(state->woken[3].load(), 0);
    sut.notify(10);
    EXPECT_EQ(children[3].join(), 0);
}

TEST(Condition, AnExceptionOfThePredicateLeavesTheLockHeld) {
    const Lock lock;
    const Condition sut;
    std::unique_lock held(lock);
    EXPECT_THROW(sut.wait(held, []() -> bool { throw std::logic_error("no"); }), std::logic_error);
    EXPECT_TRUE(held.owns_lock());
}

TEST(Condition, IsFoundByItsName) {
    const FreshName name("condition");
    const Condition made = Condition::create(name.name());
    EXPECT_EQ(made.name(), name.name());
    EXPECT_THROW(Condition::create(name.name()), std::system_error);
    EXPECT_THROW(Lock::open(name.name()), BadSegment);
    const Lock lock;
    const Watchdog watchdog(60);
    const Shared<Counters> counters;
    Child child([&] {
        const Condition opened = Condition::open(name.name());
        std::unique_lock held(lock);
        counters->ready.store(1);
        opened.wait(held, [&] { return counters->there.load() == 1; });
    });
    await([&] { return counters->ready.load() == 1; });
    {
        const std::scoped_lock held(lock);
        counters->there.store(1);
    }
    Condition::open_or_create(name.name()).notify_all();
    EXPECT_EQ(child.join(), 0);
    Condition::unlink(name.name());
    EXPECT_THROW(Condition::open(name.name()), std::system_error);
    EXPECT_THROW(Condition::unlink(name.name()), std::system_error);
}

TEST(Condition, ALockOfAnotherKindIsNoCondition) {
    const FreshName name("no-condition");
    const Lock lock = Lock::create(name.name());
    EXPECT_THROW(Condition::open(name.name()), BadSegment);
}

TEST(Condition, ANotifiedWaiterThatDiesPassesItOn) {
    const Watchdog watchdog(60);
    const Lock lock;
    const Condition sut;
    const Shared<Counters> counters;
    const auto consume = [&](auto&& then) {
        std::unique_lock held(lock);
        counters->ready.fetch_add(1);
        sut.wait(held, [&] { return counters->there.load() > 0; });
        then();
        counters->there.fetch_sub(1);
        counters->taken.fetch_add(1);
    };
    // The first dies with the lock, told and before it has taken anything.
    Child first([&] {
        consume([&] {
            counters->ready.store(10);
            for (;;) {
                pause();
            }
        });
    });
    await([&] { return counters->ready.load() == 1; });
    Child second([&] { consume([] {}); });
    await([&] { return counters->ready.load() == 2; });
    {
        const std::scoped_lock held(lock);
        counters->there.store(1);
        sut.notify_one();
    }
    await([&] { return counters->ready.load() == 10; });
    first.kill_and_join();
    EXPECT_EQ(second.join(), 0);
    EXPECT_EQ(counters->taken.load(), 1);
    EXPECT_TRUE(lock.abandoned());
}

TEST(Condition, WhatTheLockThrowsLeavesItReleasedAndIsToldToAll) {
    const Watchdog watchdog(60);
    const Lock lock(LockOptions{.on_abandoned = OnAbandoned::raise});
    const Condition sut;
    const Shared<Counters> counters;
    const auto wait_in_vain = [&] {
        std::unique_lock held(lock);
        counters->ready.fetch_add(1);
        EXPECT_THROW(sut.wait(held), OwnerDied);
        EXPECT_FALSE(held.owns_lock());
    };
    Child first(wait_in_vain);
    Child second(wait_in_vain);
    await([&] { return counters->ready.load() == 2; });
    Child notifier([&] {
        lock.lock();
        sut.notify_one();
        counters->there.store(1);
        for (;;) {
            pause();
        }
    });
    await([&] { return counters->there.load() == 1; });
    notifier.kill_and_join();
    EXPECT_EQ(first.join(), 0);
    EXPECT_EQ(second.join(), 0) << "the first could not act on it, so it passed it on";
}

// A bounded buffer of one place, with consumers killed at random moments: whatever is put is taken.
TEST(Condition, LosesNothingWhileConsumersAreKilled) {
    const Watchdog watchdog(120);
    const std::uint64_t seed = test::announce_seed();
    std::minstd_rand random(static_cast<std::uint32_t>(seed));
    const Lock lock;
    const Condition filled;
    const Condition emptied;
    const Shared<Counters> counters;
    const auto consume = [&] {
        for (;;) {
            std::unique_lock held(lock);
            filled.wait(held, [&] { return counters->there.load() == 1; });
            counters->there.store(0);
            emptied.notify_one();
        }
    };
    std::vector<Child> consumers;
    for (int count = 0; count < 3; ++count) {
        consumers.emplace_back(consume);
    }
    for (int round = 0; round < 300; ++round) {
        {
            std::unique_lock held(lock);
            // Its taker may die between taking and telling: then nobody tells.
            while (!emptied.wait_for(held, 50ms, [&] { return counters->there.load() == 0; })) {
                filled.notify_one();  // .. or before taking: its death passes that on, too
            }
            counters->there.store(1);
            filled.notify_one();
        }
        if (round % 5 == 0) {
            Child& victim = consumers[random() % consumers.size()];
            usleep(static_cast<useconds_t>(random() % 300));
            victim.kill_and_join();
            victim = Child(consume);
        }
    }
    std::unique_lock held(lock);
    while (!emptied.wait_for(held, 50ms, [&] { return counters->there.load() == 0; })) {
        filled.notify_one();
    }
}

TEST(Condition, ThreadsTakeTurns) {
    const Watchdog watchdog(60);
    const Lock lock;
    const Condition sut;
    int turn = 0;
    const auto play = [&](int mine) {
        for (int round = 0; round < 200; ++round) {
            std::unique_lock held(lock);
            sut.wait(held, [&] { return turn == mine; });
            turn = 1 - mine;
            sut.notify_all();
        }
    };
    std::thread other(play, 1);
    play(0);
    other.join();
    EXPECT_EQ(turn, 0);
}

}  // namespace
}  // namespace sluice
