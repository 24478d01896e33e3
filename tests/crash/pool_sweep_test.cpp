// The sweep over a Pool's worker, as a test.
#include "crash/pool_sweep.hpp"

#include <gtest/gtest.h>

#include "crash/report.hpp"

namespace sluice::crash {
namespace {

TEST(KillSweep, PoolWorkerAndItsNursery) {
    Report::run([] { Report::add(sweep_pool_worker()); });
}

}  // namespace
}  // namespace sluice::crash
