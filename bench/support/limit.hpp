// The floor of any hand-off: two flags on lines of their own, plain stores and loads. Its round
// trip is what the machine takes to pass one cache line there and back; everything else is a
// multiple of it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "contestant.hpp"
#include "shared_arena.hpp"

namespace sluice::bench {

// Ordering ledger
//   R1 store of one's own flag -> A1 : the other continues after whatever was written before
struct alignas(kFarApartBytes) Flag {
    std::atomic<std::uint64_t> number{0};
};

/// Two flags for each of several blocks in turn: what a line costs depends on its address by some
/// per cent (which part of the last-level cache is its home), and one pair would put that into
/// every ratio.
class FlagPairs {
 public:
    explicit FlagPairs(SharedArena& arena) : pairs_(arena.make<Pairs>()) {}

    struct Pair {
        Flag there;
        Flag back;
    };
    /// Every role takes part in every block of a contestant, so all of them count alike.
    Pair& next() { return pairs_[block_++ % pairs_.size()]; }

 private:
    using Pairs = std::array<Pair, 16>;
    Pairs& pairs_;
    std::size_t block_ = 0;
};

/// Bounces > 1 passes the flags that many times in one round trip: a contestant whose ratio is
/// known beforehand, which is how the harness is checked.
template <unsigned Bounces = 1>
class Limit final : public Contestant {
 public:
    explicit Limit(SharedArena& arena) : pairs_(arena) {}

    void run(const Block& block) override {
        FlagPairs::Pair& pair = pairs_.next();
        if (block.role == 1) {
            echo(pair, block.count * Bounces);
        } else if (block.stamps != nullptr) {
            lead<true>(pair, block);
        } else {
            lead<false>(pair, block);
        }
    }
    bool can_stamp() const override { return true; }

 private:
    template <bool Stamped>
    static void lead(FlagPairs::Pair& pair, const Block& block) {
        std::uint64_t number =
            pair.there.number.load(std::memory_order_relaxed);  // its only writer
        for (std::uint64_t i = 0; i < block.count; ++i) {
            if constexpr (Stamped) {
                block.stamps[i] = stamp();
            }
            for (unsigned bounce = 0; bounce < Bounces; ++bounce) {
                ++number;
                pair.there.number.store(number, std::memory_order_release);           // R1
                while (pair.back.number.load(std::memory_order_acquire) != number) {  // A1
                }
            }
        }
        if constexpr (Stamped) {
            block.stamps[block.count] = stamp();
        }
    }
    static void echo(FlagPairs::Pair& pair, std::uint64_t count) {
        std::uint64_t number = pair.back.number.load(std::memory_order_relaxed);  // its only writer
        for (std::uint64_t i = 0; i < count; ++i) {
            ++number;
            while (pair.there.number.load(std::memory_order_acquire) != number) {  // A1
            }
            pair.back.number.store(number, std::memory_order_release);  // R1
        }
    }

    FlagPairs pairs_;
};

/// A hand-off whose payload lies on a line of its own: two lines move each way instead of one.
class FlagAndData final : public Contestant {
 public:
    explicit FlagAndData(SharedArena& arena) : flags_(arena), data_(arena) {}

    void run(const Block& block) override {
        FlagPairs::Pair& flags = flags_.next();
        FlagPairs::Pair& data = data_.next();
        Flag& out = block.role == 0 ? flags.there : flags.back;
        Flag& out_data = block.role == 0 ? data.there : data.back;
        const Flag& in = block.role == 0 ? flags.back : flags.there;
        const Flag& in_data = block.role == 0 ? data.back : data.there;
        std::uint64_t number = out.number.load(std::memory_order_relaxed);  // its only writer
        for (std::uint64_t i = 0; i < block.count; ++i) {
            ++number;
            if (block.role == 0) {
                send(out, out_data, number);
            }
            while (in.number.load(std::memory_order_acquire) != number) {  // A1
            }
            if (in_data.number.load(std::memory_order_relaxed) != number) {  // ordered by A1
                fail("the payload behind a flag is stale");
            }
            if (block.role == 1) {
                send(out, out_data, number);
            }
        }
    }

 private:
    static void send(Flag& flag, Flag& data, std::uint64_t number) {
        data.number.store(number, std::memory_order_relaxed);  // published by R1
        flag.number.store(number, std::memory_order_release);  // R1
    }

    FlagPairs flags_;
    FlagPairs data_;
};

}  // namespace sluice::bench
