#include "sluice/rw_lock.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "sluice/error.hpp"
#include "support/processes.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::await;
using test::Child;
using test::FreshName;
using test::Shared;
using test::Watchdog;

enum class Side : std::uint8_t { read, write };

/// A child that holds the lock until it is told, or killed.
class Holder {
 public:
    Holder(const RWLock& lock, Side side)
        : child_([this, &lock, side] {
              side == Side::read ? lock.lock_shared() : lock.lock();
              notes_->holds.store(true);
              await([this] { return notes_->let_go.load(); });
              side == Side::read ? lock.unlock_shared() : lock.unlock();
          }) {}
    Holder& await_held() {
        await([this] { return holds(); });
        return *this;
    }
    bool holds() const { return notes_->holds.load(); }
    void let_go() { notes_->let_go.store(true); }
    int join() {
        let_go();
        return child_.join();
    }
    Child& child() { return child_; }

 private:
    struct Notes {
        std::atomic<bool> holds;
        std::atomic<bool> let_go;
    };
    Shared<Notes> notes_;
    Child child_;
};

TEST(RWLock, ManyReadAtOnceAndNobodyWritesMeanwhile) {
    const Watchdog watchdog(60);
    const RWLock sut;
    Holder reader(sut, Side::read);
    reader.await_held();
    EXPECT_TRUE(sut.try_lock_shared());
    EXPECT_EQ(sut.readers(), 2U);
    sut.unlock_shared();
    EXPECT_FALSE(sut.try_lock());
    EXPECT_FALSE(sut.try_lock_for(2ms));
    EXPECT_FALSE(sut.locked());
    EXPECT_TRUE(sut.try_lock_shared()) << "who gave up writing bars nobody";
    sut.unlock_shared();
    EXPECT_EQ(reader.join(), 0);
    EXPECT_TRUE(sut.try_lock());
    EXPECT_TRUE(sut.locked());
    sut.unlock();
}

TEST(RWLock, NobodyReadsOrWritesBesideAWriter) {
    const Watchdog watchdog(60);
    const RWLock sut;
    Holder writer(sut, Side::write);
    writer.await_held();
    EXPECT_FALSE(sut.try_lock_shared());
    EXPECT_FALSE(sut.try_lock_shared_for(2ms));
    EXPECT_FALSE(sut.try_lock_shared_until(std::chrono::steady_clock::now() + 2ms));
    EXPECT_FALSE(sut.try_acquire());
    EXPECT_FALSE(sut.try_acquire_for(2ms));
    EXPECT_EQ(sut.readers(), 0U);
    EXPECT_EQ(writer.join(), 0);
    EXPECT_TRUE(sut.try_lock_shared());
    sut.unlock_shared();
}

TEST(RWLock, TheStandardLibrarysGuardsTakeIt) {
    const RWLock sut;
    {
        const std::shared_lock reading(sut);
        EXPECT_EQ(sut.readers(), 1U);
    }
    {
        const std::unique_lock writing(sut);
        EXPECT_TRUE(sut.locked());
    }
    {
        const std::scoped_lock writing(sut);
        EXPECT_TRUE(sut.locked());
    }
    std::shared_lock timed(sut, 1ms);
    EXPECT_TRUE(timed.owns_lock());
}

TEST(RWLock, SleepersOfBothSidesAreWoken) {
    const Watchdog watchdog(60);
    for (const Wait wait : {Wait::park, Wait::spin, Wait::spin_then_park}) {
        const RWLock sut(LockOptions{.wait = wait});
        for (const Side first : {Side::read, Side::write}) {
            Holder holder(sut, first);
            holder.await_held();
            Holder writer(sut, Side::write);
            if (wait == Wait::park) {
                await([&] { return test::sleeps_in_futex(writer.child().pid()); });
            }
            EXPECT_FALSE(writer.holds());
            EXPECT_EQ(holder.join(), 0);
            writer.await_held();
            Holder reader(sut, Side::read);
            Holder another(sut, Side::read);
            if (wait == Wait::park) {
                await([&] { return test::sleeps_in_futex(reader.child().pid()); });
                await([&] { return test::sleeps_in_futex(another.child().pid()); });
            }
            EXPECT_FALSE(reader.holds());
            EXPECT_EQ(writer.join(), 0);
            reader.await_held();
            another.await_held();
            EXPECT_EQ(reader.join(), 0);
            EXPECT_EQ(another.join(), 0);
        }
    }
}

