#include "sluice/array.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "sluice/error.hpp"
#include "support/processes.hpp"

namespace sluice {
namespace {

using test::await;
using test::Child;
using test::FreshName;
using test::Shared;
using test::Watchdog;

struct Level {
    std::int64_t price{1};
    std::int64_t size{2};
    std::int32_t orders{3};

    bool operator==(const Level&) const = default;
};
struct Odd {
    std::array<std::uint8_t, 3> bytes{};
};

TEST(Array, HoldsDefaultElementsAtFirst) {
    const Array<int> sut(3);
    EXPECT_EQ(sut.size(), 3U);
    EXPECT_EQ(sut.snapshot(), (std::vector<int>{0, 0, 0}));
    EXPECT_EQ(Array<Level>(2).load(1), Level{}) << "not zeros";
    const Array<double> given{1.5, 2.5};
    EXPECT_EQ(given.snapshot(), (std::vector<double>{1.5, 2.5}));
}

TEST(Array, ElementsAreReadAndAssignedLikeVariables) {
    const Array<int> sut(4);
    sut[0] = 10;
    sut[1] = sut[0];
    sut[-1] = 40;
    const int last = sut[3];
    EXPECT_EQ(last, 40);
    EXPECT_EQ(sut[1] + 1, 11);
    EXPECT_EQ(sut.at(-4), 10);
    EXPECT_EQ(sut.snapshot(), (std::vector<int>{10, 10, 0, 40}));
    std::ostringstream out;
    out << sut;
    EXPECT_EQ(out.str(), "[10, 10, 0, 40]");
}

TEST(Array, NamesAnIndexThatIsOutOfRange) {
    const Array<int> sut(4);
    EXPECT_THROW(sut.load(4), std::out_of_range);
    EXPECT_THROW(sut[-5], std::out_of_range);
    EXPECT_THROW(sut.store(1LL << 62, 1), std::out_of_range);
    EXPECT_THROW(sut.update(4, [](int&) {}), std::out_of_range);
    try {
        sut.store(-9, 1);
        FAIL() << "it is in range";
    } catch (const std::out_of_range& error) {
        EXPECT_STREQ(error.what(), "Array: index -9 is out of range, it has 4 elements");
    }
}

template <class T>
class ArrayOf : public ::testing::Test {};
using Types = ::testing::Types<bool, std::uint8_t, std::int16_t, Odd, float, std::uint64_t, Level,
                               std::array<std::uint64_t, 9>>;
TYPED_TEST_SUITE(ArrayOf, Types);

template <class T>
T value_of(unsigned number) {
    std::array<std::byte, plain_bytes<T>> bytes{};
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        bytes[at] = static_cast<std::byte>(sizeof(T) == 1 ? number % 2 : number + at);
    }
    return load_plain<T>(bytes.data());
}
template <class T>
bool same(const T& one, const T& other) {
    std::array<std::byte, plain_bytes<T>> bytes{};
    std::array<std::byte, plain_bytes<T>> others{};
    store_plain(bytes.data(), one);
    store_plain(others.data(), other);
    return bytes == others;
}

TYPED_TEST(ArrayOf, KeepsWhatIsStored) {
    constexpr unsigned kCount = 37;
    const Array<TypeParam> sut(kCount);
    for (unsigned round = 0; round < 3; ++round) {
        for (unsigned index = 0; index < kCount; ++index) {
            sut.store(index, value_of<TypeParam>(index + round));
        }
        const std::vector<TypeParam> all = sut.snapshot();
        for (unsigned index = 0; index < kCount; ++index) {
            EXPECT_TRUE(same<TypeParam>(all[index], value_of<TypeParam>(index + round)));
            EXPECT_TRUE(same<TypeParam>(sut.load(index), value_of<TypeParam>(index + round)));
        }
        sut.fill(value_of<TypeParam>(99));
        sut.store(5, value_of<TypeParam>(round));
        for (unsigned index = 0; index < kCount; ++index) {
            EXPECT_TRUE(
                same<TypeParam>(sut.load(index), value_of<TypeParam>(index == 5 ? round : 99)));
        }
    }
}

TEST(Array, AssignReplacesAll) {
    const Array<Level> sut(3);
    const std::vector<Level> levels{{1, 1, 1}, {2, 2, 2}, {3, 3, 3}};
    sut.assign(levels);
    EXPECT_EQ(sut.snapshot(), levels);
    sut.store(1, {9, 9, 9});
    sut.assign(levels);
    EXPECT_EQ(sut.load(1), levels[1]);
    EXPECT_THROW(sut.assign(std::vector<Level>(2)), std::length_error);
    EXPECT_EQ(sut.snapshot(), levels);
}

TEST(Array, IteratesOverASnapshot) {
    const Array<int> sut{1, 2, 3};
    int sum = 0;
    for (const int value : sut) {
        sut.fill(100);
        sum += value;
    }
    EXPECT_EQ(sum, 6);
}

TEST(Array, UpdateIsOneStep) {
    const Array<Level> sut(2);
    EXPECT_EQ(sut.update(-1, [](Level& level) { level.price = 5; }).price, 5);
    EXPECT_THROW(sut.update(0,
                            [](Level& level) {
                                level.price = 6;
                                throw std::runtime_error("no");
                            }),
                 std::runtime_error);
    EXPECT_EQ(sut.load(0), Level{});
    EXPECT_THROW(sut.update(0, [&](Level&) { sut.fill({}); }), Error);
    EXPECT_EQ(sut.load(1).price, 5);
}

TEST(Array, RefusesToBeEmpty) {
    EXPECT_THROW(Array<int>(0), std::invalid_argument);
    EXPECT_THROW(Array<int>((1ULL << 32U) + 1), std::invalid_argument);
}

TEST(Array, NamedOnesAreCheckedWhenTheyAreOpened) {
    const FreshName name("array");
    const auto sut = Array<int>::create(name.name(), 5);
    sut[3] = 9;
    EXPECT_EQ(Array<int>::open(name.name()).size(), 5U);
    EXPECT_EQ(Array<int>::open_or_create(name.name(), 99).load(3), 9);
    EXPECT_THROW(Array<unsigned>::open(name.name()), BadSegment);
    Array<int>::unlink(name.name());
    EXPECT_THROW(Array<int>::open(name.name()), std::system_error);
}

TEST(Array, TwoProcessesUpdateItWithoutLosingAny) {
    const Watchdog watchdog(60);
    const Array<std::uint64_t> sut(8);
    const Array<Level> large(8);
    constexpr unsigned kTimes = 20'000;
    const auto work = [&] {
        for (unsigned count = 0; count < kTimes; ++count) {
            sut.update(count % 8, [](std::uint64_t& value) { ++value; });
            large.update(count % 8, [](Level& level) { ++level.price; });
        }
    };
    Child child(work);
    work();
    EXPECT_EQ(child.join(), 0);
    for (unsigned index = 0; index < 8; ++index) {
        EXPECT_EQ(sut.load(index), 2U * kTimes / 8);
        EXPECT_EQ(large.load(index).price, 1 + 2 * std::int64_t{kTimes} / 8);
    }
}

// A writer goes through the elements in order, again and again: a snapshot of one moment is
// n, n, ..., n, n - 1, ..., n - 1. Between rounds all are assigned in one step.
template <class T>
void snapshots_are_of_one_moment() {
    const Watchdog watchdog(60);
    constexpr std::size_t kCount = 16;
    const Array<T> sut(kCount);
    const auto number = [](const T& value) {
        if constexpr (sizeof(T) > 8) {
            EXPECT_EQ(value.front(), value.back()) << "a mixture";
            return value.front();
        } else {
            return value;
        }
    };
    const auto make = [](std::uint64_t value) {
        if constexpr (sizeof(T) > 8) {
            T made{};
            made.fill(value);
            return made;
        } else {
            return value;
        }
    };
    std::atomic<bool> done{false};
    std::thread writer([&] {
        for (std::uint64_t round = 1; round < 6'000; ++round) {
            if (round % 3 == 0) {
                sut.fill(make(round));
            } else {
                for (std::size_t index = 0; index < kCount; ++index) {
                    sut.store(static_cast<std::int64_t>(index), make(round));
                }
            }
        }
        done.store(true);
    });
    std::uint64_t last = 0;
    while (!done.load()) {
        const std::vector<T> all = sut.snapshot();
        const std::uint64_t first = number(all.front());
        const std::uint64_t rest = number(all.back());
        ASSERT_LE(last, rest) << "it went back";
        ASSERT_TRUE(first == rest || (first == rest + 1 && first % 3 != 0)) << first << ' ' << rest;
        bool turned = false;
        for (const T& value : all) {
            turned = turned || number(value) != first;
            ASSERT_EQ(number(value), turned ? rest : first);
        }
        last = rest;
        ASSERT_LE(last, number(sut.load(0)));
    }
    writer.join();
}
TEST(Array, ThreadsSeeSnapshotsOfOneMoment) {
    snapshots_are_of_one_moment<std::uint64_t>();
}
TEST(Array, ThreadsSeeSnapshotsOfOneMomentOfLargeElements) {
    snapshots_are_of_one_moment<std::array<std::uint64_t, 5>>();
}

TEST(Array, AWritersDeathLeavesTheOldElement) {
    const Watchdog watchdog(60);
    const Array<Level> sut(3);
    Shared<std::atomic<int>> inside;
    Child child([&] {
        sut.update(1, [&](Level& level) {
            level.price = 50;
            inside->store(1);
            await([] { return false; });
        });
    });
    await([&] { return inside->load() == 1; });
    EXPECT_EQ(sut.load(1), Level{}) << "readers never wait";
    child.kill_and_join();
    EXPECT_EQ(sut.load(1), Level{});
    sut[1] = Level{7, 7, 7};
    EXPECT_EQ(sut.load(1).size, 7);
}

}  // namespace
}  // namespace sluice
