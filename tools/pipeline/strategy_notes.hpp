// What a strategy keeps where its successor finds it: a strategy that is killed is started again,
// and goes on where the dead one stood.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <system_error>

namespace sluice::pipeline {

/// What it knows of one input. Plain: one strategy at a time writes it, and a half-made change is
/// off by one lot at most.
struct Instrument {
    std::int64_t position_lots{};  // with the orders that wait for their acknowledgement
    std::int64_t last_order_ns{};  // by receive time, so that a run's speed changes no decision
};

/// Memory that all lives of one strategy share; made before the first is forked.
///
/// An event is noted before it is taken from the queue for good, an order's id and its event before
/// the order is put: so each event is counted once, makes one order at most, and no id is used
/// twice, wherever a life ends.
class StrategyNotes {
 public:
    explicit StrategyNotes(std::size_t inputs) : inputs_(inputs) {
        void* const memory =
            ::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            throw std::system_error(errno, std::generic_category(), "mmap of a strategy's notes");
        }
        notes_ = new (memory) Notes{};
        std::uninitialized_value_construct_n(instruments().data(), inputs_);
    }
    StrategyNotes(const StrategyNotes&) = delete;
    StrategyNotes& operator=(const StrategyNotes&) = delete;
    ~StrategyNotes() { ::munmap(notes_, bytes()); }

    [[nodiscard]] std::span<Instrument> instruments() const noexcept {
        return {reinterpret_cast<Instrument*>(notes_ + 1), inputs_};
    }

    // All relaxed: one process at a time uses them, and a successor is forked after its
    // predecessor's end.

    [[nodiscard]] std::uint64_t events() const noexcept {
        return notes_->handled.load(std::memory_order_relaxed) >> 32U;
    }
    /// To be called first in each life (0: the first). What its predecessor noted last may be given
    /// to it once more, and not at once: perhaps after younger events, or to a later life.
    void begin_life(std::size_t life) noexcept {
        life_ = life;
        if (life > 0) {
            notes_->last_of_life[life - 1] =
                notes_->handled.load(std::memory_order_relaxed) & kSequenceMask;
        }
    }
    /// True once for each event, though a life ended between this and the event's commit.
    [[nodiscard]] bool note_event(std::uint64_t sequence) noexcept {
        const std::uint64_t seen = notes_->handled.load(std::memory_order_relaxed);
        const std::uint64_t low = sequence & kSequenceMask;
        const auto lives = notes_->last_of_life.begin();
        const auto end = lives + static_cast<std::ptrdiff_t>(life_);
        if (std::find(lives, end, low) != end) {
            return false;
        }
        // Both in one store: the count and what it counted last.
        notes_->handled.store(((seen >> 32U) + 1) << 32U | low, std::memory_order_relaxed);
        return true;
    }
    /// The id of a new order.
    [[nodiscard]] std::uint64_t note_order() noexcept {
        const std::uint64_t id = notes_->last_id.load(std::memory_order_relaxed) + 1;
        notes_->last_id.store(id, std::memory_order_relaxed);
        return id;
    }

    static constexpr std::size_t kLivesMax = 100;

 private:
    static constexpr std::uint64_t kSequenceMask = 0xffff'ffffU;
    struct Notes {
        std::atomic<std::uint64_t> handled{};  // events:32 | sequence of the last one:32
        std::atomic<std::uint64_t> last_id{};
        std::array<std::uint64_t, kLivesMax> last_of_life{};
    };
    [[nodiscard]] std::size_t bytes() const noexcept {
        return sizeof(Notes) + inputs_ * sizeof(Instrument);
    }

    std::size_t inputs_;
    std::size_t life_{};
    Notes* notes_;
};

}  // namespace sluice::pipeline
