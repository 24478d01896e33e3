// Values to and from msgpack, type by type. Packing and checking are ours, so that what the
// compiler can see is refused at any depth; the format, the parser and the numbers are
// msgpack-cxx's. Level 0 of core; for sluice/msgpack.hpp only.
//
// Why not msgpack's own adaptors throughout: its as<std::tuple> and as<std::array> (4.1.3) read
// beyond a message that has too few elements, and it has none for std::variant, for durations, or
// for an enumeration without a macro.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <msgpack.hpp>
#include <optional>
#include <ratio>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "sluice/codec.hpp"

namespace sluice {

/// Whether a class can be packed by msgpack: worked out from MSGPACK_DEFINE. For a class with
/// adaptors of its own (msgpack::adaptor::pack and convert) it is the author's word: `template <>
/// inline constexpr bool sluice::is_packable<my::Price> = true;`
template <class T>
inline constexpr bool is_packable = detail::DefinesPacking<T>;

namespace detail {

template <class T>
inline constexpr bool is_byte_like =
    std::is_same_v<T, char> || std::is_same_v<T, unsigned char> || std::is_same_v<T, std::byte>;

// std::vector<bool> and its like have no byte_like element and are packed one by one.
template <class T>
concept ByteRange = Range<T> && is_byte_like<typename T::value_type> && requires(const T& range) {
    range.data();
} && !std::is_same_v<T, std::string>;

template <class T>
inline constexpr bool is_std_class = std::is_class_v<T>&& type_name<T>.starts_with("std::");

template <class T>
concept StdMap = is_std_class<T> && Range<T> && requires {
    typename T::mapped_type;
};

template <class T>
concept StdSet = is_std_class<T> && Range<T> && !StdMap<T> && requires {
    typename T::key_type;
};

template <class T>
concept StdSequence = is_std_class<T> && Range<T> && !StdMap<T> && !StdSet<T> && !is_std_array<T> &&
                      requires(T & range, typename T::value_type value) {
    range.push_back(std::move(value));
}
&&type_name<T> != "std::basic_string";

template <class T>
inline constexpr bool is_wide_character =
    std::is_same_v<T, wchar_t> || std::is_same_v<T, char8_t> || std::is_same_v<T, char16_t> ||
    std::is_same_v<T, char32_t>;

template <class T>
inline constexpr bool is_wire_number = (std::is_integral_v<T> && sizeof(T) <= 8 &&
                                        !is_wide_character<T>) ||
                                       std::is_same_v<T, float> || std::is_same_v<T, double>;

template <class T>
consteval bool has_wire_form();

template <class... T>
consteval bool all_have_wire_form(TypeList<T...>) {
    return (has_wire_form<std::remove_cv_t<T>>() && ...);
}

// Whether T has a wire form, as far as its structure shows; holds_view is asked separately.
template <class T>
consteval bool has_wire_form() {
    if constexpr (is_wire_number<T> || std::is_enum_v<T> || std::is_same_v<T, std::string> ||
                  std::is_same_v<T, std::monostate>) {
        return true;
    } else if constexpr (std::is_bounded_array_v<T>) {
        return has_wire_form<std::remove_cv_t<std::remove_all_extents_t<T>>>();
    } else if constexpr (!std::is_class_v<T>) {
        return false;
    } else if constexpr (is_packable<T>) {
        return true;
    } else if constexpr (StdMap<T>) {
        return all_have_wire_form(TypeList<typename T::key_type, typename T::mapped_type>{});
    } else if constexpr (StdSet<T> || StdSequence<T> || is_std_array<T> || is_complex<T> ||
                         is_a<T, std::optional>) {
        return has_wire_form<std::remove_cv_t<typename T::value_type>>();
    } else if constexpr (is_tuple_like<T> || is_a<T, std::variant>) {
        return all_have_wire_form(typename ArgumentsOf<T>::Type{});
    } else if constexpr (is_a<T, std::chrono::duration>) {
        return is_wire_number<typename T::rep>;
    } else if constexpr (is_a<T, std::chrono::time_point>) {
#if defined(MSGPACK_NO_BOOST)
        return false;  // msgpack's adaptor for time points needs Boost
#else
        return std::is_integral_v<typename T::rep> &&
               std::ratio_greater_equal_v<typename T::period, std::nano>;
#endif
    } else {
        return false;
    }
}

/// What Packer<T> accepts.
template <class T>
consteval bool is_wire_packable() {
    if constexpr (!std::is_object_v<T> || std::is_const_v<T> || std::is_volatile_v<T>) {
        return false;
    } else {
        return has_wire_form<T>() && !holds_view<T>();
    }
}

template <class... T>
consteval bool all_decode_safely(TypeList<T...>);

// Members of MSGPACK_DEFINE classes are decoded by msgpack itself, whose as<> for tuples and arrays
// does not check the number of elements. It uses as<> only if an element has one (time points, wide
// strings).
template <class T>
consteval bool decodes_safely() {
    if constexpr ((is_a<T, std::tuple> || is_std_array<T>)&&msgpack::has_as<T>::value) {
        return false;
    } else if constexpr (is_std_class<T>) {
        return all_decode_safely(typename ArgumentsOf<T>::Type{});
    } else {
        return true;
    }
}

template <class... T>
consteval bool all_decode_safely(TypeList<T...>) {
    return (decodes_safely<T>() && ...);
}

template <class Packer, class T>
void pack_value(Packer& packer, const T& value);

// What MSGPACK_DEFINE calls for each member: a packer that looks at their types first. Plain
// classes hide nothing from holds_view; this one sees into those with private members too.
class CheckedPacker : public msgpack::packer<PackBuffer> {
 public:
    using msgpack::packer<PackBuffer>::packer;

