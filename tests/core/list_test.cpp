#include "sluice/list.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
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

TEST(List, AppendsAndReads) {
    const List<std::string> sut;
    EXPECT_TRUE(sut.empty());
    EXPECT_EQ(text_of(sut), "[]");
    sut.append("a");
    sut.append("b");
    sut.extend({"c", "d"});
    sut.extend(std::vector<std::string>{});
    EXPECT_EQ(sut.size(), 4U);
    EXPECT_EQ(sut.at(0), "a");
    const std::string last = sut[-1];
    EXPECT_EQ(last, "d");
    EXPECT_EQ(sut.get(4), std::nullopt);
    EXPECT_EQ(sut.get(-4), "a");
    EXPECT_EQ(sut.get(-5), std::nullopt);
    EXPECT_EQ(text_of(sut), "['a', 'b', 'c', 'd']");
    EXPECT_EQ(sut.index("c"), 2U);
    EXPECT_EQ(sut.count("x"), 0U);
    EXPECT_TRUE(sut.contains("b"));
}

TEST(List, HoldsTruthValuesAndLetters) {
    const List<bool> bits;
    bits.extend({true, false});
    bits.append(true);
    bits.sort();
    EXPECT_EQ(text_of(bits), "[False, True, True]");
    for (const bool bit : bits) {
        bits.append(!bit);
    }
    EXPECT_EQ(bits.count(true), 3U);
    const List<char> letters;
    letters.extend(std::string("ba"));
    letters.sort();
    EXPECT_EQ(text_of(letters), "['a', 'b']");
    const auto& first = letters[0];
    EXPECT_EQ(text_of(first), "'a'");
}

TEST(List, AnIndexOutsideIsNamedWithTheSize) {
    const FreshName name("list");
    const auto sut = List<int>::create(name.name());
    sut.extend({1, 2, 3});
    const auto message = [&](auto&& act) {
        try {
            act();
        } catch (const std::out_of_range& error) {
            return std::string(error.what());
        }
        return std::string("nothing was thrown");
    };
    const std::string object = "List \"" + name.name() + "\": ";
    EXPECT_EQ(message([&] { static_cast<void>(sut.at(3)); }),
              object + "has no element 3, it has 3");
    EXPECT_EQ(message([&] { sut[-4] = 1; }), object + "has no element -4, it has 3");
    EXPECT_EQ(message([&] { sut.erase(7); }), object + "has no element 7, it has 3");
    EXPECT_EQ(message([&] { sut.remove(9); }), object + "does not hold 9");
    EXPECT_EQ(message([&] { static_cast<void>(sut.index(9)); }), object + "does not hold 9");
    sut.clear();
    EXPECT_EQ(message([&] { sut.pop(); }), object + "has no element -1, it has 0");
}

TEST(List, ChangesAsPythonDoes) {
    const List<int> sut;
    sut.extend({5, 1, 4});
    sut.insert(0, 9);
    sut.insert(-1, 8);
    sut.insert(100, 7);
    sut.insert(-100, 6);
    EXPECT_EQ(sut.snapshot(), (std::vector{6, 9, 5, 1, 8, 4, 7}));
    EXPECT_EQ(sut.pop(), 7);
    EXPECT_EQ(sut.pop(1), 9);
    EXPECT_EQ(sut.pop(-2), 8);
    sut.remove(5);
    EXPECT_EQ(sut.snapshot(), (std::vector{6, 1, 4}));
    sut[0] = 60;
    sut[-1] += 2;
    EXPECT_EQ(sut[2], 6);
    sut.sort();
    EXPECT_EQ(sut.snapshot(), (std::vector{1, 6, 60}));
    sut.sort(std::greater<>());
    EXPECT_EQ(sut.snapshot(), (std::vector{60, 6, 1}));
    sut.reverse();
    sut.erase(1);
    EXPECT_EQ(text_of(sut), "[1, 60]");
    sut.update(0, [](int& value) { value = 2; });
    sut.update(1, [](int value) { return value + 1; });
    EXPECT_EQ(sut.snapshot(), (std::vector{2, 61}));
    int sum = 0;
    for (const int value : sut) {
        sut.append(value);
        sum += value;
    }
    EXPECT_EQ(sum, 63) << "of the list as it was at first";
    sut.clear();
    EXPECT_TRUE(sut.empty());
    sut.append(3);
    EXPECT_EQ(sut.snapshot(), std::vector{3});
}

TEST(List, WhatThrowsChangesNothingAndAWriteFromWithinIsRefused) {
    const Watchdog watchdog(60);
    const List<int> sut;
    sut.extend({3, 1, 2});
    EXPECT_THROW(sut.update(0,
                            [](int& value) {
                                value = 0;
                                throw std::logic_error("no");
                            }),
                 std::logic_error);
    EXPECT_THROW(sut.sort([](int, int) -> bool { throw std::logic_error("no"); }),
                 std::logic_error);
    sut.update(0, [&](int& value) {
        EXPECT_THROW(sut.append(5), Error);
        EXPECT_THROW(sut.clear(), Error);
        value = static_cast<int>(sut.snapshot().size()) + sut[0];
    });
    EXPECT_EQ(sut.snapshot(), (std::vector{6, 1, 2}));
}

