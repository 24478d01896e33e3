// The soak of the lock family: eight processes on the same locks, semaphores, events, conditions,
// barriers and guarded values, killed, stopped and started again at random instants.
//
// It goes in rounds. In each, workers operate while this process kills; then they come to rest,
// nobody is killed any more, and it is looked whether everything is free, whole and there.
//
// Environment: SLUICE_SOAK, how many seconds (20; beside a sanitizer 10). SLUICE_TEST_SEED.
// SLUICE_SOAK_HOLD=1: a hang is not ended, so that a debugger can look at it.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <random>
#include <string>

#include "stress/sync_soak_worker.hpp"
#include "support/processes.hpp"
#include "support/soak.hpp"

namespace sluice::soak {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kHang{60};

struct Totals {
    std::uint64_t kills{};
    std::uint64_t stops{};
    std::uint64_t in_doubt{};  // permits
    std::uint64_t hangs{};
};

class SyncSoak : public ::testing::Test {
 protected:
    SyncSoak()
        : lock_name_("soak-lock"),
          semaphore_name_("soak-semaphore"),
          barrier_name_("soak-barrier"),
          objects_{Lock::create(lock_name_.name()),
                   RLock(),
                   RWLock(),
                   BoundedSemaphore(kCountedPermits),
                   Semaphore::create(semaphore_name_.name(), kOwnedPermits,
                                     {.owned = true, .wait = Wait::park}),
                   Event(),
                   Condition(),
                   Lock({.wait = Wait::park}),
                   Barrier::create(barrier_name_.name(), kParties),
                   Guarded<Balance>(first_balance())},
          random_(test::announce_seed()) {}

    static Balance first_balance() {
        Balance balance{};
        balance.set(0);
        return balance;
    }

    void spawn(unsigned worker) {
        WorkerNote& note = ledger_->workers[worker];
        note.incarnation.fetch_add(1);
        note.at.store(At::rest);
        note.reading.store(0);
        victims_[worker] = StoppableChild([this, worker] {
            Objects objects = objects_;
            // Some by name, others inherited.
            objects.lock = Lock::open(lock_name_.name());
            objects.owned = Semaphore::open(semaphore_name_.name());
            objects.barrier = Barrier::open(barrier_name_.name());
            SyncWorker(*ledger_, worker, std::move(objects)).run();
        });
    }

    std::uint64_t operations() const {
        std::uint64_t count = 0;
        for (const WorkerNote& note : ledger_->workers) {
            count += note.operations.load();
        }
        return count;
    }

    void kill(unsigned worker);
    void disturb();
    void resume(Clock::time_point now);
    void drive();
    void run_round(std::uint32_t round, Clock::duration time);
    void quiesce(std::uint32_t round);
    void balance();
    void report_hang(const char* what);