    template <class T>
    CheckedPacker& pack(const T& member) {
        if constexpr (holds_view<T>()) {
            static_assert(
                !holds_view<T>(),
                "sluice: a member named in MSGPACK_DEFINE holds a pointer, a reference or "
                "a view, which mean nothing in another process");
        } else if constexpr (!has_wire_form<T>()) {
            static_assert(
                has_wire_form<T>(),
                "sluice: a member named in MSGPACK_DEFINE is not packable: give its class "
                "MSGPACK_DEFINE too");
        } else {
            static_assert(
                decodes_safely<T>(),
                "sluice: inside a MSGPACK_DEFINE class, msgpack does not decode a tuple or "
                "std::array of time points safely; use a struct with MSGPACK_DEFINE");
            pack_value(*this, member);
        }
        return *this;
    }
};

inline std::uint32_t wire_count(std::size_t count) {
    return msgpack::checked_get_container_size(count);
}

// The packer as msgpack knows it: CheckedPacker's own pack() would come back to pack_value.
template <class Stream>
msgpack::packer<Stream>& plainly(msgpack::packer<Stream>& packer) {
    return packer;
}

template <class Packer>
void pack_bytes(Packer& packer, const void* data, std::size_t bytes) {
    packer.pack_bin(wire_count(bytes));
    packer.pack_bin_body(static_cast<const char*>(data), wire_count(bytes));
}

// msgpack's timestamp counts in nanoseconds, and its adaptor divides by zero for minutes and
// longer.
template <class Clock, class Duration>
std::chrono::time_point<Clock, std::chrono::nanoseconds> in_nanoseconds(
    std::chrono::time_point<Clock, Duration> time) {
    using Limits = std::chrono::time_point<Clock, std::chrono::nanoseconds>;
    constexpr auto kLowest = std::chrono::ceil<Duration>(Limits::min());
    constexpr auto kHighest = std::chrono::floor<Duration>(Limits::max());
    if (time < kLowest || time > kHighest) {
        throw std::out_of_range(
            "sluice: time point lies outside what 64-bit nanoseconds can count");
    }
    return std::chrono::time_point_cast<std::chrono::nanoseconds>(time);
}

template <class Packer, class T>
void pack_value(Packer& packer, const T& value) {
    if constexpr (is_wire_number<T>) {
        plainly(packer).pack(value);
    } else if constexpr (std::is_enum_v<T>) {
        plainly(packer).pack(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::is_same_v<T, std::monostate>) {
        packer.pack_nil();
    } else if constexpr (std::is_bounded_array_v<T>) {
        if constexpr (is_byte_like<std::remove_extent_t<T>>) {
            plainly(packer).pack(value);
        } else {
            packer.pack_array(wire_count(std::extent_v<T>));
            for (const auto& element : value) {
                pack_value(packer, element);
            }
        }
    } else if constexpr (std::is_same_v<T, std::string>) {
        packer.pack_str(wire_count(value.size()));
        packer.pack_str_body(value.data(), wire_count(value.size()));
    } else if constexpr (DefinesPacking<T>) {
        value.msgpack_pack(packer);
    } else if constexpr (is_packable<T>) {
        plainly(packer).pack(value);
    } else if constexpr (ByteRange<T>) {
        pack_bytes(packer, value.data(), value.size());
    } else if constexpr (StdMap<T>) {
        packer.pack_map(wire_count(value.size()));
        for (const auto& [key, mapped] : value) {
            pack_value(packer, key);
            pack_value(packer, mapped);
        }
    } else if constexpr (StdSet<T> || StdSequence<T> || is_std_array<T>) {
        packer.pack_array(wire_count(value.size()));
        for (const typename T::value_type& element :
             value) {  // a bool of its own from vector<bool>
            pack_value(packer, element);
        }
    } else if constexpr (is_a<T, std::optional>) {
        if (value) {
            pack_value(packer, *value);
        } else {
            packer.pack_nil();
        }
    } else if constexpr (is_complex<T>) {
        packer.pack_array(2);
        pack_value(packer, value.real());
        pack_value(packer, value.imag());
    } else if constexpr (is_tuple_like<T>) {
        packer.pack_array(wire_count(std::tuple_size_v<T>));
        std::apply([&packer](const auto&... element) { (pack_value(packer, element), ...); },
                   value);
    } else if constexpr (is_a<T, std::variant>) {
        packer.pack_array(2);
        plainly(packer).pack(static_cast<std::uint64_t>(value.index()));
        std::visit([&packer](const auto& held) { pack_value(packer, held); }, value);
    } else if constexpr (is_a<T, std::chrono::duration>) {
        pack_value(packer, value.count());
    } else {
        static_assert(is_a<T, std::chrono::time_point>);
        plainly(packer).pack(in_nanoseconds(value));
    }
}

template <class T>
T unpack_value(const msgpack::object& object);

inline std::span<const msgpack::object> elements_of(const msgpack::object& object) {
    if (object.type != msgpack::type::ARRAY) {
        throw msgpack::type_error();
    }
    return {object.via.array.ptr, object.via.array.size};
}

inline std::span<const msgpack::object> elements_of(const msgpack::object& object,
                                                    std::size_t count) {
    const std::span<const msgpack::object> elements = elements_of(object);
    if (elements.size() != count) {
        throw msgpack::type_error();
    }
    return elements;
}

// The bytes of a bin, or of a str: Python's msgpack writes bytes as bin, older writers as str.
inline std::span<const char> bytes_of(const msgpack::object& object) {
    if (object.type == msgpack::type::BIN) {
        return {object.via.bin.ptr, object.via.bin.size};
    }
    if (object.type == msgpack::type::STR) {
        return {object.via.str.ptr, object.via.str.size};
    }
    throw msgpack::type_error();
}

template <class T>
T unpack_bytes(const msgpack::object& object) {
    const std::span<const char> bytes = bytes_of(object);
    T value{};
    if constexpr (is_std_array<T>) {
        if (bytes.size() != value.size()) {
            throw msgpack::type_error();
        }
    } else {
        value.resize(bytes.size());
    }
    if (!bytes.empty()) {
        std::memcpy(value.data(), bytes.data(), bytes.size());
    }
    return value;
}

template <class T, std::size_t... I>
T unpack_tuple(const msgpack::object& object, std::index_sequence<I...>) {
    [[maybe_unused]] const std::span<const msgpack::object> elements =
        elements_of(object, sizeof...(I));
    return T{unpack_value<std::remove_cv_t<std::tuple_element_t<I, T>>>(elements[I])...};
}

// An aggregate initialiser asks nothing of the element, not even a default constructor.
template <class T, std::size_t... I>
T unpack_array(const msgpack::object& object, std::index_sequence<I...>) {
    [[maybe_unused]] const std::span<const msgpack::object> elements =
        elements_of(object, sizeof...(I));
    return T{{unpack_value<typename T::value_type>(elements[I])...}};
}

template <class T, std::size_t Index = 0>
T unpack_alternative(std::uint64_t index, const msgpack::object& object) {
    if constexpr (Index < std::variant_size_v<T>) {
        if (index == Index) {
            using Held = std::variant_alternative_t<Index, T>;
            return T{std::in_place_index<Index>, unpack_value<std::remove_cv_t<Held>>(object)};
        }
        return unpack_alternative<T, Index + 1>(index, object);
    } else {
        throw msgpack::type_error();
    }
}

template <class T>
T unpack_range(const msgpack::object& object) {
    T value;
    for (const msgpack::object& element : elements_of(object)) {
        if constexpr (StdSet<T>) {
            value.insert(value.end(), unpack_value<typename T::value_type>(element));
        } else {
            value.push_back(unpack_value<typename T::value_type>(element));
        }
    }
    return value;
}

template <class T>
T unpack_map(const msgpack::object& object) {
    if (object.type != msgpack::type::MAP) {
        throw msgpack::type_error();
    }
    T value;
    for (const msgpack::object_kv& entry : std::span(object.via.map.ptr, object.via.map.size)) {
        auto key = unpack_value<typename T::key_type>(entry.key);
        value.emplace(std::move(key), unpack_value<typename T::mapped_type>(entry.val));
    }
    return value;
}

// Throws what msgpack throws; the caller names the type.
template <class T>
T unpack_value(const msgpack::object& object) {
    if constexpr (is_wire_number<T> || (is_packable<T> && std::is_class_v<T>)) {
        return object.as<T>();
    } else if constexpr (std::is_enum_v<T>) {
        return static_cast<T>(object.as<std::underlying_type_t<T>>());
    } else if constexpr (std::is_same_v<T, std::monostate>) {
        if (!object.is_nil()) {
            throw msgpack::type_error();
        }
        return {};
    } else if constexpr (std::is_same_v<T, std::string>) {
        const std::span<const char> bytes = bytes_of(object);
        return bytes.empty() ? std::string{} : std::string(bytes.data(), bytes.size());
    } else if constexpr (ByteRange<T>) {
        return unpack_bytes<T>(object);
    } else if constexpr (StdMap<T>) {
        return unpack_map<T>(object);
    } else if constexpr (StdSet<T> || StdSequence<T>) {
        return unpack_range<T>(object);
    } else if constexpr (is_std_array<T>) {
        return unpack_array<T>(object, std::make_index_sequence<std::tuple_size_v<T>>{});
    } else if constexpr (is_a<T, std::optional>) {
        using Held = std::remove_cv_t<typename T::value_type>;
        return object.is_nil() ? T{} : T{unpack_value<Held>(object)};
    } else if constexpr (is_complex<T>) {
        const std::span<const msgpack::object> parts = elements_of(object, 2);
        using Part = typename T::value_type;
        return T{unpack_value<Part>(parts[0]), unpack_value<Part>(parts[1])};
    } else if constexpr (is_tuple_like<T>) {
        return unpack_tuple<T>(object, std::make_index_sequence<std::tuple_size_v<T>>{});
    } else if constexpr (is_a<T, std::variant>) {
        const std::span<const msgpack::object> parts = elements_of(object, 2);
        return unpack_alternative<T>(parts[0].as<std::uint64_t>(), parts[1]);
    } else if constexpr (is_a<T, std::chrono::duration>) {
        return T{unpack_value<typename T::rep>(object)};
    } else {
        static_assert(is_a<T, std::chrono::time_point>);
        using Exact = std::chrono::time_point<typename T::clock, std::chrono::nanoseconds>;
        return std::chrono::time_point_cast<typename T::duration>(object.as<Exact>());
    }
}

}  // namespace detail
}  // namespace sluice
