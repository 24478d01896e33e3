#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <numeric>
#include <set>
#include <sluice/msgpack.hpp>
#include <sluice/pool.hpp>
#include <sluice/process.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::OnWorkerDeath;
using sluice::Pool;
using sluice::PoolOptions;
using sluice::testing::Child;
using sluice::testing::in_child;
using sluice::testing::Shared;
using sluice::testing::wait_until_true;

// ---- what workers run

int add(int a, int b) {
    return a + b;
}
int twice(int i) {
    return 2 * i;
}
void nothing() {}
std::string greet(const std::string& name) {
    return "hello " + name;
}
int worker_pid() {
    return static_cast<int>(::getpid());
}
int die_of(int signal) {
    std::signal(signal, SIG_DFL);
    ::kill(::getpid(), signal);
    for (;;) {
        ::pause();
    }
}
int fail_softly(int i) {
    if (i % 10 == 3) {
        throw std::out_of_range("no " + std::to_string(i));
    }
    return i;
}
int die_softly(int i) {
    if (i % 10 == 3) {
        ::kill(::getpid(), SIGKILL);
    }
    return i;
}
std::vector<int> many(int count) {
    std::vector<int> values(static_cast<std::size_t>(count));
    std::iota(values.begin(), values.end(), 0);
    return values;
}
int sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    return ms;
}

/// Words that tests and workers have in common: made before any Pool.
Shared<int, 64>& words() {
    static Shared<int, 64> shared;
    return shared;
}
void reset_words() {
    for (std::size_t index = 0; index < 64; ++index) {
        words()[index] = 0;
    }
}
/// Tells that it has begun, and ends when it is told to.
int wait_for_word(int index) {
    words()[static_cast<std::size_t>(index)] = 1;
    while (words()[static_cast<std::size_t>(index)] != 2) {
        std::this_thread::yield();
    }
    return index;
}
/// Lets it go on. Not before it has come: it would overwrite that, and wait for ever.
void open_gate(int index) {
    wait_until_true([index] { return words()[static_cast<std::size_t>(index)] == 1; });
    words()[static_cast<std::size_t>(index)] = 2;
}
/// Dies so many times, then returns how many.
int die_times(int times) {
    if (words()[10].fetch_add(1) < times) {
        ::kill(::getpid(), SIGKILL);
    }
    return words()[10];
}

bool has_children() {
    siginfo_t info{};
    return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}
bool exists(pid_t pid) {
    return sluice::testing::state_of(pid) != 'X' && sluice::testing::state_of(pid) != 'Z';
}

struct Scale {
    int factor;
    int operator()(int i) const { return factor * i; }
};

class PoolTest : public ::testing::Test {
 protected:
    PoolTest() { reset_words(); }
    ~PoolTest() override { EXPECT_FALSE(has_children()) << "a zombie or a nursery is left"; }
};

// ---- calls

TEST_F(PoolTest, AppliesAFunction) {
    const Pool sut(1);
    EXPECT_EQ(sut.apply(add, 2, 3), 5);
    sut.apply(nothing);
    EXPECT_NE(sut.apply(worker_pid), ::getpid());
}

TEST_F(PoolTest, AppliesCapturelessLambdasAndAggregates) {
    const Pool sut(1);
    EXPECT_EQ(sut.apply([](int i) { return i + 1; }, 4), 5);
    EXPECT_EQ(sut.apply(Scale{3}, 5), 15);
    EXPECT_EQ(sut.map(Scale{4}, std::vector{1, 2}, 1), (std::vector{4, 8}));
}

TEST_F(PoolTest, PacksStringsAndContainers) {
    const Pool sut(1);
    EXPECT_EQ(sut.apply(greet, "you"), "hello you");
    EXPECT_EQ(sut.apply(greet, std::string("me")), "hello me");
    EXPECT_EQ(sut.apply([](std::map<std::string, int> m, int i) { return m.at("a") + i; },
                        std::map<std::string, int>{{"a", 1}}, 2),
              3);
}

