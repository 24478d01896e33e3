// The sweeps over dictionaries and lists, as tests.
#include "crash/table_sweep.hpp"

#include <gtest/gtest.h>

#include "crash/report.hpp"

namespace sluice::crash {
namespace {

TEST(KillSweep, Dict) {
    Report::run([] { Report::add(sweep_dict()); });
}

TEST(KillSweep, List) {
    Report::run([] { Report::add(sweep_list()); });
}

}  // namespace
}  // namespace sluice::crash
