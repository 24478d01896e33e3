#include <memory>
#include <sluice/msgpack.hpp>

#include "carrier.hpp"

Carrier<std::unique_ptr<int>> carrier;
