// What the benchmarks measured, as one HTML page that needs nothing else: which targets are met,
// for each race its table and its plots, and the machine.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace sluice::tool {

/// `runs`: what each program wrote with --json. Throws nlohmann::json::exception where one is
/// something else.
std::string bench_page(std::span<const nlohmann::ordered_json> runs);

/// A plot of the page as a file of its own: "Pipe_RoundTrip-by-payload_bytes.svg", and its text.
struct Picture {
    std::string file{};
    std::string svg{};
};
std::vector<Picture> bench_pictures(std::span<const nlohmann::ordered_json> runs);

}  // namespace sluice::tool
