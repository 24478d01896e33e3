// What all objects have in common: where they come from (made, opened, or passed on by another
// process), a segment with its member table, how they wait, and what they are called in messages.
// LockCore, QueueCore, DictCore and the others add what lies in the segment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/shm/memory_options.hpp"
#include "sluice/shm/segment.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

class Unparcel;

/// Lock "door"; without a name: Lock.
std::string object_name(std::string_view noun, std::string_view name);
/// Takes the name away. Errors: std::system_error with ENOENT.
void unlink_object(std::string_view noun, std::string_view name);

enum class Open : std::uint8_t { anonymous, create, open, open_or_create };

/// Where an object comes from.
class Origin {
 public:
    /// Made or opened here. It refers to the place's name. `Options`: how any object is made.
    template <class Options>
    Origin(const shm::SegmentPlace& place, Open how, const Options& options)
        : place_(place), how_(how), memory_(options.memory), permissions_(options.permissions) {}
    /// The object that comes next in a parcel.
    explicit Origin(Unparcel& parcel) : parcel_(&parcel) {}

    /// Whether it may be made here, so that what is asked for must be possible.
    bool may_make() const noexcept { return parcel_ == nullptr && how_ != Open::open; }
    const shm::MemoryOptions& memory() const noexcept { return memory_; }
    std::string object(std::string_view noun) const { return object_name(noun, place_.name); }
    /// The object's segment. `initialise` fills a new one before anybody else can see it.
    /// Errors: std::invalid_argument: a name that cannot be one; std::system_error: the name is
    /// taken, or missing, or there is no memory; BadSegment: something else, or damaged.
    std::shared_ptr<shm::Segment> segment(
        std::string_view noun, const shm::SegmentSpec& spec,
        const std::function<void(shm::Segment& made)>& initialise) const;

 private:
    shm::SegmentPlace place_{};
    Open how_{};
    shm::MemoryOptions memory_{};
    unsigned permissions_{};
    Unparcel* parcel_{};
};

/// What is made, or expected of what is opened. `capacity` and `options` are the object's own (how
/// many permits, how many parties; any bits but the lowest two): only a maker's count, an opener
/// finds the maker's in the segment.
struct ObjectShape {
    shm::SegmentKind kind{};
    std::string_view noun{};  // for messages: "Lock"
    std::uint64_t layout_signature{};
    /// How large the body of such an object is.
    std::size_t (*body_bytes)(std::uint64_t capacity, std::uint32_t members){};
    std::size_t extra_bytes{};  // beyond it, of what is made: of a form that an opener looks for
    /// Fills the body, which is all zeros, before anybody else can see it.
    void (*initialise)(std::byte* body, const ObjectShape& shape, std::uint32_t members){};
    std::uint64_t capacity{1};
    std::uint64_t capacity_max{1};  // a segment that claims more is damaged
    std::uint32_t options{};
    std::uint64_t type_signature{};  // of a value that lies in the object, with its text and size
    std::string type_text{};
    std::uint64_t element_bytes{};
    bool any_element_bytes{};  // the maker chose them: an opener looks whether they can be
    Wait wait{};
    // As SegmentSpec's.
    std::uint64_t beyond_bytes{};
    std::size_t body_alignment{shm::kIsolationBytes};
    std::size_t room_bytes{};
};

/// One object in this process: the base of what all copies of a handle share.
class ObjectCore {
 public:
    /// The lowest bits of a segment's options say how it waits.
    static constexpr std::uint32_t kWaitMask = shm::SegmentOptions::kWaitMask;

    /// Errors: as Origin::segment(); BadSegment: the header does not fit what there is.
    ObjectCore(const Origin& origin, const ObjectShape& shape);
    ObjectCore(const ObjectCore&) = delete;
    ObjectCore& operator=(const ObjectCore&) = delete;

    /// This thread's id in the object. Throws std::system_error where there is no place for it.
    shm::MemberId me() {
        const shm::MemberId id = segment_->members().id();
        return id != shm::kNobody ? id : join();
    }

    std::byte* body() const noexcept { return segment_->body(); }
    shm::Members& members() const noexcept { return segment_->members(); }
    shm::Segment& segment() const noexcept { return *segment_; }
    const std::shared_ptr<shm::Segment>& shared_segment() const noexcept { return segment_; }
    Wait how_to_wait() const noexcept { return wait_; }
    /// The maker's, without the bits that say how it waits.
    std::uint32_t options() const noexcept { return segment_->options() & ~kWaitMask; }
    std::uint64_t capacity() const noexcept { return segment_->capacity(); }
    /// What the object is called in messages: Lock "door".
    const std::string& object() const noexcept { return object_; }

    /// Throws BadSegment: what the header says does not fit what there is.
    [[noreturn]] void throw_damaged_header() const;
    /// Throws BadSegment: something else wrote to the object's memory.
    [[noreturn]] void throw_damaged() const;

 private:
    shm::MemberId join();

    std::shared_ptr<shm::Segment> segment_;
    std::string object_;
    Wait wait_;
};

}  // namespace sluice::detail
