// Packing and unpacking what a spawned child gets.
#include "sluice/detail/parcel.hpp"

#include "image.hpp"
#include "sluice/detail/failure.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {

void throw_bad_parcel() {
    throw BadSegment("spawn: what came from the parent is damaged");
}

void Parcel::put_bytes(std::span<const std::byte> bytes) {
    put(bytes.size());
    bytes_.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void Parcel::put_descriptor(int descriptor) {
    put(descriptor);
    if (descriptor >= 0) {
        descriptors_.push_back(descriptor);
    }
}

void Parcel::put_segment(const shm::Segment& segment) {
    const shm::MappingPass pass = segment.mapping().pass();
    put(pass);
    put_text(segment.name());
    for (const int descriptor : {pass.descriptor, pass.beyond}) {
        if (descriptor >= 0) {
            descriptors_.push_back(descriptor);
        }
    }
}

void Parcel::put_function(std::uintptr_t address) {
    const std::optional<ImagePlace> place = place_of(address);
    if (!place) {
        throw Error("spawn: the target's function lies in no image of this program");
    }
    put_text(place->image);
    put(place->fingerprint);
    put(place->offset);
}

std::span<const std::byte> Unparcel::take_front(std::size_t count) {
    if (count > left_.size()) {
        throw_bad_parcel();
    }
    const std::span<const std::byte> front = left_.first(count);
    left_ = left_.subspan(count);
    return front;
}

std::span<const std::byte> Unparcel::take_bytes() {
    return take_front(take<std::size_t>());
}

std::string Unparcel::take_text() {
    const std::span<const std::byte> bytes = take_bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::shared_ptr<shm::Segment> Unparcel::take_segment(const shm::SegmentSpec& expected,
                                                     std::string_view object) {
    const auto pass = take<shm::MappingPass>();
    const std::string name = take_text();
    shm::Failure failure;
    std::shared_ptr<shm::Segment> segment = shm::Segment::receive(pass, name, expected, failure);
    if (!segment) {
        throw_failure(object, failure);
    }
    return segment;
}

std::uintptr_t Unparcel::take_function() {
    ImagePlace place;
    place.image = take_text();
    place.fingerprint = take<std::uint64_t>();
    place.offset = take<std::uint64_t>();
    return address_of(place);
}

}  // namespace sluice::detail
