// Objects that hold data, and a Manager, as arguments of a Pool's tasks and as their results. (Of
// queues and of the lock family: pool_handles_test.cpp.)
#include <gtest/gtest.h>

#include <optional>
#include <sluice/msgpack.hpp>
#include <sluice/pool.hpp>
#include <sluice/sluice.hpp>
#include <string>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using sluice::Array;
using sluice::Dict;
using sluice::List;
using sluice::Manager;
using sluice::Pool;
using sluice::Value;
using Name = sluice::testing::UniqueName;
using Stock = Dict<std::string, int>;
using Names = List<std::string>;
using sluice::detail::travels_to_workers;

static_assert(travels_to_workers<Stock>() && travels_to_workers<Dict<long, long>>());
static_assert(travels_to_workers<Names>() && travels_to_workers<List<int>>());
static_assert(travels_to_workers<Value<int>>() && travels_to_workers<Value<std::string>>());
static_assert(travels_to_workers<Array<double>>() && travels_to_workers<Manager>());
static_assert(travels_to_workers<std::vector<std::pair<std::string, std::optional<Manager>>>>());

/// What a task does with one of each; how many elements it found.
std::size_t change_all(const Stock& stock, const Names& names, const Value<int>& number,
                       const Value<std::string>& text, const Array<double>& levels) {
    const std::size_t found = stock.size() + names.size() + levels.size();
    stock["nails"] = stock.at("nails") + 1;
    names.append("from a task");
    number.update([](int& value) { ++value; });
    text.update([](std::string& value) { value += "!"; });
    levels[-1] = 2.5;
    return found;
}

struct Data {
    void fill() const {
        stock["nails"] = 6;
        names.append("from the owner");
        number = 41;
        text = "hello";
    }
    void expect_changed_by(const Pool& pool) const {
        EXPECT_EQ(pool.apply(change_all, stock, names, number, text, levels), 1U + 1U + 3U);
        EXPECT_EQ(stock.at("nails"), 7);
        EXPECT_EQ(names.snapshot(), (std::vector<std::string>{"from the owner", "from a task"}));
        EXPECT_EQ(number.load(), 42);
        EXPECT_EQ(text.load(), "hello!");
        EXPECT_EQ(levels.snapshot(), (std::vector<double>{0, 0, 2.5}));
    }

    Stock stock{};
    Names names{};
    Value<int> number{};
    Value<std::string> text{};
    Array<double> levels{Array<double>(3)};
};

Data made_in(const Manager& manager, const std::string& stem) {
    const auto called = [&](const char* name) { return stem.empty() ? stem : stem + name; };
    return {manager.dict<std::string, int>(called("stock")),
            manager.list<std::string>(called("names")), manager.value<int>(called("number")),
            manager.value<std::string>(called("text")), manager.array<double>(called("levels"), 3)};
}

/// What NotPermitted says of it.
template <class Call>
std::string refusal(Call&& call) {
    try {
        call();
    } catch (const sluice::NotPermitted& error) {
        return error.what();
    }
    return "not refused";
}
template <class T>
std::string refusal_of(const Pool& pool, const T& handle) {
    return refusal([&] { pool.apply([](const T&) { return 1; }, handle); });
}

TEST(PoolSharedData, WhatWasMadeBeforeThePoolNeedsNoName) {
    const Data data;
    data.fill();
    const Pool sut(1);
    data.expect_changed_by(sut);
}

TEST(PoolSharedData, WhatWasMadeLaterTravelsByItsName) {
    const Pool sut(1);
    const Name stock("stock");
    const Name names("names");
    const Name number("number");
    const Name text("text");
    const Name levels("levels");
    const Data data{Stock::create(stock.text()), Names::create(names.text()),
                    Value<int>::create(number.text()), Value<std::string>::create(text.text()),
                    Array<double>::create(levels.text(), 3)};
    data.fill();
    data.expect_changed_by(sut);
}

