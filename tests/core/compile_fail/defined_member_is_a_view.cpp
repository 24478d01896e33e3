#include <sluice/msgpack.hpp>
#include <string_view>

#include "carrier.hpp"

class Order {
 public:
    Order() = default;
    MSGPACK_DEFINE(name_)

 private:
    std::string_view name_;
};
Carrier<Order> carrier;
void pack(const Order& order, sluice::PackBuffer& buffer);
void pack(const Order& order, sluice::PackBuffer& buffer) {
    sluice::Packer<Order>::pack(order, buffer);
}
