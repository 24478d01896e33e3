// Array<T>: elements of a plain type, as many as it was made with, shared by any processes and
// threads. Readers never wait, and a writer that dies leaves each element old or new.
//
//     sluice::Array<double> levels(8);            // or Array<double>::create("levels", 8)
//     levels[0] = 1.5;                            // here, or in any other process
//     double last = levels[-1];
//     levels.update(2, [](double& level) { level *= 2; });
//     for (double level : levels) { ... }         // of one moment
//
// Each element lies there twice (shm/array_word.hpp), so that all of them can be replaced in one
// step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "sluice/codec.hpp"
#include "sluice/detail/array_core.hpp"
#include "sluice/detail/handle.hpp"
#include "sluice/detail/print.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How an array is made. wait: how writers wait for each other. permissions: of a named one's file.
struct ArrayOptions {
    Wait wait{};
    MemoryOptions memory{};  ///< where its memory lies
    unsigned permissions{0600};
};

/// A handle: copies lead to the same array, also in children made by fork. All elements are T{} at
/// first. A negative index counts from the end, as Python's.
///
/// Progress: reading an element is lock-free and never waits; writing is blocking, one at a time.
/// Errors: std::out_of_range, naming index and size; Error: this thread writes already, in an
/// update(); std::system_error: a writer finds no place among the 512 participants. Readers need
/// none.
/// Callers: any thread of any process that holds a handle.
/// Crash: a writer's death before its commit store leaves everything as it was, and lets the next
/// write at once; after it, the change is there: the element, or with assign() and fill() all of
/// them.
/// Cost: reading copies the element and looks at one word twice, no system call ever; writing
/// locks. An element of up to 8 bytes takes twice its size rounded up to a power of two; a larger
/// one twice its size and 8 bytes.
template <class T>
class Array : public detail::Handle<detail::ArrayCore> {
    static_assert(Plain<T>,
                  "sluice: Array<T> holds plain values (trivially copyable, without pointers or "
                  "views; see sluice::is_shareable): others have no fixed size, take a List");
    static constexpr std::size_t kBytes = plain_bytes<T> == 0 ? 1 : plain_bytes<T>;

 public:
    /// An element.
    using value_type = T;
    class Element;
    class Iterator;

    /// Makes an anonymous one. Errors: std::invalid_argument: no element, or more than 2^32;
    /// std::system_error: no memory.
    explicit Array(std::size_t size, ArrayOptions options = {})
        : Array({}, detail::Open::anonymous, size, options) {}
    /// The same, with these elements.
    explicit Array(std::span<const T> values, ArrayOptions options = {})
        : Array(values.size(), options) {
        assign(values);
    }
    Array(std::initializer_list<T> values) : Array(std::span<const T>(values)) {}

    /// Makes a named one. Errors: std::system_error with EEXIST when the name is taken.
    static Array create(std::string_view name, std::size_t size, ArrayOptions options = {}) {
        return Array(name, detail::Open::create, size, options);
    }
    /// Opens a named one. Errors: std::system_error with ENOENT; BadSegment when it is no Array<T>.
    static Array open(std::string_view name) { return Array(name, detail::Open::open, 1, {}); }
    /// Opens it, or makes it where it does not exist; size and options count only for the maker.
    static Array open_or_create(std::string_view name, std::size_t size,
                                ArrayOptions options = {}) {
        return Array(name, detail::Open::open_or_create, size, options);
    }
    /// Removes the name; who has it open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("Array", name); }

    /// How many elements it has.
    std::size_t size() const { return core_->word().count(); }

    /// An element. Blocks: never.
    T load(std::int64_t index) const {
        std::byte bytes[kBytes];
        core_->word().template load<kBytes>(core_->index(index), bytes);
        return load_plain<T>(bytes);
    }
    T at(std::int64_t index) const { return load(index); }
    /// Stands for the element: `a[i] = v`, `T v = a[i]`.
    Element operator[](std::int64_t index) const { return Element(*this, core_->index(index)); }

    /// Replaces an element. Blocks: while another writes.
    /// Commit store: the element's word; above 8 bytes, its version.
    void store(std::int64_t index, const T& value) const { write(core_->index(index), value); }
    /// Changes an element by `change(T&)` in one step: nobody else writes between. If that throws,
    /// nothing has happened. Returns the new value. Blocks, commits: as store().
    template <class Change>
    requires std::is_invocable_v<Change&, T&> T update(std::int64_t index, Change&& change)
    const {
        const std::uint64_t at = core_->index(index);
        const detail::Writing writing(core_->writer());
        T value = load(static_cast<std::int64_t>(at));
        change(value);
        store_at(at, value);
        return value;
    }

