// One producer, one consumer, values of one size: one direction of a Pipe.
//
// Each slot carries the number of its message beside the payload, on the same cache
// line: a hand-off moves one line, not an index and a line. The consumer never writes
// slots; what it has read it tells in a line of its own, which the producer looks at
// only when it has used up its credit, once in a lap.
//
// I1 slot.number == position + 1  <=>  the message of that position is complete.
// I2 read_position is the consumer's alone, write_position the producer's; both only grow.
// I3 write_position - read_position <= capacity.
//
// A killed producer leaves its unfinished slot unnumbered: the message never existed.
// A killed consumer leaves read_position: what it had not yet counted was not taken.
// No claim, so nothing to repair.
//
// Ordering ledger
//   R1 publish slot.number -> A1    : the consumer sees the payload        (else: reads garbage)
//   R2 publish read_position -> A2  : the producer's bytes come after the consumer's reads
//   R1, R2 before the load of the sleepers' word: light_fence(), against the waiter's
//   heavy_fence() (fence.hpp)
//   R3 close -> A3 : who sees "closed" sees every message that was published before it
// Source: FastForward (PPoPP 2008) for the slot that carries its own flag;
// MCRingBuffer for the cached credit.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

#include "sluice/shm/facts.hpp"
#include "sluice/shm/fence.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice::shm {

/// What the two sides of any single-producer ring share: where they sleep, and whether
/// a side has ended. The line changes only when somebody parks or closes.
struct alignas(kIsolationBytes) GateLayout {
    static constexpr std::uint32_t kSenderClosed = 1;
    static constexpr std::uint32_t kReceiverClosed = 2;

    EventCountLayout items;  // the consumer sleeps here
    EventCountLayout room;   // the producer sleeps here
    std::atomic<std::uint32_t> closed;

    bool sender_closed() const noexcept {
        return (closed.load(std::memory_order_acquire) & kSenderClosed) != 0;  // A3
    }
    bool receiver_closed() const noexcept {
        return (closed.load(std::memory_order_acquire) & kReceiverClosed) != 0;  // A3
    }
    void close(std::uint32_t side) noexcept {
        // R3; seq_cst: and before the look at the sleepers
        closed.fetch_or(side, std::memory_order_seq_cst);
        items.notify_all();
        room.notify_all();
    }
};
static_assert(sizeof(GateLayout) == kIsolationBytes);

/// After a publication by plain store: wakes who sleeps. `full_fence` where this
/// process could not register for the asymmetric fence.
inline void notify_after_store(EventCountLayout& events, bool full_fence) noexcept {
    if (full_fence) [[unlikely]] {
        // A store, then a load: neither may pass the other.
        std::atomic_thread_fence(std::memory_order_seq_cst);
    } else {
        light_fence();
    }
    // relaxed: a stale "nobody" is what heavy_fence() on the waiter's side rules out
    if ((events.word.load(std::memory_order_relaxed) & EventCountLayout::kSleepers) != 0)
        [[unlikely]] {
        events.wake_one();
    }
}

struct SpscRingLayout {
    GateLayout gate;
    alignas(kIsolationBytes) std::atomic<std::uint64_t> write_position;
    alignas(kIsolationBytes) std::atomic<std::uint64_t> read_position;
    alignas(kIsolationBytes) std::byte slots[1];
};
static_assert(offsetof(SpscRingLayout, write_position) == 128);
static_assert(offsetof(SpscRingLayout, read_position) == 256);
static_assert(offsetof(SpscRingLayout, slots) == 384);

/// How wide a slot is: the number and the payload, packed where several share a line
/// (streams of small values), else whole lines.
constexpr std::size_t spsc_slot_bytes(std::size_t payload_bytes, std::size_t alignment) noexcept {
    const std::size_t needed = round_up(sizeof(std::uint64_t), alignment) + payload_bytes;
    for (const std::size_t packed : {std::size_t{16}, std::size_t{32}, kCacheLineBytes}) {
        if (needed <= packed && alignment <= packed) {
            return packed;
        }
    }
    return round_up(needed, kCacheLineBytes);
}

constexpr std::uint64_t spsc_layout_signature(std::size_t slot_bytes,
                                              std::size_t payload_offset) noexcept {
    const std::uint64_t hash = fnv1a("spsc ring: gate, write, read, numbered slots");
    return fnv1a(payload_offset, fnv1a(slot_bytes, hash));
}

/// One side's view of the ring: a process uses either the writing half or the reading
/// half. kSlotBytes and kPayloadOffset are compile-time so that a slot's address is a
/// shift and a copy is a few moves.
template <std::size_t kSlotBytes, std::size_t kPayloadOffset>
class SpscRing {
 public:
    static constexpr std::size_t bytes(std::uint64_t capacity) noexcept {
        return offsetof(SpscRingLayout, slots) + capacity * kSlotBytes;
    }
    static constexpr std::uint64_t layout_signature() noexcept {
        return spsc_layout_signature(kSlotBytes, kPayloadOffset);
    }

    /// `first_position`: tests start near the wrap.
    static void initialise(std::byte* memory, std::uint64_t capacity,
                           std::uint64_t first_position = 0) noexcept {
        auto* layout = new (memory) SpscRingLayout{};
        // Nobody sees the ring before its segment is ready: relaxed throughout.
        layout->write_position.store(first_position, std::memory_order_relaxed);
        layout->read_position.store(first_position, std::memory_order_relaxed);
        for (std::uint64_t position = first_position; position != first_position + capacity;
             ++position) {
            auto* number = new (layout->slots + (position & (capacity - 1)) * kSlotBytes)
                std::atomic<std::uint64_t>;
            number->store(position + 1 - capacity, std::memory_order_relaxed);
        }
    }

