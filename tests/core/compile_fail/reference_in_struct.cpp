#include "carrier.hpp"

struct Order {
    int id;
    int& count;
};
Carrier<Order> carrier;
