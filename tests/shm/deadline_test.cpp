#include "sluice/shm/deadline.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>

namespace sluice::shm {
namespace {

using namespace std::chrono_literals;

TEST(Deadline, NeverIsNeverPassed) {
    EXPECT_TRUE(Deadline::never().is_never());
    EXPECT_FALSE(Deadline::never().has_passed());
}

TEST(Deadline, PassedHasPassed) {
    EXPECT_TRUE(Deadline::passed().has_passed());
    EXPECT_FALSE(Deadline::passed().is_never());
}

TEST(Deadline, ZeroAndNegativeDurationsHavePassed) {
    EXPECT_TRUE(Deadline::after(0ns).has_passed());
    EXPECT_TRUE(Deadline::after(-1h).has_passed());
    EXPECT_TRUE(Deadline::after(std::chrono::hours::min()).has_passed());
}

TEST(Deadline, NotANumberHasPassed) {
    const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
    EXPECT_TRUE(Deadline::after(nan).has_passed());
}

TEST(Deadline, DurationsThatOverflowMeanNever) {
    EXPECT_TRUE(Deadline::after(std::chrono::hours::max()).is_never());
    EXPECT_TRUE(Deadline::after(std::chrono::nanoseconds::max()).is_never());
    const std::chrono::duration<double> infinite(std::numeric_limits<double>::infinity());
    EXPECT_TRUE(Deadline::after(infinite).is_never());
}

TEST(Deadline, IsNeverEarlierThanAsked) {
    const std::int64_t before = monotonic_now_ns();
    const Deadline sut = Deadline::after(5ms);
    EXPECT_GE(sut.at_ns(), before + 5'000'000);
    EXPECT_LE(sut.at_ns(), monotonic_now_ns() + 5'000'000);
}

TEST(Deadline, FractionsOfANanosecondAreRoundedUp) {
    const std::int64_t before = monotonic_now_ns();
    const std::chrono::duration<double, std::nano> one_and_a_half(1.5);
    EXPECT_GE(Deadline::after(one_and_a_half).at_ns(), before + 2);
}

TEST(Deadline, TimePointOfSteadyClockIsTheSameInstant) {
    const auto time = std::chrono::steady_clock::now() + 1h;
    const std::int64_t meant =
        std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
    // Translated by the difference to now: late by the time between two looks at the clock, never
    // early.
    EXPECT_GE(Deadline::at(time).at_ns(), meant);
}

TEST(Deadline, TimePointOfThePastHasPassed) {
    EXPECT_TRUE(Deadline::at(std::chrono::system_clock::time_point{}).has_passed());
}

TEST(Deadline, ChunkIsTheEarlierOfTheTwo) {
    const Deadline soon = Deadline::after(1ms);
    EXPECT_EQ(soon.chunk(3'600'000'000'000).at_ns(), soon.at_ns());
    const std::int64_t before = monotonic_now_ns();
    const Deadline chunk = Deadline::never().chunk(1000);
    EXPECT_GE(chunk.at_ns(), before + 1000);
    EXPECT_FALSE(chunk.is_never());
}

}  // namespace
}  // namespace sluice::shm
