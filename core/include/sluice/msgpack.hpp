// Packs values that are not plain: strings, containers, tuples, optionals, variants, and classes
// with MSGPACK_DEFINE. The format is MessagePack, so programs in other languages can read it
// (https://github.com/msgpack/msgpack/blob/master/spec.md):
//
//   numbers, bool, char          int, float, bool (smallest form)      enumeration   its number
//   std::string                  str                                   duration      its count
//   vector/array of bytes        bin                                   time_point    timestamp (-1)
//   sequence, set, tuple, pair   array                                 complex       [real, imag.]
//   map, unordered_map           map                                   monostate     nil
//   optional                     nil, or the value                     variant       [index, value]
//   class with MSGPACK_DEFINE    array of its members (MSGPACK_DEFINE_MAP: map)
//
// A variant carries its index because its bare value would be ambiguous (which of int and long is
// 5?); msgpack-cxx 6.1 and later do the same. An optional of an optional (or of monostate) cannot
// tell nil from nil. No pointer, reference or view at any depth: what the compiler can see is
// refused, members of MSGPACK_DEFINE included. Classes with hand-written msgpack_pack or adaptors
// are on their author's word. Default member initialisers stand in for members that a shorter
// message of a MSGPACK_DEFINE class does not have; tuples and arrays must have their exact length.
#pragma once

#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <typeinfo>

#include "sluice/codec.hpp"
#include "sluice/detail/codec_adaptors.hpp"
#include "sluice/detail/codec_parse.hpp"
#include "sluice/detail/codec_wire.hpp"
#include "sluice/error.hpp"

namespace sluice {

namespace detail {

[[noreturn]] inline void throw_bad_message(const std::string& type, const char* reason) {
    throw BadSegment("sluice: a message is no valid " + type + ": " + reason);
}

}  // namespace detail

/// Packs and unpacks what is not plain.
template <class T>
requires(detail::is_wire_packable<T>()) struct Packer<T> {
    /// Appends the value to the buffer.
    /// Errors: std::out_of_range for a time point that nanoseconds cannot count; what T's own
    /// msgpack_pack throws. Cost: no allocation once the buffer has grown.
    static void pack(const T& value, PackBuffer& buffer) {
        detail::CheckedPacker packer{buffer};
        detail::pack_value(packer, value);
    }

    /// Makes the value out of one whole message, which is not trusted; the value owns all its data.
    /// Errors: BadSegment for anything but exactly one value of this type. Memory is bounded by a
    /// multiple of the message's size, whatever lengths it claims.
    /// Cost: allocations of the object tree and of the value; strings are copied once.
    static T unpack(std::span<const std::byte> message) {
        try {
            msgpack::zone zone{detail::zone_bytes(message.size())};
            return detail::unpack_value<T>(detail::parse_message(zone, message));
        } catch (const msgpack::unpack_error& error) {
            detail::throw_bad_message(type_description<T>(), error.what());
        } catch (const std::bad_cast&) {  // msgpack::type_error is one
            detail::throw_bad_message(type_description<T>(), "it holds a value of another type");
        }
    }
};

}  // namespace sluice
