// Threads that measure: each on a CPU of its own.
#pragma once

#include <cstdint>
#include <ctime>
#include <sluice/placement.hpp>
#include <sluice/topology.hpp>
#include <string>
#include <vector>

#include "command.hpp"

namespace sluice::tool {

/// A list "0,2-5" as numbers, all usable here; every usable CPU where it is empty.
inline std::vector<unsigned> parse_cpus(const std::string& list) {
    const Topology topology = Topology::system();
    std::vector<unsigned> cpus;
    if (list.empty()) {
        for (const Topology::Pu& pu : topology.pus()) {
            cpus.push_back(pu.cpu);
        }
        return cpus;
    }
    try {
        // plan() knows the lists, and which CPUs are usable; it starts again after the last.
        for (std::size_t count = 1;; ++count) {
            const auto bindings = plan(topology, {.policy = Policy::list, .cpus = list}, count);
            if (count > 1 && bindings.back() == bindings.front()) {
                return cpus;
            }
            cpus.push_back(bindings.back().cpus.at(0));
        }
    } catch (const std::invalid_argument& error) {
        throw CommandError(kUsage, std::string("--cpus: ") + error.what());
    }
}

inline std::int64_t now_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

}  // namespace sluice::tool
