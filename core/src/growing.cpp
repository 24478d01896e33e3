// How large what grows may become; its errors in words.
#include "sluice/detail/growing.hpp"

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

#include "sluice/error.hpp"

namespace sluice::detail {

constinit thread_local UpdateFrame* UpdateFrame::innermost = nullptr;

void require_max_bytes(const Origin& origin, std::string_view noun, std::uint64_t max_bytes) {
    constexpr std::uint64_t kBytesMin = 64 * shm::kUnitBytes;
    constexpr std::uint64_t kBytesMax = shm::Arena::kUnitsMax * shm::kUnitBytes;
    if (origin.may_make() && (max_bytes < kBytesMin || max_bytes > kBytesMax)) {
        throw std::invalid_argument(origin.object(noun) + ": max_bytes is " +
                                    std::to_string(kBytesMin) + " to " + std::to_string(kBytesMax) +
                                    ", not " + std::to_string(max_bytes));
    }
}

void throw_out_of_memory(std::string_view object, const shm::Arena& arena,
                         const shm::Shortage& shortage) {
    const int error = shortage.error != 0 ? shortage.error : ENOSPC;
    const std::string why = shortage.error != 0
                                ? "fallocate failed (is /dev/shm full? containers: --shm-size)"
                                : "it has reached its max_bytes";
    throw std::system_error(
        error, std::generic_category(),
        std::string(object) + ": no room for " + std::to_string(shortage.asked_bytes) +
            " bytes more: " + why + "; " + std::to_string(arena.bytes_in_use()) +
            " bytes are in use, " + std::to_string(arena.bytes_max()) + " are the most");
}

void UpdateFrame::refuse_if_open(std::uint64_t object, std::string_view name) {
    for (const UpdateFrame* frame = innermost; frame != nullptr; frame = frame->outer_) {
        if (frame->object_ == object && frame->generation_ == shm::fork_generation) {
            throw Error(std::string(name) +
                        ": would deadlock: it cannot be written by the function that update() "
                        "runs; change what that was given instead");
        }
    }
}

}  // namespace sluice::detail
