// List<T>: a list between any processes and threads. Readers never wait and write nothing; a writer
// that dies leaves the list as it was, or as it was to be.
//
//     sluice::List<std::string> names;            // or create("names"), open("names")
//     names.append("user_0");                     // here, or in any other process
//     std::string last = names[-1];
//     std::cout << names << '\n';                 // ['user_0']
//
// append, pop of the last and assigning touch one element; whatever moves elements (insert, erase,
// remove, sort, reverse) makes a new row of links, and one store puts it in the old one's place
// (shm/list_table.hpp). For a FIFO between processes take a Queue.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <ostream>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/codec.hpp"
#include "sluice/detail/change.hpp"
#include "sluice/detail/copy_iterator.hpp"
#include "sluice/detail/dict_codec.hpp"
#include "sluice/detail/handle.hpp"
#include "sluice/detail/list_core.hpp"
#include "sluice/detail/print.hpp"
#include "sluice/error.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a List is made. Units: `max_bytes`, up to which it grows, 256 KiB to 64 GiB; it costs
/// address space, memory only as it is filled (an empty one: 12 KiB). `wait`: how writers wait for
/// each other.
struct ListOptions {
    std::uint64_t max_bytes{std::uint64_t{64} << 30U};
    Wait wait{};
    MemoryOptions memory{};      ///< where its memory lies
    unsigned permissions{0600};  ///< of a named one's file
};

/// A list. A handle: copies lead to the same one, also in children made by fork. Indices are
/// Python's: -1 is the last.
///
/// Progress: reading is lock-free, waits for nobody, whoever has died or was stopped, and needs no
/// place among the participants. Writing is blocking, one at a time.
/// Errors: std::out_of_range, naming index and size; std::system_error with ENOSPC, naming sizes,
/// where max_bytes or /dev/shm is full: then nothing was changed; with EAGAIN where a writer finds
/// no place among the 512 participants. Error: a write that would wait for this very thread (from
/// within update() or sort()). BadSegment: something else wrote to its memory.
/// Callers: any thread of any process that holds a handle.
/// Crash: a change has happened, whole, or not at all. Who writes next walks over the list once.
/// Cost: reading no system call ever; writing none but to grow, or to wait. insert, erase, remove,
/// sort and reverse copy a word for each element.
template <class T>
class List : public detail::Handle<detail::ListCore> {
    static_assert(check_shareable<T>());

    using Code = detail::EncodedWords<T>;
    static constexpr bool kInline = Code::kBytes == sizeof(std::uint64_t);
    static constexpr std::size_t kFastBytes = 512;
    static constexpr bool kFast = Code::kBytes != 0 && Code::kBytes <= kFastBytes;

 public:
    /// An element.
    using value_type = T;

    /// l[i]: reads as a T, and assigns to the element.
    class Item {
     public:
        Item(const Item&) = delete;

        /// Replaces the element. Errors: std::out_of_range, naming index and size.
        const Item& operator=(const T& value) const {
            list_.set(index_, value);
            return *this;
        }
        const Item& operator=(const Item& other) const { return *this = T(other); }
        operator T() const { return list_.at(index_); }
        T get() const { return list_.at(index_); }

        /// Each is one update(): nobody comes in between.
        template <class Other>
        const Item& operator+=(const Other& other) const requires requires(T& v) {
            v += other;
        }
        {
            list_.update(index_, [&](T& value) { value += other; });
            return *this;
        }
        template <class Other>
        const Item& operator-=(const Other& other) const requires requires(T& v) {
            v -= other;
        }
        {
            list_.update(index_, [&](T& value) { value -= other; });
            return *this;
        }

        /// As its value does.
        friend bool operator==(const Item& item,
                               const T& value) requires std::equality_comparable<T> {
            return item.get() == value;
        }
        friend std::ostream& operator<<(std::ostream& out,
                                        const Item& item) requires detail::Printable<T> {
            detail::print_value(out, item.get());
            return out;
        }

     private:
        friend class List;
        Item(const List& list, std::int64_t index) : list_(list), index_(index) {}

        const List& list_;
        std::int64_t index_;
    };

    /// Goes over a private copy, made by begin(): changes made meanwhile are not seen.
    using Iterator = detail::CopyIterator<T>;

    /// Makes an anonymous one. Errors: std::invalid_argument: a max_bytes that cannot be;
    /// std::system_error: no memory.
    List() : List(ListOptions{}) {}
    explicit List(const ListOptions& options) : List({}, detail::Open::anonymous, options) {}

    /// Makes a named one. Errors: std::system_error with EEXIST when the name is taken.
    static List create(std::string_view name, const ListOptions& options = {}) {
        return List(name, detail::Open::create, options);
    }
    /// Opens a named one. Errors: std::system_error with ENOENT; BadSegment when it is no List<T>.
    static List open(std::string_view name) { return List(name, detail::Open::open, {}); }
    /// Opens it, or makes it where it does not exist; options count only for the maker.
    static List open_or_create(std::string_view name, const ListOptions& options = {}) {
        return List(name, detail::Open::open_or_create, options);
    }
    /// Removes the name; who has it open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("List", name); }

