// Two of the soak's workers at the ends of a pipe: of a random kind, made anew when one has died.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sluice/byte_pipe.hpp"
#include "sluice/pipe.hpp"
#include "stress/soak_ledger.hpp"

namespace sluice::soak {

enum class Until : std::uint8_t { now, soon, done };
inline constexpr std::chrono::milliseconds kSoon{1};

/// An end, with one form of sending and receiving for all kinds of pipe. `receive` answers whether
/// a message came; its item is none when it is damaged.
template <class T>
class Voice {
 public:
    explicit Voice(Connection<T> end) : end_(std::move(end)) {}

    bool send(const Item& item, Until until) {
        const T value = value_of<T>(item);
        if (until == Until::done) {
            end_.send(value);
            return true;
        }
        return until == Until::now ? end_.try_send(value) : end_.try_send_for(value, kSoon);
    }
    bool receive(std::optional<Item>& item, Until until) {
        if (until == Until::done) {
            item = item_of(end_.recv());
            return true;
        }
        const std::optional<T> value =
            until == Until::now ? end_.try_recv() : end_.try_recv_for(kSoon);
        if (value) {
            item = item_of(*value);
        }
        return value.has_value();
    }

 private:
    Connection<T> end_;
};

/// Bytes: copied, or built and looked at in the ring.
template <>
class Voice<std::byte> {
 public:
    explicit Voice(ByteConnection end) : end_(std::move(end)) {}

    bool send(const Item& item, Until until) {
        const std::string text = value_of<std::string>(item);
        const auto bytes = std::as_bytes(std::span(text));
        if (until == Until::done && bytes.size() <= end_.claim_max()) {
            std::ranges::copy(bytes, end_.claim(bytes.size()).begin());
            end_.commit();
            return true;
        }
        if (until == Until::done) {
            end_.send(bytes);
            return true;
        }
        return until == Until::now ? end_.try_send(bytes) : end_.try_send_for(bytes, kSoon);
    }
    bool receive(std::optional<Item>& item, Until until) {
        if (until == Until::now) {
            const std::optional<std::vector<std::byte>> message = end_.try_recv();
            if (message) {
                item = read(*message);
            }
            return message.has_value();
        }
        const std::optional<ByteConnection::Bytes> message =
            until == Until::done ? std::optional(end_.peek()) : end_.try_peek_for(kSoon);
        if (message) {
            item = read(*message);
            end_.consume();
        }
        return message.has_value();
    }

 private:
    static std::optional<Item> read(std::span<const std::byte> message) {
        return item_of(reinterpret_cast<const char*>(message.data()), message.size());
    }

    ByteConnection end_;
};

/// One end's process. It sends until production ends, and says farewell; it receives until the
/// farewell. Either ends where the other end is found closed.
template <class T>
class Talker {
 public:
    Talker(Ledger& ledger, unsigned self, Voice<T> voice)
        : ledger_(ledger),
          note_(ledger.workers[self]),
          side_(self % 2),
          round_(ledger.round.load(std::memory_order_acquire)),
          voice_(std::move(voice)),
          random_(mix(static_cast<std::uint64_t>(getpid()))) {}

    /// Both ways at once: neither may block while the other may.
    void talk() {
        bool sending = true;
        bool receiving = true;
        while (sending || receiving) {
            if (sending) {
                sending = send(one_in(4) ? Until::soon : Until::now);
            }
            for (unsigned step = 0; receiving && step < 4; ++step) {
                receiving = receive(!sending && one_in(2) ? Until::done
                                                          : (one_in(8) ? Until::soon : Until::now));
            }
        }
    }
    void speak() {
        while (send(static_cast<Until>(random_() % 3))) {
        }
    }
    void listen() {
        while (receive(static_cast<Until>(random_() % 3))) {
        }
    }

 private:
    // False: it was the last.
    bool send(Until until) {
        note_.doing.store(Doing::sending, std::memory_order_relaxed);
        DirectionNote& direction = ledger_.directions[side_];
        const bool last = ledger_.producing.load(std::memory_order_relaxed) != round_;
        const std::uint64_t next = direction.begun.load(std::memory_order_relaxed);
        direction.begun.store(next + 1, std::memory_order_release);
        try {
            if (!voice_.send(Item::make(round_, last ? kFarewell : side_, next), until)) {
                direction.begun.store(next, std::memory_order_release);
                return true;
            }
        } catch (const Closed&) {
            return false;
        }
        direction.finished.store(next + 1, std::memory_order_release);
        count_operation();
        return !last;
    }
    bool receive(Until until) {
        note_.doing.store(Doing::receiving, std::memory_order_relaxed);
        DirectionNote& direction = ledger_.directions[1 - side_];
        std::optional<Item> item;
        try {
            if (!voice_.receive(item, until)) {
                return true;
            }
        } catch (const Closed&) {
            return false;
        }
        const std::uint64_t next = direction.received.load(std::memory_order_relaxed);
        const bool last = item && item->producer == kFarewell;
        if (!item || item->round != round_ || item->sequence != next ||
            (!last && item->producer != 1 - side_)) {
            std::fprintf(stderr, "soak: pipe: message %llu instead of %llu\n",
                         static_cast<unsigned long long>(item ? item->sequence : ~0ULL),
                         static_cast<unsigned long long>(next));
            ledger_.damaged.fetch_add(1);
        }
        direction.received.store(next + 1, std::memory_order_release);
        count_operation();
        return !last;
    }
    bool one_in(std::uint64_t count) { return random_() % count == 0; }
    void count_operation() noexcept {
        note_.operations.store(note_.operations.load(std::memory_order_relaxed) + 1,
                               std::memory_order_relaxed);
    }

    Ledger& ledger_;
    WorkerNote& note_;
    unsigned side_;
    std::uint32_t round_;
    Voice<T> voice_;
    std::mt19937_64 random_;
};

}  // namespace sluice::soak
