// The sweep over a Pool's worker: it takes a task, runs it, settles and reports it, and is killed
// at each point of that. The nursery's part is played by the survivor, with the library's own code.
#pragma once

#include "crash/sweep.hpp"

namespace sluice::crash {

/// Throws Violation.
SweepCounts sweep_pool_worker();

}  // namespace sluice::crash
