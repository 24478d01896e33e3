#include "carrier.hpp"

Carrier<int*> carrier;
