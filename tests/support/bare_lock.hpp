// A lock word in a segment of its own, without what core/ adds: for tests of the word itself.
#pragma once

#include <memory>
#include <stdexcept>

#include "sluice/shm/lock_word.hpp"
#include "sluice/shm/segment.hpp"

namespace sluice::test {

class BareLock {
 public:
    explicit BareLock(std::uint32_t member_capacity = 16, std::uint32_t word = 0,
                      std::uint32_t heir = 0)
        : segment_(make(member_capacity, word, heir)),
          word_(*reinterpret_cast<shm::LockWordLayout*>(segment_->body()), segment_->members()) {
        segment_->members().set_sweeper(
            {[](void* lock, shm::MemberId id, const shm::DeadTenant& dead) {
                 static_cast<shm::LockWord*>(lock)->sweep(id, dead);
             },
             &word_});
    }
    BareLock(const BareLock&) = delete;
    BareLock& operator=(const BareLock&) = delete;

    shm::LockResult lock(shm::Deadline deadline = shm::Deadline::never(),
                         shm::Wait wait = shm::Wait::park) {
        return word_.try_lock_now(id()) ? shm::LockResult::done
                                        : word_.lock(id(), wait, spin_, deadline, if_abandoned);
    }
    shm::LockResult try_lock() { return lock(shm::Deadline::passed()); }
    bool unlock() { return word_.unlock_now(id()) || word_.unlock(id()); }
    bool is_held() { return word_.is_held_by(id()); }

    shm::MemberId id() { return segment_->members().id(); }
    shm::Members& members() { return segment_->members(); }
    shm::LockWord* operator->() noexcept { return &word_; }
    shm::LockWordLayout& layout() const noexcept { return word_.layout(); }
    /// Of the members' table, to be damaged: of id n, number n - 1.
    std::atomic<std::uint64_t>* cells() noexcept {
        constexpr std::size_t kMembersOffset = 256;
        return reinterpret_cast<shm::MembersLayout*>(segment_->mapping().data() + kMembersOffset)
            ->cells;
    }
    // seq_cst: tests look
    shm::LockControl control() const { return {layout().word.load()}; }
    shm::MemberId heir() const { return static_cast<shm::MemberId>(layout().heir.load()); }

    shm::IfAbandoned if_abandoned{};

 private:
    static std::shared_ptr<shm::Segment> make(std::uint32_t member_capacity, std::uint32_t word,
                                              std::uint32_t heir) {
        shm::SegmentSpec spec;
        spec.kind = shm::SegmentKind::lock;
        spec.layout_signature = shm::LockWord::layout_signature();
        spec.capacity = 1;
        spec.member_capacity = member_capacity;
        spec.body_bytes = sizeof(shm::LockWordLayout);
        shm::Failure failure;
        auto segment = shm::Segment::create("", spec, {}, 0600, failure, [=](shm::Segment& made) {
            auto* layout = new (made.body()) shm::LockWordLayout{};
            layout->word.store(word);
            layout->heir.store(heir);
        });
        if (!segment) {
            throw std::runtime_error(failure.text);
        }
        return segment;
    }

    std::shared_ptr<shm::Segment> segment_;
    shm::LockWord word_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::test
