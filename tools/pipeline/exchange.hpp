// The embedded synthetic exchange: messages as a futures exchange would send them, for runs without
// a capture. They are text, as a capture's lines are, so that a feed does all of its work on them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "line_source.hpp"
#include "random.hpp"

namespace sluice::pipeline {

struct ExchangeOptions {
    std::uint64_t seed{1};
    std::uint64_t messages{200'000};
};

/// Trades, tops and deltas of one consistent book, in bursts: a few us apart within one,
/// milliseconds between two. Only integers make them, so the same seed gives the same text
/// everywhere.
class SyntheticExchange : public LineSource {
 public:
    explicit SyntheticExchange(ExchangeOptions options);

    std::optional<CapturedLine> next() override;
    [[nodiscard]] SourceProgress progress() const override { return {sent_, options_.messages}; }

 private:
    using Levels = std::map<std::int64_t, std::int64_t>;  // price in ticks -> quantity in lots
    enum class Side { bid, ask };

    void advance_clock();
    void act();
    void trade();
    void change_level();
    void set_level(Side side, std::int64_t price, std::int64_t quantity);
    void after_change();
    void publish_delta();
    void publish_top();
    void remember_snapshot();
    [[nodiscard]] Levels& levels(Side side) { return side == Side::bid ? bids_ : asks_; }
    [[nodiscard]] std::int64_t best_bid() const { return bids_.rbegin()->first; }
    [[nodiscard]] std::int64_t best_ask() const { return asks_.begin()->first; }
    [[nodiscard]] std::int64_t event_ms() const;

    ExchangeOptions options_;
    Random random_;
    Levels bids_{};
    Levels asks_{};
    Levels changed_bids_{};  // since the last delta
    Levels changed_asks_{};
    std::int64_t now_ns_;
    std::int64_t burst_left_{};
    std::uint64_t update_id_{1'000'000};
    std::uint64_t delta_first_id_{};
    std::uint64_t delta_previous_id_{};
    std::uint64_t deltas_{};
    std::uint64_t trade_id_{};
    std::string snapshot_{};
    struct Top {
        std::int64_t bid, bid_quantity, ask, ask_quantity;
        friend bool operator==(const Top&, const Top&) = default;
    };
    [[nodiscard]] Top top() const;
    Top published_top_{};
    std::vector<std::string> pending_{};  // messages made and not yet sent
    std::size_t pending_position_{};
    std::array<std::string, 2> lines_{};  // by turns, see CapturedLine
    std::uint64_t sent_{};
};

}  // namespace sluice::pipeline
