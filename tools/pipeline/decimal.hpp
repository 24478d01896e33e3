// Decimal numbers as exchanges write them, kept exactly: no price or quantity ever becomes a
// floating-point number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::pipeline {

/// 128 bits hold every Decimal at a common scale of 18 decimals, so prices of any form compare as
/// integers.
__extension__ using Wide = __int128;

inline constexpr int kDigitsMax = 18;    // what an int64 holds whatever the digits are
inline constexpr int kDecimalsMax = 18;  // the common scale

/// A number that is not negative, as it was written: "61659.70" is {6165970, 2} and "61659.7" is
/// {616597, 1}.
struct Decimal {
    std::int64_t mantissa{};
    std::uint8_t decimals{};
};

/// Reads digits with at most one point between them; nothing where the text is anything else, or
/// longer than 18 digits.
[[nodiscard]] std::optional<Decimal> parse_decimal(std::string_view text) noexcept;

/// The number as it was written, trailing zeros included.
[[nodiscard]] std::string to_text(Decimal value);

/// The number at the common scale: equal numbers give equal integers, however they were written.
[[nodiscard]] Wide at_common_scale(Decimal value) noexcept;

[[nodiscard]] inline bool is_zero(Decimal value) noexcept {
    return value.mantissa == 0;
}
[[nodiscard]] inline bool same_number(Decimal left, Decimal right) noexcept {
    return left.decimals == right.decimals ? left.mantissa == right.mantissa
                                           : at_common_scale(left) == at_common_scale(right);
}

/// An exact sum of decimals of any scale. The whole and the fractional part are summed apart, so
/// that neither can overflow: a term adds less than 10^18 to each, and each has room for 10^20
/// terms.
class DecimalSum {
 public:
    void add(Decimal value) noexcept;
    /// A plain decimal without trailing zeros: "9457.538", "12", "0".
    [[nodiscard]] std::string to_text() const;

 private:
    Wide whole_{};
    Wide fraction_{};  // in units of 10^-18
};

}  // namespace sluice::pipeline
