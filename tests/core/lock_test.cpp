#include "sluice/lock.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
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

template <class L>
class AnyLock : public ::testing::Test {};
using Locks = ::testing::Types<Lock, RLock>;
class LockNames {
 public:
    template <class L>
    static std::string GetName(int) {
        return std::is_same_v<L, Lock> ? "Lock" : "RLock";
    }
};
TYPED_TEST_SUITE(AnyLock, Locks, LockNames);

/// A child that takes the lock and keeps it until it is told, or killed.
template <class L>
class Holder {
 public:
    explicit Holder(const L& lock, unsigned times = 1)
        : child_([this, &lock, times] {
              for (unsigned time = 0; time < times; ++time) {
                  lock.lock();
              }
              notes_->holds.store(true);
              await([this] { return notes_->let_go.load(); });
              for (unsigned time = 0; time < times; ++time) {
                  lock.unlock();
              }
          }) {
        await([this] { return notes_->holds.load(); });
    }
    void let_go() { notes_->let_go.store(true); }
    void kill() { child_.kill_and_join(); }
    int join() { return child_.join(); }
    Child& child() { return child_; }

 private:
    struct Notes {
        std::atomic<bool> holds;
        std::atomic<bool> let_go;
    };
    Shared<Notes> notes_;
    Child child_;
};

/// A child that waits for the lock, asleep when this returns.
template <class L>
class Sleeper {
 public:
    explicit Sleeper(const L& lock)
        : child_([this, &lock] {
              lock.lock();
              got_->store(true);
              lock.unlock();
          }) {
        await([this] { return test::sleeps_in_futex(child_.pid()); });
    }
    bool got() const { return got_->load(); }
    int join() { return child_.join(); }
    Child& child() { return child_; }

 private:
    Shared<std::atomic<bool>> got_;
    Child child_;
};

TYPED_TEST(AnyLock, IsHeldByOneProcessAtATime) {
    const Watchdog watchdog(60);
    const TypeParam sut;
    EXPECT_FALSE(sut.locked());
    Holder holder(sut);
    EXPECT_TRUE(sut.locked());
    EXPECT_FALSE(sut.try_lock());
    EXPECT_FALSE(sut.try_lock_for(2ms));
    EXPECT_FALSE(sut.try_lock_until(std::chrono::steady_clock::now() + 2ms));
    holder.let_go();
    sut.lock();
    EXPECT_TRUE(sut.locked());
    sut.unlock();
    EXPECT_FALSE(sut.locked());
    EXPECT_EQ(holder.join(), 0);
}

TYPED_TEST(AnyLock, HasPythonsNames) {
    const TypeParam sut;
    sut.acquire();
    sut.release();
    EXPECT_TRUE(sut.try_acquire());
    sut.release();
    EXPECT_TRUE(sut.try_acquire_for(1s));
    sut.release();
    EXPECT_TRUE(sut.try_acquire_until(std::chrono::system_clock::now() + 1s));
    sut.release();
    EXPECT_FALSE(sut.locked());
}

TYPED_TEST(AnyLock, WorksWithTheStandardLibrarysGuards) {
    const TypeParam first;
    const TypeParam second;
    {
        const std::scoped_lock both(first, second);
        EXPECT_TRUE(first.locked());
        EXPECT_TRUE(second.locked());
    }
    std::unique_lock<const TypeParam> guard(first, 10ms);
    EXPECT_TRUE(guard.owns_lock());
    guard.unlock();
    {
        TypeParam third;
        std::unique_lock<TypeParam> one(third, std::defer_lock);
        std::unique_lock<const TypeParam> other(first, std::defer_lock);
        std::lock(one, other);
        const std::lock_guard<const TypeParam> last(second);
        EXPECT_TRUE(first.locked() && second.locked() && third.locked());
    }
    EXPECT_FALSE(first.locked() || second.locked());
}

TYPED_TEST(AnyLock, GuardsWhatManyProcessesChange) {
    const Watchdog watchdog(120);
    constexpr int kProcesses = 4;
    constexpr std::uint64_t kTimes = 20'000;
    for (const Wait wait : {Wait::spin_then_park, Wait::park}) {
        const TypeParam sut(LockOptions{.wait = wait});
        const Shared<std::array<std::uint64_t, 2>> plain;
        std::vector<Child> children;
        for (int process = 0; process < kProcesses; ++process) {
            children.emplace_back([&] {
                for (std::uint64_t time = 0; time < kTimes; ++time) {
                    const std::scoped_lock guard(sut);
                    if ((*plain)[0] != (*plain)[1]) {
                        _exit(9);
                    }
                    ++(*plain)[0];
                    asm volatile("" ::: "memory");
                    ++(*plain)[1];
                }
            });
        }
        for (Child& child : children) {
            EXPECT_EQ(child.join(), 0);
        }
        EXPECT_EQ((*plain)[0], kProcesses * kTimes);
        EXPECT_EQ((*plain)[1], kProcesses * kTimes);
    }
}

