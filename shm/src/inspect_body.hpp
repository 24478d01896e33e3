// What the two halves of inspect share: the bytes of a body, copied, and who decodes them.
#pragma once

#include <cstring>
#include <vector>

#include "sluice/shm/inspect.hpp"

namespace sluice::shm::inspection {

/// A copied part of a segment. What lies beyond it reads as 0.
class Bytes {
 public:
    Bytes(const Inspector& inspector, std::uint64_t offset, std::size_t bytes) : bytes_(bytes) {
        if (!inspector.read(offset, bytes_)) {
            bytes_.clear();
        }
    }
    bool valid() const noexcept { return !bytes_.empty(); }
    template <class T>
    T at(std::size_t offset) const noexcept {
        T value{};
        if (bytes_.size() >= sizeof(T) && offset <= bytes_.size() - sizeof(T)) {
            std::memcpy(&value, bytes_.data() + offset, sizeof value);
        }
        return value;
    }
    std::uint32_t u32(std::size_t offset) const noexcept { return at<std::uint32_t>(offset); }
    std::uint64_t u64(std::size_t offset) const noexcept { return at<std::uint64_t>(offset); }

 private:
    std::vector<std::byte> bytes_;
};

/// Whether the body of that kind is laid out as this build knows it.
bool knows_body(const SegmentFacts& facts, std::uint64_t layout_signature) noexcept;

/// Fills in flows, counters, marks, sleepers and holdings. `pipe_ends` of a pipe are participants.
void decode_body(const Inspector& inspector, Inspection& inspection);

/// The owners of a pipe's ends, to be asked after.
struct PipeEnd {
    std::uint64_t owner{};
    bool identity_known{};
    ProcessIdentity identity{};
};
std::vector<PipeEnd> pipe_ends(const Inspector& inspector);
bool is_pipe(SegmentKind kind) noexcept;

}  // namespace sluice::shm::inspection
