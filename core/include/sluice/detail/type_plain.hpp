// What a type is made of, as far as C++20 can see: whether its bytes mean the same in another
// process. Level 0 of core.
#pragma once

#include <array>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "sluice/detail/type_fields.hpp"
#include "sluice/detail/type_name.hpp"

namespace sluice {

namespace detail {
template <class T>
consteval bool is_visibly_plain();
}  // namespace detail

/// Whether the bytes of T mean the same in every process: no pointer, reference or view at any
/// depth. Worked out for what C++20 can see: arithmetic types, enumerations, arrays, optional,
/// pair, tuple, variant, bitset, complex, chrono's durations and time points, and aggregates
/// without bases, field by field. For any other trivially copyable class it is the author's word:
/// `template <> inline constexpr bool sluice::is_shareable<my::Price> = true;`
template <class T>
inline constexpr bool is_shareable = detail::is_visibly_plain<T>();

namespace detail {

template <class T, template <class...> class Template>
inline constexpr bool is_a = false;
template <template <class...> class Template, class... Args>
inline constexpr bool is_a<Template<Args...>, Template> = true;

template <class T>
inline constexpr bool is_std_array = false;
template <class E, std::size_t N>
inline constexpr bool is_std_array<std::array<E, N>> = true;

template <class T>
inline constexpr bool is_bitset = false;
template <std::size_t N>
inline constexpr bool is_bitset<std::bitset<N>> = true;

template <class T>
inline constexpr bool is_tuple_like = is_a<T, std::pair> || is_a<T, std::tuple>;

// By name, because <complex> is a heavy header for those who do not use it.
template <class T>
inline constexpr bool is_complex = std::is_class_v<T>&& type_name<T> == "std::complex";

template <class T>
inline constexpr bool is_function_or_member_pointer =
    std::is_function_v<T> || std::is_member_pointer_v<T>;

// Never plain and never packable, whatever is_shareable says.
template <class T>
inline constexpr bool is_pointer_like =
    std::is_pointer_v<T> || std::is_reference_v<T> || std::is_null_pointer_v<T> ||
    is_function_or_member_pointer<T>;

// The arguments of a class template; the fields of an aggregate.
template <class T>
struct ArgumentsOf {
    using Type = TypeList<>;
};
template <template <class...> class Template, class... Args>
struct ArgumentsOf<Template<Args...>> {
    using Type = TypeList<Args...>;
};

template <class... T>
consteval bool all_shareable(TypeList<T...>) {
    return (is_shareable<std::remove_cv_t<T>> && ...);
}

template <class... T>
consteval bool all_trivially_copyable(TypeList<T...>) {
    return (std::is_trivially_copyable_v<T> && ...);
}

template <class T>
consteval bool is_visibly_plain() {
    if constexpr (!std::is_same_v<T, std::remove_cv_t<T>> || is_pointer_like<T> ||
                  std::is_void_v<T>) {
        return false;
    } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T> || is_bitset<T>) {
        return true;
    } else if constexpr (std::is_bounded_array_v<T>) {
        return is_shareable<std::remove_cv_t<std::remove_all_extents_t<T>>>;
    } else if constexpr (is_std_array<T> || is_a<T, std::optional> || is_complex<T>) {
        return is_shareable<std::remove_cv_t<typename T::value_type>>;
    } else if constexpr (is_tuple_like<T>) {
        return all_shareable(typename ArgumentsOf<T>::Type{});
    } else if constexpr (is_a<T, std::variant>) {
        using Alternatives = typename ArgumentsOf<T>::Type;
        return all_trivially_copyable(Alternatives{}) && all_shareable(Alternatives{});
    } else if constexpr (is_a<T, std::chrono::duration> || is_a<T, std::chrono::time_point>) {
        return is_shareable<typename T::rep>;
    } else if constexpr (is_walkable<T>()) {
        return all_shareable(FieldTypes<T>{});
    } else {
        return false;
    }
}

// The classes of the standard library that refer to memory which they do not carry with them.
template <class T>
inline constexpr bool is_std_reference =
    type_name<T> == "std::basic_string_view" || type_name<T> == "std::span" ||
    type_name<T> == "std::unique_ptr" || type_name<T> == "std::shared_ptr" ||
    type_name<T> == "std::weak_ptr" || type_name<T> == "std::reference_wrapper" ||
    type_name<T> == "std::function" || type_name<T> == "std::initializer_list" ||
    type_name<T> == "std::any" || type_name<T> == "std::coroutine_handle";

// What smart pointers and views have in common: an element_type that is not their value.
template <class T>
concept NamesElementType = requires {
    typename T::element_type;
};

template <class T, class... Seen>
consteval bool holds_view();

template <class... Seen, class... T>
consteval bool any_holds_view(TypeList<Seen...>, TypeList<T...>) {
    return (holds_view<T, Seen...>() || ...);
}

/// Whether a pointer, a reference or a view can be seen in T at any depth, through containers too.
/// Seen are the classes around it, for types like `struct Node { std::vector<Node> children; }`.
template <class T, class... Seen>
consteval bool holds_view() {
    using U = std::remove_cv_t<T>;
    if constexpr ((std::is_same_v<U, Seen> || ...)) {
        return false;
    } else if constexpr (is_pointer_like<U>) {
        return true;
    } else if constexpr (std::is_array_v<U>) {
        return holds_view<std::remove_all_extents_t<U>, Seen...>();
    } else if constexpr (is_std_array<U>) {
        return holds_view<typename U::value_type, Seen...>();
    } else if constexpr (!std::is_class_v<U>) {
        return false;
    } else if constexpr (is_std_reference<U>) {
        return true;
    } else if constexpr (type_name<U>.starts_with("std::")) {
        return any_holds_view(TypeList<Seen..., U>{}, typename ArgumentsOf<U>::Type{});
    } else if constexpr (requires { sizeof(U); }) {
        if constexpr (is_shareable<U>) {
            return false;
        } else if constexpr (is_walkable<U>()) {
            return any_holds_view(TypeList<Seen..., U>{}, FieldTypes<U>{});
        } else {
            return NamesElementType<U>;
        }
    } else {
        return false;
    }
}

}  // namespace detail
}  // namespace sluice
