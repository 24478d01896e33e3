#include <sluice/msgpack.hpp>
#include <string>
#include <vector>

#include "carrier.hpp"

struct Order {
    int id;
    std::string name;
};
Carrier<std::vector<Order>> carrier;
