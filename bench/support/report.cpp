#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace sluice::bench {

namespace {

using nlohmann::ordered_json;

struct Figures {
    Spread ratio;  // to the base, block by block
    Spread ns;
    Spread limit_ns;
};

template <class Keep>
Figures figures_of(const std::vector<Sample>& samples, Keep keep) {
    std::vector<double> ratios;
    std::vector<double> ns;
    std::vector<double> limits;
    for (const auto& sample : samples) {
        if (keep(sample)) {
            ratios.push_back(sample.ratio());
            ns.push_back(sample.ns);
            limits.push_back(sample.limit_ns());
        }
    }
    return {spread(ratios), spread(ns), spread(limits)};
}

Figures figures_of(const Entry& entry) {
    return figures_of(entry.kept(), [](const Sample&) { return true; });
}

const char* kind_name(Kind kind) {
    switch (kind) {
        case Kind::limit:
            return "limit";
        case Kind::ours:
            return "ours";
        case Kind::peer:
            return "peer";
        case Kind::scale:
            return "scale";
    }
    return "";
}

std::string in_brackets(const Spread& value, int digits) {
    return fmt::format("{:.{}f} [{:.{}f}..{:.{}f}]", value.p50, digits, value.p10, digits,
                       value.p90, digits);
}

// Rates fall as times rise: the tenth percentile of the rate is the ninetieth of the time.
Spread as_rate(const Spread& ns) {
    return {1e3 / ns.p90, 1e3 / ns.p50, 1e3 / ns.p10, ns.count};
}

int digits_of(double value) {
    return value < 10 ? 2 : value < 100 ? 1 : 0;
}

std::string label(const Entry& entry) {
    return entry.note.empty() ? entry.name : fmt::format("{} ({})", entry.name, entry.note);
}

std::string counts(const Entry& entry) {
    const auto kept = entry.kept().size();
    return fmt::format("{}/{}", kept, entry.samples.size() - kept);
}

void print_limit(const Race& race) {
    const Entry& base = race.entries().front();
    const auto figures = figures_of(base.samples, [](const Sample&) { return true; });
    const auto preempted = std::count_if(base.samples.begin(), base.samples.end(),
                                         [](const Sample& sample) { return sample.preempted; });
    fmt::print("  {}: round trip {} ns over {} blocks, {} of them preempted", base.name,
               in_brackets(figures.ns, digits_of(figures.ns.p50)), base.samples.size(), preempted);
    if (base.name == "limit") {
        for (const auto& state : limit_states()) {
            const auto here = std::count_if(base.samples.begin(), base.samples.end(),
                                            [&](const Sample& s) { return state.holds(s); });
            if (here > 0) {
                fmt::print(
                    "; {}: {:.0f} %", state.name,
                    100.0 * static_cast<double>(here) / static_cast<double>(base.samples.size()));
            }
        }
    }
    fmt::print("\n");
}

void print_round_trips(const Race& race) {
    fmt::print("  {:<34} {:>22} {:>20} {:>8} {:>8} {:>9} {:>10} {:>11}\n", "contestant",
               "x " + race.options().base, "ns of a block", "p50", "p99", "p99.9", "max",
               "kept/dropped");
    for (const auto& entry : race.entries()) {
        const auto figures = figures_of(entry);
        fmt::print("  {:<34} {:>22} {:>20} ", label(entry), in_brackets(figures.ratio, 2),
                   in_brackets(figures.ns, 0));
        if (entry.latency_ns.empty()) {
            fmt::print("{:>8} {:>8} {:>9} {:>10} ", "-", "-", "-", "-");
        } else {
            fmt::print("{:>8.0f} {:>8.0f} {:>9.0f} {:>10.0f} ", quantile(entry.latency_ns, 0.5),
                       quantile(entry.latency_ns, 0.99), quantile(entry.latency_ns, 0.999),
                       quantile(entry.latency_ns, 1.0));
        }
        fmt::print("{:>11}\n", counts(entry));
    }
}

// For a stream the question is who is faster in the same blocks: the first of ours over each other.
void print_streams(const Race& race) {
    const auto& entries = race.entries();
    const auto ours = std::find_if(entries.begin(), entries.end(),
                                   [](const Entry& e) { return e.kind == Kind::ours; });
    const bool have_ours = ours != entries.end();
    fmt::print("  {:<34} {:>24} {:>28} {:>12}\n", "contestant", "M messages/s",
               have_ours ? ours->name + " / this" : "", "kept/dropped");
    for (const auto& entry : entries) {
        if (entry.kind == Kind::limit) {
            continue;
        }
        const auto rate = as_rate(figures_of(entry).ns);
        const auto ratios = have_ours ? paired_ratios(entry, *ours) : std::vector<double>{};
        fmt::print("  {:<34} {:>24} {:>28} {:>12}\n", label(entry),
                   in_brackets(rate, digits_of(rate.p50)),
                   ratios.empty() ? "-" : in_brackets(spread(ratios), 2), counts(entry));
    }
}

// Where the machine was in more than one state, one number for all of them would describe none.
void print_states(const Race& race) {
    for (const auto& state : limit_states()) {
        bool titled = false;
        for (const auto& entry : race.entries()) {
            const auto kept = entry.kept();
            const auto figures =
                figures_of(kept, [&](const Sample& sample) { return state.holds(sample); });
            if (figures.ns.count < 5 || figures.ns.count == kept.size()) {
                continue;
            }
            if (!titled) {
                fmt::print("  {}:", state.name);
                titled = true;
            }
            if (race.options().unit == Unit::round_trip) {
                fmt::print(" {} {:.2f} x;", entry.name, figures.ratio.p50);
            } else if (entry.kind != Kind::limit) {
                fmt::print(" {} {:.1f} M/s;", entry.name, 1e3 / figures.ns.p50);
            }
        }
        if (titled) {
            fmt::print("\n");
        }
    }
}

ordered_json spread_json(const Spread& value) {
    return {{"p10", value.p10}, {"p50", value.p50}, {"p90", value.p90}, {"blocks", value.count}};
}

// `percentiles` are for plots: pairs of a per cent and nanoseconds.
ordered_json latency_json(const std::vector<double>& ns) {
    ordered_json json = {{"p50", quantile(ns, 0.5)},
                         {"p99", quantile(ns, 0.99)},
                         {"p99.9", quantile(ns, 0.999)},
                         {"max", quantile(ns, 1.0)},
                         {"count", ns.size()}};
    for (const double q : {0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999}) {
        // What fewer than ten samples stand for is no percentile.
        if ((1.0 - q) * static_cast<double>(ns.size()) >= 10.0) {
            json["percentiles"].push_back({100.0 * q, quantile(ns, q)});
        }
    }
    return json;
}

ordered_json figures_json(const Figures& figures, Unit unit) {
    ordered_json json;
    json["ratio"] = spread_json(figures.ratio);
    json["ns"] = spread_json(figures.ns);
    if (unit == Unit::message) {
        json["million_per_s"] = spread_json(as_rate(figures.ns));
    }
    json["limit_ns"] = spread_json(figures.limit_ns);
    return json;
}

}  // namespace

