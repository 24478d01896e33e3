// Barrier: its contract, misuse, names; who breaks it by dying, and who leaves in good order.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <sluice/barrier.hpp>
#include <sluice/event.hpp>
#include <sluice/process.hpp>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "support/processes.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::Barrier;
using sluice::BrokenBarrier;
using sluice::Wait;
using sluice::test::await;
using sluice::test::Child;
using sluice::test::FreshName;
using sluice::test::Shared;
using sluice::test::sleeps_in_futex;
using sluice::test::Watchdog;

/// For children: 0 when all came, 4 when it was broken.
int meet(const Barrier& barrier) {
    try {
        static_cast<void>(barrier.wait());
        return 0;
    } catch (const BrokenBarrier&) {
        return 4;
    }
}

TEST(Barrier, OpensWhenAllHaveComeAndGivesEachItsIndex) {
    const Watchdog watchdog(60);
    constexpr unsigned kParties = 3;
    for (const Wait wait : {Wait::spin_then_park, Wait::spin, Wait::park}) {
        const Barrier sut(kParties, {.wait = wait});
        // Three that spin on two CPUs take turns by the scheduler's clock.
        const unsigned rounds = wait == Wait::spin ? 5 : 200;
        const Shared<std::atomic<unsigned>> come;
        const Shared<std::array<std::atomic<unsigned>, kParties>> indices;
        std::vector<Child> parties;
        for (unsigned count = 0; count < kParties; ++count) {
            parties.emplace_back([&] {
                for (unsigned round = 1; round <= rounds; ++round) {
                    come->fetch_add(1);
                    (*indices)[sut.wait()].fetch_add(1);
                    EXPECT_GE(come->load(), round * kParties);
                }
                static_cast<void>(sut.wait());  // none ends while others are in the last round
            });
        }
        for (Child& party : parties) {
            EXPECT_EQ(party.join(), 0);
        }
        for (const auto& count : *indices) {
            EXPECT_EQ(count.load(), rounds);
        }
    }
}

TEST(Barrier, OneForASinglePartyIsAlwaysOpen) {
    const Barrier sut(1);
    EXPECT_EQ(sut.wait(), 0U);
    EXPECT_EQ(sut.wait_for(1ms), 0U);
    EXPECT_EQ(sut.parties(), 1U);
    EXPECT_EQ(sut.waiting(), 0U);
    EXPECT_FALSE(sut.broken());
}

TEST(Barrier, NumbersOfPartiesThatCannotBeAreRefused) {
    EXPECT_THROW(Barrier(0), std::invalid_argument);
    EXPECT_THROW(Barrier(513), std::invalid_argument);
}

TEST(Barrier, ATimeOutBreaksIt) {
    const Watchdog watchdog(60);
    const Barrier sut(3);
    Child waiter([&] { _exit(meet(sut)); });
    await([&] { return sut.waiting() == 1; });
    EXPECT_EQ(sut.wait_for(1ms), std::nullopt);
    EXPECT_EQ(waiter.join(), 4);
    EXPECT_TRUE(sut.broken());
    EXPECT_THROW(static_cast<void>(sut.wait()), BrokenBarrier);
    EXPECT_THROW(static_cast<void>(sut.wait_for(1h)), BrokenBarrier);
    EXPECT_THROW(static_cast<void>(sut.wait_until(std::chrono::steady_clock::now())),
                 BrokenBarrier);
}

TEST(Barrier, AbortBreaksItAndResetMendsIt) {
    const Watchdog watchdog(60);
    const Barrier sut(2);
    Child waiter([&] { _exit(meet(sut)); });
    await([&] { return sut.waiting() == 1; });
    sut.abort();
    EXPECT_EQ(waiter.join(), 4);
    EXPECT_EQ(meet(sut), 4);
    sut.reset();
    EXPECT_FALSE(sut.broken());
    Child other([&] { _exit(meet(sut)); });
    EXPECT_EQ(meet(sut), 0);
    EXPECT_EQ(other.join(), 0);
}

TEST(Barrier, ResetSendsAwayWhoWaits) {
    const Watchdog watchdog(60);
    const Barrier sut(2);
    Child waiter([&] { _exit(meet(sut)); });
    await([&] { return sut.waiting() == 1; });
    sut.reset();
    EXPECT_EQ(waiter.join(), 4);
    EXPECT_FALSE(sut.broken());
    EXPECT_EQ(sut.waiting(), 0U);
}

TEST(Barrier, ADyingPartyBreaksItForWhoWaitAndWhoComeUntilReset) {
    const Watchdog watchdog(60);
    const Barrier sut(3);
    Child doomed([&] { static_cast<void>(meet(sut)); });
    await([&] { return sut.waiting() == 1; });
    Child waiter([&] { _exit(meet(sut)); });
    await([&] { return sut.waiting() == 2 && sleeps_in_futex(waiter.pid()); });
    doomed.kill_and_join();
    EXPECT_EQ(waiter.join(), 4);
    EXPECT_TRUE(sut.broken());
    EXPECT_EQ(meet(sut), 4);
    sut.reset();
    Child first([&] { _exit(meet(sut)); });
    Child second([&] { _exit(meet(sut)); });
    EXPECT_EQ(meet(sut), 0);
    EXPECT_EQ(first.join(), 0);
    EXPECT_EQ(second.join(), 0);
}

