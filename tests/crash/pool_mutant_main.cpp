// The sweep over a Pool's worker with a fault planted: as mutant_main.cpp.
#include <cstdio>
#include <exception>

#include "crash/pool_sweep.hpp"

int main() {
    try {
        static_cast<void>(sluice::crash::sweep_pool_worker());
    } catch (const std::exception& error) {
        std::printf("violation: %s\n", error.what());
        return 0;
    }
    std::printf("the planted fault was not found\n");
    return 1;
}
