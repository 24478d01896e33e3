// The sweeps over re-entrant and reader-writer locks, conditions and guarded values, as tests.
#include "crash/words_sweep.hpp"

#include <gtest/gtest.h>

#include "crash/report.hpp"

namespace sluice::crash {
namespace {

TEST(KillSweep, RLock) {
    Report::run([] { Report::add(sweep_rlock()); });
}
TEST(KillSweep, RWLock) {
    Report::run([] { Report::add(sweep_rw_lock()); });
}
TEST(KillSweep, Condition) {
    Report::run([] { Report::add(sweep_condition()); });
}
TEST(KillSweep, Guarded) {
    Report::run([] { Report::add(sweep_guarded()); });
}

}  // namespace
}  // namespace sluice::crash