TEST(PoolSharedData, WhatWasMadeLaterWithoutANameIsRefused) {
    const Pool sut(1);
    const Data data;
    for (const auto& [noun, text] : {
             std::pair{"Dict", refusal_of(sut, data.stock)},
             std::pair{"List", refusal_of(sut, data.names)},
             std::pair{"Value", refusal_of(sut, data.number)},
             std::pair{"Value", refusal_of(sut, data.text)},
             std::pair{"Array", refusal_of(sut, data.levels)},
             std::pair{"Manager", refusal_of(sut, Manager())},
         }) {
        EXPECT_NE(text.find(noun), std::string::npos) << text;
        EXPECT_NE(text.find("make it before the Pool, or give it a name"), std::string::npos)
            << text;
    }
    EXPECT_EQ(sut.apply([] { return 3; }), 3) << "the Pool goes on";
}

TEST(PoolSharedData, ANameThatLeadsToAnotherObjectByThenIsAnError) {
    const Pool sut(1);
    const Name name("reused");
    const auto first = Value<int>::create(name.text(), 1);
    Value<int>::unlink(name.text());
    const auto second = Value<int>::create(name.text(), 2);
    const auto load = [](const Value<int>& value) { return value.load(); };
    try {
        static_cast<void>(sut.apply(load, first));
        ADD_FAILURE() << "another one was read";
    } catch (const sluice::RemoteError& error) {
        EXPECT_EQ(error.type_name(), "sluice::BadSegment");
        EXPECT_NE(error.message().find("leads to another"), std::string::npos) << error.message();
    }
    EXPECT_EQ(sut.apply(load, second), 2);
}

TEST(PoolSharedData, TheyTravelInContainersAndInMaps) {
    const std::vector<Value<int>> values{Value<int>(1), Value<int>(2), Value<int>(3)};
    const Stock squares;
    const Pool sut(2);
    const auto square = [](const Value<int>& value, const Stock& results) {
        const int number = value;
        results[std::to_string(number)] = number * number;
        return number;
    };
    std::vector<std::tuple<Value<int>, Stock>> work;
    for (const Value<int>& value : values) {
        work.emplace_back(value, squares);
    }
    EXPECT_EQ(sut.starmap(square, work, 1), (std::vector{1, 2, 3}));
    EXPECT_EQ(squares.at("3"), 9);
    EXPECT_EQ(squares.size(), 3U);
    const auto sum = [](const std::vector<Value<int>>& all) {
        int total = 0;
        for (const Value<int>& one : all) {
            total += one;
        }
        return total;
    };
    EXPECT_EQ(sut.apply(sum, values), 6);
}

TEST(PoolSharedData, NamedOnesMayBeResults) {
    const Pool sut(1);
    const Name stock("result-stock");
    const Name names("result-names");
    const Name number("result-number");
    const Name levels("result-levels");
    const Name house("result-house");
    const Stock its_stock = sut.apply(
        [](const std::string& name) {
            const auto made = Stock::create(name);
            made["nails"] = 6;
            return made;
        },
        stock.text());
    EXPECT_EQ(its_stock.at("nails"), 6);
    const Names its_names = sut.apply(
        [](const std::string& name) {
            const auto made = Names::create(name);
            made.append("one");
            return made;
        },
        names.text());
    EXPECT_EQ(its_names[0], "one");
    const Value<int> its_number = sut.apply(
        [](const std::string& name) { return Value<int>::create(name, 5); }, number.text());
    EXPECT_EQ(its_number.load(), 5);
    const Array<double> its_levels = sut.apply(
        [](const std::string& name) { return Array<double>::create(name, 2); }, levels.text());
    EXPECT_EQ(its_levels.size(), 2U);
    const Manager its_house = sut.apply(
        [](const std::string& name) {
            const auto made = Manager::create(name);
            made.value<int>("rooms") = 4;
            return made;
        },
        house.text());
    EXPECT_EQ(its_house.value<int>("rooms").load(), 4);
    // The way back again: each leads to the same object.
    const auto same = [](const Value<int>& there) { return there; };
    sut.apply(same, its_number) = 6;
    EXPECT_EQ(its_number.load(), 6);
}

