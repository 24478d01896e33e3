// Dict<K, V>: a dictionary between any processes and threads. Readers never wait and write nothing;
// a writer that dies leaves, of each key, the old value or the new.
//
//     sluice::Dict<std::string, int> stock;       // or create("stock"), open("stock")
//     stock["apples"] = 3;                        // here, or in any other process
//     int apples = stock["apples"];
//     stock.update("apples", [](int& count) { ++count; });        // nobody comes in between
//     std::cout << stock << '\n';                 // {'apples': 4}
//
// It grows as it is filled, up to DictOptions::max_bytes, and is mapped by each process: a get is a
// look into memory, no message to a server. Commit store of each change: one link
// (shm/dict_table.hpp).
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "sluice/codec.hpp"
#include "sluice/detail/change.hpp"
#include "sluice/detail/copy_iterator.hpp"
#include "sluice/detail/dict_codec.hpp"
#include "sluice/detail/dict_core.hpp"
#include "sluice/detail/handle.hpp"
#include "sluice/detail/print.hpp"
#include "sluice/error.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a Dict is made. Units: `max_bytes`, up to which it grows, 256 KiB to 64 GiB; it costs
/// address space, memory only as it is filled (an empty one: 40 KiB). `stripes`: writers of keys of
/// different ones do not meet; rounded up to a power of two, at most 256. `wait`: how writers wait
/// for each other.
struct DictOptions {
    std::uint64_t max_bytes{std::uint64_t{64} << 30U};
    unsigned stripes{64};
    Wait wait{};
    MemoryOptions memory{};      ///< where its memory lies
    unsigned permissions{0600};  ///< of a named one's file
};

/// A dictionary. A handle: copies lead to the same one, also in children made by fork.
///
/// Keys: whatever the codec takes and has one form only (no padding, no float inside; a float that
/// is the key itself is taken with 0.0 for -0.0 and one NaN). Values: whatever the codec takes.
///
/// Progress: reading is lock-free, waits for nobody, whoever has died or was stopped, and needs no
/// place among the participants. Writing is blocking, for those who write keys of the same stripe.
/// Errors: std::out_of_range, naming the key, where one is missing; std::system_error with ENOSPC,
/// naming sizes, where max_bytes or /dev/shm is full: then nothing was changed; with EAGAIN where a
/// writer finds no place among the 512 participants. Error: a write that would wait for this very
/// thread (from within update()). BadSegment: something else wrote to its memory.
/// Callers: any thread of any process that holds a handle.
/// Crash: a change of one key has happened, whole, or not at all; several keys in one step: all of
/// them, or none, and readers may see them one by one. Who writes next to what a dead one left
/// walks over that stripe once.
/// Cost: reading no system call ever; writing none but to grow, or to wait.
template <class K, class V>
class Dict : public detail::Handle<detail::DictCore> {
    static_assert(check_shareable<K>());
    static_assert(check_shareable<V>());
    static_assert(detail::check_key<K>());

    using Key = detail::EncodedWords<K>;
    using Value = detail::EncodedWords<V>;
    static constexpr std::size_t kFastBytes = 512;
    static constexpr bool kFast = Key::kBytes != 0 && Value::kBytes != 0 &&
                                  Key::kBytes <= kFastBytes && Value::kBytes <= kFastBytes;

 public:
    /// Of a key, a value, an entry.
    using key_type = K;
    using mapped_type = V;
    using value_type = std::pair<K, V>;
    /// A private copy, by key where keys have an order.
    using Snapshot =
        std::conditional_t<std::totally_ordered<K>, std::map<K, V>, std::vector<std::pair<K, V>>>;

    /// d[k]: reads as a V, and assigns to the key.
    class Item {
     public:
        Item(const Item&) = delete;

        /// Sets the key.
        const Item& operator=(const V& value) const {
            dict_.set(key_, value);
            return *this;
        }
        const Item& operator=(const Item& other) const { return *this = V(other); }
        /// The value. Errors: std::out_of_range, naming the key.
        operator V() const { return dict_.at(key_); }
        V get() const { return dict_.at(key_); }

