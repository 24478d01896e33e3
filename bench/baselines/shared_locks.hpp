// What RWLock, Condition and Guarded stand beside, each in shared memory and for processes.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>
#include <cstddef>
#include <cstdint>

#include "support/contestant.hpp"
#include "support/shared_arena.hpp"

namespace sluice::bench {

class PthreadRwLock {
 public:
    explicit PthreadRwLock(SharedArena& arena) : lock_(arena.make<Lock>().value) {
        pthread_rwlockattr_t attributes;
        pthread_rwlockattr_init(&attributes);
        pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        if (pthread_rwlock_init(&lock_, &attributes) != 0) {
            fail("pthread_rwlock_init");
        }
    }
    void lock() { pthread_rwlock_wrlock(&lock_); }
    void unlock() { pthread_rwlock_unlock(&lock_); }
    void lock_shared() { pthread_rwlock_rdlock(&lock_); }
    void unlock_shared() { pthread_rwlock_unlock(&lock_); }

 private:
    struct alignas(kFarApartBytes) Lock {
        pthread_rwlock_t value;
    };
    pthread_rwlock_t& lock_;
};

class BoostSharableMutex {
 public:
    explicit BoostSharableMutex(SharedArena& arena) : mutex_(arena.make<Mutex>().value) {}
    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }
    void lock_shared() { mutex_.lock_sharable(); }
    void unlock_shared() { mutex_.unlock_sharable(); }

 private:
    struct alignas(kFarApartBytes) Mutex {
        boost::interprocess::interprocess_sharable_mutex value;
    };
    boost::interprocess::interprocess_sharable_mutex& mutex_;
};

/// A pthread condition and its mutex.
class PthreadCondition {
 public:
    explicit PthreadCondition(SharedArena& arena) : both_(arena.make<Both>()) {
        pthread_mutexattr_t mutex;
        pthread_mutexattr_init(&mutex);
        pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
        pthread_condattr_t condition;
        pthread_condattr_init(&condition);
        pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
        if (pthread_mutex_init(&both_.mutex, &mutex) != 0 ||
            pthread_cond_init(&both_.condition, &condition) != 0) {
            fail("pthread_cond_init");
        }
    }
    void lock() { pthread_mutex_lock(&both_.mutex); }
    void unlock() { pthread_mutex_unlock(&both_.mutex); }
    void wait() { pthread_cond_wait(&both_.condition, &both_.mutex); }
    void notify_one() { pthread_cond_signal(&both_.condition); }

 private:
    struct alignas(kFarApartBytes) Both {
        pthread_mutex_t mutex;
        alignas(kFarApartBytes) pthread_cond_t condition;
    };
    Both& both_;
};

/// The usual sequence lock, for one writer: readers wait while it writes, and for ever if it dies.
// Ordering ledger
//   R1 sequence even again -> A1 : the reader sees the value
//   R2 the value's words, after the odd sequence -> A2 : who has read one sees the sequence changed
template <class Value>
class SequenceLock {
 public:
    explicit SequenceLock(SharedArena& arena) : shared_(arena.make<Shared>()) {}
    Value read() const {
        for (;;) {
            const std::uint64_t before = shared_.sequence.load(std::memory_order_acquire);  // A1
            Value value;
            for (std::size_t at = 0; at < value.words.size(); ++at) {
                value.words[at] = shared_.words[at].load(std::memory_order_acquire);  // A2
            }
            // relaxed: after the words by A2
            if (before % 2 == 0 && shared_.sequence.load(std::memory_order_relaxed) == before) {
                return value;
            }
            pause_a_little();
        }
    }
    void store(const Value& value) {
        // relaxed: one writer
        const std::uint64_t before = shared_.sequence.load(std::memory_order_relaxed);
        shared_.sequence.store(before + 1, std::memory_order_relaxed);  // before the words by R2
        for (std::size_t at = 0; at < value.words.size(); ++at) {
            shared_.words[at].store(value.words[at], std::memory_order_release);  // R2
        }
        shared_.sequence.store(before + 2, std::memory_order_release);  // R1
    }

 private:
    struct alignas(kFarApartBytes) Shared {
        std::atomic<std::uint64_t> sequence{0};
        std::array<std::atomic<std::uint64_t>, sizeof(Value) / 8> words{};
    };
    Shared& shared_;
};

/// A value that is copied under a lock.
template <class Value, class L>
class LockedCopy {
 public:
    explicit LockedCopy(SharedArena& arena) : lock_(arena), value_(arena.make<Shared>().value) {}
    Value read() {
        lock_.lock();
        const Value value = value_;
        lock_.unlock();
        return value;
    }
    void store(const Value& value) {
        lock_.lock();
        value_ = value;
        lock_.unlock();
    }

 private:
    struct alignas(kFarApartBytes) Shared {
        Value value;
    };
    L lock_;
    Value& value_;
};

}  // namespace sluice::bench
