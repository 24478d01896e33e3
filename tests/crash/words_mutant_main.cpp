// A sweep (SLUICE_SWEEP) over words with a fault planted: it must find it. As mutant_main.cpp.
#include <cstdio>
#include <exception>

#include "crash/words_sweep.hpp"

int main() {
    try {
        static_cast<void>(sluice::crash::SLUICE_SWEEP());
    } catch (const std::exception& error) {
        std::printf("violation: %s\n", error.what());
        return 0;
    }
    std::printf("the planted fault was not found\n");
    return 1;
}
