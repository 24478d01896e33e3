#include "book.hpp"

#include <algorithm>
#include <utility>

namespace sluice::pipeline {
namespace {

bool same_level(const std::optional<Level>& left, const std::optional<Level>& right) noexcept {
    if (!left || !right) {
        return left.has_value() == right.has_value();
    }
    return same_number(left->price(), right->price()) &&
           same_number(left->quantity(), right->quantity());
}

}  // namespace

bool operator==(const Top& left, const Top& right) noexcept {
    return same_level(left.bid, right.bid) && same_level(left.ask, right.ask);
}

std::vector<BookSide::Row>::iterator BookSide::find(Wide key) noexcept {
    // Most changes are within a few rows of the best: gallop back from it, then halve what is left.
    const std::size_t rows = rows_.size();
    std::size_t back = 1;
    while (back <= rows && rows_[rows - back].key >= key) {
        back *= 2;
    }
    const auto first =
        back <= rows ? rows_.end() - static_cast<std::ptrdiff_t>(back) : rows_.begin();
    const auto last = rows_.end() - static_cast<std::ptrdiff_t>(back / 2);
    return std::lower_bound(first, last, key,
                            [](const Row& row, Wide wanted) { return row.key < wanted; });
}

void BookSide::set(const Level& level) {
    const Wide key = sign_ * at_common_scale(level.price());
    const auto row = find(key);
    const bool found = row != rows_.end() && row->key == key;
    if (is_zero(level.quantity())) {
        if (found) {
            rows_.erase(row);
        }
    } else if (found) {
        row->level = level;
    } else {
        rows_.insert(row, Row{key, level});
    }
}

void BookSide::replace(const std::vector<Level>& levels) {
    rows_.clear();
    // A snapshot lists the best first: from its end, each row goes to the back.
    for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
        set(*level);
    }
}

DecimalSum BookSide::quantity() const noexcept {
    DecimalSum sum;
    for (const Row& row : rows_) {
        sum.add(row.level.quantity());
    }
    return sum;
}

Book::Outcome Book::apply(const Message& message) {
    switch (message.kind) {
        case Kind::depth: {
            if (!built_) {
                held_.push_back(message);
                return Outcome::held;
            }
            const Outcome outcome = apply_delta(message);
            if (outcome != Outcome::stale) {
                compare_with_ticker(message.last_id);
            }
            return outcome;
        }
        case Kind::snapshot:
            return apply_snapshot(message);
        case Kind::book_ticker:
            ticker_ =
                Ticker{message.last_id, message.bids.front().price(), message.asks.front().price()};
            return Outcome::noted;
        case Kind::trade:
            traded_.add(message.asks.front().quantity());
            return Outcome::noted;
        case Kind::other:
        case Kind::malformed:
            break;
    }
    return Outcome::ignored;
}

Book::Outcome Book::apply_snapshot(const Message& snapshot) {
    bids_.replace(snapshot.bids);
    asks_.replace(snapshot.asks);
    figures_.level_updates += snapshot.bids.size() + snapshot.asks.size();
    built_ = true;
    after_snapshot_ = true;
    last_id_ = snapshot.last_id;
    Outcome outcome = Outcome::applied;
    for (const Message& delta : std::exchange(held_, {})) {
        if (apply_delta(delta) == Outcome::gap) {
            outcome = Outcome::gap;
        }
    }
    return outcome;
}

Book::Outcome Book::apply_delta(const Message& delta) {
    // Spot: U..u are the ids it covers, without a hole between two deltas. Futures: ids have holes,
    // and pu names the u of the delta before. The first one after a snapshot covers the snapshot's
    // id or follows it.
    bool follows = false;
    if (!delta.chained) {
        if (delta.last_id <= last_id_) {
            ++figures_.stale;
            return Outcome::stale;
        }
        follows = after_snapshot_ ? delta.first_id <= last_id_ + 1 : delta.first_id == last_id_ + 1;
    } else if (after_snapshot_) {
        if (delta.last_id < last_id_) {
            ++figures_.stale;
            return Outcome::stale;
        }
        follows = delta.previous_id <= last_id_;
    } else {
        follows = delta.previous_id == last_id_;
    }
    after_snapshot_ = false;
    last_id_ = delta.last_id;
    figures_.sequence_gaps += follows ? 0 : 1;
    for (const Level& level : delta.bids) {
        bids_.set(level);
    }
    for (const Level& level : delta.asks) {
        asks_.set(level);
    }
    figures_.level_updates += delta.bids.size() + delta.asks.size();
    return follows ? Outcome::applied : Outcome::gap;
}

void Book::compare_with_ticker(std::uint64_t delta_last_id) noexcept {
    if (!ticker_ || ticker_->last_id > delta_last_id) {
        return;
    }
    const bool agree = !bids_.empty() && !asks_.empty() &&
                       same_number(bids_.best().price(), ticker_->bid) &&
                       same_number(asks_.best().price(), ticker_->ask);
    ++(agree ? figures_.top_agree : figures_.top_differ);
}

Top Book::top() const noexcept {
    Top top;
    if (!bids_.empty()) {
        top.bid = bids_.best();
    }
    if (!asks_.empty()) {
        top.ask = asks_.best();
    }
    return top;
}

BookFigures Book::figures() const {
    BookFigures figures = figures_;
    figures.held = held_.size();
    figures.traded_quantity = traded_.to_text();
    if (!bids_.empty()) {
        figures.best_bid = to_text(bids_.best().price());
    }
    if (!asks_.empty()) {
        figures.best_ask = to_text(asks_.best().price());
    }
    figures.bid_levels = bids_.size();
    figures.ask_levels = asks_.size();
    figures.bid_quantity = bids_.quantity().to_text();
    figures.ask_quantity = asks_.quantity().to_text();
    return figures;
}

}  // namespace sluice::pipeline
