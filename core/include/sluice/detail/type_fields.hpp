// The fields of an aggregate, as C++20 can see them: how many there are, and references to them.
// Level 0 of core: includes no other header of Sluice.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace sluice::detail {

template <class... T>
struct TypeList {};

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

// Calls use(types, fields...) with the declared types (references stay references) and the fields.
template <class T, class Use>
constexpr decltype(auto) with_fields(T& value, Use&& use) {
    constexpr std::size_t count = field_count<std::remove_const_t<T>>();
    if constexpr (count == 0) {
        return use(TypeList<>{});
    } else if constexpr (count == 1) {
        auto& [f1] = value;
        return use(TypeList<decltype(f1)>{}, f1);
    } else if constexpr (count == 2) {
        auto& [f1, f2] = value;
        return use(TypeList<decltype(f1), decltype(f2)>{}, f1, f2);
    } else if constexpr (count == 3) {
        auto& [f1, f2, f3] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3)>{}, f1, f2, f3);
    } else if constexpr (count == 4) {
        auto& [f1, f2, f3, f4] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4)>{}, f1, f2, f3,
                   f4);
    } else if constexpr (count == 5) {
        auto& [f1, f2, f3, f4, f5] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5)>{},
                   f1, f2, f3, f4, f5);
    } else if constexpr (count == 6) {
        auto& [f1, f2, f3, f4, f5, f6] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6)>{},
                   f1, f2, f3, f4, f5, f6);
    } else if constexpr (count == 7) {
        auto& [f1, f2, f3, f4, f5, f6, f7] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7)>{},
                   f1, f2, f3, f4, f5, f6, f7);
    } else if constexpr (count == 8) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8);
    } else if constexpr (count == 9) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9);
    } else if constexpr (count == 10) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10);
    } else if constexpr (count == 11) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11);
    } else if constexpr (count == 12) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11), decltype(f12)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12);
    } else if constexpr (count == 13) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11), decltype(f12), decltype(f13)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13);
    } else if constexpr (count == 14) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11), decltype(f12), decltype(f13), decltype(f14)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14);
    } else if constexpr (count == 15) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15);
    } else if constexpr (count == 16) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11), decltype(f12), decltype(f13), decltype(f14),
                            decltype(f15), decltype(f16)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16);
    } else if constexpr (count == 17) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11), decltype(f12), decltype(f13), decltype(f14),
                            decltype(f15), decltype(f16), decltype(f17)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17);
    } else if constexpr (count == 18) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18] =
            value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11), decltype(f12), decltype(f13), decltype(f14),
                            decltype(f15), decltype(f16), decltype(f17), decltype(f18)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18);
    } else if constexpr (count == 19) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18,
               f19] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19);
    } else if constexpr (count == 20) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20);
    } else if constexpr (count == 21) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11), decltype(f12), decltype(f13), decltype(f14),
                            decltype(f15), decltype(f16), decltype(f17), decltype(f18),
                            decltype(f19), decltype(f20), decltype(f21)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18,
                   f19, f20, f21);
    } else if constexpr (count == 22) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11), decltype(f12), decltype(f13), decltype(f14),
                            decltype(f15), decltype(f16), decltype(f17), decltype(f18),
                            decltype(f19), decltype(f20), decltype(f21), decltype(f22)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18,
                   f19, f20, f21, f22);
    } else if constexpr (count == 23) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20),
                     decltype(f21), decltype(f22), decltype(f23)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23);
    } else if constexpr (count == 24) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23, f24] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20),
                     decltype(f21), decltype(f22), decltype(f23), decltype(f24)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23, f24);
    } else if constexpr (count == 25) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23, f24, f25] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20),
                     decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23, f24, f25);
    } else if constexpr (count == 26) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23, f24, f25, f26] = value;
        return use(TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                            decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                            decltype(f11), decltype(f12), decltype(f13), decltype(f14),
                            decltype(f15), decltype(f16), decltype(f17), decltype(f18),
                            decltype(f19), decltype(f20), decltype(f21), decltype(f22),
                            decltype(f23), decltype(f24), decltype(f25), decltype(f26)>{},
                   f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18,
                   f19, f20, f21, f22, f23, f24, f25, f26);
    } else if constexpr (count == 27) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23, f24, f25, f26, f27] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20),
                     decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25),
                     decltype(f26), decltype(f27)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23, f24, f25, f26, f27);
    } else if constexpr (count == 28) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23, f24, f25, f26, f27, f28] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20),
                     decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25),
                     decltype(f26), decltype(f27), decltype(f28)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23, f24, f25, f26, f27, f28);
    } else if constexpr (count == 29) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23, f24, f25, f26, f27, f28, f29] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20),
                     decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25),
                     decltype(f26), decltype(f27), decltype(f28), decltype(f29)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23, f24, f25, f26, f27, f28, f29);
    } else if constexpr (count == 30) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23, f24, f25, f26, f27, f28, f29, f30] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20),
                     decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25),
                     decltype(f26), decltype(f27), decltype(f28), decltype(f29), decltype(f30)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23, f24, f25, f26, f27, f28, f29, f30);
    } else if constexpr (count == 31) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23, f24, f25, f26, f27, f28, f29, f30, f31] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20),
                     decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25),
                     decltype(f26), decltype(f27), decltype(f28), decltype(f29), decltype(f30),
                     decltype(f31)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23, f24, f25, f26, f27, f28, f29, f30, f31);
    } else if constexpr (count == 32) {
        auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
               f20, f21, f22, f23, f24, f25, f26, f27, f28, f29, f30, f31, f32] = value;
        return use(
            TypeList<decltype(f1), decltype(f2), decltype(f3), decltype(f4), decltype(f5),
                     decltype(f6), decltype(f7), decltype(f8), decltype(f9), decltype(f10),
                     decltype(f11), decltype(f12), decltype(f13), decltype(f14), decltype(f15),
                     decltype(f16), decltype(f17), decltype(f18), decltype(f19), decltype(f20),
                     decltype(f21), decltype(f22), decltype(f23), decltype(f24), decltype(f25),
                     decltype(f26), decltype(f27), decltype(f28), decltype(f29), decltype(f30),
                     decltype(f31), decltype(f32)>{},
            f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23, f24, f25, f26, f27, f28, f29, f30, f31, f32);
    }
}

struct ListOfTypes {
    template <class... Field, class... Value>
    constexpr TypeList<Field...> operator()(TypeList<Field...> types, const Value&...) const {
        return types;
    }
};

/// The declared types of the fields of a walkable T, as a TypeList.
template <class T>
using FieldTypes = decltype(with_fields(std::declval<T&>(), ListOfTypes{}));

}  // namespace sluice::detail
