// The sweeps over the words of semaphores, events and barriers, with their rescues. They depend on
// shm/ only, so that they can be built against copies of it with a fault planted (mutants/).
#pragma once

#include "crash/sweep.hpp"

namespace sluice::crash {

/// They throw Violation.
SweepCounts sweep_semaphore();
SweepCounts sweep_event();
SweepCounts sweep_barrier();

}  // namespace sluice::crash
