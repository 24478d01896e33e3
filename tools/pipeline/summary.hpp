// What a run has found: put together from the stages' reports, printed as a table and as JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "figures.hpp"
#include "settings.hpp"
#include "stages.hpp"

namespace sluice::pipeline {

class Summary {
 public:
    explicit Summary(const Settings& settings);

    /// Takes a stage's last words.
    void take(const FeedReport& report);
    void take(const BookReport& report);
    void take(const StrategyReport& report);
    void take(const GatewayReport& report);
    void take(const JournalReport& report);
    void set_elapsed(double seconds) noexcept { elapsed_s_ = seconds; }

    /// True if an input could not be read at all.
    [[nodiscard]] bool input_missing() const noexcept;

    [[nodiscard]] std::string table() const;
    [[nodiscard]] std::string json() const;
    /// Writes a file for each hop. Errors: std::system_error, naming the file.
    void write_hgrm(const std::string& folder) const;

 private:
    struct Input {
        std::string name{};
        FeedReport feed{};
        BookFigures book{};
    };
    void take_hops(const std::vector<HopReport>& hops);
    [[nodiscard]] std::uint64_t messages() const noexcept;
    [[nodiscard]] std::uint64_t orders_of(const StrategyReport& strategy) const;

    std::vector<Input> inputs_{};
    std::uint64_t book_events_{};
    std::vector<StrategyReport> strategies_{};
    GatewayReport gateway_{};
    JournalReport journal_{};
    std::vector<Hop> hops_{};
    double elapsed_s_{};
};

}  // namespace sluice::pipeline
