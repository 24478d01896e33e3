// The sweep over one structure (MUTANT_SWEEP) with a fault planted: it must find it. Prints what it
// found; the exit code is 0 when it found something. (A hang is found by the sweep's watchdog,
// which prints a violation and ends the program with 1: CTest looks for the word.)
//
// usage: mutant_NAME [TEXT]: what has TEXT in its name is swept first, where the fault is known to
// show. Then everything: a fault that shows elsewhere by now is found all the same.
#include <cstdio>
#include <exception>

#include MUTANT_HEADER

int main(int argc, char** argv) {
    try {
        if (argc > 1) {
            sluice::crash::sweep_only(argv[1]);
            static_cast<void>(sluice::crash::MUTANT_SWEEP());
            sluice::crash::sweep_only("");
        }
        static_cast<void>(sluice::crash::MUTANT_SWEEP());
    } catch (const std::exception& error) {
        std::printf("violation: %s\n", error.what());
        return 0;
    }
    std::printf("the planted fault was not found\n");
    return 1;
}
