#include "sluice/shm/dict_table.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
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
using Sut = test::Dict;

/// Through every operation, against a private map.
void compare_with_a_map(Sut& sut) {
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    Sut::Model model;
    for (int step = 0; step < 5000; ++step) {
        const std::uint64_t key = random() % 60;
        switch (random() % 5) {
            case 0:
            case 1:
                ASSERT_EQ(sut.set(key, random()), DictResult::done);
                model[key] = sut.get(key).value();
                break;
            case 2:
                ASSERT_EQ(sut.erase(key), model.erase(key) == 1);
                break;
            case 3:
                ASSERT_EQ(sut.add(key, 1), model.contains(key));
                if (model.contains(key)) {
                    ++model[key];
                }
                break;
            default:
                if (step % 50 == 0) {
                    const Sut::Model changes{{key, 1}, {key + 1, 2}, {key + 2, 3}};
                    ASSERT_EQ(sut.step(DictTable::StepKind::assign, changes), DictResult::done);
                    for (const auto& [changed, value] : changes) {
                        model[changed] = value;
                    }
                } else if (step % 999 == 0) {
                    ASSERT_EQ(sut.step(DictTable::StepKind::clear, {}), DictResult::done);
                    model.clear();
                }
        }
        if (step % 100 == 0) {
            ASSERT_EQ(sut.snapshot(), model);
            ASSERT_EQ(sut.audit(), "");
        }
        ASSERT_EQ(sut->size(), model.size());
    }
    EXPECT_EQ(sut.snapshot(), model);
}

TEST(DictTable, IsAsAMap) {
    Sut sut(1);
    compare_with_a_map(sut);
}
TEST(DictTable, IsAsAMapWithManyStripes) {
    Sut sut(16, 0, 200);
    compare_with_a_map(sut);
}
// Versions, births, the numbers of steps and the tags of tables, all of them.
TEST(DictTable, IsAsAMapAcrossTheWrapOfItsNumbers) {
    for (const std::uint64_t first : {~0ULL, ~0ULL - 40, (1ULL << 56U) - 3, (1ULL << 26U) - 2}) {
        Sut sut(2, first);
        compare_with_a_map(sut);
    }
}

TEST(DictTable, NoBirthIsZero) {
    Sut sut(1, (1ULL << 56U) - 2);
    for (std::uint64_t number = 0; number < 4; ++number) {
        ASSERT_EQ(sut.set(1, number), DictResult::done);
        EXPECT_EQ(sut.get(1), number) << "a node whose birth is 0 is being written";
    }
}

TEST(DictTable, ErasedPlacesAreUsedAgain) {
    Sut sut(1);
    for (std::uint64_t key = 0; key < 10'000; ++key) {
        ASSERT_EQ(sut.set(key, key), DictResult::done);
        ASSERT_TRUE(key < 8 || sut.erase(key - 8));
    }
    EXPECT_EQ(sut->size(), 8U);
    EXPECT_LE(DictTableWord{sut->stripe(0).table.load()}.log2(), 5U);
    EXPECT_EQ(sut.audit(), "");
}

TEST(DictTable, FullChangesNothing) {
    Sut sut(1, 0, 24);
    std::uint64_t keys = 0;
    while (sut.set(keys, keys) == DictResult::done) {
        ++keys;
    }
    EXPECT_GT(keys, 100U);
    EXPECT_EQ(sut.step(DictTable::StepKind::assign, {{0, 99}, {keys + 1, 99}}), DictResult::full);
    EXPECT_EQ(sut->size(), keys);
    for (std::uint64_t key = 0; key < keys; ++key) {
        ASSERT_EQ(sut.get(key), key);
    }
    EXPECT_EQ(sut.get(keys), std::nullopt);
    EXPECT_EQ(sut.audit(), "");
    EXPECT_TRUE(sut.erase(0));
    EXPECT_EQ(sut.set(1, 7), DictResult::done);
    EXPECT_EQ(sut.step(DictTable::StepKind::clear, {}), DictResult::done);
    EXPECT_EQ(sut.set(keys, 5), DictResult::done);
    EXPECT_EQ(sut.audit(), "");
}

// What a dead step leaves, written by hand: pending tables in all stripes.
class DeadStep {
 public:
    DeadStep(Sut& sut, bool committed) {
        const Shared<std::atomic<bool>> ready;
        Child dead([&] {
            SpinBudget budget;
            static_cast<void>(test::lock_steps(sut, budget));
            const std::uint64_t number = sut.layout().begun.load() + 1;
            sut.layout().begun.store(number);
            for (std::uint32_t index = 0; index < sut->stripes(); ++index) {
                static_cast<void>(sut->lock(index, sut.me(), Wait::park, budget));
                DictStripeLayout& stripe = sut->stripe(index);
                stripe.pending_step.store(number);
                stripe.pending.store(DictTableWord{stripe.table.load()}.next(0, 0).word);
                stripe.version.fetch_add(1);
            }
            if (committed) {
                sut.layout().committed.store(number);
            }
            ready->store(true);
            for (;;) {
                pause();
            }
        });
        await([&] { return ready->load(); });
        dead.kill_and_join();
    }
};

