#include <sluice/msgpack.hpp>
#include <string_view>
#include <vector>

#include "carrier.hpp"

Carrier<std::vector<std::string_view>> carrier;
