// Semaphore and BoundedSemaphore: their contracts, misuse, names, and deaths of those who hold,
// wait and release.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <sluice/event.hpp>
#include <sluice/process.hpp>
#include <sluice/semaphore.hpp>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/processes.hpp"
#include "support/text.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::BoundedSemaphore;
using sluice::Semaphore;
using sluice::SemaphoreOptions;
using sluice::Wait;
using sluice::test::await;
using sluice::test::Child;
using sluice::test::FreshName;
using sluice::test::message_of;
using sluice::test::Shared;
using sluice::test::sleeps_in_futex;
using sluice::test::Watchdog;

template <class T>
class AnySemaphore : public ::testing::Test {};
using Both = ::testing::Types<Semaphore, BoundedSemaphore>;
TYPED_TEST_SUITE(AnySemaphore, Both);

TYPED_TEST(AnySemaphore, GivesOutItsPermitsAndTakesThemBack) {
    for (const bool owned : {false, true}) {
        const TypeParam sut(2, {.owned = owned});
        sut.acquire();
        EXPECT_EQ(sut.value(), 1U);
        EXPECT_TRUE(sut.try_acquire());
        EXPECT_FALSE(sut.try_acquire());
        EXPECT_FALSE(sut.try_acquire_for(1ms));
        EXPECT_FALSE(sut.try_acquire_for(-1ms));
        EXPECT_FALSE(sut.try_acquire_until(std::chrono::steady_clock::now()));
        sut.release(2);
        EXPECT_EQ(sut.value(), 2U);
        EXPECT_TRUE(sut.try_acquire_for(1h));
        sut.release();
        EXPECT_EQ(sut.name(), "");
    }
}

TYPED_TEST(AnySemaphore, IsASharedHandle) {
    static_assert(std::is_copy_constructible_v<TypeParam> && std::is_copy_assignable_v<TypeParam>);
    const TypeParam sut(1);
    const TypeParam copy = sut;  // NOLINT: a copy is what is tested
    copy.acquire();
    EXPECT_EQ(sut.value(), 0U);
}

TYPED_TEST(AnySemaphore, WaitsForAReleaseInEveryMode) {
    const Watchdog watchdog(60);
    for (const Wait wait : {Wait::spin_then_park, Wait::spin, Wait::park}) {
        const TypeParam sut(1, {.wait = wait});
        sut.acquire();
        Child child([&] { sut.acquire(); });
        if (wait != Wait::spin) {
            await([&] { return sleeps_in_futex(child.pid()); });
        }
        sut.release();
        EXPECT_EQ(child.join(), 0);
        EXPECT_EQ(sut.value(), 0U);  // a taken permit stays taken
    }
}

TYPED_TEST(AnySemaphore, IsFoundByItsName) {
    const FreshName name("semaphore");
    const auto sut = TypeParam::create(name.name(), 2);
    EXPECT_EQ(sut.name(), name.name());
    EXPECT_THROW(TypeParam::create(name.name(), 2), std::system_error);
    const auto opened = TypeParam::open(name.name());
    opened.acquire();
    EXPECT_EQ(sut.value(), 1U);
    const auto either = TypeParam::open_or_create(name.name(), 100);
    EXPECT_EQ(either.value(), 1U);
    TypeParam::unlink(name.name());
    EXPECT_THROW(TypeParam::open(name.name()), std::system_error);
    EXPECT_THROW(TypeParam::unlink(name.name()), std::system_error);
    EXPECT_EQ(TypeParam::open_or_create(name.name(), 3).value(), 3U);
}

TYPED_TEST(AnySemaphore, TheMakerSaysWhetherPermitsAreOwned) {
    const FreshName name("semaphore");
    const auto sut = TypeParam::create(name.name(), 2000, {.owned = true});
    const auto opened = TypeParam::open(name.name());
    opened.acquire();
    EXPECT_EQ(sut.value(), 1999U);
    std::thread([&] { EXPECT_THROW(opened.release(), sluice::Error); }).join();
    EXPECT_EQ(TypeParam::open_or_create(name.name(), 1).value(), 1999U);
    TypeParam::unlink(name.name());
    const auto counted = TypeParam::create(name.name(), 2000);
    EXPECT_EQ(TypeParam::open_or_create(name.name(), 3, {.owned = true}).value(), 2000U);
    std::thread([&] { counted.acquire(); }).join();
    counted.release();
}

