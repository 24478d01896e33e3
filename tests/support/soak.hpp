// What the soaks have in common: how long they go on, and what must not grow meanwhile.
#pragma once

#include <gtest/gtest.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "support/processes.hpp"
#include "support/sanitizers.hpp"

namespace sluice::soak {

/// SLUICE_SOAK seconds; where it is not set, the usual time, beside a sanitizer ten seconds.
inline std::chrono::seconds soak_time(long usual) {
    const char* given = std::getenv("SLUICE_SOAK");
    const long wanted = given != nullptr ? std::strtol(given, nullptr, 10) : 0;
    return std::chrono::seconds(wanted > 0 ? wanted : (test::kUnderAddressSanitizer ? 10 : usual));
}

/// A child that is stopped for a while.
class StoppableChild : public test::Child {
 public:
    using Clock = std::chrono::steady_clock;

    using Child::Child;
    void stop_for(Clock::duration time) {
        signal(SIGSTOP);
        stopped_until_ = Clock::now() + time;
    }
    /// Lets it go on when its time has come.
    void resume_if_due(Clock::time_point now) {
        if (stopped_until_ != Clock::time_point() && now >= stopped_until_) {
            resume();
            stopped_until_ = {};
        }
    }

 private:
    Clock::time_point stopped_until_{};
};

inline std::uint64_t count_descriptors() {
    return static_cast<std::uint64_t>(
        std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

/// Objects in /dev/shm that have the text in their names.
inline std::uint64_t shared_memory_entries(const std::string& text) {
    std::uint64_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
        count += entry.path().filename().string().find(text) != std::string::npos ? 1U : 0U;
    }
    return count;
}

/// What must not grow.
struct Footprint {
    std::uint64_t descriptors{};
    std::uint64_t resident_bytes{};
    std::uint64_t allocated_bytes{};  // by malloc; 0 beside a sanitizer
    std::uint64_t entries{};          // of this process in /dev/shm

    static Footprint now() {
        std::ifstream file("/proc/self/statm");
        std::uint64_t pages = 0;
        file >> pages >> pages;
        return {count_descriptors(), pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)),
                mallinfo2().uordblks, shared_memory_entries(std::to_string(getpid()))};
    }
};

/// Whether it does.
class Growth {
 public:
    /// Looks once more. While the soak warms up there is nothing yet to compare with.
    void look(bool still_warming_up) {
        last_ = Footprint::now();
        if (still_warming_up) {
            first_ = last_;
        }
    }
    /// `slack_bytes`: of resident memory, which an allocator does not give back to the byte.
    void expect_none(std::uint64_t slack_bytes) const {
        // Freed blocks that a thread's cache of malloc keeps count as allocated: up to 7 of each
        // size to 1 KiB.
        constexpr std::uint64_t kThreadCacheBytes = 256U << 10U;
        EXPECT_LT(last_.allocated_bytes, first_.allocated_bytes + kThreadCacheBytes);
        EXPECT_EQ(last_.descriptors, first_.descriptors);
        EXPECT_EQ(last_.entries, first_.entries);
        if (!test::kUnderAddressSanitizer) {  // which keeps freed memory
            EXPECT_LT(last_.resident_bytes, first_.resident_bytes + slack_bytes);
        }
    }
    [[nodiscard]] std::string text() const {
        constexpr double kMiB = 1 << 20;
        const auto number = [](std::uint64_t value) {
            return static_cast<unsigned long long>(value);
        };
        std::array<char, 240> line{};
        std::snprintf(line.data(), line.size(),
                      "fds %llu -> %llu, memory %.1f -> %.1f MiB, allocated %llu -> %llu KiB, "
                      "/dev/shm %llu -> %llu entries",
                      number(first_.descriptors), number(last_.descriptors),
                      static_cast<double>(first_.resident_bytes) / kMiB,
                      static_cast<double>(last_.resident_bytes) / kMiB,
                      number(first_.allocated_bytes >> 10U), number(last_.allocated_bytes >> 10U),
                      number(first_.entries), number(last_.entries));
        return line.data();
    }

 private:
    Footprint first_{};
    Footprint last_{};
};

}  // namespace sluice::soak
