// sluice-pipeline: reads the command line; the work is in pipeline.cpp.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <exception>
#include <sluice/process.hpp>
#include <stdexcept>
#include <string>

#include "pipeline.hpp"

namespace {

using namespace sluice::pipeline;

constexpr const char* kDescription =
    R"(Plays market data through a trading pipeline of processes: feeds, book, strategies, risk, journal.

Without --input an embedded synthetic exchange is played. Latencies are counted from the time when a
message was meant to arrive, so a stall counts against all the messages that it delays.)";

constexpr const char* kFooter = R"(
Input that is damaged (a truncated file, a line that is no message, a gap in the sequence) is told on
stderr and counted, and the rest of it is processed.
Exit codes: 0 good; 1 a process failed, or an input or output file could not be opened; 2 wrong usage;
130 interrupted (the table then shows what was processed).)";

double parse_speed(const std::string& text) {
    if (text == "max") {
        return 0;
    }
    double speed = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), speed);
    if (result.ec != std::errc{} || result.ptr != text.data() + text.size() ||
        !std::isfinite(speed) || speed < 1e-3 || speed > 1e9) {
        throw CLI::ValidationError(
            "--speed", "\"" + text + "\" is neither \"max\" nor a factor such as 1, 10 or 0.5");
    }
    return speed;
}

sluice::Wait parse_wait(const std::string& text) {
    if (text == "spin") {
        return sluice::Wait::spin;
    }
    if (text == "park") {
        return sluice::Wait::park;
    }
    if (text != "spin_then_park") {
        throw CLI::ValidationError("--wait",
                                   "\"" + text + "\" is none of spin, spin_then_park and park");
    }
    return sluice::Wait::spin_then_park;
}

sluice::Placement parse_placement_option(const std::string& text) {
    try {
        return sluice::parse_placement(text);
    } catch (const std::invalid_argument& error) {
        throw CLI::ValidationError("--placement", error.what());
    }
}

void add_options(CLI::App& app, Settings& settings) {
    app.add_option("--input", settings.inputs,
                   "A capture: lines \"<receive time in ns> <JSON>\", gzip or plain text. May be "
                   "given several times: all are merged by receive time")
        ->type_name("FILE.gz")
        ->allow_extra_args(false);
    app.add_option("--seed", settings.exchange.seed, "Seed of the synthetic exchange")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--messages", settings.exchange.messages, "Messages of the synthetic exchange")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}))
        ->capture_default_str();
    app.add_option_function<std::string>(
           "--speed", [&settings](const std::string& text) { settings.speed = parse_speed(text); },
           "max, or how many times as fast as recorded: 1, 10, ... [max]")
        ->type_name("max|FACTOR");
    app.add_option("--strategies", settings.strategies, "Strategy processes")
        ->check(CLI::Range(std::size_t{1}, std::size_t{256}))
        ->capture_default_str();
    app.add_option_function<std::string>(
           "--placement",
           [&settings](const std::string& text) {
               settings.placement = parse_placement_option(text);
               settings.print_plan = true;
           },
           "Where the processes run, and print the plan: spread, compact, per_core, per_l3, "
           "per_node, none, or a list "
           "of CPUs such as 0,2-5 in the order feeds, book, strategies, risk, journal [spread]")
        ->type_name("POLICY|LIST");
    app.add_option_function<std::string>(
           "--wait", [&settings](const std::string& text) { settings.wait = parse_wait(text); },
           "How the processes wait: spin, spin_then_park or park [spin_then_park]")
        ->type_name("WAIT");
    app.add_option("--json", settings.json_path, "Write the figures here")->type_name("FILE");
    app.add_option("--journal", settings.journal_path,
                   "Write a line for each order and for each acknowledgement here")
        ->type_name("FILE");
    app.add_option("--hgrm", settings.hgrm_folder,
                   "Write the latencies of each hop here, in HdrHistogram's percentile format")
        ->type_name("DIR");

    RiskLimits& limits = settings.limits;
    app.add_option("--max-position", limits.position_lots_max,
                   "Risk: lots (of 0.001) that a strategy may hold of an input, either way")
        ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000}))
        ->capture_default_str();
    app.add_option("--max-orders-per-second", limits.orders_per_second_max,
                   "Risk: orders of a strategy in a second of recorded time")
        ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000}))
        ->capture_default_str();
    app.add_option("--collar", limits.collar_basis_points,
                   "Risk: how far a price may be from the last one traded, in basis points")
        ->check(CLI::Range(std::int64_t{0}, std::int64_t{10'000}))
        ->capture_default_str();
    app.add_option(
           "--kill-after", limits.kill_after_rejections,
           "Risk: throw the kill switch at the Nth rejection: all later orders are rejected "
           "(0: never)")
        ->type_name("N")
        ->capture_default_str();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app(kDescription, "sluice-pipeline");
    app.footer(kFooter);
    Settings settings;
    add_options(app, settings);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {  // --help
            return app.exit(error);
        }
        fmt::print(stderr, "sluice-pipeline: {}\nTry: sluice-pipeline --help\n", error.what());
        return kExitUsage;
    }
    try {
        return run_pipeline(settings);
    } catch (const std::invalid_argument& error) {
        fmt::print(stderr, "sluice-pipeline: --placement: {}\n", error.what());
        return kExitUsage;
    } catch (const std::exception& error) {
        fmt::print(stderr, "sluice-pipeline: {}\n", error.what());
        return kExitFailure;
    }
}
