// Making and opening what grows; its errors in words.
#include "sluice/detail/growing.hpp"

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "sluice/detail/failure.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {

constinit thread_local UpdateFrame* UpdateFrame::innermost = nullptr;

std::string object_name(std::string_view noun, std::string_view name) {
    return name.empty() ? std::string(noun) : std::string(noun) + " \"" + std::string(name) + '"';
}

std::shared_ptr<shm::Segment> make_segment(const shm::SegmentPlace& place, SyncOpen how,
                                           const GrowingShape& growing,
                                           const shm::MemoryOptions& memory, unsigned permissions) {
    const std::string object = object_name(growing.noun, place.name);
    if (place.name.empty() != (how == SyncOpen::anonymous)) {
        throw std::invalid_argument(object + ": a named one needs a name");
    }
    constexpr std::uint64_t kBytesMin = 64 * shm::kUnitBytes;
    constexpr std::uint64_t kBytesMax = shm::Arena::kUnitsMax * shm::kUnitBytes;
    if (growing.max_bytes < kBytesMin || growing.max_bytes > kBytesMax) {
        throw std::invalid_argument(object + ": max_bytes is " + std::to_string(kBytesMin) +
                                    " to " + std::to_string(kBytesMax) + ", not " +
                                    std::to_string(growing.max_bytes));
    }
    const auto is = [](const shm::Failure& failure, int error) {
        return failure.kind == shm::FailureKind::environment && failure.error == error;
    };
    for (;;) {
        shm::Failure failure;
        if (how == SyncOpen::open || how == SyncOpen::open_or_create) {
            if (auto segment = shm::Segment::open(place, growing.spec, failure)) {
                return segment;
            }
            if (how == SyncOpen::open || !is(failure, ENOENT)) {
                throw_failure(object, failure);
            }
            failure = {};
        }
        auto segment = shm::Segment::create(
            place, growing.spec, memory, permissions, failure,
            [&](shm::Segment& made) { growing.initialise(made, growing.shape); });
        if (segment) {
            return segment;
        }
        // Made by another since we looked: open that.
        if (how != SyncOpen::open_or_create || !is(failure, EEXIST)) {
            throw_failure(object, failure);
        }
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

void throw_damaged(std::string_view object) {
    throw BadSegment(std::string(object) +
                     ": is damaged, something else wrote to its memory: remove it and make it "
                     "anew");
}

shm::MemberId join_segment(shm::Segment& segment, std::string_view object) {
    shm::Failure failure;
    const shm::MemberId id = segment.members().join(failure);
    if (id == shm::kNobody) {
        throw_failure(object, failure);
    }
    return id;
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
