// What can be called in another process: by its place in the image, or made anew from its type.
#pragma once

#include <type_traits>

namespace sluice::detail {

template <class F>
inline constexpr bool is_function_pointer =
    std::is_pointer_v<F>&& std::is_function_v<std::remove_pointer_t<F>>;

// A lambda without captures, or another object without state: any other of its type will do.
template <class F>
inline constexpr bool is_stateless =
    std::is_empty_v<F>&& std::is_trivially_copyable_v<F>&& std::is_default_constructible_v<F>;

}  // namespace sluice::detail
