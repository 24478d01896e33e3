// The sweep over the owner-tagged ring, as a test.
#include "crash/ring_sweep.hpp"

#include <gtest/gtest.h>

#include "crash/report.hpp"

namespace sluice::crash {
namespace {

TEST(KillSweep, RingAndItsRescue) {
    Report::run([] { Report::add(sweep_ring()); });
}

}  // namespace
}  // namespace sluice::crash
