// The two things measured: there and back, and one way. Every library runs the same loops; they are
// templates, so that a contestant's calls are inlined as they would be in a user's program.
//
// A Line passes messages one way:       put(v) and get() wait by spinning; try_put(v), try_get(v).
// A Duplex passes them both ways:       send(role, v) and recv(role).
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "contestant.hpp"
#include "shared_arena.hpp"

namespace sluice::bench {

/// Filled with the message's number: the receiver checks it, so a ring that loses, repeats or tears
/// cannot win. All words, because a wide load of half-written ones would stall and measure that.
template <std::size_t Bytes>
struct Payload {
    static_assert(Bytes % sizeof(std::uint64_t) == 0);
    std::array<std::uint64_t, Bytes / sizeof(std::uint64_t)> words;
};

template <class Value>
Value numbered(std::uint64_t number) {
    Value value;
    value.words.fill(number);
    return value;
}

template <class Value>
bool is_whole(const Value& value) {
    return value.words[value.words.size() - 1] == value.words[0];
}

/// Two lines make a duplex: role 0 sends on the first.
template <class Line>
class TwoLines {
 public:
    using Value = typename Line::Value;
    explicit TwoLines(SharedArena& arena) : there_(arena), back_(arena) {}
    void send(unsigned role, const Value& value) { (role == 0 ? there_ : back_).put(value); }
    Value recv(unsigned role) { return (role == 0 ? back_ : there_).get(); }

 private:
    Line there_;
    Line back_;
};

/// Role 0 sends and waits for the echo of role 1, count times.
template <class Duplex>
class RoundTrip final : public Contestant {
 public:
    using Value = typename Duplex::Value;
    template <class... Args>
    explicit RoundTrip(SharedArena& arena, Args&&... args)
        : duplex_(arena, std::forward<Args>(args)...) {}

    void run(const Block& block) override {
        if (block.role == 1) {
            echo(block.count);
        } else if (block.stamps != nullptr) {
            lead<true>(block);
        } else {
            lead<false>(block);
        }
    }
    bool can_stamp() const override { return true; }

 private:
    template <bool Stamped>
    void lead(const Block& block) {
        for (std::uint64_t i = 0; i < block.count; ++i) {
            if constexpr (Stamped) {
                block.stamps[i] = stamp();
            }
            duplex_.send(0, numbered<Value>(i));
            const Value back = duplex_.recv(0);
            if (back.words[0] != i || !is_whole(back)) {
                fail("a round trip brought back another message");
            }
        }
        if constexpr (Stamped) {
            block.stamps[block.count] = stamp();
        }
    }
    void echo(std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) {
            duplex_.send(1, duplex_.recv(1));
        }
    }

    Duplex duplex_;
};

/// Even roles produce, odd ones consume; count messages in all, shared out evenly. BatchMax > 1
/// uses put_many and get_many.
template <class Line, std::size_t BatchMax = 1>
class Stream final : public Contestant {
 public:
    using Value = typename Line::Value;
    template <class... Args>
    explicit Stream(SharedArena& arena, Args&&... args)
        : line_(arena, std::forward<Args>(args)...), tallies_(arena.make<Tallies>()) {}

    void run(const Block& block) override {
        const std::uint64_t share = block.count / (block.roles / 2);
        const std::uint64_t first = block.role / 2 * share;
        Patience patience(block.crowd);
        if (block.role % 2 == 0) {
            produce(first, share, patience);
        } else {
            tallies_[block.role].sum = consume(share, block.roles == 2, patience);
        }
    }

    void check(const Block& block) override {
        std::uint64_t sum = 0;
        for (unsigned role = 1; role < block.roles; role += 2) {
            sum += tallies_[role].sum;
        }
        if (sum != block.count * (block.count - 1) / 2) {
            fail("a stream lost or repeated a message");
        }
    }

 private:
    struct alignas(kFarApartBytes) Tally {
        std::uint64_t sum;
    };
    using Tallies = std::array<Tally, 16>;

    void produce(std::uint64_t first, std::uint64_t share, Patience& patience) {
        if constexpr (BatchMax == 1) {
            for (std::uint64_t i = first; i < first + share; ++i) {
                put(numbered<Value>(i), patience);
            }
        } else {
            std::array<Value, BatchMax> batch;
            for (std::uint64_t i = 0; i < share;) {
                const std::size_t size = std::min<std::uint64_t>(BatchMax, share - i);
                for (std::size_t k = 0; k < size; ++k) {
                    batch[k] = numbered<Value>(first + i + k);
                }
                for (std::size_t sent = 0; sent < size;) {
                    sent +=
                        line_.put_many(std::span<const Value>(batch.data() + sent, size - sent));
                }
                i += size;
            }
        }
    }

    std::uint64_t consume(std::uint64_t share, bool in_order, Patience& patience) {
        std::uint64_t sum = 0;
        if constexpr (BatchMax == 1) {
            for (std::uint64_t i = 0; i < share; ++i) {
                const Value value = get(patience);
                if (!is_whole(value) || (in_order && value.words[0] != i)) {
                    fail("a stream delivered a torn message, or one out of order");
                }
                sum += value.words[0];
            }
        } else {
            std::array<Value, BatchMax> batch;
            for (std::uint64_t i = 0; i < share;) {
                const std::size_t room = std::min<std::uint64_t>(BatchMax, share - i);
                const std::size_t size = line_.get_many(std::span<Value>(batch.data(), room));
                for (std::size_t k = 0; k < size; ++k) {
                    if (!is_whole(batch[k]) || (in_order && batch[k].words[0] != i + k)) {
                        fail("a batch delivered a torn message, or one out of order");
                    }
                    sum += batch[k].words[0];
                }
                i += size;
            }
        }
        return sum;
    }

    // Where each process has a CPU the line waits in its own way; in a crowd all wait in the same
    // way, or the winner would be whoever yields more wisely.
    void put(const Value& value, Patience& patience) {
        if (patience.alone()) {
            line_.put(value);
            return;
        }
        while (!line_.try_put(value)) {
            patience.wait();
        }
    }
    Value get(Patience& patience) {
        if (patience.alone()) {
            return line_.get();
        }
        Value value;
        while (!line_.try_get(value)) {
            patience.wait();
        }
        return value;
    }

    Line line_;
    Tallies& tallies_;
};

}  // namespace sluice::bench
