// A name and a 64-bit signature for the layout of any type, equal whichever compiler built the
// program. Level 0 of core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "sluice/detail/type_name.hpp"
#include "sluice/detail/type_plain.hpp"
#include "sluice/schema.hpp"

namespace sluice {

namespace detail {

// FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ - not against enemies, only against mistakes.
class Fnv {
 public:
    constexpr void add(std::string_view text) {
        for (const char c : text) {
            add_byte(static_cast<unsigned char>(c));
        }
        add_byte(0);  // so that "ab", "c" and "a", "bc" differ
    }
    constexpr void add(std::uint64_t number) {
        for (int i = 0; i < 8; ++i) {
            add_byte(number >> (8 * i) & 0xff);
        }
    }
    [[nodiscard]] constexpr std::uint64_t value() const { return value_; }

 private:
    constexpr void add_byte(std::uint64_t byte) { value_ = (value_ ^ byte) * 0x100000001b3U; }

    std::uint64_t value_{0xcbf29ce484222325U};
};

// Writes the same walk as readable text.
class Text {
 public:
    void add(std::string_view text) { value_ += text; }
    void add(std::uint64_t number) { value_ += std::to_string(number); }
    [[nodiscard]] const std::string& value() const { return value_; }

 private:
    std::string value_;
};

// Has the shape that MSGPACK_DEFINE calls, without msgpack.
struct AnyPacker {};

template <class T>
concept DefinesPacking = requires(const T& value, AnyPacker& packer) {
    value.msgpack_pack(packer);
};

template <class T>
concept Range = requires(const T& range) {
    typename T::value_type;
    range.begin();
    range.end();
};

template <class T>
consteval std::string_view arithmetic_name() {
    constexpr std::size_t size = sizeof(T);
    if constexpr (std::is_same_v<T, bool>) {
        return "bool";
    } else if constexpr (std::is_same_v<T, char>) {
        return "char";
    } else if constexpr (std::is_same_v<T, char8_t> || std::is_same_v<T, char16_t> ||
                         std::is_same_v<T, char32_t> || std::is_same_v<T, wchar_t>) {
        return size == 1 ? "char8" : size == 2 ? "char16" : "char32";
    } else if constexpr (std::is_floating_point_v<T>) {
        return size == 4 ? "float32" : size == 8 ? "float64" : "float128";
    } else if constexpr (std::is_signed_v<T>) {
        return size == 1   ? "int8"
               : size == 2 ? "int16"
               : size == 4 ? "int32"
               : size == 8 ? "int64"
                           : "int128";
    } else {
        return size == 1   ? "uint8"
               : size == 2 ? "uint16"
               : size == 4 ? "uint32"
               : size == 8 ? "uint64"
                           : "uint128";
    }
}

template <class T, class Out>
constexpr void describe(Out& out);

template <class Out, class... T>
constexpr void describe_all(Out& out, TypeList<T...>) {
    [[maybe_unused]] bool first = true;
    ((first ? void() : out.add(", "), first = false, describe<std::remove_cv_t<T>>(out)), ...);
}

// The fields of T by the names that its author gave them.
template <class T, class Out, class... Field>
constexpr void describe_fields(Out& out, TypeList<Field...> all) {
    if constexpr (std::is_same_v<Out, Text> && schema<T>.size() != 0) {
        static_assert(schema<T>.size() == sizeof...(Field),
                      "sluice: schema<T> gives as many names as T has fields");
        std::size_t index = 0;
        ((out.add(index == 0 ? "" : ", "), out.add(schema<T>[index++]), out.add(": "),
          describe<std::remove_cv_t<Field>>(out)),
         ...);
    } else {
        describe_all(out, all);
    }
}

template <class T>
consteval std::string_view without_std() {
    constexpr std::string_view name = type_name<T>;
    constexpr std::string_view prefix{"std::"};
    return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

// What else distinguishes a class whose inside is not walked. A type in its name only (a tag,
// perhaps never defined) has no size.
template <class T, class Out>
constexpr void describe_opaque(Out& out) {
    out.add(type_name<T>);
    using Arguments = typename ArgumentsOf<T>::Type;
    if constexpr (!std::is_same_v<Arguments, TypeList<>>) {
        out.add("<");
        describe_all(out, Arguments{});
        out.add(">");
    }
}

template <class T, class Out>
constexpr void describe_extents(Out& out) {
    if constexpr (std::is_array_v<T>) {
        out.add("[");
        out.add(std::uint64_t{std::extent_v<T>});
        out.add("]");
        describe_extents<std::remove_extent_t<T>>(out);
    }
}

template <class T, class Out>
constexpr void describe(Out& out) {
    if constexpr (!std::is_object_v<T>) {
        out.add(std::is_void_v<T> ? "void" : "function or reference");
    } else if constexpr (std::is_arithmetic_v<T>) {
        out.add(arithmetic_name<T>());
    } else if constexpr (std::is_same_v<T, std::byte>) {
        out.add("byte");
    } else if constexpr (std::is_same_v<T, std::monostate>) {
        out.add("monostate");
    } else if constexpr (std::is_enum_v<T>) {
        out.add("enum ");
        if constexpr (std::is_same_v<Out, Text>) {
            out.add(type_name<T>);
            out.add(": ");
        }
        out.add(arithmetic_name<std::underlying_type_t<T>>());
    } else if constexpr (std::is_pointer_v<T> || std::is_member_pointer_v<T>) {
        out.add("pointer");
    } else if constexpr (std::is_bounded_array_v<T>) {
        describe<std::remove_cv_t<std::remove_all_extents_t<T>>>(out);
        describe_extents<T>(out);
    } else if constexpr (is_std_array<T>) {
        out.add("array<");
        describe<std::remove_cv_t<typename T::value_type>>(out);
        out.add(", ");
        out.add(std::uint64_t{std::tuple_size_v<T>});
        out.add(">");
    } else if constexpr (is_bitset<T>) {
        out.add("bitset<");
        out.add(std::uint64_t{T{}.size()});
        out.add(">");
    } else if constexpr (is_a<T, std::chrono::duration>) {
        out.add("duration<");
        describe<typename T::rep>(out);
        out.add(", ");
        out.add(static_cast<std::uint64_t>(T::period::num));
        out.add("/");
        out.add(static_cast<std::uint64_t>(T::period::den));
        out.add(">");
    } else if constexpr (is_a<T, std::chrono::time_point>) {
        out.add(type_name<typename T::clock>);
        out.add("::time_point<");
        describe<typename T::duration>(out);
        out.add(">");
    } else if constexpr (type_name<T> == "std::basic_string") {
        out.add("string");
        if constexpr (!std::is_same_v<typename T::value_type, char>) {
            out.add("<");
            describe<typename T::value_type>(out);
            out.add(">");
        }
    } else if constexpr (type_name<T>.starts_with("std::") && Range<T>) {
        // Comparators, hashes and allocators do not travel.
        out.add(without_std<T>());
        out.add("<");
        if constexpr (requires { typename T::mapped_type; }) {
            describe_all(out, TypeList<typename T::key_type, typename T::mapped_type>{});
        } else {
            describe<std::remove_cv_t<typename T::value_type>>(out);
        }
        out.add(">");
    } else if constexpr (is_tuple_like<T> || is_a<T, std::optional> || is_a<T, std::variant>) {
        out.add(without_std<T>());
        out.add("<");
        describe_all(out, typename ArgumentsOf<T>::Type{});
        out.add(">");
    } else if constexpr (!requires { sizeof(T); }) {
        describe_opaque<T>(out);
    } else if constexpr (is_shareable<T> && is_walkable<T>()) {
        // Same fields under another name are the same layout, so the name is in the text only.
        if constexpr (std::is_same_v<Out, Text>) {
            out.add(type_name<T>);
        }
        out.add("{");
        describe_fields<T>(out, FieldTypes<T>{});
        out.add("}");
        if constexpr (std::is_same_v<Out, Fnv>) {
            out.add(std::uint64_t{sizeof(T)});
            out.add(std::uint64_t{alignof(T)});
        }
    } else {
        describe_opaque<T>(out);
        if constexpr (std::is_same_v<Out, Fnv> && std::is_trivially_copyable_v<T>) {
            out.add(std::uint64_t{sizeof(T)});
            out.add(std::uint64_t{alignof(T)});
        }
    }
}

}  // namespace detail

/// A 64-bit hash of how a T is laid out or packed; equal for g++ and clang++. Aggregates and
/// standard classes count by structure, other classes by their name (which should be one at
/// namespace scope).
template <class T>
[[nodiscard]] consteval std::uint64_t type_signature() {
    detail::Fnv hash;
    detail::describe<std::remove_cv_t<T>>(hash);
    return hash.value();
}

/// The type in words, for messages: "vector<string>", "int64", "my::Order{int64, float64}".
template <class T>
[[nodiscard]] std::string type_description() {
    detail::Text text;
    detail::describe<std::remove_cv_t<T>>(text);
    return text.value();
}

}  // namespace sluice
