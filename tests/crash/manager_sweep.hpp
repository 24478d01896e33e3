// The sweeps over a Manager's table and what only it has: windows, arrays, values of any length.
// Over shm/'s words, so that they can be built against copies of it with a fault planted.
#pragma once

#include "crash/sweep.hpp"

namespace sluice::crash {

/// Each throws Violation.
SweepCounts sweep_directory();
SweepCounts sweep_array();
SweepCounts sweep_value();

}  // namespace sluice::crash
