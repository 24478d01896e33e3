// What it costs to start a Process and to join it, beside a bare fork and waitpid that do nothing
// else. One after the other in turn, and each ratio is to the two bare ones just before and after.
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "sluice/process.hpp"

namespace {

using sluice::Process;
using sluice::ProcessOptions;

std::int64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

void reap(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        throw std::runtime_error("a child did not end well");
    }
}

void bare_fork() {
    const pid_t pid = fork();
    if (pid < 0) {
        throw std::runtime_error("fork");
    }
    if (pid == 0) {
        _exit(0);
    }
    reap(pid);
}

/// The same image, that ends before main does anything.
void bare_spawn() {
    pid_t pid = 0;
    char name[] = "process_bench";
    char word[] = "--end-at-once";
    char* const argv[] = {name, word, nullptr};
    if (posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, argv, environ) != 0) {
        throw std::runtime_error("posix_spawn");
    }
    reap(pid);
}

void do_nothing() {}

void ours(const ProcessOptions& options) {
    Process process(options, do_nothing);
    process.start();
    process.join();
    if (process.exitcode() != 0) {
        throw std::runtime_error("a Process did not end well");
    }
}

struct Contestant {
    std::string name;
    std::function<void()> bare;  // what it is compared with
    std::function<void()> run;
    double target{};  // times the bare one; 0: none
};

struct Figures {
    double bare_us{};
    double ours_us{};
    double ratio{};
    double ratio_p10{};
    double ratio_p90{};
};

double quantile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    return values[std::min(values.size() - 1,
                           static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

double time_us(const std::function<void()>& run) {
    const std::int64_t begin = now_ns();
    run();
    return static_cast<double>(now_ns() - begin) / 1000.0;
}

Figures race(const Contestant& contestant, unsigned rounds) {
    std::vector<double> bare;
    std::vector<double> ours;
    std::vector<double> ratios;
    contestant.run();  // what is made once (the registry of names, the life line) is made here
    bare.push_back(time_us(contestant.bare));
    for (unsigned round = 0; round < rounds; ++round) {
        ours.push_back(time_us(contestant.run));
        bare.push_back(time_us(contestant.bare));
        ratios.push_back(ours.back() / ((bare.end()[-1] + bare.end()[-2]) / 2));
    }
    return {quantile(bare, 0.5), quantile(ours, 0.5), quantile(ratios, 0.5), quantile(ratios, 0.1),
            quantile(ratios, 0.9)};
}

/// Memory that the parent has touched: a fork copies its page tables.
void* touch(std::size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::runtime_error("mmap");
    }
    return memory;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::string(argv[1]) == "--end-at-once") {
        _exit(0);
    }
    sluice::spawn_main(argc, argv);
    CLI::App app{"Sluice benchmark: start and join of a Process, beside bare fork and wait."};
    bool quick = false;
    unsigned rounds = 2'000;
    std::string json_path;
    app.add_flag("--quick", quick, "A few of each; judges nothing");
    app.add_option("--rounds", rounds, "Processes for each line")
        ->check(CLI::Range(1U, 1'000'000U))
        ->capture_default_str();
    app.add_option("--json", json_path, "Write the results to this file");
    CLI11_PARSE(app, argc, argv);
    if (quick) {
        rounds = 5;
    }

    const std::vector<Contestant> contestants{
        {"bare fork and wait", bare_fork, bare_fork, 0},
        {"Process, start and join", bare_fork, [] { ours({}); }, 1.2},
        {"Process, a daemon", bare_fork, [] { ours({.daemon = true}); }, 0},
        {"Process, spawned", bare_spawn, [] { ours({.start_method = sluice::StartMethod::spawn}); },
         0},
    };
    nlohmann::json results = nlohmann::json::array();
    fmt::print("{:<28} {:>11} {:>9} {:>9} {:>7} [{:>5}..{:<5}]\n", "", "the parent", "bare us",
               "ours us", "ratio", "p10", "p90");
    constexpr std::size_t kMiB = 1U << 20U;
    for (const std::size_t bytes : {std::size_t{0}, 128 * kMiB}) {
        void* const memory = bytes == 0 ? nullptr : touch(bytes);
        for (const Contestant& contestant : contestants) {
            const Figures figures = race(contestant, rounds);
            fmt::print("{:<28} {:>7} MiB {:>9.0f} {:>9.0f} {:>7.2f} [{:>5.2f}..{:<5.2f}]",
                       contestant.name, bytes / kMiB, figures.bare_us, figures.ours_us,
                       figures.ratio, figures.ratio_p10, figures.ratio_p90);
            if (!quick && contestant.target != 0) {
                const bool kept = figures.ratio <= contestant.target;
                fmt::print("  target: <= {} -> {}", contestant.target, kept ? "met" : "NOT MET");
            }
            fmt::print("\n");
            std::fflush(stdout);
            results.push_back({{"contestant", contestant.name},
                               {"parent_bytes", bytes},
                               {"rounds", rounds},
                               {"bare_us", figures.bare_us},
                               {"ours_us", figures.ours_us},
                               {"ratio_p50", figures.ratio},
                               {"ratio_p10", figures.ratio_p10},
                               {"ratio_p90", figures.ratio_p90}});
        }
        if (memory != nullptr) {
            munmap(memory, bytes);
        }
    }
    if (!json_path.empty()) {
        std::FILE* file = std::fopen(json_path.c_str(), "w");
        if (file == nullptr) {
            fmt::print(stderr, "bench: cannot write {}\n", json_path);
            return 1;
        }
        fmt::print(file, "{}\n", results.dump(2));
        std::fclose(file);
    }
    return 0;
}