void print_facts(const MachineFacts& machine) {
    for (const auto& [name, value] : machine.facts) {
        fmt::print("{:<20} {}\n", name, value);
    }
}

void print_race(const Race& race, const Pace& pace) {
    fmt::print("\n{}\n", race.options().name);
    print_limit(race);
    if (race.options().unit == Unit::round_trip) {
        print_round_trips(race);
    } else {
        print_streams(race);
    }
    if (race.options().base == "limit") {
        print_states(race);
    }
    for (const auto& verdict : race.verdicts()) {
        if (pace.quick || !verdict.met.has_value()) {
            fmt::print("  target: {} -> not judged{}\n", verdict.target,
                       pace.quick || verdict.measured.empty() ? "" : ": " + verdict.measured);
        } else {
            fmt::print("  target: {} -> {} ({})\n", verdict.target,
                       *verdict.met ? "met" : "NOT MET", verdict.measured);
        }
    }
    std::fflush(stdout);
}

ordered_json facts_json(const MachineFacts& machine) {
    ordered_json json;
    for (const auto& [name, value] : machine.facts) {
        json[name] = value;
    }
    return json;
}

ordered_json race_json(const Race& race, const Pace& pace) {
    ordered_json json;
    json["name"] = race.options().name;
    json["unit"] = race.options().unit == Unit::round_trip ? "round trip" : "message";
    json["base"] = race.options().base;
    for (const auto& entry : race.entries()) {
        const auto kept = entry.kept();
        ordered_json one;
        one["name"] = entry.name;
        one["kind"] = kind_name(entry.kind);
        one["note"] = entry.note;
        one["blocks_kept"] = kept.size();
        one["blocks_torn"] = std::count_if(entry.samples.begin(), entry.samples.end(),
                                           [](const Sample& s) { return s.torn(); });
        one["blocks_preempted"] = std::count_if(entry.samples.begin(), entry.samples.end(),
                                                [](const Sample& s) { return s.preempted; });
        one["all_states"] = figures_json(figures_of(entry), race.options().unit);
        for (const auto& state : limit_states()) {
            const auto figures =
                figures_of(kept, [&](const Sample& sample) { return state.holds(sample); });
            if (figures.ns.count > 0) {
                one["states"][state.name] = figures_json(figures, race.options().unit);
            }
        }
        if (!entry.latency_ns.empty()) {
            one["latency_ns"] = latency_json(entry.latency_ns);
        }
        json["contestants"].push_back(std::move(one));
    }
    json["targets"] = ordered_json::array();
    for (const auto& verdict : race.verdicts()) {
        ordered_json one = {{"target", verdict.target}, {"measured", verdict.measured}};
        one["met"] = pace.quick || !verdict.met ? ordered_json() : ordered_json(*verdict.met);
        json["targets"].push_back(std::move(one));
    }
    return json;
}

}  // namespace sluice::bench
