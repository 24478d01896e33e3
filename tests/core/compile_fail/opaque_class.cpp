#include "carrier.hpp"

class Price {
 public:
    explicit Price(int ticks) : ticks_{ticks} {}
    int ticks() const { return ticks_; }

 private:
    int ticks_;
};
Carrier<Price> carrier;
