// Working through a sequence with a Pool: map's chunks, its results, and the ranges of imap.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "sluice/detail/pool_codec.hpp"

namespace sluice::detail {

/// Results by their index, in any order.
template <class R>
class ResultStore {
 public:
    // vector<bool>'s elements are no objects that chunks could write one by one.
    static constexpr bool kDirect = std::is_default_constructible_v<R> && !std::is_same_v<R, bool>;
    using Element = std::conditional_t<kDirect, R, std::optional<R>>;

    explicit ResultStore(std::size_t count) : values_(count) {}
    void set(std::size_t index, R value) { values_[index] = std::move(value); }
    [[nodiscard]] std::vector<R> take() {
        if constexpr (kDirect) {
            return std::move(values_);
        } else {
            std::vector<R> values;
            values.reserve(values_.size());
            for (Element& value : values_) {
                values.push_back(std::move(*value));
            }
            return values;
        }
    }
    [[nodiscard]] std::vector<R> copy() const {
        if constexpr (kDirect) {
            return values_;
        } else {
            std::vector<R> values;
            values.reserve(values_.size());
            for (const Element& value : values_) {
                values.push_back(*value);
            }
            return values;
        }
    }

 private:
    std::vector<Element> values_;
};
template <>
class ResultStore<void> {
 public:
    explicit ResultStore(std::size_t) {}
    void take() {}
    void copy() const {}
};

/// How many items make a chunk, where the caller leaves it to us: so many that a chunk takes about
/// 50 us, which hides what a hand-out costs; but at least four chunks a worker, so that none is
/// left alone with the last.
class ChunkChoice {
 public:
    ChunkChoice(std::size_t given, std::size_t items, std::size_t workers) noexcept
        : given_(given), left_(items), share_(std::max<std::size_t>(1, items / (4 * workers))) {}

    [[nodiscard]] bool measures() const noexcept { return given_ == 0; }
    [[nodiscard]] std::size_t next() noexcept {
        const std::size_t chunk = std::min(given_ != 0 ? given_ : current_, left_);
        left_ -= chunk;
        return chunk;
    }
    void measured(std::chrono::nanoseconds duration, std::size_t items) noexcept {
        constexpr std::int64_t kTargetNs = 50'000;
        const std::int64_t each = std::max<std::int64_t>(
            1, duration.count() / static_cast<std::int64_t>(std::max<std::size_t>(items, 1)));
        const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(1, kTargetNs / each));
        // Twice at a time: the first measurements are those of cold caches.
        current_ = std::min({wanted, 2 * current_, share_});
        current_ = std::max<std::size_t>(current_, 1);
    }

 private:
    std::size_t given_;
    std::size_t left_;
    std::size_t share_;
    std::size_t current_{1};
};

/// The arguments of one chunk.
template <class F, class T>
class ChunkBytes {
 public:
    explicit ChunkBytes(Inherited inherited) : inherited_(inherited) {}

    template <class Iterator>
    std::span<const std::byte> encode(const F& function, Iterator& item, std::size_t count) {
        if constexpr (Plain<T> && !travels_with_arguments<F>) {
            if (count == 1) [[likely]] {
                store_plain(one_, static_cast<const T&>(*item));
                ++item;
                return {one_, plain_bytes<T>};
            }
        }
        buffer_.clear();
        if constexpr (travels_with_arguments<F>) {
            encode_value(buffer_, function, inherited_);
        }
        for (; count != 0; --count, ++item) {
            encode_value<T>(buffer_, *item, inherited_);
        }
        return buffer_.bytes();
    }

 private:
    Inherited inherited_;
    std::byte one_[plain_bytes<T> == 0 ? 1 : plain_bytes<T>]{};
    PackBuffer buffer_{};
};

