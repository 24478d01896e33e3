// A random number generator whose numbers are the same on every platform, as those of the standard
// library's distributions are not.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace sluice::pipeline {

/// xoshiro256++ by Blackman and Vigna, seeded through splitmix64. Source: https://prng.di.unimi.it/
class Random {
 public:
    explicit Random(std::uint64_t seed) noexcept {
        for (std::uint64_t& word : state_) {
            seed += 0x9e3779b97f4a7c15U;
            std::uint64_t mixed = seed;
            mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
            mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
            word = mixed ^ (mixed >> 31U);
        }
    }

    std::uint64_t next() noexcept {
        const std::uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
        const std::uint64_t shifted = state_[1] << 17U;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }

    /// 0 .. bound - 1. The bias is bound / 2^32: of no account here.
    std::int64_t below(std::int64_t bound) noexcept {
        return static_cast<std::int64_t>(((next() >> 32U) * static_cast<std::uint64_t>(bound)) >>
                                         32U);
    }

    /// True once in `n` times.
    bool once_in(std::int64_t n) noexcept { return below(n) == 0; }

    /// 0, 1, 2, ... each half as likely as the one before it.
    int halvings() noexcept { return std::countl_zero(next() | 1U); }

 private:
    std::array<std::uint64_t, 4> state_{};
};

}  // namespace sluice::pipeline
