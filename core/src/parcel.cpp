// Packing and unpacking what a spawned child, or a worker, gets.
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

// A segment's record: its nonce, how it travels, then what that needs, with its length.
namespace {
enum class Way : std::uint8_t { by_descriptors, by_name };
}

void Parcel::put_segment(const shm::Segment& segment, std::string_view object) {
    const bool inherited = segment.serial() <= inherited_;
    if (!inherited && segment.mapping().window().bytes != 0) {
        throw NotPermitted("Pool: " + std::string(object) +
                           ", made or opened in its Manager after the Pool, cannot be sent to the "
                           "workers, nor back by them: make it before the Pool, or send the "
                           "Manager and the name");
    }
    if (!inherited && segment.name().empty()) {
        throw NotPermitted("Pool: a " + std::string(object) +
                           " without a name, made after the Pool, cannot be sent to its workers, "
                           "nor back by them: make it before the Pool, or give it a name");
    }
    put(segment.nonce());
    put(inherited ? Way::by_descriptors : Way::by_name);
    put_text(segment.name());
    if (!inherited) {
        return;
    }
    const shm::MappingPass pass = segment.mapping().pass();
    put(pass);
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
    const auto nonce = take<std::uint64_t>();
    const auto way = take<Way>();
    const std::string name = take_text();
    shm::Failure failure;
    std::shared_ptr<shm::Segment> segment =
        way == Way::by_descriptors
            ? shm::Segment::receive(take<shm::MappingPass>(), name, expected, failure)
            : shm::Segment::open(name, expected, failure);
    const std::string text =
        std::string(object) + (name.empty() ? std::string() : " \"" + name + '"');
    if (!segment) {
        throw_failure(text, failure);
    }
    if (segment->nonce() != nonce) {
        throw BadSegment(text + (way == Way::by_name
                                     ? ": the name leads to another one than was sent"
                                     : ": this process does not have it any more"));
    }
    return segment;
}

std::uint64_t Unparcel::next_nonce() const {
    return Unparcel(left_).take<std::uint64_t>();
}

void Unparcel::skip_segment() {
    static_cast<void>(take<std::uint64_t>());
    const auto way = take<Way>();
    static_cast<void>(take_bytes());
    if (way == Way::by_descriptors) {
        static_cast<void>(take<shm::MappingPass>());
    }
}

namespace {
// The worker's own thread: the handler thread of a Pool that a task has made keeps nothing.
constinit thread_local KeptObjects* kept_here = nullptr;
}  // namespace

KeptObjects* KeptObjects::here() noexcept {
    return kept_here;
}

void KeptObjects::begin_here() {
    if (kept_here == nullptr) {  // else inherited: a worker's own Pool made this one
        kept_here = new KeptObjects;
    }
}

std::shared_ptr<void> KeptObjects::find(std::uint64_t nonce, const std::type_info& type) const {
    for (const Kept& kept : kept_) {
        if (kept.nonce == nonce && *kept.type == type) {
            return kept.core;
        }
    }
    return nullptr;
}

void KeptObjects::keep(Kept kept) {
    if (kept_.size() < kMax) {
        kept_.push_back(std::move(kept));
        return;
    }
    kept_[next_] = std::move(kept);
    next_ = (next_ + 1) % kMax;
}

std::uintptr_t Unparcel::take_function() {
    ImagePlace place;
    place.image = take_text();
    place.fingerprint = take<std::uint64_t>();
    place.offset = take<std::uint64_t>();
    return address_of(place);
}

}  // namespace sluice::detail
