#include "decimal.hpp"

#include <array>
#include <cstddef>

namespace sluice::pipeline {
namespace {

constexpr auto kPowersOfTen = [] {
    std::array<std::int64_t, kDecimalsMax + 1> powers{};
    powers[0] = 1;
    for (std::size_t exponent = 1; exponent < powers.size(); ++exponent) {
        powers[exponent] = powers[exponent - 1] * 10;
    }
    return powers;
}();

std::string digits_of(Wide value) {
    std::string text;
    do {
        text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
        value /= 10;
    } while (value != 0);
    return text;
}

}  // namespace

std::optional<Decimal> parse_decimal(std::string_view text) noexcept {
    std::int64_t mantissa = 0;
    int digits = 0;  // significant ones: leading zeros cost nothing
    int decimals = -1;
    for (std::size_t position = 0; position < text.size(); ++position) {
        const char character = text[position];
        if (character == '.') {
            if (decimals >= 0 || position == 0) {
                return std::nullopt;
            }
            decimals = 0;
            continue;
        }
        if (character < '0' || character > '9') {
            return std::nullopt;
        }
        digits += (mantissa != 0 || character != '0') ? 1 : 0;
        decimals += decimals >= 0 ? 1 : 0;
        if (digits > kDigitsMax || decimals > kDecimalsMax) {
            return std::nullopt;
        }
        mantissa = mantissa * 10 + (character - '0');
    }
    if (text.empty() || decimals == 0) {
        return std::nullopt;
    }
    return Decimal{mantissa, static_cast<std::uint8_t>(decimals > 0 ? decimals : 0)};
}

std::string to_text(Decimal value) {
    std::string text = digits_of(value.mantissa);
    const std::size_t decimals = value.decimals;
    if (decimals == 0) {
        return text;
    }
    if (text.size() <= decimals) {
        text.insert(0, decimals + 1 - text.size(), '0');
    }
    text.insert(text.size() - decimals, 1, '.');
    return text;
}

Wide at_common_scale(Decimal value) noexcept {
    return Wide{value.mantissa} *
           kPowersOfTen[static_cast<std::size_t>(kDecimalsMax) - value.decimals];
}

void DecimalSum::add(Decimal value) noexcept {
    const std::int64_t unit = kPowersOfTen[value.decimals];
    whole_ += value.mantissa / unit;
    fraction_ += Wide{value.mantissa % unit} *
                 kPowersOfTen[static_cast<std::size_t>(kDecimalsMax) - value.decimals];
}

std::string DecimalSum::to_text() const {
    const std::int64_t unit = kPowersOfTen[kDecimalsMax];
    const std::string whole = digits_of(whole_ + fraction_ / unit);
    std::string fraction = digits_of(fraction_ % unit);
    fraction.insert(0, static_cast<std::size_t>(kDecimalsMax) - fraction.size(), '0');
    fraction.erase(fraction.find_last_not_of('0') + 1);
    return fraction.empty() ? whole : whole + '.' + fraction;
}

}  // namespace sluice::pipeline