        /// Each is one update(): nobody comes in between. Errors: as there.
        template <class Other>
        const Item& operator+=(const Other& other) const requires requires(V& v) {
            v += other;
        }
        {
            dict_.update(key_, [&](V& value) { value += other; });
            return *this;
        }
        template <class Other>
        const Item& operator-=(const Other& other) const requires requires(V& v) {
            v -= other;
        }
        {
            dict_.update(key_, [&](V& value) { value -= other; });
            return *this;
        }

        /// As its value does.
        friend bool operator==(const Item& item,
                               const V& value) requires std::equality_comparable<V> {
            return item.get() == value;
        }
        friend std::ostream& operator<<(std::ostream& out,
                                        const Item& item) requires detail::Printable<V> {
            detail::print_value(out, item.get());
            return out;
        }

     private:
        friend class Dict;
        Item(const Dict& dict, K key) : dict_(dict), key_(std::move(key)) {}

        const Dict& dict_;
        K key_;
    };

    /// Goes over a private copy, made by begin(): changes made meanwhile are not seen.
    using Iterator = detail::CopyIterator<value_type>;

    /// Makes an anonymous one. Errors: std::invalid_argument: a max_bytes that cannot be;
    /// std::system_error: no memory.
    Dict() : Dict(DictOptions{}) {}
    explicit Dict(const DictOptions& options) : Dict({}, detail::Open::anonymous, options) {}

    /// Makes a named one. Errors: std::system_error with EEXIST when the name is taken.
    static Dict create(std::string_view name, const DictOptions& options = {}) {
        return Dict(name, detail::Open::create, options);
    }
    /// Opens a named one. Errors: std::system_error with ENOENT; BadSegment when it is no Dict<K,
    /// V>.
    static Dict open(std::string_view name) { return Dict(name, detail::Open::open, {}); }
    /// Opens it, or makes it where it does not exist; options count only for the maker.
    static Dict open_or_create(std::string_view name, const DictOptions& options = {}) {
        return Dict(name, detail::Open::open_or_create, options);
    }
    /// Removes the name; who has it open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("Dict", name); }

    // Reading. Blocks: never. ---------------------------------------------------------------------

    /// The value. Errors: std::out_of_range, naming the key.
    V at(const K& key) const {
        std::optional<V> value = get(key);
        if (!value) {
            throw_missing(key);
        }
        return *std::move(value);
    }
    [[nodiscard]] std::optional<V> get(const K& key) const {
        const K one = detail::canonical(key);
        if constexpr (kFast) {
            const Key encoded(one);
            alignas(std::uint64_t) std::byte words[Value::kBytes];
            const shm::DictResult result = core_->table().template read<Key::kBytes, Value::kBytes>(
                core_->table().template hash_of<Key::kBytes>(encoded.words()), encoded.words(),
                words);
            core_->settle(result);
            return result == shm::DictResult::done
                       ? std::optional<V>(Value::decode(words, Value::kBytes))
                       : std::nullopt;
        } else {
            Key encoded(one);
            std::vector<std::byte>& words = value_buffer();
            std::size_t bytes = 0;
            const shm::DictResult result = core_->table().read(
                core_->table().hash_of(encoded.bytes()), encoded.bytes(), &words, &bytes);
            core_->settle(result);
            return result == shm::DictResult::done ? std::optional<V>(decode_and_keep(words, bytes))
                                                   : std::nullopt;
        }
    }
    /// The value, or what is given instead.
    [[nodiscard]] V get(const K& key, const V& instead) const {
        std::optional<V> value = get(key);
        return value ? *std::move(value) : instead;
    }
    [[nodiscard]] bool contains(const K& key) const {
        const K one = detail::canonical(key);
        Key encoded(one);
        shm::DictResult result{};
        if constexpr (kFast) {
            result = core_->table().template read<Key::kBytes, Value::kBytes>(
                core_->table().template hash_of<Key::kBytes>(encoded.words()), encoded.words(),
                nullptr);
        } else {
            result = core_->table().read(core_->table().hash_of(encoded.bytes()), encoded.bytes(),
                                         nullptr, nullptr);
        }
        core_->settle(result);
        return result == shm::DictResult::done;
    }
    /// d[k] = v, and V v = d[k].
    [[nodiscard]] Item operator[](const K& key) const { return Item(*this, key); }

