#include "carrier.hpp"

Carrier<const int> carrier;