TEST_F(PoolTest, CarriesArgumentsAndResultsBiggerThanAPlaceInTheTable) {
    const Pool sut(1);
    for (const int count : {0, 1, 20, 50, 51, 52, 53, 1000, 1'000'000}) {
        const std::vector<int> values = sut.apply(many, count);
        EXPECT_EQ(values, many(count));
        const auto sum = [](const std::vector<int>& v) {
            return std::accumulate(v.begin(), v.end(), 0LL);
        };
        EXPECT_EQ(sut.apply(sum, values), sum(values));
    }
    EXPECT_EQ(sut.apply_async(many, 300'000).get(), many(300'000));
}

TEST_F(PoolTest, MapsInOrderForEveryChunk) {
    const Pool sut(2);
    const std::vector<int> items = many(1000);
    std::vector<int> wanted(items.size());
    std::transform(items.begin(), items.end(), wanted.begin(), twice);
    for (const std::size_t chunk : {0U, 1U, 2U, 7U, 999U, 1000U, 5000U}) {
        EXPECT_EQ(sut.map(twice, items, chunk), wanted);
        EXPECT_EQ(sut.map_async(twice, items, chunk).get(), wanted);
    }
    EXPECT_TRUE(sut.map(twice, std::vector<int>{}).empty());
    EXPECT_TRUE(sut.map_async(twice, std::vector<int>{}).get().empty());
}

TEST_F(PoolTest, MapsStringsBoolsAndNothing) {
    const Pool sut(2);
    const std::vector<std::string> names{"a", "b", std::string(1000, 'c')};
    EXPECT_EQ(sut.map(greet, names)[2], greet(names[2]));
    EXPECT_EQ(sut.map([](int i) { return i % 2 == 0; }, std::vector{1, 2}),
              (std::vector<bool>{false, true}));
    sut.map([](int) { words()[0].fetch_add(1); }, many(100));
    sut.map_async([](int) { words()[0].fetch_add(1); }, many(100)).get();
    EXPECT_EQ(words()[0], 200);
}

TEST_F(PoolTest, StarmapSpreadsTuples) {
    const Pool sut(2);
    const std::vector<std::tuple<int, int>> pairs{{1, 2}, {3, 4}};
    EXPECT_EQ(sut.starmap(add, pairs), (std::vector{3, 7}));
    EXPECT_EQ(sut.starmap_async(add, pairs).get(), (std::vector{3, 7}));
}

TEST_F(PoolTest, ImapKeepsTheOrder) {
    const Pool sut(2);
    for (const std::size_t chunk : {1U, 3U}) {
        std::vector<int> got;
        for (const int value : sut.imap(twice, many(100), chunk)) {
            got.push_back(value);
        }
        EXPECT_EQ(got, sut.map(twice, many(100)));
    }
}

TEST_F(PoolTest, ImapUnorderedGivesEachOnce) {
    const Pool sut(2);
    std::vector<int> got;
    for (const int value : sut.imap_unordered(twice, many(100))) {
        got.push_back(value);
    }
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, sut.map(twice, many(100)));
}

/// An input that counts how far it was read.
class Counted {
 public:
    class iterator {
     public:
        using value_type = int;
        using difference_type = std::ptrdiff_t;
        explicit iterator(int at, int* read) : at_(at), read_(read) {}
        int operator*() const {
            *read_ = std::max(*read_, at_ + 1);
            return at_;
        }
        iterator& operator++() {
            ++at_;
            return *this;
        }
        bool operator==(const iterator& other) const { return at_ == other.at_; }

     private:
        int at_;
        int* read_;
    };
    explicit Counted(int* read) : read_(read) {}
    iterator begin() const { return iterator(0, read_); }
    iterator end() const { return iterator(1'000'000, read_); }

 private:
    int* read_;
};

TEST_F(PoolTest, ImapReadsItsInputLazily) {
    const Pool sut(2);
    int read = 0;
    auto range = sut.imap(twice, Counted(&read));
    auto it = range.begin();
    for (int index = 0; index < 100; ++index, ++it) {
        EXPECT_EQ(*it, 2 * index);
        EXPECT_LE(read, index + 1 + 4 * 2 + 1);
    }
    // The range is dropped with tasks outstanding; the Pool goes on.
}

TEST_F(PoolTest, ImapThrowsWhereTheItemWasAndGoesOn) {
    const Pool sut(2);
    auto range = sut.imap(fail_softly, many(20));
    int index = 0;
    int failed = 0;
    for (auto it = range.begin(); it != range.end(); ++it, ++index) {
        if (index % 10 == 3) {
            EXPECT_THROW(static_cast<void>(*it), sluice::RemoteError);
            ++failed;
        } else {
            EXPECT_EQ(*it, index);
        }
    }
    EXPECT_EQ(index, 20);
    EXPECT_EQ(failed, 2);
}

