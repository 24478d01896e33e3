// The words of a semaphore: what it holds, torn states, rescues that come late.
#include "sluice/shm/semaphore_word.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>
#include <vector>

#include "support/processes.hpp"
#include "support/sync_words.hpp"

namespace sluice::shm {
namespace {

using test::BareSemaphore;
using test::Child;
using test::Shared;
using test::Watchdog;

constexpr std::uint32_t kLimitMax = SemaphoreWord::kLimitMax;

TEST(SemaphoreWord, GivesOutAsManyPermitsAsThereAre) {
    for (const Permits permits : {Permits::counted, Permits::owned}) {
        const BareSemaphore sut(3, permits, 3);
        EXPECT_EQ(sut->value(), 3U);
        for (std::uint32_t left = 3; left-- != 0;) {
            EXPECT_EQ(sut->take(), SemaphoreResult::done);
            EXPECT_EQ(sut->value(), left);
        }
        EXPECT_EQ(sut->take(), SemaphoreResult::none);
        EXPECT_EQ(sut->release(2), SemaphoreResult::done);
        EXPECT_EQ(sut->value(), 2U);
        EXPECT_EQ(sut->release(1), SemaphoreResult::done);
        EXPECT_EQ(sut->release(1), SemaphoreResult::too_many);
        EXPECT_EQ(sut->value(), 3U);
    }
}

TEST(SemaphoreWord, RefusesWhatWouldExceedTheCounterWithoutReleasingAny) {
    const BareSemaphore sut(kLimitMax, Permits::counted, kLimitMax - 1);
    EXPECT_EQ(sut->release(2), SemaphoreResult::too_many);
    EXPECT_EQ(sut->release(0xffff'ffffU), SemaphoreResult::too_many);
    EXPECT_EQ(sut->value(), kLimitMax - 1);
    EXPECT_EQ(sut->release(1), SemaphoreResult::done);
    EXPECT_EQ(sut->release(1), SemaphoreResult::too_many);
    EXPECT_EQ(sut->value(), kLimitMax);
}

TEST(SemaphoreWord, ADamagedCounterIsRefusedAndBounded) {
    const BareSemaphore sut(2, Permits::counted, 2);
    sut->layout().value.store(0xffff'fff0U, std::memory_order_relaxed);
    EXPECT_EQ(sut->value(), 2U);
    EXPECT_EQ(sut->release(1), SemaphoreResult::too_many);
    EXPECT_EQ(sut->take(), SemaphoreResult::done);
}

TEST(SemaphoreWord, AnOwnedPermitIsNotReleasedByAnotherThread) {
    const BareSemaphore sut(2, Permits::owned, 2);
    ASSERT_EQ(sut->take(), SemaphoreResult::done);
    std::thread([&] {
        EXPECT_EQ(sut->release(1), SemaphoreResult::too_many);
        EXPECT_EQ(sut->take(), SemaphoreResult::done);
        EXPECT_EQ(sut->release(2), SemaphoreResult::too_many);
        EXPECT_EQ(sut->release(1), SemaphoreResult::done);
    }).join();
    EXPECT_EQ(sut->value(), 1U);
    EXPECT_EQ(sut->release(1), SemaphoreResult::done);
}

TEST(SemaphoreWord, ADeadOwnersPermitsComeBackAndTheTagIsRaised) {
    const BareSemaphore sut(3, Permits::owned, 3);
    ASSERT_EQ(sut->take(), SemaphoreResult::done);                             // the survivor's
    sut->layout().owners[1].store(0xffffU << 16U, std::memory_order_relaxed);  // about to wrap
    Child child([&] {
        if (!sut.try_acquire() || !sut.try_acquire()) {
            _exit(2);
        }
    });
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(sut->value(), 0U);  // nobody has looked yet
    EXPECT_EQ(sut.members().rescue(), 1U);
    EXPECT_EQ(sut->value(), 2U);
    EXPECT_EQ(sut->layout().owners[1].load(std::memory_order_relaxed), 0U);  // 0xffff + 1
    EXPECT_EQ(sut->layout().owners[2].load(std::memory_order_relaxed), 1U << 16U);
    EXPECT_EQ(sut.members().rescue(), 0U);
}

TEST(SemaphoreWord, ALateSweepLeavesANewcomersPermitAlone) {
    const BareSemaphore sut(1, Permits::owned, 1, {.member_capacity = 1});
    Child dead([&] { static_cast<void>(sut.try_acquire()); });
    EXPECT_EQ(dead.join(), 0);
    const std::atomic<std::uint64_t> stale{1};
    // The newcomer gets the only id, the dead one's.
    ASSERT_TRUE(sut.try_acquire());
    const MemberId me = sut.members().id();
    sut->sweep(me, DeadTenant(stale, 2));  // whose proof does not hold any more
    EXPECT_EQ(sut->value(), 0U);
    EXPECT_EQ(sut->release(1), SemaphoreResult::done);
}

TEST(SemaphoreWord, NamesTheBellsOfAllOwners) {
    const BareSemaphore sut(3, Permits::owned, 3);
    ASSERT_EQ(sut->take(), SemaphoreResult::done);
    std::atomic<int> taken{0};
    std::atomic<bool> leave{false};
    std::vector<std::thread> owners;
    for (int count = 0; count < 2; ++count) {
        owners.emplace_back([&] {
            EXPECT_EQ(sut->take(), SemaphoreResult::done);
            taken.fetch_add(1);
            test::await([&] { return leave.load(); });
        });
    }
    test::await([&] { return taken.load() == 2; });
    EXPECT_EQ(sut->stuck().size(), 2U);  // not the survivor's own
    leave.store(true);
    for (std::thread& owner : owners) {
        owner.join();
    }
    EXPECT_EQ(sut->stuck().size(), 0U);  // they have ended, with their permits
    EXPECT_EQ(sut->value(), 2U);
}

TEST(SemaphoreWord, FitsSaysWhatCannotBe) {
    EXPECT_TRUE(SemaphoreWord::fits({kLimitMax, Permits::counted}, 64));
    EXPECT_FALSE(SemaphoreWord::fits({kLimitMax + 1, Permits::counted}, 1U << 30U));
    EXPECT_TRUE(SemaphoreWord::fits({16, Permits::owned}, 128));
    EXPECT_FALSE(SemaphoreWord::fits({17, Permits::owned}, 128));
    EXPECT_FALSE(SemaphoreWord::fits({SemaphoreWord::kOwnedMax + 1, Permits::owned}, 1U << 20U));
}

// Threads on one mapping, asleep without end: a lost wake-up hangs.
TEST(SemaphoreWord, ThreadsPassPermitsOnWithoutLosingAWakeUp) {
    const Watchdog watchdog(120);
    constexpr unsigned kRounds = 10'000;
    for (const Permits permits : {Permits::counted, Permits::owned}) {
        const BareSemaphore sut(2, permits, 2);
        std::atomic<int> inside{0};
        std::vector<std::thread> threads;
        for (int count = 0; count < 4; ++count) {
            threads.emplace_back([&] {
                for (unsigned round = 0; round < kRounds; ++round) {
                    sut.acquire(test::Asleep::endless);
                    if (inside.fetch_add(1) >= 2) {
                        ADD_FAILURE() << "more inside than permits";
                    }
                    if (round % 4 == 0) {
                        std::this_thread::yield();  // so that others find no permit
                    }
                    inside.fetch_sub(1);
                    sut.release();
                }
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        EXPECT_EQ(sut->value(), 2U);
    }
}

}  // namespace
}  // namespace sluice::shm
