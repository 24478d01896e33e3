// A semaphore's permits: shape, owned permits, rescue. The counter's fast paths are in the header.
#include "sluice/shm/semaphore_word.hpp"

#include <new>

namespace sluice::shm {

std::size_t SemaphoreWord::bytes(const Shape& shape) noexcept {
    const std::size_t words = shape.permits == Permits::owned ? shape.limit : 0;
    return offsetof(SemaphoreLayout, owners) + words * sizeof(std::uint32_t);
}

std::uint64_t SemaphoreWord::layout_signature() noexcept {
    std::uint64_t hash = fnv1a("semaphore: value, sleepers; owners: tag16 owner16");
    hash = fnv1a(offsetof(SemaphoreLayout, sleepers), hash);
    return fnv1a(offsetof(SemaphoreLayout, owners), hash);
}

bool SemaphoreWord::fits(const Shape& shape, std::size_t body_bytes) noexcept {
    return shape.limit <= (shape.permits == Permits::owned ? kOwnedMax : kLimitMax) &&
           bytes(shape) <= body_bytes;
}

void SemaphoreWord::initialise(std::byte* body, const Shape& shape, std::uint32_t value) noexcept {
    // Nobody sees it before its segment is ready: relaxed throughout. New memory is zero: the
    // owners' words say "nobody".
    auto* layout = new (body) SemaphoreLayout{};
    if (shape.permits == Permits::counted) {
        layout->value.store(value, std::memory_order_relaxed);
    }
}

SemaphoreWord::SemaphoreWord(std::byte* body, Members& members, const Shape& shape) noexcept
    : layout_(reinterpret_cast<SemaphoreLayout*>(body)), members_(&members), shape_(shape) {
    if (shape.permits == Permits::owned) {
        members.set_sweeper({[](void* word, MemberId id, const DeadTenant& dead) {
                                 static_cast<SemaphoreWord*>(word)->sweep(id, dead);
                             },
                             this});
    }
}

SemaphoreResult SemaphoreWord::take_owned() noexcept {
    const MemberId me = members().id();
    if (me == kNobody) [[unlikely]] {
        return SemaphoreResult::no_member;
    }
    std::uint32_t index = hint_.load(std::memory_order_relaxed);  // a guess
    for (std::uint32_t step = 0; step < shape_.limit; ++step, ++index) {
        index = index < shape_.limit ? index : 0;
        std::atomic<std::uint32_t>& permit = layout_->owners[index];
        std::uint32_t seen = permit.load(std::memory_order_seq_cst);  // S1
        // Taken under our eyes: the next. It is not free again before somebody releases it, who
        // will see whether we sleep.
        if (owner_of(seen) == kNobody &&
            permit.compare_exchange_strong(seen, seen | me, std::memory_order_seq_cst,
                                           std::memory_order_relaxed)) {  // A1
            hint_.store(index, std::memory_order_relaxed);                // a guess
            return SemaphoreResult::done;
        }
    }
    return SemaphoreResult::none;
}

SemaphoreResult SemaphoreWord::release_owned(std::uint32_t count) noexcept {
    const MemberId me = members().id();
    if (me == kNobody) [[unlikely]] {
        return SemaphoreResult::no_member;
    }
    // relaxed, in both loops: nobody but this thread takes or frees in its name (I2)
    std::uint32_t mine = 0;
    for (std::uint32_t index = 0; index < shape_.limit; ++index) {
        mine += owner_of(layout_->owners[index].load(std::memory_order_relaxed)) == me ? 1U : 0U;
    }
    if (mine < count) {
        return SemaphoreResult::too_many;
    }
    for (std::uint32_t index = 0, left = count; left != 0 && index < shape_.limit; ++index) {
        std::atomic<std::uint32_t>& permit = layout_->owners[index];
        const std::uint32_t seen = permit.load(std::memory_order_relaxed);
        if (owner_of(seen) == me) {
            permit.exchange(seen & ~kOwnerMask, std::memory_order_seq_cst);  // R1 S1
            hint_.store(index, std::memory_order_relaxed);                   // a guess
            --left;
        }
    }
    wake(count);
    return SemaphoreResult::done;
}

std::uint32_t SemaphoreWord::value() const noexcept {
    // acquire, in both branches: A1, for who knows that only he takes
    if (shape_.permits == Permits::counted) {
        const std::uint32_t seen = layout_->value.load(std::memory_order_acquire);
        return seen < shape_.limit ? seen : shape_.limit;
    }
    std::uint32_t free = 0;
    for (std::uint32_t index = 0; index < shape_.limit; ++index) {
        free += owner_of(layout_->owners[index].load(std::memory_order_acquire)) == kNobody;
    }
    return free;
}

void SemaphoreWord::sweep(MemberId id, const DeadTenant& dead) noexcept {
    for (std::uint32_t index = 0; index < shape_.limit; ++index) {
        std::atomic<std::uint32_t>& permit = layout_->owners[index];
        std::uint32_t seen = permit.load(std::memory_order_acquire);  // A1
        if (owner_of(seen) != id) {
            continue;
        }
        if (!dead.is_still_there()) {
            return;  // another finished the rescue: what we see may be a newcomer's permit
        }
        permit.compare_exchange_strong(seen, (seen & ~kOwnerMask) + kTagStep,
                                       std::memory_order_seq_cst,
                                       std::memory_order_relaxed);  // I3 R1 S1
    }
    // Even if nothing changed here: another rescuer may have died between freeing and this.
    layout_->sleepers.notify_all();
}

Bells SemaphoreWord::stuck() noexcept {
    Bells bells;
    if (shape_.permits == Permits::counted) {
        return bells;  // whose they are is written nowhere
    }
    const MemberId me = members().id();
    MemberId last = kNobody;
    for (std::uint32_t index = 0; index < shape_.limit; ++index) {
        const MemberId owner =
            owner_of(layout_->owners[index].load(std::memory_order_acquire));  // A1
        if (owner == kNobody || owner == me || owner == last) {
            continue;
        }
        last = owner;
        if (!members().rescue(owner)) {
            bells.add(members().watch(owner));
        }
    }
    return bells;
}

}  // namespace sluice::shm
