#include "sluice/manager.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "sluice/error.hpp"
#include "sluice/msgpack.hpp"
#include "support/processes.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::await;
using test::Child;
using test::FreshName;
using test::Shared;
using test::Watchdog;

/// What `act` throws as an E.
template <class E, class Act>
E thrown(Act&& act) {
    try {
        act();
    } catch (const E& error) {
        return error;
    }
    throw std::runtime_error("it threw nothing");
}

/// Objects of a Manager that is empty takes this much.
std::uint64_t bytes_of_empty() {
    return Manager().memory_bytes();
}

TEST(Manager, IsEmptyAtFirst) {
    const Manager sut;
    EXPECT_TRUE(sut.names().empty());
    EXPECT_FALSE(sut.contains("door"));
    EXPECT_FALSE(sut.remove("door"));
    EXPECT_EQ(sut.name(), "");
}

TEST(Manager, GivesTheSameObjectForTheSameName) {
    const Watchdog watchdog(60);
    const Manager sut;
    const Lock one = sut.lock("door");
    const Lock other = sut.lock("door");
    one.lock();
    EXPECT_FALSE(other.try_lock());
    EXPECT_TRUE(other.locked());
    one.unlock();
    EXPECT_TRUE(other.try_lock());
    other.unlock();
    EXPECT_EQ(one.name(), "door");
    EXPECT_EQ(sut.names(), std::vector<std::string>{"door"});
}

TEST(Manager, GivesANewObjectWhereThereIsNoName) {
    const Manager sut;
    const Lock one = sut.lock();
    const Lock other = sut.lock();
    one.lock();
    EXPECT_TRUE(other.try_lock());
    EXPECT_EQ(one.name(), "");
    EXPECT_TRUE(sut.names().empty());
    one.unlock();
    other.unlock();
}

TEST(Manager, ListsWhatItHolds) {
    const Manager sut;
    static_cast<void>(sut.queue<std::uint32_t>("numbers"));
    static_cast<void>(sut.lock("door"));
    static_cast<void>(sut.event("bell"));
    EXPECT_EQ(sut.names(), (std::vector<std::string>{"bell", "door", "numbers"}));
    const std::vector<ManagerEntry> entries = sut.entries();
    ASSERT_EQ(entries.size(), 3U);
    EXPECT_EQ(entries[0].kind, "event");
    EXPECT_EQ(entries[1].kind, "lock");
    EXPECT_EQ(entries[2].kind, "queue");
    EXPECT_EQ(entries[2].type, type_description<std::uint32_t>());
    EXPECT_TRUE(sut.contains("bell"));
}

