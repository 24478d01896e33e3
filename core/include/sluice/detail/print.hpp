// Prints values as Python spells them: {'a': [1, 2.5]}, ('x', None, True).
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <variant>

#include "sluice/detail/type_plain.hpp"
#include "sluice/detail/type_signature.hpp"

namespace sluice::detail {

template <class T>
concept Streams = requires(std::ostream& out, const T& value) {
    { out << value } -> std::same_as<std::ostream&>;
};
template <class T>
concept Listed = requires(const T& range) {
    typename T::value_type;
    range.begin();
    range.end();
};

template <class T>
consteval bool is_printable();

template <class... T>
consteval bool all_printable(TypeList<T...>) {
    return (is_printable<std::remove_cv_t<T>>() && ...);
}

template <class T>
consteval bool is_printable() {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T> ||
                  std::is_same_v<T, std::monostate> || std::is_convertible_v<T, std::string_view>) {
        return true;
    } else if constexpr (is_tuple_like<T> || is_a<T, std::optional> || is_a<T, std::variant>) {
        return all_printable(typename ArgumentsOf<T>::Type{});
    } else if constexpr (requires { typename T::mapped_type; }) {
        return is_printable<typename T::key_type>() && is_printable<typename T::mapped_type>();
    } else if constexpr (Listed<T>) {
        return is_printable<std::remove_cv_t<typename T::value_type>>();
    } else {
        return Streams<T>;
    }
}

template <class T>
concept Printable = is_printable<T>();

inline void print_text(std::ostream& out, std::string_view text) {
    const bool double_quotes =
        text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
    const char quote = double_quotes ? '"' : '\'';
    out << quote;
    for (const char character : text) {
        constexpr std::string_view kDigits = "0123456789abcdef";
        const auto code = static_cast<unsigned char>(character);
        if (character == quote || character == '\\') {
            out << '\\' << character;
        } else if (character == '\n') {
            out << "\\n";
        } else if (character == '\t') {
            out << "\\t";
        } else if (character == '\r') {
            out << "\\r";
        } else if (code < 0x20U || code == 0x7fU) {
            out << "\\x" << kDigits[code >> 4U] << kDigits[code & 0xfU];
        } else {
            out << character;
        }
    }
    out << quote;
}

template <class T>
void print_float(std::ostream& out, T value) {
    if (!std::isfinite(value)) {
        out << (std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    std::array<char, 64> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    const std::string_view digits(text.data(), static_cast<std::size_t>(end - text.data()));
    out << digits << (digits.find_first_of(".e") == std::string_view::npos ? ".0" : "");
}

template <class T>
void print_value(std::ostream& out, const T& value);

template <class Range, class Print>
void print_row(std::ostream& out, const Range& range, Print&& print) {
    const char* between = "";
    for (const auto& element : range) {
        out << between;
        print(element);
        between = ", ";
    }
}

template <class T>
void print_value(std::ostream& out, const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
        out << (value ? "True" : "False");
    } else if constexpr (std::is_same_v<T, char>) {
        print_text(out, std::string_view(&value, 1));
    } else if constexpr (std::is_integral_v<T>) {
        out << std::to_string(value);  // also where it is a character by another name
    } else if constexpr (std::is_floating_point_v<T>) {
        print_float(out, value);
    } else if constexpr (std::is_same_v<T, std::monostate>) {
        out << "None";
    } else if constexpr (std::is_convertible_v<T, std::string_view>) {
        print_text(out, value);
    } else if constexpr (is_a<T, std::optional>) {
        if (value) {
            print_value(out, *value);
        } else {
            out << "None";
        }
    } else if constexpr (is_a<T, std::variant>) {
        std::visit([&out](const auto& held) { print_value(out, held); }, value);
    } else if constexpr (is_tuple_like<T>) {
        const char* between = "";
        out << '(';
        std::apply(
            [&](const auto&... elements) {
                ((out << between, print_value(out, elements), between = ", "), ...);
            },
            value);
        out << (std::tuple_size_v<T> == 1 ? ",)" : ")");
    } else if constexpr (requires { typename T::mapped_type; }) {
        out << '{';
        print_row(out, value, [&out](const auto& entry) {
            print_value(out, entry.first);
            out << ": ";
            print_value(out, entry.second);
        });
        out << '}';
    } else if constexpr (Listed<T> && requires { typename T::key_type; }) {
        if (value.begin() == value.end()) {
            out << "set()";
            return;
        }
        out << '{';
        print_row(out, value, [&out](const auto& element) { print_value(out, element); });
        out << '}';
    } else if constexpr (Listed<T>) {
        using Element = std::remove_cv_t<typename T::value_type>;
        out << '[';
        print_row(out, value, [&out](const Element& element) { print_value(out, element); });
        out << ']';
    } else if constexpr (std::is_enum_v<T> && !Streams<T>) {
        print_value(out, static_cast<std::underlying_type_t<T>>(value));
    } else {
        out << value;
    }
}

/// The same as text; the type's name where it cannot be printed.
template <class T>
std::string printed(const T& value) {
    if constexpr (Printable<T>) {
        std::ostringstream out;
        print_value(out, value);
        return out.str();
    } else {
        return "of type " + type_description<T>();
    }
}

}  // namespace sluice::detail
