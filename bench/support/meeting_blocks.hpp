// What is measured of semaphores, events and barriers: one process alone, and several that wait for
// each other.
#pragma once

#include <cstdint>

#include "contestant.hpp"
#include "shared_arena.hpp"

namespace sluice::bench {

/// A semaphore of one permit as the lock that lock_blocks.hpp measures.
template <class Permits>
class PermitLock {
 public:
    explicit PermitLock(SharedArena& arena) : permits_(arena, 1) {}
    void lock() { permits_.acquire(); }
    void unlock() { permits_.release(); }

 private:
    Permits permits_;
};

/// Role 0 releases what role 1 waits for, and waits for what that releases.
template <class Permits>
class PermitRoundTrip final : public Contestant {
 public:
    explicit PermitRoundTrip(SharedArena& arena) : there_(arena, 0), back_(arena, 0) {}
    void run(const Block& block) override {
        for (std::uint64_t i = 0; i < block.count; ++i) {
            if (block.role == 0) {
                there_.release();
                back_.acquire();
            } else {
                there_.acquire();
                back_.release();
            }
        }
    }

 private:
    Permits there_;
    Permits back_;
};

/// Role 0 alone sets, waits and clears, count times.
template <class Event>
class EventAlone final : public Contestant {
 public:
    explicit EventAlone(SharedArena& arena) : event_(arena) {}
    void run(const Block& block) override {
        if (block.role == 0) {
            for (std::uint64_t i = 0; i < block.count; ++i) {
                event_.set();
                event_.wait();
                event_.clear();
            }
        }
    }

 private:
    Event event_;
};

/// Role 0 sets what role 1 waits for, and waits for what that sets; each clears what it has seen.
template <class Event>
class EventRoundTrip final : public Contestant {
 public:
    explicit EventRoundTrip(SharedArena& arena) : there_(arena), back_(arena) {}
    void run(const Block& block) override {
        for (std::uint64_t i = 0; i < block.count; ++i) {
            if (block.role == 0) {
                there_.set();
                back_.wait();
                back_.clear();
            } else {
                there_.wait();
                there_.clear();
                back_.set();
            }
        }
    }

 private:
    Event there_;
    Event back_;
};

/// All roles meet, count times.
template <class Barrier, unsigned Parties>
class Meeting final : public Contestant {
 public:
    explicit Meeting(SharedArena& arena) : barrier_(arena, Parties) {}
    void run(const Block& block) override {
        if (block.roles != Parties) {
            fail("a barrier of another number of parties");
        }
        for (std::uint64_t i = 0; i < block.count; ++i) {
            barrier_.wait();
        }
    }

 private:
    Barrier barrier_;
};

}  // namespace sluice::bench
