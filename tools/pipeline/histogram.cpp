#include "histogram.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace sluice::pipeline {

std::uint64_t Histogram::lowest_of(std::size_t bucket) noexcept {
    constexpr std::size_t half = std::size_t{1} << static_cast<unsigned>(kSubBucketBits);
    if (bucket < 2 * half) {
        return bucket;
    }
    const std::size_t octave = bucket / half - 1;
    return static_cast<std::uint64_t>(bucket - octave * half) << octave;
}

std::uint64_t Histogram::highest_of(std::size_t bucket) noexcept {
    return lowest_of(bucket + 1) - 1;
}

void Histogram::merge(const Histogram& other) noexcept {
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
        counts_[bucket] += other.counts_[bucket];
    }
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
}

void Histogram::merge(const Sparse& buckets, std::uint64_t max) noexcept {
    for (const auto& entry : buckets) {
        counts_[std::min<std::size_t>(entry.first, kBuckets - 1)] += entry.second;
        count_ += entry.second;
    }
    max_ = std::max(max_, max);
}

Histogram::Sparse Histogram::sparse() const {
    Sparse buckets;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
        if (counts_[bucket] != 0) {
            buckets.emplace_back(static_cast<std::uint32_t>(bucket), counts_[bucket]);
        }
    }
    return buckets;
}

std::uint64_t Histogram::at(double share) const noexcept {
    const double rank = std::ceil(share * static_cast<double>(count_));
    const std::uint64_t wanted = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(rank));
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
        seen += counts_[bucket];
        if (seen >= wanted) {
            return std::min(highest_of(bucket), max_);
        }
    }
    return max_;
}

std::string Histogram::hgrm() const {
    // The steps become finer towards 100 %: five to each halving of what is left, as HdrHistogram's
    // own tools print it.
    constexpr double steps_per_half = 5;
    std::string text = fmt::format("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile",
                                   "TotalCount", "1/(1-Percentile)");
    std::uint64_t seen = 0;
    double next_share = 0;
    double sum = 0;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
        const std::uint64_t here = counts_[bucket];
        if (here == 0) {
            continue;
        }
        const double middle = static_cast<double>(lowest_of(bucket) + highest_of(bucket)) / 2;
        sum += middle * static_cast<double>(here);
        seen += here;
        const double share = static_cast<double>(seen) / static_cast<double>(count_);
        while (next_share <= share && next_share < 1 && seen < count_) {
            fmt::format_to(std::back_inserter(text), "{:12.3f} {:2.12f} {:10} {:14.2f}\n",
                           static_cast<double>(std::min(highest_of(bucket), max_)), next_share,
                           seen, 1 / (1 - next_share));
            const double halvings = std::floor(std::log2(1 / (1 - next_share))) + 1;
            next_share += 1 / (steps_per_half * std::exp2(halvings));
        }
    }
    fmt::format_to(std::back_inserter(text), "{:12.3f} {:2.12f} {:10}\n", static_cast<double>(max_),
                   1.0, count_);

    const double mean = count_ == 0 ? 0 : sum / static_cast<double>(count_);
    double squares = 0;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
        const double off = static_cast<double>(lowest_of(bucket) + highest_of(bucket)) / 2 - mean;
        squares += counts_[bucket] == 0 ? 0 : off * off * static_cast<double>(counts_[bucket]);
    }
    const double deviation = count_ == 0 ? 0 : std::sqrt(squares / static_cast<double>(count_));
    fmt::format_to(std::back_inserter(text), "#[Mean    = {:12.3f}, StdDeviation   = {:12.3f}]\n",
                   mean, deviation);
    fmt::format_to(std::back_inserter(text), "#[Max     = {:12.3f}, Total count    = {:12}]\n",
                   static_cast<double>(max_), count_);
    fmt::format_to(std::back_inserter(text), "#[Buckets = {:12}, SubBuckets     = {:12}]\n",
                   kValueBits - kSubBucketBits, 1 << (kSubBucketBits + 1));
    return text;
}

}  // namespace sluice::pipeline