TEST(PoolSharedData, OnesWithoutANameCannotBeResults) {
    const Pool sut(1);
    const auto expect_refused = [](const auto& call) {
        try {
            call();
            ADD_FAILURE() << "it came back";
        } catch (const sluice::RemoteError& error) {
            EXPECT_EQ(error.type_name(), "sluice::NotPermitted");
        }
    };
    expect_refused([&] { sut.apply([] { return Stock(); }); });
    expect_refused([&] { sut.apply([] { return Names(); }); });
    expect_refused([&] { sut.apply([] { return Value<int>(1); }); });
    expect_refused([&] { sut.apply([] { return Array<int>(1); }); });
    expect_refused([&] { sut.apply([] { return Manager(); }); });
    const Name name("result-home");
    const auto manager = Manager::create(name.text());
    expect_refused(
        [&] { sut.apply([](const Manager& its) { return its.value<int>("there"); }, manager); });
    EXPECT_EQ(manager.names(), std::vector<std::string>{"there"});
}

// ---- Managers

/// What a task does that is given one.
int make_in(const Manager& manager, const std::string& name) {
    manager.queue<int>(name).put(manager.value<int>("number") + 1);
    return static_cast<int>(manager.names().size());
}

TEST(PoolSharedData, ATaskMakesAndFindsObjectsInAManager) {
    const Manager before;
    const Pool sut(1);
    const Name name("house");
    const auto later = Manager::create(name.text());
    for (const Manager& manager : {before, later}) {
        manager.value<int>("number") = 41;
        for (const std::string queue : {"first", "second"}) {
            EXPECT_EQ(sut.apply(make_in, manager, queue), queue == "first" ? 2 : 3);
            EXPECT_EQ(manager.queue<int>(queue).get(), 42);
        }
    }
}

TEST(PoolSharedData, AWorkerKeepsAManagerThatItWasGiven) {
    const Pool sut(1);
    const Name name("kept");
    const auto manager = Manager::create(name.text());
    manager.value<int>("number") = 1;
    EXPECT_EQ(sut.apply(make_in, manager, "first"), 2);
    Manager::unlink(name.text());
    EXPECT_EQ(sut.apply(make_in, manager, "second"), 3) << "the worker has kept it";
}

TEST(PoolSharedData, WhatLiesInAManagerTravelsWhereItWasThereBeforeThePool) {
    const Manager manager;
    const Data unnamed = made_in(manager, "");
    const Data named = made_in(manager, "its-");
    const Pool sut(1);
    for (const Data& data : {unnamed, named}) {
        data.fill();
        data.expect_changed_by(sut);
    }
}

// It has no name that a worker could open by itself: a Manager's are the Manager's.
TEST(PoolSharedData, WhatWasMadeInAManagerAfterThePoolIsRefusedAndTheMendIsNamed) {
    const Manager before;
    const Pool sut(1);
    const Name name("mend");
    for (const Manager& manager : {before, Manager::create(name.text())}) {
        for (const std::string stem : {"", "its-"}) {
            const Data data = made_in(manager, stem);
            for (const auto& [noun, text] : {
                     std::pair{"Dict", refusal_of(sut, data.stock)},
                     std::pair{"List", refusal_of(sut, data.names)},
                     std::pair{"Value", refusal_of(sut, data.number)},
                     std::pair{"Array", refusal_of(sut, data.levels)},
                     std::pair{"Queue", refusal_of(sut, manager.queue<int>())},
                     std::pair{"Lock", refusal_of(sut, manager.lock())},
                 }) {
                EXPECT_NE(text.find(noun), std::string::npos) << text;
                EXPECT_NE(text.find("send the Manager and the name"), std::string::npos) << text;
            }
        }
        // The mend.
        const Value<int> number = manager.value<int>("its-number");
        sut.apply(
            [](const Manager& its, const std::string& of) {
                its.value<int>(of) = 7;
                return true;
            },
            manager, "its-number");
        EXPECT_EQ(number.load(), 7);
    }
}

// Opened anew after the Pool, an object that was there before is one of those that came later.
TEST(PoolSharedData, WhatWasOpenedInAManagerAfterThePoolIsRefused) {
    const Manager manager;
    const Value<int> before = manager.value<int>("number", 5);
    const Pool sut(1);
    const Value<int> later = manager.value<int>("number");
    const auto load = [](const Value<int>& value) { return value.load(); };
    EXPECT_EQ(sut.apply(load, before), 5);
    EXPECT_NE(refusal_of(sut, later).find("send the Manager and the name"), std::string::npos);
}

}  // namespace
