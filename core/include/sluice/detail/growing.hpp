// What the objects that grow have in common, Dict and List: how they are made and opened, errors of
// memory in words, and the mark of a thread that is changing a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/detail/sync_core.hpp"
#include "sluice/shm/arena.hpp"
#include "sluice/shm/fork.hpp"
#include "sluice/shm/segment.hpp"

namespace sluice::detail {

/// Dict "stock".
std::string object_name(std::string_view noun, std::string_view name);

/// The segment of a new object, or of one that there is. `initialise(made, shape)`.
/// Errors: std::invalid_argument: a name, or a max_bytes, that cannot be; std::system_error: the
/// name is taken, or missing, or there is no memory; BadSegment.
struct GrowingShape {
    std::string_view noun{};
    shm::SegmentSpec spec{};
    std::uint64_t max_bytes{};
    void (*initialise)(shm::Segment& made, const void* shape){};
    const void* shape{};
};
std::shared_ptr<shm::Segment> make_segment(const shm::SegmentPlace& place, SyncOpen how,
                                           const GrowingShape& growing,
                                           const shm::MemoryOptions& memory, unsigned permissions);

[[noreturn]] void throw_out_of_memory(std::string_view object, const shm::Arena& arena,
                                      const shm::Shortage& shortage);
[[noreturn]] void throw_damaged(std::string_view object);

/// This thread's id in the segment. Throws std::system_error where there is no place for it.
shm::MemberId join_segment(shm::Segment& segment, std::string_view object);

/// The objects of which this thread is changing a value right now: it holds a lock of each, and
/// what would need another of the same object may wait for ever.
class UpdateFrame {
 public:
    /// `object`: its segment's nonce.
    explicit UpdateFrame(std::uint64_t object) noexcept : object_(object), outer_(innermost) {
        innermost = this;
    }
    UpdateFrame(const UpdateFrame&) = delete;
    UpdateFrame& operator=(const UpdateFrame&) = delete;
    ~UpdateFrame() { innermost = outer_; }

    /// Throws Error where one is open for that object.
    static void refuse(std::uint64_t object, std::string_view name) {
        if (innermost != nullptr) [[unlikely]] {
            refuse_if_open(object, name);
        }
    }

 private:
    static void refuse_if_open(std::uint64_t object, std::string_view name);

    static constinit thread_local UpdateFrame* innermost;
    std::uint64_t object_;
    UpdateFrame* outer_;
    std::uint32_t generation_{shm::fork_generation};  // a child holds none of its parent's locks
};

}  // namespace sluice::detail
