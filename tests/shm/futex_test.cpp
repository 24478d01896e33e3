#include "sluice/shm/futex.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <thread>
#include <vector>

#include "support/processes.hpp"

namespace sluice::shm {
namespace {

using namespace std::chrono_literals;
using test::await;
using test::Child;
using test::Shared;
using test::Watchdog;

struct Words {
    FutexWord word{};
    FutexWord other{};
    std::atomic<std::uint32_t> woken{};
};

// Children that sleep on `word` and count themselves when they are woken.
std::vector<Child> sleepers(const Shared<Words>& words, unsigned count) {
    std::vector<Child> children;
    for (unsigned index = 0; index < count; ++index) {
        children.emplace_back([&] {
            while (futex_wait(words->word, 0, Deadline::never()) != FutexResult::woken) {
            }
            words->woken.fetch_add(1, std::memory_order_seq_cst);
        });
    }
    for (const Child& child : children) {
        await([&] { return test::sleeps_in_futex(child.pid()); });
    }
    return children;
}

TEST(Futex, WaitReturnsAtOnceWhenTheValueDiffers) {
    const FutexWord sut{7};
    EXPECT_EQ(futex_wait(sut, 8, Deadline::never()), FutexResult::value_changed);
}

TEST(Futex, WakeReachesAnotherProcess) {
    const Watchdog watchdog(60);
    const Shared<Words> words;
    auto children = sleepers(words, 1);
    EXPECT_EQ(futex_wake(words->word, 1), 1U);
    EXPECT_EQ(children[0].join(), 0);
}

TEST(Futex, WakeWakesNoMoreThanAskedAndSaysHowMany) {
    const Watchdog watchdog(60);
    const Shared<Words> words;
    auto children = sleepers(words, 3);
    EXPECT_EQ(futex_wake(words->word, 2), 2U);
    await([&] { return words->woken.load(std::memory_order_seq_cst) == 2; });
    EXPECT_EQ(futex_wake(words->word, 100), 1U);
    EXPECT_EQ(futex_wake(words->word, 100), 0U);
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
}

TEST(Futex, DeadlineIsAbsoluteAndNotEarly) {
    const FutexWord sut{0};
    const Deadline deadline = Deadline::after(20ms);
    EXPECT_EQ(futex_wait(sut, 0, deadline), FutexResult::timed_out);
    EXPECT_GE(monotonic_now_ns(), deadline.at_ns());
    // Already past: at once.
    EXPECT_EQ(futex_wait(sut, 0, deadline), FutexResult::timed_out);
    EXPECT_EQ(futex_wait(sut, 0, Deadline::passed()), FutexResult::timed_out);
}

std::atomic<unsigned> alarms{0};

// A timer whose handler is installed without SA_RESTART: system calls end with EINTR.
class Interruptions {
 public:
    Interruptions() {
        struct sigaction action {};
        action.sa_handler = [](int) { alarms.fetch_add(1, std::memory_order_relaxed); };
        sigaction(SIGUSR1, &action, &former_);
        sigevent event{};
        event.sigev_notify = SIGEV_SIGNAL;
        event.sigev_signo = SIGUSR1;
        timer_create(CLOCK_MONOTONIC, &event, &timer_);
        const itimerspec every{{0, 500'000}, {0, 500'000}};
        timer_settime(timer_, 0, &every, nullptr);
    }
    Interruptions(const Interruptions&) = delete;
    Interruptions& operator=(const Interruptions&) = delete;
    ~Interruptions() {
        timer_delete(timer_);
        sigaction(SIGUSR1, &former_, nullptr);
    }

