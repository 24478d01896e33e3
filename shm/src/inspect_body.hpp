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
bool knows_layout(const SegmentFacts& facts, std::uint64_t layout_signature) noexcept;
/// Whether what the header says has room in the body. Of a known layout.
bool fits(const Inspector& inspector, std::uint64_t layout_signature) noexcept;

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

/// Says so where somebody sleeps on that eventcount.
void note_sleepers(const Bytes& body, std::size_t event_count, std::string_view who,
                   Inspection& seen);
/// A text that ends with a zero; '?' for what cannot be printed.
std::string printable(const Bytes& bytes, std::size_t offset, std::size_t bytes_max);

/// A lock of a body: who has it, who is next, whether somebody sleeps on it.
struct LockPlace {
    std::size_t offset{};
    HoldKind held{HoldKind::lock};
    std::uint64_t index{};
    std::string_view sleepers{};
};
void decode_lock(const Bytes& body, const LockPlace& place, Inspection& seen);

/// The state letter of /proc/PID/task/TID/stat; 0 where there is no such thread.
char state_of(std::int32_t pid, std::int32_t thread);
std::string name_of(std::int32_t pid);

// inspect_store.cpp: what stores values, and objects.
bool arena_fits(const Inspector& inspector) noexcept;
bool pool_fits(const Inspector& inspector) noexcept;
void decode_array(const Inspector& inspector, Inspection& seen);
void decode_dict(const Inspector& inspector, Inspection& seen);
void decode_list(const Inspector& inspector, Inspection& seen);
void decode_pool(const Inspector& inspector, Inspection& seen);
void decode_manager(const Inspector& inspector, Inspection& seen);

}  // namespace sluice::shm::inspection
