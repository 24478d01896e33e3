// boost::lockfree::spsc_queue with its ring inside the object, as Boost's manual has it for shared
// memory.
#pragma once

#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <span>

#include "support/contestant.hpp"
#include "support/shared_arena.hpp"

namespace sluice::bench {

template <class T, std::size_t Capacity = kCapacity>
class BoostSpsc {
 public:
    using Value = T;
    explicit BoostSpsc(SharedArena& arena) : queue_(arena.make<Queue>()) {}

    bool try_put(const T& value) { return queue_.push(value); }
    bool try_get(T& value) { return queue_.pop(value); }
    void put(const T& value) {
        spin_until([&] { return queue_.push(value); });
    }
    T get() {
        T value;
        spin_until([&] { return queue_.pop(value); });
        return value;
    }
    std::size_t put_many(std::span<const T> values) {
        return queue_.push(values.data(), values.size());
    }
    std::size_t get_many(std::span<T> values) { return queue_.pop(values.data(), values.size()); }

 private:
    using Queue = boost::lockfree::spsc_queue<T, boost::lockfree::capacity<Capacity>>;
    Queue& queue_;
};

}  // namespace sluice::bench