TEST(DictTable, ACommittedStepOfADeadOneIsFinishedOnce) {
    const Watchdog watchdog(60);
    for (const std::uint64_t first : {0ULL, ~0ULL - 1}) {
        Sut sut(4, first);
        for (std::uint64_t key = 0; key < 20; ++key) {
            ASSERT_EQ(sut.set(key, key), DictResult::done);
        }
        const DeadStep step(sut, true);
        EXPECT_TRUE(sut->step_is_open());
        // One stripe is mended by its next writer; what he writes is not undone by the rest.
        ASSERT_EQ(sut.set(3, 33), DictResult::done);
        ASSERT_EQ(sut.step(DictTable::StepKind::assign, {{4, 44}}), DictResult::done);
        EXPECT_EQ(sut.snapshot(), (Sut::Model{{3, 33}, {4, 44}}));
        EXPECT_FALSE(sut->step_is_open());
        EXPECT_EQ(sut.audit(), "");
    }
}

TEST(DictTable, AStepThatWasNotCommittedIsForgotten) {
    const Watchdog watchdog(60);
    Sut sut(4);
    Sut::Model model;
    for (std::uint64_t key = 0; key < 20; ++key) {
        ASSERT_EQ(sut.set(key, key), DictResult::done);
        model[key] = key;
    }
    const DeadStep step(sut, false);
    EXPECT_FALSE(sut->step_is_open());
    ASSERT_EQ(sut.step(DictTable::StepKind::assign, {{4, 44}}), DictResult::done);
    model[4] = 44;
    EXPECT_EQ(sut.snapshot(), model);
    EXPECT_EQ(sut.audit(), "");
}

TEST(DictTable, AStoppedWriterHoldsUpNoReader) {
    const Watchdog watchdog(60);
    Sut sut(1);
    ASSERT_EQ(sut.set(1, 10), DictResult::done);
    const Shared<std::atomic<bool>> ready;
    Child writer([&] {
        const Sut::Turn turn(sut, 1);
        sut->stripe(0).version.fetch_add(1);  // in the middle of a commit
        ready->store(true);
        pause();
    });
    await([&] { return ready->load(); });
    writer.stop();
    EXPECT_EQ(sut.get(1), 10U);
    EXPECT_EQ(sut.get(2), std::nullopt);
    EXPECT_EQ(sut->size(), 1U);
    writer.kill_and_join();
    EXPECT_EQ(sut.snapshot(), (Sut::Model{{1, 10}}));
}

TEST(DictTable, ReadsEachKeyWholeBesideThreadsThatWriteIt) {
    const Watchdog watchdog(120);
    Sut sut(2, ~0ULL - 1000, 400);
    constexpr std::uint64_t kKeys = 100;
    for (std::uint64_t key = 0; key < kKeys; key += 2) {
        ASSERT_EQ(sut.set(key, key), DictResult::done);
    }
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        std::minstd_rand random(7);
        for (std::uint64_t round = 0; !stop.load(); ++round) {
            const std::uint64_t key = random() % kKeys;
            if (key % 2 == 0) {
                EXPECT_EQ(sut.set(key, key + kKeys * (round % 1000)), DictResult::done);
            } else if (random() % 2 == 0) {
                EXPECT_EQ(sut.set(key, key), DictResult::done);
            } else {
                sut.erase(key);
            }
        }
    });
    for (int round = 0; round < 3000; ++round) {
        for (std::uint64_t key = 0; key < kKeys; ++key) {
            const auto value = sut.get(key);
            ASSERT_TRUE(value.has_value() || key % 2 == 1) << "a key that is always there";
            ASSERT_TRUE(!value || *value % kKeys == key) << "another's value, or a mixture";
        }
    }
    stop.store(true);
    writer.join();
    EXPECT_EQ(sut.audit(), "");
}

// A version says that somebody is in the middle of a commit. In its own stripe the one who asks
// would be that; in another, which it may not wait for, nobody is.
TEST(DictTable, WhoChangesAValueIsToldOfDamageInsteadOfLookingForEver) {
    const Watchdog watchdog(60);
    Sut sut(2, ~0ULL);
    const std::uint64_t key = sut.key_in(0, 0);
    ASSERT_EQ(sut.set(key, 10), DictResult::done);
    const Sut::Turn turn(sut, key);
    EXPECT_EQ(sut.snapshot(), (Sut::Model{{key, 10}}));
    for (const std::uint32_t stripe : {0U, 1U}) {
        SCOPED_TRACE(stripe);
        sut->stripe(stripe).version.fetch_add(1);
        EXPECT_THROW(static_cast<void>(sut.snapshot()), std::runtime_error);
        sut->stripe(stripe).version.fetch_add(1);
        EXPECT_EQ(sut.snapshot(), (Sut::Model{{key, 10}}));
    }
}

TEST(DictTable, WhoChangesAValueMendsTheStripesOfTheDeadThatItReads) {
    const Watchdog watchdog(60);
    Sut sut(2);
    const std::uint64_t mine = sut.key_in(1, 0);
    const std::uint64_t theirs = sut.key_in(0, 0);
    ASSERT_EQ(sut.set(mine, 10), DictResult::done);
    ASSERT_EQ(sut.set(theirs, 20), DictResult::done);
    const Sut::Turn turn(sut, mine);
    Child writer([&] {
        const Sut::Turn other(sut, theirs);
        sut->stripe(0).version.fetch_add(1);  // in the middle of a commit
        raise(SIGKILL);
    });
    EXPECT_EQ(writer.join(), -SIGKILL);
    EXPECT_EQ(sut.snapshot(), (Sut::Model{{mine, 10}, {theirs, 20}}));
}

}  // namespace
}  // namespace sluice::shm
