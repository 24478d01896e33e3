// What the stages of the pipeline find out: values that travel through a queue to the main process,
// some while the pipeline runs and the rest at its end.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <sluice/msgpack.hpp>
#include <string>
#include <variant>
#include <vector>

#include "histogram.hpp"
#include "message.hpp"

namespace sluice::pipeline {

/// What `--json` says about a book, and a little more.
struct BookFigures {
    std::uint64_t level_updates{};
    std::uint64_t sequence_gaps{};
    std::uint64_t top_agree{};
    std::uint64_t top_differ{};
    std::uint64_t stale{};  // deltas that the snapshot or an earlier delta had overtaken
    std::uint64_t held{};   // deltas that still wait for a snapshot
    std::optional<std::string> best_bid{};
    std::optional<std::string> best_ask{};
    std::uint64_t bid_levels{};
    std::uint64_t ask_levels{};
    std::string bid_quantity{"0"};
    std::string ask_quantity{"0"};
    std::string traded_quantity{"0"};
    MSGPACK_DEFINE(level_updates, sequence_gaps, top_agree, top_differ, stale, held, best_bid,
                   best_ask, bid_levels, ask_levels, bid_quantity, ask_quantity, traded_quantity)
};

/// The durations of one hop, as one stage has measured them.
struct HopReport {
    std::string from{};
    std::string to{};
    Histogram::Sparse buckets{};
    std::uint64_t max_ns{};
    MSGPACK_DEFINE(from, to, buckets, max_ns)
};

/// Something amiss in the input, in words, while the pipeline runs.
struct Problem {
    std::string text{};
    MSGPACK_DEFINE(text)
};

/// The rest is what a stage has to say at its end.
struct FeedReport {
    std::uint64_t input{};
    std::array<std::uint64_t, kKindCount> counts{};  // by Kind
    bool readable{};
    bool cut_short{};
    MSGPACK_DEFINE(input, counts, readable, cut_short)
};

struct BookReport {
    std::vector<BookFigures> books{};  // one an input
    std::uint64_t events{};
    std::vector<HopReport> hops{};
    MSGPACK_DEFINE(books, events, hops)
};

struct StrategyReport {
    std::uint64_t strategy{};
    std::uint64_t events{};
    std::uint64_t orders{};
    std::uint64_t acknowledged{};
    std::uint64_t restarts{};  // then `orders` and `acknowledged` are those of its last life
    std::vector<HopReport> hops{};
    MSGPACK_DEFINE(strategy, events, orders, acknowledged, restarts, hops)
};

struct GatewayReport {
    std::uint64_t received{};
    std::uint64_t rejected{};
    std::uint64_t acknowledged{};
    bool killed{};
    std::vector<std::uint64_t> orders{};  // of each strategy
    std::vector<HopReport> hops{};
    MSGPACK_DEFINE(received, rejected, acknowledged, killed, orders, hops)
};

struct JournalReport {
    std::uint64_t lines{};
    std::vector<HopReport> hops{};
    MSGPACK_DEFINE(lines, hops)
};

using Report =
    std::variant<Problem, FeedReport, BookReport, StrategyReport, GatewayReport, JournalReport>;

}  // namespace sluice::pipeline
