#include <map>
#include <sluice/msgpack.hpp>
#include <string>
#include <vector>

#include "carrier.hpp"

struct Leaf {
    const char* text;
};
Carrier<std::map<std::string, std::vector<Leaf>>> carrier;
