#include "pipeline/message.hpp"

#include <gtest/gtest.h>

#include <string>

namespace sluice::pipeline {
namespace {

Message parse(std::string json) {
    const std::size_t bytes = json.size();
    json.resize(bytes + kPaddingBytes);
    MessageParser sut;
    Message message;
    sut.parse(std::string_view(json.data(), bytes), message);
    return message;
}

TEST(MessageParser, ReadsASpotDelta) {
    const Message message = parse(
        R"({"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":203,"u":207,)"
        R"("b":[["55653.87000000","0.00000000"]],"a":[["61838.04000000","0.32332000"],["61844.3","1"]]}})");
    ASSERT_EQ(message.kind, Kind::depth) << message.problem;
    EXPECT_FALSE(message.chained);
    EXPECT_EQ(message.first_id, 203U);
    EXPECT_EQ(message.last_id, 207U);
    ASSERT_EQ(message.bids.size(), 1U);
    ASSERT_EQ(message.asks.size(), 2U);
    EXPECT_EQ(to_text(message.bids[0].price()), "55653.87000000");
    EXPECT_TRUE(is_zero(message.bids[0].quantity()));
    EXPECT_EQ(to_text(message.asks[1].quantity()), "1");
}

TEST(MessageParser, ReadsAFuturesDeltaWithoutEnvelope) {
    const Message message =
        parse(R"({"e":"depthUpdate","E":1,"T":2,"s":"BTCUSDT","U":5,"u":9,"pu":4,"b":[],"a":[]})");
    ASSERT_EQ(message.kind, Kind::depth) << message.problem;
    EXPECT_TRUE(message.chained);
    EXPECT_EQ(message.previous_id, 4U);
}

TEST(MessageParser, ReadsBothFormsOfBookTicker) {
    for (const char* json :
         {R"({"stream":"x","data":{"u":12,"s":"B","b":"1.0","B":"2","a":"1.5","A":"3"}})",
          R"({"e":"bookTicker","u":12,"s":"B","b":"1.0","B":"2","a":"1.5","A":"3","T":1,"E":1})"}) {
        const Message message = parse(json);
        ASSERT_EQ(message.kind, Kind::book_ticker) << message.problem;
        EXPECT_EQ(message.last_id, 12U);
        EXPECT_EQ(to_text(message.bids.at(0).price()), "1.0");
        EXPECT_EQ(to_text(message.asks.at(0).quantity()), "3");
    }
}

TEST(MessageParser, ReadsTradeAndSnapshot) {
    const Message trade =
        parse(R"({"data":{"e":"trade","t":7,"p":"61800.30","q":"0.006","X":"MARKET","m":true}})");
    ASSERT_EQ(trade.kind, Kind::trade) << trade.problem;
    EXPECT_TRUE(trade.buyer_is_maker);
    EXPECT_EQ(to_text(trade.asks.at(0).price()), "61800.30");
    EXPECT_EQ(to_text(trade.asks.at(0).quantity()), "0.006");

    const Message snapshot =
        parse(R"({"lastUpdateId":99,"bids":[["1","2"]],"asks":[["3","4"],["5","6"]]})");
    ASSERT_EQ(snapshot.kind, Kind::snapshot) << snapshot.problem;
    EXPECT_EQ(snapshot.last_id, 99U);
    EXPECT_EQ(snapshot.asks.size(), 2U);
}

TEST(MessageParser, CallsUnknownEventsOther) {
    EXPECT_EQ(parse(R"({"e":"aggTrade","p":"1","q":"2"})").kind, Kind::other);
    EXPECT_EQ(parse(R"({"result":null,"id":1})").kind, Kind::other);
}

TEST(MessageParser, SaysWhatIsWrongWithAMalformedOne) {
    const auto problem = [](const char* json) {
        const Message message = parse(json);
        EXPECT_EQ(message.kind, Kind::malformed) << json;
        return message.problem;
    };
    EXPECT_TRUE(problem("garbage").starts_with("no JSON: "));
    EXPECT_TRUE(problem(R"({"e":"trade","p":"1","q":"2","m":tr)").starts_with("no JSON: "));
    EXPECT_TRUE(problem("").starts_with("no JSON: "));
    EXPECT_EQ(problem("17"), "no JSON object");
    EXPECT_EQ(problem(R"({"e":"trade","p":"1","m":true})"), "\"q\" is missing");
    EXPECT_EQ(problem(R"({"e":"trade","p":"one","q":"2","m":true})"),
              "\"p\" is not a decimal of at most 18 digits");
    EXPECT_EQ(problem(R"({"e":"depthUpdate","U":-1,"u":2,"b":[],"a":[]})"),
              "\"U\" is not a whole number");
    EXPECT_EQ(problem(R"({"e":"depthUpdate","U":1,"u":2,"b":[["1"]],"a":[]})"),
              "\"b\" is not a list of [price, quantity]");
}

}  // namespace
}  // namespace sluice::pipeline
