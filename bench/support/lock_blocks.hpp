// What is measured of locks: one process alone, and several that want the same one.
#pragma once

#include <cstdint>

#include "contestant.hpp"
#include "shared_arena.hpp"

namespace sluice::bench {

/// Some work that no compiler shortens: a chain of `steps` multiplications, about 1 ns each.
inline void work(unsigned steps) {
    std::uint64_t value = steps;
    for (unsigned step = 0; step < steps; ++step) {
        value = value * 3 + 1;
        asm volatile("" : "+r"(value));
    }
}

/// Role 0 alone locks and unlocks, count times.
template <class L>
class Uncontended final : public Contestant {
 public:
    explicit Uncontended(SharedArena& arena) : lock_(arena) {}
    void run(const Block& block) override {
        if (block.role == 0) {
            for (std::uint64_t i = 0; i < block.count; ++i) {
                lock_.lock();
                lock_.unlock();
            }
        }
    }

 private:
    L lock_;
};

/// All roles lock, count and unlock, count times together; between two times each does as much for
/// itself as it did inside.
template <class L, unsigned Inside>
class Contended final : public Contestant {
 public:
    explicit Contended(SharedArena& arena) : lock_(arena), counter_(arena.make<Counter>()) {}
    void run(const Block& block) override {
        const std::uint64_t share = block.count / block.roles;
        for (std::uint64_t i = 0; i < share; ++i) {
            lock_.lock();
            const std::uint64_t seen = counter_.value;
            work(Inside);
            counter_.value = seen + 1;
            lock_.unlock();
            work(Inside);
        }
    }
    void check(const Block& block) override {
        if (counter_.value != block.count / block.roles * block.roles) {
            fail("a lock let two in at a time");
        }
        counter_.value = 0;
    }

 private:
    struct alignas(kFarApartBytes) Counter {
        volatile std::uint64_t value;
    };
    L lock_;
    Counter& counter_;
};

}  // namespace sluice::bench
