// A market data message: from the exchange's JSON to a plain value. Both forms are read, spot and
// usdm (futures: the deltas have "pu"), raw or in a combined stream's envelope {"stream": ...,
// "data": ...}.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "decimal.hpp"

namespace sluice::pipeline {

enum class Kind : std::uint8_t { depth, book_ticker, trade, snapshot, other, malformed };
inline constexpr int kKindCount = 6;

/// A row of a book: 24 bytes, so that it travels in a fixed-size record.
struct Level {
    std::int64_t price_mantissa{};
    std::int64_t quantity_mantissa{};
    std::uint8_t price_decimals{};
    std::uint8_t quantity_decimals{};

    [[nodiscard]] Decimal price() const noexcept { return {price_mantissa, price_decimals}; }
    [[nodiscard]] Decimal quantity() const noexcept {
        return {quantity_mantissa, quantity_decimals};
    }
};
[[nodiscard]] inline Level make_level(Decimal price, Decimal quantity) noexcept {
    return {price.mantissa, quantity.mantissa, price.decimals, quantity.decimals};
}

struct Message {
    Kind kind{Kind::malformed};
    bool chained{};         // depth: it is a futures delta, which names the delta before it ("pu")
    bool buyer_is_maker{};  // trade: the seller came to the market
    std::uint64_t first_id{};     // depth: U
    std::uint64_t last_id{};      // depth, bookTicker: u; snapshot: lastUpdateId
    std::uint64_t previous_id{};  // depth: pu
    std::vector<Level> bids{};    // depth, snapshot; bookTicker: one row
    std::vector<Level>
        asks{};             // depth, snapshot; bookTicker: one row; trade: its price and quantity
    std::string problem{};  // malformed: what is wrong with it
};

/// What a caller must leave readable (not meaningful) behind the text that it gives to
/// MessageParser.
inline constexpr std::size_t kPaddingBytes = 64;

/// Reads messages; the memory is reused from one to the next.
class MessageParser {
 public:
    MessageParser();
    ~MessageParser();
    MessageParser(const MessageParser&) = delete;
    MessageParser& operator=(const MessageParser&) = delete;

    /// Fills `message` with what `json` says. What is no JSON, or lacks a field, or has a number
    /// that is none comes out as malformed, with the problem in words; a well-formed message of
    /// another kind as other. `json` must be followed by kPaddingBytes readable bytes.
    void parse(std::string_view json, Message& message);

 private:
    struct State;  // keeps simdjson's 30,000 lines out of this header
    std::unique_ptr<State> state_;
};

}  // namespace sluice::pipeline
