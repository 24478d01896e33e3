// The shape of a guarded value, and whose claims are swept: the lock's alone (I2).
#include "sluice/shm/guarded_word.hpp"

#include <algorithm>
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
      value_bytes_(value_bytes),
      members_(&members),
      lock_(layout_->lock, members) {
    members_->set_sweeper({[](void* guarded, MemberId id, const DeadTenant& dead) {
                               static_cast<GuardedWord*>(guarded)->lock_.sweep(id, dead);
                           },
                           this});
}

std::uint64_t GuardedWord::read_sized(std::span<std::byte> room) const noexcept {
    const std::size_t most = sized_bytes_max(value_bytes_);
    for (;;) {
        const std::uint64_t seen = layout_->version.load(std::memory_order_acquire);  // A1
        const auto* words = reinterpret_cast<const Word*>(buffer(seen));
        const std::uint64_t length = words->load(std::memory_order_acquire);  // A2
        const std::size_t bytes = std::min({std::size_t{length}, room.size(), most});
        for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
            const std::uint64_t word =
                words[1 + at / sizeof(std::uint64_t)].load(std::memory_order_acquire);  // A2
            std::memcpy(room.data() + at, &word, std::min(bytes - at, sizeof word));
        }
        // relaxed: after the words by A2
        if (layout_->version.load(std::memory_order_relaxed) == seen) {
            return length;
        }
        spin_pause();
    }
}

void GuardedWord::commit_sized(std::span<const std::byte> value) noexcept {
    SLUICE_ASSERT(value.size() <= sized_bytes_max(value_bytes_));
    // relaxed: only the lock's owner writes it
    const std::uint64_t next = layout_->version.load(std::memory_order_relaxed) + 1;
    auto* words = reinterpret_cast<Word*>(buffer(next));
    words->store(value.size(), std::memory_order_release);  // R2
    for (std::size_t at = 0; at < value.size(); at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, value.data() + at, std::min(value.size() - at, sizeof word));
        words[1 + at / sizeof(std::uint64_t)].store(word, std::memory_order_release);  // R2
    }
    layout_->version.store(next, std::memory_order_release);  // R1
}

}  // namespace sluice::shm
