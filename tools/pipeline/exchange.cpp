#include "exchange.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "message.hpp"

namespace sluice::pipeline {
namespace {

constexpr std::int64_t kStartNs = 1'723'161'600'000'000'000;
constexpr std::int64_t kStartPrice = 618'000;  // ticks of 0.10
constexpr std::int64_t kStartLevels = 1'000;   // a side
constexpr std::int64_t kLevelsMin = 200;       // a side: below it, nothing is taken away any more
constexpr std::uint64_t kDeltasBeforeSnapshot = 4;
constexpr std::size_t kChangesPerDelta = 24;

std::string price_text(std::int64_t ticks) {
    return fmt::format("{}.{}0", ticks / 10, ticks % 10);
}
std::string quantity_text(std::int64_t lots) {
    return fmt::format("{}.{:03}", lots / 1000, lots % 1000);
}

template <class Iterator>
void append_rows(std::string& text, Iterator first, Iterator last) {
    const char* separator = "";
    for (; first != last; ++first) {
        fmt::format_to(std::back_inserter(text), "{}[\"{}\",\"{}\"]", separator,
                       price_text(first->first), quantity_text(first->second));
        separator = ",";
    }
}

}  // namespace

SyntheticExchange::SyntheticExchange(ExchangeOptions options)
    : options_(options), random_(options.seed), now_ns_(kStartNs) {
    for (std::int64_t distance = 0; distance < kStartLevels; ++distance) {
        bids_[kStartPrice - distance] = 1 + random_.below(3'000);
        asks_[kStartPrice + 1 + distance] = 1 + random_.below(3'000);
    }
    delta_previous_id_ = update_id_;
    delta_first_id_ = update_id_ + 1;
}

std::int64_t SyntheticExchange::event_ms() const {
    return now_ns_ / 1'000'000 - 3;
}

SyntheticExchange::Top SyntheticExchange::top() const {
    return {best_bid(), bids_.rbegin()->second, best_ask(), asks_.begin()->second};
}

std::optional<CapturedLine> SyntheticExchange::next() {
    if (sent_ == options_.messages) {
        return std::nullopt;
    }
    while (pending_position_ == pending_.size()) {
        pending_.clear();
        pending_position_ = 0;
        act();
    }
    advance_clock();
    std::string& line = lines_[sent_ % lines_.size()];
    line = pending_[pending_position_++];
    const std::size_t bytes = line.size();
    line.resize(bytes + kPaddingBytes, '\0');
    return CapturedLine{now_ns_, ++sent_, std::string_view(line.data(), bytes)};
}

void SyntheticExchange::advance_clock() {
    if (burst_left_ > 0) {
        --burst_left_;
        now_ns_ += 800 + random_.below(6'000);
        return;
    }
    // Both the pause and the burst after it have heavy tails: each step of the exponent is half as
    // likely.
    now_ns_ += (std::int64_t{500'000} << std::min(random_.halvings(), 7)) + random_.below(500'000);
    burst_left_ = (std::int64_t{4} << std::min(random_.halvings(), 7)) + random_.below(8);
}

void SyntheticExchange::act() {
    if (random_.once_in(4)) {
        trade();
    } else {
        change_level();
    }
    after_change();
}

void SyntheticExchange::trade() {
    const Side side =
        random_.once_in(2) ? Side::bid : Side::ask;  // the side that rests in the book
    const std::int64_t price = side == Side::bid ? best_bid() : best_ask();
    const std::int64_t resting = levels(side).at(price);
    const bool sweep = random_.once_in(3) && levels(side).size() > kLevelsMin;
    const std::int64_t quantity = sweep ? resting : std::min(resting, 1 + random_.below(200));
    ++trade_id_;
    pending_.push_back(fmt::format(
        R"({{"stream":"synthetic@trade","data":{{"e":"trade","E":{0},"T":{0},"s":"SYNTH","t":{1},"p":"{2}","q":"{3}","X":"MARKET","m":{4}}}}})",
        event_ms(), trade_id_, price_text(price), quantity_text(quantity), side == Side::bid));
    const bool keep_side = levels(side).size() <= kLevelsMin;
    set_level(side, price,
              keep_side ? std::max<std::int64_t>(resting - quantity, 1) : resting - quantity);
}

void SyntheticExchange::change_level() {
    const Side side = random_.once_in(2) ? Side::bid : Side::ask;
    const std::int64_t best = side == Side::bid ? best_bid() : best_ask();
    const std::int64_t away = side == Side::bid ? -1 : 1;
    if (best_ask() - best_bid() > 1 && random_.once_in(2)) {  // a better price, inside the spread
        set_level(side, best - away, 1 + random_.below(2'000));
        return;
    }
    const int scale = std::min(random_.halvings(), 10);
    const std::int64_t price = best + away * random_.below(std::int64_t{2} << scale);
    const bool take_away = random_.once_in(3) && levels(side).size() > kLevelsMin;
    const std::int64_t quantity = take_away ? 0 : 1 + random_.below(3'000);
    set_level(side, price, quantity);
}

void SyntheticExchange::set_level(Side side, std::int64_t price, std::int64_t quantity) {
    ++update_id_;
    Levels& book = levels(side);
    if (quantity == 0) {
        book.erase(price);
    } else {
        book[price] = quantity;
    }
    (side == Side::bid ? changed_bids_ : changed_asks_)[price] = quantity;
}

void SyntheticExchange::after_change() {
    if (!(top() == published_top_)) {
        publish_top();
    }
    if (changed_bids_.size() + changed_asks_.size() >= kChangesPerDelta || random_.once_in(12)) {
        publish_delta();
    }
}

void SyntheticExchange::publish_top() {
    published_top_ = top();
    pending_.push_back(fmt::format(
        R"({{"stream":"synthetic@bookTicker","data":{{"e":"bookTicker","u":{},"s":"SYNTH","b":"{}","B":"{}","a":"{}","A":"{}","T":{},"E":{}}}}})",
        update_id_, price_text(published_top_.bid), quantity_text(published_top_.bid_quantity),
        price_text(published_top_.ask), quantity_text(published_top_.ask_quantity), event_ms(),
        event_ms()));
}

void SyntheticExchange::publish_delta() {
    std::string text = fmt::format(
        R"({{"stream":"synthetic@depth","data":{{"e":"depthUpdate","E":{0},"T":{0},"s":"SYNTH","U":{1},"u":{2},"pu":{3},"b":[)",
        event_ms(), delta_first_id_, update_id_, delta_previous_id_);
    append_rows(text, changed_bids_.begin(), changed_bids_.end());
    text += "],\"a\":[";
    append_rows(text, changed_asks_.begin(), changed_asks_.end());
    text += "]}}";
    pending_.push_back(std::move(text));
    changed_bids_.clear();
    changed_asks_.clear();
    delta_previous_id_ = update_id_;
    delta_first_id_ = update_id_ + 1;
    // The snapshot is made before the delta that it arrives behind, as a request to an exchange
    // would have it: one delta that came earlier is still to be applied to it.
    if (++deltas_ == kDeltasBeforeSnapshot - 1) {
        remember_snapshot();
    } else if (deltas_ == kDeltasBeforeSnapshot) {
        pending_.push_back(std::move(snapshot_));
    }
}

void SyntheticExchange::remember_snapshot() {
    snapshot_ = fmt::format(R"({{"lastUpdateId":{},"E":{},"T":{},"bids":[)", update_id_, event_ms(),
                            event_ms());
    append_rows(snapshot_, bids_.rbegin(), bids_.rend());
    snapshot_ += "],\"asks\":[";
    append_rows(snapshot_, asks_.begin(), asks_.end());
    snapshot_ += "]}";
}

}  // namespace sluice::pipeline
