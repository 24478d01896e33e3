// A Pool's nursery: the single-threaded child that the Pool's constructor forks. It makes the
// workers, so that none is ever forked beside threads; it replaces those that die, and ends with
// all of them when the owner does.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <string>
#include <vector>

#include "pool_area.hpp"
#include "sluice/detail/pool_core.hpp"

namespace sluice::detail {

/// What the nursery is told at its birth.
struct NurseryBirth {
    pid_t owner{};
    int request{-1};     // an eventfd: the owner has changed PoolLayout::request
    sigset_t signals{};  // the mask that the workers get
    std::vector<Binding> bindings{};
    std::vector<std::string> identities{};  // the workers'; successors take them over
};

/// Lives until the owner ends, or wishes it. Runs in a fresh child and leaves it.
[[noreturn]] void run_pool_nursery(PoolArea& area, const PoolOptions& options,
                                   const NurseryBirth& birth) noexcept;

}  // namespace sluice::detail
