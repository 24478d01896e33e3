// Noticing that this process is a child: handles that carry over a fork must not act
// as their parent's.
#pragma once

#include <cstdint>

namespace sluice::shm {

/// Raised in every child made by fork, so that a remembered value tells "still the
/// same process". Plain: it changes only while a child has one thread. (A child made
/// by clone(2) or _Fork(3) is not noticed.)
extern constinit std::uint32_t fork_generation;

}  // namespace sluice::shm
