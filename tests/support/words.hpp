// A word of the lock family in a segment of its own, as core/ builds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>

#include "sluice/shm/condition_word.hpp"
#include "sluice/shm/segment.hpp"

namespace sluice::test {

/// `initialise(body, members)`.
template <class Initialise>
std::shared_ptr<shm::Segment> make_segment(shm::SegmentKind kind, std::size_t body_bytes,
                                           std::uint32_t members, Initialise&& initialise) {
    shm::SegmentSpec spec;
    spec.kind = kind;
    spec.capacity = 1;
    spec.member_capacity = members;
    spec.body_bytes = body_bytes;
    shm::Failure failure;
    auto segment = shm::Segment::create(
        "", spec, {}, 0600, failure, [&](shm::Segment& made) { initialise(made.body(), members); });
    if (!segment) {
        throw std::runtime_error(failure.text);
    }
    return segment;
}

class Condition {
 public:
    explicit Condition(std::uint32_t members = 64, std::uint64_t first_ticket = 0)
        : segment_(make_segment(shm::SegmentKind::condition, shm::ConditionWord::bytes(members),
                                members,
                                [&](std::byte* body, std::uint32_t count) {
                                    shm::ConditionWord::initialise(body, count, first_ticket);
                                })),
          word_(*segment_) {}

    shm::ConditionWord& operator*() noexcept { return word_; }
    shm::ConditionWord* operator->() noexcept { return &word_; }
    shm::Members& members() noexcept { return segment_->members(); }
    shm::MemberId me() noexcept { return members().id(); }

    shm::ConditionState state_of(shm::MemberId id) noexcept {
        return shm::ConditionControl{word_.cell(id).word.load()}.state();
    }

 private:
    std::shared_ptr<shm::Segment> segment_;
    shm::ConditionWord word_;
};

}  // namespace sluice::test
