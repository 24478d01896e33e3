#include "sluice/dict.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "sluice/error.hpp"
#include "sluice/lock.hpp"
#include "sluice/msgpack.hpp"
#include "support/processes.hpp"
#include "support/text.hpp"

namespace sluice {
namespace {

using test::await;
using test::Child;
using test::FreshName;
using test::Shared;
using test::text_of;
using test::Watchdog;

TEST(Dict, SetsAndGets) {
    const Dict<int, int> sut;
    EXPECT_TRUE(sut.empty());
    EXPECT_EQ(sut.get(1), std::nullopt);
    sut[1] = 10;
    sut.set(2, 20);
    EXPECT_TRUE(sut.insert_or_assign(3, 30));
    EXPECT_FALSE(sut.insert_or_assign(3, 31));
    EXPECT_EQ(sut.at(1), 10);
    const int two = sut[2];
    EXPECT_EQ(two, 20);
    EXPECT_EQ(sut.get(3, 0), 31);
    EXPECT_EQ(sut.get(4, 40), 40);
    EXPECT_TRUE(sut.contains(1));
    EXPECT_FALSE(sut.contains(4));
    EXPECT_EQ(sut.size(), 3U);
}

TEST(Dict, HoldsWhatThePythonTutorialPutsThere) {
    const Dict<std::string, std::map<std::string, std::string>> sut;
    for (const std::string name : {"user_1", "user_0"}) {
        sut[name] = {{name, name}};
    }
    EXPECT_EQ(text_of(sut), "{'user_0': {'user_0': 'user_0'}, 'user_1': {'user_1': 'user_1'}}");
    const auto& item = sut["user_0"];
    EXPECT_EQ(text_of(item), "{'user_0': 'user_0'}");
}

TEST(Dict, AMissingKeyIsNamed) {
    const FreshName name("dict");
    const auto sut = Dict<std::string, int>::create(name.name());
    sut["there"] = 1;
    const auto message = [&](auto&& read) {
        try {
            read();
        } catch (const std::out_of_range& error) {
            return std::string(error.what());
        }
        return std::string("nothing was thrown");
    };
    const std::string expected = "Dict \"" + name.name() + "\": has no key 'not there'";
    EXPECT_EQ(message([&] { static_cast<void>(sut.at("not there")); }), expected);
    EXPECT_EQ(message([&] { static_cast<void>(int{sut["not there"]}); }), expected);
    EXPECT_EQ(message([&] { static_cast<void>(sut.pop("not there")); }), expected);
    EXPECT_EQ(message([&] { sut.update("not there", [](int& value) { ++value; }); }), expected);
}

TEST(Dict, ErasesAndPops) {
    const Dict<std::string, int> sut;
    sut["a"] = 1;
    sut["b"] = 2;
    EXPECT_TRUE(sut.erase("a"));
    EXPECT_FALSE(sut.erase("a"));
    EXPECT_EQ(sut.pop("b"), 2);
    EXPECT_EQ(sut.pop("b", 7), 7);
    EXPECT_TRUE(sut.empty());
    sut["a"] = 3;
    EXPECT_EQ(sut.at("a"), 3);
    sut.clear();
    EXPECT_TRUE(sut.empty());
    EXPECT_FALSE(sut.contains("a"));
}

TEST(Dict, SetsDefaults) {
    const Dict<int, std::string> sut;
    EXPECT_EQ(sut.setdefault(1, "one"), "one");
    EXPECT_EQ(sut.setdefault(1, "uno"), "one");
    EXPECT_EQ(sut.at(1), "one");
}

TEST(Dict, UpdatesInPlaceByReturnAndWhereTheKeyIsMissing) {
    const Dict<std::string, int> sut;
    sut["n"] = 1;
    sut.update("n", [](int& value) { value += 1; });
    EXPECT_EQ(sut.at("n"), 2);
    sut.update("n", [](int value) { return value * 10; });
    EXPECT_EQ(sut.at("n"), 20);
    sut.update("n", [](int& value) { return value++; });
    EXPECT_EQ(sut.at("n"), 21) << "what a change in place returns is not the value";
    sut.update("n", [](auto& value) { value += 1; });
    EXPECT_EQ(sut.at("n"), 22);
    sut.update("m", [](std::optional<int> value) { return value.value_or(0) + 1; });
    EXPECT_EQ(sut.at("m"), 1);
    sut.update("m", [](std::optional<int>& value) { value.reset(); });
    EXPECT_FALSE(sut.contains("m"));
    sut.update("m", [](std::optional<int>& value) { value = 5; });
    EXPECT_EQ(sut.at("m"), 5);
    sut.update(
        "k", [](int& value) { ++value; }, 100);
    EXPECT_EQ(sut.at("k"), 101);
    sut["k"] += 9;
    EXPECT_EQ(sut["k"], 110);
    EXPECT_THROW(sut.update("k",
                            [](int& value) {
                                value = 0;
                                throw std::logic_error("no");
                            }),
                 std::logic_error);
    EXPECT_EQ(sut.at("k"), 110);
}

TEST(Dict, AWriteFromWithinAnUpdateIsRefusedAndReadingIsNot) {
    const Watchdog watchdog(60);
    const Dict<int, int> sut;
    const Dict<int, int> other;
    sut[1] = 1;
    sut[2] = 2;
    Child child;
    sut.update(1, [&](int& value) {
        EXPECT_THROW(sut.set(1, 5), Error);
        EXPECT_THROW(sut.set(2, 5), Error);
        EXPECT_THROW(sut.clear(), Error);
        EXPECT_THROW(sut.insert_or_assign({{7, 7}}), Error);
        other[1] = 9;
        // A child made here holds none of its parent's locks: it writes when these are free.
        child = Child([&] { sut[1] += 100; });
        value = sut.at(2) + static_cast<int>(sut.items().size());
    });
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(sut.at(1), 104);
    EXPECT_EQ(other.at(1), 9);
    sut.set(2, 3);
    EXPECT_EQ(sut.at(2), 3);
}

TEST(Dict, TakesManyInOneStep) {
    const Dict<std::string, int> sut;
    sut["b"] = 0;
    sut.insert_or_assign({{"a", 1}, {"b", 2}, {"a", 3}});
    EXPECT_EQ(sut.snapshot(), (std::map<std::string, int>{{"a", 3}, {"b", 2}}));
    std::map<std::string, int> many;
    for (int number = 0; number < 1000; ++number) {
        many["key " + std::to_string(number)] = number;
    }
    sut.update(many);
    EXPECT_EQ(sut.size(), 1002U);
    EXPECT_EQ(sut.at("key 777"), 777);
    sut.insert_or_assign(std::vector<std::pair<std::string, int>>{});
    sut.update({{"c", 9}});
    EXPECT_EQ(sut.pop("c"), 9);
    sut.clear();
    EXPECT_TRUE(sut.empty());
    EXPECT_TRUE(sut.items().empty());
    sut.update(many);
    EXPECT_EQ(sut.snapshot(), many);
}

TEST(Dict, GoesOverASnapshot) {
    const Dict<int, char> sut;
    sut.insert_or_assign({{2, 'b'}, {1, 'a'}, {3, 'c'}});
    std::vector<int> keys;
    for (const auto& [key, value] : sut) {
        EXPECT_EQ(value, 'a' + key - 1);
        sut.erase(key);
        keys.push_back(key);
    }
    EXPECT_EQ(keys, (std::vector{1, 2, 3}));
    EXPECT_TRUE(sut.empty());
    sut[5] = 'e';
    EXPECT_EQ(sut.keys(), std::vector{5});
    EXPECT_EQ(sut.values(), std::vector{'e'});
    EXPECT_EQ(sut.items(), (std::vector{std::pair{5, 'e'}}));
}

TEST(Dict, PrintsAsPythonDoes) {
    const Dict<std::string, std::tuple<bool, std::optional<double>, std::vector<int>>> sut;
    EXPECT_EQ(text_of(sut), "{}");
    sut["it's"] = {true, 2.0, {1, 2}};
    sut["b\n"] = {false, {}, {}};
    EXPECT_EQ(text_of(sut), "{'b\\n': (False, None, []), \"it's\": (True, 2.0, [1, 2])}");
}

TEST(Dict, EqualKeysAreOneKey) {
    const Dict<double, int> floats;
    floats[0.0] = 1;
    floats[-0.0] = 2;
    floats[std::numeric_limits<double>::quiet_NaN()] = 3;
    floats[-std::numeric_limits<double>::quiet_NaN()] = 4;
    EXPECT_EQ(floats.size(), 2U);
    EXPECT_EQ(floats.at(0.0), 2);
    EXPECT_EQ(floats.at(std::nan("")), 4);
    // The bytes between the elements of a pair are nobody's.
    const Dict<std::pair<char, std::int64_t>, int> pairs;
    alignas(8) std::array<std::byte, sizeof(std::pair<char, std::int64_t>)> memory;
    for (const auto garbage : {std::byte{0}, std::byte{0xff}}) {
        memory.fill(garbage);
        const auto* key = new (memory.data()) std::pair<char, std::int64_t>('x', 7);
        pairs[*key] = 1;
    }
    EXPECT_EQ(pairs.size(), 1U);
    const Dict<std::map<int, std::string>, int> maps;
    maps[{{1, "a"}, {2, "b"}}] = 1;
    maps[{{2, "b"}, {1, "a"}}] = 2;
    EXPECT_EQ(maps.size(), 1U);
}

struct Padded {
    char letter;
    int number;
};
struct Tight {
    int one;
    int other;
};
static_assert(!detail::has_one_form<Padded>() && detail::has_one_form<Tight>());
static_assert(!detail::has_one_form<std::unordered_map<int, int>>());
static_assert(!detail::has_one_form<std::vector<double>>());
static_assert(detail::has_one_form<std::vector<std::string>>());
static_assert(!detail::has_one_form<std::optional<int>>(), "copied whole, what is not there too");
static_assert(detail::has_one_form<std::array<std::uint16_t, 3>>());

TEST(Dict, TakesPlainStructsAsKeysAndValues) {
    const Dict<Tight, Padded> sut;
    sut[{1, 2}] = {'x', 3};
    sut[{2, 1}] = {'y', 4};
    EXPECT_EQ(sut.at({1, 2}).number, 3);
    EXPECT_EQ(sut.at({2, 1}).letter, 'y');
    EXPECT_FALSE(sut.contains({2, 2}));
}

// Values of all sizes, among them some that need units of their own, against a private map.
TEST(Dict, IsAsAPrivateMapThroughManyChanges) {
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    const Dict<std::string, std::string> sut(
        DictOptions{.max_bytes = std::uint64_t{256} << 20U, .stripes = 4});
    std::map<std::string, std::string> model;
    for (int step = 0; step < 20'000; ++step) {
        const std::string key = "key " + std::to_string(random() % 700);
        const std::size_t bytes = random() % 50 == 0 ? random() % 60'000 : random() % 300;
        switch (random() % 8) {
            case 0:
            case 1:
            case 2:
            case 3: {
                std::string value(bytes, static_cast<char>('a' + step % 26));
                sut[key] = value;
                model[key] = std::move(value);
                break;
            }
            case 4:
            case 5:
                ASSERT_EQ(sut.erase(key), model.erase(key) == 1);
                break;
            case 6: {
                const auto there = model.find(key);
                ASSERT_EQ(sut.get(key),
                          there == model.end() ? std::nullopt : std::optional(there->second));
                break;
            }
            default:
                if (step % 1000 == 0) {
                    sut.clear();
                    model.clear();
                } else if (step % 100 == 0) {
                    ASSERT_EQ(sut.snapshot(), model);
                } else if (model.contains(key)) {
                    sut.update(key, [](std::string& value) { value += "more"; });
                    model[key] += "more";
                }
        }
        ASSERT_EQ(sut.size(), model.size());
    }
    EXPECT_EQ(sut.snapshot(), model);
}

TEST(Dict, GrowsToManyKeysAndShrinksAgain) {
    const Dict<std::uint64_t, std::uint64_t> sut;
    constexpr std::uint64_t kKeys = 200'000;
    for (std::uint64_t key = 0; key < kKeys; ++key) {
        sut[key] = key * 3;
    }
    EXPECT_EQ(sut.size(), kKeys);
    for (std::uint64_t key = 0; key < kKeys; ++key) {
        ASSERT_EQ(sut.at(key), key * 3);
    }
    for (std::uint64_t key = 0; key < kKeys; ++key) {
        ASSERT_TRUE(sut.erase(key));
    }
    EXPECT_TRUE(sut.empty());
    // What was given back is used again.
    const std::uint64_t bytes = sut.memory_bytes();
    for (std::uint64_t key = 0; key < kKeys; ++key) {
        sut[key + kKeys] = key;
    }
    EXPECT_LE(sut.memory_bytes(), bytes + bytes / 100);
}

TEST(Dict, TheFootprintDoesNotGrowWithUpdates) {
    const Dict<std::uint64_t, std::array<std::uint64_t, 4>> sut;
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    const auto update = [&](int times) {
        for (int time = 0; time < times; ++time) {
            const std::uint64_t key = random() % 20'000;
            if (random() % 8 == 0) {
                sut.erase(key);
            } else {
                sut[key] = {key, key, key, key};
            }
        }
    };
    update(200'000);
    const std::uint64_t before = sut.memory_bytes();
    update(1'000'000);
    EXPECT_LE(sut.memory_bytes(), before + before / 100);
}

TEST(Dict, FullIsAnErrorThatNamesTheSizesAndLosesNothing) {
    const Dict<int, std::string> sut(DictOptions{.max_bytes = 1U << 20U, .stripes = 2});
    const std::string value(1000, 'x');
    int set = 0;
    try {
        for (;; ++set) {
            sut[set] = value;
        }
    } catch (const std::system_error& error) {
        EXPECT_EQ(error.code().value(), ENOSPC);
        const std::string what = error.what();
        EXPECT_NE(what.find("no room for"), std::string::npos) << what;
        EXPECT_NE(what.find("1048576 are the most"), std::string::npos) << what;
    }
    EXPECT_GT(set, 500) << "most of it was used";
    EXPECT_EQ(sut.size(), static_cast<std::size_t>(set));
    EXPECT_FALSE(sut.contains(set));
    EXPECT_THROW(sut.set(-1, std::string(2U << 20U, 'y')), std::system_error);
    EXPECT_THROW(sut.insert_or_assign({{-1, value}, {-2, std::string(1U << 20U, 'y')}}),
                 std::system_error);
    for (int key = 0; key < set; ++key) {
        ASSERT_EQ(sut.at(key), value);
    }
    EXPECT_FALSE(sut.contains(-1));
    for (int key = 0; key < set; key += 2) {
        ASSERT_TRUE(sut.erase(key));
    }
    for (int key = 0; key < set; key += 2) {
        sut[key] = value;
    }
    EXPECT_EQ(sut.size(), static_cast<std::size_t>(set));
    EXPECT_THROW((Dict<int, int>(DictOptions{.max_bytes = 1})), std::invalid_argument);
}

TEST(Dict, IsFoundByItsName) {
    const FreshName name("dict");
    using Sut = Dict<std::string, int>;
    const auto made = Sut::create(name.name(), {.max_bytes = 1U << 24U});
    made["a"] = 1;
    EXPECT_EQ(made.name(), name.name());
    EXPECT_THROW(Sut::create(name.name()), std::system_error);
    EXPECT_THROW((Dict<std::string, long>::open(name.name())), BadSegment) << "another type";
    EXPECT_THROW(Lock::open(name.name()), BadSegment);
    Child child([&] {
        const auto opened = Sut::open(name.name());
        EXPECT_EQ(opened.at("a"), 1);
        opened["b"] = 2;
    });
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(Sut::open_or_create(name.name()).at("b"), 2);
    Sut::unlink(name.name());
    EXPECT_THROW(Sut::open(name.name()), std::system_error);
    EXPECT_THROW(Sut::create(""), std::invalid_argument);
}

TEST(Dict, TravelsToASpawnedProcessByItsDescriptor) {
    const Dict<std::string, int> sut(DictOptions{.max_bytes = 1U << 20U});
    sut["a"] = 1;
    detail::Parcel parcel;
    detail::pack_travelling(sut, parcel);
    detail::Unparcel arrived(parcel.bytes());
    const auto other = detail::unpack_travelling<Dict<std::string, int>>(arrived);
    other["b"] = 2;
    EXPECT_EQ(sut.at("b"), 2);
    detail::Unparcel again(parcel.bytes());
    EXPECT_THROW((detail::unpack_travelling<Dict<std::string, long>>(again)), BadSegment);
}

TEST(Dict, ProcessesWriteSideBySide) {
    const Watchdog watchdog(120);
    const Dict<std::string, int> sut;
    sut["sum"] = 0;
    std::vector<Child> children;
    for (int child = 0; child < 3; ++child) {
        children.emplace_back([&sut, child] {
            for (int number = 0; number < 2000; ++number) {
                sut[std::to_string(child) + "-" + std::to_string(number)] = number;
                sut.update("sum", [](int& sum) { ++sum; });
            }
        });
    }
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
    EXPECT_EQ(sut.size(), 6001U);
    EXPECT_EQ(sut.at("sum"), 6000);
    EXPECT_EQ(sut.at("2-1999"), 1999);
}

TEST(Dict, ADeadUpdateLeavesTheOldValueAndLetsOthersWriteAtOnce) {
    const Watchdog watchdog(60);
    const Dict<std::string, int> sut;
    sut["a"] = 1;
    const Shared<std::atomic<bool>> in_it;
    Child child([&] {
        sut.update("a", [&](int& value) {
            value = 99;
            in_it->store(true);
            for (;;) {
                pause();
            }
        });
    });
    await([&] { return in_it->load(); });
    EXPECT_EQ(sut.at("a"), 1) << "reading does not wait";
    EXPECT_EQ(sut.items().size(), 1U);
    child.kill_and_join();
    EXPECT_EQ(sut.at("a"), 1);
    sut["a"] = 2;
    EXPECT_EQ(sut.at("a"), 2);
}

// A transfer between two keys, one step each time: every snapshot adds up, and no process that is
// killed in the middle of one leaves half of it.
TEST(Dict, SnapshotsSeeStepsWholeWhileWritersAreKilled) {
    const Watchdog watchdog(180);
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    const Dict<int, std::int64_t> sut(DictOptions{.max_bytes = 1U << 26U, .stripes = 8});
    constexpr int kKeys = 6;
    for (int key = 0; key < kKeys; ++key) {
        sut[key] = 100;
    }
    struct Notes {
        std::atomic<std::uint64_t> steps;
        std::atomic<std::uint64_t> snapshots;
        std::atomic<std::uint64_t> broken;
        std::atomic<bool> stop;
    };
    const Shared<Notes> notes;
    const Lock lock;
    const auto write = [&](std::uint32_t seed) {
        std::minstd_rand mine(seed);
        for (;;) {
            const int from = static_cast<int>(mine() % kKeys);
            const int to = static_cast<int>((static_cast<unsigned>(from) + 1) % kKeys);
            lock.acquire();
            const auto all = sut.snapshot();
            std::int64_t sum = 0;
            for (const auto& [key, value] : all) {
                sum += value;
            }
            if (sum != 100 * kKeys) {
                notes->broken.fetch_add(1);
            }
            sut.insert_or_assign({{from, all.at(from) - 1}, {to, all.at(to) + 1}});
            lock.release();
            notes->steps.fetch_add(1);
        }
    };
    Child reader([&] {
        while (!notes->stop.load()) {
            std::int64_t sum = 0;
            for (const std::int64_t value : sut.values()) {
                sum += value;
            }
            notes->broken.fetch_add(sum == 100 * kKeys ? 0 : 1);
            notes->snapshots.fetch_add(1);
        }
    });
    std::vector<Child> writers;
    for (std::uint32_t count = 0; count < 2; ++count) {
        writers.emplace_back([&, count] { write(count + 1); });
    }
    for (int round = 0; round < 60; ++round) {
        usleep(static_cast<useconds_t>(random() % 3000));
        Child& victim = writers[random() % writers.size()];
        victim.kill_and_join();
        const auto seed = static_cast<std::uint32_t>(random());
        victim = Child([&] { write(seed); });
    }
    const std::uint64_t steps = notes->steps.load();
    await([&] { return notes->steps.load() > steps + 10; });
    writers.clear();
    notes->stop.store(true);
    EXPECT_EQ(reader.join(), 0);
    EXPECT_EQ(notes->broken.load(), 0U);
    EXPECT_GT(notes->snapshots.load(), 0U);
}

TEST(Dict, ThreadsReadWholeValuesBesideWriters) {
    const Watchdog watchdog(120);
    using Wide = std::array<std::uint64_t, 12>;
    const Dict<int, Wide> sut(DictOptions{.max_bytes = 1U << 24U, .stripes = 2});
    constexpr int kKeys = 4;
    const auto wide = [](std::uint64_t number) {
        Wide value;
        value.fill(number);
        return value;
    };
    for (int key = 0; key < kKeys; ++key) {
        sut[key] = wide(0);
    }
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    for (int count = 0; count < 2; ++count) {
        readers.emplace_back([&] {
            std::array<std::uint64_t, kKeys> last{};
            while (!stop.load()) {
                for (int key = 0; key < kKeys; ++key) {
                    const Wide value = sut.at(key);
                    for (const std::uint64_t word : value) {
                        ASSERT_EQ(word, value[0]) << "a mixture";
                    }
                    std::uint64_t& before = last[static_cast<std::size_t>(key)];
                    ASSERT_GE(value[0], before);
                    before = value[0];
                }
            }
        });
    }
    std::thread other([&] {
        for (int number = 100; !stop.load(); number = 100 + (number + 1) % 500) {
            sut[number] = wide(1);
            sut.erase(number - 30);
        }
    });
    for (std::uint64_t number = 1; number <= 3000; ++number) {
        for (int key = 0; key < kKeys; ++key) {
            sut[key] = wide(number);
        }
    }
    stop.store(true);
    other.join();
    for (std::thread& reader : readers) {
        reader.join();
    }
    EXPECT_EQ(sut.at(0), wide(3000));
}

}  // namespace
}  // namespace sluice
