// Sluice's Lock as a contestant, through the public API only: what is measured is what a user gets.
#pragma once

#include <sluice/lock.hpp>

#include "shared_arena.hpp"

namespace sluice::bench {

template <class L = Lock>
class OurLock {
 public:
    explicit OurLock(SharedArena&) {}
    void lock() { lock_.lock(); }
    void unlock() { lock_.unlock(); }

 private:
    L lock_;
};

}  // namespace sluice::bench
