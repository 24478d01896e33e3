// Making and opening guarded values; who writes.
#include "sluice/detail/guarded_core.hpp"

#include <cstring>
#include <stdexcept>
#include <string>

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

// ObjectShape's functions know the shape, and that knows the value's size; its bytes lie in front.
struct Shape : ObjectShape {
    std::vector<std::byte> initial{};
};

// A word with the length comes first.
constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);
// Far more than anybody means; what a header claims is bounded by it.
constexpr std::size_t kBytesMax = 1ULL << 32U;

std::size_t value_bytes(const GuardedShape& guarded) {
    if (guarded.bytes_max == 0) {
        return guarded.initial.size();
    }
    return kLengthBytes + shm::round_up(guarded.bytes_max, sizeof(std::uint64_t));
}

[[noreturn]] void throw_too_long(const std::string& object, std::size_t bytes, std::size_t most) {
    throw std::length_error(object + ": a value of " + std::to_string(bytes) +
                            " bytes does not fit, it has room for " + std::to_string(most) +
                            ": make it with a larger bytes_max");
}

Shape object_shape(const GuardedShape& guarded) {
    Shape shape;
    shape.kind = guarded.kind;
    shape.noun = guarded.noun;
    shape.layout_signature = shm::GuardedWord::layout_signature();
    const bool sized = guarded.bytes_max != 0;
    if (guarded.bytes_max > kBytesMax) {
        throw std::invalid_argument(std::string(guarded.noun) + ": bytes_max is at most " +
                                    std::to_string(kBytesMax) + ", not " +
                                    std::to_string(guarded.bytes_max));
    }
    // The capacity is the value's size, so that body_bytes() knows it.
    shape.capacity = value_bytes(guarded);
    shape.capacity_max = sized ? kLengthBytes + kBytesMax : shape.capacity;
    shape.element_bytes = sized ? 0 : shape.capacity;
    shape.body_bytes = [](std::uint64_t bytes, std::uint32_t) {
        return shm::GuardedWord::bytes(bytes);
    };
    shape.initialise = [](std::byte* body, const ObjectShape& made, std::uint32_t) {
        const auto& whole = static_cast<const Shape&>(made);
        shm::GuardedWord::initialise(body, whole.initial.data(), whole.initial.size());
    };
    shape.type_signature = guarded.type_signature;
    shape.type_text = guarded.type_text;
    shape.wait = guarded.wait;
    if (sized) {
        const std::size_t most = shape.capacity - kLengthBytes;
        if (guarded.initial.size() > most) {
            throw_too_long(std::string(guarded.noun), guarded.initial.size(), most);
        }
        const std::uint64_t length = guarded.initial.size();
        shape.initial.resize(kLengthBytes);
        std::memcpy(shape.initial.data(), &length, sizeof length);
    }
    shape.initial.insert(shape.initial.end(), guarded.initial.begin(), guarded.initial.end());
    shape.initial.resize(shape.capacity);
    return shape;
}

}  // namespace

GuardedCore::GuardedCore(const Origin& origin, const GuardedShape& shape)
    : ObjectCore(origin, object_shape(shape)),
      word_(body(), members(), capacity()),
      writer_(*this, word_.lock()) {
    if (shape.bytes_max != 0 ? capacity() <= kLengthBytes || capacity() % sizeof(std::uint64_t) != 0
                             : capacity() != shape.initial.size()) {
        throw_damaged();
    }
}

std::vector<std::byte> GuardedCore::read_sized() const {
    constexpr std::size_t kGuess = 256;
    std::vector<std::byte> value(kGuess);
    for (;;) {
        const std::uint64_t length = word_.read_sized(value);
        if (length <= value.size()) {
            value.resize(length);
            return value;
        }
        if (length > capacity() - kLengthBytes) {
            throw_damaged();
        }
        value.resize(length);
    }
}

void GuardedCore::commit_sized(std::span<const std::byte> value) {
    const std::size_t most = capacity() - kLengthBytes;
    if (value.size() > most) {
        throw_too_long(object(), value.size(), most);
    }
    word_.commit_sized(value);
}

void GuardedCore::throw_not_writer() const {
    throw Error(object() +
                ": cannot be committed: it was committed or dropped already, or this is not the "
                "thread that writes");
}

}  // namespace sluice::detail
