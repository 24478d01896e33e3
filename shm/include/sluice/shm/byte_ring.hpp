// One producer, one consumer, records of any length: one direction of a BytePipe, and
// of a Pipe of packed values.
//
// The data lies in a power-of-two ring that each process maps twice in a row, so that
// a record which wraps round the end is contiguous: no padding records, one copy, and
// spans into the ring for zero copy.
//
// A record is { bytes:u32, flags:u32, payload }, padded to 8 bytes. Messages longer
// than half the ring travel as fragments, all but the last flagged `more`.
//
// I1 [read_position, write_position) holds whole records. I2 write_position -
//    read_position <= capacity.
// I3 read_position is the consumer's alone, write_position the producer's; both only
//    grow, by multiples of 8.
//
// Ordering ledger
//   R1 publish write_position -> A1 : the consumer sees the records       (else: reads garbage)
//   R2 publish read_position -> A2  : the producer's bytes come after the consumer's reads
//   Both before the load of the sleepers' word: see fence.hpp.
// Source: Aeron's and Agrona's length-prefixed records; the mirrored mapping replaces
// their padding.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>

#include "sluice/shm/spsc_ring.hpp"

namespace sluice::shm {

struct ByteRingLayout {
    GateLayout gate;
    alignas(kIsolationBytes) std::atomic<std::uint64_t> write_position;
    alignas(kIsolationBytes) std::atomic<std::uint64_t> read_position;
};
static_assert(offsetof(ByteRingLayout, write_position) == 128 && sizeof(ByteRingLayout) == 384);

/// Before each payload.
struct RecordLayout {
    static constexpr std::uint32_t kMore = 1;  // another fragment of the same message follows

    std::uint32_t payload_bytes;
    std::uint32_t flags;
};
static_assert(sizeof(RecordLayout) == 8);

/// One side's view.
class ByteRing {
 public:
    static constexpr std::uint64_t layout_signature() noexcept {
        return fnv1a("byte ring: gate, write, read; records of u32 length, u32 flags, padded to 8");
    }
    static void initialise(std::byte* memory, std::uint64_t first_position = 0) noexcept {
        auto* layout = new (memory) ByteRingLayout{};
        // Nobody sees the ring before its segment is ready: relaxed.
        layout->write_position.store(first_position, std::memory_order_relaxed);
        layout->read_position.store(first_position, std::memory_order_relaxed);
    }

    ByteRing() = default;
    /// `data`: mapped twice; `capacity` bytes, a power of two and a multiple of the page size.
    ByteRing(std::byte* control, std::byte* data, std::uint64_t capacity) noexcept
        : layout_(reinterpret_cast<ByteRingLayout*>(control)), data_(data), capacity_(capacity) {
        resume();
    }

    /// Takes up the positions where the last user of this end left them.
    void resume() noexcept {
        full_fence_ = !register_for_heavy_fence();
        // Damaged positions may be anything: I3 is what the loads of records rely on.
        write_ = layout_->write_position.load(std::memory_order_acquire) & ~kPadding;  // A1
        read_ = layout_->read_position.load(std::memory_order_acquire) & ~kPadding;    // A2
        credit_end_ = read_ + capacity_;
        published_ = read_;
    }

    std::uint64_t capacity() const noexcept { return capacity_; }
    /// The longest payload that one record carries.
    std::uint64_t record_payload_max() const noexcept {
        return capacity_ / 2 - sizeof(RecordLayout);
    }
    /// The longest span that claim() can ever give.
    std::uint64_t claim_max() const noexcept { return capacity_ - sizeof(RecordLayout); }

    // The writing half.

    /// Room for a payload of that many bytes, contiguous; null while there is not so much.
    std::byte* try_claim(std::uint64_t payload_bytes) noexcept {
        if (payload_bytes > claim_max()) [[unlikely]] {
            return nullptr;  // never; and near 2^64 the sum below would wrap
        }
        const std::uint64_t needed = record_bytes(payload_bytes);
        if (credit_end_ - write_ < needed) [[unlikely]] {
            credit_end_ = layout_->read_position.load(std::memory_order_acquire) + capacity_;  // A2
            if (credit_end_ - write_ < needed) {
                return nullptr;
            }
        }
        return at(write_) + sizeof(RecordLayout);
    }
    /// Commit store of a send: the record exists from this store on.
    void publish(std::uint64_t payload_bytes, std::uint32_t flags) noexcept {
        const RecordLayout record{static_cast<std::uint32_t>(payload_bytes), flags};
        std::memcpy(at(write_), &record, sizeof record);
        write_ += record_bytes(payload_bytes);
        layout_->write_position.store(write_, std::memory_order_release);  // R1
        prefetch_for_write(at(write_));
        notify_after_store(layout_->gate.items, full_fence_);
    }

    // The reading half.

    enum class Peek : std::uint8_t { record, empty, damaged };
    /// The oldest record, in place. `damaged`: the length that lies there cannot be one.
    Peek peek(std::span<const std::byte>& payload, std::uint32_t& flags) noexcept {
        if (read_ == published_) {
            published_ = layout_->write_position.load(std::memory_order_acquire);  // A1
            if (read_ == published_) {
                return Peek::empty;
            }
        }
        // Once, and the compiler must not look again: what is shared is input. relaxed: A1 above
        const auto record = std::bit_cast<RecordLayout>(
            std::atomic_ref(*reinterpret_cast<std::uint64_t*>(at(read_)))
                .load(std::memory_order_relaxed));
        if (record_bytes(record.payload_bytes) > published_ - read_ ||
            published_ - read_ > capacity_) {
            return Peek::damaged;
        }
        payload = {at(read_) + sizeof(RecordLayout), record.payload_bytes};
        flags = record.flags;
        return Peek::record;
    }
    bool readable() noexcept {
        return read_ != layout_->write_position.load(std::memory_order_acquire);  // A1
    }
    /// Commit store of a recv: the record is taken from this store on.
    void consume(std::uint64_t payload_bytes) noexcept {
        read_ += record_bytes(payload_bytes);
        layout_->read_position.store(read_, std::memory_order_release);  // R2
        notify_after_store(layout_->gate.room, full_fence_);
    }

    GateLayout& gate() const noexcept { return layout_->gate; }

 private:
    static constexpr std::uint64_t kPadding = 7;
    static constexpr std::uint64_t record_bytes(std::uint64_t payload_bytes) noexcept {
        return sizeof(RecordLayout) + ((payload_bytes + kPadding) & ~kPadding);
    }
    std::byte* at(std::uint64_t position) const noexcept {
        return data_ + (position & (capacity_ - 1));
    }

    ByteRingLayout* layout_{};
    std::byte* data_{};
    std::uint64_t capacity_{};
    bool full_fence_{};
    alignas(kIsolationBytes) std::uint64_t write_{};
    std::uint64_t credit_end_{};
    alignas(kIsolationBytes) std::uint64_t read_{};
    std::uint64_t published_{};
};

}  // namespace sluice::shm
