// sluice jitter: how often, and for how long, a CPU that only spins is taken away: by the kernel's
// tick, by interrupts, by other threads, by the host of a virtual machine.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <thread>

#include "command.hpp"
#include "pinned.hpp"

namespace sluice::tool {
namespace {

struct Options {
    std::string cpus{};
    double seconds{2};
    double threshold_us{1};
    bool json{};
};

/// Interruptions of one CPU. Bucket b counts those of [2^b, 2^(b+1)) ns.
struct Interruptions {
    static constexpr std::size_t kBuckets = 40;

    std::array<std::uint64_t, kBuckets> buckets{};
    std::uint64_t count{};
    std::int64_t worst_ns{};
    std::int64_t lost_ns{};
    std::int64_t watched_ns{};

    void add(std::int64_t gap_ns) {
        const auto bits =
            static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(gap_ns)));
        ++buckets[std::min(bits - 1, kBuckets - 1)];
        ++count;
        worst_ns = std::max(worst_ns, gap_ns);
        lost_ns += gap_ns;
    }
};

// Two readings of the clock lie some tens of ns apart; what lies further apart was an interruption.
Interruptions spin(unsigned cpu, const Options& options) {
    bind_this_thread({{cpu}});
    const auto threshold_ns = static_cast<std::int64_t>(options.threshold_us * 1000);
    Interruptions found;
    const std::int64_t began = now_ns();
    const std::int64_t end = began + static_cast<std::int64_t>(options.seconds * 1e9);
    std::int64_t last = began;
    while (last < end) {
        const std::int64_t now = now_ns();
        if (now - last >= threshold_ns) {
            found.add(now - last);
        }
        last = now;
    }
    found.watched_ns = last - began;
    return found;
}

std::string time_text(double ns) {
    return ns >= 1e6   ? fmt::format("{:.1f} ms", ns / 1e6)
           : ns >= 1e3 ? fmt::format("{:.1f} us", ns / 1e3)
                       : fmt::format("{:.0f} ns", ns);
}

void print_text(const std::vector<unsigned>& cpus, const std::vector<Interruptions>& all) {
    for (std::size_t index = 0; index < cpus.size(); ++index) {
        const Interruptions& one = all[index];
        const auto watched = static_cast<double>(one.watched_ns);
        fmt::print("{}  {} interruptions, {:.1f} a second, worst {}, {:.4f} % of the time\n",
                   bold(fmt::format("CPU {}", cpus[index])), one.count,
                   static_cast<double>(one.count) / (watched / 1e9),
                   time_text(static_cast<double>(one.worst_ns)),
                   100.0 * static_cast<double>(one.lost_ns) / watched);
        const std::uint64_t most = *std::max_element(one.buckets.begin(), one.buckets.end());
        for (std::size_t bucket = 0; bucket < one.buckets.size(); ++bucket) {
            const std::uint64_t count = one.buckets[bucket];
            if (count == 0) {
                continue;
            }
            constexpr std::uint64_t kBar = 40;
            std::string bar;
            for (std::uint64_t cell = 0; cell < std::max<std::uint64_t>(count * kBar / most, 1);
                 ++cell) {
                bar += "█";
            }
            fmt::print("  from {:>9} {:>9}  {}\n",
                       time_text(std::exp2(static_cast<double>(bucket))), count, bar);
        }
    }
}

Json to_json(unsigned cpu, const Interruptions& one) {
    Json buckets = Json::array();
    for (std::size_t bucket = 0; bucket < one.buckets.size(); ++bucket) {
        if (one.buckets[bucket] != 0) {
            buckets.push_back(
                {{"from_ns", std::uint64_t{1} << bucket}, {"count", one.buckets[bucket]}});
        }
    }
    return {{"cpu", cpu},
            {"watched_ns", one.watched_ns},
            {"interruptions", one.count},
            {"worst_ns", one.worst_ns},
            {"lost_ns", one.lost_ns},
            {"histogram", buckets}};
}

int run(const Options& options) {
    const std::vector<unsigned> cpus = parse_cpus(options.cpus);
    std::vector<Interruptions> all(cpus.size());
    std::vector<std::thread> threads;
    for (std::size_t index = 0; index < cpus.size(); ++index) {
        threads.emplace_back([&, index] { all[index] = spin(cpus[index], options); });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    if (!options.json) {
        print_text(cpus, all);
        return kGood;
    }
    Json json = Json::array();
    for (std::size_t index = 0; index < cpus.size(); ++index) {
        json.push_back(to_json(cpus[index], all[index]));
    }
    print_json(json);
    return kGood;
}

}  // namespace

void add_jitter(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command = add_command(
        app, "jitter", "Spins on CPUs and tells how often, and how long, they were taken away",
        "sluice jitter --cpus 2,3 --seconds 10");
    command.add_option("--cpus", options->cpus, "Only these CPUs, as 0,2-5; all spin at once")
        .type_name("LIST");
    command.add_option("--seconds", options->seconds, "How long to spin")
        .type_name("SECONDS")
        .between(0.01, 86'400.0)
        .capture_default_str();
    command.add_option("--threshold", options->threshold_us, "The least that counts, in us")
        .type_name("US")
        .between(0.1, 1e6)
        .capture_default_str();
    add_json(command, options->json);
    command.callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace sluice::tool