TEST(Semaphore, AnObjectOfAnotherKindIsABadSegment) {
    const FreshName name("semaphore");
    const auto bounded = BoundedSemaphore::create(name.name(), 2);
    EXPECT_THROW(Semaphore::open(name.name()), sluice::BadSegment);
    EXPECT_THROW(Semaphore::open_or_create(name.name()), sluice::BadSegment);
    BoundedSemaphore::unlink(name.name());
    const auto event = sluice::Event::create(name.name());
    EXPECT_THROW(BoundedSemaphore::open(name.name()), sluice::BadSegment);
}

TEST(Semaphore, NumbersOfPermitsThatCannotBeAreRefused) {
    EXPECT_EQ(Semaphore(0).value(), 0U);
    EXPECT_THROW(Semaphore(0x8000'0000U), std::invalid_argument);
    EXPECT_THROW(Semaphore(0, {.owned = true}), std::invalid_argument);
    EXPECT_THROW(Semaphore(4097, {.owned = true}), std::invalid_argument);
    EXPECT_THROW(BoundedSemaphore(0), std::invalid_argument);
}

TEST(Semaphore, AnybodyMayRelease) {
    const Watchdog watchdog(60);
    const Semaphore sut(0);
    Child child([&] { sut.release(3); });
    for (int count = 0; count < 3; ++count) {
        sut.acquire();
    }
    EXPECT_EQ(child.join(), 0);
    EXPECT_FALSE(sut.try_acquire());
}

TEST(Semaphore, ReleasingBeyondTheCounterIsAnError) {
    const Semaphore sut(1);
    EXPECT_THROW(sut.release(0x7fff'ffffU), sluice::Error);
    EXPECT_EQ(sut.value(), 1U);
    sut.release(0x7fff'fffeU);
    EXPECT_EQ(sut.value(), 0x7fff'ffffU);
    EXPECT_THROW(sut.release(), sluice::Error);
}

TEST(BoundedSemaphore, ReleasingMoreOftenThanAcquiredIsAnError) {
    const BoundedSemaphore sut(2);
    EXPECT_EQ(message_of<sluice::Error>([&] { sut.release(); }),
              "BoundedSemaphore: released more often than it was acquired");
    sut.acquire();
    EXPECT_THROW(sut.release(2), sluice::Error);
    EXPECT_EQ(sut.value(), 1U);
    sut.release();
    EXPECT_EQ(sut.value(), 2U);
}

TEST(Semaphore, AnOwnedPermitIsReleasedOnlyByItsOwner) {
    const Semaphore sut(2, {.owned = true});
    EXPECT_EQ(message_of<sluice::Error>([&] { sut.release(); }),
              "Semaphore: released a permit that this thread does not hold");
    sut.acquire();
    std::thread([&] { EXPECT_THROW(sut.release(), sluice::Error); }).join();
    Child child(
        [&] { EXPECT_THROW(sut.release(), sluice::Error); });  // owns nothing of its parent's
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(sut.value(), 1U);
    sut.release();
    EXPECT_EQ(sut.value(), 2U);
}

TEST(Semaphore, APermitStaysTakenWhenItsTakerDies) {
    const Semaphore sut(2);
    Child child([&] {
        sut.acquire();
        raise(SIGKILL);
    });
    EXPECT_EQ(child.join(), -SIGKILL);
    EXPECT_EQ(sut.value(), 1U);
}

TEST(Semaphore, AnOwnedPermitComesBackFromTheDead) {
    const Watchdog watchdog(60);
    const Semaphore sut(2, {.owned = true});
    const Shared<std::atomic<int>> held;
    Child holder([&] {
        sut.acquire();
        sut.acquire();
        held->store(1);
        pause();
    });
    await([&] { return held->load() == 1; });
    EXPECT_FALSE(sut.try_acquire());
    Child waiter([&] { sut.acquire(); });
    await([&] { return sleeps_in_futex(waiter.pid()); });
    holder.kill_and_join();
    EXPECT_EQ(waiter.join(), 0);  // which has ended, too
    EXPECT_TRUE(sut.try_acquire());
    EXPECT_TRUE(sut.try_acquire());
    EXPECT_FALSE(sut.try_acquire());
}

TEST(Semaphore, AStoppedOwnerKeepsItsPermit) {
    const Semaphore sut(1, {.owned = true});
    const Shared<std::atomic<int>> held;
    Child holder([&] {
        sut.acquire();
        held->store(1);
        await([&] { return held->load() == 2; });
        sut.release();
    });
    await([&] { return held->load() == 1; });
    holder.stop();
    EXPECT_FALSE(sut.try_acquire_for(300ms));
    held->store(2);
    holder.resume();
    EXPECT_EQ(holder.join(), 0);
    EXPECT_EQ(sut.value(), 1U);
}

TEST(Semaphore, AKilledWaiterTakesNoPermit) {
    const Watchdog watchdog(60);
    for (const bool owned : {false, true}) {
        const Semaphore sut(1, {.owned = owned});
        sut.acquire();
        Child doomed([&] { sut.acquire(); });
        await([&] { return sleeps_in_futex(doomed.pid()); });
        Child waiter([&] {
            sut.acquire();
            if (!owned) {
                sut.release();
            }
        });
        await([&] { return sleeps_in_futex(waiter.pid()); });
        doomed.kill_and_join();
        sut.release();
        EXPECT_EQ(waiter.join(), 0);
        EXPECT_TRUE(sut.try_acquire());
    }
}

// Who was woken and dies before it takes: the permit is still there for others.
TEST(Semaphore, AWakeUpThatDiesWithTheWokenIsMadeUpFor) {
    const Watchdog watchdog(120);
    std::mt19937_64 random(sluice::test::announce_seed());
    for (int round = 0; round < 50; ++round) {
        const Semaphore sut(0, {.wait = Wait::park});
        Child first([&] { sut.acquire(); });
        await([&] { return sleeps_in_futex(first.pid()); });
        Child second([&] { sut.acquire(); });
        await([&] { return sleeps_in_futex(second.pid()); });
        sut.release();  // wakes the first
        usleep(static_cast<useconds_t>(random() % 60));
        first.kill_and_join();
        sut.release();
        EXPECT_EQ(second.join(), 0);
    }
}

TEST(Semaphore, ProcessesAreNeverMoreInsideThanPermits) {
    const Watchdog watchdog(120);
    for (const bool owned : {false, true}) {
        constexpr int kPermits = 2;
        const BoundedSemaphore sut(kPermits, {.owned = owned});
        const Shared<std::atomic<int>> inside;
        std::vector<Child> children;
        for (int count = 0; count < 4; ++count) {
            children.emplace_back([&] {
                for (int round = 0; round < 5000; ++round) {
                    if (round % 3 == 0) {
                        while (!sut.try_acquire_for(1ms)) {
                        }
                    } else {
                        sut.acquire();
                    }
                    EXPECT_LE(inside->fetch_add(1), kPermits - 1);
                    inside->fetch_sub(1);
                    sut.release();
                }
            });
        }
        for (Child& child : children) {
            EXPECT_EQ(child.join(), 0);
        }
        EXPECT_EQ(sut.value(), 2U);
    }
}

TEST(Semaphore, IsPassedToProcessesAsAnArgument) {
    const Watchdog watchdog(60);
    const Semaphore sut(0);
    sluice::Process child([](const Semaphore& given) { given.release(); }, sut);
    child.start();
    sut.acquire();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
}

TEST(Semaphore, ReleasingSeveralWakesSeveral) {
    const Watchdog watchdog(60);
    const Semaphore sut(0, {.wait = Wait::park});
    std::vector<Child> waiters;
    for (int count = 0; count < 3; ++count) {
        waiters.emplace_back([&] { sut.acquire(); });
        await([&] { return sleeps_in_futex(waiters.back().pid()); });
    }
    sut.release(3);
    for (Child& waiter : waiters) {
        EXPECT_EQ(waiter.join(), 0);
    }
    EXPECT_EQ(sut.value(), 0U);
}

}  // namespace
