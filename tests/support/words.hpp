// A word of the lock family in a segment of its own, as core/ builds them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/shm/array_word.hpp"
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

/// A value whose length varies, as text.
class SizedValue {
 public:
    explicit SizedValue(std::size_t bytes_max, std::string_view initial,
                        std::uint64_t first_version = 0, std::uint32_t members = 64)
        : bytes_max_(shm::round_up(bytes_max, sizeof(std::uint64_t))),
          segment_(make_segment(
              shm::SegmentKind::value, shm::GuardedWord::bytes(value_bytes()), members,
              [&](std::byte* body, std::uint32_t) {
                  std::vector<std::byte> image(value_bytes());
                  const std::uint64_t length = initial.size();
                  std::memcpy(image.data(), &length, sizeof length);
                  std::memcpy(image.data() + sizeof length, initial.data(), initial.size());
                  shm::GuardedWord::initialise(body, image.data(), image.size(), first_version);
              })),
          word_(segment_->body(), segment_->members(), value_bytes()) {}

    shm::MemberId me() noexcept { return segment_->members().id(); }
    std::string read() const {
        std::string text(bytes_max_, '\0');
        text.resize(word_.read_sized(std::as_writable_bytes(std::span(text))));
        return text;
    }
    shm::LockResult begin(shm::Deadline deadline = shm::Deadline::never()) {
        shm::SpinBudget budget;
        return word_.lock().lock(me(), shm::Wait::park, budget, deadline, shm::IfAbandoned::take);
    }
    void commit(std::string_view text) noexcept {
        word_.commit_sized(std::as_bytes(std::span(text)));
    }
    bool end() noexcept { return word_.lock().unlock(me()); }
    /// As who dies in the middle of a commit.
    void spoil_spare() noexcept {
        std::memset(word_.buffer(word_.version() + 1), 0xee, value_bytes());
    }
    shm::GuardedWord& word() noexcept { return word_; }

 private:
    std::size_t value_bytes() const noexcept { return sizeof(std::uint64_t) + bytes_max_; }

    std::size_t bytes_max_;
    std::shared_ptr<shm::Segment> segment_;
    shm::GuardedWord word_;
};

/// An array of four elements of kWords words each, which are all the same.
template <std::size_t kWords>
class Array {
 public:
    static constexpr std::size_t kBytes = kWords * sizeof(std::uint64_t);
    static constexpr std::size_t kCount = 4;
    static constexpr std::uint64_t kTorn = ~0ULL;
    using Numbers = std::array<std::uint64_t, kCount>;

    /// `first_epoch`: of versions and changes, too.
    explicit Array(std::uint64_t first_epoch = 0, std::uint32_t members = 64)
        : segment_(make_segment(shm::SegmentKind::array, shm::ArrayWord::bytes(kCount, kBytes),
                                members,
                                [&](std::byte* body, std::uint32_t) {
                                    const std::array<std::byte, kBytes> zeros{};
                                    shm::ArrayWord::initialise(body, kCount, zeros, first_epoch);
                                })),
          word_(segment_->body(), segment_->members(), kCount, kBytes) {}

    shm::ArrayWord& word() noexcept { return word_; }
    shm::MemberId me() noexcept { return segment_->members().id(); }
    shm::Members& members() noexcept { return segment_->members(); }

    /// kTorn where it is a mixture.
    std::uint64_t load(std::size_t index) const noexcept {
        Element element;
        word_.template load<kBytes>(index, bytes_of(element));
        return number_of(element);
    }
    Numbers snapshot() const noexcept {
        std::array<Element, kCount> elements;
        while (
            !word_.template try_snapshot<kBytes>(reinterpret_cast<std::byte*>(elements.data()))) {
        }
        Numbers numbers;
        for (std::size_t index = 0; index < kCount; ++index) {
            numbers[index] = number_of(elements[index]);
        }
        return numbers;
    }
    void store(std::size_t index, std::uint64_t number) noexcept {
        Element element;
        element.fill(number);
        word_.template store<kBytes>(index, bytes_of(element));
    }
    void assign(const Numbers& numbers) noexcept {
        Element element;
        word_.template assign<kBytes>([&](std::uint64_t index) {
            element.fill(numbers[index]);
            return static_cast<const std::byte*>(bytes_of(element));
        });
    }
    shm::LockResult begin(shm::Deadline deadline = shm::Deadline::never()) {
        shm::SpinBudget budget;
        return word_.lock().lock(me(), shm::Wait::park, budget, deadline, shm::IfAbandoned::take);
    }
    bool end() noexcept { return word_.lock().unlock(me()); }
    /// As who dies in the middle of assigning, or of changing an element above 8 bytes.
    void spoil_spare() noexcept {
        for (std::size_t index = 0; index < kCount; ++index) {
            std::uint64_t state = word_.layout().epoch.load() + 1;
            if (kWords > 1) {
                state += reinterpret_cast<std::atomic<std::uint64_t>*>(word_.layout().cells)[index]
                             .load();
            }
            std::memset(word_.template cell<kBytes>(state, index), 0xee, kBytes - 3);
        }
    }

 private:
    using Element = std::array<std::uint64_t, kWords>;
    static std::byte* bytes_of(Element& element) noexcept {
        return reinterpret_cast<std::byte*>(element.data());
    }
    static std::uint64_t number_of(const Element& element) noexcept {
        for (const std::uint64_t word : element) {
            if (word != element[0]) {
                return kTorn;
            }
        }
        return element[0];
    }

    std::shared_ptr<shm::Segment> segment_;
    shm::ArrayWord word_;
};

}  // namespace sluice::test