TEST(RWLock, AWaitingWriterBarsNewReadersButNotOneThatReadsAlready) {
    const Watchdog watchdog(60);
    const RWLock sut;
    sut.lock_shared();
    Holder writer(sut, Side::write);
    await([&] { return sut.locked(); });
    Child newcomer([&] { EXPECT_FALSE(sut.try_lock_shared()); });
    EXPECT_EQ(newcomer.join(), 0);
    sut.lock_shared();  // again: barring it would wait for ever
    EXPECT_EQ(sut.readers(), 1U) << "one thread";
    sut.unlock_shared();
    EXPECT_FALSE(writer.holds());
    sut.unlock_shared();
    writer.await_held();
    EXPECT_EQ(writer.join(), 0);
}

TEST(RWLock, ReadersAreNotStarvedByWriters) {
    const Watchdog watchdog(60);
    const RWLock sut;
    const Shared<std::atomic<bool>> stop;
    std::vector<Child> writers;
    for (int count = 0; count < 2; ++count) {
        writers.emplace_back([&] {
            while (!stop->load()) {
                const std::scoped_lock writing(sut);
            }
        });
    }
    for (int round = 0; round < 200; ++round) {
        const std::shared_lock reading(sut);
    }
    stop->store(true);
    for (Child& writer : writers) {
        EXPECT_EQ(writer.join(), 0);
    }
}

TEST(RWLock, WhatWouldWaitForEverThrows) {
    const RWLock sut;
    sut.lock_shared();
    EXPECT_THROW(sut.lock(), Error);
    EXPECT_FALSE(sut.try_lock());
    EXPECT_THROW(static_cast<void>(sut.try_lock_for(1ms)), Error);
    sut.unlock_shared();
    sut.lock();
    EXPECT_THROW(sut.lock(), Error);
    EXPECT_THROW(sut.lock_shared(), Error);
    EXPECT_FALSE(sut.try_lock_shared());
    EXPECT_FALSE(sut.try_lock());
    sut.unlock();
}

TEST(RWLock, OfOneThreadThroughTwoOpeningsToo) {
    const FreshName name("rw-twice");
    const RWLock sut = RWLock::create(name.name());
    const RWLock again = RWLock::open(name.name());
    sut.lock_shared();
    EXPECT_THROW(again.lock(), Error);
    EXPECT_FALSE(again.try_lock());
    sut.unlock_shared();
    again.lock();
    EXPECT_THROW(sut.lock_shared(), Error);
    again.unlock();
}

TEST(RWLock, GivingBackWhatOneDoesNotHoldThrows) {
    const Watchdog watchdog(60);
    const RWLock sut;
    EXPECT_THROW(sut.unlock(), Error);
    EXPECT_THROW(sut.unlock_shared(), Error);
    sut.lock_shared();
    EXPECT_THROW(sut.unlock(), Error);
    Child child([&] { EXPECT_THROW(sut.unlock_shared(), Error); });
    EXPECT_EQ(child.join(), 0);
    sut.unlock_shared();
    sut.lock();
    EXPECT_THROW(sut.unlock_shared(), Error);
    Child other([&] { EXPECT_THROW(sut.unlock(), Error); });
    EXPECT_EQ(other.join(), 0);
    sut.unlock();
}

