#include "pipeline/book.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "pipeline/capture.hpp"
#include "pipeline/random.hpp"
#include "support.hpp"

namespace sluice::pipeline {
namespace {

using Rows = std::vector<std::pair<const char*, const char*>>;

std::vector<Level> levels(const Rows& rows) {
    std::vector<Level> result;
    for (const auto& row : rows) {
        result.push_back(make_level(*parse_decimal(row.first), *parse_decimal(row.second)));
    }
    return result;
}

Message snapshot(std::uint64_t last_id) {
    Message message;
    message.kind = Kind::snapshot;
    message.last_id = last_id;
    message.bids = levels({{"99.0", "1"}, {"98.0", "2"}});
    message.asks = levels({{"101.0", "3"}, {"102.0", "4"}});
    return message;
}

Message spot(std::uint64_t first_id, std::uint64_t last_id, const Rows& bids,
             const Rows& asks = {}) {
    Message message;
    message.kind = Kind::depth;
    message.first_id = first_id;
    message.last_id = last_id;
    message.bids = levels(bids);
    message.asks = levels(asks);
    return message;
}

Message futures(std::uint64_t previous_id, std::uint64_t last_id) {
    Message message = spot(previous_id + 3, last_id, {});
    message.chained = true;
    message.previous_id = previous_id;
    return message;
}

Message ticker(std::uint64_t last_id, const char* bid, const char* ask) {
    Message message;
    message.kind = Kind::book_ticker;
    message.last_id = last_id;
    message.bids = levels({{bid, "1"}});
    message.asks = levels({{ask, "1"}});
    return message;
}

TEST(BookSide, AgreesWithAMapUnderRandomChanges) {
    for (const BookSide::Side side : {BookSide::Side::bid, BookSide::Side::ask}) {
        BookSide sut(side);
        std::map<std::int64_t, std::int64_t> expected;
        Random random(7);
        for (int step = 0; step < 50'000; ++step) {
            const std::int64_t price = 1'000 + random.below(300);
            const std::int64_t quantity = random.below(3);
            sut.set(make_level({price, 1}, {quantity, 0}));
            if (quantity == 0) {
                expected.erase(price);
            } else {
                expected[price] = quantity;
            }
            ASSERT_EQ(sut.size(), expected.size());
            if (!expected.empty()) {
                const auto best =
                    side == BookSide::Side::bid ? *expected.rbegin() : *expected.begin();
                ASSERT_EQ(sut.best().price_mantissa, best.first);
                ASSERT_EQ(sut.best().quantity_mantissa, best.second);
            }
        }
    }
}

TEST(BookSide, PricesOfDifferentFormAreOneLevel) {
    BookSide sut(BookSide::Side::bid);
    sut.set(levels({{"61659.7", "1"}})[0]);
    sut.set(levels({{"61659.70", "2.50"}})[0]);
    EXPECT_EQ(sut.size(), 1U);
    EXPECT_EQ(to_text(sut.best().price()), "61659.70");
    EXPECT_EQ(sut.quantity().to_text(), "2.5");
    sut.set(levels({{"61659.700", "0.000"}})[0]);
    EXPECT_TRUE(sut.empty());
}

TEST(Book, IsNotBuiltWithoutASnapshot) {
    Book sut;
    EXPECT_EQ(sut.apply(spot(1, 2, {{"99", "1"}})), Book::Outcome::held);
    EXPECT_FALSE(sut.built());
    const BookFigures figures = sut.figures();
    EXPECT_EQ(figures.held, 1U);
    EXPECT_EQ(figures.level_updates, 0U);
    EXPECT_FALSE(figures.best_bid.has_value());
    EXPECT_EQ(figures.bid_quantity, "0");
}

TEST(Book, AppliesHeldSpotDeltasThatReachBeyondTheSnapshot) {
    Book sut;
    (void)sut.apply(spot(5, 10, {{"99.5", "1"}}));  // not above 10: dropped
    (void)sut.apply(spot(9, 12, {{"99.6", "1"}}));  // bridges 10
    (void)sut.apply(spot(13, 13, {{"99.6", "0"}, {"99.7", "5"}}));
    EXPECT_EQ(sut.apply(snapshot(10)), Book::Outcome::applied);
    EXPECT_EQ(sut.counts().sequence_gaps, 0U);
    EXPECT_EQ(sut.counts().stale, 1U);
    EXPECT_EQ(sut.counts().level_updates, 4U + 1U + 2U);
    EXPECT_EQ(sut.figures().best_bid, "99.7");
    EXPECT_EQ(sut.figures().bid_levels, 3U);
    EXPECT_EQ(sut.figures().bid_quantity, "8");
    EXPECT_EQ(sut.figures().held, 0U);
}

TEST(Book, CountsASpotGapAndAppliesTheDeltaAllTheSame) {
    Book sut;
    (void)sut.apply(snapshot(10));
    EXPECT_EQ(sut.apply(spot(11, 12, {})), Book::Outcome::applied);
    EXPECT_EQ(sut.apply(spot(12, 12, {{"100", "9"}})), Book::Outcome::stale);
    EXPECT_EQ(sut.apply(spot(14, 15, {{"99.9", "9"}})), Book::Outcome::gap);
    EXPECT_EQ(sut.apply(spot(16, 16, {})), Book::Outcome::applied);
    EXPECT_EQ(sut.counts().sequence_gaps, 1U);
    EXPECT_EQ(sut.figures().best_bid, "99.9");
}

TEST(Book, CountsWhatIsMissingRightBehindTheSnapshot) {
    Book spot_book;
    (void)spot_book.apply(snapshot(10));
    EXPECT_EQ(spot_book.apply(spot(12, 13, {})), Book::Outcome::gap);
    Book futures_book;
    (void)futures_book.apply(snapshot(10));
    EXPECT_EQ(futures_book.apply(futures(11, 15)), Book::Outcome::gap);
}

TEST(Book, FollowsTheChainOfFuturesDeltas) {
    Book sut;
    (void)sut.apply(futures(1, 9));   // below 10: dropped
    (void)sut.apply(futures(9, 10));  // not below 10: kept
    (void)sut.apply(snapshot(10));
    EXPECT_EQ(sut.counts().stale, 1U);
    EXPECT_EQ(sut.apply(futures(10, 17)), Book::Outcome::applied);
    EXPECT_EQ(sut.apply(futures(19, 25)), Book::Outcome::gap);
    EXPECT_EQ(sut.apply(futures(25, 30)), Book::Outcome::applied);
    EXPECT_EQ(sut.counts().sequence_gaps, 1U);
}

TEST(Book, AnotherSnapshotReplacesTheBook) {
    Book sut;
    (void)sut.apply(snapshot(10));
    (void)sut.apply(spot(11, 12, {{"99.9", "9"}}));
    (void)sut.apply(snapshot(20));
    EXPECT_EQ(sut.figures().best_bid, "99.0");
    EXPECT_EQ(sut.apply(spot(13, 20, {{"99.9", "9"}})), Book::Outcome::stale);
    EXPECT_EQ(sut.apply(spot(18, 21, {})), Book::Outcome::applied);
    EXPECT_EQ(sut.counts().sequence_gaps, 0U);
}

TEST(Book, ComparesItsTopWithTheLatestTickerThatIsNotAhead) {
    Book sut;
    (void)sut.apply(ticker(11, "99", "101.00"));
    (void)sut.apply(spot(8, 11, {}));  // held: not compared
    (void)sut.apply(snapshot(10));
    EXPECT_EQ(sut.counts().top_agree + sut.counts().top_differ, 0U);
    (void)sut.apply(spot(12, 12, {}));  // agrees, whatever the zeros
    (void)sut.apply(ticker(20, "99.5", "101"));
    (void)sut.apply(spot(13, 19, {}));  // the ticker is ahead
    (void)sut.apply(spot(20, 20, {}));  // differs
    EXPECT_EQ(sut.counts().top_agree, 1U);
    EXPECT_EQ(sut.counts().top_differ, 1U);
}

BookFigures figures_of(const char* file, std::uint64_t& messages) {
    CaptureReader reader((test::data_folder() / file).string(),
                         [](const CaptureProblem& problem) { ADD_FAILURE() << problem.text; });
    MessageParser parser;
    Message message;
    Book sut;
    messages = 0;
    while (const auto line = reader.next()) {
        parser.parse(line->json, message);
        EXPECT_NE(message.kind, Kind::malformed) << message.problem;
        (void)sut.apply(message);
        ++messages;
    }
    return sut.figures();
}

TEST(Book, GivesTheFiguresOfTheSpotCapture) {
    if (!test::have_captures()) {
        GTEST_SKIP() << test::kNoCaptures;
    }
    std::uint64_t messages = 0;
    const BookFigures figures = figures_of(test::kSpot, messages);
    EXPECT_EQ(messages, 41'249U);
    EXPECT_EQ(figures.level_updates, 126'073U);
    EXPECT_EQ(figures.sequence_gaps, 0U);
    EXPECT_EQ(figures.top_agree, 3'432U);
    EXPECT_EQ(figures.top_differ, 0U);
    EXPECT_EQ(figures.best_bid, "61685.99000000");
    EXPECT_EQ(figures.best_ask, "61686.00000000");
    EXPECT_EQ(figures.bid_levels, 1'209U);
    EXPECT_EQ(figures.ask_levels, 2'196U);
    EXPECT_EQ(figures.bid_quantity, "3087.28043");
    EXPECT_EQ(figures.ask_quantity, "3071.44102");
    EXPECT_EQ(figures.traded_quantity, "212.03315");
}

TEST(Book, GivesTheFiguresOfTheFuturesCapture) {
    if (!test::have_captures()) {
        GTEST_SKIP() << test::kNoCaptures;
    }
    std::uint64_t messages = 0;
    const BookFigures figures = figures_of(test::kUsdm, messages);
    EXPECT_EQ(messages, 93'954U);
    EXPECT_EQ(figures.level_updates, 445'262U);
    EXPECT_EQ(figures.sequence_gaps, 0U);
    EXPECT_EQ(figures.top_agree, 6'270U);
    EXPECT_EQ(figures.top_differ, 29U);
    EXPECT_EQ(figures.best_bid, "61659.70");
    EXPECT_EQ(figures.best_ask, "61659.80");
    EXPECT_EQ(figures.bid_levels, 5'018U);
    EXPECT_EQ(figures.ask_levels, 4'578U);
    EXPECT_EQ(figures.bid_quantity, "9457.538");
    EXPECT_EQ(figures.ask_quantity, "8813.296");
    EXPECT_EQ(figures.traded_quantity, "2429.366");
}

}  // namespace
}  // namespace sluice::pipeline
