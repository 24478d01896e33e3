// Order statistics: a machine that is moved about by its host makes means worthless.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace sluice::bench {

/// The q-quantile by nearest rank; NaN of nothing.
inline double quantile(std::vector<double> values, double q) {
    if (values.empty()) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    const double rank = std::ceil(q * static_cast<double>(values.size())) - 1.0;
    const auto index = static_cast<std::size_t>(std::max(rank, 0.0));
    const auto middle =
        values.begin() + static_cast<std::ptrdiff_t>(std::min(index, values.size() - 1));
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

struct Spread {
    double p10{}, p50{}, p90{};
    std::size_t count{};
};

inline Spread spread(const std::vector<double>& values) {
    return {quantile(values, 0.10), quantile(values, 0.50), quantile(values, 0.90), values.size()};
}

}  // namespace sluice::bench