// ---- results

TEST_F(PoolTest, AsyncResultsTellWhetherTheyAreReady) {
    const Pool sut(1);
    const auto slow = sut.apply_async(wait_for_word, 0);
    wait_until_true([] { return words()[0] == 1; });
    EXPECT_FALSE(slow.ready());
    EXPECT_THROW(static_cast<void>(slow.successful()), sluice::Error);
    EXPECT_FALSE(slow.wait_for(1ms));
    EXPECT_EQ(slow.get_for(1ms), std::nullopt);
    open_gate(0);
    EXPECT_EQ(slow.get(), 0);
    EXPECT_EQ(slow.get(), 0);
    EXPECT_TRUE(slow.ready());
    EXPECT_TRUE(slow.successful());
    EXPECT_TRUE(sut.apply_async(nothing).get_for(100s));
}

TEST_F(PoolTest, CallbacksRunBeforeJoinReturns) {
    std::vector<int> got;
    std::vector<std::string> errors;
    {
        const Pool sut(2);
        for (int index = 0; index < 100; ++index) {
            sut.apply_async(fail_softly, index)
                .then([&got](int value) { got.push_back(value); },
                      [&errors](const std::exception& e) { errors.emplace_back(e.what()); });
        }
        sut.close();
        sut.join();
    }
    EXPECT_EQ(got.size(), 90U);
    EXPECT_EQ(errors.size(), 10U);
}

TEST_F(PoolTest, CallbacksAddedAfterwardsRunToo) {
    std::atomic<int> got{0};
    const Pool sut(1);
    const auto result = sut.apply_async(twice, 4);
    EXPECT_EQ(result.get(), 8);
    result.then([&got](int value) { got += value; }).then([&got](int value) { got += value; });
    sut.close();
    sut.join();
    EXPECT_EQ(got, 16);
}

TEST_F(PoolTest, CallbacksRunInTheOrderInWhichTasksEnd) {
    std::vector<int> got;
    const Pool sut(2);
    const auto note = [&got](int value) { got.push_back(value); };
    sut.apply_async(wait_for_word, 1).then(note);
    sut.apply_async(wait_for_word, 2).then(note);
    wait_until_true([] { return words()[1] == 1 && words()[2] == 1; });
    open_gate(2);
    const auto marker = sut.apply_async(twice, 5).then(note);
    EXPECT_EQ(marker.get(), 10);
    open_gate(1);
    sut.close();
    sut.join();
    EXPECT_EQ(got, (std::vector{2, 10, 1}));
}

TEST_F(PoolTest, ACallbackMayUseThePool) {
    std::atomic<int> got{0};
    const Pool sut(1);
    sut.apply_async(twice, 4).then(
        [&](int value) { got = sut.apply_async(twice, value).get() + sut.apply(twice, 1); });
    wait_until_true([&got] { return got != 0; });
    EXPECT_EQ(got, 18);
}

TEST_F(PoolTest, ExceptionsArriveWithTypeAndMessage) {
    const Pool sut(1);
    try {
        sut.apply(fail_softly, 3);
        FAIL();
    } catch (const sluice::RemoteError& error) {
        EXPECT_EQ(error.type_name(), "std::out_of_range");
        EXPECT_EQ(error.message(), "no 3");
        EXPECT_STREQ(error.what(), "std::out_of_range: no 3");
    }
    EXPECT_THROW(sut.map(fail_softly, many(10)), sluice::RemoteError);
    const auto odd = sut.apply_async([](int i) -> int { throw i; }, 1);
    EXPECT_THROW(static_cast<void>(odd.get()), sluice::RemoteError);
    EXPECT_FALSE(odd.successful());
    try {
        sut.apply([](int n) { throw std::runtime_error(std::string(std::size_t(n), 'x')); }, 5000);
    } catch (const sluice::RemoteError& error) {
        EXPECT_EQ(error.message().size(), 5000U);
    }
    EXPECT_EQ(sut.apply(twice, 1), 2);
}

// ---- the end