/// Puts the results of a chunk where they belong.
template <class R>
void decode_chunk(ResultStore<R>& results, std::size_t first, std::size_t count,
                  std::span<const std::byte> bytes) {
    if constexpr (!std::is_void_v<R>) {
        for (std::size_t index = first; index < first + count; ++index) {
            results.set(index, decode_value<R>(bytes));
        }
    }
}

/// map: the caller hands out and collects itself, in a window of the table.
template <Spread kSpread, class F, class T, class R, class Iterator>
void work_through(const std::shared_ptr<PoolCore>& core, const F& function, Iterator item,
                  std::size_t items, std::size_t chunk, ResultStore<R>& results) {
    struct Part {
        std::size_t first{};
        std::size_t count{};
    };
    // So many that no worker runs dry while the caller looks elsewhere, and that they stay in the
    // cache.
    constexpr std::size_t kPlaces = 256;
    TaskWindow window(core, std::min(items, kPlaces));
    ChunkChoice choice(chunk, items, core->worker_count());
    ChunkBytes<F, T> bytes(Inherited{core->inherited()});
    std::vector<Part> parts(window.size());
    std::exception_ptr error;
    std::size_t open = 0;
    std::size_t started = 0;
    const auto start = [&](std::size_t place) {
        if (started == items || error) {
            return;
        }
        parts[place] = {started, choice.next()};
        started += parts[place].count;
        window.start(place, {&MapThunk<kSpread, F, T>::run, function_word(function),
                             bytes.encode(function, item, parts[place].count), choice.measures()});
        ++open;
    };
    const auto finish = [&](std::size_t place) {
        const Part part = parts[place];
        --open;
        try {
            window.finish(
                place, [&](std::span<const std::byte> result, std::chrono::nanoseconds duration) {
                    decode_chunk<R>(results, part.first, part.count, result);
                    if (choice.measures()) {
                        choice.measured(duration, part.count);
                    }
                });
        } catch (...) {
            if (!error) {
                error = std::current_exception();
            }
        }
    };
    for (std::size_t first = 0; first < window.size(); ++first) {
        start(first);
    }
    // Round and round: mostly they are settled in the order in which they were started. Where one
    // is not, the others are looked at before it is waited for.
    std::size_t misses = 0;
    std::size_t place = 0;
    while (open != 0) {
        if (window.in_use(place) && window.settled(place)) {
            misses = 0;
            finish(place);
            start(place);
        } else if (++misses > window.size()) {
            window.wait_any();
            misses = 0;
        }
        place = place + 1 == window.size() ? 0 : place + 1;
    }
    if (error) {
        std::rethrow_exception(error);
    }
}

/// The input of an imap: an lvalue is referred to, an rvalue is owned.
template <class Items>
class HeldItems {
 public:
    explicit HeldItems(Items&& items) : items_(std::forward<Items>(items)) {}
    [[nodiscard]] auto begin() { return std::begin(items_); }
    [[nodiscard]] auto end() { return std::end(items_); }

 private:
    Items items_;  // a reference where Items is one
};

enum class Order { as_given, as_settled };

/// What imap gives: a single-pass range, filled while it is read. It reads its input lazily: at
/// most a window of chunks ahead of what was taken out of it.
template <Spread kSpread, Order kOrder, class F, class Items>
class PoolRange {
    class State;
    using Input = std::remove_reference_t<decltype(*std::begin(std::declval<Items&>()))>;

 public:
    using T = std::remove_cv_t<Input>;
    using R = ItemResult<kSpread, F, T>;
    static_assert(!std::is_void_v<R>, "sluice: imap needs a function that returns something");

    PoolRange(std::shared_ptr<PoolCore> core, F function, Items&& items, std::size_t chunk)
        : state_(std::make_unique<State>(std::move(core), std::move(function),
                                         std::forward<Items>(items), chunk)) {}

    class iterator {
     public:
        using value_type = R;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;