struct Wide {
    std::array<std::uint64_t, 8> words;
};

template <class T>
void compare_with_a_vector(std::function<T(std::uint32_t)> make) {
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    const List<T> sut(ListOptions{.max_bytes = std::uint64_t{64} << 20U});
    std::vector<T> model;
    for (int step = 0; step < 5000; ++step) {
        const auto number = static_cast<std::uint32_t>(random());
        const auto at = static_cast<std::ptrdiff_t>(model.empty() ? 0 : random() % model.size());
        switch (random() % 10) {
            case 0:
            case 1:
            case 2:
                sut.append(make(number));
                model.push_back(make(number));
                break;
            case 3:
                sut.insert(at, make(number));
                model.insert(model.begin() + at, make(number));
                break;
            case 4:
            case 5:
                if (!model.empty()) {
                    ASSERT_EQ(sut.pop(), model.back());
                    model.pop_back();
                }
                break;
            case 6:
                if (!model.empty()) {
                    sut.erase(at);
                    model.erase(model.begin() + at);
                }
                break;
            case 7:
                if (!model.empty()) {
                    sut[at] = make(number);
                    model[static_cast<std::size_t>(at)] = make(number);
                    ASSERT_EQ(sut.at(at), make(number));
                }
                break;
            case 8:
                sut.reverse();
                std::reverse(model.begin(), model.end());
                break;
            default:
                sut.sort();
                std::stable_sort(model.begin(), model.end());
                if (step % 500 == 0) {
                    sut.clear();
                    model.clear();
                }
        }
        ASSERT_EQ(sut.size(), model.size());
    }
    EXPECT_EQ(sut.snapshot(), model);
}
TEST(List, IsAsAVectorThroughManyChanges) {
    compare_with_a_vector<std::uint32_t>([](std::uint32_t number) { return number; });
}
TEST(List, OfStringsIsAsAVectorThroughManyChanges) {
    compare_with_a_vector<std::string>([](std::uint32_t number) {
        return std::string(number % 100 == 0 ? 20'000 : number % 60, 'x') + std::to_string(number);
    });
}
TEST(List, OfTriplesIsAsAVectorThroughManyChanges) {
    compare_with_a_vector<std::array<std::uint64_t, 3>>([](std::uint32_t number) {
        return std::array<std::uint64_t, 3>{number, number, number};
    });
}

TEST(List, TheFootprintDoesNotGrowWithUpdates) {
    const List<std::array<std::uint64_t, 4>> sut;
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    const auto update = [&](int times) {
        for (int time = 0; time < times; ++time) {
            const std::uint64_t number = random();
            if (sut.size() < 1000 || (random() % 2 == 0 && sut.size() < 3000)) {
                sut.append({number, number, number, number});
            } else if (random() % 2 == 0) {
                sut.pop();
            } else {
                sut[static_cast<std::int64_t>(number % 1000)] = {number, 0, 0, number};
            }
        }
    };
    update(100'000);
    const std::uint64_t before = sut.memory_bytes();
    update(1'000'000);
    EXPECT_LE(sut.memory_bytes(), before + before / 100);
}

TEST(List, FullIsAnErrorThatNamesTheSizesAndLosesNothing) {
    const List<std::string> sut(ListOptions{.max_bytes = 1U << 20U});
    const std::string value(1000, 'x');
    std::size_t appended = 0;
    try {
        for (;; ++appended) {
            sut.append(value);
        }
    } catch (const std::system_error& error) {
        EXPECT_EQ(error.code().value(), ENOSPC);
        EXPECT_NE(std::string(error.what()).find("1048576 are the most"), std::string::npos);
    }
    EXPECT_GT(appended, 500U);
    EXPECT_THROW(sut.extend({value, value}), std::system_error);
    EXPECT_THROW((sut[0] = std::string(1U << 20U, 'y')), std::system_error);
    EXPECT_EQ(sut.size(), appended);
    for (std::size_t count = 0; count < 100; ++count) {
        EXPECT_EQ(sut.pop(), value);
    }
    for (std::size_t count = 0; count < 100; ++count) {
        sut.append(value);
    }
    EXPECT_EQ(sut.count(value), appended);
}

TEST(List, IsFoundByItsName) {
    const FreshName name("list");
    const auto made = List<int>::create(name.name());
    made.append(1);
    EXPECT_EQ(made.name(), name.name());
    EXPECT_THROW(List<int>::create(name.name()), std::system_error);
    EXPECT_THROW(List<long>::open(name.name()), BadSegment) << "another type";
    EXPECT_THROW(Lock::open(name.name()), BadSegment);
    Child child([&] { List<int>::open(name.name()).append(2); });
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(List<int>::open_or_create(name.name())[-1], 2);
    List<int>::unlink(name.name());
    EXPECT_THROW(List<int>::open(name.name()), std::system_error);
}

TEST(List, TravelsToASpawnedProcessByItsDescriptor) {
    const List<std::string> sut(ListOptions{.max_bytes = 1U << 20U});
    sut.append("a");
    detail::Parcel parcel;
    detail::pack_travelling(sut, parcel);
    detail::Unparcel arrived(parcel.bytes());
    detail::unpack_travelling<List<std::string>>(arrived).append("b");
    EXPECT_EQ(sut[-1], "b");
}

TEST(List, ProcessesAppendSideBySide) {
    const Watchdog watchdog(120);
    const List<int> sut;
    std::vector<Child> children;
    for (int child = 0; child < 3; ++child) {
        children.emplace_back([&sut, child] {
            for (int number = 0; number < 2000; ++number) {
                sut.append(child * 10'000 + number);
            }
        });
    }
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
    std::array<int, 3> next{0, 10'000, 20'000};
    for (const int number : sut) {
        EXPECT_EQ(number, next.at(static_cast<std::size_t>(number / 10'000))++);
    }
    EXPECT_EQ(next, (std::array<int, 3>{2000, 12'000, 22'000}));
}

TEST(List, ADeadUpdateLeavesTheOldValueAndLetsOthersWriteAtOnce) {
    const Watchdog watchdog(60);
    const List<std::string> sut;
    sut.append("old");
    const Shared<std::atomic<bool>> in_it;
    Child child([&] {
        sut.update(0, [&](std::string& value) {
            value = "half";
            in_it->store(true);
            for (;;) {
                pause();
            }
        });
    });
    await([&] { return in_it->load(); });
    EXPECT_EQ(sut.at(0), "old") << "reading does not wait";
    EXPECT_EQ(sut.snapshot(), std::vector<std::string>{"old"});
    child.kill_and_join();
    sut.append("new");
    EXPECT_EQ(text_of(sut), "['old', 'new']");
}

// Every change keeps the list one of the rows that are allowed: whole values, in rising order.
TEST(List, KeepsItsOrderWhileWritersAreKilled) {
    const Watchdog watchdog(180);
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    using Triple = std::array<std::uint64_t, 3>;
    const List<Triple> sut(ListOptions{.max_bytes = 1U << 24U});
    struct Notes {
        std::atomic<std::uint64_t> changes;
        std::atomic<std::uint64_t> broken;
        std::atomic<bool> stop;
    };
    const Shared<Notes> notes;
    const auto write = [&](std::uint32_t seed) {
        std::minstd_rand mine(seed);
        for (;;) {
            const std::size_t size = sut.size();
            try {
                if (size < 20 || (size < 40 && mine() % 2 == 0)) {
                    const std::uint64_t number = 1000 + size;
                    mine() % 2 == 0 ? sut.append({number, number, number})
                                    : sut.insert(static_cast<std::int64_t>(mine() % 5),
                                                 {number, number, number});
                } else if (mine() % 3 == 0) {
                    sut.sort();
                } else {
                    mine() % 2 == 0 ? static_cast<void>(sut.pop()) : sut.erase(0);
                }
            } catch (const std::out_of_range&) {  // the other was faster
            }
            notes->changes.fetch_add(1);
        }
    };
    const auto is_whole = [](const Triple& triple) {
        return triple[0] == triple[1] && triple[1] == triple[2] && triple[0] >= 1000;
    };
    Child reader([&] {
        while (!notes->stop.load()) {
            for (const Triple& triple : sut.snapshot()) {
                notes->broken.fetch_add(is_whole(triple) ? 0 : 1);
            }
            const auto last = sut.get(-1);
            notes->broken.fetch_add(!last || is_whole(*last) ? 0 : 1);
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
    const std::uint64_t changes = notes->changes.load();
    await([&] { return notes->changes.load() > changes + 10; });
    writers.clear();
    notes->stop.store(true);
    EXPECT_EQ(reader.join(), 0);
    EXPECT_EQ(notes->broken.load(), 0U);
}

TEST(List, ThreadsReadWholeElementsBesideAWriter) {
    const Watchdog watchdog(120);
    const List<Wide> sut(ListOptions{.max_bytes = 1U << 24U});
    const auto wide = [](std::uint64_t number) {
        Wide value;
        value.words.fill(number);
        return value;
    };
    sut.append(wide(0));
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    for (int count = 0; count < 2; ++count) {
        readers.emplace_back([&] {
            std::uint64_t before = 0;
            while (!stop.load()) {
                const Wide first = sut.at(0);
                for (const std::uint64_t word : first.words) {
                    ASSERT_EQ(word, first.words[0]) << "a mixture";
                }
                ASSERT_GE(first.words[0], before);
                before = first.words[0];
                if (const auto last = sut.get(-1)) {
                    ASSERT_EQ(last->words[0], last->words[7]) << "a mixture";
                }
            }
        });
    }
    for (std::uint64_t number = 1; number <= 3000; ++number) {
        sut[0] = wide(number);
        sut.append(wide(number));
        if (number % 3 != 0) {
            sut.pop();
        }
        if (number % 100 == 0) {
            sut.insert(1, wide(number));
        }
    }
    stop.store(true);
    for (std::thread& reader : readers) {
        reader.join();
    }
}

}  // namespace
}  // namespace sluice
