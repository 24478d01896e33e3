// The word of a barrier: generations and their endings, deaths, rescues that come late.
#include "sluice/shm/barrier_word.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "support/processes.hpp"
#include "support/sync_words.hpp"

namespace sluice::shm {
namespace {

using test::BareBarrier;
using test::Child;
using test::Shared;
using test::Watchdog;
using Arrival = BarrierWord::Arrival;

TEST(BarrierState, EachChangeLeavesTheOtherPartsAlone) {
    BarrierState sut{0};
    sut = sut.with_arrival().with_arrival();
    EXPECT_EQ(sut.arrived(), 2U);
    EXPECT_EQ(sut.generation(), 0U);
    const BarrierState opened = sut.opened();
    EXPECT_EQ(opened.arrived(), 0U);
    EXPECT_EQ(opened.generation(), 1U);
    EXPECT_FALSE(opened.is_broken());
    EXPECT_FALSE(opened.gave_way(0));
    const BarrierState broken = sut.broken();
    EXPECT_EQ(broken.arrived(), 0U);
    EXPECT_EQ(broken.generation(), 1U);
    EXPECT_TRUE(broken.is_broken());
    EXPECT_TRUE(broken.gave_way(0));
    const BarrierState mended = broken.mended();
    EXPECT_EQ(mended.generation(), 2U);
    EXPECT_FALSE(mended.is_broken());
    EXPECT_TRUE(mended.gave_way(0));
}

TEST(BarrierState, RemembersHowTheLastGenerationsEnded) {
    // Near the generation's wrap.
    const std::uint32_t first = 0xffff'fffaU;
    BarrierState sut{static_cast<std::uint64_t>(first) << BarrierState::kGenerationShift};
    for (std::uint32_t step = 0; step < 40; ++step) {
        sut = step % 3 == 0 ? sut.broken() : sut.opened();
        for (std::uint32_t ago = 0; ago <= step && ago < BarrierState::kEndingsBits; ++ago) {
            EXPECT_EQ(sut.gave_way(first + step - ago), (step - ago) % 3 == 0);
        }
        EXPECT_EQ(sut.generation(), first + step + 1);
    }
}

TEST(BarrierState, OfAForgottenGenerationItTellsThatAllHadComeOnlyIfAllHaveSince) {
    BarrierState sut{};
    const std::uint32_t earlier = sut.generation();
    for (std::uint32_t step = 0; step < BarrierState::kEndingsBits; ++step) {
        sut = step % 2 == 0 ? sut.broken() : sut.mended();
    }
    EXPECT_TRUE(sut.gave_way(earlier));
    sut = sut.mended();
    EXPECT_TRUE(sut.gave_way(earlier));  // forgotten from here on
    sut = sut.opened();
    EXPECT_FALSE(sut.gave_way(earlier));
}

TEST(BarrierWord, TheLastOfThePartiesOpensIt) {
    const BareBarrier sut(3, {.count = 0xffff'ffffU});
    sut->attach(sut.members().id());
    Arrival arrivals[3];
    EXPECT_EQ(sut.arrive(arrivals[0]), BarrierResult::waiting);
    EXPECT_EQ(sut.arrive(arrivals[1]), BarrierResult::waiting);
    EXPECT_EQ(sut->arrived(), 2U);
    EXPECT_EQ(sut->look(arrivals[0]), BarrierResult::waiting);
    EXPECT_EQ(sut.arrive(arrivals[2]), BarrierResult::opened);
    for (std::uint32_t index = 0; index < 3; ++index) {
        EXPECT_EQ(arrivals[index].index, index);
        EXPECT_EQ(sut->look(arrivals[index]), BarrierResult::opened);
    }
    EXPECT_EQ(sut->arrived(), 0U);
}

TEST(BarrierWord, WhoHasNotAttachedIsNoParty) {
    const BareBarrier sut(1);
    Arrival arrival;
    EXPECT_EQ(sut->arrive(arrival), BarrierResult::no_party);
    sut->attach(sut.members().id());
    EXPECT_EQ(sut->arrive(arrival), BarrierResult::opened);
    sut->leave();
    EXPECT_EQ(sut->arrive(arrival), BarrierResult::no_party);
}

TEST(BarrierWord, GivingUpEndsOnlyItsOwnGeneration) {
    const BareBarrier sut(2);
    Arrival mine;
    ASSERT_EQ(sut.arrive(mine), BarrierResult::waiting);
    Arrival other;
    ASSERT_EQ(sut.arrive(other), BarrierResult::opened);
    EXPECT_FALSE(sut->give_up(mine));  // it opened at the last moment
    EXPECT_EQ(sut->look(mine), BarrierResult::opened);
    ASSERT_EQ(sut.arrive(mine), BarrierResult::waiting);
    EXPECT_TRUE(sut->give_up(mine));
    EXPECT_FALSE(sut->give_up(mine));
    EXPECT_TRUE(sut->is_broken());
    EXPECT_EQ(sut->look(mine), BarrierResult::broken);
    EXPECT_EQ(sut.arrive(other), BarrierResult::broken);
}

TEST(BarrierWord, ResetMendsItAndTellsWhoWaited) {
    const BareBarrier sut(2);
    Arrival waiting;
    ASSERT_EQ(sut.arrive(waiting), BarrierResult::waiting);
    sut->reset();
    EXPECT_EQ(sut->look(waiting), BarrierResult::broken);
    EXPECT_FALSE(sut->is_broken());
    sut->abort();
    EXPECT_TRUE(sut->is_broken());
    sut->reset();
    EXPECT_FALSE(sut->is_broken());
    Arrival next;
    EXPECT_EQ(sut.arrive(waiting), BarrierResult::waiting);
    EXPECT_EQ(sut.arrive(next), BarrierResult::opened);
}

// Whoever was stopped before he broke it for a death of before must fail.
TEST(BarrierWord, ResetEndsTheGenerationEvenIfNobodyWaits) {
    const BareBarrier sut(2, {.count = 0xffff'ffffU});
    sut->reset();
    const BarrierState state{sut->layout().state.load(std::memory_order_relaxed)};
    EXPECT_EQ(state.generation(), 0U);
    EXPECT_EQ(state.arrived(), 0U);
    EXPECT_FALSE(state.is_broken());
}

// Else he would hear of the newcomer's death when his sleep ends by time-out.
TEST(BarrierWord, AttachingWakesWhoWaitsToWatchOneBellMore) {
    const BareBarrier sut(2);
    const auto ticket = sut->sleepers().announce();
    sut->attach(sut.members().id());
    EXPECT_NE(sut->sleepers().word.load(std::memory_order_relaxed), ticket.value);
}

// A party that died between two of its waits is noticed by who waits next.
TEST(BarrierWord, ADeathBreaksItForALivingPartyAndOnlyOnce) {
    const Watchdog watchdog(60);
    const BareBarrier sut(2);
    Child party([&] { _exit(sut.wait() == BarrierResult::opened ? 0 : 1); });
    ASSERT_EQ(sut.wait(), BarrierResult::opened);
    ASSERT_EQ(party.join(), 0);  // ended by _exit, as if killed
    EXPECT_FALSE(sut->is_broken());
    EXPECT_EQ(sut.wait(), BarrierResult::broken);
    EXPECT_TRUE(sut->is_broken());
    sut->reset();
    Child newcomer([&] { _exit(sut.wait() == BarrierResult::opened ? 0 : 1); });
    EXPECT_EQ(sut.wait(), BarrierResult::opened);
    EXPECT_EQ(newcomer.join(), 0);
}

TEST(BarrierWord, WhereNoPartyIsLeftAliveWhoComesBeginsAnew) {
    const Watchdog watchdog(60);
    const BareBarrier sut(2);
    for (int group = 0; group < 3; ++group) {
        Child first([&] { _exit(sut.wait() == BarrierResult::opened ? 0 : 1); });
        Child second([&] { _exit(sut.wait() == BarrierResult::opened ? 0 : 1); });
        EXPECT_EQ(first.join(), 0);
        EXPECT_EQ(second.join(), 0);
    }
}

TEST(BarrierWord, AnArrivalOfOneWhoDiedDoesNotCount) {
    const Watchdog watchdog(60);
    const BareBarrier sut(3);
    Child dead([&] {
        Arrival arrival;
        _exit(sut.arrive(arrival) == BarrierResult::waiting ? 0 : 1);
    });
    ASSERT_EQ(dead.join(), 0);
    EXPECT_EQ(sut->arrived(), 1U);
    EXPECT_EQ(sut.wait(), BarrierResult::broken);  // he was waiting
}

TEST(BarrierWord, ALateSweepDoesNotBreakItForANewcomer) {
    const BareBarrier sut(2);
    Arrival arrival;
    ASSERT_EQ(sut.arrive(arrival), BarrierResult::waiting);
    const std::atomic<std::uint64_t> stale{1};
    sut->sweep(sut.members().id(), DeadTenant(stale, 2));  // whose proof does not hold any more
    EXPECT_FALSE(sut->is_broken());
    EXPECT_EQ(sut->arrived(), 1U);
}

TEST(BarrierWord, NamesTheBellsOfTheOtherParties) {
    const BareBarrier sut(3);
    std::atomic<int> attached{0};
    std::atomic<bool> leave{false};
    sut->attach(sut.members().id());
    std::vector<std::thread> parties;
    for (int count = 0; count < 2; ++count) {
        parties.emplace_back([&] {
            sut->attach(sut.members().id());
            attached.fetch_add(1);
            test::await([&] { return leave.load(); });
            sut->leave();
        });
    }
    test::await([&] { return attached.load() == 2; });
    EXPECT_EQ(sut->stuck().size(), 2U);
    leave.store(true);
    for (std::thread& party : parties) {
        party.join();
    }
    EXPECT_EQ(sut->stuck().size(), 0U);
    EXPECT_FALSE(sut->is_broken());  // they have left
}

// Threads on one mapping, asleep without end: a lost wake-up hangs.
TEST(BarrierWord, ThreadsMeetWithoutLosingAWakeUp) {
    const Watchdog watchdog(120);
    constexpr unsigned kRounds = 3000;
    constexpr unsigned kParties = 3;
    const BareBarrier sut(kParties, {.count = 0xffff'ff00U});
    std::atomic<unsigned> come{0};
    std::vector<std::thread> threads;
    for (unsigned count = 0; count < kParties; ++count) {
        threads.emplace_back([&] {
            for (unsigned round = 1; round <= kRounds; ++round) {
                come.fetch_add(1);
                if (sut.wait(test::Asleep::endless) != BarrierResult::opened ||
                    come.load() < round * kParties) {
                    ADD_FAILURE() << "went on alone in round " << round;
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(come.load(), kRounds * kParties);
}

}  // namespace
}  // namespace sluice::shm
