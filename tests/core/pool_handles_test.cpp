// Handles as arguments of a Pool's tasks, and as their results.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <optional>
#include <sluice/msgpack.hpp>
#include <sluice/pool.hpp>
#include <sluice/sluice.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::Pool;
using sluice::Queue;
using Name = sluice::testing::UniqueName;
using sluice::detail::travels_to_workers;

static_assert(travels_to_workers<Queue<int>>() && travels_to_workers<sluice::Event>());
static_assert(travels_to_workers<std::vector<std::pair<std::string, sluice::Lock>>>());
static_assert(travels_to_workers<std::optional<std::array<sluice::Guarded<int>, 2>>>());
// An end of a pipe has one owner.
static_assert(!travels_to_workers<sluice::Connection<int>>());
static_assert(!travels_to_workers<std::vector<sluice::ByteConnection>>());
static_assert(!travels_to_workers<int*>() && !travels_to_workers<std::tuple<Queue<int>, int*>>());

int put_one(const Queue<int>& queue, int value) {
    queue.put(value);
    return value;
}
int die(int signal) {
    ::kill(::getpid(), signal);
    return 0;
}
std::size_t open_descriptors() {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

/// What a task does with one of each.
int use_all(const std::tuple<sluice::Lock, sluice::RLock, sluice::RWLock>& locks,
            const sluice::Semaphore& semaphore, const sluice::BoundedSemaphore& bounded,
            const sluice::Event& event, const sluice::Barrier& barrier,
            const sluice::Condition& condition, const sluice::Guarded<int>& guarded) {
    const auto& [lock, rlock, rw_lock] = locks;
    lock.lock();
    rlock.lock();
    rw_lock.lock();
    guarded.update([](int& value) { ++value; });
    rw_lock.unlock();
    rlock.unlock();
    condition.notify_all();
    lock.unlock();
    semaphore.release();
    bounded.acquire();
    bounded.release();
    barrier.wait();  // for the owner
    event.set();
    return guarded.read();
}

struct All {
    explicit All(const std::string& stem) {
        if (!stem.empty()) {
            locks = {sluice::Lock::create(stem + "1"), sluice::RLock::create(stem + "2"),
                     sluice::RWLock::create(stem + "3")};
            semaphore = sluice::Semaphore::create(stem + "4", 1);
            bounded = sluice::BoundedSemaphore::create(stem + "5", 1);
            event = sluice::Event::create(stem + "6");
            barrier = sluice::Barrier::create(stem + "7", 2);
            condition = sluice::Condition::create(stem + "8");
            guarded = sluice::Guarded<int>::create(stem + "9", 5);
        }
    }
    ~All() {
        for (const std::string_view name :
             {std::get<0>(locks).name(), std::get<1>(locks).name(), std::get<2>(locks).name(),
              semaphore.name(), bounded.name(), event.name(), barrier.name(), condition.name(),
              guarded.name()}) {
            if (!name.empty()) {
                ::unlink(("/dev/shm/sluice." + std::string(name)).c_str());
            }
        }
    }
    All(const All&) = delete;
    All& operator=(const All&) = delete;

    void expect_used_by(const Pool& pool) const {
        const auto result = pool.apply_async(use_all, locks, semaphore, bounded, event, barrier,
                                             condition, guarded);
        barrier.wait();
        EXPECT_EQ(result.get(), 6);
        EXPECT_TRUE(event.is_set());
        EXPECT_EQ(semaphore.value(), 2U);
        EXPECT_EQ(bounded.value(), 1U);
        EXPECT_EQ(guarded.read(), 6);
        EXPECT_TRUE(std::get<0>(locks).try_lock());
        std::get<0>(locks).unlock();
        barrier.reset();
    }

    std::tuple<sluice::Lock, sluice::RLock, sluice::RWLock> locks{};
    sluice::Semaphore semaphore{1};
    sluice::BoundedSemaphore bounded{1};
    sluice::Event event{};
    sluice::Barrier barrier{2};
    sluice::Condition condition{};
    sluice::Guarded<int> guarded{5};
};

TEST(PoolHandles, WhatWasMadeBeforeThePoolNeedsNoName) {
    const All all("");
    const Queue<int> queue(4);
    const Pool sut(1);
    EXPECT_EQ(sut.apply(put_one, queue, 7), 7);
    EXPECT_EQ(queue.get(), 7);
    all.expect_used_by(sut);
}

TEST(PoolHandles, WhatWasMadeLaterTravelsByItsName) {
    const Pool sut(1);
    const Name name("later");
    const auto queue = Queue<std::string>::create(name.text());
    EXPECT_EQ(sut.apply(
                  [](const Queue<std::string>& there) {
                      there.put("hello");
                      return std::string(there.name());
                  },
                  queue),
              queue.name());
    EXPECT_EQ(queue.get(), "hello");
    const All all(Name("all").text());
    all.expect_used_by(sut);
}

TEST(PoolHandles, WhatWasMadeLaterWithoutANameIsRefused) {
    const Pool sut(1);
    const Queue<int> queue(4);
    const auto refused = [](const auto& call) {
        try {
            call();
            return std::string("not refused");
        } catch (const sluice::NotPermitted& error) {
            return std::string(error.what());
        }
    };
    for (const std::string& text :
         {refused([&] { sut.apply(put_one, queue, 1); }),
          refused([&] { static_cast<void>(sut.apply_async(put_one, queue, 1)); }), refused([&] {
              sut.map([](const Queue<int>& one) { return one.size(); }, std::vector{queue});
          }),
          refused([&] {
              static_cast<void>(
                  sut.imap([](const Queue<int>& one) { return one.size(); }, std::vector{queue}));
          })}) {
        EXPECT_NE(text.find("Queue"), std::string::npos) << text;
        EXPECT_NE(text.find("make it before the Pool, or give it a name"), std::string::npos)
            << text;
    }
    EXPECT_EQ(sut.apply([] { return 3; }), 3) << "the Pool goes on";
    sut.close();
    sut.join();
    EXPECT_TRUE(queue.empty());
}

TEST(PoolHandles, ANameThatLeadsToAnotherObjectByThenIsAnError) {
    const Pool sut(1);
    const Name name("reused");
    const auto first = Queue<int>::create(name.text());
    Queue<int>::unlink(name.text());
    const auto second = Queue<int>::create(name.text());
    try {
        sut.apply(put_one, first, 1);
        ADD_FAILURE() << "it was sent to another queue";
    } catch (const sluice::RemoteError& error) {
        EXPECT_EQ(error.type_name(), "sluice::BadSegment");
        EXPECT_NE(error.message().find("leads to another"), std::string::npos) << error.message();
    }
    EXPECT_TRUE(second.empty());
    EXPECT_EQ(sut.apply(put_one, second, 2), 2);
    EXPECT_EQ(second.get(), 2);
    Queue<int>::unlink(name.text());
    EXPECT_EQ(sut.apply(put_one, second, 3), 3) << "the worker has kept it";
    EXPECT_THROW(sut.apply(put_one, first, 1), sluice::RemoteError) << "gone";
}

TEST(PoolHandles, ANameIsNotNeededByWhatWasThereBefore) {
    const Name name("unlinked");
    const auto queue = Queue<int>::create(name.text());
    Queue<int>::unlink(name.text());
    const Pool sut(1);
    EXPECT_EQ(sut.apply(put_one, queue, 2), 2);
    EXPECT_EQ(queue.get(), 2);
}

TEST(PoolHandles, AWorkerOpensAnObjectOnceAndKeepsTheLastOnes) {
    const Pool sut(1);
    const auto count = [](const sluice::Event& event) {
        return event.is_set() ? std::size_t{0} : open_descriptors();
    };
    const Name name("once");
    const auto event = sluice::Event::create(name.text());
    const std::size_t first = sut.apply(count, event);
    for (int round = 0; round < 20; ++round) {
        EXPECT_EQ(sut.apply(count, event), first);
    }
    std::size_t before = 0;
    std::size_t last = 0;
    for (int index = 0; index < 200; ++index) {
        const Name other("other" + std::to_string(index));
        before = last;
        last = sut.apply(count, sluice::Event::create(other.text()));
    }
    EXPECT_EQ(last, before) << "those of old tasks are closed";
    EXPECT_EQ(sut.apply(count, event), last) << "opened anew";
}

TEST(PoolHandles, ASuccessorOpensThemAnew) {
    const Queue<int> before(4);
    const Pool sut(1);
    const Name name("successor");
    const auto later = Queue<int>::create(name.text());
    for (int round = 0; round < 3; ++round) {
        EXPECT_EQ(sut.apply(put_one, before, round), round);
        EXPECT_EQ(sut.apply(put_one, later, round), round);
        EXPECT_EQ(before.get(), round);
        EXPECT_EQ(later.get(), round);
        EXPECT_THROW(sut.apply(die, SIGKILL), sluice::WorkerDied);
    }
}

TEST(PoolHandles, ALockThatDiesWithItsWorkerIsAbandoned) {
    const sluice::Lock lock;
    const Pool sut(1);
    EXPECT_THROW(sut.apply(
                     [](const sluice::Lock& there) {
                         there.lock();
                         return die(SIGKILL);
                     },
                     lock),
                 sluice::WorkerDied);
    lock.lock();
    EXPECT_TRUE(lock.abandoned());
    lock.repair();
    lock.unlock();
}

TEST(PoolHandles, TheyTravelInContainersAndInMaps) {
    const std::vector<Queue<int>> queues{Queue<int>(4), Queue<int>(4)};
    const Pool sut(2);
    const std::vector<std::tuple<Queue<int>, int>> work{{queues[0], 1}, {queues[1], 2}};
    EXPECT_EQ(sut.starmap(put_one, work, 1), (std::vector{1, 2}));
    EXPECT_EQ(sut.starmap_async(put_one, work, 2).get(), (std::vector{1, 2}));
    for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(queues[0].get(), 1);
        EXPECT_EQ(queues[1].get(), 2);
    }
    const auto sum = [](const std::vector<Queue<int>>& all, const std::optional<Queue<int>>& last) {
        int value = last ? last->get() : 0;
        for (const Queue<int>& one : all) {
            value += one.get();
        }
        return value;
    };
    queues[0].put(3);
    queues[1].put(5);
    queues[1].put(4);
    EXPECT_EQ(sut.apply(sum, queues, std::optional(queues[1])), 12);
    int seen = 0;
    for (const int value :
         sut.imap([](const Queue<int>& one) { return put_one(one, 5); }, queues)) {
        seen += value;
    }
    EXPECT_EQ(seen, 10);
}

