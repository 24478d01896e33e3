// What must stand beside every number: the machine, the system, the compiler, the commit.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace sluice::bench {

struct MachineFacts {
    /// (name, value) in the order they are printed; unreadable ones say so.
    std::vector<std::pair<std::string, std::string>> facts;
    std::string commit;
    std::string cpu_model;
    std::string date;  // 2026-01-31T12:34:56Z
};

/// The CPUs named are those the benchmark runs on: their siblings and caches are told.
MachineFacts read_machine_facts(unsigned leader_cpu, unsigned peer_cpu);

/// CPUs this process may use.
std::vector<unsigned> usable_cpus();

/// Two usable CPUs, on different cores where there are such. Fewer than two: what there is.
std::vector<unsigned> choose_two_cpus();

}  // namespace sluice::bench