    /// Entries. Exact when nobody writes, else a sum of numbers that there were meanwhile.
    [[nodiscard]] std::size_t size() const { return core_->size(); }
    [[nodiscard]] bool empty() const { return size() == 0; }

    /// All entries as they were at one instant. Blocks: not, unless writers get in its way several
    /// times in a row: then it keeps them off while it copies.
    [[nodiscard]] Snapshot snapshot() const {
        std::vector<std::pair<K, V>> all = items();
        if constexpr (std::totally_ordered<K>) {
            return Snapshot(std::make_move_iterator(all.begin()),
                            std::make_move_iterator(all.end()));
        } else {
            return all;
        }
    }
    /// The same, as pairs; keys and values of two calls need not be in the same order. Sorted by
    /// key where keys have an order.
    [[nodiscard]] std::vector<std::pair<K, V>> items() const {
        std::vector<std::pair<K, V>> all;
        collect(
            shm::DictTable::CopyWhat::items, [&](std::size_t entries) { all.reserve(entries); },
            [&](const Entry& entry) {
                all.emplace_back(Key::decode(entry.key, entry.key_bytes),
                                 Value::decode(entry.value, entry.value_bytes));
            });
        if constexpr (std::totally_ordered<K>) {
            std::sort(all.begin(), all.end(),
                      [](const auto& one, const auto& other) { return one.first < other.first; });
        }
        return all;
    }
    [[nodiscard]] std::vector<K> keys() const {
        std::vector<K> all;
        collect(
            shm::DictTable::CopyWhat::keys, [&](std::size_t entries) { all.reserve(entries); },
            [&](const Entry& entry) { all.push_back(Key::decode(entry.key, entry.key_bytes)); });
        if constexpr (std::totally_ordered<K>) {
            std::sort(all.begin(), all.end());
        }
        return all;
    }
    [[nodiscard]] std::vector<V> values() const {
        std::vector<V> all;
        for (auto& item : items()) {
            all.push_back(std::move(item.second));
        }
        return all;
    }
    [[nodiscard]] Iterator begin() const { return Iterator(items()); }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    // Writing. Blocks: while others write keys of the same stripe. --------------------------------

    /// Sets the key. Commit store: its link.
    void set(const K& key, const V& value) const {
        static_cast<void>(insert_or_assign(key, value));
    }
    /// The same; true: the key is new.
    bool insert_or_assign(const K& key, const V& value) const {
        const K one = detail::canonical(key);
        Value encoded(value);
        Key encoded_key(one);
        detail::DictTurn turn(*core_, hash_of(encoded_key), encoded_key.bytes());
        turn.put(encoded.bytes());
        return !turn.found();
    }
    /// Sets all of them in one step; of a key that comes several times the last counts. Snapshots
    /// see all or none; get() may see them one by one. Commit store: the number of the step.
    template <std::ranges::input_range Range>
    requires requires(std::ranges::range_reference_t<Range> entry) {
        { std::get<0>(entry) } -> std::convertible_to<K>;
        { std::get<1>(entry) } -> std::convertible_to<V>;
    }
    void insert_or_assign(Range&& entries) const {
        Step step(*core_);
        for (auto&& entry : entries) {
            step.add(std::get<0>(entry), std::get<1>(entry));
        }
        core_->step(shm::DictTable::StepKind::assign, step.changes());
    }
    void insert_or_assign(std::initializer_list<std::pair<K, V>> entries) const {
        insert_or_assign<const std::initializer_list<std::pair<K, V>>&>(entries);
    }

