// sluice bench: runs the benchmark programs and writes what they measured as one page and as JSON.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>

#include "bench_page.hpp"
#include "command.hpp"

namespace sluice::tool {
namespace {

namespace fs = std::filesystem;

struct BenchOptions {
    std::string programs{};
    std::string only{"."};
    std::vector<std::string> from{};
    std::string out{"sluice-bench.html"};
    std::string pictures{};
    double seconds{2.0};
    bool quick{};
    bool json{};
};

/// Where a build has them, seen from this program: build/tools/sluice/sluice.
fs::path default_programs() {
    std::error_code error;
    return fs::read_symlink("/proc/self/exe", error).parent_path() / "../../bench";
}

std::vector<fs::path> find_programs(const BenchOptions& options) {
    constexpr std::string_view kEnding = "_bench";
    const fs::path folder =
        options.programs.empty() ? default_programs() : fs::path(options.programs);
    std::vector<fs::path> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename().string();
        // harness_bench measures the harness.
        if (name.ends_with(kEnding) && name != "harness_bench" && entry.is_regular_file() &&
            access(entry.path().c_str(), X_OK) == 0 &&
            std::regex_search(name, std::regex(options.only))) {
            found.push_back(entry.path());
        }
    }
    if (found.empty()) {
        throw CommandError(
            kMissing, "no benchmark program " +
                          (options.only == "." ? "" : "that matches \"" + options.only + "\" ") +
                          "in " + folder.lexically_normal().string() +
                          ": build them (cmake --preset bench), then name their folder by "
                          "--programs");
    }
    std::sort(found.begin(), found.end());
    return found;
}

Json parsed(const fs::path& path) {
    std::ifstream file(path);
    try {
        return Json::parse(file);
    } catch (const Json::exception& error) {
        throw CommandError(kNotOurs, path.string() + ": not a benchmark's JSON: " + error.what());
    }
}

/// Whether the program wrote its results. Their exit codes tell of targets that were not met.
bool run_program(const fs::path& program, const fs::path& results, const BenchOptions& options) {
    const pid_t pid = fork();
    if (pid < 0) {
        throw CommandError(kRefused, std::string("fork: ") + std::strerror(errno));
    }
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);  // their tables are talk here
        const std::string seconds = fmt::format("{}", options.seconds);
        const char* mode = options.quick ? "--quick" : "--seconds";
        const char* amount = options.quick ? nullptr : seconds.c_str();
        execl(program.c_str(), program.c_str(), "--json", results.c_str(), mode, amount, nullptr);
        _exit(127);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return fs::exists(results);
}

/// A folder of its own for the programs' results, removed at the end.
class Scratch {
 public:
    Scratch() {
        std::string name = (fs::temp_directory_path() / "sluice-bench.XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) {
            throw CommandError(kRefused, name + ": " + std::strerror(errno));
        }
        path_ = name;
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    const fs::path& path() const noexcept { return path_; }

 private:
    fs::path path_{};
};

std::vector<Json> measure(const BenchOptions& options) {
    const Scratch scratch;
    std::vector<Json> runs;
    const std::vector<fs::path> programs = find_programs(options);
    for (const fs::path& program : programs) {
        const std::string name = program.filename().string();
        fmt::print(stderr, "sluice: {} ({} of {})\n", name, runs.size() + 1, programs.size());
        const fs::path results = scratch.path() / (name + ".json");
        if (!run_program(program, results, options)) {
            // death_bench and others of their own form have no races to draw.
            fmt::print(stderr, "sluice: {} wrote no results\n", name);
            continue;
        }
        runs.push_back(parsed(results));
    }
    return runs;
}

void write(const fs::path& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary);
    file << text;
    if (!file.flush()) {
        throw CommandError(kRefused, path.string() + ": cannot be written: choose another --out");
    }
}

int run(const BenchOptions& options) {
    std::vector<Json> runs;
    if (options.from.empty()) {
        runs = measure(options);
    }
    for (const std::string& path : options.from) {
        const Json read = parsed(path);
        // Of one program, or what this command wrote.
        for (const Json& one : read.is_array() ? read : Json::array({read})) {
            runs.push_back(one);
        }
    }
    if (runs.empty()) {
        throw CommandError(kFound, "nothing was measured");
    }
    std::string page;
    try {
        page = bench_page(runs);
    } catch (const Json::exception& error) {
        throw CommandError(kNotOurs, std::string("not a benchmark's results: ") + error.what());
    }
    const fs::path json_path = fs::path(options.out).replace_extension(".json");
    write(options.out, page);
    write(json_path, Json(runs).dump(1) + "\n");
    if (!options.pictures.empty()) {
        std::error_code ignored;  // write() tells
        fs::create_directories(options.pictures, ignored);
        for (const Picture& picture : bench_pictures(runs)) {
            write(fs::path(options.pictures) / picture.file, picture.svg);
        }
    }
    if (options.json) {
        print_json({{"page", options.out}, {"json", json_path.string()}, {"runs", runs.size()}});
    } else {
        fmt::print("{}\n{}\n", options.out, json_path.string());
    }
    return kGood;
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
    const auto options = std::make_shared<BenchOptions>();
    Command command = add_command(
        app, "bench", "Run the benchmarks; write one HTML page with plots, and the JSON behind it",
        "sluice bench --only 'pipe|queue' --out report.html");
    command.add_option("--programs", options->programs,
                       "Folder of the benchmark programs (else that of this build)");
    command.add_option("--only", options->only, "Only programs whose name matches this");
    command.add_option("--seconds", options->seconds, "Time for each race")
        .positive()
        .capture_default_str();
    command.add_flag("--quick", options->quick, "A few blocks each: tries that all runs");
    command.add_option("--from", options->from, "Draw these results; run nothing");
    command.add_option("--out", options->out, "The page; its JSON lies beside it")
        .capture_default_str();
    command.add_option("--pictures", options->pictures,
                       "Also each plot as an SVG file of its own, in this folder");
    add_json(command, options->json);
    command.callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace sluice::tool
