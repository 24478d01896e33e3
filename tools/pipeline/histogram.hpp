// A log-linear histogram of durations: exact below 256 ns, within 0.8 % above, in fixed memory.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sluice::pipeline {

/// Each power of two is cut into 128 equal buckets. Source: the bucket scheme of HdrHistogram,
/// http://hdrhistogram.org, at two significant digits.
class Histogram {
 public:
    static constexpr int kSubBucketBits = 7;
    static constexpr int kValueBits =
        48;  // longer than three days, in ns; more is counted at the end
    static constexpr std::size_t kBuckets = (std::size_t{kValueBits - kSubBucketBits} + 1)
                                            << static_cast<unsigned>(kSubBucketBits);

    /// Counts one value; a negative one (a clock that was read a moment too early) counts as 0.
    void record(std::int64_t value) noexcept {
        const std::uint64_t magnitude = value > 0 ? static_cast<std::uint64_t>(value) : 0;
        ++counts_[bucket_of(magnitude)];
        ++count_;
        max_ = magnitude > max_ ? magnitude : max_;
    }
    void merge(const Histogram& other) noexcept;

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
    /// The greatest value of the bucket in which that share of all values ends; 0 while nothing was
    /// counted.
    [[nodiscard]] std::uint64_t at(double share) const noexcept;

    /// The buckets that are not empty, and the way back: so that a histogram can travel in few
    /// bytes.
    using Sparse = std::vector<std::pair<std::uint32_t, std::uint64_t>>;
    [[nodiscard]] Sparse sparse() const;
    void merge(const Sparse& buckets, std::uint64_t max) noexcept;

    /// The standard percentile format of HdrHistogram (.hgrm), values in ns.
    [[nodiscard]] std::string hgrm() const;

    [[nodiscard]] static std::size_t bucket_of(std::uint64_t value) noexcept {
        constexpr std::uint64_t greatest =
            (std::uint64_t{1} << static_cast<unsigned>(kValueBits)) - 1;
        value = value < greatest ? value : greatest;
        const auto octave = static_cast<unsigned>(
            std::bit_width(value >> static_cast<unsigned>(kSubBucketBits + 1)));
        return (std::size_t{octave} << static_cast<unsigned>(kSubBucketBits)) +
               static_cast<std::size_t>(value >> octave);
    }
    [[nodiscard]] static std::uint64_t lowest_of(std::size_t bucket) noexcept;
    [[nodiscard]] static std::uint64_t highest_of(std::size_t bucket) noexcept;

 private:
    std::array<std::uint64_t, kBuckets> counts_{};
    std::uint64_t count_{};
    std::uint64_t max_{};
};

}  // namespace sluice::pipeline