    SpscRing() = default;
    SpscRing(std::byte* memory, std::uint64_t capacity) noexcept
        : layout_(reinterpret_cast<SpscRingLayout*>(memory)),
          mask_(capacity - 1),
          full_fence_(!register_for_heavy_fence()) {
        resume();
    }

    /// Takes up the positions where the last user of this end left them; for a child
    /// that was passed the end.
    void resume() noexcept {
        full_fence_ = !register_for_heavy_fence();
        // acquire: after what this end's last user did; the numbers in the slots are the truth
        write_ = layout_->write_position.load(std::memory_order_acquire);
        read_ = layout_->read_position.load(std::memory_order_acquire);  // A2
        credit_end_ = read_ + capacity();
        // A producer that died between numbering a slot and counting it: the message exists. (No
        // more of them than slots, whatever the memory says.)
        for (std::uint64_t step = 0; step < capacity(); ++step) {
            if (number_at(write_).load(std::memory_order_acquire) != write_ + 1) {  // A1
                break;
            }
            ++write_;
        }
    }

    // The writing half.

    /// The payload of the next slot, or null when the ring is full.
    std::byte* try_begin_write() noexcept {
        if (write_ == credit_end_) [[unlikely]] {
            credit_end_ =
                layout_->read_position.load(std::memory_order_acquire) + capacity();  // A2
            if (write_ == credit_end_) {
                return nullptr;
            }
        }
        return slot_at(write_) + kPayloadOffset;
    }
    /// Commit store of a send: the message exists from this store on. Does not wake:
    /// see notify_reader().
    void publish() noexcept {
        number_at(write_).store(write_ + 1, std::memory_order_release);  // R1
        ++write_;
        // relaxed: for size() and inspection only
        layout_->write_position.store(write_, std::memory_order_relaxed);
        prefetch_for_write(slot_at(write_));
    }
    /// Several at once: how many of `wanted` slots are free (call after try_begin_write() gave
    /// one), the payload of the slot `ahead` of the next, and its number; then publish_all(), whose
    /// store of the first slot's number is the commit store of them all: until it the reader stands
    /// before the first. A writer that dies in between leaves numbers that nobody reaches: a dead
    /// owner's end is closed, and has no heir.
    std::size_t room_for(std::size_t wanted) noexcept {
        if (credit_end_ - write_ < wanted) {
            credit_end_ =
                layout_->read_position.load(std::memory_order_acquire) + capacity();  // A2
        }
        const std::uint64_t free = credit_end_ - write_;
        return free < wanted ? free : wanted;
    }
    std::byte* payload_ahead(std::size_t ahead) noexcept {
        return slot_at(write_ + ahead) + kPayloadOffset;
    }
    void number_ahead(std::size_t ahead) noexcept {
        number_at(write_ + ahead).store(write_ + ahead + 1, std::memory_order_release);  // R1
    }
    void publish_all(std::size_t count) noexcept {
        number_ahead(0);
        write_ += count;
        // relaxed: for size() and inspection
        layout_->write_position.store(write_, std::memory_order_relaxed);
        prefetch_for_write(slot_at(write_));
    }
    void notify_reader() noexcept { notify_after_store(layout_->gate.items, full_fence_); }

    // The reading half.

    /// The payload of the oldest message, or null when there is none.
    const std::byte* try_begin_read() const noexcept {
        return number_at(read_).load(std::memory_order_acquire) == read_ + 1  // A1
                   ? slot_at(read_) + kPayloadOffset
                   : nullptr;
    }
    /// Whether the message after the oldest is there, too.
    bool more() const noexcept {
        return number_at(read_ + 1).load(std::memory_order_relaxed) == read_ + 2;  // a hint
    }
    /// Commit store of a recv: the message is taken from this store on. Does not wake:
    /// see notify_writer().
    void consume() noexcept {
        ++read_;
        layout_->read_position.store(read_, std::memory_order_release);  // R2
    }
    void notify_writer() noexcept { notify_after_store(layout_->gate.room, full_fence_); }

    // Either.

    /// Whether there is a ring: a one-way pipe has none in the other direction.
    bool valid() const noexcept { return layout_ != nullptr; }

    std::uint64_t capacity() const noexcept { return mask_ + 1; }
    std::uint64_t size() const noexcept {
        // relaxed: a snapshot; read first, so that the difference is never negative
        const std::uint64_t read = layout_->read_position.load(std::memory_order_relaxed);
        const std::uint64_t written = layout_->write_position.load(std::memory_order_relaxed);
        const std::uint64_t between = written - read;
        return between < capacity() ? between : capacity();
    }
    GateLayout& gate() const noexcept { return layout_->gate; }

 private:
    std::byte* slot_at(std::uint64_t position) const noexcept {
        return layout_->slots + (position & mask_) * kSlotBytes;
    }
    std::atomic<std::uint64_t>& number_at(std::uint64_t position) const noexcept {
        return *reinterpret_cast<std::atomic<std::uint64_t>*>(slot_at(position));
    }

    SpscRingLayout* layout_{};
    std::uint64_t mask_{};
    bool full_fence_{};
    // Each half on lines of its own: one process may use both directions of a pipe
    // from two threads.
    alignas(kIsolationBytes) std::uint64_t write_{};
    std::uint64_t credit_end_{};
    alignas(kIsolationBytes) std::uint64_t read_{};
};

}  // namespace sluice::shm
