#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>

namespace sluice::pipeline {
namespace {

std::string clock_text(double seconds) {
    const auto whole = static_cast<std::int64_t>(std::min(seconds, 1e9));
    return whole < 3'600
               ? fmt::format("{:02}:{:02}", whole / 60, whole % 60)
               : fmt::format("{}:{:02}:{:02}", whole / 3'600, whole / 60 % 60, whole % 60);
}

}  // namespace

ProgressBar::ProgressBar() : terminal_(::isatty(STDERR_FILENO) == 1) {}

std::string ProgressBar::text(double share, std::uint64_t messages, double elapsed_s) {
    constexpr std::int64_t cells = 20;
    constexpr std::array<const char*, 8> parts{" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    share = std::clamp(share, 0.0, 1.0);
    const auto eighths = static_cast<std::int64_t>(share * cells * 8);
    std::string bar;
    for (std::int64_t cell = 0; cell < cells; ++cell) {
        const std::int64_t filled = std::clamp<std::int64_t>(eighths - cell * 8, 0, 8);
        bar += filled == 8 ? "█" : parts[static_cast<std::size_t>(filled)];
    }
    const std::string left = share > 0 ? clock_text(elapsed_s / share - elapsed_s) : "?";
    const double rate = elapsed_s > 0 ? static_cast<double>(messages) / elapsed_s : 0;
    return fmt::format("{:3.0f}%|{}| {} messages [{}<{}, {:.0f}/s]", std::floor(share * 100), bar,
                       messages, clock_text(elapsed_s), left, rate);
}

void ProgressBar::update(double share, std::uint64_t messages, double elapsed_s) {
    if (terminal_) {
        shown_ = text(share, messages, elapsed_s);
        fmt::print(stderr, "\r{}\x1b[K", shown_);  // \x1b[K: and nothing behind it
        std::fflush(stderr);
    }
}

void ProgressBar::print(const std::string& line) {
    if (shown_.empty()) {
        fmt::print(stderr, "{}\n", line);
    } else {
        fmt::print(stderr, "\r\x1b[K{}\n{}", line, shown_);
    }
    std::fflush(stderr);
}

void ProgressBar::finish() {
    if (!shown_.empty()) {
        fmt::print(stderr, "\n");
        shown_.clear();
    }
}

}  // namespace sluice::pipeline
