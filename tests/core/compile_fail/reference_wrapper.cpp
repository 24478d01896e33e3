#include <functional>

#include "carrier.hpp"

Carrier<std::reference_wrapper<int>> carrier;