TEST(Barrier, APartyThatDiesAtItsWorkBreaksItForWhoWait) {
    const Watchdog watchdog(60);
    const Barrier sut(2);
    const Shared<std::atomic<int>> working;
    Child party([&] {
        static_cast<void>(sut.wait());
        working->store(1);
        pause();
    });
    EXPECT_EQ(meet(sut), 0);
    await([&] { return working->load() == 1; });
    Child killer([&] {
        usleep(20'000);  // so that the survivor sleeps by then, mostly
        party.signal(SIGKILL);
    });
    EXPECT_EQ(meet(sut), 4);
    EXPECT_EQ(killer.join(), 0);
    party.kill_and_join();
}

TEST(Barrier, AStoppedPartyIsWaitedFor) {
    const Watchdog watchdog(60);
    const Barrier sut(2);
    const Shared<std::atomic<int>> come;
    Child party([&] {
        static_cast<void>(sut.wait());
        await([&] { return come->load() == 1; });
        _exit(meet(sut));
    });
    EXPECT_EQ(meet(sut), 0);
    party.stop();
    Child waiter([&] { _exit(meet(sut)); });
    await([&] { return sut.waiting() == 1 && sleeps_in_futex(waiter.pid()); });
    usleep(150'000);  // several chunks of its sleep
    EXPECT_FALSE(sut.broken());
    come->store(1);
    party.resume();
    EXPECT_EQ(waiter.join(), 0);
    EXPECT_EQ(party.join(), 0);
}

// Python's habit: new processes for each round, while one stays.
TEST(Barrier, ProcessesThatReturnLeaveItInGoodOrder) {
    const Watchdog watchdog(60);
    const Barrier sut(3);
    for (int round = 0; round < 5; ++round) {
        sluice::Process first([sut] { static_cast<void>(sut.wait()); });
        sluice::Process second([](const Barrier& given) { static_cast<void>(given.wait()); }, sut);
        first.start();
        second.start();
        EXPECT_LT(sut.wait(), 3U);
        // Not joined before the next round waits.
        sluice::Process third([sut] { static_cast<void>(sut.wait()); });
        sluice::Process fourth([sut] { static_cast<void>(sut.wait()); });
        third.start();
        fourth.start();
        EXPECT_LT(sut.wait(), 3U);
        EXPECT_FALSE(sut.broken());
    }
}

TEST(Barrier, ThreadsThatEndLeaveItInGoodOrder) {
    const Watchdog watchdog(60);
    const Barrier sut(2);
    for (int round = 0; round < 20; ++round) {
        std::thread party([&] { EXPECT_LT(sut.wait(), 2U); });
        EXPECT_LT(sut.wait(), 2U);
        party.join();
    }
    EXPECT_FALSE(sut.broken());
}

TEST(Barrier, AProcessWhoseTargetThrowsDies) {
    const Watchdog watchdog(60);
    const Barrier sut(2);
    sluice::Process party([sut] {
        static_cast<void>(sut.wait());
        throw std::runtime_error("on purpose");
    });
    party.start();
    EXPECT_EQ(meet(sut), 0);
    EXPECT_EQ(meet(sut), 4);
}

TEST(Barrier, AChildMadeByForkIsNotItsParentsParty) {
    const Watchdog watchdog(60);
    const Barrier sut(2);
    std::thread other([&] { EXPECT_EQ(meet(sut), 0); });
    EXPECT_EQ(meet(sut), 0);
    other.join();
    Child child([] {});  // ends by _exit; its parent is a party
    EXPECT_EQ(child.join(), 0);
    std::thread another([&] { EXPECT_EQ(meet(sut), 0); });
    EXPECT_EQ(meet(sut), 0);
    another.join();
}

TEST(Barrier, IsFoundByItsName) {
    const FreshName name("barrier");
    const Barrier sut = Barrier::create(name.name(), 2);
    EXPECT_EQ(sut.name(), name.name());
    EXPECT_THROW(Barrier::create(name.name(), 2), std::system_error);
    EXPECT_EQ(Barrier::open(name.name()).parties(), 2U);
    EXPECT_EQ(Barrier::open_or_create(name.name(), 5).parties(), 2U);
    Barrier::unlink(name.name());
    EXPECT_THROW(Barrier::open(name.name()), std::system_error);
    EXPECT_THROW(Barrier::unlink(name.name()), std::system_error);
    EXPECT_EQ(Barrier::open_or_create(name.name(), 5).parties(), 5U);
}

TEST(Barrier, AnObjectOfAnotherKindIsABadSegment) {
    const FreshName name("barrier");
    const auto other = sluice::Event::create(name.name());
    EXPECT_THROW(Barrier::open(name.name()), sluice::BadSegment);
}

// Named, all of its group killed at work; the next group finds its content.
TEST(Barrier, AGroupThatWasKilledAtItsWorkIsFollowedByAnother) {
    const Watchdog watchdog(60);
    const FreshName name("barrier");
    const Barrier made = Barrier::create(name.name(), 2);
    for (int group = 0; group < 3; ++group) {
        const Shared<std::atomic<int>> working;
        std::vector<Child> parties;
        for (int count = 0; count < 2; ++count) {
            parties.emplace_back([&] {
                const Barrier sut = Barrier::open(name.name());
                static_cast<void>(sut.wait());
                working->fetch_add(1);
                pause();
            });
        }
        await([&] { return working->load() == 2; });
        parties.clear();
    }
    EXPECT_FALSE(made.broken());
}

}  // namespace
