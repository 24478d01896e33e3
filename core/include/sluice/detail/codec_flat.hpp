// How plain values lie in a slot: trivially copyable ones as they are in memory; pairs and tuples,
// which the standard library does not make trivially copyable, element by element at computed
// offsets. Level 0 of core.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "sluice/detail/type_plain.hpp"

namespace sluice::detail {

constexpr std::size_t round_up(std::size_t bytes, std::size_t align) {
    return (bytes + align - 1) / align * align;
}

// One memcpy. T itself must be trivially copyable; pairs and tuples never are taken this way, so
// their layout does not depend on the standard library.
template <class T>
concept CopiedWhole = std::is_trivially_copyable_v<T> && !is_tuple_like<T> && !std::is_array_v<T>;

template <class T>
struct Flat;

template <class T>
consteval bool is_flat();

template <class... T>
consteval bool all_flat(TypeList<T...>) {
    return (is_flat<std::remove_cv_t<T>>() && ...);
}

// A field is loaded by assignment to a default-constructed aggregate.
template <class... T>
consteval bool all_assignable(TypeList<T...>) {
    return (std::is_copy_assignable_v<std::remove_all_extents_t<T>> && ...);
}

/// Whether store_plain and load_plain know how to lay T out.
template <class T>
consteval bool is_flat() {
    if constexpr (CopiedWhole<T>) {
        return true;
    } else if constexpr (is_tuple_like<T>) {
        return all_flat(typename ArgumentsOf<T>::Type{});
    } else if constexpr (is_a<T, std::optional>) {
        return is_flat<std::remove_cv_t<typename T::value_type>>();
    } else if constexpr (std::is_bounded_array_v<T>) {
        return is_flat<std::remove_cv_t<std::remove_extent_t<T>>>();
    } else if constexpr (is_std_array<T>) {
        return std::is_default_constructible_v<T> && std::is_copy_assignable_v<T> &&
               is_flat<typename T::value_type>();
    } else if constexpr (is_walkable<T>()) {
        return std::is_default_constructible_v<T> && all_assignable(FieldTypes<T>{}) &&
               all_flat(FieldTypes<T>{});
    } else {
        return false;
    }
}

template <CopiedWhole T>
struct Flat<T> {
    static constexpr std::size_t kBytes = sizeof(T);
    static constexpr std::size_t kAlign = alignof(T);

    static void store(std::byte* destination, const T& value) noexcept {
        std::memcpy(destination, std::addressof(value), sizeof(T));
    }
    static T load(const std::byte* source) noexcept {
        if constexpr (std::is_trivially_default_constructible_v<T>) {
            T value;
            std::memcpy(std::addressof(value), source, sizeof(T));
            return value;
        } else {
            // T need not have a default constructor: its bytes become one.
            struct alignas(T) Image {
                std::byte bytes[sizeof(T)];
            };
            Image image;
            std::memcpy(image.bytes, source, sizeof(T));
            return std::bit_cast<T>(image);
        }
    }
};

// Offsets of elements one after the other, each aligned as it asks, and the whole as its strictest.
template <class... T>
struct FlatSequence {
    static constexpr std::size_t kCount = sizeof...(T);
    static constexpr std::size_t kAlign = std::max({std::size_t{1}, Flat<T>::kAlign...});

    struct Offsets {
        std::array<std::size_t, kCount + 1> at{};
    };
    static constexpr Offsets kOffsets = [] {
        Offsets offsets;
        [[maybe_unused]] std::size_t end = 0;
        [[maybe_unused]] std::size_t i = 0;
        ((offsets.at[i] = round_up(end, Flat<T>::kAlign), end = offsets.at[i] + Flat<T>::kBytes,
          ++i),
         ...);
        offsets.at[kCount] = std::max(round_up(end, kAlign), std::size_t{1});
        return offsets;
    }();
    static constexpr std::size_t kBytes = kOffsets.at[kCount];
};

template <class T>
struct FlatTuple;
template <template <class...> class Tuple, class... T>
struct FlatTuple<Tuple<T...>> {
    using Sequence = FlatSequence<std::remove_cv_t<T>...>;
    static constexpr std::size_t kBytes = Sequence::kBytes;
    static constexpr std::size_t kAlign = Sequence::kAlign;

