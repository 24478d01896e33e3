// The word of an event: set, cleared, and the wrap of its count.
#include "sluice/shm/event_word.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/processes.hpp"
#include "support/sync_words.hpp"

namespace sluice::shm {
namespace {

using test::BareEvent;
using test::Watchdog;

TEST(EventWord, IsSetAndCleared) {
    BareEvent sut;
    EXPECT_FALSE(sut.is_set());
    sut.set();
    sut.set();
    EXPECT_TRUE(sut.is_set());
    sut.clear();
    sut.clear();
    EXPECT_FALSE(sut.is_set());
}

TEST(EventWord, WhoBeganToWaitSeesASetThatWasClearedAgain) {
    BareEvent sut;
    const std::uint32_t begun = sut->begin();
    EXPECT_FALSE(sut->has_come(begun));
    sut.clear();
    EXPECT_FALSE(sut->has_come(begun));
    sut.set();
    EXPECT_TRUE(sut->has_come(begun));
    sut.clear();
    EXPECT_TRUE(sut->has_come(begun));
    EXPECT_FALSE(sut->has_come(sut->begin()));
}

TEST(EventWord, TheCountOfSetsWraps) {
    BareEvent sut({.count = 0x7fff'ffffU});
    EXPECT_FALSE(sut.is_set());
    const std::uint32_t begun = sut->begin();
    sut.set();
    EXPECT_TRUE(sut.is_set());
    EXPECT_EQ(sut->begin(), EventWord::kSet);  // the count is 0 again
    EXPECT_TRUE(sut->has_come(begun));
    sut.clear();
    EXPECT_TRUE(sut->has_come(begun));
}

// What a setter leaves that died between the commit store and the wake-up: who looks again finds
// the event set; a second set() wakes for it.
TEST(EventWord, SettingAgainWakesForOneWhoDiedBeforeHeWoke) {
    const Watchdog watchdog(60);
    BareEvent sut;
    std::atomic<int> began{0};
    std::thread waiter([&] {
        began.store(1);
        sut.wait(test::Asleep::endless);
    });
    test::await([&] { return sut->sleepers().has_sleepers(); });
    sut->layout().state.store(EventWord::kStep | EventWord::kSet, std::memory_order_seq_cst);
    sut.set();
    waiter.join();
}

// The producer writes, then sets; the consumer clears, then looks, then waits. Asleep without end:
// work that is overlooked hangs.
TEST(EventWord, ThreadsThatClearBeforeTheyLookOverlookNothing) {
    const Watchdog watchdog(120);
    constexpr unsigned kRounds = 200'000;
    BareEvent sut;
    std::atomic<unsigned> work{0};
    std::thread consumer([&] {
        for (unsigned seen = 0; seen != kRounds;) {
            sut.wait(test::Asleep::endless);
            sut.clear();
            seen = work.load(std::memory_order_relaxed);
        }
    });
    for (unsigned round = 1; round <= kRounds; ++round) {
        work.store(round, std::memory_order_relaxed);
        sut.set();
    }
    consumer.join();
}

}  // namespace
}  // namespace sluice::shm