    // Reading. Blocks: never. ---------------------------------------------------------------------

    /// The element. Errors: std::out_of_range, naming index and size.
    T at(std::int64_t index) const {
        std::uint64_t size = 0;
        std::optional<T> value = look(index, size);
        if (!value) {
            core_->throw_outside(index, size);
        }
        return *std::move(value);
    }
    [[nodiscard]] std::optional<T> get(std::int64_t index) const {
        std::uint64_t ignored = 0;
        return look(index, ignored);
    }
    /// l[i] = v, and T v = l[i].
    [[nodiscard]] Item operator[](std::int64_t index) const { return Item(*this, index); }

    /// How many elements it has at this moment.
    [[nodiscard]] std::size_t size() const { return core_->size(); }
    [[nodiscard]] bool empty() const { return size() == 0; }

    /// All elements as they were at one instant. Blocks: not, unless writers get in its way several
    /// times in a row; then it keeps them off while it copies.
    [[nodiscard]] std::vector<T> snapshot() const {
        std::uint64_t count = 0;
        const std::vector<std::byte> elements = core_->snapshot(count);
        std::vector<T> all;
        all.reserve(count);
        const std::byte* at = elements.data();
        for (std::uint64_t element = 0; element < count; ++element) {
            std::uint64_t bytes = 0;
            std::memcpy(&bytes, at, sizeof bytes);
            all.push_back(Code::decode(at + sizeof bytes, bytes));
            at += sizeof bytes + shm::round_up(bytes, 8);
        }
        return all;
    }
    [[nodiscard]] Iterator begin() const { return Iterator(snapshot()); }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// The first index of the value. Errors: std::out_of_range, naming it, where it is not there.
    [[nodiscard]] std::size_t index(const T& value) const requires std::equality_comparable<T> {
        const std::vector<T> all = snapshot();
        const auto found = std::find(all.begin(), all.end(), value);
        if (found == all.end()) {
            throw_missing(value);
        }
        return static_cast<std::size_t>(found - all.begin());
    }
    [[nodiscard]] bool contains(const T& value) const requires std::equality_comparable<T> {
        return count(value) != 0;
    }
    [[nodiscard]] std::size_t count(const T& value) const requires std::equality_comparable<T> {
        const std::vector<T> all = snapshot();
        return static_cast<std::size_t>(std::count(all.begin(), all.end(), value));
    }

    // Writing. Blocks: while others write. --------------------------------------------------------

    /// Appends the value. Commit store: the size.
    void append(const T& value) const {
        Code encoded(value);
        detail::ListTurn(*core_).append(encoded.bytes());
    }
    /// Appends all of them, in one step.
    template <std::ranges::input_range Range>
    requires std::convertible_to<std::ranges::range_reference_t<Range>, T>
    void extend(Range&& values) const {
        Sources sources;
        for (auto&& value : values) {
            sources.add(value);
        }
        detail::ListTurn(*core_).extend(sources.all);
    }
    void extend(std::initializer_list<T> values) const {
        extend<const std::initializer_list<T>&>(values);
    }
    /// Python's: before the element of that index; an index beyond an end means that end. Commit
    /// store: the root.
    void insert(std::int64_t index, const T& value) const {
        Sources sources;
        sources.add(value);
        detail::ListTurn turn(*core_);
        const auto size = static_cast<std::int64_t>(turn.size());
        const std::int64_t from_front = index < 0 ? std::max<std::int64_t>(index + size, 0) : index;
        turn.splice(static_cast<std::uint64_t>(std::min(from_front, size)), 0, sources.all);
    }
    /// Replaces the element. Errors: std::out_of_range, naming index and size. Commit store: its
    /// word.
    void set(std::int64_t index, const T& value) const {
        Code encoded(value);
        detail::ListTurn turn(*core_);
        turn.assign(turn.place_of(index), encoded.bytes());
    }
    /// Changes the element under the list's lock by `change(T&)`, or `T change(T)`. If it throws,
    /// nothing has happened.
    /// Errors: std::out_of_range, naming index and size; what `change` throws; Error from a write
    /// to this List by `change` itself (reading it is allowed).
    template <class Change>
    void update(std::int64_t index, Change&& change) const {
        detail::ListTurn turn(*core_);
        const std::uint64_t at = turn.place_of(index);
        const detail::UpdateFrame frame(core_->segment().nonce());
        T value = decode(turn.element(at));
        detail::apply_change(change, value);
        Code encoded(value);
        turn.assign(at, encoded.bytes());
    }

