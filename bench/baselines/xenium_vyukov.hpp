// Vyukov's bounded MPMC ring, as in xenium. It takes its cells from new[], which for the time of
// its construction is led into the shared arena.
#pragma once

#include <cstddef>
#include <memory>
#include <xenium/vyukov_bounded_queue.hpp>

#include "shared_new.hpp"
#include "support/contestant.hpp"
#include "support/shared_arena.hpp"

namespace sluice::bench {

template <class T, std::size_t Capacity = kCapacity>
class XeniumVyukov {
 public:
    using Value = T;
    explicit XeniumVyukov(SharedArena& arena) : queue_(make(arena)) {}

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

 private:
    using Queue = xenium::vyukov_bounded_queue<T>;
    static Queue& make(SharedArena& arena) {
        const NewFromArena lead(arena);
        return arena.make<Queue>(Capacity);
    }
    Queue& queue_;
};

}  // namespace sluice::bench
