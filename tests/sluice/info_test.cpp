// sluice ls and sluice info: what they tell of objects whose holders live, stand still, or are
// dead.
#include <signal.h>

#include <atomic>
#include <sluice/barrier.hpp>
#include <sluice/condition.hpp>
#include <sluice/event.hpp>
#include <sluice/guarded.hpp>
#include <sluice/lock.hpp>
#include <sluice/pipe.hpp>
#include <sluice/queue.hpp>
#include <sluice/rw_lock.hpp>
#include <sluice/semaphore.hpp>

#include "sluice/run.hpp"
#include "support/processes.hpp"

namespace sluice::tool::test {
namespace {

using sluice::test::Child;
using sluice::test::FreshName;
using sluice::test::Shared;
using sluice::test::Watchdog;

// The pid would be another's as soon as it was waited for: so the zombie stays until the end.
void kill_and_await(const std::string& name, const Child& child) {
    child.signal(SIGKILL);
    sluice::test::await([&] {
        const auto json = sluice_command({"info", name, "--json"}).json();
        for (const auto& who : json.at("participants")) {
            if (who.at("pid") == child.pid()) {
                return who.at("state") == "dead";
            }
        }
        return true;
    });
}

TEST(Ls, ListsAQueueInTextAndInJson) {
    const FreshName name("ls");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = 8});
    queue.put(1);
    queue.put(2);
    const Ran text = sluice_command({"ls"});
    EXPECT_EQ(text.code, 0);
    EXPECT_TRUE(holds(text.out, name.name())) << text.out;
    EXPECT_TRUE(holds(text.out, "queue of int64")) << text.out;
    EXPECT_TRUE(holds(text.out, "2 of 8")) << text.out;
    EXPECT_FALSE(holds(text.out, "\x1b")) << "colours into a file";
    const auto entry = entry_of(sluice_command({"ls", "--json"}).json(), name.name());
    EXPECT_EQ(entry.at("kind"), "queue");
    EXPECT_EQ(entry.at("type"), "int64");
    EXPECT_EQ(entry.at("flows").at(0).at("depth"), 2);
    EXPECT_EQ(entry.at("flows").at(0).at("put"), 2);
    EXPECT_EQ(entry.at("in_use"), true);
    EXPECT_EQ(entry.at("participants").at(0).at("pid"), getpid());
    EXPECT_EQ(entry.at("participants").at(0).at("state"), "alive");
}

TEST(Ls, ListsAnonymousObjectsWhereItIsAsked) {
    const Queue<int> queue(4);
    queue.put(1);
    const std::string mine = "/proc/" + std::to_string(getpid()) + "/fd/";
    EXPECT_FALSE(holds(sluice_command({"ls"}).out, mine));
    EXPECT_TRUE(holds(sluice_command({"ls", "--anonymous"}).out, mine));
}

TEST(Ls, SaysOfAForeignFileThatItIsNoneOfOurs) {
    const FreshName name("ls");
    std::ofstream(name.path()) << "notes";
    const Ran ran = sluice_command({"ls"});
    EXPECT_EQ(ran.code, 0);
    EXPECT_TRUE(holds(ran.out, "none of ours")) << ran.out;
    EXPECT_TRUE(holds(ran.err, name.path())) << ran.err;
    EXPECT_TRUE(entry_of(sluice_command({"ls", "--json"}).json(), name.name()).contains("error"));
}

TEST(Info, ExitCodesTellMissingFromForeignFromWrongUsage) {
    const FreshName name("info");
    const Ran missing = sluice_command({"info", name.name()});
    EXPECT_EQ(missing.code, 3);
    EXPECT_TRUE(holds(missing.err, "sluice ls")) << missing.err;
    EXPECT_TRUE(missing.out.empty());
    std::ofstream(name.path()) << "notes";
    EXPECT_EQ(sluice_command({"info", name.name()}).code, 4);
    EXPECT_EQ(sluice_command({"info"}).code, 2);
    EXPECT_EQ(sluice_command({"info", "no word"}).code, 2);
    EXPECT_EQ(sluice_command({"frobnicate"}).code, 2);
}

TEST(Info, TellsWhoHoldsALeaseAliveThenStoppedThenKilled) {
    const Watchdog watchdog(120);
    const FreshName name("info");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = 8});
    queue.put(5);
    Shared<std::atomic<int>> leased;
    const Child child([&] {
        const auto lease = queue.lease();
        leased->store(1);
        pause();
    });
    sluice::test::await([&] { return leased->load() != 0; });
    const std::string pid = "pid " + std::to_string(child.pid());
    EXPECT_TRUE(
        holds(sluice_command({"info", name.name()}).out, pid + " (sluice_tool_tes) holds slot 0"))
        << sluice_command({"info", name.name()}).out;
    child.stop();
    EXPECT_TRUE(holds(sluice_command({"info", name.name()}).out, "stopped) holds slot 0"));
    kill_and_await(name.name(), child);
    const auto dead = sluice_command({"info", name.name(), "--json"}).json();
    EXPECT_EQ(dead.at("holdings").at(0).at("pid"), child.pid());
    EXPECT_EQ(dead.at("holdings").at(0).at("state"), "dead");
    EXPECT_EQ(dead.at("holdings").at(0).at("what"), "reading_slot");
    // A look is no rescue: the next user of the queue does that.
    EXPECT_EQ(queue.get(), 5);
}

