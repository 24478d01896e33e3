#include "program.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>

namespace sluice::bench {

namespace {

constexpr int kSkipped = 77;

std::string word_of(std::string text) {
    for (auto& c : text) {
        c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '-';
    }
    return text;
}

}  // namespace

Program::Program(std::string name, int argc, char** argv) : name_(std::move(name)) {
    CLI::App app{"Sluice benchmark: " + name_ + ". Ratios to the limit, in interleaved blocks."};
    std::vector<unsigned> cpus;
    std::string contestants;
    std::string races;
    app.add_flag("--quick", pace_.quick, "Each contestant a few times; judges nothing");
    app.add_option("--seconds", pace_.seconds, "Time for each race")->capture_default_str();
    app.add_option("--cpus", cpus, "The leader's and the peer's CPU, as in 0,1")
        ->delimiter(',')
        ->expected(2);
    app.add_option("--json", json_path_,
                   "Write the results here; into a folder: under a name of commit, CPU and date");
    app.add_option("--contestants", contestants, "Only those whose name matches this expression");
    app.add_option("--races", races, "Only those whose name matches this expression");
    try {
        app.parse(argc, argv);
        if (!contestants.empty()) {
            contestants_.emplace(contestants);
        }
        if (!races.empty()) {
            races_.emplace(races);
        }
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error));
    } catch (const std::regex_error& error) {
        fmt::print(stderr, "bench: not a regular expression: {}\n", error.what());
        std::exit(2);
    }
    const auto usable = usable_cpus();
    if (cpus.empty()) {
        cpus = choose_two_cpus();
    }
    if (cpus.size() < 2 || cpus[0] == cpus[1]) {
        fmt::print("skipped: two processes that spin need two CPUs\n");
        std::exit(kSkipped);
    }
    for (const unsigned cpu : cpus) {
        if (std::find(usable.begin(), usable.end(), cpu) == usable.end()) {
            fmt::print(stderr, "bench: CPU {} is not one this process may use\n", cpu);
            std::exit(2);
        }
    }
    pace_.leader_cpu = cpus[0];
    pace_.peer_cpu = cpus[1];
    machine_ = read_machine_facts(pace_.leader_cpu, pace_.peer_cpu);
    print_facts(machine_);
}

bool Program::wanted(const std::string& contestant) const {
    return !contestants_ || std::regex_search(contestant, *contestants_);
}

std::unique_ptr<Race> Program::race(Race::Options options) {
    if (races_ && !std::regex_search(options.name, *races_)) {
        return nullptr;
    }
    auto race = std::make_unique<Race>(std::move(options));
    if (race->options().base == "limit") {
        race->add<Limit<>>("limit", Kind::limit, "");
    }
    return race;
}

void Program::run(Race& race) {
    race.run(pace_);
    print_race(race, pace_);
    results_.push_back(race_json(race, pace_));
    for (const auto& verdict : race.verdicts()) {
        if (!pace_.quick && verdict.met) {
            summary_.push_back(fmt::format("{:<8} {}: {} ({})", *verdict.met ? "met" : "NOT MET",
                                           race.options().name, verdict.target, verdict.measured));
        }
    }
}

int Program::finish() {
    if (!summary_.empty()) {
        fmt::print("\nTargets\n");
        for (const auto& line : summary_) {
            fmt::print("  {}\n", line);
        }
    }
    if (json_path_.empty()) {
        return 0;
    }
    std::filesystem::path path = json_path_;
    if (std::filesystem::is_directory(path)) {
        path /= fmt::format("{}.{}.{}.{}.json", machine_.commit, word_of(machine_.cpu_model),
                            word_of(machine_.date), name_);
    }
    nlohmann::ordered_json json;
    json["program"] = name_;
    json["machine"] = facts_json(machine_);
    json["quick"] = pace_.quick;
    json["seconds_per_race"] = pace_.seconds;
    json["races"] = results_;
    std::ofstream file(path);
    file << json.dump(1) << '\n';
    if (!file.flush()) {
        fmt::print(stderr, "bench: cannot write {}\n", path.string());
        return 1;
    }
    return 0;
}

}  // namespace sluice::bench
