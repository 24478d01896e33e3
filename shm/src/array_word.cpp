// The shape of an array, and whose claims are swept: the lock's alone (I2).
#include "sluice/shm/array_word.hpp"

#include <cstring>
#include <new>

namespace sluice::shm {

std::uint64_t ArrayWord::layout_signature() noexcept {
    std::uint64_t hash = fnv1a("array: lock, changes; epoch; versions above 8 bytes; two halves");
    hash = fnv1a(LockWord::layout_signature(), hash);
    return fnv1a(offsetof(ArrayLayout, cells), hash);
}

void ArrayWord::initialise(std::byte* body, std::uint64_t count, std::span<const std::byte> first,
                           std::uint64_t first_epoch) noexcept {
    // Nobody sees it before its segment is ready.
    auto* layout = new (body) ArrayLayout{};
    layout->changes.store(first_epoch, std::memory_order_relaxed);  // as above
    layout->epoch.store(first_epoch, std::memory_order_relaxed);    // as above
    auto* versions = reinterpret_cast<std::atomic<std::uint64_t>*>(layout->cells);
    std::uint64_t state = first_epoch;
    if (!is_in_place(first.size())) {
        for (std::uint64_t index = 0; index < count; ++index) {
            versions[index].store(first_epoch, std::memory_order_relaxed);  // as above
        }
        state += first_epoch;
    }
    std::byte* half = body + offsetof(ArrayLayout, cells) + versions_bytes(count, first.size()) +
                      (state & 1U) * half_bytes(count, first.size());
    for (std::uint64_t index = 0; index < count; ++index) {
        std::memcpy(half + index * cell_bytes(first.size()), first.data(), first.size());
    }
}

ArrayWord::ArrayWord(std::byte* body, Members& members, std::uint64_t count,
                     std::size_t element_bytes) noexcept
    : layout_(reinterpret_cast<ArrayLayout*>(body)),
      versions_(reinterpret_cast<std::atomic<std::uint64_t>*>(layout_->cells)),
      halves_(body + offsetof(ArrayLayout, cells) + versions_bytes(count, element_bytes)),
      count_(count),
      half_bytes_(half_bytes(count, element_bytes)),
      lock_(layout_->lock, members) {
    members.set_sweeper({[](void* array, MemberId id, const DeadTenant& dead) {
                             static_cast<ArrayWord*>(array)->lock_.sweep(id, dead);
                         },
                         this});
}

}  // namespace sluice::shm