TEST(Info, TellsOfALockThatIsHeldUnchangedWhileItWasWatched) {
    const Watchdog watchdog(60);
    const FreshName name("info");
    const auto lock = Lock::create(name.name());
    lock.acquire();
    const Ran text = sluice_command({"info", name.name(), "--watch", "0.1"});
    EXPECT_TRUE(holds(text.out, "holds the lock, unchanged while watched for")) << text.out;
    const auto json = sluice_command({"info", name.name(), "--watch", "0.1", "--json"}).json();
    EXPECT_EQ(json.at("holdings").at(0).at("unchanged"), true);
    EXPECT_GE(json.at("watched_s").get<double>(), 0.1);
    lock.release();
    EXPECT_TRUE(sluice_command({"info", name.name(), "--json"}).json().at("holdings").empty());
}

TEST(Info, TellsRatesWhileAQueueIsBusy) {
    const Watchdog watchdog(60);
    const FreshName name("info");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = 8});
    const Child child([&] {
        for (std::int64_t number = 0;; ++number) {
            queue.put(number);
            static_cast<void>(queue.get());
        }
    });
    sluice::test::await([&] {
        const auto json = sluice_command({"info", name.name(), "--watch", "0.05", "--json"}).json();
        return json.at("flows").at(0).at("put_a_second") > 0 &&
               json.at("flows").at(0).at("taken_a_second") > 0;
    });
}

TEST(Info, NamesTheOwnersOfAPipesEnds) {
    const Watchdog watchdog(60);
    const FreshName name("info");
    const auto pipe = Pipe<std::int64_t>::create(name.name(), {.capacity = 16});
    pipe.first.send(1);
    Shared<std::atomic<int>> received;
    const Child child([&] {
        received->store(static_cast<int>(pipe.second.recv()));
        pause();
    });
    sluice::test::await([&] { return received->load() == 1; });
    pipe.first.send(2);
    const auto json = sluice_command({"info", name.name(), "--json"}).json();
    ASSERT_EQ(json.at("holdings").size(), 2U) << json.dump(1);
    EXPECT_EQ(json.at("holdings").at(0).at("pid"), getpid());
    EXPECT_EQ(json.at("holdings").at(1).at("pid"), child.pid());
    EXPECT_EQ(json.at("flows").at(0).at("put"), 2);
    EXPECT_EQ(json.at("flows").at(0).at("taken"), 1);
    kill_and_await(name.name(), child);
    EXPECT_TRUE(holds(sluice_command({"info", name.name()}).out, "dead) has the second end"));
}

TEST(Info, TellsTheStateOfEveryWord) {
    const Watchdog watchdog(60);
    const FreshName name("info");
    const auto json = [&] { return sluice_command({"info", name.name(), "--json"}).json(); };
    {
        const auto event = Event::create(name.name());
        EXPECT_EQ(json().at("marks").at(0), "clear");
        event.set();
        EXPECT_EQ(json().at("marks").at(0), "set");
        unlink(name.path().c_str());
    }
    {
        const auto semaphore = Semaphore::create(name.name(), 3);
        semaphore.acquire();
        EXPECT_EQ(json().at("counters").at("value"), 2);
        unlink(name.path().c_str());
    }
    {
        const auto semaphore = Semaphore::create(name.name(), 3, {.owned = true});
        semaphore.acquire();
        EXPECT_EQ(json().at("counters").at("value"), 2);
        EXPECT_EQ(json().at("holdings").at(0).at("what"), "permit");
        EXPECT_EQ(json().at("holdings").at(0).at("pid"), getpid());
        unlink(name.path().c_str());
    }
    {
        const auto lock = RWLock::create(name.name());
        lock.lock_shared();
        EXPECT_EQ(json().at("holdings").at(0).at("what"), "reading");
        lock.unlock_shared();
        unlink(name.path().c_str());
    }
    {
        const auto lock = RLock::create(name.name());
        lock.lock();
        lock.lock();
        EXPECT_EQ(json().at("holdings").at(0).at("count"), 2);
        lock.unlock();
        lock.unlock();
        unlink(name.path().c_str());
    }
    {
        const auto value = Guarded<std::int64_t>::create(name.name(), 1);
        const auto draft = value.write();
        EXPECT_EQ(json().at("holdings").at(0).at("what"), "lock");
        unlink(name.path().c_str());
    }
}

TEST(Info, TellsWhoWaitsInABarrierAndInACondition) {
    const Watchdog watchdog(60);
    const FreshName barrier_name("info-barrier");
    const FreshName condition_name("info-condition");
    const auto barrier = Barrier::create(barrier_name.name(), 2);
    const auto condition = Condition::create(condition_name.name());
    const Lock lock;
    const Child party([&] { static_cast<void>(barrier.wait()); });
    const Child waiter([&] {
        const std::scoped_lock guard(lock);
        condition.wait(lock);
    });
    sluice::test::await([&] {
        const auto one = sluice_command({"info", barrier_name.name(), "--json"}).json();
        const auto two = sluice_command({"info", condition_name.name(), "--json"}).json();
        return one.at("counters").at("arrived") == 1 && two.at("counters").at("waiting") == 1 &&
               one.at("holdings").at(0).at("pid") == party.pid() &&
               two.at("holdings").at(0).at("pid") == waiter.pid();
    });
}

}  // namespace
}  // namespace sluice::tool::test
