#include "summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>
#include <system_error>

namespace sluice::pipeline {
namespace {

constexpr std::array<const char*, kKindCount> kKindNames{"depth",    "bookTicker", "trade",
                                                         "snapshot", "other",      "malformed"};

std::uint64_t sum(const std::array<std::uint64_t, kKindCount>& counts) {
    return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

std::string duration_text(std::uint64_t ns) {
    const auto value = static_cast<double>(ns);
    if (ns < 1'000) {
        return fmt::format("{} ns", ns);
    }
    if (ns < 1'000'000) {
        return fmt::format("{:.1f} us", value / 1e3);
    }
    return ns < 1'000'000'000 ? fmt::format("{:.1f} ms", value / 1e6)
                              : fmt::format("{:.2f} s", value / 1e9);
}

}  // namespace

std::vector<std::string> input_names(const Settings& settings) {
    if (settings.inputs.empty()) {
        return {"synthetic"};
    }
    std::vector<std::string> names;
    for (const std::string& path : settings.inputs) {
        names.push_back(std::filesystem::path(path).filename().string());
    }
    return names;
}

Summary::Summary(const Settings& settings) : strategies_(settings.strategies) {
    for (std::string& name : input_names(settings)) {
        inputs_.push_back({.name = std::move(name)});
    }
    // Their order in tables and JSON: along the way of a message, then the ways of several hops.
    for (const auto& [from, to] : {std::pair("feed", "book"), std::pair("book", "strategy"),
                                   std::pair("strategy", "risk"), std::pair("risk", "journal"),
                                   std::pair("feed", "strategy"), std::pair("feed", "journal")}) {
        hops_.push_back({from, to});
    }
}

void Summary::take(const FeedReport& report) {
    inputs_.at(report.input).feed = report;
}

void Summary::take(const BookReport& report) {
    book_events_ = report.events;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
        inputs_[i].book = report.books.at(i);
    }
    take_hops(report.hops);
}

void Summary::take(const StrategyReport& report) {
    strategies_.at(report.strategy) = report;
    take_hops(report.hops);
}

void Summary::take(const GatewayReport& report) {
    gateway_ = report;
    take_hops(report.hops);
}

void Summary::take(const JournalReport& report) {
    journal_ = report;
    take_hops(report.hops);
}

void Summary::take_hops(const std::vector<HopReport>& hops) {
    for (const HopReport& report : hops) {
        const auto hop = std::find_if(hops_.begin(), hops_.end(), [&](const Hop& known) {
            return known.from == report.from && known.to == report.to;
        });
        if (hop != hops_.end()) {
            hop->durations.merge(report.buckets, report.max_ns);
        }
    }
}

/// A strategy that was killed cannot say how many it had sent.
std::uint64_t Summary::orders_of(const StrategyReport& strategy) const {
    return strategy.restarts == 0 ? strategy.orders : gateway_.orders.at(strategy.strategy);
}

bool Summary::input_missing() const noexcept {
    return std::any_of(inputs_.begin(), inputs_.end(),
                       [](const Input& input) { return !input.feed.readable; });
}

std::uint64_t Summary::messages() const noexcept {
    std::uint64_t messages = 0;
    for (const Input& input : inputs_) {
        messages += sum(input.feed.counts);
    }
    return messages;
}

std::string Summary::json() const {
    using Json = nlohmann::ordered_json;
    Json inputs = Json::array();
    for (const Input& input : inputs_) {
        Json counts = Json::object();
        for (std::size_t kind = 0; kind < kKindNames.size(); ++kind) {
            counts[kKindNames[kind]] = input.feed.counts[kind];
        }
        const auto text_or_null = [](const std::optional<std::string>& text) {
            return text ? Json(*text) : Json(nullptr);
        };
        const BookFigures& book = input.book;
        inputs.push_back({{"file", input.name},
                          {"messages", sum(input.feed.counts)},
                          {"counts", std::move(counts)},
                          {"level_updates", book.level_updates},
                          {"sequence_gaps", book.sequence_gaps},
                          {"top_agree", book.top_agree},
                          {"top_differ", book.top_differ},
                          {"best_bid", text_or_null(book.best_bid)},
                          {"best_ask", text_or_null(book.best_ask)},
                          {"bid_levels", book.bid_levels},
                          {"ask_levels", book.ask_levels},
                          {"bid_quantity", book.bid_quantity},
                          {"ask_quantity", book.ask_quantity},
                          {"traded_quantity", book.traded_quantity}});
    }
    Json strategies = Json::array();
    std::uint64_t sent = 0;
    for (const StrategyReport& strategy : strategies_) {
        strategies.push_back({{"events", strategy.events}, {"orders", orders_of(strategy)}});
        sent += orders_of(strategy);
    }
    Json hops = Json::array();
    for (const Hop& hop : hops_) {
        hops.push_back({{"from", hop.from},
                        {"to", hop.to},
                        {"count", hop.durations.count()},
                        {"p50_ns", hop.durations.at(0.5)},
                        {"p99_ns", hop.durations.at(0.99)},
                        {"p999_ns", hop.durations.at(0.999)},
                        {"max_ns", hop.durations.max()}});
    }
    const double rate = elapsed_s_ > 0 ? static_cast<double>(messages()) / elapsed_s_ : 0;
    const Json all{{"inputs", std::move(inputs)},
                   {"book_events", book_events_},
                   {"strategies", std::move(strategies)},
                   {"hops", std::move(hops)},
                   {"orders",
                    {{"sent", sent},
                     {"rejected", gateway_.rejected},
                     {"acknowledged", gateway_.acknowledged}}},
                   {"elapsed_s", elapsed_s_},
                   {"messages_per_s", rate}};
    // A file's name need not be UTF-8; JSON must be.
    return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string Summary::table() const {
    std::string text;
    const auto out = std::back_inserter(text);
    for (const Input& input : inputs_) {
        const BookFigures& book = input.book;
        fmt::format_to(out, "{}\n  messages   {:>10}  ", input.name, sum(input.feed.counts));
        for (std::size_t kind = 0; kind < kKindNames.size(); ++kind) {
            fmt::format_to(out, "  {} {}", kKindNames[kind], input.feed.counts[kind]);
        }
        fmt::format_to(
            out, "\n  updates    {:>10}    gaps {}  stale {}  top agrees {}, differs {}\n",
            book.level_updates, book.sequence_gaps, book.stale, book.top_agree, book.top_differ);
        fmt::format_to(out, "  bid        {:>16} best, {} levels, quantity {}\n",
                       book.best_bid.value_or("-"), book.bid_levels, book.bid_quantity);
        fmt::format_to(out, "  ask        {:>16} best, {} levels, quantity {}\n",
                       book.best_ask.value_or("-"), book.ask_levels, book.ask_quantity);
        fmt::format_to(out, "  traded     {:>16}\n", book.traded_quantity);
        if (!input.feed.readable) {
            fmt::format_to(out, "  the file could not be read\n");
        } else if (input.feed.cut_short) {
            fmt::format_to(out, "  the file ends too early: it is truncated or damaged\n");
        }
        if (book.held != 0) {
            fmt::format_to(out, "  no snapshot: {} deltas were held back for one\n", book.held);
        }
    }
    fmt::format_to(out, "\n{:<20}{:>10}{:>12}{:>12}{:>12}{:>12}\n", "latency", "count", "p50",
                   "p99", "p99.9", "max");
    for (const Hop& hop : hops_) {
        fmt::format_to(out, "{:<20}{:>10}{:>12}{:>12}{:>12}{:>12}\n", hop.from + " -> " + hop.to,
                       hop.durations.count(), duration_text(hop.durations.at(0.5)),
                       duration_text(hop.durations.at(0.99)),
                       duration_text(hop.durations.at(0.999)), duration_text(hop.durations.max()));
    }
    fmt::format_to(out, "\nbook events {}\n", book_events_);
    std::uint64_t sent = 0;
    for (std::size_t i = 0; i < strategies_.size(); ++i) {
        const StrategyReport& strategy = strategies_[i];
        fmt::format_to(out, "strategy {}: events {}, orders {}", i, strategy.events,
                       orders_of(strategy));
        if (strategy.restarts > 0) {
            fmt::format_to(out, " (restarted {} times)", strategy.restarts);
        }
        fmt::format_to(out, "\n");
        sent += orders_of(strategies_[i]);
    }
    fmt::format_to(out, "orders: sent {}, rejected {}, acknowledged {}{}; journal lines {}\n", sent,
                   gateway_.rejected, gateway_.acknowledged,
                   gateway_.killed ? " (the kill switch was thrown)" : "", journal_.lines);
    const double rate = elapsed_s_ > 0 ? static_cast<double>(messages()) / elapsed_s_ : 0;
    fmt::format_to(out, "{} messages in {:.3f} s: {:.0f} messages/s\n", messages(), elapsed_s_,
                   rate);
    return text;
}

void Summary::write_hgrm(const std::string& folder) const {
    std::filesystem::create_directories(folder);
    for (const Hop& hop : hops_) {
        const std::filesystem::path path =
            std::filesystem::path(folder) / (hop.from + "-" + hop.to + ".hgrm");
        std::ofstream file(path);
        if (!(file << hop.durations.hgrm() << std::flush)) {
            throw std::system_error(errno, std::generic_category(),
                                    path.string() + ": cannot be written");
        }
    }
}

}  // namespace sluice::pipeline
