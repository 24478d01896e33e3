#include <vector>

#include "carrier.hpp"

Carrier<std::vector<int>> carrier;
