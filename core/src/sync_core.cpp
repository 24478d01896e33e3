// Making and opening the objects of the lock family.
#include "sluice/detail/sync_core.hpp"

#include <cerrno>
#include <stdexcept>

#include "sluice/detail/failure.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

std::string object_name(std::string_view noun, std::string_view name) {
    return name.empty() ? std::string(noun) : std::string(noun) + " \"" + std::string(name) + '"';
}

bool is_environment(const shm::Failure& failure, int error) noexcept {
    return failure.kind == shm::FailureKind::environment && failure.error == error;
}

// What an opener looks for, too.
shm::SegmentSpec spec_of(const SyncShape& shape) {
    shm::SegmentSpec spec;
    spec.kind = shape.kind;
    spec.layout_signature = shape.layout_signature;
    spec.type_signature = shape.type_signature;
    spec.type_text = shape.type_text;
    return spec;
}

}  // namespace

SyncCore::SyncCore(const shm::SegmentPlace& place, SyncOpen how, const SyncShape& shape,
                   const shm::MemoryOptions& memory, unsigned permissions)
    : object_(object_name(shape.noun, place.name)), wait_(shape.wait) {
    if (place.name.empty() != (how == SyncOpen::anonymous)) {
        throw std::invalid_argument(object_ + ": a named one needs a name");
    }
    shm::SegmentSpec spec = spec_of(shape);
    spec.capacity = shape.capacity;
    spec.element_bytes = shape.element_bytes;
    spec.options = static_cast<std::uint32_t>(shape.wait) | shape.options;
    spec.body_bytes = shape.body_bytes(shape.capacity, spec.member_capacity) + shape.extra_bytes;
    const bool may_open = how == SyncOpen::open || how == SyncOpen::open_or_create;
    while (!(may_open && try_open(place, how, spec, shape))) {
        shm::Failure failure;
        segment_ = shm::Segment::create(
            place, spec, memory, permissions, failure, [&](shm::Segment& made) {
                shape.initialise(made.body(), shape, spec.member_capacity);
            });
        if (segment_) {
            return;
        }
        // Made by another since we looked: open that.
        if (how != SyncOpen::open_or_create || !is_environment(failure, EEXIST)) {
            throw_failure(object_, failure);
        }
    }
}

SyncCore::SyncCore(Unparcel& parcel, const SyncShape& shape)
    : object_(shape.noun), wait_(shape.wait) {
    segment_ = parcel.take_segment(spec_of(shape), object_);
    object_ = object_name(shape.noun, segment_->name());
    adopt_segment(shape);
}

bool SyncCore::try_open(const shm::SegmentPlace& place, SyncOpen how, const shm::SegmentSpec& spec,
                        const SyncShape& shape) {
    shm::Failure failure;
    segment_ = shm::Segment::open(place, spec, failure);
    if (!segment_) {
        if (how == SyncOpen::open || !is_environment(failure, ENOENT)) {
            throw_failure(object_, failure);
        }
        return false;
    }
    adopt_segment(shape);
    return true;
}

void SyncCore::adopt_segment(const SyncShape& shape) {
    // What the header says is checked against what there is.
    const std::uint32_t wait = segment_->options() & kWaitMask;
    if (segment_->capacity() == 0 || segment_->capacity() > shape.capacity_max ||
        segment_->element_bytes() != shape.element_bytes ||
        shape.body_bytes(segment_->capacity(), segment_->members().capacity()) >
            segment_->body_bytes() ||
        wait > static_cast<std::uint32_t>(Wait::park)) {
        throw BadSegment(object_ +
                         ": has a damaged header: its parts do not fit into it; remove it");
    }
    wait_ = static_cast<Wait>(wait);
}

void SyncCore::unlink(std::string_view noun, std::string_view name) {
    shm::Failure failure;
    if (!shm::Segment::unlink(name, failure)) {
        throw_failure(object_name(noun, name), failure);
    }
}

shm::MemberId SyncCore::join() {
    shm::Failure failure;
    const shm::MemberId id = segment_->members().join(failure);
    if (id == shm::kNobody) {
        throw_failure(object_, failure);
    }
    return id;
}

void SyncCore::throw_damaged() const {
    throw BadSegment(
        object_ + ": is damaged, something else wrote to its memory: remove it and make it anew");
}

}  // namespace sluice::detail
