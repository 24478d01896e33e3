// Reads a capture: a gzip file (or plain text) of lines "<receive time, ns since the epoch>
// <message, JSON>".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "line_source.hpp"

namespace sluice::pipeline {

/// Something amiss, in words that name the file and the line; the reading goes on behind it.
struct CaptureProblem {
    std::uint64_t line{};  // 0: it is about the whole file
    std::string text{};
};
using OnProblem = std::function<void(const CaptureProblem&)>;

struct CaptureOptions {
    std::size_t line_bytes_max{std::size_t{4} << 20};  // longer ones are counted as bad and skipped
};

class CaptureReader : public LineSource {
 public:
    CaptureReader(std::string path, OnProblem on_problem, CaptureOptions options = {});
    ~CaptureReader() override;

    std::optional<CapturedLine> next() override;
    [[nodiscard]] SourceProgress progress() const override;
    [[nodiscard]] std::uint64_t bad_lines() const override { return bad_lines_; }
    [[nodiscard]] bool readable() const override { return readable_; }
    [[nodiscard]] bool cut_short() const override { return cut_short_; }

 private:
    void open();
    [[nodiscard]] bool fill();
    [[nodiscard]] bool read_line(std::vector<char>& line, bool& too_long);
    void file_problem(const std::string& what);
    void bad_line(const std::string& what);

    struct File;  // keeps zlib out of this header
    std::string path_;
    OnProblem on_problem_;
    CaptureOptions options_;
    std::unique_ptr<File> file_;
    std::vector<char> block_{};
    std::size_t block_position_{};
    std::size_t block_bytes_{};
    // Two, by turns: a line stays whole while the one behind it is looked at.
    std::array<std::vector<char>, 2> lines_{};
    std::uint64_t line_number_{};
    std::uint64_t bad_lines_{};
    bool readable_{};
    bool cut_short_{};
};

}  // namespace sluice::pipeline
