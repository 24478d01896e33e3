// The names of a type's fields, where its author gives them: for tools that show messages.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace sluice {

/// Field names for schema<T>.
template <class... Name>
constexpr std::array<std::string_view, sizeof...(Name)> fields(const Name&... name) {
    return {std::string_view(name)...};
}

/// What the fields of T are called, in their order; without names they are told by position.
///
///     template <> inline constexpr auto sluice::schema<Order> = sluice::fields("price", "size");
///
/// The names become part of the type's text in each segment that carries T, so `sluice tap` shows
/// {"price":100,"size":2.5} without help of the program. They do not change the type's signature:
/// programs with and without names, or with other ones, understand each other. A text that gets
/// longer than its 127 characters in the segment is cut, and the message shown by position as far
/// as the text goes.
template <class T>
inline constexpr auto schema = fields();

}  // namespace sluice