    /// Removes the element and returns it. Errors: std::out_of_range, naming index and size. Commit
    /// store: of the last the size, else the root.
    T pop(std::int64_t index = -1) const {
        detail::ListTurn turn(*core_);
        const std::uint64_t at = turn.place_of(index);
        T value = decode(turn.element(at));
        take_out(turn, at);
        return value;
    }
    void erase(std::int64_t index) const {
        detail::ListTurn turn(*core_);
        take_out(turn, turn.place_of(index));
    }
    /// Removes the first that equals the value. Errors: std::out_of_range, naming it, where it is
    /// not there.
    void remove(const T& value) const requires std::equality_comparable<T> {
        detail::ListTurn turn(*core_);
        const std::uint64_t size = turn.size();
        for (std::uint64_t at = 0; at < size; ++at) {
            if (decode(turn.element(at)) == value) {
                take_out(turn, at);
                return;
            }
        }
        throw_missing(value);
    }
    /// Sorts, stably. If `less` throws, nothing has happened. Commit store: the root.
    template <class Less = std::less<>>
    void sort(Less less = {}) const {
        detail::ListTurn turn(*core_);
        const detail::UpdateFrame frame(core_->segment().nonce());
        std::vector<T> all;
        const std::uint64_t size = turn.size();
        for (std::uint64_t at = 0; at < size; ++at) {
            all.push_back(decode(turn.element(at)));
        }
        std::vector<std::uint64_t> order(size);
        std::iota(order.begin(), order.end(), std::uint64_t{0});
        std::stable_sort(order.begin(), order.end(), [&](std::uint64_t one, std::uint64_t other) {
            return std::invoke(less, std::as_const(all)[one], std::as_const(all)[other]);
        });
        turn.replace(sources_of(order));
    }
    void reverse() const {
        detail::ListTurn turn(*core_);
        std::vector<std::uint64_t> order(turn.size());
        std::iota(order.rbegin(), order.rend(), std::uint64_t{0});
        turn.replace(sources_of(order));
    }
    /// Removes all, in one step.
    void clear() const { detail::ListTurn(*core_).replace({}); }

    /// "" for an anonymous one.
    [[nodiscard]] std::string_view name() const { return core_->segment().name(); }
    /// Memory that the kernel holds for it. Units: bytes.
    [[nodiscard]] std::uint64_t memory_bytes() const {
        return core_->segment().mapping().bytes_allocated();
    }

    /// ['a', 'b'], as Python prints it.
    friend std::ostream& operator<<(std::ostream& out,
                                    const List& list) requires detail::Printable<T> {
        out << '[';
        detail::print_row(out, list.snapshot(),
                          [&out](const T& element) { detail::print_value(out, element); });
        return out << ']';
    }

 private:
    friend class Manager;
    friend struct detail::Passing<List>;
    using Handle::Handle;
    List(const shm::SegmentPlace& place, detail::Open how, const ListOptions& options)
        : Handle({place, how, options}, shape(options)) {}
    static std::shared_ptr<detail::ListCore> received(detail::Unparcel& parcel) {
        return Handle::received(parcel, shape({}));
    }

    /// New elements, encoded.
    struct Sources {
        std::deque<Code> kept{};
        std::vector<shm::ListTable::Source> all{};

        void add(const T& value) {
            const shm::PaddedBytes bytes = kept.emplace_back(value).bytes();
            all.push_back({0, bytes.data, bytes.bytes});
        }
    };
    static std::vector<shm::ListTable::Source> sources_of(const std::vector<std::uint64_t>& order) {
        std::vector<shm::ListTable::Source> sources(order.size());
        for (std::size_t at = 0; at < order.size(); ++at) {
            sources[at].index = order[at];
        }
        return sources;
    }

    static detail::ListShape shape(const ListOptions& options) {
        detail::ListShape shape;
        shape.element = {Code::kBytes, kInline};
        shape.type_signature = type_signature<std::vector<T>>();
        shape.type_text = type_description<std::vector<T>>();
        shape.wait = options.wait;
        shape.max_bytes = options.max_bytes;
        return shape;
    }

    static T decode(const std::vector<std::byte>& words) {
        return Code::decode(words.data(), words.size());
    }
    [[noreturn]] void throw_missing(const T& value) const {
        throw std::out_of_range(core_->object() + ": does not hold " + detail::printed(value));
    }
    void take_out(detail::ListTurn& turn, std::uint64_t at) const {
        if (at + 1 == turn.size()) {
            core_->table().pop_last();
        } else {
            turn.splice(at, 1, {});
        }
    }
    std::optional<T> look(std::int64_t index, std::uint64_t& size) const {
        if constexpr (kFast) {
            alignas(std::uint64_t) std::byte words[Code::kBytes];
            const shm::ListResult result =
                core_->table().template read<Code::kBytes, kInline>(index, words, size);
            return core_->check(result) ? std::optional<T>(Code::decode(words, Code::kBytes))
                                        : std::nullopt;
        } else {
            std::vector<std::byte> words;
            std::size_t bytes = 0;
            const shm::ListResult result = core_->table().read(index, words, bytes, size);
            return core_->check(result) ? std::optional<T>(Code::decode(words.data(), bytes))
                                        : std::nullopt;
        }
    }
};

}  // namespace sluice