    /// Changes the value under the stripe's lock. `change(V&)`, or `V change(V)`: the key must be
    /// there. `change(std::optional<V>&)`, or `std::optional<V> change(std::optional<V>)`: empty
    /// where it is missing; left empty it is erased. If it throws, nothing has happened.
    /// Errors: std::out_of_range, naming the key; what `change` throws; Error from a write to this
    /// Dict by `change` itself (reading it is allowed).
    template <class Change>
    void update(const K& key, Change&& change) const {
        const K one = detail::canonical(key);
        Key encoded(one);
        detail::DictTurn turn(*core_, hash_of(encoded), encoded.bytes());
        const detail::UpdateFrame frame(core_->segment().nonce());
        if constexpr (detail::wants_optional<Change, V>()) {
            std::optional<V> value = value_of(turn);
            detail::apply_change(change, value);
            if (value) {
                Value fresh(*value);
                turn.put(fresh.bytes());
            } else if (turn.found()) {
                turn.erase();
            }
        } else {
            std::optional<V> value = value_of(turn);
            if (!value) {
                throw_missing(key);
            }
            detail::apply_change(change, *value);
            Value fresh(*value);
            turn.put(fresh.bytes());
        }
    }
    /// The same, beginning with `initial` where the key is missing.
    template <class Change>
    void update(const K& key, Change&& change, const V& initial) const {
        update(key, [&](std::optional<V>& value) {
            if (!value) {
                value = initial;
            }
            detail::apply_change(change, *value);
        });
    }
    /// Python's d.update(other): insert_or_assign() of a range.
    template <std::ranges::input_range Range>
    void update(Range&& entries) const {
        insert_or_assign(std::forward<Range>(entries));
    }
    void update(std::initializer_list<std::pair<K, V>> entries) const { insert_or_assign(entries); }

    /// The value; where the key is missing it is set to `value` first.
    V setdefault(const K& key, const V& value) const {
        const K one = detail::canonical(key);
        Key encoded(one);
        detail::DictTurn turn(*core_, hash_of(encoded), encoded.bytes());
        if (std::optional<V> there = value_of(turn)) {
            return *std::move(there);
        }
        Value fresh(value);
        turn.put(fresh.bytes());
        return value;
    }

    /// Removes the key; false: it was missing. Commit store: its link.
    bool erase(const K& key) const {
        const K one = detail::canonical(key);
        Key encoded(one);
        detail::DictTurn turn(*core_, hash_of(encoded), encoded.bytes());
        if (turn.found()) {
            turn.erase();
        }
        return turn.found();
    }
    /// Removes the key and returns its value. Errors: std::out_of_range, naming the key.
    V pop(const K& key) const {
        std::optional<V> value = take(key);
        if (!value) {
            throw_missing(key);
        }
        return *std::move(value);
    }
    V pop(const K& key, const V& instead) const {
        std::optional<V> value = take(key);
        return value ? *std::move(value) : instead;
    }
    /// Removes all, in one step. Commit store: the number of the step.
    void clear() const { core_->step(shm::DictTable::StepKind::clear, {}); }

    /// "" for an anonymous one.
    [[nodiscard]] std::string_view name() const { return core_->segment().name(); }
    /// Memory that the kernel holds for it. Units: bytes.
    [[nodiscard]] std::uint64_t memory_bytes() const {
        return core_->segment().mapping().bytes_allocated();
    }

    /// {'a': 1}, as Python prints it.
    friend std::ostream& operator<<(
        std::ostream& out, const Dict& dict) requires detail::Printable<K> && detail::Printable<V> {
        out << '{';
        detail::print_row(out, dict.items(), [&out](const auto& item) {
            detail::print_value(out, item.first);
            out << ": ";
            detail::print_value(out, item.second);
        });
        return out << '}';
    }

 private:
    friend class Manager;
    friend struct detail::Passing<Dict>;
    using Handle::Handle;
    Dict(const shm::SegmentPlace& place, detail::Open how, const DictOptions& options)
        : Handle({place, how, options}, shape(options)) {}
    static std::shared_ptr<detail::DictCore> received(detail::Unparcel& parcel) {
        return Handle::received(parcel, shape({}));
    }

    struct Entry {
        const std::byte* key;
        std::size_t key_bytes;
        const std::byte* value;
        std::size_t value_bytes;
    };

    /// The changes of one step: encoded, the last of each key, by stripe.
    class Step {
     public:
        explicit Step(detail::DictCore& core) : core_(core) {}

