// Value<T>: one value that any processes and threads share. Readers never wait, and a writer that
// dies leaves the old value or the new.
//
//     sluice::Value<int> count(0);                // or Value<int>::create("count", 0)
//     count.update([](int& n) { n += 1; });       // here, or in any other process
//     count = 7;
//     int now = count;
//
// A plain value lies there as it is, any other one packed; two buffers and a lock, as in Guarded
// (shm/guarded_word.hpp): one is read while the other is written, and one store says which is
// which.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sluice/codec.hpp"
#include "sluice/detail/guarded_core.hpp"
#include "sluice/detail/handle.hpp"
#include "sluice/detail/print.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a value is made. bytes_max: how long a packed value may become; no matter for plain ones.
/// wait: how writers wait for each other. permissions: of a named one's file.
struct ValueOptions {
    std::size_t bytes_max{4096};
    Wait wait{};
    MemoryOptions memory{};  ///< where its memory lies
    unsigned permissions{0600};
};

namespace detail {

/// How a T lies in a Value.
template <class T, bool kPlain>
struct ValueCodec {
    static constexpr std::size_t kBytes =
        shm::round_up(plain_bytes<T> == 0 ? 1 : plain_bytes<T>, sizeof(std::uint64_t));
    struct Words {
        alignas(std::uint64_t) std::byte bytes[kBytes];

        std::span<const std::byte> span() const noexcept { return bytes; }
    };

    static constexpr std::size_t bytes_max(std::size_t) noexcept { return 0; }
    static Words encode(const T& value) noexcept {
        Words words{};
        store_plain(words.bytes, value);
        return words;
    }
    static T read(GuardedCore& core) {
        Words words;
        core.word().template read<kBytes>(words.bytes);
        return load_plain<T>(words.bytes);
    }
    static void commit(GuardedCore& core, const Words& words) noexcept {
        core.word().template commit<kBytes>(words.bytes);
    }
    static Words nothing() noexcept { return {}; }
};
template <class T>
struct ValueCodec<T, false> {
    struct Words {
        PackBuffer buffer{};

        std::span<const std::byte> span() const noexcept { return buffer.bytes(); }
    };

    static constexpr std::size_t bytes_max(std::size_t wanted) noexcept {
        return wanted == 0 ? 1 : wanted;
    }
    static Words encode(const T& value) {
        Words words;
        Packer<T>::pack(value, words.buffer);
        return words;
    }
    static T read(GuardedCore& core) { return Packer<T>::unpack(core.read_sized()); }
    static void commit(GuardedCore& core, const Words& words) { core.commit_sized(words.span()); }
    static Words nothing() noexcept { return {}; }
};

}  // namespace detail

/// A handle: copies lead to the same value, also in children made by fork.
///
/// Progress: reading is lock-free and never waits, whatever writers do, and whoever has died or was
/// stopped; writing is blocking, one at a time.
/// Errors: Error: this thread writes already, in update(); std::length_error: a packed value is
/// longer than bytes_max; std::system_error: a writer finds no place among the 512 participants.
/// Readers need none.
/// Callers: any thread of any process that holds a handle.
/// Crash: a writer's death before its commit store leaves the value as it was, after it the new
/// one, and lets the next write at once.
/// Cost: reading copies the value and looks at one word twice, no system call ever; packed values
/// are packed and unpacked besides, and bytes_max is there twice.
template <class T>
class Value : public detail::Handle<detail::GuardedCore> {
    static_assert(check_shareable<T>());
    using Codec = detail::ValueCodec<T, Plain<T>>;

 public:
    /// What it holds.
    using value_type = T;

    /// Makes an anonymous one. Errors: std::system_error: no memory.
    Value() requires std::is_default_constructible_v<T> : Value(T{}) {}
    explicit Value(const T& initial, ValueOptions options = {})
        : Value({}, detail::Open::anonymous, Codec::encode(initial), options) {}

    /// Makes a named one. Errors: std::system_error with EEXIST when the name is taken.
    static Value create(std::string_view name, const T& initial = T{}, ValueOptions options = {}) {
        return Value(name, detail::Open::create, Codec::encode(initial), options);
    }
    /// Opens a named one. Errors: std::system_error with ENOENT; BadSegment when it is no Value<T>.
    static Value open(std::string_view name) {
        return Value(name, detail::Open::open, Codec::nothing(), {});
    }
    /// Opens it, or makes it where it does not exist; the value and the options count only for the
    /// maker.
    static Value open_or_create(std::string_view name, const T& initial = T{},
                                ValueOptions options = {}) {
        return Value(name, detail::Open::open_or_create, Codec::encode(initial), options);
    }
    /// Removes the name; who has it open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("Value", name); }

    /// The value. Blocks: never.
    T load() const { return Codec::read(*core_); }
    operator T() const { return load(); }  // NOLINT: as Python's `value` is read

    /// Replaces it. Blocks: while another writes. Commit store: the version, after all of the
    /// value.
    void store(const T& value) const {
        const typename Codec::Words words = Codec::encode(value);
        const detail::Writing writing(core_->writer());
        Codec::commit(*core_, words);
    }
    const Value& operator=(const T& value) const {  // NOLINT: shallow-const, as all handles
        store(value);
        return *this;
    }
    /// Replaces it, and returns what was there, in one step. Blocks, commits: as store().
    T exchange(const T& value) const {
        const typename Codec::Words words = Codec::encode(value);
        const detail::Writing writing(core_->writer());
        T old = load();
        Codec::commit(*core_, words);
        return old;
    }
    /// Changes it by `change(T&)` in one step: nobody else writes between. If that throws, nothing
    /// has happened. Returns the new value. Blocks, commits: as store().
    template <class Change>
    requires std::is_invocable_v<Change&, T&> T update(Change&& change)
    const {
        const detail::Writing writing(core_->writer());
        T value = load();
        change(value);
        Codec::commit(*core_, Codec::encode(value));
        return value;
    }

    /// How often it was written: tells a reader cheaply whether there is anything new.
    std::uint64_t version() const { return core_->word().version(); }
    /// "" for an anonymous one.
    std::string_view name() const { return core_->segment().name(); }

 private:
    friend class Manager;
    friend struct detail::Passing<Value>;
    using Handle::Handle;
    Value(const shm::SegmentPlace& place, detail::Open how, const typename Codec::Words& initial,
          const ValueOptions& options)
        : Handle({place, how, options}, shape_of(initial, options)) {}
    static std::shared_ptr<detail::GuardedCore> received(detail::Unparcel& parcel) {
        return Handle::received(parcel, shape_of(Codec::nothing(), {}));
    }
    // It refers to the words.
    static detail::GuardedShape shape_of(const typename Codec::Words& initial,
                                         const ValueOptions& options) {
        detail::GuardedShape shape;
        shape.initial = initial.span();
        shape.bytes_max = Codec::bytes_max(options.bytes_max);
        shape.kind = shm::SegmentKind::value;
        shape.noun = "Value";
        shape.type_signature = type_signature<T>();
        shape.type_text = type_description<T>();
        shape.wait = options.wait;
        return shape;
    }
};

/// As Python prints it.
template <class T>
requires detail::Printable<T> std::ostream& operator<<(std::ostream& out, const Value<T>& value) {
    if constexpr (std::is_convertible_v<T, std::string_view>) {
        out << std::string_view(static_cast<T>(value));
    } else {
        detail::print_value(out, static_cast<T>(value));
    }
    return out;
}

}  // namespace sluice
