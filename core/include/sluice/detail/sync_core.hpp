// What the objects of the lock family have in common: a small segment with its member table, how it
// waits, and what it is called in messages. Lock, Semaphore, Event and the others add their words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/shm/memory_options.hpp"
#include "sluice/shm/segment.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

class Unparcel;

/// What is made, or expected of what is opened. `capacity` and `options` are the object's own (how
/// many permits, how many parties; any bits but the lowest two): only a maker's count, an opener
/// finds the maker's in the segment.
struct SyncShape {
    shm::SegmentKind kind{};
    std::string_view noun{};  // for messages: "Lock"
    std::uint64_t layout_signature{};
    /// How large the body of such an object is.
    std::size_t (*body_bytes)(std::uint64_t capacity, std::uint32_t members){};
    std::size_t extra_bytes{};  // beyond it, of what is made: of a form that an opener looks for
    /// Fills the body, which is all zeros, before anybody else can see it.
    void (*initialise)(std::byte* body, const SyncShape& shape, std::uint32_t members){};
    std::uint64_t capacity{1};
    std::uint64_t capacity_max{1};  // a segment that claims more is damaged
    std::uint32_t options{};
    std::uint64_t type_signature{};  // of a value that lies in the object, with its text and size
    std::string type_text{};
    std::uint64_t element_bytes{};
    Wait wait{};
};

enum class SyncOpen : std::uint8_t { anonymous, create, open, open_or_create };

/// One object's segment. The bodies (LockCore, ...) hold one, and share it between the copies of a
/// handle.
class SyncCore {
 public:
    /// The lowest bits of a segment's options say how it waits.
    static constexpr std::uint32_t kWaitMask = shm::SegmentOptions::kWaitMask;

    /// Errors: std::invalid_argument: a name that cannot be one; std::system_error: the name is
    /// taken, or missing, or there is no memory; BadSegment: something else, or damaged.
    SyncCore(const shm::SegmentPlace& place, SyncOpen how, const SyncShape& shape,
             const shm::MemoryOptions& memory, unsigned permissions);

    /// The object that comes next in a parcel. Errors: as Unparcel::take_segment().
    SyncCore(Unparcel& parcel, const SyncShape& expected);

    /// Removes the name. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view noun, std::string_view name);

    /// This thread's id in the object. Throws std::system_error where there is no place for it.
    shm::MemberId me() {
        const shm::MemberId id = segment_->members().id();
        return id != shm::kNobody ? id : join();
    }

    std::byte* body() const noexcept { return segment_->body(); }
    shm::Members& members() const noexcept { return segment_->members(); }
    const shm::Segment& segment() const noexcept { return *segment_; }
    const std::shared_ptr<shm::Segment>& shared_segment() const noexcept { return segment_; }
    Wait wait() const noexcept { return wait_; }
    /// The maker's, without the bits that say how it waits.
    std::uint32_t options() const noexcept { return segment_->options() & ~kWaitMask; }
    std::uint64_t capacity() const noexcept { return segment_->capacity(); }
    /// What the object is called in messages: Lock "door".
    const std::string& object() const noexcept { return object_; }

    /// Throws BadSegment: something else wrote to the object's memory.
    [[noreturn]] void throw_damaged() const;

 private:
    shm::MemberId join();
    bool try_open(const shm::SegmentPlace& place, SyncOpen how, const shm::SegmentSpec& spec,
                  const SyncShape& shape);
    void adopt_segment(const SyncShape& shape);

    std::string object_;
    std::shared_ptr<shm::Segment> segment_{};
    Wait wait_;
};

}  // namespace sluice::detail
