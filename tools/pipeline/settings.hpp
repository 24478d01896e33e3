// What the user asked for, and what each stage needs of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <sluice/placement.hpp>
#include <sluice/wait.hpp>
#include <string>
#include <vector>

#include "exchange.hpp"

namespace sluice::pipeline {

struct RiskLimits {
    std::int64_t position_lots_max{100};        // a strategy, an input; either way
    std::int64_t orders_per_second_max{1'000};  // a strategy, by receive time
    std::int64_t collar_basis_points{50};       // from the last price traded
    std::uint64_t kill_after_rejections{};      // 0: never
};

struct Settings {
    std::vector<std::string> inputs{};  // empty: the synthetic exchange
    ExchangeOptions exchange{};
    double speed{};  // as fast as recorded: 1; 0: as fast as it goes
    std::size_t strategies{2};
    Placement placement{};
    bool print_plan{};  // where each process runs, before the run
    Wait wait{Wait::spin_then_park};
    RiskLimits limits{};
    std::string json_path{};
    std::string journal_path{};
    std::string hgrm_folder{};
};

/// How inputs are called in tables and in JSON.
std::vector<std::string> input_names(const Settings& settings);

}  // namespace sluice::pipeline
