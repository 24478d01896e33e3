// The sweeps over what is read or waited for by many, or held several times: a re-entrant and a
// reader-writer lock, a condition, a guarded value. Over shm/'s words where that is enough, so that
// they can be built against copies of it with a fault planted.
#pragma once

#include "crash/sweep.hpp"

namespace sluice::crash {

/// Each throws Violation.
SweepCounts sweep_rlock();
SweepCounts sweep_rw_lock();
SweepCounts sweep_condition();
SweepCounts sweep_guarded();

}  // namespace sluice::crash
