// Who owns which end of a pipe: what the body of a pipe's segment begins with. How ends change
// hands is core's (detail/connection_core.hpp); the bytes are here, for whoever reads a segment.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/facts.hpp"

namespace sluice::shm {

/// One end of a pipe.
struct alignas(kIsolationBytes) EndLayout {
    static constexpr std::uint64_t kNobody = 0;
    static constexpr std::uint64_t kHandedOver = 1;

    std::atomic<std::uint64_t> owner;           // kNobody, kHandedOver or a ProcessIdentity::nonce
    std::atomic<std::uint32_t> identity_known;  // 1: the fields below are the owner's
    std::atomic<std::int32_t> pid;              // of the owner, or of the child it was handed to
    std::atomic<std::uint64_t> start_time;
    std::atomic<std::uint64_t> pid_namespace;
    std::atomic<std::uint64_t> pidfd_inode;
};
static_assert(sizeof(EndLayout) == 128 && offsetof(EndLayout, start_time) == 16);

struct PipeLayout {
    EndLayout ends[2];
};

}  // namespace sluice::shm
