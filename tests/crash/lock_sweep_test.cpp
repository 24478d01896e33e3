// The sweep over the lock word, as a test.
#include "crash/lock_sweep.hpp"

#include <gtest/gtest.h>

#include "crash/report.hpp"

namespace sluice::crash {
namespace {

TEST(KillSweep, LockAndItsRescue) {
    Report::run([] { Report::add(sweep_lock()); });
}

}  // namespace
}  // namespace sluice::crash
