// Sluice's Queue as a contestant, through the public API only: what is measured is what a
// user gets.
#pragma once

#include <cstddef>
#include <optional>
#include <sluice/queue.hpp>
#include <span>

#include "shared_arena.hpp"

namespace sluice::bench {

template <class T, Wait How = Wait::spin>
class OurQueue {
 public:
    using Value = T;
    explicit OurQueue(SharedArena&) : queue_(QueueOptions{.capacity = kCapacity, .wait = How}) {}

    void put(const T& value) { queue_.put(value); }
    T get() { return queue_.get(); }
    bool try_put(const T& value) { return queue_.try_put(value); }
    bool try_get(T& value) {
        const std::optional<T> got = queue_.try_get();
        if (got) {
            value = *got;
        }
        return got.has_value();
    }
    std::size_t put_many(std::span<const T> values) { return queue_.put_many(values); }
    std::size_t get_many(std::span<T> values) { return queue_.get_many(values); }

 private:
    Queue<T> queue_;
};

}  // namespace sluice::bench