TYPED_TEST(AnyLock, ThreadsExcludeEachOther) {
    const Watchdog watchdog(120);
    const TypeParam sut;
    std::uint64_t plain = 0;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
            for (int time = 0; time < 5'000; ++time) {
                const std::scoped_lock guard(sut);
                ++plain;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(plain, 20'000U);
}

TYPED_TEST(AnyLock, WakesWhoSleeps) {
    const Watchdog watchdog(60);
    const TypeParam sut;
    sut.lock();
    Sleeper one(sut);
    Sleeper two(sut);
    EXPECT_FALSE(one.got() || two.got());
    sut.unlock();
    EXPECT_EQ(one.join(), 0);
    EXPECT_EQ(two.join(), 0);
    EXPECT_TRUE(one.got() && two.got());
}

TYPED_TEST(AnyLock, GivingBackWhatIsNotHeldThrows) {
    const Watchdog watchdog(60);
    const TypeParam sut;
    EXPECT_THROW(sut.unlock(), Error);
    Holder holder(sut);
    EXPECT_THROW(sut.release(), Error);
    EXPECT_TRUE(sut.locked());
    holder.let_go();
    EXPECT_EQ(holder.join(), 0);
    EXPECT_THROW(sut.unlock(), Error);
}

TYPED_TEST(AnyLock, AThreadCannotGiveBackAnothersLock) {
    const TypeParam sut;
    sut.lock();
    std::thread([&] { EXPECT_THROW(sut.unlock(), Error); }).join();
    sut.unlock();
}

TYPED_TEST(AnyLock, AChildDoesNotHoldItsParentsLock) {
    const Watchdog watchdog(60);
    const TypeParam sut;
    sut.lock();
    Child child([&] {
        EXPECT_THROW(sut.unlock(), Error);
        EXPECT_FALSE(sut.try_lock());
        EXPECT_TRUE(sut.locked());
    });
    EXPECT_EQ(child.join(), 0);
    EXPECT_TRUE(sut.locked());
    EXPECT_FALSE(sut.abandoned());
    sut.unlock();
}

TYPED_TEST(AnyLock, PassesOnWhenItsOwnerIsKilled) {
    const Watchdog watchdog(60);
    const TypeParam sut;
    Holder holder(sut);
    Sleeper one(sut);
    Sleeper two(sut);
    holder.kill();
    EXPECT_EQ(one.join(), 0);
    EXPECT_EQ(two.join(), 0);
    EXPECT_TRUE(sut.abandoned());
    EXPECT_FALSE(sut.locked());
    sut.lock();
    EXPECT_TRUE(sut.abandoned());
    sut.repair();
    EXPECT_FALSE(sut.abandoned());
    sut.unlock();
    EXPECT_FALSE(sut.abandoned());
}

TYPED_TEST(AnyLock, TryLockTakesItFromTheDeadAtOnce) {
    const Watchdog watchdog(60);
    const TypeParam sut;
    Holder holder(sut);
    EXPECT_FALSE(sut.try_lock());
    holder.kill();
    EXPECT_FALSE(sut.locked());
    EXPECT_TRUE(sut.abandoned());
    EXPECT_TRUE(sut.try_lock());
    EXPECT_TRUE(sut.abandoned());
    sut.unlock();
    EXPECT_TRUE(sut.abandoned());
}

TYPED_TEST(AnyLock, PassesOnWhenItsOwnerExitsOrItsThreadEnds) {
    const Watchdog watchdog(60);
    const TypeParam sut;
    Child child([&] { sut.lock(); });
    EXPECT_EQ(child.join(), 0);
    sut.lock();
    EXPECT_TRUE(sut.abandoned());
    sut.repair();
    sut.unlock();
    std::thread([&] { sut.lock(); }).join();
    EXPECT_TRUE(sut.try_lock_for(10s));
    EXPECT_TRUE(sut.abandoned());
    sut.unlock();
}

TYPED_TEST(AnyLock, EndOfTheLastHandlePassesItOn) {
    const Watchdog watchdog(60);
    const FreshName name("lock");
    const TypeParam sut = TypeParam::create(name.name());
    {
        const TypeParam other = TypeParam::open(name.name());
        other.lock();
        EXPECT_FALSE(sut.abandoned());
    }
    EXPECT_TRUE(sut.abandoned());
    EXPECT_TRUE(sut.try_lock());
    sut.unlock();
}

TYPED_TEST(AnyLock, RaiseRefusesUntilRepaired) {
    const Watchdog watchdog(60);
    const TypeParam sut(LockOptions{.on_abandoned = OnAbandoned::raise});
    Holder holder(sut);
    Child waiter([&] { EXPECT_THROW(sut.lock(), OwnerDied); });
    Child other([&] { EXPECT_THROW(static_cast<void>(sut.try_lock_for(1h)), OwnerDied); });
    await(
        [&] { return test::sleeps_in_futex(waiter.pid()) && test::sleeps_in_futex(other.pid()); });
    holder.kill();
    EXPECT_EQ(waiter.join(), 0);
    EXPECT_EQ(other.join(), 0);
    EXPECT_THROW(static_cast<void>(sut.try_lock()), OwnerDied);
    EXPECT_THROW(sut.lock(), OwnerDied);
    EXPECT_TRUE(sut.abandoned());
    EXPECT_FALSE(sut.locked());
    sut.repair();
    sut.lock();
    EXPECT_FALSE(sut.abandoned());
    sut.unlock();
}

TYPED_TEST(AnyLock, RaiseIsRepairedBeforeAnybodyNoticed) {
    const TypeParam sut(LockOptions{.on_abandoned = OnAbandoned::raise});
    Holder holder(sut);
    holder.kill();
    sut.repair();
    EXPECT_TRUE(sut.try_lock());
    sut.unlock();
}

TYPED_TEST(AnyLock, AStoppedOwnerIsNotRobbed) {
    const Watchdog watchdog(60);
    const TypeParam sut;
    Holder holder(sut);
    holder.child().stop();
    EXPECT_FALSE(sut.try_lock_for(300ms));
    EXPECT_TRUE(sut.locked());
    EXPECT_FALSE(sut.abandoned());
    holder.child().resume();
    holder.let_go();
    sut.lock();
    EXPECT_FALSE(sut.abandoned());
    sut.unlock();
    EXPECT_EQ(holder.join(), 0);
}

TYPED_TEST(AnyLock, ADeadWaiterDoesNoHarm) {
    const Watchdog watchdog(60);
    const TypeParam sut;
    sut.lock();
    Sleeper dead(sut);
    Sleeper alive(sut);
    dead.child().kill_and_join();
    sut.unlock();
    EXPECT_EQ(alive.join(), 0);
    EXPECT_FALSE(sut.abandoned());
    sut.lock();
    sut.unlock();
}

TYPED_TEST(AnyLock, OpensWhatWasCreatedAndNothingElse) {
    const FreshName name("lock");
    EXPECT_THROW(TypeParam::open(name.name()), std::system_error);
    const TypeParam made = TypeParam::create(name.name(), {.on_abandoned = OnAbandoned::raise});
    EXPECT_EQ(made.name(), name.name());
    EXPECT_THROW(TypeParam::create(name.name()), std::system_error);
    const TypeParam sut = TypeParam::open_or_create(name.name());
    Holder holder(made);
    EXPECT_FALSE(sut.try_lock());
    holder.kill();
    EXPECT_THROW(sut.lock(), OwnerDied);  // the maker's options count
    using Other = std::conditional_t<std::is_same_v<TypeParam, Lock>, RLock, Lock>;
    EXPECT_THROW(Other::open(name.name()), BadSegment);
    TypeParam::unlink(name.name());
    EXPECT_THROW(TypeParam::unlink(name.name()), std::system_error);
    EXPECT_THROW(TypeParam::create(""), std::invalid_argument);
}

TYPED_TEST(AnyLock, CopiesAreTheSameLock) {
    const TypeParam sut;
    const TypeParam copy = sut;
    sut.lock();
    EXPECT_TRUE(copy.locked());
    copy.unlock();
    EXPECT_FALSE(sut.locked());
    EXPECT_EQ(sut.name(), "");
}

TYPED_TEST(AnyLock, ADamagedOwnerIsReportedNotWaitedFor) {
    const FreshName name("lock");
    const TypeParam sut = TypeParam::create(name.name());
    std::FILE* file = std::fopen(name.path().c_str(), "r+b");
    ASSERT_NE(file, nullptr);
    std::uint64_t body = 0;
    ASSERT_EQ(std::fseek(file, offsetof(shm::SegmentLayout, body_offset), SEEK_SET), 0);
    ASSERT_EQ(std::fread(&body, sizeof body, 1, file), 1U);
    const std::uint32_t nobodys = 0xfff0;
    ASSERT_EQ(std::fseek(file, static_cast<long>(body), SEEK_SET), 0);
    ASSERT_EQ(std::fwrite(&nobodys, sizeof nobodys, 1, file), 1U);
    std::fclose(file);
    EXPECT_THROW(sut.lock(), BadSegment);
    EXPECT_THROW(static_cast<void>(sut.try_lock()), BadSegment);
    EXPECT_THROW(sut.unlock(), Error);
}

TEST(Lock, TakingItAgainThrowsInsteadOfWaitingForEver) {
    const Lock sut;
    sut.lock();
    EXPECT_THROW(sut.lock(), Error);
    EXPECT_THROW(static_cast<void>(sut.try_lock_for(1h)), Error);
    EXPECT_FALSE(sut.try_lock());
    sut.unlock();
    sut.lock();
    sut.unlock();
}

TEST(Lock, TakingItAgainThroughAnotherOpeningThrows) {
    const FreshName name("lock");
    const Lock sut = Lock::create(name.name());
    const Lock other = Lock::open(name.name());
    sut.lock();
    EXPECT_THROW(other.lock(), Error);
    EXPECT_FALSE(other.try_lock());
    other.unlock();
    EXPECT_TRUE(sut.try_lock());
    sut.unlock();
}

TEST(RLock, IsFreeWhenGivenBackAsOften) {
    const Watchdog watchdog(60);
    const RLock sut;
    sut.lock();
    EXPECT_TRUE(sut.try_lock());
    EXPECT_TRUE(sut.try_lock_for(1ms));
    const auto others_try = [&] {
        Child child([&] { _exit(sut.try_lock() ? 5 : 6); });
        return child.join();
    };
    sut.unlock();
    sut.unlock();
    EXPECT_EQ(others_try(), 6);
    sut.unlock();
    EXPECT_FALSE(sut.locked());
    EXPECT_THROW(sut.unlock(), Error);
}

TEST(RLock, ADeadOwnersDepthIsForgotten) {
    const Watchdog watchdog(60);
    const RLock sut;
    Holder holder(sut, 3);
    holder.kill();
    sut.lock();
    EXPECT_TRUE(sut.abandoned());
    sut.unlock();
    EXPECT_FALSE(sut.locked());
    Child child([&] {
        sut.lock();
        sut.unlock();
    });
    EXPECT_EQ(child.join(), 0);
}

TEST(RLock, IsTakenAgainThroughAnotherOpening) {
    const FreshName name("lock");
    const RLock sut = RLock::create(name.name());
    const RLock other = RLock::open(name.name());
    sut.lock();
    other.lock();
    sut.unlock();
    EXPECT_TRUE(sut.locked());
    other.unlock();
    EXPECT_FALSE(sut.locked());
}

TEST(Lock, FiveProcessesPrintInTurnAndNoLineIsTorn) {
    const Watchdog watchdog(60);
    constexpr int kProcesses = 5;
    constexpr int kLines = 200;
    const Lock sut;
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    std::vector<Child> children;
    for (int process = 0; process < kProcesses; ++process) {
        children.emplace_back([&, process] {
            for (int line = 0; line < kLines; ++line) {
                const std::string text =
                    std::string(40, static_cast<char>('a' + process)) + std::to_string(line) + '\n';
                const std::scoped_lock guard(sut);
                // Byte by byte: without the lock every line would be torn.
                for (const char character : text) {
                    if (write(ends[1], &character, 1) != 1) {
                        _exit(8);
                    }
                }
            }
        });
    }
    close(ends[1]);
    std::FILE* output = fdopen(ends[0], "r");
    std::array<int, kProcesses> next{};
    char buffer[256];
    while (std::fgets(buffer, sizeof buffer, output) != nullptr) {
        const std::string got(buffer);
        const int process = got[0] - 'a';
        ASSERT_TRUE(process >= 0 && process < kProcesses) << got;
        const auto index = static_cast<std::size_t>(process);
        ASSERT_EQ(got, std::string(40, got[0]) + std::to_string(next[index]) + '\n');
        ++next[index];
    }
    std::fclose(output);
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
    EXPECT_EQ(std::count(next.begin(), next.end(), kLines), kProcesses);
}

}  // namespace
}  // namespace sluice
