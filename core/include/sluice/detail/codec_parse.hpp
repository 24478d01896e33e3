// Parses one message into msgpack's object tree, trusting nothing in it. Level 0 of core; for
// sluice/msgpack.hpp only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <msgpack.hpp>
#include <span>

namespace sluice::detail {

// Deeper nesting than this is refused: each level costs stack when the objects are converted.
inline constexpr std::size_t kWireDepthMax = 256;

// msgpack's own visitor, under a budget. Its limits bound one array at a time, so a small message
// of nested array headers could still claim gigabytes. Here all elements that all headers claim
// must fit into the message, as each takes at least one byte.
class BoundedVisitor : public msgpack::detail::create_object_visitor {
 public:
    explicit BoundedVisitor(std::size_t message_bytes)
        : create_object_visitor(&refer_to_message, nullptr, limits_for(message_bytes)),
          elements_left_{message_bytes} {}

    bool start_array(std::uint32_t count) {
        claim(count);
        return create_object_visitor::start_array(count);
    }
    bool start_map(std::uint32_t count) {
        claim(2 * std::size_t{count});
        return create_object_visitor::start_map(count);
    }
    bool visit_ext(const char* bytes, std::uint32_t bytes_with_type) {
        check_timestamp(bytes, bytes_with_type);
        return create_object_visitor::visit_ext(bytes, bytes_with_type);
    }

 private:
    // Strings are copied once, out of the message into their final place.
    static bool refer_to_message(msgpack::type::object_type, std::size_t, void*) { return true; }

    static msgpack::unpack_limit limits_for(std::size_t bytes) {
        return {bytes, bytes, bytes, bytes, bytes, kWireDepthMax};
    }

    void claim(std::size_t count) {
        if (count > elements_left_) {
            throw msgpack::size_overflow(
                "a header claims more elements than the message has bytes");
        }
        elements_left_ -= count;
    }

    template <class Number>
    static Number big_endian(const char* bytes) {
        Number number = 0;
        for (std::size_t i = 0; i < sizeof(Number); ++i) {
            number = number << 8 | static_cast<unsigned char>(bytes[i]);
        }
        return number;
    }

    // msgpack's adaptor for time points adds up without a check: 64-bit nanoseconds must hold the
    // sum.
    static void check_timestamp(const char* bytes, std::uint32_t bytes_with_type) {
        constexpr std::uint32_t kTimestamp64 = 1 + 8;
        constexpr std::uint32_t kTimestamp96 = 1 + 12;
        if (bytes_with_type == 0 || bytes[0] != -1) {
            return;
        }
        std::int64_t seconds = 0;
        std::uint32_t nanoseconds = 0;
        if (bytes_with_type == kTimestamp64) {
            const std::uint64_t both = big_endian<std::uint64_t>(bytes + 1);
            nanoseconds = static_cast<std::uint32_t>(both >> 34);
            seconds = static_cast<std::int64_t>(both & 0x3ffffffffU);
        } else if (bytes_with_type == kTimestamp96) {
            nanoseconds = big_endian<std::uint32_t>(bytes + 1);
            seconds = static_cast<std::int64_t>(big_endian<std::uint64_t>(bytes + 5));
        }
        using std::chrono::duration_cast;
        constexpr std::int64_t kSecondsMax =
            duration_cast<std::chrono::seconds>(std::chrono::nanoseconds::max()).count() - 1;
        if (seconds > kSecondsMax || seconds < -kSecondsMax || nanoseconds >= 1000000000U) {
            throw msgpack::parse_error("a timestamp is out of range");
        }
    }

    std::size_t elements_left_;
};

/// Parses the whole message, which must outlive the object tree; the rest lives in the zone.
/// Errors: throws msgpack::unpack_error for anything but exactly one well-formed value.
inline msgpack::object parse_message(msgpack::zone& zone, std::span<const std::byte> message) {
    BoundedVisitor visitor{message.size()};
    visitor.set_zone(zone);
    std::size_t end = 0;
    const char* const bytes = reinterpret_cast<const char*>(message.data());
    if (!msgpack::parse(bytes, message.size(), end, visitor)) {
        throw msgpack::parse_error("not a complete value");
    }
    if (end != message.size()) {
        throw msgpack::parse_error("bytes after its end");
    }
    return visitor.data();
}

// The first piece of memory for the object tree: small for small messages, which need little.
inline std::size_t zone_bytes(std::size_t message_bytes) {
    constexpr std::size_t kLargest = MSGPACK_ZONE_CHUNK_SIZE;
    constexpr std::size_t kObjects = 4;
    return std::min(kLargest, sizeof(msgpack::object) * (message_bytes / 2 + kObjects));
}

}  // namespace sluice::detail
