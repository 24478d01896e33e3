// The locks that ours stands beside, each in shared memory and for processes.
#pragma once

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <cerrno>
#include <cstdint>

#include "support/contestant.hpp"
#include "support/shared_arena.hpp"

namespace sluice::bench {

/// The floor: mutex 3 of Drepper's "Futexes Are Tricky". 0 free, 1 taken, 2 taken and others may
/// sleep. Nobody's name is in it, so nobody's death is seen. Spins > 0: looks that often before it
/// sleeps.
// Ordering ledger
//   R1 unlock -> A1 lock : what was done under the lock is seen under the next
template <unsigned Spins>
class DrepperFutex {
 public:
    explicit DrepperFutex(SharedArena& arena) : word_(arena.make<Word>().value) {}

    void lock() {
        std::uint32_t seen = 0;
        if (word_.compare_exchange_strong(seen, 1, std::memory_order_acquire,
                                          std::memory_order_relaxed)) {  // A1
            return;
        }
        for (unsigned spin = 0; spin < Spins; ++spin) {
            pause_a_little();
            // relaxed: checked by the exchange
            if (word_.load(std::memory_order_relaxed) == 0) {
                seen = 0;
                if (word_.compare_exchange_strong(seen, 1, std::memory_order_acquire,
                                                  std::memory_order_relaxed)) {  // A1
                    return;
                }
            }
        }
        while (word_.exchange(2, std::memory_order_acquire) != 0) {  // A1
            syscall(SYS_futex, &word_, FUTEX_WAIT, 2, nullptr, nullptr, 0);
        }
    }
    void unlock() {
        if (word_.fetch_sub(1, std::memory_order_release) != 1) {  // R1
            word_.store(0, std::memory_order_release);             // R1
            syscall(SYS_futex, &word_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
        }
    }

 private:
    struct alignas(kFarApartBytes) Word {
        std::atomic<std::uint32_t> value{0};
    };
    std::atomic<std::uint32_t>& word_;
};

enum class PthreadKind { plain, robust, priority_inheriting };

template <PthreadKind How>
class PthreadMutex {
 public:
    explicit PthreadMutex(SharedArena& arena) : mutex_(arena.make<Mutex>().value) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        if (How == PthreadKind::robust) {
            pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        } else if (How == PthreadKind::priority_inheriting) {
            pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
        }
        if (pthread_mutex_init(&mutex_, &attributes) != 0) {
            fail("pthread_mutex_init");
        }
        pthread_mutexattr_destroy(&attributes);
    }
    void lock() {
        if (pthread_mutex_lock(&mutex_) != 0) {
            fail("pthread_mutex_lock");
        }
    }
    void unlock() { pthread_mutex_unlock(&mutex_); }

 private:
    struct alignas(kFarApartBytes) Mutex {
        pthread_mutex_t value;
    };
    pthread_mutex_t& mutex_;
};

class PosixSemaphore {
 public:
    explicit PosixSemaphore(SharedArena& arena) : semaphore_(arena.make<Semaphore>().value) {
        if (sem_init(&semaphore_, 1, 1) != 0) {
            fail("sem_init");
        }
    }
    void lock() {
        while (sem_wait(&semaphore_) != 0 && errno == EINTR) {
        }
    }
    void unlock() { sem_post(&semaphore_); }

 private:
    struct alignas(kFarApartBytes) Semaphore {
        sem_t value;
    };
    sem_t& semaphore_;
};

class BoostInterprocessMutex {
 public:
    explicit BoostInterprocessMutex(SharedArena& arena) : mutex_(arena.make<Mutex>().value) {}
    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }

 private:
    struct alignas(kFarApartBytes) Mutex {
        boost::interprocess::interprocess_mutex value;
    };
    boost::interprocess::interprocess_mutex& mutex_;
};

}  // namespace sluice::bench
