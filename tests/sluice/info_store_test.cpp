// sluice ls, info, top and clean on what stores values and on what has others under it: Dict, List,
// Value, Array, Pool, Manager; whole ones and damaged ones.
#include <fcntl.h>
#include <signal.h>

#include <atomic>
#include <cstring>
#include <sluice/array.hpp>
#include <sluice/dict.hpp>
#include <sluice/list.hpp>
#include <sluice/manager.hpp>
#include <sluice/msgpack.hpp>
#include <sluice/pool.hpp>
#include <sluice/shm/dict_table.hpp>
#include <sluice/shm/directory.hpp>
#include <sluice/shm/inspect.hpp>
#include <sluice/shm/list_table.hpp>
#include <sluice/shm/task_word.hpp>
#include <sluice/value.hpp>

#include "sluice/run.hpp"
#include "support/processes.hpp"

namespace sluice::tool::test {
namespace {

using nlohmann::json;
using sluice::test::Child;
using sluice::test::FreshName;
using sluice::test::Shared;
using sluice::test::Watchdog;

json info(const std::string& name) {
    return sluice_command({"info", name, "--json"}).json();
}
std::string info_text(const std::string& name) {
    return sluice_command({"info", name}).out;
}
json gauge(const json& seen, const std::string& name) {
    return entry_of(seen.at("gauges"), name);
}
/// The line of `sluice ls` that begins with that name.
std::string ls_line(const std::string& name) {
    for (const std::string& line : sluice_command({"ls"}).lines()) {
        if (line.starts_with(name + " ")) {
            return line;
        }
    }
    return {};
}

/// Holds something in a child, by `hold(ready)`, and looks at who does while that one lives, stands
/// still, and is dead.
template <class Hold>
void expect_named_holder(const std::string& name, const std::string& what, Hold&& hold) {
    Shared<std::atomic<int>> ready;
    const Child child([&] {
        hold([&] {
            ready->store(1);
            pause();
        });
    });
    sluice::test::await([&] { return ready->load() != 0; });
    const std::string pid = "pid " + std::to_string(child.pid());
    EXPECT_TRUE(holds(info_text(name), pid + " (sluice_tool_tes) " + what)) << info_text(name);
    child.stop();
    EXPECT_TRUE(holds(info_text(name), "stopped) " + what)) << info_text(name);
    child.signal(SIGKILL);
    sluice::test::await([&] { return holds(info_text(name), "dead) " + what); });
    EXPECT_EQ(info(name).at("holdings").at(0).at("pid"), child.pid());
    EXPECT_EQ(info(name).at("holdings").at(0).at("state"), "dead");
}

TEST(InfoDict, TellsEntriesMemoryAndItsLimit) {
    const FreshName name("dict");
    const auto dict = Dict<std::string, int>::create(name.name(), {.max_bytes = 1U << 24U});
    const auto empty = info(name.name());
    EXPECT_EQ(gauge(empty, "entries").at("value"), 0);
    for (int key = 0; key < 100; ++key) {
        dict[std::to_string(key)] = key;
    }
    const auto seen = info(name.name());
    EXPECT_EQ(seen.at("kind"), "dict");
    EXPECT_EQ(gauge(seen, "entries").at("value"), 100);
    EXPECT_EQ(gauge(seen, "memory used").at("limit"), 1U << 24U);
    EXPECT_EQ(gauge(seen, "memory used").at("unit"), "bytes");
    EXPECT_GT(gauge(seen, "memory used").at("value"), gauge(empty, "memory used").at("value"));
    EXPECT_GE(gauge(seen, "memory taken").at("value"), gauge(seen, "memory used").at("value"));
    EXPECT_EQ(seen.at("counters").at("stripes"), 64);
    EXPECT_GE(seen.at("counters").at("places for entries"), 100);
    EXPECT_TRUE(seen.at("damages").empty());
    const std::string text = info_text(name.name());
    EXPECT_TRUE(holds(text, " of 16.0 MiB")) << text;
    EXPECT_TRUE(holds(ls_line(name.name()), "100 entries")) << ls_line(name.name());
    dict.erase("7");
    EXPECT_EQ(gauge(info(name.name()), "entries").at("value"), 99);
}

TEST(InfoDict, NamesWhoIsChangingAStripe) {
    const Watchdog watchdog(120);
    const FreshName name("dict");
    const auto dict = Dict<int, int>::create(name.name(), {.stripes = 1});
    dict[1] = 1;
    expect_named_holder(name.name(), "is changing stripe 0",
                        [&](const auto& wait) { dict.update(1, [&](int&) { wait(); }); });
}

TEST(InfoList, TellsElementsMemoryAndWhoHoldsTheLock) {
    const Watchdog watchdog(120);
    const FreshName name("list");
    const auto list = List<std::string>::create(name.name(), {.max_bytes = 1U << 20U});
    EXPECT_EQ(gauge(info(name.name()), "elements").at("value"), 0);
    for (int number = 0; number < 5; ++number) {
        list.append("an element");
    }
    const auto seen = info(name.name());
    EXPECT_EQ(gauge(seen, "elements").at("value"), 5);
    EXPECT_GE(seen.at("counters").at("places for elements"), 5);
    EXPECT_EQ(gauge(seen, "memory used").at("limit"), 1U << 20U);
    EXPECT_GT(gauge(seen, "memory used").at("value"), 0);
    EXPECT_TRUE(holds(ls_line(name.name()), "5 elements")) << ls_line(name.name());
    expect_named_holder(name.name(), "holds the lock",
                        [&](const auto& wait) { list.update(0, [&](std::string&) { wait(); }); });
}

TEST(InfoValue, TellsItsVersionAndWhoHoldsTheLock) {
    const Watchdog watchdog(120);
    const FreshName name("value");
    const auto value = Value<int>::create(name.name(), 1);
    const int before = info(name.name()).at("counters").at("version");
    value = 2;
    EXPECT_EQ(info(name.name()).at("counters").at("version"), before + 1);
    EXPECT_TRUE(holds(ls_line(name.name()), "value of int32")) << ls_line(name.name());
    expect_named_holder(name.name(), "holds the lock",
                        [&](const auto& wait) { value.update([&](int&) { wait(); }); });
}

TEST(InfoArray, TellsElementsChangesAndWhoHoldsTheLock) {
    const Watchdog watchdog(120);
    const FreshName name("array");
    const auto array = Array<double>::create(name.name(), 12);
    const auto before = info(name.name());
    EXPECT_EQ(gauge(before, "elements").at("value"), 12);
    EXPECT_EQ(before.at("element_bytes"), 8);
    array[3] = 1;
    array.fill(2);
    const auto after = info(name.name()).at("counters");
    EXPECT_GT(after.at("changes"), before.at("counters").at("changes"));
    EXPECT_GT(after.at("assigned"), before.at("counters").at("assigned"));
    EXPECT_TRUE(holds(info_text(name.name()), "12 elements, 8 bytes each"));
    EXPECT_TRUE(holds(ls_line(name.name()), "12 elements")) << ls_line(name.name());
    expect_named_holder(name.name(), "holds the lock",
                        [&](const auto& wait) { array.update(3, [&](double&) { wait(); }); });
}

TEST(InfoManager, TellsNamesAndKindsAndWhatIsInUse) {
    const FreshName name("manager");
    const auto manager = Manager::create(name.name());
    EXPECT_TRUE(info(name.name()).at("objects").empty());
    const auto jobs = manager.queue<int>("jobs");
    const auto nameless = manager.event();
    { const auto door = manager.lock("door"); }
    const auto seen = info(name.name());
    EXPECT_EQ(gauge(seen, "objects").at("value"), 2);
    EXPECT_EQ(seen.at("counters").at("without a name"), 1);
    const auto queue = entry_of(seen.at("objects"), "jobs");
    EXPECT_EQ(queue.at("kind"), "queue");
    EXPECT_EQ(queue.at("type"), "int32");
    EXPECT_EQ(queue.at("in_use"), true);
    EXPECT_EQ(entry_of(seen.at("objects"), "door").at("kind"), "lock");
    EXPECT_EQ(entry_of(seen.at("objects"), "door").at("in_use"), false);
    EXPECT_EQ(entry_of(seen.at("objects"), "").at("kind"), "event");
    const std::string text = info_text(name.name());
    EXPECT_TRUE(holds(text, "queue of int32, in use")) << text;
    EXPECT_TRUE(holds(ls_line(name.name()), "2 objects")) << ls_line(name.name());
    manager.remove("jobs");
    EXPECT_EQ(gauge(info(name.name()), "objects").at("value"), 1);
    EXPECT_EQ(info(name.name()).at("counters").at("without a name"), 2);
}

/// The path of this process's only Pool.
std::string pool_path() {
    for (const std::string& path : shm::list_anonymous_segments()) {
        shm::Failure failure;
        const auto opened = shm::Inspector::open(path, failure);
        if (path.starts_with("/proc/" + std::to_string(getpid()) + "/") && opened &&
            opened->facts().kind == shm::SegmentKind::pool) {
            return path;
        }
    }
    ADD_FAILURE() << "no Pool here";
    return {};
}

int wait_for_a_signal(int number) {
    pause();
    return number;
}
int twice(int number) {
    return 2 * number;
}

TEST(InfoPool, TellsTasksAndEachWorkersPidCpusAndCount) {
    const Watchdog watchdog(120);
    const Pool pool({.workers = 2, .placement = {.policy = Policy::none}});
    EXPECT_EQ(pool.map(twice, std::vector<int>{1, 2, 3}), (std::vector<int>{2, 4, 6}));
    const std::string path = pool_path();
    sluice::test::await([&] { return info(path).at("counters").at("done") == 3; });
    const auto idle = info(path);
    EXPECT_EQ(gauge(idle, "busy workers").at("limit"), 2);
    EXPECT_EQ(idle.at("in_use"), true);
    std::uint64_t done = 0;
    for (const auto& worker : idle.at("workers")) {
        EXPECT_EQ(worker.at("state"), "alive");
        EXPECT_FALSE(worker.at("cpus").empty());
        done += worker.at("tasks_done").get<std::uint64_t>();
    }
    EXPECT_EQ(done, 3U);
    EXPECT_EQ(idle.at("workers").at(0).at("pid"), pool.workers().at(0).pid);
    const auto results = pool.map_async(wait_for_a_signal, std::vector<int>{1, 2, 3, 4, 5}, 1);
    sluice::test::await([&] {
        const auto seen = info(path);
        return gauge(seen, "busy workers").at("value") == 2 &&
               seen.at("counters").at("queued") == 3;
    });
    const pid_t first = pool.workers().at(0).pid;
    kill(first, SIGSTOP);
    sluice::test::await([&] { return info(path).at("workers").at(0).at("state") == "stopped"; });
    const std::string text = info_text(path);
    EXPECT_TRUE(holds(text, "pid " + std::to_string(first))) << text;
    EXPECT_TRUE(holds(text, "runs task ")) << text;
    EXPECT_TRUE(holds(text, "2 of 2")) << text;
    const auto top = sluice_command({"top", "--once", "--anonymous", "--interval", "0.05"}).out;
    EXPECT_TRUE(holds(top, "2 of 2 busy, 3 queued")) << top;
    // Its successor takes over its line.
    kill(first, SIGKILL);
    sluice::test::await([&] {
        const auto worker = info(path).at("workers").at(0);
        return worker.at("pid") != first && worker.at("state") == "alive";
    });
}

// What damage looks like, and that nobody takes it for sound ------------------------------------

/// Overwrites one word of the body.
void scribble(const std::string& path, std::uint64_t offset, std::uint64_t word) {
    shm::Failure failure;
    const auto opened = shm::Inspector::open(path, failure);
    ASSERT_TRUE(opened) << failure.text;
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    EXPECT_EQ(
        pwrite(file, &word, sizeof word, static_cast<off_t>(opened->facts().body_offset + offset)),
        static_cast<ssize_t>(sizeof word));
    close(file);
}

void expect_damaged(const FreshName& name, const std::string& what) {
    const Ran text = sluice_command({"info", name.name()});
    EXPECT_EQ(text.code, 4);
    EXPECT_TRUE(holds(text.out, "damaged")) << text.out;
    EXPECT_TRUE(holds(text.out, what)) << text.out;
    const Ran told = sluice_command({"info", name.name(), "--json"});
    EXPECT_EQ(told.code, 4);
    EXPECT_TRUE(holds(told.json().at("damages").at(0), what)) << told.out;
    EXPECT_TRUE(holds(ls_line(name.name()), "damaged")) << ls_line(name.name());
    const auto top = sluice_command({"top", "--once", "--interval", "0.05"}).out;
    EXPECT_TRUE(holds(top, "damaged: " + what)) << top;
    const Ran clean = sluice_command({"clean", name.name(), "--yes"});
    EXPECT_EQ(clean.code, 1);
    EXPECT_TRUE(holds(clean.out, "damaged")) << clean.out;
    EXPECT_EQ(sluice_command({"clean", name.name(), "--yes", "--discard"}).code, 0);
}

TEST(Damage, OfADictsTableIsTold) {
    const FreshName name("damage");
    { const auto dict = Dict<int, int>::create(name.name()); }
    scribble(name.path(),
             sizeof(shm::DictLayout) + 5 * sizeof(shm::DictStripeLayout) +
                 offsetof(shm::DictStripeLayout, table),
             ~0ULL);
    expect_damaged(name, "the table of stripe 5 lies outside its memory");
}

TEST(Damage, OfAListsRootIsTold) {
    const FreshName name("damage");
    { const auto list = List<int>::create(name.name()); }
    scribble(name.path(), offsetof(shm::ListLayout, root), ~0ULL);
    expect_damaged(name, "its elements lie outside its memory");
}

TEST(Damage, OfAnArenasSizeIsTold) {
    const FreshName name("damage");
    { const auto list = List<int>::create(name.name()); }
    scribble(name.path(), offsetof(shm::ListLayout, arena), 1ULL << 40U);
    expect_damaged(name, "the numbers in its header do not fit its size");
}

TEST(Damage, OfAManagersTableIsTold) {
    const FreshName name("damage");
    { const auto manager = Manager::create(name.name()); }
    scribble(name.path(), offsetof(shm::DirectoryLayout, high), 70'000);
    expect_damaged(name, "it says that it has used 70000 places of 1024");
}

TEST(Damage, OfAManagersNamesIsTold) {
    const FreshName name("damage");
    {
        const auto manager = Manager::create(name.name());
        static_cast<void>(manager.lock("door"));
    }
    scribble(name.path(), offsetof(shm::DirectoryLayout, names), 0);
    expect_damaged(name, "place 0 has an object without a name");
}

TEST(Damage, OfAnArraysHeaderIsTold) {
    const FreshName name("damage");
    { const auto array = Array<int>::create(name.name(), 4); }
    const int file = open(name.path().c_str(), O_RDWR | O_CLOEXEC);
    const std::uint64_t capacity = 1ULL << 50U;
    EXPECT_EQ(pwrite(file, &capacity, sizeof capacity, offsetof(shm::SegmentLayout, capacity)),
              static_cast<ssize_t>(sizeof capacity));
    close(file);
    expect_damaged(name, "the numbers in its header do not fit its size");
}

TEST(Damage, OfAHeaderIsToldFromAForeignFile) {
    const FreshName name("damage");
    { const auto array = Array<int>::create(name.name(), 4); }
    ASSERT_EQ(truncate(name.path().c_str(), 300), 0);
    EXPECT_TRUE(holds(ls_line(name.name()), "damaged")) << ls_line(name.name());
    const auto entry = entry_of(sluice_command({"ls", "--json"}).json(), name.name());
    EXPECT_EQ(entry.at("damaged"), true);
    EXPECT_EQ(sluice_command({"info", name.name()}).code, 4);
    const auto top = sluice_command({"top", "--once", "--interval", "0.05"}).out;
    EXPECT_TRUE(holds(top, "truncated")) << top;
    EXPECT_TRUE(holds(sluice_command({"clean", name.name(), "--yes", "--discard"}).out,
                      "is damaged, half-made or of another version"));
}

TEST(Damage, OfAPoolsTasksIsTold) {
    const Watchdog watchdog(60);
    const Pool pool({.workers = 1, .placement = {.policy = Policy::none}});
    const std::string path = pool_path();
    // The last task: one that nobody has used, nor will.
    scribble(path,
             shm::PoolShape{1}.tasks_offset() +
                 std::size_t{shm::PoolShape::kTasks - 1} * sizeof(shm::TaskLayout),
             15ULL << shm::TaskControl::kStateShift);
    const Ran ran = sluice_command({"info", path});
    EXPECT_EQ(ran.code, 4);
    EXPECT_TRUE(holds(ran.out, "task 4095 is in no state that there is")) << ran.out;
}

// What clean makes of them -----------------------------------------------------------------------

TEST(CleanStores, RemovesEmptyOnesAndLeavesWhatHoldsSomething) {
    const FreshName dict_name("clean-dict");
    const FreshName list_name("clean-list");
    const FreshName house_name("clean-house");
    const auto clean = [](const FreshName& name) {
        return sluice_command({"clean", name.name(), "--yes"});
    };
    {
        const auto dict = Dict<int, int>::create(dict_name.name());
        const auto list = List<int>::create(list_name.name());
        const auto house = Manager::create(house_name.name());
        dict[1] = 1;
        list.append(1);
        static_cast<void>(house.lock("door"));
    }
    EXPECT_TRUE(holds(clean(dict_name).out, "holds 1 entry:")) << clean(dict_name).out;
    EXPECT_TRUE(holds(clean(list_name).out, "holds 1 element:")) << clean(list_name).out;
    EXPECT_TRUE(holds(clean(house_name).out, "holds 1 object:")) << clean(house_name).out;
    {
        const auto dict = Dict<int, int>::open(dict_name.name());
        const auto list = List<int>::open(list_name.name());
        const auto house = Manager::open(house_name.name());
        dict.erase(1);
        static_cast<void>(list.pop());
        house.remove("door");
    }
    for (const FreshName* const name : {&dict_name, &list_name, &house_name}) {
        const Ran ran = clean(*name);
        EXPECT_EQ(ran.code, 0) << ran.out;
        EXPECT_NE(access(name->path().c_str(), F_OK), 0);
    }
}

TEST(CleanStores, LeavesAManagerWhoseObjectSomebodyHas) {
    const Watchdog watchdog(60);
    const FreshName name("clean");
    const auto door = [&] { return Manager::create(name.name()).lock("door"); }();
    EXPECT_EQ(sluice_command({"clean", name.name(), "--yes", "--discard"}).code, 1);
    EXPECT_EQ(access(name.path().c_str(), F_OK), 0);
}

}  // namespace
}  // namespace sluice::tool::test
