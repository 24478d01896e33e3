// Where shared memory is placed and how it is backed: the words a user chooses from.
#pragma once

#include <cstdint>

namespace sluice::shm {

/// local: on the node of the creating thread; node: on MemoryOptions::node;
/// interleave: page by page over all.
enum class Numa : std::uint8_t { local, node, interleave };

/// prefer falls back to normal pages; require is an error where the kernel has none.
enum class HugePages : std::uint8_t { off, prefer, require };

/// How a segment's memory is obtained. Units: node is the kernel's node number, -1 for none.
struct MemoryOptions {
    Numa numa{};
    int node{-1};
    HugePages huge_pages{};
    bool prefault{true};
    bool lock{};
};

}  // namespace sluice::shm
