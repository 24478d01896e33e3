// Making events; waiting for one.
#include "sluice/detail/event_core.hpp"

#include <utility>

namespace sluice::detail {
namespace {

SyncShape shape_of(Wait wait) {
    SyncShape shape;
    shape.kind = shm::SegmentKind::event;
    shape.noun = "Event";
    shape.layout_signature = shm::EventWord::layout_signature();
    shape.body_bytes = [](std::uint64_t, std::uint32_t) { return shm::EventWord::bytes(); };
    shape.initialise = [](std::byte* body, const SyncShape&, std::uint32_t) {
        shm::EventWord::initialise(body);
    };
    shape.wait = wait;
    return shape;
}

}  // namespace

EventCore::EventCore(const shm::SegmentPlace& place, SyncOpen how, Wait wait,
                     const shm::MemoryOptions& memory, unsigned permissions)
    : EventCore(SyncCore(place, how, shape_of(wait), memory, permissions)) {}

EventCore::EventCore(Unparcel& parcel) : EventCore(SyncCore(parcel, shape_of({}))) {}

EventCore::EventCore(SyncCore sync) : sync_(std::move(sync)), word_(sync_.body()) {}

bool EventCore::wait_for_set(Deadline deadline) {
    const std::uint32_t begun = word_.begin();
    return shm::wait_until(
               word_.sleepers(), sync_.wait(), spin_, deadline,
               [&] { return word_.has_come(begun); }, [] {},
               [] { return shm::FutexWatch{}; }) == shm::Waited::done;
}

}  // namespace sluice::detail
