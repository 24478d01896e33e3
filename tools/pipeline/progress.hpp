// A progress bar for people at a terminal, in the manner of tqdm.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::pipeline {

/// Draws on stderr, and only where that is a terminal; lines of text go above the bar.
class ProgressBar {
 public:
    ProgressBar();

    /// `share`: 0 to 1 of the input has been read.
    void update(double share, std::uint64_t messages, double elapsed_s);
    /// Prints a line to stderr, whether that is a terminal or not.
    void print(const std::string& line);
    /// Leaves the bar as it is and goes on below it.
    void finish();

    /// The bar's text, as " 45%|####5     | 42123 messages [00:03<00:04, 12345/s]".
    [[nodiscard]] static std::string text(double share, std::uint64_t messages, double elapsed_s);

 private:
    bool terminal_;
    std::string shown_{};
};

}  // namespace sluice::pipeline
