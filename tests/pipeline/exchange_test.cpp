#include "pipeline/exchange.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "pipeline/book.hpp"

namespace sluice::pipeline {
namespace {

TEST(SyntheticExchange, TheSameSeedGivesTheSameMessages) {
    SyntheticExchange sut({.seed = 5, .messages = 2'000});
    SyntheticExchange same({.seed = 5, .messages = 2'000});
    SyntheticExchange other({.seed = 6, .messages = 2'000});
    bool differs = false;
    for (int i = 0; i < 2'000; ++i) {
        const auto line = sut.next();
        const auto same_line = same.next();
        const auto other_line = other.next();
        ASSERT_TRUE(line && same_line && other_line);
        ASSERT_EQ(line->json, same_line->json);
        ASSERT_EQ(line->receive_ns, same_line->receive_ns);
        differs = differs || line->json != other_line->json;
    }
    EXPECT_TRUE(differs);
    EXPECT_FALSE(sut.next().has_value());
}

// The numbers hold on every platform: a change of them changes every recorded run, and has to be
// meant.
TEST(SyntheticExchange, ItsMessagesAreThoseOfTheFirstRelease) {
    SyntheticExchange sut({.seed = 1, .messages = 20'000});
    std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
    while (const auto line = sut.next()) {
        for (const char character : line->json) {
            hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001b3U;
        }
        hash = (hash ^ static_cast<std::uint64_t>(line->receive_ns)) * 0x100000001b3U;
    }
    EXPECT_EQ(hash, 0x3e3a2baa6cc9a605U);
}

TEST(SyntheticExchange, ItsBookIsConsistentAndItsBurstsAreReal) {
    SyntheticExchange sut({.seed = 3, .messages = 100'000});
    MessageParser parser;
    Message message;
    Book book;
    std::map<Kind, int> kinds;
    std::vector<std::int64_t> gaps;
    std::vector<std::int64_t> times;
    while (const auto line = sut.next()) {
        parser.parse(line->json, message);
        ASSERT_NE(message.kind, Kind::malformed) << message.problem;
        ASSERT_NE(message.kind, Kind::other);
        ++kinds[message.kind];
        (void)book.apply(message);
        if (!times.empty()) {
            ASSERT_GT(line->receive_ns, times.back());
            gaps.push_back(line->receive_ns - times.back());
        }
        times.push_back(line->receive_ns);
    }
    EXPECT_EQ(kinds[Kind::snapshot], 1);
    EXPECT_GT(kinds[Kind::depth], 1'000);
    EXPECT_GT(kinds[Kind::trade], 1'000);
    EXPECT_GT(kinds[Kind::book_ticker], 1'000);
    const BookFigures figures = book.figures();
    EXPECT_EQ(figures.sequence_gaps, 0U);
    EXPECT_EQ(figures.top_differ, 0U);
    EXPECT_GT(figures.top_agree, 1'000U);
    EXPECT_GT(figures.bid_levels, 100U);
    EXPECT_GT(figures.ask_levels, 100U);

    std::nth_element(gaps.begin(), gaps.begin() + static_cast<std::ptrdiff_t>(gaps.size() / 2),
                     gaps.end());
    EXPECT_LT(gaps[gaps.size() / 2], 10'000);
    std::ptrdiff_t busiest = 0;  // messages in any one millisecond
    auto first = times.begin();
    for (auto last = times.begin(); last != times.end(); ++last) {
        while (*last - *first > 1'000'000) {
            ++first;
        }
        busiest = std::max(busiest, last - first + 1);
    }
    EXPECT_GT(busiest, 100);
}

}  // namespace
}  // namespace sluice::pipeline
