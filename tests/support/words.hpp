// A word of the lock family in a segment of its own, as core/ builds them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>

#include "sluice/shm/condition_word.hpp"
#include "sluice/shm/guarded_word.hpp"
#include "sluice/shm/rw_lock_word.hpp"
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
          word_(segment_->body(), segment_->members()) {}

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

class RwLock {
 public:
    /// `first_tag`: of every reader's cell.
    explicit RwLock(std::uint32_t members = 64, std::uint32_t first_tag = 0)
        : segment_(make_segment(shm::SegmentKind::rw_lock, shm::RwLockWord::bytes(members), members,
                                [](std::byte*, std::uint32_t) {})),
          word_(segment_->body(), segment_->members()) {
        for (std::uint32_t id = 1; id <= members; ++id) {
            word_.cell(static_cast<shm::MemberId>(id))
                .word.store(first_tag * shm::ReaderControl::kTagStep);
        }
    }

    shm::RwLockWord& operator*() noexcept { return word_; }
    shm::RwLockWord* operator->() noexcept { return &word_; }
    shm::Members& members() noexcept { return segment_->members(); }
    shm::MemberId me() noexcept { return members().id(); }

    shm::LockResult lock(shm::Deadline deadline = shm::Deadline::never(),
                         shm::Wait mode = shm::Wait::park) {
        shm::SpinBudget budget;
        return word_.lock(me(), mode, budget, deadline, shm::IfAbandoned::take);
    }
    shm::LockResult lock_shared(shm::Deadline deadline = shm::Deadline::never(),
                                shm::Wait mode = shm::Wait::park) {
        shm::SpinBudget budget;
        return word_.lock_shared(me(), mode, budget, deadline, shm::IfAbandoned::take);
    }

 private:
    std::shared_ptr<shm::Segment> segment_;
    shm::RwLockWord word_;
};

/// A guarded value of kWords words, which are all the same.
template <std::size_t kWords>
class Guarded {
 public:
    static constexpr std::size_t kBytes = kWords * sizeof(std::uint64_t);

    explicit Guarded(std::uint64_t initial = 0, std::uint64_t first_version = 0,
                     std::uint32_t members = 64)
        : segment_(make_segment(shm::SegmentKind::guarded, shm::GuardedWord::bytes(kBytes), members,
                                [&](std::byte* body, std::uint32_t) {
                                    Value value;
                                    value.fill(initial);
                                    shm::GuardedWord::initialise(
                                        body, reinterpret_cast<const std::byte*>(value.data()),
                                        kBytes, first_version);
                                })),
          word_(segment_->body(), segment_->members(), kBytes) {}

    shm::GuardedWord& operator*() noexcept { return word_; }
    shm::GuardedWord* operator->() noexcept { return &word_; }
    shm::Members& members() noexcept { return segment_->members(); }
    shm::MemberId me() noexcept { return members().id(); }

    /// The value; ~0 where it is a mixture.
    std::uint64_t read() const noexcept {
        Value value;
        word_.template read<kBytes>(reinterpret_cast<std::byte*>(value.data()));
        for (const std::uint64_t word : value) {
            if (word != value[0]) {
                return ~0ULL;
            }
        }
        return value[0];
    }
    shm::LockResult begin(shm::Deadline deadline = shm::Deadline::never()) {
        shm::SpinBudget budget;
        return word_.lock().lock(me(), shm::Wait::park, budget, deadline, shm::IfAbandoned::take);
    }
    void commit(std::uint64_t number) noexcept {
        Value value;
        value.fill(number);
        word_.template commit<kBytes>(reinterpret_cast<const std::byte*>(value.data()));
    }
    bool end() noexcept { return word_.lock().unlock(me()); }

 private:
    using Value = std::array<std::uint64_t, kWords>;
    std::shared_ptr<shm::Segment> segment_;
    shm::GuardedWord word_;
};

}  // namespace sluice::test
