// What a race runs: one way of passing messages, in blocks of about a millisecond.
#pragma once

#include <sched.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace sluice::bench {

/// scale: stands beside the others to show the order of magnitude; it runs in few cycles,
/// since it would eat the time of the rest, and no target compares with it.
enum class Kind { limit, ours, peer, scale };

/// Whether more processes spin than there are CPUs; a spinning wait must then give up its CPU.
enum class Crowd { fits, oversubscribed };

/// One block as one process sees it. Role 0 leads: it starts first and its clock counts.
struct Block {
    unsigned role{};
    unsigned roles{};
    std::uint64_t count{};    // round trips, or messages over all producers
    std::uint64_t* stamps{};  // leader of a timed block: count + 1 clock readings
    Crowd crowd{};
};

class Contestant {
 public:
    Contestant() = default;
    virtual ~Contestant() = default;
    Contestant(const Contestant&) = delete;
    Contestant& operator=(const Contestant&) = delete;

    virtual void run(const Block& block) = 0;
    /// On the leader once all roles have ended: was everything delivered?
    virtual void check(const Block&) {}
    virtual bool can_stamp() const { return false; }
};

/// A wrong answer or a dead peer ends the program: a number from a broken run must not be printed.
[[noreturn]] [[gnu::cold]] inline void fail(const char* what) {
    std::fprintf(stderr, "bench: %s\n", what);
    std::fflush(stderr);
    std::_Exit(1);
}

/// What a spinning wait does between two looks, for the peers that leave it to their user. The
/// pause is what their own benchmarks use; here it made no peer slower, and Boost's round trip a
/// tenth faster.
inline void pause_a_little() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield" ::: "memory");
#endif
}

/// Repeats an attempt until it succeeds.
template <class Attempt>
void spin_until(Attempt attempt) {
    while (!attempt()) {
        pause_a_little();
    }
}

/// Waiting in a crowd, for all contestants alike: a yield every 64 attempts.
class Patience {
 public:
    explicit Patience(Crowd crowd) : crowd_(crowd) {}
    bool alone() const { return crowd_ == Crowd::fits; }
    void wait() {
        if (!alone() && ++spins_ % 64 == 0) {
            sched_yield();
        } else {
            pause_a_little();
        }
    }

 private:
    Crowd crowd_;
    unsigned spins_ = 0;
};

/// The cheapest clock there is: stamps bracket every single round trip of a timed block.
inline std::uint64_t stamp() {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    std::uint64_t ticks;
    asm volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
#error "no cheap clock known for this processor"
#endif
}

}  // namespace sluice::bench
