// sluice c2c: what it costs two CPUs to hand one cache line there and back.
//
// Ordering ledger
//   R1 the flag is raised -> A1 : the other goes on; nothing else is told by it
#include <algorithm>
#include <atomic>
#include <memory>
#include <sluice/shm/facts.hpp>
#include <thread>

#include "command.hpp"
#include "pinned.hpp"

namespace sluice::tool {
namespace {

struct Options {
    std::string cpus{};
    unsigned blocks{31};
    bool json{};
};

/// One line: both write to it in turn, so each hand-off moves it once.
struct alignas(shm::kIsolationBytes) Line {
    std::atomic<std::uint64_t> number{};
};

constexpr std::uint64_t kRoundTrips = 1000;  // a block: some tens of microseconds

void answer(unsigned cpu, Line& line, std::uint64_t rounds) {
    bind_this_thread({{cpu}});
    for (std::uint64_t round = 0; round < rounds; ++round) {
        while (line.number.load(std::memory_order_acquire) != 2 * round + 1) {  // A1
        }
        line.number.store(2 * round + 2, std::memory_order_release);  // R1
    }
}

// The least of the blocks: what disturbs only adds. (A median would tell of the neighbours, too.)
double round_trip_ns(unsigned one, unsigned other, unsigned blocks) {
    const auto line = std::make_unique<Line>();
    const std::uint64_t rounds = kRoundTrips * blocks;
    std::thread partner(answer, other, std::ref(*line), rounds);
    double best = 0;
    std::thread leader([&] {
        bind_this_thread({{one}});
        std::uint64_t round = 0;
        for (unsigned block = 0; block < blocks; ++block) {
            const std::int64_t began = now_ns();
            for (const std::uint64_t end = round + kRoundTrips; round < end; ++round) {
                line->number.store(2 * round + 1, std::memory_order_release);            // R1
                while (line->number.load(std::memory_order_acquire) != 2 * round + 2) {  // A1
                }
            }
            const double ns = static_cast<double>(now_ns() - began) / kRoundTrips;
            best = block == 0 ? ns : std::min(best, ns);
        }
    });
    leader.join();
    partner.join();
    return best;
}

int run(const Options& options) {
    const std::vector<unsigned> cpus = parse_cpus(options.cpus);
    if (cpus.size() < 2) {
        throw CommandError(kUsage, "c2c needs two CPUs; this process may use " + cpu_list(cpus));
    }
    std::vector<std::vector<double>> matrix(cpus.size(), std::vector<double>(cpus.size()));
    for (std::size_t row = 0; row < cpus.size(); ++row) {
        for (std::size_t column = 0; column < row; ++column) {
            matrix[row][column] = round_trip_ns(cpus[row], cpus[column], options.blocks);
            matrix[column][row] = matrix[row][column];
        }
    }
    if (options.json) {
        print_json({{"unit", "ns"},
                    {"what", "round trip of one line"},
                    {"cpus", cpus},
                    {"matrix", matrix}});
        return kGood;
    }
    std::vector<std::vector<std::string>> rows{{"CPU"}};
    for (std::size_t row = 0; row < cpus.size(); ++row) {
        rows[0].push_back(bold(fmt::format("{:>6}", cpus[row])));
        std::vector<std::string> cells{bold(std::to_string(cpus[row]))};
        for (std::size_t column = 0; column < cpus.size(); ++column) {
            cells.push_back(row == column ? fmt::format("{:>6}", "-")
                                          : fmt::format("{:>6.0f}", matrix[row][column]));
        }
        rows.push_back(std::move(cells));
    }
    print_table(rows);
    fmt::print(stderr, "sluice: ns for one line there and back, the least of {} blocks\n",
               options.blocks);
    return kGood;
}

}  // namespace

void add_c2c(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command =
        add_command(app, "c2c", "Measures between every two CPUs the round trip of one cache line",
                    "sluice c2c --cpus 0-7");
    command.add_option("--cpus", options->cpus, "Only these CPUs, as 0,2-5").type_name("LIST");
    command.add_option("--blocks", options->blocks, "Blocks of 1000 round trips for each pair")
        .type_name("N")
        .between(1U, 1'000'000U)
        .capture_default_str();
    add_json(command, options->json);
    command.callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace sluice::tool
