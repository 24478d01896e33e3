#include "sluice/shm/array_word.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "support/processes.hpp"
#include "support/words.hpp"

namespace sluice::shm {
namespace {

using test::Child;
using test::Watchdog;

template <class Array>
class ArrayWords : public ::testing::Test {};
using Kinds = ::testing::Types<test::Array<1>, test::Array<2>, test::Array<9>>;
TYPED_TEST_SUITE(ArrayWords, Kinds);

TYPED_TEST(ArrayWords, KeepsElementsAndAll) {
    TypeParam sut;
    using Numbers = typename TypeParam::Numbers;
    EXPECT_EQ(sut.snapshot(), Numbers{});
    ASSERT_EQ(sut.begin(), LockResult::done);
    sut.store(1, 11);
    EXPECT_EQ(sut.snapshot(), (Numbers{0, 11, 0, 0}));
    sut.assign({1, 2, 3, 4});
    sut.store(3, 40);
    sut.store(3, 44);
    EXPECT_EQ(sut.snapshot(), (Numbers{1, 2, 3, 44}));
    sut.assign({5, 6, 7, 8});
    EXPECT_EQ(sut.snapshot(), (Numbers{5, 6, 7, 8}));
    EXPECT_EQ(sut.load(3), 8U);
    EXPECT_TRUE(sut.end());
}

TYPED_TEST(ArrayWords, GoesOnWhereItsNumbersWrap) {
    TypeParam sut(~0ULL - 2);
    using Numbers = typename TypeParam::Numbers;
    ASSERT_EQ(sut.begin(), LockResult::done);
    for (std::uint64_t round = 1; round < 8; ++round) {
        sut.assign({round, round, round, round});
        sut.store(round % 4, 100 + round);
        Numbers expected{round, round, round, round};
        expected[round % 4] = 100 + round;
        EXPECT_EQ(sut.snapshot(), expected);
    }
    EXPECT_TRUE(sut.end());
}

TYPED_TEST(ArrayWords, WhatADeadWriterLeftHalfWrittenIsNobodys) {
    const Watchdog watchdog(60);
    TypeParam sut;
    using Numbers = typename TypeParam::Numbers;
    ASSERT_EQ(sut.begin(), LockResult::done);
    sut.assign({1, 2, 3, 4});
    EXPECT_TRUE(sut.end());
    Child writer([&] {
        ASSERT_EQ(sut.begin(), LockResult::done);
        sut.spoil_spare();
        sut.word().layout().changes.fetch_add(1);
        raise(SIGKILL);
    });
    EXPECT_EQ(writer.join(), -SIGKILL);
    EXPECT_EQ(sut.snapshot(), (Numbers{1, 2, 3, 4}));
    ASSERT_EQ(sut.begin(), LockResult::done);
    sut.store(0, 9);
    EXPECT_EQ(sut.snapshot(), (Numbers{9, 2, 3, 4}));
    sut.assign({5, 6, 7, 8});
    EXPECT_EQ(sut.snapshot(), (Numbers{5, 6, 7, 8}));
    EXPECT_TRUE(sut.end());
}

TYPED_TEST(ArrayWords, ThreadsReadWholeElementsWhileAnotherWrites) {
    const Watchdog watchdog(60);
    TypeParam sut(~0ULL - 1'000);
    std::atomic<bool> done{false};
    std::thread writer([&] {
        ASSERT_EQ(sut.begin(), LockResult::done);
        for (std::uint64_t number = 1; number < 20'000; ++number) {
            if (number % 5 == 0) {
                sut.assign({number, number, number, number});
            } else {
                sut.store(2, number);
            }
        }
        EXPECT_TRUE(sut.end());
        done.store(true);
    });
    std::uint64_t last = 0;
    while (!done.load()) {
        const std::uint64_t seen = sut.load(2);
        ASSERT_NE(seen, TypeParam::kTorn);
        ASSERT_GE(seen, last);
        last = seen;
    }
    writer.join();
    EXPECT_EQ(sut.load(2), 19'999U);
}

TEST(ArrayWord, SmallElementsLieClose) {
    EXPECT_EQ(ArrayWord::cell_bytes(1), 1U);
    EXPECT_EQ(ArrayWord::cell_bytes(3), 4U);
    EXPECT_EQ(ArrayWord::cell_bytes(8), 8U);
    EXPECT_EQ(ArrayWord::cell_bytes(9), 16U);
    EXPECT_EQ(ArrayWord::bytes(64, 1), 192U + 2 * 64U);
    EXPECT_EQ(ArrayWord::bytes(8, 16), 192U + 8 * 8U + 2 * 128U);
}

}  // namespace
}  // namespace sluice::shm