// Every kind, made by one process and used by two. What is made after the fork is found by both.
TEST(Manager, EveryKindIsFoundByAProcessThatWasForkedBefore) {
    const Watchdog watchdog(120);
    const Manager sut;
    Child child([sut] {
        using Text = std::string;
        // The parent makes some of these and this process the others: whoever comes first.
        const Barrier both = sut.barrier("both", 2);
        both.wait();
        EXPECT_EQ(sut.queue<Text>("texts").get(), "hello");
        EXPECT_EQ(sut.queue<int>("numbers").get(), 42);
        const Pipe<int> pipe = sut.pipe<int>("pipe");
        pipe.second.send(pipe.second.recv() + 1);
        const Pipe<Text> texts = sut.pipe<Text>("text-2");
        texts.second.send(texts.second.recv() + " there");
        const BytePipe bytes = sut.byte_pipe("bytes");
        bytes.second.send(bytes.second.recv());
        sut.semaphore("permits", 0).acquire();
        sut.bounded_semaphore("bounded", 1).acquire();
        sut.event("go").wait();
        {
            const RLock again = sut.rlock("again");
            const RWLock many = sut.rw_lock("many");
            const std::scoped_lock hold(again);
            const std::shared_lock read(many);
            sut.guarded<std::uint64_t>("sum").update([](std::uint64_t& sum) { sum += 5; });
        }
        EXPECT_EQ(sut.value<Text>("text").exchange("taken"), "left");
        sut.array<double>("levels", 4)[-1] = 2.5;
        const Lock door = sut.lock("door");
        std::unique_lock held(door);
        sut.condition("changed").wait(
            held, [&] { return sut.guarded<std::uint64_t>("sum").read() == 105; });
        both.wait();
    });
    const Barrier both = sut.barrier("both", 2);
    both.wait();
    sut.queue<int>("numbers").put(42);
    sut.queue<std::string>("texts").put("hello");
    const Pipe<int> pipe = sut.pipe<int>("pipe");
    pipe.first.send(1);
    EXPECT_EQ(pipe.first.recv(), 2);
    const Pipe<std::string> texts = sut.pipe<std::string>("text-2");
    texts.first.send("hello");
    EXPECT_EQ(texts.first.recv(), "hello there");
    const BytePipe bytes = sut.byte_pipe("bytes");
    const std::vector<std::byte> long_message(300'000, std::byte{7});
    bytes.first.send(long_message);
    EXPECT_EQ(bytes.first.recv(), long_message);
    sut.semaphore("permits", 0).release();
    sut.value<std::string>("text") = "left";
    sut.event("go").set();
    const Guarded<std::uint64_t> sum = sut.guarded<std::uint64_t>("sum");
    const Array<double> levels = sut.array<double>("levels", 4);
    await([&] { return levels[3] == 2.5; });
    EXPECT_EQ(sum.read(), 5U);
    EXPECT_EQ(sut.value<std::string>("text").load(), "taken");
    {
        const Lock door = sut.lock("door");
        const std::scoped_lock hold(door);
        sum.store(105);
        sut.condition("changed").notify_all();
    }
    both.wait();
    EXPECT_FALSE(sut.bounded_semaphore("bounded", 1).try_acquire()) << "the child's is taken";
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(sut.names().size(), 16U);
}

// Tables grow: what they have no memory for as yet lies in the window, too.
TEST(Manager, DictsAndListsGrowInIt) {
    const Watchdog watchdog(60);
    const Manager sut;
    static_cast<void>(sut.contains("x"));
    const std::uint64_t before = sut.memory_bytes();
    Child child([sut] {
        const auto dict = sut.dict<std::string, std::map<std::string, int>>("dict");
        const auto list = sut.list<std::string>("list");
        for (int number = 0; number < 2'000; ++number) {
            const std::string text = std::to_string(number);
            dict[text] = {{text, number}};
            list.append(std::string(500, 'x') + text);
        }
    });
    EXPECT_EQ(child.join(), 0);
    {
        const auto dict = sut.dict<std::string, std::map<std::string, int>>("dict");
        const auto list = sut.list<std::string>("list");
        EXPECT_EQ(dict.size(), 2'000U);
        EXPECT_EQ(dict.at("1999").at("1999"), 1999);
        EXPECT_EQ(list.size(), 2'000U);
        EXPECT_EQ(list.at(-1), std::string(500, 'x') + "1999");
        EXPECT_GT(sut.memory_bytes(), before + 1'000'000);
        EXPECT_THROW((sut.dict<std::string, int>("dict")), BadSegment);
        EXPECT_TRUE(sut.remove("dict"));
        EXPECT_TRUE(sut.remove("list"));
    }
    EXPECT_EQ(sut.memory_bytes(), before);
}

TEST(Manager, TellsAWrongKindAndAWrongTypeByBothTheirNames) {
    const Manager sut;
    static_cast<void>(sut.lock("door"));
    static_cast<void>(sut.queue<int>("numbers"));
    const std::string kind = thrown<BadSegment>([&] { sut.event("door"); }).what();
    EXPECT_NE(kind.find("\"door\" is a lock, not a event"), std::string::npos) << kind;
    const std::string type = thrown<BadSegment>([&] { sut.queue<double>("numbers"); }).what();
    EXPECT_NE(type.find(type_description<int>()), std::string::npos) << type;
    EXPECT_NE(type.find(type_description<double>()), std::string::npos) << type;
    EXPECT_TRUE(sut.lock("door").try_lock()) << "it is as good as before";
}

TEST(Manager, RefusesANameThatIsNone) {
    const Manager sut;
    EXPECT_THROW(sut.lock("a/b"), std::invalid_argument);
    EXPECT_THROW(sut.lock(".hidden"), std::invalid_argument);
    EXPECT_THROW(sut.lock(std::string(201, 'x')), std::invalid_argument);
    const std::string longest(200, 'x');
    static_cast<void>(sut.lock(longest));
    EXPECT_TRUE(sut.contains(longest));
}

TEST(Manager, RemovesAName) {
    const Manager sut;
    sut.event("bell").set();
    EXPECT_TRUE(sut.remove("bell"));
    EXPECT_FALSE(sut.remove("bell"));
    EXPECT_FALSE(sut.contains("bell"));
    EXPECT_FALSE(sut.event("bell").is_set()) << "a new one";
}

TEST(Manager, ARemovedObjectGoesOnForWhoeverHasIt) {
    const Watchdog watchdog(60);
    const Manager sut;
    const Queue<int> mine = sut.queue<int>("numbers");
    Shared<std::atomic<int>> step;
    Child child([&, theirs = sut.queue<int>("numbers")] {
        step->store(1);
        await([&] { return step->load() == 2; });
        EXPECT_EQ(theirs.get(), 7);
        theirs.put(8);
    });
    await([&] { return step->load() == 1; });
    ASSERT_TRUE(sut.remove("numbers"));
    const Queue<int> other = sut.queue<int>("numbers");
    other.put(100);
    mine.put(7);
    step->store(2);
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(mine.get(), 8);
    EXPECT_EQ(other.get(), 100);
    EXPECT_TRUE(other.empty());
}

TEST(Manager, GivesTheMemoryBackWithTheLastUserOfARemovedObject) {
    const Manager sut;
    static_cast<void>(sut.contains("x"));
    const std::uint64_t before = sut.memory_bytes();
    {
        const Queue<std::string> queue = sut.queue<std::string>("texts");
        queue.put(std::string(500'000, 'x'));
        EXPECT_GT(sut.memory_bytes(), before + 500'000);
        EXPECT_TRUE(sut.remove("texts"));
        EXPECT_GT(sut.memory_bytes(), before + 500'000) << "it is in use";
        EXPECT_EQ(queue.get().size(), 500'000U);
    }
    EXPECT_EQ(sut.memory_bytes(), before);
}

TEST(Manager, KeepsANamedObjectThatNobodyHasOpen) {
    const Manager sut;
    sut.queue<int>("numbers").put(5);
    for (int count = 0; count < 20; ++count) {
        static_cast<void>(sut.lock());  // whoever comes by clears what nobody holds
    }
    EXPECT_EQ(sut.queue<int>("numbers").get(), 5);
}

TEST(Manager, AWindowIsClearedOnlyAfterItsLastUserHasDied) {
    const Watchdog watchdog(60);
    const Manager sut;
    static_cast<void>(sut.contains("x"));
    const std::uint64_t before = sut.memory_bytes();
    Shared<std::atomic<int>> step;
    Child child([&] {
        const Queue<int> queue = sut.queue<int>("numbers", {.capacity = 4096});
        step->store(1);
        await([&] { return step->load() == 2; });
        queue.put(5);
        EXPECT_EQ(queue.get(), 5);
        step->store(3);
        await([] { return false; });
    });
    await([&] { return step->load() == 1; });
    const std::uint64_t with_it = sut.memory_bytes();
    EXPECT_GT(with_it, before);
    EXPECT_TRUE(sut.remove("numbers"));
    for (int count = 0; count < 50; ++count) {
        static_cast<void>(sut.lock());
    }
    EXPECT_EQ(sut.memory_bytes(), with_it) << "the child uses it";
    child.stop();
    static_cast<void>(sut.lock());
    EXPECT_EQ(sut.memory_bytes(), with_it) << "a stopped process is not dead";
    child.resume();
    step->store(2);
    await([&] { return step->load() == 3; });
    child.kill_and_join();
    static_cast<void>(sut.lock());
    EXPECT_EQ(sut.memory_bytes(), before);
}

TEST(Manager, ForkedChildrenHoldWhatTheirParentHadOpen) {
    const Watchdog watchdog(60);
    const Manager sut;
    Shared<std::atomic<int>> step;
    auto queue = std::make_optional(sut.queue<int>());
    Child child([&, inherited = *queue] {
        await([&] { return step->load() == 1; });
        inherited.put(7);
        EXPECT_EQ(inherited.get(), 7);
    });
    queue.reset();
    // Would any of these get its window, the child would find another object there.
    for (int count = 0; count < 50; ++count) {
        sut.queue<int>().put(1);
    }
    step->store(1);
    EXPECT_EQ(child.join(), 0);
}

TEST(Manager, TwoMakersAtOnceGetTheSameObject) {
    const Watchdog watchdog(120);
    const Manager sut;
    constexpr int kRounds = 300;
    const Barrier gate(2);
    const auto make_all = [&] {
        for (int round = 0; round < kRounds; ++round) {
            gate.wait();
            sut.semaphore("round-" + std::to_string(round), 0).release();
        }
    };
    Child child([&] { make_all(); });
    make_all();
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(sut.names().size(), static_cast<std::size_t>(kRounds));
    for (int round = 0; round < kRounds; ++round) {
        const std::string name = "round-" + std::to_string(round);
        EXPECT_EQ(sut.semaphore(name, 0).value(), 2U) << name;
        EXPECT_TRUE(sut.remove(name));
    }
}

TEST(Manager, SaysWhenItIsFull) {
    const Watchdog watchdog(120);
    const Manager sut;
    const auto name = [](int index) { return "event-" + std::to_string(index); };
    constexpr int kMost = 1024;
    for (int index = 0; index < kMost; ++index) {
        static_cast<void>(sut.event(name(index)));
    }
    const auto error = thrown<std::system_error>([&] { sut.event("one-more"); });
    EXPECT_EQ(error.code().value(), ENOSPC);
    EXPECT_NE(std::string(error.what()).find("1024 objects"), std::string::npos) << error.what();
    EXPECT_TRUE(sut.remove(name(500)));
    static_cast<void>(sut.event("one-more"));
    EXPECT_EQ(sut.names().size(), static_cast<std::size_t>(kMost));
}

TEST(Manager, UnnamedObjectsMakeRoomWhenTheirUserIsKilled) {
    const Watchdog watchdog(120);
    const Manager sut;
    constexpr int kEach = 400;  // descriptors allow no more at once
    for (int round = 0; round < 4; ++round) {
        Shared<std::atomic<int>> ready;
        Child child([&] {
            std::vector<Event> events;
            for (int count = 0; count < kEach; ++count) {
                events.push_back(sut.event());
            }
            ready->store(1);
            await([] { return false; });
        });
        await([&] { return ready->load() == 1; });
        child.kill_and_join();
    }
    static_cast<void>(sut.event("last"));
    EXPECT_EQ(sut.names().size(), 1U);
}

TEST(Manager, ObjectsOutliveItsHandles) {
    std::optional<Queue<std::string>> queue;
    {
        const Manager sut;
        queue = sut.queue<std::string>("texts");
        queue->put(std::string(100'000, 'y'));
    }
    EXPECT_EQ(queue->get().size(), 100'000U);
    queue->put("more");
    EXPECT_EQ(queue->get(), "more");
}

TEST(Manager, ANamedOneIsFoundByItsName) {
    const FreshName name("manager");
    const Manager made = Manager::create(name.name());
    made.queue<int>("numbers").put(1);
    const auto taken = thrown<std::system_error>([&] { Manager::create(name.name()); });
    EXPECT_EQ(taken.code().value(), EEXIST);
    Child child([&] {
        const Manager sut = Manager::open(name.name());
        EXPECT_EQ(sut.name(), name.name());
        EXPECT_EQ(sut.queue<int>("numbers").get(), 1);
        sut.queue<int>("numbers").put(2);
    });
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(made.queue<int>("numbers").get(), 2);
    Manager::unlink(name.name());
    const auto gone = thrown<std::system_error>([&] { Manager::open(name.name()); });
    EXPECT_EQ(gone.code().value(), ENOENT);
    EXPECT_TRUE(made.contains("numbers"));
}

TEST(Manager, ANamedOneIsThereAfterAllItsUsersHaveDied) {
    const FreshName name("manager");
    Shared<std::atomic<int>> ready;
    Child child([&] {
        const Manager sut = Manager::create(name.name());
        sut.queue<std::string>("texts").put("kept");
        const Lock held = sut.lock("held");
        held.lock();
        const Event unnamed = sut.event();
        ready->store(1);
        await([] { return false; });
    });
    await([&] { return ready->load() == 1; });
    child.kill_and_join();
    const Manager sut = Manager::open(name.name());
    EXPECT_EQ(sut.queue<std::string>("texts").get(), "kept");
    const Lock held = sut.lock("held");
    held.lock();
    EXPECT_TRUE(held.abandoned());
    held.unlock();
    static_cast<void>(sut.event("new"));
    EXPECT_EQ(sut.names(), (std::vector<std::string>{"held", "new", "texts"}));
}

TEST(Manager, OtherObjectsAreNoManager) {
    const FreshName name("manager");
    const Lock lock = Lock::create(name.name());
    EXPECT_THROW(Manager::open(name.name()), BadSegment);
}

TEST(Manager, QueuesOfPackedValuesHaveALimit) {
    const Manager sut;
    const auto error = thrown<std::system_error>([&] {
        sut.queue<std::string>("texts", {.capacity = 65'536, .memory = {.prefault = false}});
    });
    EXPECT_EQ(error.code().value(), EFBIG);
    EXPECT_FALSE(sut.contains("texts"));
    const Queue<std::string> queue =
        sut.queue<std::string>("texts", {.capacity = 32'768, .memory = {.prefault = false}});
    queue.put(std::string(10'000, 'z'));
    EXPECT_EQ(queue.get().size(), 10'000U);
}

TEST(Manager, RefusesHugePagesOfItsOwn) {
    EXPECT_THROW(Manager({.memory = {.huge_pages = HugePages::require}}), std::invalid_argument);
    const Manager sut({.memory = {.huge_pages = HugePages::prefer}});
    EXPECT_THROW(sut.lock("a", {.memory = {.huge_pages = HugePages::require}}),
                 std::invalid_argument);
    const Queue<int> queue = sut.queue<int>("b", {.memory = {.huge_pages = HugePages::prefer}});
    queue.put(1);
    EXPECT_EQ(queue.get(), 1);
}

TEST(Manager, SaysThatAFileSizeLimitIsInTheWay) {
    Child child([] {
        const Manager sut;
        rlimit limit{};
        getrlimit(RLIMIT_FSIZE, &limit);
        limit.rlim_cur = 1U << 30U;
        ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
        const auto error = thrown<std::system_error>([&] { sut.lock("door"); });
        EXPECT_EQ(error.code().value(), EFBIG);
        EXPECT_NE(std::string(error.what()).find("ulimit -f"), std::string::npos) << error.what();
    });
    EXPECT_EQ(child.join(), 0);
}

TEST(Manager, AKilledOneLeavesNoLockBehind) {
    const Watchdog watchdog(120);
    const Manager sut;
    for (int round = 0; round < 200; ++round) {
        Shared<std::atomic<std::uint64_t>> made;
        Child child([&] {
            for (std::uint64_t number = 0;; ++number) {
                const std::string name = "n" + std::to_string(number % 8);
                sut.semaphore(name, 1).release();
                sut.remove(name);
                made->store(number);
            }
        });
        await([&] { return made->load() > static_cast<std::uint64_t>(round % 7); });
        child.kill_and_join();
        sut.semaphore("mine", 0).release();
    }
    EXPECT_EQ(sut.semaphore("mine", 0).value(), 200U);
    EXPECT_TRUE(sut.remove("mine"));
    for (const std::string& name : sut.names()) {
        EXPECT_TRUE(sut.remove(name));
    }
    for (int count = 0; count < 1024; ++count) {
        static_cast<void>(sut.lock());
    }
    // Objects end as they began: with the table alone.
    EXPECT_EQ(sut.memory_bytes(), bytes_of_empty());
}

TEST(Manager, TheEndOfAPipeIsClosedByItsOwnersDeath) {
    const Watchdog watchdog(60);
    const Manager sut;
    auto [parent, child_end] = sut.pipe<int>();
    Child child([end = child_end] {
        end.send(1);
        await([] { return false; });
    });
    child_end.close();
    EXPECT_EQ(parent.recv(), 1);
    child.kill_and_join();
    EXPECT_THROW(parent.recv(), Closed);
    EXPECT_THROW(parent.send(1), Closed);
}

TEST(Manager, AnEndThatNobodyTookIsClosedWithItsLastHolder) {
    const Watchdog watchdog(60);
    const Manager sut;
    auto [parent, child_end] = sut.pipe<std::string>();
    Child child([] { await([] { return false; }); });  // it has inherited both, and uses none
    child_end.close();
    parent.send("nobody reads it");
    EXPECT_FALSE(parent.try_recv());
    child.kill_and_join();
    EXPECT_THROW(parent.recv(), Closed);
}

// Several processes make, open, write and remove the same few names, and are killed at any moment.
// Each value says under which name it was made.
TEST(Manager, RandomDeathsLeaveItWhole) {
    const Watchdog watchdog(120);
    std::mt19937_64 random(test::announce_seed());
    const Manager sut;
    constexpr std::size_t kWorkers = 3;
    constexpr int kDeaths = 150;
    using Word = std::array<std::uint64_t, 4>;
    const auto whole = [](const Word& word, std::uint64_t name) {
        return word[0] == name && word[1] == word[2] && word[2] == word[3];
    };
    Shared<std::array<std::atomic<std::uint64_t>, kWorkers>> done;
    Shared<std::atomic<int>> wrong;
    const auto work = [&](std::size_t worker, std::uint64_t seed) {
        std::mt19937_64 its(seed);
        for (;;) {
            const std::uint64_t name = its() % 4;
            const std::string text = "value-" + std::to_string(name);
            const auto value = sut.value<Word>(text, {name, 0, 0, 0});
            if (!whole(value.load(), name)) {
                wrong->store(1);
            }
            value.update([](Word& word) {
                ++word[1];
                ++word[2];
                ++word[3];
            });
            if (its() % 8 == 0) {
                static_cast<void>(sut.remove(text));
            }
            if (its() % 8 == 0) {
                sut.queue<std::uint64_t>().put(name);
            }
            (*done)[worker].fetch_add(1);
        }
    };
    std::vector<Child> workers(kWorkers);
    for (int death = 0; death < kDeaths; ++death) {
        const std::size_t worker = random() % kWorkers;
        if (workers[worker].pid() > 0) {
            workers[worker].kill_and_join();
        }
        const std::uint64_t before = (*done)[worker].load();
        const std::uint64_t seed = random();
        workers[worker] = Child([&] { work(worker, seed); });
        const std::uint64_t more = random() % 20;
        await([&] { return (*done)[worker].load() > before + more; });
        ASSERT_EQ(wrong->load(), 0);
    }
    workers.clear();
    for (const std::string& name : sut.names()) {
        const auto number = static_cast<std::uint64_t>(name.back() - '0');
        EXPECT_TRUE(whole(sut.value<Word>(name).load(), number)) << name;
        EXPECT_TRUE(sut.remove(name));
    }
    for (int count = 0; count < 64; ++count) {
        static_cast<void>(sut.lock());
    }
    EXPECT_EQ(sut.memory_bytes(), bytes_of_empty());
}

}  // namespace
}  // namespace sluice
