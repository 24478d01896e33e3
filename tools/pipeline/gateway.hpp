// The risk checks of the gateway, apart from its channels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "records.hpp"
#include "settings.hpp"

namespace sluice::pipeline {

/// Judges orders one after the other. Its clock is the receive time that they carry: the same
/// orders get the same verdicts at any speed.
class Risk {
 public:
    Risk(RiskLimits limits, std::size_t strategies, std::size_t inputs);

    Verdict judge(const Order& order);

    [[nodiscard]] std::uint64_t rejected() const noexcept { return rejected_; }
    [[nodiscard]] bool killed() const noexcept { return killed_; }

 private:
    struct Account {
        std::int64_t second{};  // in which orders are counted
        std::int64_t orders_in_second{};
        std::vector<std::int64_t> position_lots{};  // an input
    };
    [[nodiscard]] Verdict check(const Order& order);
    [[nodiscard]] bool outside_collar(const Order& order) const;

    RiskLimits limits_;
    std::vector<Account> accounts_;  // a strategy
    std::uint64_t rejected_{};
    bool killed_{};
};

}  // namespace sluice::pipeline