TEST(RWLock, AChildOwnsNothingOfItsParents) {
    const Watchdog watchdog(60);
    const RWLock sut;
    sut.lock_shared();
    Child child([&] {
        EXPECT_THROW(sut.unlock_shared(), Error);
        EXPECT_FALSE(sut.try_lock());
        const std::shared_lock reading(sut);
        EXPECT_EQ(sut.readers(), 2U);
    });
    EXPECT_EQ(child.join(), 0);
    sut.unlock_shared();
}

TEST(RWLock, TheDeathOfAHolderPassesItOnAndIsTold) {
    const Watchdog watchdog(60);
    for (const Side dead : {Side::read, Side::write}) {
        for (const Side survivor : {Side::read, Side::write}) {
            const RWLock sut;
            Holder holder(sut, dead);
            holder.await_held();
            EXPECT_FALSE(sut.abandoned());
            holder.child().kill_and_join();
            if (survivor == Side::write) {
                EXPECT_TRUE(sut.try_lock()) << "without waiting";
                EXPECT_TRUE(sut.abandoned());
                sut.repair();
                sut.unlock();
            } else {
                EXPECT_TRUE(sut.try_lock_shared());
                EXPECT_EQ(sut.readers(), 1U);
                sut.unlock_shared();
                sut.lock();
                EXPECT_TRUE(sut.abandoned());
                sut.repair();
                sut.unlock();
            }
            EXPECT_FALSE(sut.abandoned());
        }
    }
}

TEST(RWLock, ASleeperHearsOfTheDeathByTheBell) {
    const Watchdog watchdog(60);
    for (const Side dead : {Side::read, Side::write}) {
        for (const Side survivor : {Side::read, Side::write}) {
            if (dead == Side::read && survivor == Side::read) {
                continue;  // does not wait
            }
            const RWLock sut(LockOptions{.wait = Wait::park});
            Holder holder(sut, dead);
            holder.await_held();
            Holder sleeper(sut, survivor);
            await([&] { return test::sleeps_in_futex(sleeper.child().pid()); });
            holder.child().kill_and_join();
            sleeper.await_held();
            EXPECT_TRUE(sut.abandoned());
            EXPECT_EQ(sleeper.join(), 0);
        }
    }
}

TEST(RWLock, ADeadWriterThatWaitedForReadersBarsNobody) {
    const Watchdog watchdog(60);
    const RWLock sut(LockOptions{.wait = Wait::park});
    sut.lock_shared();
    Holder writer(sut, Side::write);
    await([&] { return test::sleeps_in_futex(writer.child().pid()); });
    writer.child().kill_and_join();
    Child reader([&] { const std::shared_lock reading(sut); });
    EXPECT_EQ(reader.join(), 0);
    sut.unlock_shared();
    EXPECT_TRUE(sut.try_lock());
    sut.unlock();
}

TEST(RWLock, RaisesOwnerDiedWhereThatWasAskedFor) {
    const Watchdog watchdog(60);
    for (const Side dead : {Side::read, Side::write}) {
        const RWLock sut(LockOptions{.on_abandoned = OnAbandoned::raise});
        { const std::shared_lock reading(sut); }
        Holder holder(sut, dead);
        holder.await_held();
        holder.child().kill_and_join();
        EXPECT_THROW(sut.lock(), OwnerDied);
        EXPECT_THROW(sut.lock_shared(), OwnerDied);
        EXPECT_THROW(static_cast<void>(sut.try_lock()), OwnerDied);
        EXPECT_THROW(static_cast<void>(sut.try_lock_shared()), OwnerDied);
        sut.repair();
        { const std::shared_lock reading(sut); }
        const std::scoped_lock writing(sut);
    }
}

TEST(RWLock, AStoppedReaderIsNotRobbed) {
    const Watchdog watchdog(60);
    const RWLock sut;
    Holder reader(sut, Side::read);
    reader.await_held().child().stop();
    EXPECT_FALSE(sut.try_lock_for(5ms));
    EXPECT_FALSE(sut.abandoned());
    reader.child().resume();
    EXPECT_EQ(reader.join(), 0);
    EXPECT_TRUE(sut.try_lock());
    sut.unlock();
}