 private:
    struct sigaction former_ {};
    timer_t timer_{};
};

TEST(Futex, SignalsNeitherEndNorProlongAWait) {
    const Watchdog watchdog(60);
    const FutexWord sut{0};
    alarms.store(0, std::memory_order_relaxed);
    const Interruptions interruptions;
    const Deadline deadline = Deadline::after(50ms);
    EXPECT_EQ(futex_wait(sut, 0, deadline), FutexResult::timed_out);
    EXPECT_GE(monotonic_now_ns(), deadline.at_ns());
    EXPECT_GT(alarms.load(std::memory_order_relaxed), 0U);
}

TEST(Futex, SignalsNeitherEndNorProlongAWaitForAny) {
    const Watchdog watchdog(60);
    const FutexWord first{0};
    const FutexWord second{0};
    const Interruptions interruptions;
    const Deadline deadline = Deadline::after(50ms);
    const FutexWatch both[] = {{&first, 0}, {&second, 0}};
    EXPECT_EQ(futex_wait_any(both, deadline), FutexResult::timed_out);
    EXPECT_GE(monotonic_now_ns(), deadline.at_ns());
}

TEST(Futex, WakeOneTellsNoneLastAndOthers) {
    const Watchdog watchdog(60);
    const Shared<Words> words;
    EXPECT_EQ(futex_wake_one(words->word, 0), WakeOne::none);
    EXPECT_EQ(futex_wake_one(words->word, 1), WakeOne::value_changed);
    auto children = sleepers(words, 3);
    EXPECT_EQ(futex_wake_one(words->word, 1), WakeOne::value_changed);
    EXPECT_EQ(futex_wake_one(words->word, 0), WakeOne::others_sleep);
    EXPECT_EQ(futex_wake_one(words->word, 0), WakeOne::others_sleep);
    EXPECT_EQ(futex_wake_one(words->word, 0), WakeOne::last);
    EXPECT_EQ(futex_wake_one(words->word, 0), WakeOne::none);
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
    EXPECT_EQ(words->woken.load(std::memory_order_seq_cst), 3U);
}

TEST(Futex, WakeOneCountsSleepersOfWaitForAny) {
    const Watchdog watchdog(60);
    const Shared<Words> words;
    std::vector<Child> children;
    for (int index = 0; index < 2; ++index) {
        children.emplace_back([&] {
            const FutexWatch both[] = {{&words->word, 0}, {&words->other, 0}};
            EXPECT_EQ(futex_wait_any(both, Deadline::never()), FutexResult::woken);
        });
        await([&] { return test::sleeps_in_futex(children.back().pid()); });
    }
    EXPECT_EQ(futex_wake_one(words->word, 0), WakeOne::others_sleep);
    EXPECT_EQ(futex_wake_one(words->word, 0), WakeOne::last);
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
}

// The kernel rings a bell for one sleeper only: whoever he is, the others hear of it.
TEST(Futex, WhoIsWokenByABellPassesItOn) {
    const Watchdog watchdog(60);
    if (!futex_waitv_available()) {
        GTEST_SKIP() << "no futex_waitv: bells are not slept on";
    }
    const Shared<Words> words;
    std::vector<Child> children;
    for (int index = 0; index < 3; ++index) {
        children.emplace_back([&] {
            const FutexWatch both[] = {{&words->word, 0}, {&words->other, 0}};
            EXPECT_EQ(futex_wait_any(both, Deadline::never()), FutexResult::woken);
        });
        await([&] { return test::sleeps_in_futex(children.back().pid()); });
    }
    EXPECT_EQ(futex_wake(words->other, 1), 1U);
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
}

TEST(Futex, SleepersThatWereKilledAreNotCounted) {
    const Watchdog watchdog(60);
    const Shared<Words> words;
    auto children = sleepers(words, 2);
    children[0].kill_and_join();
    EXPECT_EQ(futex_wake_one(words->word, 0), WakeOne::last);
    EXPECT_EQ(children[1].join(), 0);
}

TEST(Futex, AddAndWakeAddsAndWakes) {
    const Watchdog watchdog(60);
    const Shared<Words> words;
    auto children = sleepers(words, 2);
    EXPECT_EQ(futex_add_and_wake(words->other, 5, words->word, 1), 1U);
    EXPECT_EQ(words->other.load(std::memory_order_seq_cst), 5U);
    EXPECT_EQ(futex_add_and_wake(words->other, 2047, words->word, 7), 1U);
    EXPECT_EQ(words->other.load(std::memory_order_seq_cst), 2052U);
    EXPECT_EQ(futex_add_and_wake(words->other, 0, words->word, 7), 0U);
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
}

TEST(Futex, AddAndWakeWakesNobodyOnItsTarget) {
    const Watchdog watchdog(60);
    const Shared<Words> words;
    Child sleeper([&] {
        EXPECT_EQ(futex_wait(words->other, 0, Deadline::after(200ms)), FutexResult::timed_out);
    });
    await([&] { return test::sleeps_in_futex(sleeper.pid()); });
    EXPECT_EQ(futex_add_and_wake(words->other, 1, words->word, 7), 0U);
    EXPECT_EQ(sleeper.join(), 0);
}

TEST(Futex, WaitForAnyIsWokenByEither) {
    const Watchdog watchdog(60);
    if (!futex_waitv_available()) {
        GTEST_SKIP() << "no futex_waitv here";
    }
    for (const bool first : {true, false}) {
        const Shared<Words> words;
        Child sleeper([&] {
            const FutexWatch both[] = {{&words->word, 0}, {&words->other, 0}};
            EXPECT_EQ(futex_wait_any(both, Deadline::never()), FutexResult::woken);
        });
        await([&] { return test::sleeps_in_futex(sleeper.pid()); });
        EXPECT_EQ(futex_wake(first ? words->word : words->other, 1), 1U);
        EXPECT_EQ(sleeper.join(), 0);
    }
}

TEST(Futex, WaitForAnySeesAValueThatDiffersAlready) {
    const FutexWord first{0};
    const FutexWord second{1};
    const FutexWatch both[] = {{&first, 0}, {&second, 0}};
    EXPECT_EQ(futex_wait_any(both, Deadline::never()), FutexResult::value_changed);
}

TEST(Futex, MemoryThatIsNotMappedIsGone) {
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    const auto& sut = *static_cast<const FutexWord*>(memory);
    munmap(memory, 4096);
    EXPECT_EQ(futex_wait(sut, 0, Deadline::after(1s)), FutexResult::gone);
    const FutexWord mapped{0};
    const FutexWatch both[] = {{&mapped, 0}, {&sut, 0}};
    if (futex_waitv_available()) {
        EXPECT_EQ(futex_wait_any(both, Deadline::after(1s)), FutexResult::gone);
    }
}

TEST(Futex, WaitForAnyRefusesNoneAndTooMany) {
    EXPECT_EQ(futex_wait_any({}, Deadline::never()), FutexResult::gone);
    const FutexWord word{0};
    const std::vector<FutexWatch> many(129, FutexWatch{&word, 0});
    EXPECT_EQ(futex_wait_any(many, Deadline::never()), FutexResult::gone);
}

}  // namespace
}  // namespace sluice::shm
