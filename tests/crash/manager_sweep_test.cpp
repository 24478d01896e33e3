// The sweeps over a Manager's table, arrays and values, as tests.
#include "crash/manager_sweep.hpp"

#include <gtest/gtest.h>

#include "crash/report.hpp"

namespace sluice::crash {
namespace {

TEST(KillSweep, Directory) {
    Report::run([] { Report::add(sweep_directory()); });
}
TEST(KillSweep, Array) {
    Report::run([] { Report::add(sweep_array()); });
}
TEST(KillSweep, Value) {
    Report::run([] { Report::add(sweep_value()); });
}

}  // namespace
}  // namespace sluice::crash
