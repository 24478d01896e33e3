// What the subcommands of `sluice` have in common: how they are added, how they end, how they
// write. stdout is data, stderr is talk.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <sluice/shm/failure.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace sluice::tool {

using Json = nlohmann::ordered_json;

// The exit codes: documented in --help and the man page, and stable.
inline constexpr int kGood = 0;
inline constexpr int kFound = 1;    // there is something to mend, or nothing came
inline constexpr int kUsage = 2;    // wrong usage
inline constexpr int kMissing = 3;  // no such object
inline constexpr int kNotOurs = 4;  // not a segment, damaged, another type, or not permitted
inline constexpr int kRefused = 5;  // the system refused

/// Ends the command: one sentence that names the thing and the mend, and the exit code.
class CommandError : public std::runtime_error {
 public:
    CommandError(int code, const std::string& text) : std::runtime_error(text), code_(code) {}
    int code() const noexcept { return code_; }

 private:
    int code_;
};
[[noreturn]] void throw_failure(const shm::Failure& failure);

// CLI11 is hidden behind the next two: each file that includes it takes three seconds more to
// compile, and there is one a subcommand. What they do is what CLI11 calls by the same name.

/// An option as it is added.
class Option {
 public:
    explicit Option(CLI::Option* option) : option_(option) {}
    Option& required();
    Option& capture_default_str();
    Option& type_name(const std::string& name);
    Option& needs(const Option& other);
    Option& excludes(const Option& other);
    Option& positive();
    Option& existing_directory();
    Option& one_of(const std::vector<std::string>& words);
    /// Of double, unsigned, std::uint64_t.
    template <class Number>
    Option& between(Number least, Number most);

 private:
    CLI::Option* option_;
};

/// A subcommand as it is put together.
class Command {
 public:
    explicit Command(CLI::App* app) : app_(app) {}
    /// Into a string, a list of them, double, unsigned, std::uint64_t.
    template <class Value>
    Option add_option(const std::string& names, Value& into, const std::string& description);
    Option add_flag(const std::string& names, bool& into, const std::string& description);
    void callback(const std::function<void()>& run);

 private:
    CLI::App* app_;
};

/// Adds a subcommand with an example in its help.
Command add_command(CLI::App& app, const std::string& name, const std::string& description,
                    const std::string& example);
void add_json(Command& command, bool& json);
void add_synthetic(Command& command, std::string& description);

// One file each.
void add_ls(CLI::App& app, int& exit_code);
void add_info(CLI::App& app, int& exit_code);
void add_top(CLI::App& app, int& exit_code);
void add_clean(CLI::App& app, int& exit_code);
void add_topo(CLI::App& app, int& exit_code);
void add_plan(CLI::App& app, int& exit_code);
void add_bench(CLI::App& app, int& exit_code);
void add_c2c(CLI::App& app, int& exit_code);
void add_jitter(CLI::App& app, int& exit_code);
void add_doctor(CLI::App& app, int& exit_code);
void add_tap(CLI::App& app, int& exit_code);
void add_put(CLI::App& app, int& exit_code);
void add_get(CLI::App& app, int& exit_code);
void add_completion(CLI::App& app, int& exit_code);

/// A name as in X::open(name), or the path of a segment's file.
std::string path_of(const std::string& name);
/// The name that a path stands for: "ticks" of /dev/shm/sluice.ticks; else the path.
std::string name_of(const std::string& path);

// Colours, where stdout is a terminal that has them and NO_COLOR is not set.
std::string bold(std::string_view text);
std::string dim(std::string_view text);
std::string red(std::string_view text);
std::string yellow(std::string_view text);
std::string green(std::string_view text);

/// "1.5 MiB".
std::string bytes_text(std::uint64_t bytes);
/// "12.3 M" of a rate or a count.
std::string count_text(double count);
/// "0-3,8".
std::string cpu_list(const std::vector<unsigned>& cpus);

/// Writes a table: columns as wide as they need, two spaces apart; the last is not padded.
void print_table(const std::vector<std::vector<std::string>>& rows);
void print_json(const Json& json);

/// The first line of a file; none where it cannot be read.
std::optional<std::string> first_line(const std::string& path);

}  // namespace sluice::tool