        void add(const K& key, const V& value) {
            const K one = detail::canonical(key);
            Key encoded_key(one);
            Value encoded(value);
            const std::uint64_t hash = core_.table().hash_of(encoded_key.bytes());
            changes_.push_back({hash, keep(encoded_key.bytes()), keep(encoded.bytes())});
        }
        std::span<const shm::DictChange> changes() {
            const shm::DictTable& table = core_.table();
            const auto order = [&table](const shm::DictChange& change) {
                return std::make_pair(table.stripe_of(change.hash), change.hash);
            };
            const auto key = [](const shm::DictChange& change) {
                return std::string_view(reinterpret_cast<const char*>(change.key.data),
                                        change.key.bytes);
            };
            std::reverse(changes_.begin(), changes_.end());
            std::stable_sort(changes_.begin(), changes_.end(),
                             [&](const auto& one, const auto& other) {
                                 return std::make_pair(order(one), key(one)) <
                                        std::make_pair(order(other), key(other));
                             });
            changes_.erase(std::unique(changes_.begin(), changes_.end(),
                                       [&](const auto& one, const auto& other) {
                                           return one.hash == other.hash && key(one) == key(other);
                                       }),
                           changes_.end());
            return changes_;
        }

     private:
        shm::PaddedBytes keep(shm::PaddedBytes bytes) {
            // A copy that stays where it is.
            const auto& copy = kept_.emplace_back(bytes.data, bytes.data + bytes.padded());
            return {copy.data(), bytes.bytes};
        }

        detail::DictCore& core_;
        std::deque<std::vector<std::byte>> kept_{};
        std::vector<shm::DictChange> changes_{};
    };

    static detail::DictShape shape(const DictOptions& options) {
        detail::DictShape shape;
        shape.node = {Key::kBytes, Value::kBytes};
        shape.type_signature = type_signature<std::map<K, V>>();
        shape.type_text = type_description<std::map<K, V>>();
        shape.wait = options.wait;
        shape.stripes = options.stripes;
        shape.max_bytes = options.max_bytes;
        return shape;
    }

    std::uint64_t hash_of(Key& key) const noexcept {
        if constexpr (Key::kBytes != 0) {
            return core_->table().template hash_of<Key::kBytes>(key.words());
        } else {
            return core_->table().hash_of(key.bytes());
        }
    }
    [[noreturn]] void throw_missing(const K& key) const {
        throw std::out_of_range(core_->object() + ": has no key " + detail::printed(key));
    }
    static std::optional<V> value_of(const detail::DictTurn& turn) {
        if (!turn.found()) {
            return std::nullopt;
        }
        const std::vector<std::byte> words = turn.value();
        return Value::decode(words.data(), words.size());
    }
    std::optional<V> take(const K& key) const {
        const K one = detail::canonical(key);
        Key encoded(one);
        detail::DictTurn turn(*core_, hash_of(encoded), encoded.bytes());
        std::optional<V> value = value_of(turn);
        if (turn.found()) {
            turn.erase();
        }
        return value;
    }

    static std::vector<std::byte>& value_buffer() {
        thread_local std::vector<std::byte> buffer;
        return buffer;
    }
    static V decode_and_keep(std::vector<std::byte>& words, std::size_t bytes) {
        constexpr std::size_t kKeptBytes = 1U << 20U;
        struct Shrink {
            std::vector<std::byte>& buffer;
            ~Shrink() {
                if (buffer.capacity() > kKeptBytes) {
                    std::vector<std::byte>().swap(buffer);
                }
            }
        } shrink{words};
        return Value::decode(words.data(), bytes);
    }

    template <class Reserve, class Visit>
    void collect(shm::DictTable::CopyWhat what, Reserve&& reserve, Visit&& visit) const {
        const std::vector<shm::StripeCopy> copies = core_->snapshot(what);
        std::size_t entries = 0;
        for (const shm::StripeCopy& copy : copies) {
            entries += copy.entries;
        }
        reserve(entries);
        for (const shm::StripeCopy& copy : copies) {
            const std::byte* at = copy.bytes.data();
            for (std::uint64_t entry = 0; entry < copy.entries; ++entry) {
                std::uint64_t lengths[2];
                std::memcpy(lengths, at, sizeof lengths);
                const std::byte* key = at + sizeof lengths;
                const std::byte* value = key + shm::round_up(lengths[0], 8);
                visit(Entry{key, lengths[0], value, lengths[1]});
                at = value;
                if (what == shm::DictTable::CopyWhat::items) {
                    at += shm::round_up(lengths[1], 8);
                }
            }
        }
    }
};

}  // namespace sluice