    /// All elements as they were at one moment.
    /// Blocks: never; but where others change elements all the time it takes, after some attempts,
    /// its turn among them.
    std::vector<T> snapshot() const {
        constexpr int kAttempts = 64;
        std::vector<std::byte> bytes(size() * kBytes);
        for (int attempt = 0; attempt < kAttempts; ++attempt) {
            if (core_->word().template try_snapshot<kBytes>(bytes.data())) {
                return decoded(bytes);
            }
        }
        const detail::Writing writing(core_->writer());
        static_cast<void>(core_->word().template try_snapshot<kBytes>(bytes.data()));
        return decoded(bytes);
    }
    /// Iterates over a snapshot.
    Iterator begin() const { return Iterator(snapshot()); }
    std::default_sentinel_t end() const { return {}; }

    /// Replaces all elements in one step. Blocks: while another writes. Commit store: the epoch.
    /// Errors: std::length_error: other than size() values.
    void assign(std::span<const T> values) const {
        if (values.size() != size()) {
            core_->throw_length(values.size());
        }
        assign_all([&](std::uint64_t index) -> const T& { return values[index]; });
    }
    void assign(std::initializer_list<T> values) const { assign(std::span<const T>(values)); }
    void fill(const T& value) const {
        assign_all([&](std::uint64_t) -> const T& { return value; });
    }

    /// "" for an anonymous one.
    std::string_view name() const { return core_->segment().name(); }

 private:
    friend class Manager;
    friend struct detail::Passing<Array>;
    using Handle::Handle;
    struct First {
        std::byte bytes[kBytes]{};
    };
    Array(const shm::SegmentPlace& place, detail::Open how, std::size_t size,
          const ArrayOptions& options)
        : Handle({place, how, options}, shape(size, first(), options.wait)) {}
    static std::shared_ptr<detail::ArrayCore> received(detail::Unparcel& parcel) {
        return Handle::received(parcel, shape(1, First{}, {}));
    }
    static First first() {
        First first;
        if constexpr (std::is_default_constructible_v<T>) {
            store_plain(first.bytes, T{});
        }
        return first;
    }
    // It refers to the first element.
    static detail::ArrayShape shape(std::size_t size, const First& first, Wait wait) {
        return {size, first.bytes, type_signature<T>(), type_description<T>(), wait};
    }

    void write(std::uint64_t index, const T& value) const {
        const detail::Writing writing(core_->writer());
        store_at(index, value);
    }
    void store_at(std::uint64_t index, const T& value) const noexcept {
        std::byte bytes[kBytes]{};
        store_plain(bytes, value);
        core_->word().template store<kBytes>(index, bytes);
    }
    template <class ValueOf>
    void assign_all(ValueOf&& value_of) const {
        std::byte bytes[kBytes]{};
        const detail::Writing writing(core_->writer());
        core_->word().template assign<kBytes>([&](std::uint64_t index) {
            store_plain(bytes, value_of(index));
            return static_cast<const std::byte*>(bytes);
        });
    }
    static std::vector<T> decoded(const std::vector<std::byte>& bytes) {
        std::vector<T> values;
        values.reserve(bytes.size() / kBytes);
        for (std::size_t at = 0; at < bytes.size(); at += kBytes) {
            values.push_back(load_plain<T>(bytes.data() + at));
        }
        return values;
    }
};

/// An element of an array that may be assigned to. Reads and writes when it is used, as load() and
/// store(); it keeps the array.
template <class T>
class Array<T>::Element {
 public:
    /// Reads, or writes, the element.
    operator T() const { return array_.at(index_); }  // NOLINT: stands for the element
    const Element& operator=(const T& value) const {  // NOLINT: shallow-const, as all handles
        array_.write(static_cast<std::uint64_t>(index_), value);
        return *this;
    }
    const Element& operator=(const Element& other) const {  // NOLINT: a[i] = a[j]
        return *this = static_cast<T>(other);
    }
    Element(const Element&) = default;
    ~Element() = default;

 private:
    friend class Array;
    Element(const Array& array, std::uint64_t index)
        : array_(array), index_(static_cast<std::int64_t>(index)) {}

    Array array_;
    std::int64_t index_;
};

/// Goes through a snapshot once, as an input iterator.
template <class T>
class Array<T>::Iterator {
 public:
    /// What an input iterator has.
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    T operator*() const { return values_[index_]; }
    Iterator& operator++() {
        ++index_;
        return *this;
    }
    void operator++(int) { ++index_; }
    friend bool operator==(const Iterator& iterator, std::default_sentinel_t) {
        return iterator.index_ == iterator.values_.size();
    }

 private:
    friend class Array;
    explicit Iterator(std::vector<T> values) : values_(std::move(values)) {}

    std::vector<T> values_;
    std::size_t index_{};
};

/// As Python prints a list, of one moment.
template <class T>
requires detail::Printable<T> std::ostream& operator<<(std::ostream& out, const Array<T>& array) {
    const char* before = "[";
    for (const T& value : array.snapshot()) {
        out << before;
        detail::print_value(out, value);
        before = ", ";
    }
    return out << ']';
}

}  // namespace sluice