    static void store([[maybe_unused]] std::byte* destination, const Tuple<T...>& value) {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (Flat<std::remove_cv_t<T>>::store(destination + Sequence::kOffsets.at[I],
                                              std::get<I>(value)),
             ...);
        }
        (std::index_sequence_for<T...>{});
    }
    static Tuple<T...> load([[maybe_unused]] const std::byte* source) {
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            return Tuple<T...>{
                Flat<std::remove_cv_t<T>>::load(source + Sequence::kOffsets.at[I])...};
        }
        (std::index_sequence_for<T...>{});
    }
};

template <class T>
requires is_tuple_like<T>
struct Flat<T> : FlatTuple<T> {
};

// The value, then one byte that says whether it is there.
template <class E>
requires(!CopiedWhole<std::optional<E>>) struct Flat<std::optional<E>> {
    using Element = Flat<std::remove_cv_t<E>>;
    static constexpr std::size_t kAlign = Element::kAlign;
    static constexpr std::size_t kBytes = round_up(Element::kBytes + 1, kAlign);

    static void store(std::byte* destination, const std::optional<E>& value) {
        destination[Element::kBytes] = std::byte{value.has_value()};
        if (value) {
            Element::store(destination, *value);
        }
    }
    static std::optional<E> load(const std::byte* source) {
        if (source[Element::kBytes] == std::byte{0}) {
            return std::nullopt;
        }
        return std::optional<E>{std::in_place, Element::load(source)};
    }
};

// Loads a part of a larger object in place, which for a C array is the only way.
template <class T>
void load_field(T& field, const std::byte* source) {
    if constexpr (std::is_array_v<T>) {
        Flat<T>::load_into(field, source);
    } else {
        field = Flat<T>::load(source);
    }
}

// Elements of an array that is no value of its own: store_all and load_all work on N in a row.
template <class E, std::size_t N>
struct FlatArray {
    using Element = Flat<E>;
    static constexpr std::size_t kAlign = Element::kAlign;
    static constexpr std::size_t kStride = round_up(Element::kBytes, kAlign);
    static constexpr std::size_t kBytes = std::max(kStride * N, std::size_t{1});
};

template <class E, std::size_t N>
requires(!CopiedWhole<std::array<E, N>>) struct Flat<std::array<E, N>> : FlatArray<E, N> {
    using Array = FlatArray<E, N>;

    static void store(std::byte* destination, const std::array<E, N>& value) {
        for (std::size_t i = 0; i < N; ++i) {
            Flat<E>::store(destination + i * Array::kStride, value[i]);
        }
    }
    static std::array<E, N> load(const std::byte* source) {
        std::array<E, N> value{};
        for (std::size_t i = 0; i < N; ++i) {
            value[i] = Flat<E>::load(source + i * Array::kStride);
        }
        return value;
    }
};

// A C array is never a value of its own, only a field: it is loaded in place.
template <class E, std::size_t N>
requires(!CopiedWhole<E[N]>) struct Flat<E[N]> : FlatArray<std::remove_cv_t<E>, N> {
    using Array = FlatArray<std::remove_cv_t<E>, N>;

    static void store(std::byte* destination, const E (&value)[N]) {
        for (std::size_t i = 0; i < N; ++i) {
            Array::Element::store(destination + i * Array::kStride, value[i]);
        }
    }
    static void load_into(E (&value)[N], const std::byte* source) {
        for (std::size_t i = 0; i < N; ++i) {
            load_field(value[i], source + i * Array::kStride);
        }
    }
};

template <class T>
struct FlatFields;
template <class... Field>
struct FlatFields<TypeList<Field...>> : FlatSequence<std::remove_cv_t<Field>...> {
    using Sequence = FlatSequence<std::remove_cv_t<Field>...>;

    static void store_all(std::byte* destination, const Field&... field) {
        std::size_t i = 0;
        (Flat<std::remove_cv_t<Field>>::store(destination + Sequence::kOffsets.at[i++], field),
         ...);
    }
    static void load_all(const std::byte* source, Field&... field) {
        std::size_t i = 0;
        (load_field(field, source + Sequence::kOffsets.at[i++]), ...);
    }
};

// An aggregate that holds a pair or a tuple somewhere.
template <class T>
requires(!CopiedWhole<T> && is_walkable<T>() && !is_std_array<T>) struct Flat<T>
    : FlatFields<FieldTypes<T>> {
    using Fields = FlatFields<FieldTypes<T>>;

    static void store(std::byte* destination, const T& value) {
        with_fields(value, [destination](auto, const auto&... field) {
            Fields::store_all(destination, field...);
        });
    }
    static T load(const std::byte* source) {
        T value{};
        with_fields(value, [source](auto, auto&... field) { Fields::load_all(source, field...); });
        return value;
    }
};

}  // namespace sluice::detail
