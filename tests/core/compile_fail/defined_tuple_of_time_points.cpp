#include <chrono>
#include <sluice/msgpack.hpp>
#include <tuple>

struct Order {
    std::tuple<int, std::chrono::system_clock::time_point> filled;
    MSGPACK_DEFINE(filled)
};

void pack(const Order& order, sluice::PackBuffer& buffer);
void pack(const Order& order, sluice::PackBuffer& buffer) {
    sluice::Packer<Order>::pack(order, buffer);
}
