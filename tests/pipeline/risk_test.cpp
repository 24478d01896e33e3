#include <gtest/gtest.h>

#include "pipeline/gateway.hpp"

namespace sluice::pipeline {
namespace {

Order order(const char* price, Side side = Side::buy, std::int64_t receive_ns = 0) {
    Order result;
    result.what = Order::What::order;
    result.side = side;
    result.price = *parse_decimal(price);
    result.reference = *parse_decimal("100.00");
    result.receive_ns = receive_ns;
    return result;
}

TEST(Risk, KeepsThePositionWithinItsLimit) {
    Risk sut({.position_lots_max = 2}, 1, 1);
    EXPECT_EQ(sut.judge(order("100")), Verdict::accepted);
    EXPECT_EQ(sut.judge(order("100")), Verdict::accepted);
    EXPECT_EQ(sut.judge(order("100")), Verdict::position);
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(sut.judge(order("100", Side::sell)), Verdict::accepted);
    }
    EXPECT_EQ(sut.judge(order("100", Side::sell)), Verdict::position);
    EXPECT_EQ(sut.rejected(), 2U);
}

TEST(Risk, CountsPositionsOfStrategiesAndInputsApart) {
    Risk sut({.position_lots_max = 1}, 2, 2);
    Order other_input = order("100");
    other_input.input = 1;
    Order other_strategy = order("100");
    other_strategy.strategy = 1;
    EXPECT_EQ(sut.judge(order("100")), Verdict::accepted);
    EXPECT_EQ(sut.judge(other_input), Verdict::accepted);
    EXPECT_EQ(sut.judge(other_strategy), Verdict::accepted);
    EXPECT_EQ(sut.judge(order("100")), Verdict::position);
}

TEST(Risk, LimitsTheOrdersOfASecondOfRecordedTime) {
    Risk sut({.orders_per_second_max = 2}, 1, 1);
    EXPECT_EQ(sut.judge(order("100", Side::buy, 1'000'000'000)), Verdict::accepted);
    EXPECT_EQ(sut.judge(order("100", Side::buy, 1'999'999'999)), Verdict::accepted);
    EXPECT_EQ(sut.judge(order("100", Side::buy, 1'999'999'999)), Verdict::rate);
    EXPECT_EQ(sut.judge(order("100", Side::buy, 2'000'000'000)), Verdict::accepted);
}

TEST(Risk, RefusesPricesOutsideTheCollar) {
    Risk sut({.collar_basis_points = 50}, 1, 1);
    EXPECT_EQ(sut.judge(order("100.50")), Verdict::accepted);
    EXPECT_EQ(sut.judge(order("99.5", Side::sell)), Verdict::accepted);
    EXPECT_EQ(sut.judge(order("100.51")), Verdict::collar);
    EXPECT_EQ(sut.judge(order("99.49999")), Verdict::collar);
    Order first = order("1");
    first.reference = {};
    EXPECT_EQ(sut.judge(first), Verdict::accepted);
}

TEST(Risk, TheKillSwitchRejectsEverythingAfterTheNthRejection) {
    Risk sut({.collar_basis_points = 50, .kill_after_rejections = 2}, 1, 1);
    EXPECT_EQ(sut.judge(order("200")), Verdict::collar);
    EXPECT_EQ(sut.judge(order("100")), Verdict::accepted);
    EXPECT_EQ(sut.judge(order("200")), Verdict::collar);
    EXPECT_TRUE(sut.killed());
    EXPECT_EQ(sut.judge(order("100")), Verdict::killed);
    EXPECT_EQ(sut.rejected(), 3U);
}

}  // namespace
}  // namespace sluice::pipeline