TEST(PoolHandles, ANamedOneMayBeAResult) {
    const Pool sut(1);
    const Name name("result");
    const auto make = [](const std::string& there) {
        const auto queue = Queue<int>::create(there);
        queue.put(8);
        return queue;
    };
    const Queue<int> queue = sut.apply(make, name.text());
    EXPECT_EQ(queue.get(), 8);
    const auto same = [](const Queue<int>& there) { return there; };
    const Queue<int> again = sut.apply_async(same, queue).get();
    again.put(9);
    EXPECT_EQ(queue.get(), 9);
}

TEST(PoolHandles, OneWithoutANameCannotBeAResult) {
    const Pool sut(1);
    try {
        sut.apply([] { return Queue<int>(4); });
        ADD_FAILURE() << "it came back";
    } catch (const sluice::RemoteError& error) {
        EXPECT_EQ(error.type_name(), "sluice::NotPermitted");
    }
}

TEST(PoolHandles, AWorkersOwnPoolPassesThemOn) {
    const Queue<int> before(4);
    const Pool sut(1);
    const Name name("nested");
    const auto later = Queue<int>::create(name.text());
    const auto nested = [](const Queue<int>& one, const Queue<int>& other) {
        const Queue<int> mine(4);
        const Pool inner(1);
        return inner.apply(put_one, one, 1) + inner.apply(put_one, other, 2) +
               inner.apply(put_one, mine, 4) + mine.get();
    };
    EXPECT_EQ(sut.apply(nested, before, later), 11);
    EXPECT_EQ(before.get(), 1);
    EXPECT_EQ(later.get(), 2);
}

}  // namespace
