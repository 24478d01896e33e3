// The words of semaphores, events and barriers in segments of their own, and blocking operations on
// them as core/ builds them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>

#include "sluice/shm/barrier_word.hpp"
#include "sluice/shm/event_word.hpp"
#include "sluice/shm/segment.hpp"
#include "sluice/shm/semaphore_word.hpp"
#include "support/ring.hpp"

namespace sluice::test {

/// How a bare word is made.
struct WordOptions {
    std::uint32_t member_capacity{64};
    std::uint32_t count{0};  // an event's sets, a barrier's generation: tests start near the wrap
};

inline std::shared_ptr<shm::Segment> make_word_segment(
    shm::SegmentKind kind, std::size_t body_bytes, std::uint32_t member_capacity,
    const std::function<void(std::byte*)>& initialise) {
    shm::SegmentSpec spec;
    spec.kind = kind;
    spec.capacity = 1;
    spec.member_capacity = member_capacity;
    spec.body_bytes = body_bytes;
    shm::Failure failure;
    auto segment = shm::Segment::create("", spec, {}, 0600, failure,
                                        [&](shm::Segment& made) { initialise(made.body()); });
    if (!segment) {
        throw std::runtime_error(failure.text);
    }
    return segment;
}

/// Waits on a word as core/ does; `endless`: a wake-up that is lost without a death hangs the test.
enum class Asleep : std::uint8_t { in_chunks, endless };

class BareSemaphore {
 public:
    BareSemaphore(std::uint32_t limit, shm::Permits permits, std::uint32_t value,
                  const WordOptions& options = {})
        : segment_(make_word_segment(
              shm::SegmentKind::semaphore, shm::SemaphoreWord::bytes({limit, permits}),
              options.member_capacity,
              [&](std::byte* body) {
                  shm::SemaphoreWord::initialise(body, {limit, permits}, value);
              })),
          word_(std::make_unique<shm::SemaphoreWord>(segment_->body(), segment_->members(),
                                                     shm::SemaphoreWord::Shape{limit, permits})) {}

    shm::SemaphoreWord* operator->() const noexcept { return word_.get(); }
    shm::Members& members() const noexcept { return segment_->members(); }

    bool try_acquire() const {
        if (word_->take() == shm::SemaphoreResult::done) {
            return true;
        }
        static_cast<void>(word_->stuck());
        return word_->take() == shm::SemaphoreResult::done;
    }
    void acquire(Asleep asleep = Asleep::in_chunks) const {
        const auto attempt = [this] { return word_->take() == shm::SemaphoreResult::done; };
        if (asleep == Asleep::endless) {
            wait_endlessly(word_->sleepers(), attempt, [] {});
            return;
        }
        shm::SpinBudget budget;
        static_cast<void>(shm::wait_until(
            word_->sleepers(), shm::Wait::park, budget, shm::Deadline::never(), attempt, [] {},
            [this] { return word_->stuck(); }));
    }
    void release(std::uint32_t count = 1) const {
        if (word_->release(count) != shm::SemaphoreResult::done) {
            throw std::runtime_error("release was refused");
        }
    }
    std::uint32_t value() const {
        static_cast<void>(word_->stuck());
        return word_->value();
    }

 private:
    std::shared_ptr<shm::Segment> segment_;
    std::unique_ptr<shm::SemaphoreWord> word_;
};

class BareEvent {
 public:
    explicit BareEvent(const WordOptions& options = {})
        : segment_(make_word_segment(
              shm::SegmentKind::event, shm::EventWord::bytes(), 1,
              [&](std::byte* body) { shm::EventWord::initialise(body, options.count); })),
          word_(segment_->body()) {}

    shm::EventWord* operator->() noexcept { return &word_; }

    void set() { word_.set(); }
    void clear() { word_.clear(); }
    bool is_set() const { return word_.is_set(); }
    void wait(Asleep asleep = Asleep::in_chunks) {
        const std::uint32_t begun = word_.begin();
        const auto attempt = [&] { return word_.has_come(begun); };
        if (asleep == Asleep::endless) {
            wait_endlessly(word_.sleepers(), attempt, [] {});
            return;
        }
        shm::SpinBudget budget;
        static_cast<void>(shm::wait_until(
            word_.sleepers(), shm::Wait::park, budget, shm::Deadline::never(), attempt, [] {},
            [] { return shm::FutexWatch{}; }));
    }

 private:
    std::shared_ptr<shm::Segment> segment_;
    shm::EventWord word_;
};

class BareBarrier {
 public:
    explicit BareBarrier(std::uint32_t parties, const WordOptions& options = {})
        : segment_(make_word_segment(
              shm::SegmentKind::barrier, shm::BarrierWord::bytes(options.member_capacity),
              options.member_capacity,
              [&](std::byte* body) { shm::BarrierWord::initialise(body, options.count); })),
          word_(
              std::make_unique<shm::BarrierWord>(segment_->body(), segment_->members(), parties)) {}

    shm::BarrierWord* operator->() const noexcept { return word_.get(); }
    shm::Members& members() const noexcept { return segment_->members(); }

    /// Makes this thread a party if it is none.
    shm::BarrierResult arrive(shm::BarrierWord::Arrival& arrival) const {
        const shm::BarrierResult result = word_->arrive(arrival);
        if (result != shm::BarrierResult::no_party) {
            return result;
        }
        word_->attach(members().id());
        return word_->arrive(arrival);
    }
    /// opened or broken.
    shm::BarrierResult wait(Asleep asleep = Asleep::in_chunks) const {
        shm::BarrierWord::Arrival arrival;
        shm::BarrierResult result = arrive(arrival);
        if (result != shm::BarrierResult::waiting) {
            return result;
        }
        const auto attempt = [&] {
            result = word_->look(arrival);
            return result != shm::BarrierResult::waiting;
        };
        if (asleep == Asleep::endless) {
            wait_endlessly(word_->sleepers(), attempt, [] {});
            return result;
        }
        shm::SpinBudget budget;
        static_cast<void>(shm::wait_until(
            word_->sleepers(), shm::Wait::park, budget, shm::Deadline::never(), attempt, [] {},
            [this] { return word_->stuck(); }));
        return result;
    }

 private:
    std::shared_ptr<shm::Segment> segment_;
    std::unique_ptr<shm::BarrierWord> word_;
};

}  // namespace sluice::test
