#include "sluice/shm/list_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/processes.hpp"
#include "support/tables.hpp"

namespace sluice::shm {
namespace {

using test::await;
using test::Child;
using test::Shared;
using test::Watchdog;

/// Through every operation, against a private vector.
template <std::size_t kWords>
void compare_with_a_vector(std::uint64_t first_number) {
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    test::List<kWords> sut(first_number, 64);
    std::vector<std::uint64_t> model;
    for (int step = 0; step < 3000; ++step) {
        const std::uint64_t number = random();
        switch (random() % 6) {
            case 0:
            case 1:
                ASSERT_TRUE(sut.append(number));
                model.push_back(number);
                break;
            case 2:
                sut.pop();
                if (!model.empty()) {
                    model.pop_back();
                }
                break;
            case 3:
                if (!model.empty()) {
                    const std::size_t at = number % model.size();
                    ASSERT_TRUE(sut.add(at, 5));
                    model[at] += 5;
                    ASSERT_EQ(sut.get(static_cast<std::int64_t>(at)), model[at]);
                }
                break;
            case 4: {
                // Every second goes, the rest turns round.
                std::vector<std::uint64_t> stay;
                std::vector<std::uint64_t> next;
                for (std::size_t at = model.size(); at-- > 0;) {
                    if (at % 2 == 0 || model.size() < 20) {
                        stay.push_back(at);
                        next.push_back(model[at]);
                    }
                }
                next.push_back(number);
                ASSERT_TRUE(sut.replace(stay, {number}));
                model = next;
                break;
            }
            default:
                ASSERT_TRUE(sut.extend({number, number + 1, number + 2}));
                model.insert(model.end(), {number, number + 1, number + 2});
        }
        ASSERT_EQ(sut.get(-1), model.empty() ? std::nullopt : std::optional(model.back()));
        ASSERT_EQ(sut.get(static_cast<std::int64_t>(model.size())), std::nullopt);
        if (step % 100 == 0) {
            ASSERT_EQ(sut.snapshot(), model);
            ASSERT_EQ(sut.audit(), "");
        }
    }
    EXPECT_EQ(sut.snapshot(), model);
    EXPECT_EQ(sut.audit(), "");
}

TEST(ListTable, OfWordsIsAsAVector) {
    compare_with_a_vector<1>(0);
}
TEST(ListTable, OfNodesIsAsAVector) {
    compare_with_a_vector<3>(0);
}
TEST(ListTable, IsAsAVectorAcrossTheWrapOfItsNumbers) {
    for (const std::uint64_t first : {~0ULL, ~0ULL - 40, (1ULL << 32U) - 5}) {
        compare_with_a_vector<1>(first);
        compare_with_a_vector<2>(first);
    }
}

TEST(ListTable, FullChangesNothing) {
    test::List<2> sut(0, 24);
    std::uint64_t count = 0;
    while (sut.append(count)) {
        ++count;
    }
    EXPECT_GT(count, 100U);
    EXPECT_FALSE(sut.extend({1, 2, 3}));
    std::vector<std::uint64_t> all(count);
    std::iota(all.begin(), all.end(), std::uint64_t{0});
    EXPECT_EQ(sut.snapshot(), all);
    EXPECT_EQ(sut.audit(), "");
    sut.pop();
    sut.pop();
    EXPECT_TRUE(sut.append(5));
    EXPECT_EQ(sut.audit(), "");
}

TEST(ListTable, AStoppedWriterHoldsUpNoReader) {
    const Watchdog watchdog(60);
    test::List<2> sut;
    ASSERT_TRUE(sut.append(10));
    const Shared<std::atomic<bool>> ready;
    Child writer([&] {
        const test::List<2>::Turn turn(sut);
        sut.layout().version.fetch_add(1);  // in the middle of a commit
        ready->store(true);
        pause();
    });
    await([&] { return ready->load(); });
    writer.stop();
    EXPECT_EQ(sut.get(0), 10U);
    EXPECT_EQ(sut.get(-2), std::nullopt);
    std::uint64_t size = 0;
    EXPECT_EQ(sut->size(size), ListResult::done);
    EXPECT_EQ(size, 1U);
    writer.kill_and_join();
    EXPECT_EQ(sut.snapshot(), std::vector<std::uint64_t>{10});
}

// Its version says that somebody is in the middle of a commit, and the only one who could be asks.
TEST(ListTable, WhoChangesAnElementIsToldOfDamageInsteadOfWaitingForHimself) {
    const Watchdog watchdog(60);
    test::List<2> sut(~0ULL);
    ASSERT_TRUE(sut.append(10));
    const test::List<2>::Turn turn(sut);
    EXPECT_EQ(sut.snapshot(), std::vector<std::uint64_t>{10});
    sut.layout().version.fetch_or(1);
    EXPECT_THROW(static_cast<void>(sut.snapshot()), std::runtime_error);
}

TEST(ListTable, ReadsWholeElementsBesideThreadsThatMoveThem) {
    const Watchdog watchdog(120);
    test::List<2> sut(~0ULL - 1000, 64);
    for (std::uint64_t number = 0; number < 10; ++number) {
        ASSERT_TRUE(sut.append(number));
    }
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        const std::vector<std::uint64_t> turned{9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
        for (std::uint64_t round = 0; !stop.load(); ++round) {
            EXPECT_TRUE(sut.replace(turned, {}));
            EXPECT_TRUE(sut.append(round % 10));
            sut.pop();
            EXPECT_TRUE(sut.add(round % 10, 10));
        }
    });
    for (int round = 0; round < 20'000; ++round) {
        const auto first = sut.get(0);
        const auto last = sut.get(9);
        ASSERT_TRUE(first && last);
        ASSERT_NE(*first, test::List<2>::kTorn);
        ASSERT_TRUE(*first % 10 == 0 || *first % 10 == 9) << *first;
        ASSERT_TRUE(*last % 10 == 0 || *last % 10 == 9) << *last;
    }
    stop.store(true);
    writer.join();
    EXPECT_EQ(sut.audit(), "");
}

}  // namespace
}  // namespace sluice::shm
