// What the objects that grow have in common, Dict and List: how large they may become, errors of
// memory in words, and the mark of a thread that is changing a value.
#pragma once

#include <cstdint>
#include <string_view>

#include "sluice/detail/object_core.hpp"
#include "sluice/shm/arena.hpp"
#include "sluice/shm/fork.hpp"

namespace sluice::detail {

/// Throws std::invalid_argument where an object cannot grow up to that.
void require_max_bytes(const Origin& origin, std::string_view noun, std::uint64_t max_bytes);
[[noreturn]] void throw_out_of_memory(std::string_view object, const shm::Arena& arena,
                                      const shm::Shortage& shortage);

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
