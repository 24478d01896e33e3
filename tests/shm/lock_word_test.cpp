// Lock words as damage leaves them. What the living and the dead do to one is in tests/core and in
// the kill sweep.
#include "sluice/shm/lock_word.hpp"

#include <gtest/gtest.h>

#include "support/bare_lock.hpp"
#include "support/processes.hpp"

namespace sluice::shm {
namespace {

using test::await;
using test::BareLock;
using test::Child;
using test::Shared;
using test::Watchdog;

constexpr std::uint32_t kLastTag = ~0U - (LockControl::kTagStep - 1U);
constexpr MemberId kFree = 9;  // of 16 ids: nobody has it

TEST(LockWord, AnOwnerThatThereIsNotIsSweptAsIfItHadDied) {
    const Watchdog watchdog(60);
    BareLock sut(16, kLastTag | kFree);
    ASSERT_EQ(sut.lock(), LockResult::done);
    EXPECT_TRUE(sut->is_abandoned());
    EXPECT_EQ(sut.control().word & kLastTag, 0U) << "the tag was raised, over its wrap";
    EXPECT_TRUE(sut.unlock());
    EXPECT_EQ(sut.members().tenant_tag(kFree), 0U) << "the id is free again";
}

TEST(LockWord, AWordReservedForAnHeirThatThereIsNotIsTaken) {
    const Watchdog watchdog(60);
    BareLock sut(16, kLastTag | LockControl::kReserved, 0xffff'0000U | kFree);
    ASSERT_EQ(sut.lock(), LockResult::done);
    EXPECT_EQ(sut.heir(), kNobody);
    EXPECT_TRUE(sut.unlock());
}

TEST(LockWord, AWordReservedForOneWhoDoesNotKnowItIsTaken) {
    const Watchdog watchdog(60);
    BareLock sut(16, LockControl::kReserved);
    sut.layout().heir.store(0xffff'0000U | sut.id(), std::memory_order_seq_cst);
    ASSERT_EQ(sut.lock(), LockResult::done);
    EXPECT_EQ(sut.heir(), kNobody);
    EXPECT_TRUE(sut.unlock());
    EXPECT_EQ(sut.control().word, 0U);
}

TEST(LockWord, AnIdBeyondTheTableIsDamage) {
    const Watchdog watchdog(60);
    constexpr MemberId kBeyond = 17;
    BareLock owned(16, kBeyond);
    EXPECT_EQ(owned.lock(), LockResult::damaged);
    BareLock reserved(16, LockControl::kReserved, 0xffff'0000U | kBeyond);
    EXPECT_EQ(reserved.lock(), LockResult::damaged);
}

TEST(LockWord, WhoSleepsFindsThatTheOwnerIsNone) {
    const Watchdog watchdog(60);
    BareLock sut;
    ASSERT_EQ(sut.lock(), LockResult::done);
    Child waiter([&] {
        EXPECT_EQ(sut.lock(), LockResult::done);
        EXPECT_TRUE(sut->is_abandoned());
        EXPECT_TRUE(sut.unlock());
    });
    await([&] { return test::sleeps_in_futex(waiter.pid()); });
    sut.layout().word.store(kFree, std::memory_order_seq_cst);  // and nobody is woken
    EXPECT_EQ(waiter.join(), 0);
}

// As it would otherwise, where damage has cleared its cell, and the owner is its other id.
TEST(LockWord, NobodyWaitsForHimself) {
    const Watchdog watchdog(60);
    BareLock sut;
    ASSERT_NE(sut.id(), kFree);
    std::atomic<std::uint64_t>* const cells = sut.cells();
    cells[kFree - 1].store(cells[sut.id() - 1].exchange(0));
    sut.layout().word.store(kFree, std::memory_order_seq_cst);
    EXPECT_EQ(sut.lock(), LockResult::would_deadlock);
    EXPECT_TRUE(sut.is_held());
    cells[sut.id() - 1].store(cells[kFree - 1].exchange(0));
}

TEST(LockWord, ALivingOwnerIsWaitedForWhoeverNamedIt) {
    const Watchdog watchdog(60);
    BareLock sut;
    const Shared<std::atomic<std::uint32_t>> told;
    Child named([&] {
        told->store(sut.id(), std::memory_order_seq_cst);
        pause();
    });
    await([&] { return told->load(std::memory_order_seq_cst) != 0; });
    const std::uint32_t word = told->load(std::memory_order_seq_cst);
    sut.layout().word.store(word, std::memory_order_seq_cst);  // who never took it
    EXPECT_EQ(sut.lock(Deadline::after(std::chrono::milliseconds(20))), LockResult::timed_out);
    EXPECT_EQ(sut.control().word, word);
    named.stop();  // not even then
    EXPECT_EQ(sut.try_lock(), LockResult::timed_out);
    named.kill_and_join();
    EXPECT_EQ(sut.lock(), LockResult::done) << "its end is the end of it";
}

}  // namespace
}  // namespace sluice::shm
