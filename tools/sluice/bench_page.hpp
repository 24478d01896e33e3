// What the benchmarks measured, as one HTML page that needs nothing else: the machine, which targets
// are met, and for each race its table and its plots.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>

namespace sluice::tool {

/// `runs`: what each program wrote with --json. Throws nlohmann::json::exception where one is
/// something else.
std::string bench_page(std::span<const nlohmann::ordered_json> runs);

}  // namespace sluice::tool
