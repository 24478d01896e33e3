// An owner-tagged ring in a segment of its own, and blocking operations on it as core/ builds them.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "sluice/shm/mpmc_ring.hpp"

namespace sluice::test {

struct RingOptions {
    std::uint64_t capacity{4};
    std::uint64_t first_position{0};
    std::uint64_t slot_bytes{64};
    bool values_have_extents{false};
    std::uint32_t member_capacity{64};
};

/// Waits on an eventcount as shm::wait_until does, but sleeps without end: a lost wake-up hangs
/// the test instead of hiding behind the chunk of a sleep.
template <class Attempt, class Barrier>
void wait_endlessly(shm::EventCountLayout& events, Attempt&& attempt, Barrier&& barrier) {
    while (!attempt()) {
        const shm::EventCountLayout::Ticket ticket = events.announce();
        barrier();
        if (attempt()) {
            events.retract(ticket);
            return;
        }
        static_cast<void>(shm::futex_wait(events.word, ticket.value, shm::Deadline::never()));
        events.retract(ticket);
    }
}

/// One view of a ring.
class Ring {
 public:
    explicit Ring(const RingOptions& options = {}) : options_(options) {
        shm::Failure failure;
        segment_ = shm::Segment::create("", spec(), {}, 0600, failure, [this](shm::Segment& made) {
            shm::MpmcRing::initialise(made.body(), shape());
        });
        if (!segment_) {
            throw std::runtime_error(failure.text);
        }
        ring_ = std::make_unique<shm::MpmcRing>(*segment_, shape());
    }
    Ring(const std::string& name, const RingOptions& options) : options_(options) {
        shm::Failure failure;
        segment_ = shm::Segment::open(name, spec(), failure);
        if (!segment_) {
            segment_ = shm::Segment::create(
                name, spec(), {}, 0600, failure,
                [this](shm::Segment& made) { shm::MpmcRing::initialise(made.body(), shape()); });
        }
        if (!segment_) {
            throw std::runtime_error(failure.text);
        }
        ring_ = std::make_unique<shm::MpmcRing>(*segment_, shape());
    }

    shm::MpmcRing& operator*() const noexcept { return *ring_; }
    shm::MpmcRing* operator->() const noexcept { return ring_.get(); }
    shm::Segment& segment() const noexcept { return *segment_; }

    shm::MpmcRing::Shape shape() const noexcept {
        return {options_.capacity, options_.slot_bytes, options_.values_have_extents,
                options_.first_position};
    }

    static void store(const shm::ClaimedSlot& claimed, std::uint64_t value) noexcept {
        shm::store_words<sizeof value>(claimed.payload(8),
                                       reinterpret_cast<const std::byte*>(&value));
    }
    static std::uint64_t load(const shm::ClaimedSlot& claimed) noexcept {
        std::uint64_t value = 0;
        std::memcpy(&value, claimed.payload(8), sizeof value);
        return value;
    }

    /// One attempt.
    shm::RingResult try_put(std::uint64_t value) const noexcept {
        shm::ClaimedSlot claimed;
        const shm::RingResult result = ring_->claim(claimed);
        if (result == shm::RingResult::done) {
            store(claimed, value);
            ring_->publish(claimed);
        }
        return result;
    }
    std::optional<std::uint64_t> try_get() const noexcept {
        shm::ClaimedSlot claimed;
        if (ring_->claim_read(claimed) != shm::RingResult::done) {
            return std::nullopt;
        }
        const std::uint64_t value = load(claimed);
        ring_->commit(claimed);
        return value;
    }

    /// One attempt, in one exchange.
    shm::RingResult take(std::uint64_t& value) const noexcept {
        return ring_->take([&](const std::byte* slot) {
            shm::load_words<sizeof value>(reinterpret_cast<std::byte*>(&value), slot + 8);
        });
    }

