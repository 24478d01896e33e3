// The sweeps over what grows: a dictionary and a list, over shm/'s tables, so that they can be
// built against copies of it with a fault planted.
#pragma once

#include "crash/sweep.hpp"

namespace sluice::crash {

/// Each throws Violation.
SweepCounts sweep_dict();
SweepCounts sweep_list();

}  // namespace sluice::crash
