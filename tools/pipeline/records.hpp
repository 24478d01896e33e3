// The plain values that travel between the stages, each of a fixed size.
#pragma once

#include <time.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "decimal.hpp"
#include "message.hpp"

namespace sluice::pipeline {

/// CLOCK_MONOTONIC: the one clock of all latencies, the same in every process of a machine.
[[nodiscard]] inline std::int64_t now_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// "No message will follow": later than every receive time.
inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

/// feed -> book: a message, or a part of a long one. Four cache lines: most messages are a
/// bookTicker or a trade and fit one record; a snapshot of some thousand levels takes some hundred.
struct FeedRecord {
    static constexpr std::size_t kRows = 8;

    std::int64_t receive_ns{};
    std::int64_t intended_ns{};  // when, on our clock, the message was to arrive
    // When the feed's next message was received (kNever: there is none). So the book can merge its
    // feeds by receive time and never has to wait for one that has nothing to say.
    std::int64_t next_receive_ns{kNever};
    std::uint64_t first_id{};
    std::uint64_t last_id{};
    std::uint64_t previous_id{};
    Kind kind{Kind::other};  // of other and malformed messages only the times travel
    bool last{true};         // the message's last record
    bool chained{};
    bool buyer_is_maker{};
    std::uint8_t bids{};  // rows[0, bids) are bids,
    std::uint8_t asks{};  // and the next `asks` are asks
    std::array<Level, kRows> rows{};
};
static_assert(sizeof(FeedRecord) <= 256);

enum class Side : std::uint8_t { buy, sell };

/// book -> each strategy.
struct BookEvent {
    enum class What : std::uint8_t {
        book,    // a delta or a snapshot has changed the best levels
        ticker,  // the exchange's own top of book, ahead of the deltas
        trade,   // price and quantity are in `ask`
        end,     // no event follows
    };
    std::uint64_t sequence{};
    std::int64_t receive_ns{};
    std::int64_t intended_ns{};
    std::int64_t published_ns{};
    std::uint32_t input{};
    What what{What::end};
    bool has_bid{};
    bool has_ask{};
    bool buyer_is_maker{};
    Level bid{};
    Level ask{};
    Decimal reference{};  // the last price traded; 0: none yet
};

/// strategy -> risk.
struct Order {
    enum class What : std::uint8_t { order, end };
    std::uint64_t id{};  // counts from 1 in each strategy
    std::int64_t receive_ns{};
    std::int64_t intended_ns{};  // of the event that made the strategy send it
    std::int64_t sent_ns{};
    std::uint32_t strategy{};
    std::uint32_t input{};
    What what{What::end};
    Side side{Side::buy};
    Decimal price{};
    Decimal quantity{};
    Decimal reference{};
};

/// What became of an order. An accepted order counts as filled at its price.
enum class Verdict : std::uint8_t {
    accepted,
    killed,    // the kill switch had been thrown
    rate,      // too many orders of this strategy in a second
    collar,    // the price is too far from the last one traded
    position,  // the position would exceed the limit
};

/// risk -> strategy.
struct Acknowledgement {
    std::uint64_t id{};
    std::uint32_t input{};
    Verdict verdict{Verdict::accepted};
    Side side{Side::buy};
};

/// risk -> journal: an order, or its acknowledgement.
struct JournalEntry {
    enum class What : std::uint8_t { order, acknowledgement, end };
    What what{What::end};
    Verdict verdict{Verdict::accepted};
    std::int64_t sent_ns{};
    Order order{};
};

/// feed <-> main process.
struct Control {
    enum class What : std::uint8_t {
        ready,     // feed: the file is open; receive_ns: of its first message
        start,     // main: receive_ns is to be start_ns on our clock
        stop,      // main: no further message
        progress,  // feed
    };
    What what{What::ready};
    std::int64_t receive_ns{kNever};
    std::int64_t start_ns{};
    std::uint64_t done{};
    std::uint64_t total{};
    std::uint64_t messages{};
};

}  // namespace sluice::pipeline
