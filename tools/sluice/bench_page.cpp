// From the benchmarks' JSON to the page. A race's name is Family/key:value/...: races of one family
// that differ in a number (the size of a message, how many processes) make one more plot together.
#include "bench_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "plot.hpp"

namespace sluice::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kColours = R"(
:root{--ink:#1b1f24;--soft:#57606a;--paper:#fff;--rule:#d8dee4;--ours:#0969da;--bad:#b35900;--good:#1a7f37}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--paper:#0d1117;--rule:#30363d;--ours:#4493f8;--bad:#e09b57;--good:#57ab5a}}
)";

constexpr std::string_view kStyle = R"(
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{margin-top:3rem;border-bottom:1px solid var(--rule)}h3{margin:2rem 0 .5rem;font-size:1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
.plot{width:100%;max-width:46rem;height:auto;display:block;margin:.8rem 0}
td.n,th.n{text-align:right}.soft{color:var(--soft)}.met{color:var(--good)}.not{color:var(--bad);font-weight:600}.ours{font-weight:600}
)";

// What plots look like, on the page and as pictures of their own.
constexpr std::string_view kPlotStyle = R"(
.plot text{font:12px system-ui,sans-serif;fill:var(--ink)}
.plot .title{font-weight:600}.plot .tick,.plot .axis{fill:var(--soft);font-size:11px}.plot .grid{stroke:var(--rule)}
.plot .spread{stroke:var(--ink);fill:none}.plot .line{fill:none;stroke-width:2}.plot .s0-label{font-weight:600}
.bar.s0,.dot.s0{fill:var(--ours)}.line.s0{stroke:var(--ours);stroke-width:3}
.bar.s1,.dot.s1{fill:#5aa0f2}.line.s1{stroke:#5aa0f2}.bar.s2,.dot.s2{fill:#d4a017}.line.s2{stroke:#d4a017}
.bar.s3,.dot.s3{fill:#2da27d}.line.s3{stroke:#2da27d}.bar.s4,.dot.s4{fill:#c2549d}.line.s4{stroke:#c2549d}
.bar.s5,.dot.s5{fill:#8c6bc8}.line.s5{stroke:#8c6bc8}.bar.s6,.dot.s6{fill:#b5651d}.line.s6{stroke:#b5651d}
.bar.s7,.dot.s7{fill:#7a8691}.line.s7{stroke:#7a8691}.bar.limit,.dot.limit{fill:#9aa4ae}.line.limit{stroke:#9aa4ae;stroke-dasharray:5 4}
)";

/// A race's name, taken apart.
struct Name {
    std::string family{};
    std::map<std::string, double> numbers{};
    std::string rest{};  // what is no number: section:short

    explicit Name(std::string_view text) {
        for (std::size_t part = 0; !text.empty(); ++part) {
            const std::size_t slash = text.find('/');
            const std::string_view here = text.substr(0, slash);
            text = slash == text.npos ? std::string_view() : text.substr(slash + 1);
            const std::size_t colon = here.find(':');
            const std::string value(colon == here.npos ? here : here.substr(colon + 1));
            std::size_t used = 0;
            double number = 0;
            try {
                number = std::stod(value, &used);
            } catch (const std::exception&) {
                used = 0;
            }
            if (part == 0) {
                family = here;
            } else if (colon != here.npos && used == value.size()) {
                numbers[std::string(here.substr(0, colon))] = number;
            } else {
                rest += "/" + std::string(here);
            }
        }
    }
};

bool is_round_trip(const Json& race) {
    return race.at("unit") == "round trip";
}
const Json& spread_of(const Json& race, const Json& contestant) {
    return contestant.at("all_states").at(is_round_trip(race) ? "ns" : "million_per_s");
}
bool was_measured(const Json& race, const Json& contestant) {
    const char* key = is_round_trip(race) ? "ns" : "million_per_s";
    return contestant.contains("all_states") && contestant.at("all_states").contains(key) &&
           contestant.at("all_states").at(key).at("p50").is_number();
}
double number_of(const Json& value) {
    return value.is_number() ? value.get<double>() : 0.0;
}

/// The same colour for a contestant in all plots of a race's family.
class Colours {
 public:
    std::string of(const Json& contestant) {
        if (contestant.at("kind") == "limit") {
            return "limit";
        }
        const auto name = contestant.at("name").get<std::string>();
        const auto known = classes_.find(name);
        if (known != classes_.end()) {
            return known->second;
        }
        const bool ours = contestant.at("kind") == "ours";
        const std::size_t number = ours && ours_ < 2 ? ours_ : 2 + others_ % 6;
        (ours && ours_ < 2 ? ours_ : others_) += 1;
        return classes_[name] = fmt::format("s{}", number);
    }

 private:
    std::map<std::string, std::string> classes_{};
    std::size_t ours_{};
    std::size_t others_{};
};

/// A long name may go on in the next line behind a slash.
std::string breakable(std::string_view name) {
    std::string html;
    for (const char letter : escaped(name)) {
        html += letter;
        html += letter == '/' ? "<wbr>" : "";
    }
    return html;
}

std::string in_brackets(const Json& spread, int digits) {
    return fmt::format("{:.{}f} <span class=\"soft\">{:.{}f}..{:.{}f}</span>",
                       number_of(spread.at("p50")), digits, number_of(spread.at("p10")), digits,
                       number_of(spread.at("p90")), digits);
}

std::string race_table(const Json& race) {
    const bool round_trip = is_round_trip(race);
    std::string html = fmt::format(
        "<table><tr><th>contestant</th><th class=\"n\">x {}</th><th class=\"n\">{}</th>"
        "<th class=\"n\">blocks</th></tr>",
        escaped(race.at("base").get<std::string>()), round_trip ? "ns" : "million a second");
    for (const Json& contestant : race.at("contestants")) {
        if (!was_measured(race, contestant)) {
            continue;
        }
        html += fmt::format(
            "<tr class=\"{}\"><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>"
            "<td class=\"n soft\">{}</td></tr>",
            contestant.at("kind").get<std::string>(),
            escaped(contestant.at("name").get<std::string>()),
            in_brackets(contestant.at("all_states").at("ratio"), 2),
            in_brackets(spread_of(race, contestant), round_trip ? 0 : 2),
            contestant.at("blocks_kept").dump());
    }
    return html + "</table>";
}

std::string race_bars(const Json& race, Colours& colours) {
    BarPlot plot;
    plot.title = is_round_trip(race) ? "Time of a round trip" : "Rate";
    plot.unit = is_round_trip(race) ? "ns, log scale; the line is p10 to p90 of the blocks"
                                    : "million a second; the line is p10 to p90 of the blocks";
    plot.scale = is_round_trip(race) ? Scale::log : Scale::linear;
    for (const Json& contestant : race.at("contestants")) {
        if (was_measured(race, contestant)) {
            const Json& spread = spread_of(race, contestant);
            plot.bars.push_back({contestant.at("name").get<std::string>(), colours.of(contestant),
                                 number_of(spread.at("p50")), number_of(spread.at("p10")),
                                 number_of(spread.at("p90"))});
        }
    }
    return to_svg(plot);
}

std::string race_latencies(const Json& race, Colours& colours) {
    LinePlot plot;
    plot.title = "Percentiles of single round trips";
    plot.x_title = "percentile";
    plot.y_title = "ns, log scale";
    plot.x_scale = Scale::log;
    plot.y_scale = Scale::log;
    // Each nine takes the same room: the place of a percentile is 1 / (1 - p).
    for (const auto& [percent, label] : {std::pair{0.0, "0"},
                                         {50.0, "50 %"},
                                         {90.0, "90 %"},
                                         {99.0, "99 %"},
                                         {99.9, "99.9 %"},
                                         {99.99, "99.99 %"}}) {
        plot.x_ticks.push_back({100.0 / (100.0 - percent), label});
    }
    for (const Json& contestant : race.at("contestants")) {
        if (!contestant.contains("latency_ns") ||
            !contestant.at("latency_ns").contains("percentiles")) {
            continue;
        }
        Line line{contestant.at("name").get<std::string>(), colours.of(contestant), {}};
        for (const Json& point : contestant.at("latency_ns").at("percentiles")) {
            line.points.emplace_back(100.0 / (100.0 - number_of(point.at(0))),
                                     number_of(point.at(1)));
        }
        plot.lines.push_back(std::move(line));
    }
    return to_svg(plot);
}

/// The races of a family over one of their numbers: how rates go with the size of a message, or
/// with the number of processes.
std::string family_plot(std::span<const Json* const> races, const std::string& key,
                        Colours& colours) {
    LinePlot plot;
    const bool round_trip = is_round_trip(*races.front());
    plot.title = fmt::format("{} by {}", Name(races.front()->at("name").get<std::string>()).family,
                             key == "payload_bytes" ? "size of a message" : "number of " + key);
    plot.x_title = key == "payload_bytes" ? "bytes" : key;
    plot.y_title = round_trip ? "ns, log scale" : "million a second, log";
    plot.x_scale = Scale::log;
    plot.y_scale = Scale::log;
    std::vector<Line> lines;
    for (const Json* race : races) {
        const double x = Name(race->at("name").get<std::string>()).numbers.at(key);
        plot.x_ticks.push_back({x, fmt::format("{:g}", x)});
        for (const Json& contestant : race->at("contestants")) {
            if (!was_measured(*race, contestant)) {
                continue;
            }
            const auto name = contestant.at("name").get<std::string>();
            auto line = std::find_if(lines.begin(), lines.end(),
                                     [&](const Line& known) { return known.label == name; });
            if (line == lines.end()) {
                line = lines.insert(lines.end(), {name, colours.of(contestant), {}});
            }
            line->points.emplace_back(x, number_of(spread_of(*race, contestant).at("p50")));
        }
    }
    for (Line& line : lines) {
        std::sort(line.points.begin(), line.points.end());
    }
    plot.lines = std::move(lines);
    return to_svg(plot);
}

/// What the races of a family have in common ("section:short"), what they differ in, and the plot.
struct FamilyPlot {
    std::string shared{};
    std::string key{};
    std::string svg{};
};

/// Races that differ in one number only, by what they share.
std::vector<FamilyPlot> family_plots(const Json& run, const std::string& family, Colours& colours) {
    std::vector<FamilyPlot> plots;
    for (const std::string key : {"payload_bytes", "processes", "producers", "parties"}) {
        std::map<std::string, std::vector<const Json*>> alike;
        for (const Json& race : run.at("races")) {
            const Name name(race.at("name").get<std::string>());
            if (name.family != family || !name.numbers.contains(key)) {
                continue;
            }
            std::string others = name.rest;
            for (const auto& [other, value] : name.numbers) {
                // As many producers as consumers: they grow together.
                const bool together = key == "producers" && other == "consumers";
                others += other == key || together ? "" : fmt::format("/{}:{:g}", other, value);
            }
            alike[others].push_back(&race);
        }
        for (const auto& [others, races] : alike) {
            if (races.size() > 1) {
                plots.push_back({others.empty() ? others : others.substr(1), key,
                                 family_plot(races, key, colours)});
            }
        }
    }
    return plots;
}

/// The plots of each family of races, then its races, in the order of the run.
template <class OnPlot, class OnRace>
void walk(const Json& run, OnPlot&& on_plot, OnRace&& on_race) {
    Colours colours;
    std::string family;
    for (const Json& race : run.at("races")) {
        const auto name = race.at("name").get<std::string>();
        if (const Name parts(name); parts.family != family) {
            family = parts.family;
            colours = {};
            for (const FamilyPlot& plot : family_plots(run, family, colours)) {
                on_plot(family, plot);
            }
        }
        on_race(name, race, colours);
    }
}

/// A file's name: letters, digits and '-', nothing that a shell minds.
std::string file_name(std::string_view text) {
    std::string name;
    for (const char letter : text) {
        const bool plain = (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') ||
                           (letter >= 'A' && letter <= 'Z') || letter == '_' || letter == '.';
        name += plain ? letter : '-';
    }
    return name + ".svg";
}

/// A plot that needs no page: with its name space, its colours, and paper.
std::string standalone(std::string svg) {
    constexpr std::string_view kBegin = "<svg ";
    if (!svg.starts_with(kBegin)) {
        return {};
    }
    svg.insert(kBegin.size(), "xmlns=\"http://www.w3.org/2000/svg\" ");
    svg.insert(svg.find('>') + 1, fmt::format("<style>{}{}svg{{background:var(--paper)}}</style>",
                                              kColours, kPlotStyle));
    return svg + "\n";
}

std::string targets_table(std::span<const Json> runs) {
    std::string html =
        "<h2 id=\"targets\">Targets</h2><table><tr><th></th><th>race</th><th>target</th>"
        "<th>measured</th></tr>";
    std::size_t rows = 0;
    for (const Json& run : runs) {
        for (const Json& race : run.at("races")) {
            for (const Json& target : race.value("targets", Json::array())) {
                const Json& met = target.at("met");
                html += fmt::format(
                    "<tr><td class=\"{}\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    met.is_null()     ? "soft"
                    : met.get<bool>() ? "met"
                                      : "not",
                    met.is_null()     ? "not judged"
                    : met.get<bool>() ? "met"
                                      : "NOT MET",
                    breakable(race.at("name").get<std::string>()),
                    escaped(target.at("target").get<std::string>()),
                    escaped(target.value("measured", std::string())));
                ++rows;
            }
        }
    }
    return rows == 0 ? std::string() : html + "</table>";
}

std::string machine_table(const Json& machine) {
    std::string html = "<h2 id=\"machine\">Machine</h2><table>";
    for (const auto& [name, value] : machine.items()) {
        html += fmt::format("<tr><td class=\"soft\">{}</td><td>{}</td></tr>", escaped(name),
                            escaped(value.is_string() ? value.get<std::string>() : value.dump()));
    }
    return html + "</table>";
}

}  // namespace

std::string bench_page(std::span<const Json> runs) {
    std::string html = fmt::format(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width\"><title>Sluice: benchmarks</title>"
        "<link rel=\"icon\" href=\"data:,\"><style>{}</style></head><body>"
        "<h1>Sluice beside the limit and its peers</h1>"
        "<p>Two processes on two CPUs, all contestants of a race in turns of a few milliseconds. A "
        "ratio is taken within such a turn: to the <em>limit</em>, two processes that bounce one "
        "cache line, or to another contestant. Medians; the grey figures are p10 to p90.</p>",
        std::string(kColours) + std::string(kStyle) + std::string(kPlotStyle));
    html += targets_table(runs);
    for (const Json& run : runs) {
        const auto program = run.at("program").get<std::string>();
        html += fmt::format("<h2 id=\"{0}\">{0}_bench</h2>", escaped(program));
        if (run.value("quick", false)) {
            html += "<p class=\"not\">A quick run: its figures mean nothing.</p>";
        }
        walk(
            run,
            [&](const std::string&, const FamilyPlot& plot) {
                html += plot.shared.empty()
                            ? ""
                            : fmt::format("<p class=\"soft\">{}</p>", escaped(plot.shared));
                html += plot.svg;
            },
            [&](const std::string& name, const Json& race, Colours& colours) {
                html += fmt::format("<h3>{}</h3>", escaped(name)) + race_table(race) +
                        race_bars(race, colours) + race_latencies(race, colours);
            });
    }
    if (!runs.empty()) {
        html += machine_table(runs.front().at("machine"));
    }
    return html + "</body></html>\n";
}

std::vector<Picture> bench_pictures(std::span<const Json> runs) {
    std::vector<Picture> pictures;
    const auto add = [&](const std::string& name, const std::string& svg) {
        if (std::string text = standalone(svg); !text.empty()) {
            pictures.push_back({file_name(name), std::move(text)});
        }
    };
    for (const Json& run : runs) {
        walk(
            run,
            [&](const std::string& family, const FamilyPlot& plot) {
                add(family + (plot.shared.empty() ? "" : "-" + plot.shared) + "-by-" + plot.key,
                    plot.svg);
            },
            [&](const std::string& name, const Json& race, Colours& colours) {
                add(name, race_bars(race, colours));
                add(name + "-percentiles", race_latencies(race, colours));
            });
    }
    return pictures;
}

}  // namespace sluice::tool
