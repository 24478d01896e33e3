// The sweeps over a Pool. Its worker takes a task, runs it, settles and reports it, and is killed,
// or stopped, at each point of that; the nursery's part is played by the survivor, with the
// library's own code. Its owner hands out, collects, and ends the Pool, and is killed at each point
// of that: nursery and workers end, and nothing stays behind.
#pragma once

#include "crash/sweep.hpp"

namespace sluice::crash {

/// Each throws Violation.
SweepCounts sweep_pool_worker();
SweepCounts sweep_pool_owner();

}  // namespace sluice::crash
