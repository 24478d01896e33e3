// Making and opening arrays.
#include "sluice/detail/array_core.hpp"

#include <stdexcept>

namespace sluice::detail {
namespace {

constexpr std::uint64_t kCountMax = 1ULL << 32U;

// What each element is at first, which ObjectShape does not know.
struct Shape : ObjectShape {
    std::span<const std::byte> first{};
};

Shape object_shape(const Origin& origin, const ArrayShape& array) {
    if (origin.may_make() && (array.count == 0 || array.count > kCountMax)) {
        throw std::invalid_argument("Array: has 1 to " + std::to_string(kCountMax) +
                                    " elements, not " + std::to_string(array.count));
    }
    Shape shape;
    shape.kind = shm::SegmentKind::array;
    shape.noun = "Array";
    shape.layout_signature = shm::ArrayWord::layout_signature();
    shape.capacity = array.count;
    shape.capacity_max = kCountMax;
    shape.element_bytes = array.first.size();
    // How large it is depends on the element, too: that is looked at below.
    shape.body_bytes = [](std::uint64_t, std::uint32_t) { return sizeof(shm::ArrayLayout); };
    shape.extra_bytes =
        shm::ArrayWord::bytes(array.count, array.first.size()) - sizeof(shm::ArrayLayout);
    shape.initialise = [](std::byte* body, const ObjectShape& made, std::uint32_t) {
        shm::ArrayWord::initialise(body, made.capacity, static_cast<const Shape&>(made).first);
    };
    shape.type_signature = array.type_signature;
    shape.type_text = array.type_text;
    shape.wait = array.wait;
    shape.first = array.first;
    return shape;
}

}  // namespace

ArrayCore::ArrayCore(const Origin& origin, const ArrayShape& shape)
    : ObjectCore(origin, object_shape(origin, shape)),
      word_(body(), members(), capacity(), shape.first.size()),
      writer_(*this, word_.lock()) {
    if (shm::ArrayWord::bytes(capacity(), shape.first.size()) > segment().body_bytes()) {
        throw_damaged_header();
    }
}

void ArrayCore::throw_out_of_range(std::int64_t given) const {
    throw std::out_of_range(object() + ": index " + std::to_string(given) +
                            " is out of range, it has " + std::to_string(word_.count()) +
                            " elements");
}

void ArrayCore::throw_length(std::size_t given) const {
    throw std::length_error(object() + ": has " + std::to_string(word_.count()) +
                            " elements, and was given " + std::to_string(given));
}

}  // namespace sluice::detail
