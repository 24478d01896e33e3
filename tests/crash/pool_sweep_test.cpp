// The sweeps over a Pool, as tests.
#include "crash/pool_sweep.hpp"

#include <gtest/gtest.h>

#include "crash/report.hpp"

namespace sluice::crash {
namespace {

TEST(KillSweep, PoolWorkerAndItsNursery) {
    Report::run([] { Report::add(sweep_pool_worker()); });
}

TEST(KillSweep, PoolOwner) {
    Report::run([] { Report::add(sweep_pool_owner()); });
}

}  // namespace
}  // namespace sluice::crash
