// The fields of an aggregate and their types, by structured bindings. Level 0 of core.
#pragma once

#include <type_traits>
#include <utility>

#include "sluice/detail/type_count.hpp"

namespace sluice::detail {

template <class... T>
struct TypeList {};

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
