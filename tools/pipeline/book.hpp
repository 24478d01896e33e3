// An order book, kept from depth deltas and a snapshot as the exchange prescribes, and held against
// its bookTicker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "decimal.hpp"
#include "figures.hpp"
#include "message.hpp"

namespace sluice::pipeline {

/// One side of a book: the levels in a flat array, the worst first and the best last, because
/// nearly every change is near the best and moves little memory there.
class BookSide {
 public:
    enum class Side { bid, ask };
    explicit BookSide(Side side) noexcept : sign_(side == Side::bid ? 1 : -1) {}

    /// Sets the level's quantity; a quantity of 0 removes it.
    void set(const Level& level);
    /// Takes `levels` for the whole side.
    void replace(const std::vector<Level>& levels);
    void clear() noexcept { rows_.clear(); }
    [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return rows_.size(); }
    /// The best level; the side must not be empty.
    [[nodiscard]] const Level& best() const noexcept { return rows_.back().level; }
    [[nodiscard]] DecimalSum quantity() const noexcept;

 private:
    struct Row {
        Wide key;  // the price at the common scale, negated for asks: a better price has a greater
                   // key
        Level level;
    };
    [[nodiscard]] std::vector<Row>::iterator find(Wide key) noexcept;

    std::vector<Row> rows_{};
    Wide sign_;
};

/// The two best levels, as far as there are any.
struct Top {
    std::optional<Level> bid{};
    std::optional<Level> ask{};
    friend bool operator==(const Top& left, const Top& right) noexcept;
};

class Book {
 public:
    enum class Outcome : std::uint8_t {
        held,     // a delta before the snapshot
        stale,    // a delta that the book has overtaken: dropped
        applied,  // a delta or a snapshot: the book is new
        gap,      // applied, but something is missing before it
        noted,    // a bookTicker or a trade: the book is as it was
        ignored,
    };

    /// Takes the next message of this book's input.
    Outcome apply(const Message& message);

    /// True from the first snapshot on.
    [[nodiscard]] bool built() const noexcept { return built_; }
    [[nodiscard]] Top top() const noexcept;
    [[nodiscard]] const BookFigures& counts() const noexcept { return figures_; }
    /// The counts together with the book's state.
    [[nodiscard]] BookFigures figures() const;

 private:
    Outcome apply_snapshot(const Message& snapshot);
    Outcome apply_delta(const Message& delta);
    void compare_with_ticker(std::uint64_t delta_last_id) noexcept;

    BookSide bids_{BookSide::Side::bid};
    BookSide asks_{BookSide::Side::ask};
    bool built_{};
    bool after_snapshot_{};    // the next delta bridges the snapshot rather than follows a delta
    std::uint64_t last_id_{};  // of the last delta, or of the snapshot
    std::vector<Message> held_{};
    struct Ticker {
        std::uint64_t last_id;
        Decimal bid;
        Decimal ask;
    };
    std::optional<Ticker> ticker_{};
    DecimalSum traded_{};
    BookFigures figures_{};
};

}  // namespace sluice::pipeline
