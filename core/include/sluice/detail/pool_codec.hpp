// How a call travels to a worker and its result back: which types the arguments are stored as,
// their bytes, and the function that decodes them there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "sluice/codec.hpp"
#include "sluice/detail/callable.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/detail/pool_core.hpp"
#include "sluice/error.hpp"
#include "sluice/queue.hpp"

namespace sluice::detail {

// ---- the callable

/// A function, a captureless lambda (or any empty class), or an aggregate that can be sent.
///
/// Of the rest the callers compile nothing where it is refused: one error is enough.
template <class F>
inline constexpr bool is_pool_function =
    is_function_pointer<F> ||
    (std::is_empty_v<F> && std::is_default_constructible_v<F>) || Shareable<F>;
template <class F>
consteval bool check_pool_function() {
    constexpr bool stateless = std::is_empty_v<F> && std::is_default_constructible_v<F>;
    if constexpr (is_function_pointer<F> || stateless) {
        return true;
    } else {
        constexpr bool sendable = Shareable<F>;
        static_assert(
            sendable,
            "sluice: a Pool cannot send this function to its workers: it is a lambda that "
            "captures, or a class that holds what means nothing there; use a function or "
            "a lambda without captures and pass values as arguments, or an aggregate of "
            "values with an operator()");
        return true;  // one error is enough
    }
}

/// The parameters of a callable that has one signature; else unknown.
template <class... P>
struct Parameters {
    static constexpr std::size_t kCount = sizeof...(P);
    template <std::size_t I>
    using At = std::tuple_element_t<I, std::tuple<P...>>;
};
struct UnknownParameters {};

template <class F>
struct SignatureOf {
    using Type = UnknownParameters;
};
template <class R, class... P>
struct SignatureOf<R (*)(P...)> {
    using Type = Parameters<P...>;
};
template <class R, class... P>
struct SignatureOf<R (*)(P...) noexcept> : SignatureOf<R (*)(P...)> {};
template <class R, class C, class... P>
struct SignatureOf<R (C::*)(P...)> : SignatureOf<R (*)(P...)> {};
template <class R, class C, class... P>
struct SignatureOf<R (C::*)(P...) const> : SignatureOf<R (*)(P...)> {};
template <class R, class C, class... P>
struct SignatureOf<R (C::*)(P...) noexcept> : SignatureOf<R (*)(P...)> {};
template <class R, class C, class... P>
struct SignatureOf<R (C::*)(P...) const noexcept> : SignatureOf<R (*)(P...)> {};
template <class F>
requires requires {
    &F::operator();
}
struct SignatureOf<F> : SignatureOf<decltype(&F::operator())> {};

/// As what the I-th argument, given as A, is stored: as it is where it can be sent; else, a string
/// literal for a std::string parameter, say, as the function takes it.
template <class F, std::size_t I, class A>
consteval auto stored_argument() {
    using Given = std::decay_t<A>;
    using Signature = typename SignatureOf<F>::Type;
    if constexpr (travels_to_workers<Given>()) {
        return std::type_identity<Given>{};
    } else if constexpr (requires { typename Signature::template At<I>; }) {
        using Taken = std::decay_t<typename Signature::template At<I>>;
        if constexpr (travels_to_workers<Taken>() && std::is_convertible_v<A, Taken>) {
            return std::type_identity<Taken>{};
        } else {
            return std::type_identity<Given>{};
        }
    } else {
        return std::type_identity<Given>{};
    }
}

template <class F, class Indices, class... A>
struct StoredArguments;
template <class F, std::size_t... I, class... A>
struct StoredArguments<F, std::index_sequence<I...>, A...> {
    using Type = std::tuple<typename decltype(stored_argument<F, I, A>())::type...>;
};
template <class F, class... A>
using StoredTuple = typename StoredArguments<F, std::index_sequence_for<A...>, A...>::Type;

template <class F, class... S>
decltype(auto) call_with(F& function, S&... arguments) {
    if constexpr (std::is_invocable_v<F&, S...>) {
        return std::invoke(function, std::move(arguments)...);
    } else {  // it takes an argument by reference: the worker's own copy
        return std::invoke(function, arguments...);
    }
}

template <class F, class... S>
concept CallableWith = std::is_invocable_v<F&, S...> || std::is_invocable_v<F&, S&...>;

template <class F, class Tuple>
struct ResultOf;
template <class F, class... S>
struct ResultOf<F, std::tuple<S...>> {
    using Type = std::decay_t<decltype(call_with(std::declval<F&>(), std::declval<S&>()...))>;
};

/// Refuses what can be neither an argument nor a result, by one readable message.
template <class T>
consteval bool check_pool_value() {
    if constexpr (!travels_to_workers<T>()) {
        static_assert(check_shareable<T>());
    }
    return true;
}

// ---- the bytes: plain values as they are; others packed, or in a parcel where a handle is among
// them, with their length before them

[[noreturn]] inline void throw_short_task() {
    throw BadSegment("Pool: a task's bytes are damaged");
}

inline void write_with_length(PackBuffer& buffer, std::span<const std::byte> bytes) {
    const std::uint64_t size = bytes.size();
    buffer.write(reinterpret_cast<const char*>(&size), sizeof size);
    buffer.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

/// What the other process has inherited: the segments up to a serial (PoolCore::inherited()).
struct Inherited {
    std::uint64_t serial{};  // 0: nothing, as an owner of what its workers made
};

template <class T>
void encode_value(PackBuffer& buffer, const T& value, Inherited inherited) {
    if constexpr (Plain<T>) {
        std::byte bytes[plain_bytes<T> == 0 ? 1 : plain_bytes<T>];
        store_plain(bytes, value);
        buffer.write(reinterpret_cast<const char*>(bytes), plain_bytes<T>);
    } else if constexpr (holds_handle<T>) {
        Parcel parcel(inherited.serial);
        pack_travelling(value, parcel);
        write_with_length(buffer, parcel.bytes());
    } else {
        PackBuffer packed;
        Packer<T>::pack(value, packed);
        write_with_length(buffer, packed.bytes());
    }
}

template <class T>
T decode_value(std::span<const std::byte>& bytes) {
    if constexpr (Plain<T>) {
        if (bytes.size() < plain_bytes<T>) [[unlikely]] {
            throw_short_task();
        }
        const std::byte* const begin = bytes.data();
        bytes = bytes.subspan(plain_bytes<T>);
        return load_plain<T>(begin);
    } else {
        std::uint64_t size = 0;
        if (bytes.size() < sizeof size) {
            throw_short_task();
        }
        std::memcpy(&size, bytes.data(), sizeof size);
        bytes = bytes.subspan(sizeof size);
        if (bytes.size() < size) {
            throw_short_task();
        }
        const std::span<const std::byte> packed = bytes.first(size);
        bytes = bytes.subspan(size);
        if constexpr (holds_handle<T>) {
            Unparcel parcel(packed);
            return unpack_travelling<T>(parcel);
        } else {
            return Packer<T>::unpack(packed);
        }
    }
}

template <class... S>
inline constexpr bool all_plain = (Plain<S> && ...);
template <class... S>
inline constexpr std::size_t sum_bytes = (plain_bytes<S> + ... + 0);

/// The bytes of some values, in a buffer of the caller's or, where they are not all small and
/// plain, in this thread's.
template <class... S>
class Encoded {
 public:
    explicit Encoded([[maybe_unused]] Inherited inherited, const S&... values) {
        if constexpr (kSmall) {
            std::byte* at = small_;
            ((store_plain(at, values), at += plain_bytes<S>), ...);
        } else {
            large_ = &pack_buffer();
            (encode_value(*large_, values, inherited), ...);
        }
    }
    Encoded(const Encoded&) = delete;
    Encoded& operator=(const Encoded&) = delete;
    ~Encoded() {
        if (large_ != nullptr) {
            shrink(*large_);
        }
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        if constexpr (kSmall) {
            return {small_, sum_bytes<S...>};
        } else {
            return large_->bytes();
        }
    }

 private:
    static constexpr bool kSmall =
        all_plain<S...> && sum_bytes<S...> <= shm::TaskLayout::kInlineBytes;
    std::byte small_[kSmall && sum_bytes<S...> != 0 ? sum_bytes<S...> : 1]{};
    PackBuffer* large_{};
};

// ---- in the worker

/// The callable: found again by its address, made anew, or decoded.
template <class F>
F fetch_function(const TaskContext& context, std::span<const std::byte>& bytes) {
    if constexpr (is_function_pointer<F>) {
        return reinterpret_cast<F>(context.function());
    } else if constexpr (std::is_empty_v<F> && std::is_default_constructible_v<F>) {
        return F{};
    } else {
        return decode_value<F>(bytes);
    }
}

template <class F>
std::uint64_t function_word(const F& function) {
    if constexpr (is_function_pointer<F>) {
        return reinterpret_cast<std::uint64_t>(function);
    } else {
        return 0;
    }
}
template <class F>
inline constexpr bool travels_with_arguments =
    !is_function_pointer<F> && !(std::is_empty_v<F> && std::is_default_constructible_v<F>);

template <class R>
void store_result(TaskContext& context, const R& result) {
    if constexpr (Plain<R>) {
        context.result(plain_bytes<R>, [&result](std::byte* place) { store_plain(place, result); });
    } else {
        PackBuffer& buffer = pack_buffer();
        encode_value(buffer, result, {});
        context.result(buffer.bytes());
        shrink(buffer);
    }
}

template <class F, class Tuple, std::size_t... I>
decltype(auto) apply_stored(F& function, Tuple& arguments, std::index_sequence<I...>) {
    return call_with(function, std::get<I>(arguments)...);
}

/// One call: the arguments, then the result.
template <class F, class Tuple>
struct CallThunk;
template <class F, class... S>
struct CallThunk<F, std::tuple<S...>> {
    static void run(TaskContext& context) {
        std::span<const std::byte> bytes = context.arguments();
        F function = fetch_function<F>(context, bytes);
        std::tuple<S...> arguments{decode_value<S>(bytes)...};  // braces: from left to right
        using R = typename ResultOf<F, std::tuple<S...>>::Type;
        if constexpr (std::is_void_v<R>) {
            apply_stored(function, arguments, std::index_sequence_for<S...>{});
        } else {
            store_result<R>(context,
                            apply_stored(function, arguments, std::index_sequence_for<S...>{}));
        }
    }
};

/// Whether a map's item is one argument, or a tuple of them.
enum class Spread { one, tuple };

template <Spread kSpread, class F, class T>
decltype(auto) call_item(F& function, T& item) {
    if constexpr (kSpread == Spread::one) {
        return call_with(function, item);
    } else {
        return std::apply([&function](auto&... parts) { return call_with(function, parts...); },
                          item);
    }
}
template <Spread kSpread, class F, class T>
using ItemResult =
    std::decay_t<decltype(call_item<kSpread>(std::declval<F&>(), std::declval<T&>()))>;

/// A chunk of a map: items until the bytes end, then as many results.
template <Spread kSpread, class F, class T>
struct MapThunk {
    static void run(TaskContext& context) {
        std::span<const std::byte> bytes = context.arguments();
        F function = fetch_function<F>(context, bytes);
        using R = ItemResult<kSpread, F, T>;
        if constexpr (Plain<T> && Plain<R>) {
            if (bytes.size() == plain_bytes<T>) [[likely]] {  // the chunk is one item
                T item = decode_value<T>(bytes);
                store_result<R>(context, call_item<kSpread>(function, item));
                return;
            }
        }
        PackBuffer results;
        while (!bytes.empty()) {
            T item = decode_value<T>(bytes);
            if constexpr (std::is_void_v<R>) {
                call_item<kSpread>(function, item);
            } else {
                encode_value<R>(results, call_item<kSpread>(function, item), {});
            }
        }
        if constexpr (!std::is_void_v<R>) {
            context.result(results.bytes());
        }
    }
};

}  // namespace sluice::detail
