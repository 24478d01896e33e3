// The sweep over one word's operations with a fault planted: it must find it. The argument says
// whose; prints what it found. (As mutant_main.cpp; a hang is found by the sweep's watchdog.)
#include <cstdio>
#include <exception>
#include <string_view>

#include "crash/meeting_sweep.hpp"

int main(int count, char** arguments) {
    const std::string_view whose = count == 2 ? arguments[1] : "";
    try {
        if (whose == "semaphore") {
            static_cast<void>(sluice::crash::sweep_semaphore());
        } else if (whose == "event") {
            static_cast<void>(sluice::crash::sweep_event());
        } else if (whose == "barrier") {
            static_cast<void>(sluice::crash::sweep_barrier());
        } else {
            std::printf("usage: mutant semaphore|event|barrier\n");
            return 2;
        }
    } catch (const std::exception& error) {
        std::printf("violation: %s\n", error.what());
        return 0;
    }
    std::printf("the planted fault was not found\n");
    return 1;
}
