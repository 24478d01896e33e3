#include "pipeline/decimal.hpp"

#include <gtest/gtest.h>

namespace sluice::pipeline {
namespace {

std::string round_trip(std::string_view text) {
    const auto value = parse_decimal(text);
    return value ? to_text(*value) : "nothing";
}

TEST(Decimal, KeepsItsTextWithTrailingZeros) {
    for (const char* text : {"61685.99000000", "0", "0.001", "12", "61659.70", "0.00000000",
                             "999999999999999999", "0.000000000000000001", "1.10"}) {
        EXPECT_EQ(round_trip(text), text);
    }
}

TEST(Decimal, RefusesWhatIsNoPlainNumber) {
    for (const char* text : {"", ".", ".5", "5.", "-1", "+1", "1e5", "1.2.3", "12a", " 1", "nan",
                             "1000000000000000000", "0.0000000000000000001"}) {
        EXPECT_EQ(round_trip(text), "nothing") << text;
    }
}

TEST(Decimal, ComparesNumbersAndNotTexts) {
    EXPECT_TRUE(same_number(*parse_decimal("61659.7"), *parse_decimal("61659.70")));
    EXPECT_FALSE(same_number(*parse_decimal("61659.7"), *parse_decimal("61659.71")));
    EXPECT_LT(at_common_scale(*parse_decimal("0.5")), at_common_scale(*parse_decimal("0.51")));
    EXPECT_LT(at_common_scale(*parse_decimal("0.999999999999999999")),
              at_common_scale(*parse_decimal("1")));
}

TEST(DecimalSum, IsExactWhereFloatingPointIsNot) {
    DecimalSum sut;
    for (int i = 0; i < 10; ++i) {
        sut.add(*parse_decimal("0.1"));
    }
    EXPECT_EQ(sut.to_text(), "1");
    sut.add(*parse_decimal("0.000000000000000001"));
    sut.add(*parse_decimal("999999999999999999"));
    EXPECT_EQ(sut.to_text(), "1000000000000000000.000000000000000001");
}

TEST(DecimalSum, PrintsNoTrailingZeros) {
    DecimalSum sut;
    EXPECT_EQ(sut.to_text(), "0");
    sut.add(*parse_decimal("3087.28043000"));
    EXPECT_EQ(sut.to_text(), "3087.28043");
    sut.add(*parse_decimal("0.71957"));
    EXPECT_EQ(sut.to_text(), "3088");
}

TEST(DecimalSum, HoldsMillionsOfTheGreatestTerms) {
    DecimalSum sut;
    for (int i = 0; i < 1'000'000; ++i) {
        sut.add({999'999'999'999'999'999, 0});
        sut.add({999'999'999'999'999'999, 18});
    }
    EXPECT_EQ(sut.to_text(), "999999999999999999999999.999999999999");
}

}  // namespace
}  // namespace sluice::pipeline