TEST(RWLock, TheLastHandleOfAHolderCountsAsItsDeath) {
    const FreshName name("rw-last-handle");
    const RWLock sut = RWLock::create(name.name());
    for (const Side side : {Side::read, Side::write}) {
        {
            const RWLock dropped = RWLock::open(name.name());
            side == Side::read ? dropped.lock_shared() : dropped.lock();
        }
        EXPECT_TRUE(sut.try_lock());
        EXPECT_TRUE(sut.abandoned());
        sut.repair();
        sut.unlock();
    }
}

TEST(RWLock, IsFoundByItsName) {
    const FreshName name("rw");
    const RWLock made = RWLock::create(name.name());
    EXPECT_EQ(made.name(), name.name());
    EXPECT_THROW(RWLock::create(name.name()), std::system_error);
    EXPECT_THROW(Lock::open(name.name()), BadSegment);
    const RWLock opened = RWLock::open_or_create(name.name());
    made.lock();
    EXPECT_TRUE(opened.locked());
    made.unlock();
    RWLock::unlink(name.name());
    EXPECT_THROW(RWLock::open(name.name()), std::system_error);
    const Lock lock = Lock::create(name.name());
    EXPECT_THROW(RWLock::open(name.name()), BadSegment);
}

// Two words that writers change together and readers never find apart, while some are killed.
TEST(RWLock, ExcludesWhileReadersAndWritersAreKilled) {
    const Watchdog watchdog(120);
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    struct Data {
        std::atomic<std::uint64_t> one;
        std::atomic<std::uint64_t> other;
        std::atomic<std::uint64_t> torn;
        std::atomic<std::uint64_t> reads;
        std::atomic<std::uint64_t> writes;
    };
    const RWLock sut;
    const Shared<Data> data;
    const auto write = [&] {
        const std::scoped_lock writing(sut);
        if (sut.abandoned()) {
            data->other.store(data->one.load());
            sut.repair();
        }
        data->one.fetch_add(1);
        data->other.fetch_add(1);
        data->writes.fetch_add(1);
    };
    const auto read = [&] {
        const std::shared_lock reading(sut);
        if (!sut.abandoned() && data->one.load() != data->other.load()) {
            data->torn.fetch_add(1);
        }
        data->reads.fetch_add(1);
    };
    const auto work = [&](bool writes) {
        for (std::uint32_t step = 0;; ++step) {
            writes&& step % 4 == 0 ? write() : read();
        }
    };
    std::vector<Child> children;
    for (std::size_t number = 0; number < 4; ++number) {
        children.emplace_back([&, number] { work(number < 2); });
    }
    for (int round = 0; round < 60; ++round) {
        usleep(static_cast<useconds_t>(random() % 2000));
        const std::size_t number = random() % children.size();
        children[number].kill_and_join();
        children[number] = Child([&, number] { work(number < 2); });
    }
    const std::uint64_t reads = data->reads.load();
    const std::uint64_t writes = data->writes.load();
    await([&] { return data->reads.load() > reads && data->writes.load() > writes; });
    children.clear();
    EXPECT_EQ(data->torn.load(), 0U);
    EXPECT_TRUE(sut.try_lock()) << "all are dead";
    sut.unlock();
}

TEST(RWLock, ThreadsReadTogetherAndWriteAlone) {
    const Watchdog watchdog(60);
    const RWLock sut;
    std::uint64_t counter = 0;
    std::vector<std::thread> threads;
    for (int number = 0; number < 3; ++number) {
        threads.emplace_back([&] {
            for (int round = 0; round < 500; ++round) {
                {
                    const std::scoped_lock writing(sut);
                    ++counter;
                }
                const std::shared_lock reading(sut);
                EXPECT_LE(counter, 1500U);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(counter, 1500U);
}

}  // namespace
}  // namespace sluice
