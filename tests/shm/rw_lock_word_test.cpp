#include "sluice/shm/rw_lock_word.hpp"

#include <gtest/gtest.h>

#include <atomic>

#include "support/processes.hpp"
#include "support/words.hpp"

namespace sluice::shm {
namespace {

using test::await;
using test::Child;
using test::RwLock;
using test::Shared;
using test::Watchdog;

constexpr std::uint32_t kLastTag = 0xffff'ffffU / ReaderControl::kTagStep;

std::uint32_t word_of(RwLock& lock, MemberId id) {
    return lock->cell(id).word.load();
}

/// A child that reads, or writes, until it is killed.
struct Holder {
    template <class Take>
    Holder(RwLock& lock, Take&& take)
        : child([&] {
              take();
              id->store(lock.me());
              for (;;) {
                  pause();
              }
          }) {
        await([&] { return id->load() != kNobody; });
    }
    Shared<std::atomic<MemberId>> id;
    Child child;
};

TEST(RwLockWord, ReadingCountsInTheOwnCellAlone) {
    RwLock sut(8, kLastTag);
    const MemberId me = sut.me();
    EXPECT_FALSE(sut->try_lock_shared_now(me)) << "the first time by the slow way";
    EXPECT_EQ(sut.lock_shared(), LockResult::done);
    EXPECT_EQ(sut->layout().readers_high.load(), me);
    EXPECT_EQ(ReaderControl{word_of(sut, me)}.count(), 1U);
    EXPECT_EQ(sut.lock_shared(), LockResult::done);
    EXPECT_EQ(ReaderControl{word_of(sut, me)}.count(), 2U);
    EXPECT_TRUE(sut->unlock_shared(me));
    EXPECT_TRUE(sut->unlock_shared(me));
    EXPECT_FALSE(sut->unlock_shared(me));
    EXPECT_TRUE(sut->try_lock_shared_now(me));
    EXPECT_TRUE(sut->unlock_shared(me));
    EXPECT_EQ(word_of(sut, me), kLastTag * ReaderControl::kTagStep) << "the tag stays";
    EXPECT_EQ(sut->layout().writer.word.load(), 0U) << "nobody wrote to the writers' word";
}

TEST(RwLockWord, ReadingTooOftenIsRefused) {
    RwLock sut;
    const MemberId me = sut.me();
    EXPECT_EQ(sut.lock_shared(), LockResult::done);
    sut->cell(me).word.fetch_add(ReaderControl::kCountMask - 1);
    EXPECT_EQ(sut.lock_shared(), LockResult::would_deadlock);
    EXPECT_EQ(ReaderControl{word_of(sut, me)}.count(), ReaderControl::kCountMask);
}

TEST(RwLockWord, ASweepRaisesTheTagAndTellsOfTheDeath) {
    const Watchdog watchdog(60);
    RwLock sut(8, kLastTag);                   // the tag wraps
    sut->layout().fallen.store(0xffff'fffeU);  // and so does the generation
    Holder reader(sut, [&] { EXPECT_EQ(sut.lock_shared(), LockResult::done); });
    const MemberId id = reader.id->load();
    reader.child.kill_and_join();
    EXPECT_EQ(sut.lock(), LockResult::done);
    EXPECT_EQ(word_of(sut, id), 0U);
    EXPECT_TRUE(sut->is_abandoned());
    EXPECT_EQ(sut->layout().fallen.load(), 1U);
    EXPECT_TRUE(sut->repair(sut.me()));
    EXPECT_FALSE(sut->is_abandoned());
    EXPECT_TRUE(sut->unlock(sut.me()));
}

TEST(RwLockWord, AHalfDoneRescueIsDoneAgain) {
    const Watchdog watchdog(60);
    RwLock sut;
    Holder reader(sut, [&] { EXPECT_EQ(sut.lock_shared(), LockResult::done); });
    reader.child.kill_and_join();
    // A rescuer that died between its two steps.
    sut->layout().fallen.store(RwLockLayout::kFallenStep | RwLockLayout::kFallen);
    EXPECT_EQ(sut.members().rescue(), 1U);
    EXPECT_EQ(sut->readers(), 0U);
    EXPECT_TRUE(sut->is_abandoned());
    EXPECT_EQ(sut.lock(), LockResult::done);
}

TEST(RwLockWord, ALateRescuerNeitherEndsANewcomersReadingNorMarksWhatWasRepaired) {
    const Watchdog watchdog(60);
    RwLock sut(2);  // this process, and one more: the newcomer gets the dead one's id
    static_cast<void>(sut.me());
    Holder reader(sut, [&] { EXPECT_EQ(sut.lock_shared(), LockResult::done); });
    const MemberId id = reader.id->load();
    std::uint32_t fallen = sut->layout().fallen.load();
    std::uint32_t seen = word_of(sut, id);
    reader.child.kill_and_join();
    EXPECT_EQ(sut.members().rescue(), 1U);
    EXPECT_TRUE(sut->repair(sut.me()));
    Holder newcomer(sut, [&] { EXPECT_EQ(sut.lock_shared(), LockResult::done); });
    ASSERT_EQ(newcomer.id->load(), id);
    // What one would still do that was stopped over either exchange.
    EXPECT_FALSE(sut->layout().fallen.compare_exchange_strong(
        fallen, fallen + RwLockLayout::kFallenStep + RwLockLayout::kFallen));
    EXPECT_FALSE(
        sut->cell(id).word.compare_exchange_strong(seen, ReaderControl{seen}.rescued().word));
    EXPECT_EQ(sut->readers(), 1U);
    EXPECT_EQ(sut.lock(Deadline::passed()), LockResult::timed_out);
}

TEST(RwLockWord, AWantedBitThatNobodyWaitsForIsGoneWithTheReader) {
    RwLock sut;
    EXPECT_EQ(sut.lock_shared(), LockResult::done);
    sut->cell(sut.me()).word.fetch_or(ReaderControl::kWanted);  // of a writer that gave up, or died
    EXPECT_TRUE(sut->unlock_shared(sut.me()));
    EXPECT_EQ(word_of(sut, sut.me()), 0U);
    EXPECT_EQ(sut.lock(), LockResult::done);
}

TEST(RwLockWord, ACountOfNobodyIsDamage) {
    RwLock sut;
    static_cast<void>(sut.me());
    sut->layout().readers_high.store(0xffff);  // beyond the members
    sut->cell(9).word.store(3);
    EXPECT_EQ(sut.lock(), LockResult::damaged);
    EXPECT_FALSE(sut->is_locked()) << "given back";
    EXPECT_EQ(sut->readers(), 1U);
}

TEST(RwLockWord, ADeadReaderThatHeldTheWritersWordForAMomentIsSweptOfBoth) {
    const Watchdog watchdog(60);
    RwLock sut;
    Holder reader(sut, [&] {
        EXPECT_EQ(sut.lock(), LockResult::done);
        sut->cell(sut.me()).word.fetch_add(1);  // queued up, counted, and not given back yet
    });
    sut->layout().readers_high.store(reader.id->load());
    reader.child.kill_and_join();
    EXPECT_EQ(sut.lock(), LockResult::done);
    EXPECT_TRUE(sut->is_abandoned());
    EXPECT_EQ(sut->readers(), 0U);
}

}  // namespace
}  // namespace sluice::shm
