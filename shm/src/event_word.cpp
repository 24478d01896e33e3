// An event's shape.
#include "sluice/shm/event_word.hpp"

#include <new>

namespace sluice::shm {

std::uint64_t EventWord::layout_signature() noexcept {
    return fnv1a(sizeof(EventLayout), fnv1a("event: sets31 set1, sleepers"));
}

void EventWord::initialise(std::byte* body, std::uint32_t sets) noexcept {
    auto* layout = new (body) EventLayout{};
    // relaxed: nobody sees it before its segment is ready
    layout->state.store(sets * kStep, std::memory_order_relaxed);
}

}  // namespace sluice::shm
