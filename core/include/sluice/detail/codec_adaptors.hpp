// Adaptors for msgpack's own machinery, which decodes the members of MSGPACK_DEFINE classes:
// enumerations, durations, and (until msgpack-cxx brings its own) std::variant and std::monostate,
// all in the form of codec_wire.hpp. Level 0 of core; for sluice/msgpack.hpp only.
#pragma once

#include <chrono>
#include <msgpack.hpp>
#include <type_traits>
#include <variant>

#include "sluice/detail/codec_wire.hpp"

// The namespace is the one that msgpack's manual prescribes for adaptors; clang-format does not see
// it through the macro.
// clang-format off
namespace msgpack { MSGPACK_API_VERSION_NAMESPACE(MSGPACK_DEFAULT_API_NS) { namespace adaptor {

// MSGPACK_ADD_ENUM makes full specialisations, which win over this one.
template <class E>
struct convert<E, std::enable_if_t<std::is_enum_v<E>>> {
    const msgpack::object& operator()(const msgpack::object& object, E& value) const {
        value = sluice::detail::unpack_value<E>(object);
        return object;
    }
};

template <class E>
struct pack<E, std::enable_if_t<std::is_enum_v<E>>> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& packer, const E& value) const {
        sluice::detail::pack_value(packer, value);
        return packer;
    }
};

template <class Rep, class Period>
struct convert<std::chrono::duration<Rep, Period>> {
    const msgpack::object& operator()(const msgpack::object& object,
                                      std::chrono::duration<Rep, Period>& value) const {
        value = sluice::detail::unpack_value<std::chrono::duration<Rep, Period>>(object);
        return object;
    }
};

template <class Rep, class Period>
struct pack<std::chrono::duration<Rep, Period>> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& packer,
                                        const std::chrono::duration<Rep, Period>& value) const {
        sluice::detail::pack_value(packer, value);
        return packer;
    }
};

#if !__has_include(<msgpack/v1/adaptor/cpp17/variant.hpp>)

template <>
struct convert<std::monostate> {
    const msgpack::object& operator()(const msgpack::object& object,
                                      std::monostate& value) const {
        value = sluice::detail::unpack_value<std::monostate>(object);
        return object;
    }
};

template <>
struct pack<std::monostate> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& packer,
                                        const std::monostate& value) const {
        sluice::detail::pack_value(packer, value);
        return packer;
    }
};

template <class... Alternatives>
struct convert<std::variant<Alternatives...>> {
    const msgpack::object& operator()(const msgpack::object& object,
                                      std::variant<Alternatives...>& value) const {
        value = sluice::detail::unpack_value<std::variant<Alternatives...>>(object);
        return object;
    }
};

template <class... Alternatives>
struct pack<std::variant<Alternatives...>> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& packer,
                                        const std::variant<Alternatives...>& value) const {
        sluice::detail::pack_value(packer, value);
        return packer;
    }
};

#endif

}}}  // namespace msgpack::adaptor
// clang-format on