    /// Blocking. False: closed, or the deadline passed.
    bool claim(shm::ClaimedSlot& claimed, shm::Wait mode,
               shm::Deadline deadline = shm::Deadline::never()) {
        shm::RingResult result{};
        const shm::Waited waited = shm::wait_until(
            ring_->layout().room, mode, put_spin_, deadline,
            [&] {
                result = ring_->claim(claimed);
                return result != shm::RingResult::full;
            },
            [] {}, [&, sleeps = 0U]() mutable { return ring_->stuck_putting(sleeps++); });
        return waited == shm::Waited::done && result == shm::RingResult::done;
    }
    bool claim_read(shm::ClaimedSlot& claimed, shm::Wait mode,
                    shm::Deadline deadline = shm::Deadline::never()) {
        shm::RingResult result{};
        const shm::Waited waited = shm::wait_until(
            ring_->layout().items, mode, get_spin_, deadline,
            [&] {
                result = ring_->claim_read(claimed);
                return result != shm::RingResult::empty && result != shm::RingResult::pending;
            },
            [] {}, [&, sleeps = 0U]() mutable { return ring_->stuck_getting(sleeps++); });
        return waited == shm::Waited::done && result == shm::RingResult::done;
    }
    bool put(std::uint64_t value, shm::Wait mode, shm::Deadline deadline = shm::Deadline::never()) {
        shm::ClaimedSlot claimed;
        if (!claim(claimed, mode, deadline)) {
            return false;
        }
        store(claimed, value);
        ring_->publish(claimed);
        return true;
    }
    std::optional<std::uint64_t> get(shm::Wait mode,
                                     shm::Deadline deadline = shm::Deadline::never()) {
        shm::ClaimedSlot claimed;
        if (!claim_read(claimed, mode, deadline)) {
            return std::nullopt;
        }
        const std::uint64_t value = load(claimed);
        ring_->commit(claimed);
        return value;
    }

    /// As get(), in one exchange; `copied(value)` is called before it, perhaps several times.
    template <class Copied>
    std::optional<std::uint64_t> take(shm::Wait mode, Copied&& copied) {
        shm::RingResult result{};
        std::uint64_t value = 0;
        static_cast<void>(shm::wait_until(
            ring_->layout().items, mode, get_spin_, shm::Deadline::never(),
            [&] {
                result = ring_->take([&](const std::byte* slot) {
                    shm::load_words<sizeof value>(reinterpret_cast<std::byte*>(&value), slot + 8);
                    copied(value);
                });
                return result != shm::RingResult::empty && result != shm::RingResult::pending;
            },
            [] {}, [&, sleeps = 0U]() mutable { return ring_->stuck_getting(sleeps++); }));
        return result == shm::RingResult::done ? std::optional(value) : std::nullopt;
    }

    /// Blocking, and asleep without end: see wait_endlessly().
    shm::RingResult claim_endlessly(shm::ClaimedSlot& claimed) {
        shm::RingResult result{};
        wait_endlessly(
            ring_->layout().room,
            [&] {
                result = ring_->claim(claimed);
                return result != shm::RingResult::full;
            },
            [] {});
        return result;
    }
    shm::RingResult claim_read_endlessly(shm::ClaimedSlot& claimed) {
        shm::RingResult result{};
        wait_endlessly(
            ring_->layout().items,
            [&] {
                result = ring_->claim_read(claimed);
                return result != shm::RingResult::empty && result != shm::RingResult::pending;
            },
            [] {});
        return result;
    }

    std::optional<std::uint64_t> take_endlessly() {
        shm::RingResult result{};
        std::uint64_t value = 0;
        wait_endlessly(
            ring_->layout().items,
            [&] {
                result = take(value);
                return result != shm::RingResult::empty && result != shm::RingResult::pending;
            },
            [] {});
        return result == shm::RingResult::done ? std::optional(value) : std::nullopt;
    }

    /// The control word of the slot at a position.
    shm::SlotControl control_at(std::uint64_t position) const noexcept {
        const std::byte* slot =
            ring_->layout().slots + (position & (options_.capacity - 1)) * options_.slot_bytes;
        return {reinterpret_cast<const shm::SlotLayout*>(slot)->control.load(
            std::memory_order_seq_cst)};
    }
    shm::SlotState state_at(std::uint64_t position) const noexcept {
        return control_at(position).state();
    }

 private:
    shm::SegmentSpec spec() const {
        shm::SegmentSpec spec;
        spec.kind = shm::SegmentKind::queue;
        spec.layout_signature = shm::MpmcRing::layout_signature();
        spec.type_signature = 42;
        spec.type_text = "test";
        spec.capacity = options_.capacity;
        spec.element_bytes = options_.slot_bytes;
        spec.member_capacity = options_.member_capacity;
        spec.body_bytes = shm::MpmcRing::bytes(shape());
        return spec;
    }

    RingOptions options_;
    std::shared_ptr<shm::Segment> segment_;
    std::unique_ptr<shm::MpmcRing> ring_;
    shm::SpinBudget put_spin_{};
    shm::SpinBudget get_spin_{};
};

}  // namespace sluice::test
