// Making events; waiting for one.
#include "sluice/detail/event_core.hpp"

namespace sluice::detail {
namespace {

ObjectShape shape_of(Wait wait) {
    ObjectShape shape;
    shape.kind = shm::SegmentKind::event;
    shape.noun = "Event";
    shape.layout_signature = shm::EventWord::layout_signature();
    shape.body_bytes = [](std::uint64_t, std::uint32_t) { return shm::EventWord::bytes(); };
    shape.initialise = [](std::byte* body, const ObjectShape&, std::uint32_t) {
        shm::EventWord::initialise(body);
    };
    shape.wait = wait;
    return shape;
}

}  // namespace

EventCore::EventCore(const Origin& origin, Wait wait)
    : ObjectCore(origin, shape_of(wait)), word_(body()) {}

bool EventCore::wait_for_set(Deadline deadline) {
    const std::uint32_t begun = word_.begin();
    return shm::wait_until(
               word_.sleepers(), how_to_wait(), spin_, deadline,
               [&] { return word_.has_come(begun); }, [] {},
               [] { return shm::FutexWatch{}; }) == shm::Waited::done;
}

}  // namespace sluice::detail
