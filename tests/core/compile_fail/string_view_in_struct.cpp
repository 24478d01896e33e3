#include <string_view>

#include "carrier.hpp"

struct Order {
    int id;
    std::string_view name;
};
Carrier<Order> carrier;
