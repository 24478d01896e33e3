// Compiles: shows that the others fail for their reason and not for a wrong include path.
#include <sluice/msgpack.hpp>
#include <string>
#include <tuple>

#include "carrier.hpp"

Carrier<int> plain;
Carrier<std::tuple<int, std::string, std::string>> packable;
