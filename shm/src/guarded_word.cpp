// The shape of a guarded value, and whose claims are swept: the lock's alone (I2).
#include "sluice/shm/guarded_word.hpp"

#include <cstring>
#include <new>

namespace sluice::shm {

std::uint64_t GuardedWord::layout_signature() noexcept {
    std::uint64_t hash =
        fnv1a("guarded: lock; version; two buffers, on the version's line up to 24");
    hash = fnv1a(LockWord::layout_signature(), hash);
    return fnv1a(offsetof(GuardedLayout, version), hash);
}

void GuardedWord::initialise(std::byte* body, const std::byte* value, std::size_t value_bytes,
                             std::uint64_t first_version) noexcept {
    auto* layout = new (body) GuardedLayout{};
    // Nobody sees it before its segment is ready.
    layout->version.store(first_version, std::memory_order_relaxed);
    std::memcpy(body + GuardedLayout::first_buffer(value_bytes) +
                    (first_version & 1U) * GuardedLayout::stride(value_bytes),
                value, value_bytes);
}

GuardedWord::GuardedWord(std::byte* body, Members& members, std::size_t value_bytes) noexcept
    : layout_(reinterpret_cast<GuardedLayout*>(body)),
      buffers_(body + GuardedLayout::first_buffer(value_bytes)),
      stride_(GuardedLayout::stride(value_bytes)),
      members_(&members),
      lock_(layout_->lock, members) {
    members_->set_sweeper({[](void* guarded, MemberId id, const DeadTenant& dead) {
                               static_cast<GuardedWord*>(guarded)->lock_.sweep(id, dead);
                           },
                           this});
}

}  // namespace sluice::shm
