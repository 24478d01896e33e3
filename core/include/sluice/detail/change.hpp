// What update() of a Dict or a List is given: a function that changes a value in place, or returns
// the new one.
#pragma once

#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace sluice::detail {

template <class F>
concept HasOneCall = requires {
    &F::operator();
};

/// Whether it wants an optional, which is empty where there is no value. A generic function is not
/// asked: the question would compile its body with an optional.
template <class F, class V>
consteval bool wants_optional() {
    if constexpr (HasOneCall<std::remove_cvref_t<F>> ||
                  std::is_function_v<std::remove_pointer_t<std::remove_cvref_t<F>>>) {
        return std::is_invocable_v<F&, std::optional<V>&> &&
               (!std::is_invocable_v<F&, V&> || std::is_invocable_v<F&, std::nullopt_t>);
    } else {
        return false;
    }
}

/// Applies `change` to the value: in place, or by what it returns where it takes it by value.
template <class V, class F>
void apply_change(F& change, V& value) {
    if constexpr (std::is_void_v<std::invoke_result_t<F&, V&>>) {
        std::invoke(change, value);
    } else if constexpr (!HasOneCall<std::remove_cvref_t<F>>) {
        if constexpr (std::is_convertible_v<std::invoke_result_t<F&, V&>, V>) {
            value = std::invoke(change, value);
        } else {
            static_cast<void>(std::invoke(change, value));
        }
    } else if constexpr (std::is_invocable_v<F&, const V&>) {
        static_assert(std::is_convertible_v<std::invoke_result_t<F&, const V&>, V>,
                      "sluice: what update() is given changes the value in place (V&), or returns "
                      "the new one");
        value = std::invoke(change, std::as_const(value));
    } else {
        static_cast<void>(std::invoke(change, value));
    }
}

}  // namespace sluice::detail
