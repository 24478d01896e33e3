// Making, opening and receiving objects.
#include "sluice/detail/object_core.hpp"

#include <cerrno>
#include <stdexcept>

#include "sluice/detail/failure.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

bool is_environment(const shm::Failure& failure, int error) noexcept {
    return failure.kind == shm::FailureKind::environment && failure.error == error;
}

// What an opener looks for, too.
shm::SegmentSpec spec_of(const ObjectShape& shape) {
    shm::SegmentSpec spec;
    spec.kind = shape.kind;
    spec.layout_signature = shape.layout_signature;
    spec.type_signature = shape.type_signature;
    spec.type_text = shape.type_text;
    spec.capacity = shape.capacity;
    spec.element_bytes = shape.element_bytes;
    spec.options = static_cast<std::uint32_t>(shape.wait) | shape.options;
    spec.body_bytes = shape.body_bytes(shape.capacity, spec.member_capacity) + shape.extra_bytes;
    spec.beyond_bytes = shape.beyond_bytes;
    spec.body_alignment = shape.body_alignment;
    spec.room_bytes = shape.room_bytes;
    return spec;
}

}  // namespace

std::string object_name(std::string_view noun, std::string_view name) {
    return name.empty() ? std::string(noun) : std::string(noun) + " \"" + std::string(name) + '"';
}

void unlink_object(std::string_view noun, std::string_view name) {
    shm::Failure failure;
    if (!shm::Segment::unlink(name, failure)) {
        throw_failure(object_name(noun, name), failure);
    }
}

std::shared_ptr<shm::Segment> Origin::segment(
    std::string_view noun, const shm::SegmentSpec& spec,
    const std::function<void(shm::Segment& made)>& initialise) const {
    if (parcel_ != nullptr) {
        return parcel_->take_segment(spec, noun);
    }
    if (place_.name.empty() != (how_ == Open::anonymous)) {
        throw std::invalid_argument(object(noun) + ": a named one needs a name");
    }
    for (;;) {
        if (how_ == Open::open || how_ == Open::open_or_create) {
            shm::Failure failure;
            if (auto segment = shm::Segment::open(place_, spec, failure)) {
                return segment;
            }
            if (how_ == Open::open || !is_environment(failure, ENOENT)) {
                throw_failure(object(noun), failure);
            }
        }
        shm::Failure failure;
        if (auto segment =
                shm::Segment::create(place_, spec, memory_, permissions_, failure, initialise)) {
            return segment;
        }
        // Made by another since we looked: open that.
        if (how_ != Open::open_or_create || !is_environment(failure, EEXIST)) {
            throw_failure(object(noun), failure);
        }
    }
}

ObjectCore::ObjectCore(const Origin& origin, const ObjectShape& shape)
    : segment_(origin.segment(shape.noun, spec_of(shape),
                              [&](shm::Segment& made) {
                                  shape.initialise(made.body(), shape, made.members().capacity());
                              })),
      object_(object_name(shape.noun, segment_->name())),
      wait_(static_cast<Wait>(segment_->options() & kWaitMask)) {
    // What the header says is checked against what there is.
    if (capacity() == 0 || capacity() > shape.capacity_max ||
        (segment_->element_bytes() != shape.element_bytes && !shape.any_element_bytes) ||
        shape.body_bytes(capacity(), members().capacity()) > segment_->body_bytes() ||
        wait_ > Wait::park) {
        throw_damaged_header();
    }
}

shm::MemberId ObjectCore::join() {
    shm::Failure failure;
    const shm::MemberId id = members().join(failure);
    if (id == shm::kNobody) {
        throw_failure(object_, failure);
    }
    return id;
}

void ObjectCore::throw_damaged_header() const {
    throw BadSegment(object_ + ": has a damaged header: its parts do not fit into it; remove it");
}

void ObjectCore::throw_damaged() const {
    throw BadSegment(
        object_ + ": is damaged, something else wrote to its memory: remove it and make it anew");
}

}  // namespace sluice::detail
