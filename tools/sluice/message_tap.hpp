// Copies of the messages that pass through a ring, without taking them and without anybody
// noticing.
//
// A message can be read from its publication until its slot is written again: also when it was
// taken already, since who takes a message leaves its bytes. Who falls behind by a lap misses
// messages, and counts them. What a dying producer left half-written in a queue of plain values may
// be shown: once its slot was passed by, nothing tells it from a message that was taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <sluice/shm/inspect.hpp>
#include <vector>

namespace sluice::tool {

struct TappedMessage {
    std::uint64_t position{};
    std::vector<std::byte> bytes{};
    bool gone{};  // it passed, but its bytes, which lay beside the slot, were given back
};

class MessageTap {
 public:
    enum class Begin { with_the_next, with_the_oldest };

    MessageTap(const shm::Inspector& inspector, const shm::RingPlace& place, Begin begin);

    /// Appends what has passed since the last call, at most some hundred.
    void read(std::vector<TappedMessage>& messages);
    /// Messages that were overtaken before they could be read; of records, bytes.
    std::uint64_t missed() const noexcept { return missed_; }

 private:
    void read_slots(std::vector<TappedMessage>& messages);
    void read_numbered(std::vector<TappedMessage>& messages);
    void read_records(std::vector<TappedMessage>& messages);
    bool copy_packed(std::uint64_t index, const std::vector<std::byte>& slot,
                     std::vector<std::byte>& value) const;
    bool read_ring(std::uint64_t position, std::span<std::byte> bytes) const;
    std::uint64_t slot_offset(std::uint64_t position) const noexcept;

    const shm::Inspector& inspector_;
    shm::RingPlace place_;
    std::uint64_t capacity_;
    std::uint64_t next_{};
    std::uint64_t missed_{};
    std::vector<std::byte> fragments_{};
};

}  // namespace sluice::tool
