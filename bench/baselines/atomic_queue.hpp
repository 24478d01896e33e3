// Maxim Egorushkin's atomic_queue: the rings are arrays inside the object, so it can be placed as
// it is.
#pragma once

#include <atomic_queue/atomic_queue.h>

#include <cstddef>
#include <cstdint>

#include "support/contestant.hpp"
#include "support/shared_arena.hpp"

namespace sluice::bench {

enum class Sharing { one_each_side, many_each_side };

/// Elements of any size (AtomicQueue2). try_push and try_pop claim by CAS, and wait by its own
/// pause.
template <class T, Sharing How, unsigned Capacity = kCapacity>
class AtomicQueueAny {
 public:
    using Value = T;
    explicit AtomicQueueAny(SharedArena& arena) : queue_(arena.make<Queue>()) {}

    bool try_put(const T& value) { return queue_.try_push(value); }
    bool try_get(T& value) { return queue_.try_pop(value); }
    void put(const T& value) {
        spin_until([&] { return queue_.try_push(value); });
    }
    T get() {
        T value;
        spin_until([&] { return queue_.try_pop(value); });
        return value;
    }

 protected:
    using Queue =
        atomic_queue::AtomicQueue2<T, Capacity, true, true, false, How == Sharing::one_each_side>;
    Queue& queue_;
};

/// The same ring with its waiting forms, which claim by fetch-and-add ("optimist").
template <class T, Sharing How, unsigned Capacity = kCapacity>
class AtomicQueueOptimist : public AtomicQueueAny<T, How, Capacity> {
 public:
    using AtomicQueueAny<T, How, Capacity>::AtomicQueueAny;
    void put(const T& value) { this->queue_.push(value); }
    T get() { return this->queue_.pop(); }
};

/// AtomicQueue, for elements that an atomic can hold: no state byte beside the element.
template <class T, Sharing How, unsigned Capacity = kCapacity>
class AtomicQueueWord {
 public:
    using Value = T;
    static_assert(sizeof(T) == sizeof(std::uint64_t));
    explicit AtomicQueueWord(SharedArena& arena) : queue_(arena.make<Queue>()) {}

    bool try_put(const T& value) { return queue_.try_push(value.words[0]); }
    bool try_get(T& value) { return queue_.try_pop(value.words[0]); }
    void put(const T& value) {
        spin_until([&] { return try_put(value); });
    }
    T get() {
        T value;
        spin_until([&] { return try_get(value); });
        return value;
    }

 private:
    static constexpr std::uint64_t kNil = UINT64_MAX;  // message numbers start at 0, its usual nil
    using Queue = atomic_queue::AtomicQueue<std::uint64_t, Capacity, kNil, true, true, false,
                                            How == Sharing::one_each_side>;
    Queue& queue_;
};

}  // namespace sluice::bench
