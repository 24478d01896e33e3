// Sluice's Semaphore, Event and Barrier as contestants, through the public API only.
#pragma once

#include <sluice/barrier.hpp>
#include <sluice/event.hpp>
#include <sluice/semaphore.hpp>

#include "shared_arena.hpp"

namespace sluice::bench {

template <bool Owned = false, Wait Waiting = Wait::spin_then_park>
class OurPermits {
 public:
    OurPermits(SharedArena&, unsigned permits)
        : semaphore_(permits, {.owned = Owned, .wait = Waiting}) {}
    void acquire() { semaphore_.acquire(); }
    void release() { semaphore_.release(); }

 private:
    Semaphore semaphore_;
};

template <Wait Waiting = Wait::spin_then_park>
class OurEvent {
 public:
    explicit OurEvent(SharedArena&) : event_({.wait = Waiting}) {}
    void set() { event_.set(); }
    void clear() { event_.clear(); }
    void wait() { event_.wait(); }

 private:
    Event event_;
};

template <Wait Waiting = Wait::spin_then_park>
class OurBarrier {
 public:
    OurBarrier(SharedArena&, unsigned parties) : barrier_(parties, {.wait = Waiting}) {}
    void wait() { static_cast<void>(barrier_.wait()); }

 private:
    Barrier barrier_;
};

}  // namespace sluice::bench
