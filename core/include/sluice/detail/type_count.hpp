// How many fields an aggregate has, as C++20 can find out. Level 0 of core: includes no other
// header of Sluice.
//
// Source: Boost.PFR counts by values that convert to anything; we count by {} first, because values
// fill a C array element by element (brace elision) and take long to compile for large ones.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace sluice::detail {

// More fields than this are not walked; the author's word (is_shareable) takes their place.
inline constexpr std::size_t kFieldCountMax = 32;

// Converts to a value of any type: stands for an initialiser whose type we do not know.
struct AnyValue {
    template <class T>
    operator T() const;  // NOLINT(google-explicit-constructor): the conversion is its purpose
};

// Converts to a reference to any type: initialises reference members, which AnyValue cannot.
struct AnyReference {
    template <class T>
    operator T&() const;  // NOLINT(google-explicit-constructor)
};

// Converts to the bases of T only, so it can initialise the first element of T only if that is a
// base.
template <class T>
struct AnyBaseOf {
    template <class Base>
    requires(std::is_base_of_v<Base, T> && !std::is_same_v<Base, T>) operator Base()
        const;  // NOLINT(google-explicit-constructor)
};

template <class T>
concept HasBase = requires {
    T{AnyBaseOf<T>{}};
};

template <class Any, std::size_t>
using Repeat = Any;

// N pairs of braces, then the tail. Braces stand for one field whatever its type, C arrays
// included, where a value would fill only the array's first element (brace elision).
template <class T, std::size_t N, class... Tail>
consteval bool takes_braces() {
    if constexpr (N == 0) {
        return requires {
            T{Tail{}...};
        };
    } else if constexpr (N == 1) {
        return requires {
            T{{}, Tail{}...};
        };
    } else if constexpr (N == 2) {
        return requires {
            T{{}, {}, Tail{}...};
        };
    } else if constexpr (N == 3) {
        return requires {
            T{{}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 4) {
        return requires {
            T{{}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 5) {
        return requires {
            T{{}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 6) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 7) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 8) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 9) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 10) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 11) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 12) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 13) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 14) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 15) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 16) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 17) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 18) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 19) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 20) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {},       {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 21) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 22) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},       {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 23) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 24) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},       {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 25) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 26) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},       {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 27) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 28) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},       {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 29) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 30) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},       {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 31) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 32) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},       {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else if constexpr (N == 33) {
        return requires {
            T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
              {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Tail{}...};
        };
    } else {
        return false;
    }
}

template <class T, class Any, std::size_t... I>
consteval bool takes_values(std::index_sequence<I...>) {
    return requires {
        T{Repeat<Any, I>{}...};
    };
}

// Before values, then Nested ones in braces of their own, then After values.
template <class T, class Any, std::size_t... Before, std::size_t... Nested, std::size_t... After>
consteval bool takes_nested(std::index_sequence<Before...>, std::index_sequence<Nested...>,
                            std::index_sequence<After...>) {
    return requires {
        T{Repeat<Any, Before>{}..., {Repeat<Any, Nested>{}...}, Repeat<Any, After>{}...};
    };
}

// The largest number of braces that T takes.
template <class T, std::size_t N = kFieldCountMax + 1>
consteval std::size_t count_braces() {
    if constexpr (N == 0 || takes_braces<T, N>()) {
        return N;
    } else {
        return count_braces<T, N - 1>();
    }
}

// The largest number of values that T takes: each element of a C array counts as one.
template <class T, class Any, std::size_t N = kFieldCountMax + 1>
consteval std::size_t count_values() {
    if constexpr (N == 0 || takes_values<T, Any>(std::make_index_sequence<N>{})) {
        return N;
    } else {
        return count_values<T, Any, N - 1>();
    }
}

// How many of the Total values the field at Position swallows: k for a C array of k elements.
// Braces around k values leave room for Total - Position - k more after an array, and for more than
// that after any other class.
template <class T, class Any, std::size_t Total, std::size_t Position, std::size_t K>
consteval std::size_t values_of_field() {
    if constexpr (K <= 1) {
        return 1;
    } else {
        using Before = std::make_index_sequence<Position>;
        using Nested = std::make_index_sequence<K>;
        constexpr std::size_t rest = Total - Position - K;
        if constexpr (takes_nested<T, Any>(Before{}, Nested{}, std::make_index_sequence<rest>{}) &&
                      !takes_nested<T, Any>(Before{}, Nested{},
                                            std::make_index_sequence<rest + 1>{})) {
            return K;
        } else {
            return values_of_field<T, Any, Total, Position, K - 1>();
        }
    }
}

template <class T, class Any, std::size_t Total, std::size_t Position = 0>
consteval std::size_t count_fields_of_values() {
    if constexpr (Position >= Total) {
        return 0;
    } else {
        constexpr std::size_t swallowed =
            values_of_field<T, Any, Total, Position, Total - Position>();
        return 1 + count_fields_of_values<T, Any, Total, Position + swallowed>();
    }
}

/// The number of fields of an aggregate without bases; kFieldCountMax + 1 stands for more than
/// kFieldCountMax.
template <class T>
consteval std::size_t field_count() {
    if constexpr (std::is_empty_v<T>) {
        return 0;
    } else {
        constexpr std::size_t braces = count_braces<T>();
        // A field that {} cannot initialise (a reference, a class without default constructor)
        // hides itself and all that follow it; then the values are counted instead.
        if constexpr (braces > kFieldCountMax ||
                      (braces != 0 && !takes_braces<T, braces, AnyReference>() &&
                       !takes_braces<T, braces, AnyValue>())) {
            return braces;
        } else {
            constexpr std::size_t values = count_values<T, AnyValue>();
            constexpr std::size_t references = count_values<T, AnyReference>();
            if constexpr (values > kFieldCountMax || references > kFieldCountMax) {
                return kFieldCountMax + 1;
            } else if constexpr (values >= references) {
                return count_fields_of_values<T, AnyValue, values>();
            } else {
                return count_fields_of_values<T, AnyReference, references>();
            }
        }
    }
}

/// True for the classes whose fields can be named one by one: aggregates without bases, of at most
/// kFieldCountMax fields. (An aggregate with an anonymous union does not compile here; is_shareable
/// says that it need not be walked.)
template <class T>
consteval bool is_walkable() {
    if constexpr (std::is_class_v<T> && std::is_aggregate_v<T>) {
        if constexpr (HasBase<T>) {
            return false;
        } else {
            return field_count<T>() <= kFieldCountMax;
        }
    } else {
        return false;
    }
}

}  // namespace sluice::detail
