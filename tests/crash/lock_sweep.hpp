// The sweep over the lock word itself, with its rescue, its heir and tags about to wrap. Depends on
// shm/ only, so that it can be built against copies of it with a fault planted (mutants/).
#pragma once

#include "crash/sweep.hpp"

namespace sluice::crash {

/// Throws Violation.
SweepCounts sweep_lock();

}  // namespace sluice::crash
