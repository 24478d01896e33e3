// Adds up what the sweeps of one test have done, and prints it.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <cstdio>
#include <exception>

#include "crash/sweep.hpp"

namespace sluice::crash {

class Report {
 public:
    static void add(const SweepCounts& counts) { total() += counts; }

    /// Runs sweeps; a violation fails the test. Prints the sums.
    template <class Body>
    static void run(Body&& body) {
        total() = {};
        // On one CPU: tracer and child hand over to each other all the time, and what the kernel
        // has to tell other CPUs (changed pages, interrupts) costs more than all the rest.
        const int cpu = sched_getcpu();
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<std::size_t>(cpu < 0 ? 0 : cpu), &one);
        static_cast<void>(sched_setaffinity(0, sizeof one, &one));
        const auto begun = std::chrono::steady_clock::now();
        unsigned violations = 0;
        try {
            body();
        } catch (const std::exception& error) {
            violations = 1;
            ADD_FAILURE() << "violation: " << error.what();
        }
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
        const SweepCounts& sum = total();
        std::printf(
            "sweep total: %llu points, %llu kills, %llu pauses, %llu pairs, %llu missed, %u "
            "violations, %.1f s\n",
            static_cast<unsigned long long>(sum.points), static_cast<unsigned long long>(sum.kills),
            static_cast<unsigned long long>(sum.pauses), static_cast<unsigned long long>(sum.pairs),
            static_cast<unsigned long long>(sum.missed), violations, took.count());
        EXPECT_GT(sum.kills, 0U);
        // A point is missed when the code took another way; it must stay an exception.
        EXPECT_LE(sum.missed * 50, sum.points);
    }

 private:
    static SweepCounts& total() {
        static SweepCounts sum;
        return sum;
    }
};

}  // namespace sluice::crash
