// What every benchmark program has in common: options, the machine's facts, tables, the JSON file.
#pragma once

#include <memory>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "limit.hpp"
#include "race.hpp"
#include "report.hpp"

namespace sluice::bench {

class Program {
 public:
    /// Reads the command line; --help and wrong options end the program here, and so does a machine
    /// with fewer than two usable CPUs (exit status 77: skipped).
    Program(std::string name, int argc, char** argv);

    /// Starts describing a race; its base, the limit, is in it. Nothing is made for a race that
    /// --races leaves out: then it is null.
    std::unique_ptr<Race> race(Race::Options options);

    /// Adds a contestant unless --contestants leaves it out.
    template <class C, class... Args>
    void add(Race& race, const std::string& name, Kind kind, const std::string& note = "",
             Args... args) {
        if (wanted(name)) {
            race.add<C>(name, kind, note, args...);
        }
    }

    void run(Race& race);

    /// Writes the JSON file, prints the summary of the targets. Returns main's exit status.
    int finish();

    const Pace& pace() const { return pace_; }

 private:
    bool wanted(const std::string& contestant) const;

    std::string name_;
    Pace pace_;
    std::string json_path_;
    std::optional<std::regex> contestants_;
    std::optional<std::regex> races_;
    MachineFacts machine_;
    nlohmann::ordered_json results_ = nlohmann::ordered_json::array();
    std::vector<std::string> summary_;
};

}  // namespace sluice::bench
