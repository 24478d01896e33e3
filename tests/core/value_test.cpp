#include "sluice/value.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "sluice/error.hpp"
#include "sluice/guarded.hpp"
#include "sluice/msgpack.hpp"
#include "support/processes.hpp"

namespace sluice {
namespace {

using test::await;
using test::Child;
using test::FreshName;
using test::Shared;
using test::Watchdog;

struct Quote {
    std::int64_t bid{};
    std::int64_t ask{7};
};

TEST(Value, HoldsItsInitialValue) {
    EXPECT_EQ(Value<int>().load(), 0);
    EXPECT_EQ(Value<int>(7).load(), 7);
    EXPECT_EQ(Value<Quote>().load().ask, 7);
    EXPECT_EQ(Value<std::string>("hello").load(), "hello");
    EXPECT_EQ(Value<std::string>().load(), "");
}

TEST(Value, IsReadAndAssignedLikeAVariable) {
    const Value<int> sut;
    sut = 5;
    const int now = sut;
    EXPECT_EQ(now, 5);
    EXPECT_EQ(sut + 1, 6);
    const Value<std::string> text;
    text = "changed";
    EXPECT_EQ(std::string(text), "changed");
    std::ostringstream out;
    out << sut << ' ' << text;
    EXPECT_EQ(out.str(), "5 changed");
}

TEST(Value, UpdateAndExchangeAreOneStep) {
    const Value<int> sut(5);
    EXPECT_EQ(sut.update([](int& value) { value *= 3; }), 15);
    EXPECT_EQ(sut.exchange(1), 15);
    EXPECT_EQ(sut.load(), 1);
    const Value<std::vector<int>> list;
    EXPECT_EQ(list.update([](std::vector<int>& value) { value.push_back(4); }).size(), 1U);
    EXPECT_EQ(list.exchange({}), std::vector<int>{4});
}

TEST(Value, NothingHappensWhereAChangeThrows) {
    const Value<std::string> sut("old");
    EXPECT_THROW(sut.update([](std::string& value) {
        value = "new";
        throw std::runtime_error("no");
    }),
                 std::runtime_error);
    EXPECT_EQ(sut.load(), "old");
    sut.store("written by the next");
    EXPECT_EQ(sut.load(), "written by the next");
}

TEST(Value, WritingItWhileOneWritesItIsAnError) {
    const Value<int> sut(1);
    EXPECT_THROW(sut.update([&](int& value) {
        value = sut.load() + 1;  // reading is no writing
        sut.store(9);
    }),
                 Error);
    EXPECT_EQ(sut.load(), 1);
}

TEST(Value, APackedOneSaysWhenItIsTooLong) {
    const Value<std::string> sut("old", {.bytes_max = 100});
    sut.store(std::string(98, 'x'));  // two bytes say how long it is
    const std::string too_long(103, 'y');
    try {
        sut.store(too_long);
        FAIL() << "it fits";
    } catch (const std::length_error& error) {
        const std::string text = error.what();
        EXPECT_NE(text.find("105 bytes"), std::string::npos) << text;
        EXPECT_NE(text.find("room for 104"), std::string::npos) << text;
        EXPECT_NE(text.find("bytes_max"), std::string::npos) << text;
    }
    EXPECT_EQ(sut.load(), std::string(98, 'x'));
    EXPECT_THROW(Value<std::string>(too_long, {.bytes_max = 100}), std::length_error);
}

TEST(Value, ALongOneIsReadWhole) {
    std::map<std::string, std::vector<int>> map;
    for (int index = 0; index < 1000; ++index) {
        map["key " + std::to_string(index)] = {index, index + 1};
    }
    const Value<decltype(map)> sut({}, {.bytes_max = 1U << 20U});
    sut.store(map);
    EXPECT_EQ(sut.load(), map);
    sut.store({});
    EXPECT_TRUE(sut.load().empty());
}

TEST(Value, NamedOnesAreCheckedWhenTheyAreOpened) {
    const FreshName name("value");
    const auto sut = Value<std::string>::create(name.name(), "here", {.bytes_max = 999});
    EXPECT_EQ(Value<std::string>::open(name.name()).load(), "here");
    EXPECT_EQ(Value<std::string>::open_or_create(name.name(), "ignored").load(), "here");
    EXPECT_THROW(Value<int>::open(name.name()), BadSegment);
    EXPECT_THROW(Guarded<int>::open(name.name()), BadSegment);
    EXPECT_THROW(Value<std::string>::create(name.name()), std::system_error);
    Value<std::string>::unlink(name.name());
    EXPECT_THROW(Value<std::string>::open(name.name()), std::system_error);
    EXPECT_EQ(sut.name(), name.name());
}

TEST(Value, TwoProcessesUpdateItWithoutLosingAny) {
    const Watchdog watchdog(60);
    const Value<std::uint64_t> plain;
    const Value<std::string> packed;
    constexpr int kTimes = 20'000;
    const auto work = [&] {
        for (int count = 0; count < kTimes; ++count) {
            plain.update([](std::uint64_t& value) { ++value; });
            if (count % 100 == 0) {
                packed.update([](std::string& value) { value += 'x'; });
            }
        }
    };
    Child child(work);
    work();
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(plain.load(), 2U * kTimes);
    EXPECT_EQ(packed.load(), std::string(2U * kTimes / 100, 'x'));
    EXPECT_EQ(plain.version(), 2U * kTimes);
}

// Every character the same, or it is a mixture. The lengths differ, too.
TEST(Value, ThreadsReadPackedValuesWholeWhileAnotherWrites) {
    const Watchdog watchdog(60);
    const Value<std::string> sut(std::string(10, 'a'));
    std::atomic<bool> done{false};
    std::thread writer([&] {
        for (int count = 0; count < 20'000; ++count) {
            const int which = count % 26;
            sut.store(std::string(static_cast<std::size_t>(10 + 100 * which),
                                  static_cast<char>('a' + which)));
        }
        done.store(true);
    });
    std::uint64_t read = 0;
    while (!done.load() || read == 0) {
        const std::string value = sut.load();
        ASSERT_EQ(value.find_first_not_of(value.front()), std::string::npos);
        ASSERT_EQ(value.size(), 10U + 100U * static_cast<unsigned>(value.front() - 'a'));
        ++read;
    }
    writer.join();
}

TEST(Value, AWritersDeathLeavesTheOldValue) {
    const Watchdog watchdog(60);
    const Value<std::string> sut("old");
    Shared<std::atomic<int>> inside;
    Child child([&] {
        sut.update([&](std::string& value) {
            value = "new";
            inside->store(1);
            await([] { return false; });
        });
    });
    await([&] { return inside->load() == 1; });
    EXPECT_EQ(sut.load(), "old") << "readers never wait";
    child.kill_and_join();
    EXPECT_EQ(sut.load(), "old");
    sut.store("the next one's");
    EXPECT_EQ(sut.load(), "the next one's");
}

}  // namespace
}  // namespace sluice