TEST_F(PoolTest, ClosedPoolsTakeNoTasksAndFinishWhatTheyHave) {
    const Pool sut(2);
    std::vector<sluice::AsyncResult<int>> results;
    for (int index = 0; index < 1000; ++index) {
        results.push_back(sut.apply_async(twice, index));
    }
    sut.close();
    EXPECT_THROW(sut.apply(twice, 1), sluice::Closed);
    EXPECT_THROW(sut.apply_async(twice, 1), sluice::Closed);
    EXPECT_THROW(sut.map(twice, many(3)), sluice::Closed);
    EXPECT_THROW(sut.imap(twice, many(3)), sluice::Closed);
    sut.join();
    for (int index = 0; index < 1000; ++index) {
        EXPECT_TRUE(results[static_cast<std::size_t>(index)].ready());
        EXPECT_EQ(results[static_cast<std::size_t>(index)].get(), 2 * index);
    }
    EXPECT_FALSE(has_children());
    sut.join();
}

TEST_F(PoolTest, JoinBeforeCloseIsAnError) {
    const Pool sut(1);
    EXPECT_THROW(sut.join(), sluice::Error);
}

TEST_F(PoolTest, TerminateEndsWhatRuns) {
    const Pool sut(1);
    const auto running = sut.apply_async(wait_for_word, 0);
    const auto queued = sut.apply_async(twice, 1);
    std::atomic<int> told{0};
    queued.then([](int) {}, [&told](const std::exception&) { ++told; });
    wait_until_true([] { return words()[0] == 1; });
    const pid_t pid = sut.workers()[0].pid;
    sut.terminate();
    EXPECT_FALSE(exists(pid));
    EXPECT_THROW(static_cast<void>(running.get()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(queued.get()), sluice::Closed);
    EXPECT_EQ(told, 1);
    sut.join();
    EXPECT_THROW(sut.apply(twice, 1), sluice::Closed);
}

TEST_F(PoolTest, TheDestructorTerminates) {
    std::vector<sluice::AsyncResult<int>> results;
    {
        const Pool sut(2);
        const Pool handle = sut;  // NOLINT: a second handle is what is meant
        for (int index = 0; index < 10'000; ++index) {
            results.push_back(handle.apply_async(sleep_ms, 1000));
        }
    }
    EXPECT_FALSE(has_children());
    EXPECT_THROW(static_cast<void>(results.back().get()), sluice::Closed);
}

TEST_F(PoolTest, ResultsAndCallbacksMayBeDropped) {
    const Pool sut(2);
    for (int index = 0; index < 1000; ++index) {
        static_cast<void>(sut.apply_async(twice, index).then([](int) {}));
    }
    sut.close();
    sut.join();
}

// ---- many

TEST_F(PoolTest, HundredsOfThousandsOfTasksMayBeOutstanding) {
    constexpr int kTasks = 200'000;
    const Pool sut(2);
    const auto gate = sut.apply_async(wait_for_word, 0);
    const auto other = sut.apply_async(wait_for_word, 1);
    wait_until_true([] { return words()[0] == 1 && words()[1] == 1; });
    std::vector<sluice::AsyncResult<int>> results;
    for (int index = 0; index < kTasks; ++index) {
        results.push_back(sut.apply_async(twice, index));
    }
    EXPECT_FALSE(results.front().ready());
    open_gate(0);
    open_gate(1);
    for (int index = 0; index < kTasks; ++index) {
        ASSERT_EQ(results[static_cast<std::size_t>(index)].get(), 2 * index);
    }
}

TEST_F(PoolTest, ApplyAndMapWaitTheirTurnBehindAFullTable) {
    const Pool sut(1);
    const auto gate = sut.apply_async(wait_for_word, 0);
    std::vector<sluice::AsyncResult<int>> results;
    for (int index = 0; index < 10'000; ++index) {
        results.push_back(sut.apply_async(twice, index));
    }
    std::thread applying([&sut] { EXPECT_EQ(sut.apply(twice, 21), 42); });
    std::thread mapping([&sut] { EXPECT_EQ(sut.map(twice, many(1000))[999], 1998); });
    open_gate(0);
    applying.join();
    mapping.join();
    EXPECT_EQ(results.back().get(), 2 * 9999);
}

TEST_F(PoolTest, ThreadsShareAPool) {
    const Pool sut(2);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&sut] {
            for (int index = 0; index < 200; ++index) {
                ASSERT_EQ(sut.apply(twice, index), 2 * index);
                ASSERT_EQ(sut.apply_async(twice, index).get(), 2 * index);
            }
            ASSERT_EQ(sut.map(twice, many(300), 1)[299], 598);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

TEST_F(PoolTest, TwoPoolsAtOnceAndPoolsFromThreads) {
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 3; ++thread) {
        threads.emplace_back([] {
            const Pool sut(2);
            const Pool other(1);
            for (int index = 0; index < 50; ++index) {
                ASSERT_EQ(sut.apply(twice, other.apply(twice, index)), 4 * index);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

TEST_F(PoolTest, WorkersHaveNamesOfTheirOwn) {
    constexpr auto name = [] { return sluice::current_process().name(); };
    const Pool sut(1);
    const std::string first = sut.apply(name);
    EXPECT_EQ(first.substr(0, 11), "PoolWorker-");
    EXPECT_EQ(sut.apply([] { return sluice::parent_process()->name(); }),
              sluice::current_process().name());
    EXPECT_NE(Pool(1).apply(name), first);
    EXPECT_THROW(sut.apply(die_of, SIGKILL), sluice::WorkerDied);
    EXPECT_EQ(sut.apply(name), first) << "a successor takes the name over";
}

TEST_F(PoolTest, OutlivesTheThreadThatMadeIt) {
    std::unique_ptr<Pool> sut;
    std::thread([&sut] { sut = std::make_unique<Pool>(1); }).join();
    EXPECT_EQ(sut->apply(twice, 2), 4);
}

TEST_F(PoolTest, AWorkerMayHaveAPool) {
    const Pool sut(1);
    const auto nested = [](int i) {
        const Pool inner(1);
        return inner.apply(twice, i) + inner.map(twice, many(10))[9];
    };
    EXPECT_EQ(sut.apply(nested, 5), 28);
    EXPECT_EQ(sut.apply(nested, 6), 30);
}

TEST_F(PoolTest, ACopyInAChildIsNotItsOwn) {
    const Pool sut(1);
    const auto result = sut.apply_async(twice, 1);
    EXPECT_EQ(result.get(), 2);
    EXPECT_EQ(in_child([sut] {
                  try {
                      sut.apply(twice, 1);
                      return false;
                  } catch (const sluice::NotPermitted&) {
                  }
                  try {
                      sut.terminate();
                      return false;
                  } catch (const sluice::NotPermitted&) {
                  }
                  const Pool mine(1);
                  return mine.apply(twice, 2) == 4;
              }),
              0);
    EXPECT_EQ(sut.apply(twice, 1), 2);
}

TEST_F(PoolTest, WhatATaskPrintsIsOutBeforeItsResult) {
    ::testing::internal::CaptureStdout();
    {
        const Pool sut(1);
        sut.apply([] { std::printf("printed"); });
    }
    EXPECT_EQ(::testing::internal::GetCapturedStdout(), "printed");
}

// ---- deaths

TEST_F(PoolTest, ASignalCostsItsTaskAlone) {
    const Pool sut(2);
    for (const int signal : {SIGKILL, SIGSEGV, SIGABRT, SIGTERM}) {
        std::vector<sluice::AsyncResult<int>> others;
        for (int index = 0; index < 50; ++index) {
            others.push_back(sut.apply_async(twice, index));
        }
        try {
            sut.apply(die_of, signal);
            FAIL();
        } catch (const sluice::WorkerDied& error) {
            EXPECT_EQ(error.signal(), signal);
            EXPECT_EQ(error.exit_code(), 0);
            EXPECT_GT(error.pid(), 0);
            EXPECT_GT(error.task(), 0U);
        }
        const auto dying = sut.apply_async(die_of, signal);
        EXPECT_THROW(static_cast<void>(dying.get()), sluice::WorkerDied);
        for (int index = 0; index < 50; ++index) {
            EXPECT_EQ(others[static_cast<std::size_t>(index)].get(), 2 * index);
        }
    }
}

TEST_F(PoolTest, ExitCostsItsTaskAlone) {
    const Pool sut(1);
    try {
        sut.apply([](int code) { std::exit(code); }, 7);
        FAIL();
    } catch (const sluice::WorkerDied& error) {
        EXPECT_EQ(error.exit_code(), 7);
        EXPECT_EQ(error.signal(), 0);
    }
    EXPECT_THROW(sut.apply([] { ::_exit(0); }), sluice::WorkerDied);
    EXPECT_THROW(sut.apply([] { std::abort(); }), sluice::WorkerDied);
    EXPECT_EQ(sut.apply(twice, 1), 2);
}

TEST_F(PoolTest, AReplacementTakesTheSameCpus) {
    const Pool sut(2);
    const auto before = sut.workers();
    for (int round = 0; round < 5; ++round) {
        EXPECT_THROW(sut.apply(die_of, SIGKILL), sluice::WorkerDied);
    }
    EXPECT_EQ(sut.apply(twice, 1), 2);
    wait_until_true([&sut] {
        const auto now = sut.workers();
        return now[0].pid != 0 && now[1].pid != 0;
    });
    const auto after = sut.workers();
    for (std::size_t index = 0; index < 2; ++index) {
        EXPECT_EQ(after[index].binding, before[index].binding);
    }
    EXPECT_TRUE(after[0].pid != before[0].pid || after[1].pid != before[1].pid);
}

TEST_F(PoolTest, DeathsRunTheTaskAgainWhereAskedTo) {
    const Pool sut({.workers = 2, .on_worker_death = OnWorkerDeath::retry, .retries = 3});
    EXPECT_EQ(sut.apply(die_times, 3), 4);
    reset_words();
    EXPECT_THROW(sut.apply(die_times, 4), sluice::WorkerDied);
    reset_words();
    EXPECT_EQ(sut.apply_async(die_times, 2).get(), 3);
    reset_words();
    EXPECT_EQ(sut.map(die_times, std::vector{2}), (std::vector{3}));
}

TEST_F(PoolTest, DeathsInAMapFailIt) {
    const Pool sut(2);
    EXPECT_THROW(sut.map(die_softly, many(30), 1), sluice::WorkerDied);
    EXPECT_THROW(sut.map_async(die_softly, many(30), 1).get(), sluice::WorkerDied);
    EXPECT_EQ(sut.map(twice, many(30), 1)[29], 58);
}

TEST_F(PoolTest, IdleWorkersThatDieCostNothing) {
    const Pool sut(2);
    for (int round = 0; round < 5; ++round) {
        for (const auto& worker : sut.workers()) {
            if (worker.pid != 0) {
                ::kill(worker.pid, SIGKILL);
            }
        }
        EXPECT_EQ(sut.map(twice, many(20), 1)[19], 38);
    }
}

TEST_F(PoolTest, RandomKillsLeaveEveryTaskOneEnd) {
    const Pool sut(2);
    std::atomic<bool> stop{false};
    std::thread killer([&] {
        while (!stop) {
            for (const auto& worker : sut.workers()) {
                std::this_thread::sleep_for(2ms);
                if (worker.pid != 0) {
                    ::kill(worker.pid, SIGKILL);
                }
            }
        }
    });
    constexpr int kTasks = 20'000;
    int ended = 0;
    int died = 0;
    std::vector<sluice::AsyncResult<int>> results;
    std::atomic<int> callbacks{0};
    for (int index = 0; index < kTasks; ++index) {
        results.push_back(sut.apply_async(twice, index));
        results.back().then([&callbacks](int) { ++callbacks; },
                            [&callbacks](const std::exception&) { ++callbacks; });
    }
    for (int index = 0; index < kTasks; ++index) {
        try {
            EXPECT_EQ(results[static_cast<std::size_t>(index)].get(), 2 * index);
            ++ended;
        } catch (const sluice::WorkerDied&) {
            ++died;
        }
    }
    stop = true;
    killer.join();
    sut.close();
    sut.join();
    EXPECT_EQ(ended + died, kTasks);
    EXPECT_EQ(callbacks, kTasks);
}

TEST_F(PoolTest, AnInitializerRunsInEachWorker) {
    const Pool sut({.workers = 2, .initializer = [] { words()[20].fetch_add(1); }});
    EXPECT_EQ(sut.apply(twice, 1), 2);
    wait_until_true([] { return words()[20] == 2; });
    EXPECT_THROW(sut.apply(die_of, SIGKILL), sluice::WorkerDied);
    wait_until_true([] { return words()[20] == 3; });
}

TEST_F(PoolTest, AWorkerThatDiesAtEachStartBreaksThePool) {
    for (const int how : {0, 1, 2, 3}) {
        const auto start = [how] {
            if (how == 0) {
                ::kill(::getpid(), SIGKILL);
            } else if (how == 1) {
                std::abort();
            } else if (how == 2) {
                std::exit(3);
            }
            throw std::runtime_error("no data base");
        };
        try {  // the constructor may see it already
            const Pool sut({.workers = 2, .initializer = start});
            EXPECT_THROW(sut.apply_async(twice, 1).get(), sluice::Error);
            EXPECT_THROW(sut.map(twice, many(3)), sluice::Error);
            sut.apply(twice, 1);
            FAIL();
        } catch (const sluice::Error& error) {
            EXPECT_NE(std::string(error.what()).find("cannot start"), std::string::npos)
                << error.what();
            if (how == 3) {
                EXPECT_NE(std::string(error.what()).find("no data base"), std::string::npos);
            }
        }
    }
}

TEST_F(PoolTest, AWorkerThatDiesAtOneStartIsReplaced) {
    const Pool sut({.workers = 1, .initializer = [] {
                        if (words()[21].fetch_add(1) < 2) {
                            ::kill(::getpid(), SIGKILL);
                        }
                    }});
    EXPECT_EQ(sut.apply(twice, 1), 2);
    EXPECT_EQ(words()[21], 3);
}

TEST_F(PoolTest, TheNurserysDeathBreaksThePool) {
    const Pool sut(2);
    const auto running = sut.apply_async(wait_for_word, 0);
    wait_until_true([] { return words()[0] == 1; });
    const auto workers = sut.workers();
    const auto parent = [] { return static_cast<int>(::getppid()); };
    ::kill(sut.apply(parent), SIGKILL);
    EXPECT_THROW(static_cast<void>(running.get()), sluice::Error);
    EXPECT_THROW(sut.apply(twice, 1), sluice::Error);
    for (const auto& worker : workers) {
        wait_until_true([&worker] { return !exists(worker.pid); });
    }
    sut.close();
    sut.join();
}

TEST_F(PoolTest, TheOwnersDeathLeavesNothingBehind) {
    // Orphans come to this process, so that it can see that they end.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int round = 0; round < 20; ++round) {
        reset_words();
        Child owner([] {
            const Pool pool(2);
            words()[30] = pool.workers()[0].pid;
            words()[31] = pool.workers()[1].pid;
            const auto one = pool.apply_async(wait_for_word, 0);
            const auto two = pool.apply_async(wait_for_word, 1);
            words()[32] = 1;
            return one.get() == two.get();
        });
        if (round < 10) {
            wait_until_true([] { return words()[0] == 1 && words()[1] == 1; });
        } else {  // in the middle of making it
            std::this_thread::sleep_for(std::chrono::microseconds(300 * (round - 10)));
        }
        owner.kill_and_wait();
        // Everybody ends: the nursery and the workers are ours to reap now.
        while (::waitpid(-1, nullptr, 0) > 0) {
        }
        EXPECT_EQ(errno, ECHILD);
    }
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

// ---- options

TEST_F(PoolTest, CancelsWhatHasNotStarted) {
    const Pool sut(1);
    const auto running = sut.apply_async(wait_for_word, 0);
    wait_until_true([] { return words()[0] == 1; });
    const auto queued = sut.apply_async(twice, 1);
    std::vector<sluice::AsyncResult<int>> more;
    for (int index = 0; index < 10'000; ++index) {
        more.push_back(sut.apply_async(twice, index));
    }
    EXPECT_TRUE(queued.cancel());
    EXPECT_TRUE(more.back().cancel());  // still in the owner's memory
    EXPECT_FALSE(more.back().cancel());
    EXPECT_FALSE(running.cancel());
    open_gate(0);
    EXPECT_EQ(running.get(), 0);
    EXPECT_THROW(static_cast<void>(queued.get()), sluice::Error);
    EXPECT_THROW(static_cast<void>(more.back().get()), sluice::Error);
    EXPECT_EQ(more[9'998].get(), 2 * 9'998);
    EXPECT_FALSE(queued.cancel());
    EXPECT_FALSE(running.cancel());
}

TEST_F(PoolTest, OverdueTasksAreKilled) {
    const Pool sut({.workers = 1, .on_worker_death = OnWorkerDeath::retry, .task_timeout = 50ms});
    const auto slow = sut.apply_async(wait_for_word, 0);
    const auto quick = sut.apply_async(twice, 1);
    try {
        static_cast<void>(slow.get());
        FAIL();
    } catch (const sluice::WorkerDied& error) {
        EXPECT_EQ(error.signal(), SIGKILL);
        EXPECT_NE(std::string(error.what()).find("task_timeout (50 ms)"), std::string::npos);
    }
    EXPECT_EQ(quick.get(), 2);
    EXPECT_EQ(sut.apply(sleep_ms, 1), 1);
}

TEST_F(PoolTest, WorkersRetireAfterTheirTasks) {
    const Pool sut({.workers = 1, .max_tasks_per_child = 3});
    std::map<int, int> tasks_of;
    for (int index = 0; index < 12; ++index) {
        ++tasks_of[sut.apply(worker_pid)];
    }
    EXPECT_EQ(tasks_of.size(), 4U);
    for (const auto& [pid, tasks] : tasks_of) {
        EXPECT_EQ(tasks, 3);
    }
    EXPECT_EQ(sut.workers()[0].tasks_done, 12U);
}

TEST_F(PoolTest, WorkersAreWhereThePlanPutsThem) {
    const auto cpus = sluice::Topology::system().pus();
    const auto cpu = cpus.back().cpu;
    const Pool sut(
        {.workers = 2, .placement = {.policy = sluice::Policy::list, .cpus = std::to_string(cpu)}});
    for (const auto& worker : sut.workers()) {
        EXPECT_EQ(worker.binding.cpus, std::vector<unsigned>{cpu});
        EXPECT_NE(worker.pid, 0);
    }
    EXPECT_EQ(sut.apply([] { return ::sched_getcpu(); }), static_cast<int>(cpu));
    EXPECT_THROW(
        Pool({.workers = 1, .placement = {.policy = sluice::Policy::list, .cpus = "100000"}}),
        std::invalid_argument);
    EXPECT_THROW(Pool(100'000), std::invalid_argument);
}

TEST_F(PoolTest, EveryWayOfWaitingWorks) {
    for (const auto wait : {sluice::Wait::spin_then_park, sluice::Wait::spin, sluice::Wait::park}) {
        const Pool sut({.workers = 1, .wait = wait});
        for (int index = 0; index < 20; ++index) {
            EXPECT_EQ(sut.apply(twice, index), 2 * index);
            EXPECT_EQ(sut.apply_async(twice, index).get(), 2 * index);
        }
        EXPECT_EQ(sut.map(twice, many(100), 1)[99], 198);
        int sum = 0;
        for (const int value : sut.imap(twice, many(20))) {
            sum += value;
        }
        EXPECT_EQ(sum, 380);
    }
}

// On every CPU a real-time worker spins: owner and nursery share them.
TEST_F(PoolTest, SpinningWorkersOfARealTimePolicyStarveNobody) {
    constexpr int kNotAllowed = 77;
    const int code = in_child([] {
        const sched_param lowest{.sched_priority = ::sched_get_priority_min(SCHED_FIFO)};
        if (::sched_setscheduler(0, SCHED_FIFO, &lowest) != 0) {
            std::_Exit(kNotAllowed);
        }
        const Pool sut({.wait = sluice::Wait::spin});
        bool good = sut.map(twice, std::vector{1, 2, 3}, 1) == std::vector{2, 4, 6};
        try {
            sut.apply(die_of, SIGKILL);
            good = false;
        } catch (const sluice::WorkerDied&) {
        }
        good &= sut.apply(add, 1, 2) == 3;
        sut.close();
        sut.join();
        return good;
    });
    if (code == kNotAllowed) {
        GTEST_SKIP() << "no permission for a real-time policy";
    }
    EXPECT_EQ(code, 0);
}

TEST_F(PoolTest, IdleWorkersSleep) {
    const Pool sut(2);
    EXPECT_EQ(sut.map(twice, many(10), 1)[9], 18);
    for (const auto& worker : sut.workers()) {
        sluice::testing::wait_until_asleep(worker.pid);
    }
    EXPECT_EQ(sut.apply(twice, 1), 2);
}

}  // namespace
