// What Semaphore, Event and Barrier stand beside: POSIX and pthread objects between processes, and
// the least that a futex needs for an event.
#pragma once

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>

#include "support/contestant.hpp"
#include "support/shared_arena.hpp"

namespace sluice::bench {

/// sem_t, which sleeps at once when there is no permit.
class PosixPermits {
 public:
    PosixPermits(SharedArena& arena, unsigned permits) : semaphore_(arena.make<Semaphore>().value) {
        if (sem_init(&semaphore_, 1, permits) != 0) {
            fail("sem_init");
        }
    }
    void acquire() {
        while (sem_wait(&semaphore_) != 0 && errno == EINTR) {
        }
    }
    void release() { sem_post(&semaphore_); }

 private:
    struct alignas(kFarApartBytes) Semaphore {
        sem_t value;
    };
    sem_t& semaphore_;
};

/// What one writes with pthread: a flag, a mutex and a condition variable.
class PthreadEvent {
 public:
    explicit PthreadEvent(SharedArena& arena) : event_(arena.make<Event>()) {
        pthread_mutexattr_t mutex;
        pthread_condattr_t condition;
        if (pthread_mutexattr_init(&mutex) != 0 || pthread_condattr_init(&condition) != 0 ||
            pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED) != 0 ||
            pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED) != 0 ||
            pthread_mutex_init(&event_.mutex, &mutex) != 0 ||
            pthread_cond_init(&event_.condition, &condition) != 0) {
            fail("pthread_cond_init");
        }
    }
    void set() {
        pthread_mutex_lock(&event_.mutex);
        event_.set = true;
        pthread_cond_broadcast(&event_.condition);
        pthread_mutex_unlock(&event_.mutex);
    }
    void clear() {
        pthread_mutex_lock(&event_.mutex);
        event_.set = false;
        pthread_mutex_unlock(&event_.mutex);
    }
    void wait() {
        pthread_mutex_lock(&event_.mutex);
        while (!event_.set) {
            pthread_cond_wait(&event_.condition, &event_.mutex);
        }
        pthread_mutex_unlock(&event_.mutex);
    }

 private:
    struct alignas(kFarApartBytes) Event {
        pthread_mutex_t mutex;
        pthread_cond_t condition;
        bool set;
    };
    Event& event_;
};

// Ordering ledger
//   R1 set -> A1 wait : the woken sees what was written before
/// The least: one word, 0 clear, 1 clear and somebody may sleep, 2 set. It overlooks a waiter where
/// the event is cleared at once.
class FutexEvent {
 public:
    explicit FutexEvent(SharedArena& arena) : state_(arena.make<State>().value) {}
    void set() {
        if (state_.exchange(2, std::memory_order_acq_rel) == 1) {  // R1
            syscall(SYS_futex, &state_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
        }
    }
    void clear() {
        std::uint32_t expected = 2;
        // acquire: as wait()
        state_.compare_exchange_strong(expected, 0, std::memory_order_acquire,
                                       std::memory_order_relaxed);
    }
    void wait() {
        for (;;) {
            std::uint32_t seen = state_.load(std::memory_order_acquire);  // A1
            if (seen == 2) {
                return;
            }
            // relaxed: only says that somebody sleeps
            if (seen == 1 || state_.compare_exchange_strong(seen, 1, std::memory_order_relaxed,
                                                            std::memory_order_relaxed)) {
                syscall(SYS_futex, &state_, FUTEX_WAIT, 1, nullptr, nullptr, 0);
            }
        }
    }

 private:
    struct alignas(kFarApartBytes) State {
        std::atomic<std::uint32_t> value{0};
    };
    std::atomic<std::uint32_t>& state_;
};

class PthreadBarrier {
 public:
    PthreadBarrier(SharedArena& arena, unsigned parties) : barrier_(arena.make<Barrier>().value) {
        pthread_barrierattr_t attributes;
        if (pthread_barrierattr_init(&attributes) != 0 ||
            pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) != 0 ||
            pthread_barrier_init(&barrier_, &attributes, parties) != 0) {
            fail("pthread_barrier_init");
        }
    }
    void wait() { pthread_barrier_wait(&barrier_); }

 private:
    struct alignas(kFarApartBytes) Barrier {
        pthread_barrier_t value;
    };
    pthread_barrier_t& barrier_;
};

}  // namespace sluice::bench
