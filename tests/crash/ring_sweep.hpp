// The sweep over the owner-tagged ring itself: what Queue's operations cannot be brought to, as its
// rescue, or positions about to wrap. Depends on shm/ only, so that it can be built against copies
// of it with a fault planted (mutants/).
#pragma once

#include "crash/sweep.hpp"

namespace sluice::crash {

/// Throws Violation.
SweepCounts sweep_ring();

}  // namespace sluice::crash
