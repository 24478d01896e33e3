#include <optional>
#include <span>
#include <tuple>

#include "carrier.hpp"

Carrier<std::optional<std::tuple<int, std::span<int>>>> carrier;
