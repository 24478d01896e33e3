#include "sluice/shm/fence.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <thread>

#include "support/processes.hpp"

namespace sluice::shm {
namespace {

struct Dekker {
    alignas(128) std::atomic<std::uint64_t> published{};
    alignas(128) std::atomic<std::uint64_t> announced{};
    alignas(128) std::atomic<std::uint64_t> publisher_round{};
    std::atomic<std::uint64_t> waiter_round{};
    std::atomic<std::uint64_t> missed_by_publisher{};
    std::atomic<std::uint64_t> missed_by_waiter{};
};

// The publisher stores by plain store and looks for the announcement behind light_fence(); the
// waiter announces, executes heavy_fence() and looks for the publication. Both missing each other
// is the lost wake-up.
TEST(Fence, PublisherAndWaiterNeverMissEachOther) {
    const test::Watchdog watchdog(120);
    if (!register_for_heavy_fence()) {
        GTEST_SKIP() << "no MEMBARRIER_CMD_GLOBAL_EXPEDITED here";
    }
    constexpr std::uint64_t kRounds = 20'000;
    const test::Shared<Dekker> shared;
    test::Child publisher([&] {
        ASSERT_TRUE(register_for_heavy_fence());
        for (std::uint64_t round = 1; round <= kRounds; ++round) {
            for (unsigned looks = 1; shared->waiter_round.load(std::memory_order_acquire) < round;
                 ++looks) {
                if (looks % 1024 == 0) {
                    sched_yield();
                }
            }
            shared->published.store(round, std::memory_order_release);
            light_fence();
            const bool missed = shared->announced.load(std::memory_order_relaxed) < round;
            shared->missed_by_publisher.store(missed ? round : 0, std::memory_order_relaxed);
            shared->publisher_round.store(round, std::memory_order_release);
        }
    });
    std::uint64_t lost = 0;
    for (std::uint64_t round = 1; round <= kRounds; ++round) {
        shared->waiter_round.store(round, std::memory_order_release);
        for (std::uint64_t delay = 0; delay < round % 64; ++delay) {
            std::atomic_signal_fence(std::memory_order_seq_cst);
        }
        shared->announced.store(round, std::memory_order_seq_cst);
        heavy_fence();
        const bool missed = shared->published.load(std::memory_order_acquire) < round;
        unsigned looks = 0;
        while (shared->publisher_round.load(std::memory_order_acquire) < round) {
            if (++looks % 1024 == 0) {
                sched_yield();
            }
        }
        if (missed && shared->missed_by_publisher.load(std::memory_order_relaxed) == round) {
            ++lost;
        }
    }
    EXPECT_EQ(publisher.join(), 0);
    EXPECT_EQ(lost, 0U);
}

TEST(Fence, AChildRegistersAnew) {
    static_cast<void>(register_for_heavy_fence());
    const bool here = register_for_heavy_fence();
    test::Child child([&] { EXPECT_EQ(register_for_heavy_fence(), here); });
    EXPECT_EQ(child.join(), 0);
}

}  // namespace
}  // namespace sluice::shm
