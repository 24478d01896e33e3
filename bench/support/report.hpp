// Results for people (tables on stdout) and for programs (JSON).
#pragma once

#include <nlohmann/json.hpp>

#include "machine.hpp"
#include "race.hpp"

namespace sluice::bench {

void print_facts(const MachineFacts& machine);
void print_race(const Race& race, const Pace& pace);

nlohmann::ordered_json facts_json(const MachineFacts& machine);
nlohmann::ordered_json race_json(const Race& race, const Pace& pace);

}  // namespace sluice::bench
