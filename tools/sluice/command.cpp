#include "command.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sluice/shm/mapping.hpp>

namespace sluice::tool {
namespace {

bool has_colours() {
    static const bool answer = [] {
        const char* const no_color = std::getenv("NO_COLOR");
        const char* const term = std::getenv("TERM");
        return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0') &&
               term != nullptr && std::string_view(term) != "dumb";
    }();
    return answer;
}

std::string painted(std::string_view text, int code) {
    return has_colours() ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
}

// Columns that a text takes on a terminal: its code points, without what only colours it.
std::size_t width_of(std::string_view text) {
    std::size_t width = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '\x1b') {
            at = std::min(text.find('m', at), text.size() - 1);
        } else if ((static_cast<unsigned char>(text[at]) & 0xc0U) != 0x80U) {
            ++width;
        }
    }
    return width;
}

}  // namespace

void throw_failure(const shm::Failure& failure) {
    switch (failure.kind) {
        case shm::FailureKind::bad_argument:
            throw CommandError(kUsage, failure.text);
        case shm::FailureKind::bad_segment:
        case shm::FailureKind::not_permitted:
            throw CommandError(kNotOurs, failure.text);
        default:
            break;
    }
    if (failure.error == ENOENT) {
        throw CommandError(kMissing,
                           failure.text + ": there is no such object; `sluice ls` shows what is");
    }
    throw CommandError(kRefused, fmt::format("{}: {}", failure.text,
                                             std::generic_category().message(failure.error)));
}

Option& Option::required() {
    option_->required();
    return *this;
}
Option& Option::capture_default_str() {
    option_->capture_default_str();
    return *this;
}
Option& Option::type_name(const std::string& name) {
    option_->type_name(name);
    return *this;
}
Option& Option::needs(const Option& other) {
    option_->needs(other.option_);
    return *this;
}
Option& Option::excludes(const Option& other) {
    option_->excludes(other.option_);
    return *this;
}
Option& Option::positive() {
    option_->check(CLI::PositiveNumber);
    return *this;
}
Option& Option::existing_directory() {
    option_->check(CLI::ExistingDirectory);
    return *this;
}
Option& Option::one_of(const std::vector<std::string>& words) {
    option_->check(CLI::IsMember(words));
    return *this;
}
template <class Number>
Option& Option::between(Number least, Number most) {
    option_->check(CLI::Range(least, most));
    return *this;
}
template Option& Option::between(double, double);
template Option& Option::between(unsigned, unsigned);
template Option& Option::between(std::uint64_t, std::uint64_t);

template <class Value>
Option Command::add_option(const std::string& names, Value& into, const std::string& description) {
    return Option(app_->add_option(names, into, description));
}
template Option Command::add_option(const std::string&, std::string&, const std::string&);
template Option Command::add_option(const std::string&, std::vector<std::string>&,
                                    const std::string&);
template Option Command::add_option(const std::string&, double&, const std::string&);
template Option Command::add_option(const std::string&, unsigned&, const std::string&);
template Option Command::add_option(const std::string&, std::uint64_t&, const std::string&);

Option Command::add_flag(const std::string& names, bool& into, const std::string& description) {
    return Option(app_->add_flag(names, into, description));
}
void Command::callback(const std::function<void()>& run) {
    app_->callback(run);
}

Command add_command(CLI::App& app, const std::string& name, const std::string& description,
                    const std::string& example) {
    CLI::App* command = app.add_subcommand(name, description);
    command->footer("Example: " + example);
    return Command(command);
}

void add_json(Command& command, bool& json) {
    command.add_flag("--json", json, "Write JSON");
}

void add_synthetic(Command& command, std::string& description) {
    command
        .add_option("--synthetic", description,
                    "A made-up machine instead of this one, as \"pack:2 [numa] l3:2 core:4 pu:2\"")
        .type_name("MACHINE");
}

std::string path_of(const std::string& name) {
    if (name.find('/') != std::string::npos) {
        return name;
    }
    shm::Failure failure;
    const auto path = shm::path_of(name, failure);
    if (!path) {
        throw_failure(failure);
    }
    return *path;
}

std::string name_of(const std::string& path) {
    constexpr std::string_view kPrefix = "/dev/shm/sluice.";
    return path.starts_with(kPrefix) ? path.substr(kPrefix.size()) : path;
}

std::string bold(std::string_view text) {
    return painted(text, 1);
}
std::string dim(std::string_view text) {
    return painted(text, 2);
}
std::string red(std::string_view text) {
    return painted(text, 31);
}
std::string yellow(std::string_view text) {
    return painted(text, 33);
}
std::string green(std::string_view text) {
    return painted(text, 32);
}

std::string bytes_text(std::uint64_t bytes) {
    constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
    auto amount = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (amount >= 1024 && unit + 1 < kUnits.size()) {
        amount /= 1024;
        ++unit;
    }
    return unit == 0 || amount >= 100 ? fmt::format("{:.0f} {}", amount, kUnits[unit])
                                      : fmt::format("{:.1f} {}", amount, kUnits[unit]);
}

std::string count_text(double count) {
    constexpr std::array<const char*, 4> kUnits{"", " k", " M", " G"};
    std::size_t unit = 0;
    while (count >= 10'000 && unit + 1 < kUnits.size()) {
        count /= 1000;
        ++unit;
    }
    return unit == 0 ? fmt::format("{:.0f}", count) : fmt::format("{:.1f}{}", count, kUnits[unit]);
}

std::string cpu_list(const std::vector<unsigned>& cpus) {
    std::vector<unsigned> sorted = cpus;
    std::sort(sorted.begin(), sorted.end());
    std::string text;
    for (std::size_t at = 0; at < sorted.size();) {
        std::size_t end = at + 1;
        while (end < sorted.size() && sorted[end] == sorted[end - 1] + 1) {
            ++end;
        }
        text += fmt::format("{}{}", text.empty() ? "" : ",", sorted[at]);
        if (end - at > 1) {
            text += fmt::format("-{}", sorted[end - 1]);
        }
        at = end;
    }
    return text;
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t column = 0; column < row.size(); ++column) {
            widths[column] = std::max(widths[column], width_of(row[column]));
        }
    }
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t column = 0; column < row.size(); ++column) {
            line += row[column];
            if (column + 1 < row.size()) {
                line.append(widths[column] - width_of(row[column]) + 2, ' ');
            }
        }
        line.erase(line.find_last_not_of(' ') + 1);
        fmt::print("{}\n", line);
    }
}

void print_json(const Json& json) {
    // Text of damaged segments and foreign processes need not be UTF-8.
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

std::optional<std::string> first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line)) {
        return std::nullopt;
    }
    return line;
}

}  // namespace sluice::tool
