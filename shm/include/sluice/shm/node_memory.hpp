// On which NUMA node pages lie: asks the kernel to place them, and reads back where
// they came to lie.
#pragma once

#include <cstddef>
#include <vector>

#include "sluice/shm/failure.hpp"
#include "sluice/shm/memory_options.hpp"

namespace sluice::shm {

/// What was asked of the kernel and what it did.
struct NodeReport {
    Numa requested{};
    // The node meant: of Numa::node, or the creator's own for local.
    int node{-1};
    // MPOL_* as get_mempolicy tells it; -1 where the kernel has no NUMA.
    int policy{-1};
    // Pages found on each node; empty where it cannot be told.
    std::vector<std::size_t> pages_on_node{};
    // Not there yet (no prefault), or swapped out.
    std::size_t pages_absent{};
};

/// Sets the policy of `bytes` at `address`, which must be mapped, shared and
/// page-aligned, before it is touched. For memfd and /dev/shm the policy belongs to
/// the object: every later mapper gets it.
/// Errors: environment, when a named node does not exist or mbind refuses. Without
/// NUMA in the kernel `local` and `interleave` succeed and do nothing.
/// Source: mbind(2); the kernel's numa_memory_policy "Shared Policy".
bool place_pages(void* address, std::size_t bytes, const MemoryOptions& options, Failure& failure);

/// Reads back the policy and where the pages are. Blocks: never. Source:
/// get_mempolicy(2), move_pages(2).
NodeReport read_placement(void* address, std::size_t bytes, const MemoryOptions& options);

/// The node of the CPU that this thread runs on, 0 where the kernel does not tell.
int current_node() noexcept;

}  // namespace sluice::shm
