// The sweep over one structure (MUTANT_SWEEP) with a fault planted: it must find it. Prints what it
// found; the exit code is 0 when it found something. (A hang is found by the sweep's watchdog,
// which prints a violation and ends the program with 1: CTest looks for the word.)
#include <cstdio>
#include <exception>

#include MUTANT_HEADER

int main() {
    try {
        static_cast<void>(sluice::crash::MUTANT_SWEEP());
    } catch (const std::exception& error) {
        std::printf("violation: %s\n", error.what());
        return 0;
    }
    std::printf("the planted fault was not found\n");
    return 1;
}
