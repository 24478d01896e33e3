// libFuzzer over damaged segments: see segment_driver.hpp and README.md.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "fuzz/segment_driver.hpp"

extern "C" {

const char* __asan_default_options();
int LLVMFuzzerInitialize(int* count, char*** arguments);
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

// What was freed is watched for a while, not for the default's 256 MiB: a program lasts a
// millisecond.
const char* __asan_default_options() {
    return "quarantine_size_mb=16";
}

static sluice::fuzz::SegmentDriver& driver() {
    static sluice::fuzz::SegmentDriver made;
    return made;
}

// SLUICE_SOAK, the seconds that a long run is given, comes last and so wins.
int LLVMFuzzerInitialize(int* count, char*** arguments) {
    static std::string soak;
    static std::vector<char*> all;
    if (const char* seconds = std::getenv("SLUICE_SOAK"); seconds != nullptr && *seconds != '\0') {
        soak = std::string("-max_total_time=") + seconds;
        all.assign(*arguments, *arguments + *count);
        all.push_back(soak.data());
        all.push_back(nullptr);
        *arguments = all.data();
        *count = static_cast<int>(all.size()) - 1;
    }
    driver();  // here: its forks would count as the time of the first program
    return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
    driver().run({data, bytes});
    return 0;
}

}  // extern "C"
