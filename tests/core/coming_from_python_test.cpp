// The right-hand cells of the tables in core/docs/coming-from-python.md, as a reader would take
// them over: each compiles, and does what its line says.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "sluice/msgpack.hpp"
#include "sluice/sluice.hpp"
#include "support/processes.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;

void f(int a, const std::string& b) {
    _exit(a + static_cast<int>(b.size()));
}

TEST(ComingFromPython, Process) {
    const auto a = 40;
    const std::string b = "bb";
    Process p({.name = "n", .daemon = true}, f, a, b);
    EXPECT_EQ(p.exitcode(), std::nullopt);
    p.start();
    EXPECT_TRUE(p.join_for(60s));
    p.join();
    EXPECT_FALSE(p.is_alive());
    EXPECT_GT(p.pid(), 0);
    EXPECT_EQ(p.name(), "n");
    EXPECT_TRUE(p.daemon());
    EXPECT_EQ(p.exitcode(), 42);

    Process sleeper([] { pause(); });
    sleeper.start();
    EXPECT_GE(sleeper.sentinel(), 0);
    EXPECT_EQ(active_children().size(), 1U);
    sleeper.kill();
    sleeper.join();
    EXPECT_EQ(sleeper.exitcode(), -SIGKILL);
    Process ended([] { pause(); });
    ended.start();
    ended.terminate();
    ended.join();
    EXPECT_EQ(ended.exitcode(), -SIGTERM);

    EXPECT_EQ(current_process().name(), "MainProcess");
    EXPECT_FALSE(parent_process());
    EXPECT_GE(cpu_count(), 1U);
}

TEST(ComingFromPython, QueueCells) {
    Queue<int> q(2);
    q.put(1);
    EXPECT_TRUE(q.try_put(2));
    EXPECT_TRUE(q.full());
    EXPECT_FALSE(q.try_put(3));
    EXPECT_FALSE(q.try_put_for(3, 1ms));
    EXPECT_EQ(q.size(), 2U);
    EXPECT_EQ(q.get(), 1);
    EXPECT_EQ(q.try_get_for(2s), 2);
    EXPECT_EQ(q.try_get(), std::nullopt);
    EXPECT_TRUE(q.empty());
    q.task_done();
    q.task_done();
    q.join();
    EXPECT_EQ(Queue<int>().capacity(), 1024U);

    q.put(5);
    {
        auto work = q.lease();
        EXPECT_EQ(*work, 5);
        work.commit();
    }
    {
        auto slot = q.claim();
        *slot = 6;
        slot.publish();
    }
    std::array<int, 2> several{};
    EXPECT_EQ(q.get_many(several), 1U);
    EXPECT_EQ(several[0], 6);
    q.put(7);
    q.close();
    EXPECT_THROW(q.put(8), Closed);
    EXPECT_EQ(q.get(), 7);
    EXPECT_THROW(q.get(), Closed);
}

TEST(ComingFromPython, PipeCells) {
    auto [first, second] = Pipe<std::string>(PipeOptions{.duplex = false});
    EXPECT_FALSE(first.poll());
    second.send("hello");
    EXPECT_TRUE(first.poll_for(2s));
    EXPECT_EQ(first.recv(), "hello");
    second.send("last");
    second.close();
    EXPECT_EQ(first.recv(), "last");
    EXPECT_THROW(first.recv(), Closed);

    auto [one, other] = BytePipe();
    const std::array bytes{std::byte{1}, std::byte{2}};
    one.send(bytes);
    EXPECT_EQ(other.recv().size(), 2U);
    one.send(bytes);
    std::array<std::byte, 8> room{};
    EXPECT_EQ(other.recv_into(room), 2U);
    EXPECT_EQ(room[1], std::byte{2});
}

TEST(ComingFromPython, LockCells) {
    Lock lock;
    {
        const std::scoped_lock guard(lock);
        EXPECT_THROW(lock.acquire(), Error) << "it would deadlock";
    }
    lock.acquire();
    test::Child other([&] {
        EXPECT_FALSE(lock.try_acquire());
        EXPECT_FALSE(lock.try_acquire_for(1ms));
        EXPECT_THROW(lock.release(), Error) << "it is another's";
    });
    EXPECT_EQ(other.join(), 0);
    lock.release();
    test::Child dies([&] {
        lock.lock();
        raise(SIGKILL);
    });
    dies.join();
    lock.lock();
    EXPECT_TRUE(lock.abandoned());
    lock.repair();
    lock.unlock();

    RLock rlock;
    rlock.lock();
    rlock.lock();
    rlock.unlock();
    rlock.unlock();
    Semaphore sem(3);
    sem.acquire();
    sem.release(2);
    EXPECT_EQ(sem.value(), 4U);
    Event event;
    EXPECT_FALSE(event.wait_for(1ms));
    event.set();
    EXPECT_TRUE(event.wait_for(2s));
    Condition cond;
    bool is_told = true;
    std::unique_lock guard(lock);
    cond.wait(guard, [&] { return is_told; });
    cond.notify(2);
    Barrier barrier(1);
    barrier.wait();
    barrier.abort();
    EXPECT_THROW(barrier.wait(), BrokenBarrier);
}

struct MyStruct {
    int x;
};

TEST(ComingFromPython, ManagerCells) {
    const Manager m;
    m.dict<std::string, int>().set("a", 1);
    m.list<int>().append(1);
    m.queue<int>().put(1);
    m.rlock().lock();
    m.event().set();
    m.semaphore(3).acquire();
    m.bounded_semaphore(3).acquire();
    m.condition().notify_all();
    EXPECT_EQ(m.barrier(3).waiting(), 0U);
    Value<int> v = m.value<int>("", 7);
    EXPECT_EQ(v.load(), 7);
    v = 8;
    v.update([](int& value) { ++value; });
    EXPECT_EQ(v.load(), 9);
    EXPECT_EQ(Value<int>(7).load(), 7);
    Array<double> a = m.array<double>(2);
    a[1] = 2.5;
    EXPECT_EQ(a[-1], 2.5);
    EXPECT_EQ(a.snapshot(), (std::vector<double>{0, 2.5}));
    EXPECT_EQ((Array<double>{1, 2}).size(), 2U);
    const auto ns = m.value<MyStruct>("");
    ns.update([](MyStruct& s) { s.x = 1; });
    EXPECT_EQ(ns.load().x, 1);

    const test::FreshName house("house");
    const Manager made = Manager::create(house.name());
    Lock door = made.lock("door");
    door.lock();
    const Manager opened = Manager::open(house.name());
    EXPECT_EQ(opened.names(), std::vector<std::string>{"door"});
    EXPECT_TRUE(opened.lock("door").locked());
    EXPECT_TRUE(opened.remove("door"));
}

}  // namespace
}  // namespace sluice
