// Sluice's Pipe as a contestant, through the public API only: what is measured is what a user gets.
#pragma once

#include <cstddef>
#include <optional>
#include <sluice/pipe.hpp>
#include <span>

#include "shared_arena.hpp"

namespace sluice::bench {

/// One duplex Pipe: role 0 has its first end, role 1 the second.
template <class T, Wait How = Wait::spin>
class OurPipe {
 public:
    using Value = T;
    explicit OurPipe(SharedArena&) : pipe_(PipeOptions{.capacity = kCapacity, .wait = How}) {}

    void send(unsigned role, const T& value) { end(role).send(value); }
    T recv(unsigned role) { return end(role).recv(); }

 private:
    const Connection<T>& end(unsigned role) const { return role == 0 ? pipe_.first : pipe_.second; }
    Pipe<T> pipe_;
};

/// A simplex Pipe as a line: its first end receives, its second sends.
template <class T>
class OurPipeLine {
 public:
    using Value = T;
    explicit OurPipeLine(SharedArena&)
        : pipe_(PipeOptions{.duplex = false, .capacity = kCapacity, .wait = Wait::spin}) {}

    void put(const T& value) { pipe_.second.send(value); }
    T get() { return pipe_.first.recv(); }
    bool try_put(const T& value) { return pipe_.second.try_send(value); }
    bool try_get(T& value) {
        const std::optional<T> got = pipe_.first.try_recv();
        if (got) {
            value = *got;
        }
        return got.has_value();
    }
    std::size_t put_many(std::span<const T> values) { return pipe_.second.send_many(values); }
    std::size_t get_many(std::span<T> values) { return pipe_.first.recv_many(values); }

 private:
    Pipe<T> pipe_;
};

}  // namespace sluice::bench