    test::FreshName lock_name_;
    test::FreshName semaphore_name_;
    test::FreshName barrier_name_;
    test::Shared<SyncLedger> ledger_;
    Objects objects_;
    std::mt19937_64 random_;
    Totals totals_;
    std::uint32_t doubtful_permits_{};  // of this round
    std::array<StoppableChild, kWorkers> victims_;
};

void SyncSoak::kill(unsigned worker) {
    WorkerNote& note = ledger_->workers[worker];
    note.doomed.store(note.incarnation.load());  // before it dies: see SyncLedger
    victims_[worker].kill_and_join();
    ++totals_.kills;
    // A counted permit stays taken when its taker dies: it is for us to give back.
    const At at = note.at.load();
    if (at == At::holding) {
        objects_.counted.release();
    } else if (at == At::taking || at == At::giving) {
        ++doubtful_permits_;
    }
}

void SyncSoak::disturb() {
    const auto worker = static_cast<unsigned>(random_() % kWorkers);
    // Where many permits are in doubt, the next round begins with all of them.
    if (random_() % 8 == 0 || doubtful_permits_ + kWorkers >= kCountedPermits) {
        victims_[worker].stop_for(std::chrono::microseconds(random_() % 20'000));
        ++totals_.stops;
        return;
    }
    kill(worker);
    spawn(worker);
}

void SyncSoak::resume(Clock::time_point now) {
    for (StoppableChild& victim : victims_) {
        victim.resume_if_due(now);
    }
}

/// So that not all wait for what none of them will do: an event, and an item, now and then. Never
/// waits for who is stopped.
void SyncSoak::drive() {
    objects_.event.set();
    if (objects_.condition_lock.try_lock()) {
        ledger_->items.fetch_add(1);
        objects_.condition_lock.unlock();
        objects_.condition.notify_one();
    }
}

void SyncSoak::report_hang(const char* what) {
    ++totals_.hangs;
    std::printf("soak: HANG: %s\n", what);
    for (unsigned worker = 0; worker < kWorkers; ++worker) {
        const WorkerNote& note = ledger_->workers[worker];
        std::printf("  worker %u, pid %d: at %s, round done %u\n", worker, victims_[worker].pid(),
                    text_of(note.at.load()), note.round_done.load());
    }
    std::printf(
        "  lock %d, rlock %d, rw_lock %d, counted %u, owned %u, event %d, items %llu, "
        "barrier: %u waiting, broken %d\n",
        objects_.lock.locked(), objects_.rlock.locked(), objects_.rw_lock.locked(),
        objects_.counted.value(), objects_.owned.value(), objects_.event.is_set(),
        static_cast<unsigned long long>(ledger_->items.load()), objects_.barrier.waiting(),
        objects_.barrier.broken());
    std::fflush(stdout);
    if (std::getenv("SLUICE_SOAK_HOLD") != nullptr) {
        alarm(0);
        pause();
    }
}

/// Nobody is killed any more: all come to rest, or it is a hang.
void SyncSoak::quiesce(std::uint32_t round) {
    resume(Clock::time_point::max());
    ledger_->serving.store(0);
    // For each who may wait for an item one item and one notification: none may be lost.
    objects_.condition_lock.lock();
    ledger_->items.fetch_add(kWorkers);
    objects_.condition_lock.unlock();
    for (unsigned count = 0; count < kWorkers; ++count) {
        objects_.condition.notify_one();
    }
    const Clock::time_point end = Clock::now() + kHang;
    for (unsigned worker = 0; worker < kWorkers && totals_.hangs == 0;) {
        if (ledger_->workers[worker].round_done.load() == round) {
            ++worker;
            continue;
        }
        // One may have cleared the event, or have come to the barrier, since.
        objects_.event.set();
        objects_.barrier.abort();
        usleep(500);
        if (Clock::now() > end) {
            report_hang("a worker does not come to rest");
        }
    }
}

/// All rest: everything is free, and all permits are there.
void SyncSoak::balance() {
    const auto expect_free = [](const auto& lock, const char* what) {
        EXPECT_TRUE(lock.try_lock_for(seconds(60))) << what << " is held by nobody";
        if (lock.abandoned()) {
            lock.repair();
        }
        lock.unlock();
    };
    expect_free(objects_.lock, "Lock");
    expect_free(objects_.rlock, "RLock");
    expect_free(objects_.rw_lock, "RWLock");
    expect_free(objects_.condition_lock, "Condition's Lock");
    EXPECT_EQ(objects_.owned.value(), kOwnedPermits);
    const unsigned counted = objects_.counted.value();
    EXPECT_LE(counted, kCountedPermits);
    EXPECT_GE(counted + doubtful_permits_, kCountedPermits) << "permits are lost";
    if (counted < kCountedPermits) {
        objects_.counted.release(kCountedPermits - counted);
    }
    totals_.in_doubt += kCountedPermits - counted;
    doubtful_permits_ = 0;
    objects_.barrier.reset();
    EXPECT_FALSE(objects_.barrier.broken());
    EXPECT_EQ(objects_.barrier.waiting(), 0U);
    EXPECT_TRUE(objects_.guarded.read().is_whole());
    ledger_->items.store(0);
    objects_.event.clear();
}

void SyncSoak::run_round(std::uint32_t round, Clock::duration time) {
    const Clock::time_point end = Clock::now() + time;
    ledger_->serving.store(round);
    ledger_->round.store(round);
    // Some rounds are calm, others a massacre.
    constexpr std::uint64_t kGapsUs[] = {2'000, 10'000, 50'000};
    const std::uint64_t gap_us = kGapsUs[random_() % 3];
    while (Clock::now() < end) {
        usleep(static_cast<useconds_t>(random_() % gap_us));
        resume(Clock::now());
        drive();
        disturb();
    }
    quiesce(round);
    if (totals_.hangs == 0) {
        balance();
    }
}

TEST_F(SyncSoak, KilledProcessesLoseNoWakeUpAndLetNoTwoIn) {
    const seconds time = soak_time(20);
    const test::Watchdog watchdog(static_cast<unsigned>(time.count()) + 170);
    for (unsigned worker = 0; worker < kWorkers; ++worker) {
        spawn(worker);
    }
    const Clock::time_point start = Clock::now();
    Clock::time_point told = start;
    Growth growth;
    const auto tell = [&] {
        std::printf(
            "soak: %.0f s, %llu operations, %llu kills, %llu stops, %llu abandoned, barrier %llu "
            "opened %llu broken %llu mended, %llu permits in doubt, %llu double owners, %llu torn, "
            "%llu hangs; %s\n",
            std::chrono::duration<double>(Clock::now() - start).count(),
            static_cast<unsigned long long>(operations()),
            static_cast<unsigned long long>(totals_.kills),
            static_cast<unsigned long long>(totals_.stops),
            static_cast<unsigned long long>(ledger_->abandoned.load()),
            static_cast<unsigned long long>(ledger_->opened.load()),
            static_cast<unsigned long long>(ledger_->broken.load()),
            static_cast<unsigned long long>(ledger_->mended.load()),
            static_cast<unsigned long long>(totals_.in_doubt),
            static_cast<unsigned long long>(ledger_->double_owners.load()),
            static_cast<unsigned long long>(ledger_->torn.load()),
            static_cast<unsigned long long>(totals_.hangs), growth.text().c_str());
        std::fflush(stdout);
    };
    for (std::uint32_t round = 1; !HasFailure() && Clock::now() - start < time; ++round) {
        run_round(round, milliseconds(1500));
        growth.look(round <= 3);  // warm
        EXPECT_EQ(ledger_->double_owners.load() + ledger_->torn.load() + totals_.hangs, 0U);
        growth.expect_none(4U << 20U);
        if (Clock::now() - told >= seconds(60)) {
            told = Clock::now();
            tell();
        }
    }
    tell();
    EXPECT_GT(totals_.kills, 0U);
    EXPECT_GT(ledger_->opened.load(), 0U);
    EXPECT_GT(ledger_->mended.load(), 0U);
    EXPECT_GT(ledger_->abandoned.load(), 0U);
}

}  // namespace
}  // namespace sluice::soak
