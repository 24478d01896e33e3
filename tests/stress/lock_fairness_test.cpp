// Nobody starves: eight processes want one lock all the time, and whoever has slept kFailuresMax
// times in vain is overtaken once more at most.
//
// Whoever takes the lock looks who waits as the heir: that one is overtaken. All that is written of
// it is written under the lock.
//
// Environment: SLUICE_SOAK, how many seconds (3).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "support/bare_lock.hpp"
#include "support/processes.hpp"

namespace sluice::test {
namespace {

constexpr unsigned kProcesses = 8;

struct Ledger {
    std::atomic<bool> stop{false};
    std::array<std::uint64_t, kProcesses> times{};  // how often each had the lock
    std::uint64_t total{};
    std::uint64_t overtaken_max{};  // by whom ever, how often running
    std::uint32_t heir{};           // the last seen, with the tag that tells him from the next
    std::uint64_t heirs{};
    std::uint64_t heir_overtaken{};
    std::uint64_t heir_overtaken_max{};
};

std::chrono::seconds run_time() {
    const char* given = std::getenv("SLUICE_SOAK");
    const long wanted = given != nullptr ? std::strtol(given, nullptr, 10) : 0;
    return std::chrono::seconds(wanted > 0 ? wanted : 3);
}

void want_it_all_the_time(BareLock& sut, Ledger& ledger, unsigned process, shm::Wait wait) {
    while (!ledger.stop.load(std::memory_order_relaxed)) {
        // Read before it waits, and thus not under the lock: what others do meanwhile counts.
        const std::uint64_t before = __atomic_load_n(&ledger.total, __ATOMIC_RELAXED);
        ASSERT_EQ(sut.lock(shm::Deadline::never(), wait), shm::LockResult::done);
        ledger.overtaken_max = std::max(ledger.overtaken_max, ledger.total - before);
        __atomic_store_n(&ledger.total, ledger.total + 1, __ATOMIC_RELAXED);
        ++ledger.times[process];
        const std::uint32_t heir = sut.layout().heir.load(std::memory_order_acquire);
        if (static_cast<shm::MemberId>(heir) != shm::kNobody) {
            const bool known = heir == ledger.heir;
            ledger.heirs += known ? 0 : 1;
            ledger.heir_overtaken = known ? ledger.heir_overtaken + 1 : 1;
            ledger.heir_overtaken_max = std::max(ledger.heir_overtaken_max, ledger.heir_overtaken);
        } else {
            ledger.heir_overtaken = 0;
        }
        ledger.heir = heir;
        ASSERT_TRUE(sut.unlock());
    }
}

class LockFairness : public testing::TestWithParam<shm::Wait> {};

TEST_P(LockFairness, AnHeirIsOvertakenOnceAtMost) {
    const auto time = run_time();
    const Watchdog watchdog(60 + static_cast<unsigned>(time.count()));
    BareLock sut;
    const Shared<Ledger> ledger;
    std::array<Child, kProcesses> children;
    for (unsigned process = 0; process < kProcesses; ++process) {
        children[process] =
            Child([&, process] { want_it_all_the_time(sut, *ledger, process, GetParam()); });
    }
    std::this_thread::sleep_for(time);
    ledger->stop.store(true);
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
    const auto [least, most] = std::minmax_element(ledger->times.begin(), ledger->times.end());
    std::printf(
        "%llu acquisitions, %llu to %llu a process; overtaken %llu times running at most, "
        "%llu of them as heirs, of which there were %llu\n",
        static_cast<unsigned long long>(ledger->total), static_cast<unsigned long long>(*least),
        static_cast<unsigned long long>(*most),
        static_cast<unsigned long long>(ledger->overtaken_max),
        static_cast<unsigned long long>(ledger->heir_overtaken_max),
        static_cast<unsigned long long>(ledger->heirs));
    EXPECT_GT(*least, 0U);
    EXPECT_GT(ledger->heirs, 0U) << "nobody ever was an heir: nothing was tried";
    EXPECT_LE(ledger->heir_overtaken_max, 1U);
}

INSTANTIATE_TEST_SUITE_P(Waits, LockFairness,
                         testing::Values(shm::Wait::spin_then_park, shm::Wait::park),
                         [](const auto& wait) {
                             return wait.param == shm::Wait::park ? "Park" : "SpinThenPark";
                         });

}  // namespace
}  // namespace sluice::test