        iterator() = default;
        /// The result. Errors: what became of its task, each time it is asked for.
        R& operator*() const { return state_->current(); }
        iterator& operator++() {
            state_->advance();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator& here, std::default_sentinel_t) {
            return here.state_->at_end();
        }

     private:
        friend class PoolRange;
        explicit iterator(State* state) : state_(state) {}
        State* state_{};
    };

    /// Blocks: until the first result is there.
    iterator begin() { return iterator(state_.get()); }
    std::default_sentinel_t end() const noexcept { return {}; }

 private:
    class State {
     public:
        State(std::shared_ptr<PoolCore> core, F function, Items&& items, std::size_t chunk)
            : function_(std::move(function)),
              items_(std::forward<Items>(items)),
              item_(items_.begin()),
              chunk_(chunk == 0 ? 1 : chunk),
              inherited_{core->inherited()},
              window_(core, 4 * core->worker_count()),
              sequence_(window_.size()) {
            for (std::size_t place = 0; place < window_.size(); ++place) {
                start(place);
            }
            advance();
        }

        [[nodiscard]] bool at_end() const noexcept { return done_; }
        R& current() {
            if (error_) {
                std::rethrow_exception(error_);
            }
            return *value_;
        }
        void advance() {
            error_ = nullptr;
            value_.reset();
            while (next_ == values_.size()) {
                if (open_ == 0) {
                    done_ = true;
                    return;
                }
                if (fetch()) {
                    return;  // with an error
                }
            }
            value_.emplace(std::move(values_[next_++]));
        }

     private:
        void start(std::size_t place) {
            std::size_t count = 0;
            buffer_.clear();
            if constexpr (travels_with_arguments<F>) {
                encode_value(buffer_, function_, inherited_);
            }
            for (; count < chunk_ && item_ != items_.end(); ++count, ++item_) {
                encode_value<T>(buffer_, *item_, inherited_);
            }
            if (count == 0) {
                return;
            }
            sequence_[place] = {started_++, count};
            window_.start(place, {&MapThunk<kSpread, F, T>::run, function_word(function_),
                                  buffer_.bytes(), false});
            ++open_;
        }
        [[nodiscard]] std::size_t next_place() {
            if constexpr (kOrder == Order::as_given) {
                for (std::size_t place = 0; place < window_.size(); ++place) {
                    if (window_.in_use(place) && sequence_[place].number == finished_) {
                        window_.wait(place);
                        return place;
                    }
                }
            }
            for (;;) {
                for (std::size_t place = 0; place < window_.size(); ++place) {
                    if (window_.in_use(place) && window_.settled(place)) {
                        return place;
                    }
                }
                window_.wait_any();
            }
        }
        /// Another chunk's results; true where it failed instead.
        bool fetch() {
            const std::size_t place = next_place();
            const std::size_t count = sequence_[place].count;
            ++finished_;
            --open_;
            values_.clear();
            next_ = 0;
            try {
                window_.finish(place,
                               [&](std::span<const std::byte> bytes, std::chrono::nanoseconds) {
                                   for (std::size_t index = 0; index < count; ++index) {
                                       values_.push_back(decode_value<R>(bytes));
                                   }
                               });
            } catch (...) {
                error_ = std::current_exception();
            }
            start(place);
            return error_ != nullptr;
        }

        struct Chunk {
            std::uint64_t number{};
            std::size_t count{};
        };
        F function_;
        HeldItems<Items> items_;
        decltype(std::declval<HeldItems<Items>&>().begin()) item_;
        std::size_t chunk_;
        Inherited inherited_;
        TaskWindow window_;
        std::vector<Chunk> sequence_;
        PackBuffer buffer_{};
        std::vector<R> values_{};
        std::size_t next_{};
        std::optional<R> value_{};
        std::exception_ptr error_{};
        std::uint64_t started_{};
        std::uint64_t finished_{};
        std::size_t open_{};
        bool done_{};
    };

    std::unique_ptr<State> state_;
};

}  // namespace sluice::detail
