#include "pipeline/histogram.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace sluice::pipeline {
namespace {

static_assert(std::is_trivially_copyable_v<Histogram>);

TEST(Histogram, EveryValueFallsIntoABucketThatHoldsIt) {
    for (int bit = 0; bit < Histogram::kValueBits; ++bit) {
        for (const int off : {-1, 0, 1}) {
            const std::uint64_t value = (std::uint64_t{1} << bit) + static_cast<std::uint64_t>(off);
            const std::size_t bucket = Histogram::bucket_of(value);
            ASSERT_LT(bucket, Histogram::kBuckets);
            EXPECT_LE(Histogram::lowest_of(bucket), value);
            EXPECT_GE(Histogram::highest_of(bucket), value);
        }
    }
}

TEST(Histogram, BucketsFollowEachOtherWithoutAHole) {
    for (std::size_t bucket = 0; bucket + 1 < Histogram::kBuckets; ++bucket) {
        ASSERT_EQ(Histogram::highest_of(bucket) + 1, Histogram::lowest_of(bucket + 1));
        ASSERT_EQ(Histogram::bucket_of(Histogram::lowest_of(bucket)), bucket);
        ASSERT_EQ(Histogram::bucket_of(Histogram::highest_of(bucket)), bucket);
    }
}

TEST(Histogram, PercentilesAreWithinOnePerCent) {
    Histogram sut;
    for (int value = 1; value <= 100'000; ++value) {
        sut.record(value);
    }
    EXPECT_NEAR(static_cast<double>(sut.at(0.5)), 50'000, 500);
    EXPECT_NEAR(static_cast<double>(sut.at(0.99)), 99'000, 990);
    EXPECT_NEAR(static_cast<double>(sut.at(0.999)), 99'900, 999);
    EXPECT_EQ(sut.at(1), 100'000U);
    EXPECT_EQ(sut.max(), 100'000U);
    EXPECT_EQ(sut.count(), 100'000U);
}

TEST(Histogram, IsZeroWhileEmptyAndClampsWhatIsOutside) {
    Histogram sut;
    EXPECT_EQ(sut.at(0.99), 0U);
    sut.record(-5);
    EXPECT_EQ(sut.at(0.5), 0U);
    sut.record(std::int64_t{1} << 60);
    EXPECT_EQ(sut.max(), std::uint64_t{1} << 60);
    EXPECT_EQ(sut.count(), 2U);
}

TEST(Histogram, MergesWithAnotherDenseOrSparse) {
    Histogram left;
    Histogram right;
    left.record(10);
    right.record(1'000'000);
    right.record(10);
    Histogram sut = left;
    sut.merge(right);
    EXPECT_EQ(sut.count(), 3U);
    EXPECT_EQ(sut.at(0.5), 10U);
    EXPECT_EQ(sut.max(), 1'000'000U);

    Histogram travelled = left;
    travelled.merge(right.sparse(), right.max());
    EXPECT_EQ(travelled.sparse(), sut.sparse());
    EXPECT_EQ(travelled.max(), sut.max());
}

TEST(Histogram, WritesTheStandardPercentileFormat) {
    Histogram sut;
    for (int value = 1; value <= 1'000; ++value) {
        sut.record(value);
    }
    std::istringstream text(sut.hgrm());
    std::string line;
    std::getline(text, line);
    EXPECT_EQ(line, "       Value     Percentile TotalCount 1/(1-Percentile)");
    std::getline(text, line);
    EXPECT_EQ(line, "");
    double last_value = 0;
    double last_share = -1;
    std::vector<std::string> footer;
    while (std::getline(text, line)) {
        if (line.starts_with("#[")) {
            footer.push_back(line);
            continue;
        }
        std::istringstream row(line);
        double value = 0;
        double share = 0;
        std::uint64_t count = 0;
        ASSERT_TRUE(row >> value >> share >> count) << line;
        EXPECT_GE(value, last_value);
        EXPECT_GT(share, last_share);
        last_value = value;
        last_share = share;
    }
    EXPECT_EQ(last_value, 1'000);
    EXPECT_EQ(last_share, 1);
    ASSERT_EQ(footer.size(), 3U);
    EXPECT_TRUE(footer[0].starts_with("#[Mean    = ")) << footer[0];
    EXPECT_EQ(footer[1], "#[Max     =     1000.000, Total count    =         1000]");
    EXPECT_EQ(footer[2], "#[Buckets =           41, SubBuckets     =          256]");
}

}  // namespace
}  // namespace sluice::pipeline
