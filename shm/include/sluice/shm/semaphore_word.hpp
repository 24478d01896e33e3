// A semaphore's permits: a counter; or, where a death must give them back, one word for each
// permit, which names its owner.
//
// Counted: taking is one compare-and-swap of the counter, and who took is written nowhere: a permit
// whose taker died stays taken, as in Python.
// Owned: taking is one compare-and-swap of a permit's word, `tag:16 | owner:16`, from nobody to the
// taker. There is no instant at which a permit is taken and anonymous, and no counter beside the
// words that a death could leave out of step: what is free is counted by looking.
//
//   FREE(tag)  --take-->     OWNED(tag, me)
//   OWNED(tag, me)  --release-->  FREE(tag)
//   OWNED(tag, dead)  --rescue-->  FREE(tag + 1)
//
// I1 counted: 0 <= value <= limit. Owned: there are `limit` words.
// I2 only its owner, or who holds proof of the owner's death, frees a permit's word.
// I3 each rescue raises the word's tag: the compare-and-swap of a rescuer who was stopped meanwhile
//    fails. Between his look at the word and that, he looks whether the id is still the dead one's.
//
// Ordering ledger
//   R1 release, rescue -> A1 take : who takes a permit sees what its last holder wrote before he
//      gave it back
//   S1 release: a seq_cst read-modify-write before the load of the sleepers' word; take: a seq_cst
//      load of the permits after the announcement (waiting.hpp: S1 to S4)
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/facts.hpp"
#include "sluice/shm/members.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice::shm {

enum class Permits : std::uint8_t { counted, owned };

/// `value` and `sleepers` share a line: they are looked at together. Owners have theirs further on.
struct SemaphoreLayout {
    std::atomic<std::uint32_t> value;  // I1; counted only
    std::uint32_t reserved_a;
    EventCountLayout sleepers;  // who wants a permit sleeps here
    std::uint32_t reserved_b[12];
    std::atomic<std::uint32_t> owners[1];  // owned only: tag:16 | owner:16, `limit` of them
};
static_assert(offsetof(SemaphoreLayout, sleepers) == 8);
static_assert(offsetof(SemaphoreLayout, owners) == kCacheLineBytes);

/// Why an operation did not happen, or that it did.
enum class SemaphoreResult : std::uint8_t {
    done,
    none,       // no permit is free
    too_many,   // released more than were taken (by this thread, where they are owned)
    no_member,  // this thread could not become a member
};

/// This process's view of a semaphore. Any thread of any process may operate.
class SemaphoreWord {
 public:
    struct Shape {
        std::uint32_t limit{};  // never more permits than this
        Permits permits{};
    };
    static constexpr std::uint32_t kLimitMax = 0x7fff'ffff;
    static constexpr std::uint32_t kOwnedMax = 4096;  // taking looks at all of them

    static std::size_t bytes(const Shape& shape) noexcept;
    static std::uint64_t layout_signature() noexcept;
    static void initialise(std::byte* body, const Shape& shape, std::uint32_t value) noexcept;
    /// Whether numbers read from a header can be a semaphore of that many bytes.
    static bool fits(const Shape& shape, std::size_t body_bytes) noexcept;

    SemaphoreWord(std::byte* body, Members& members, const Shape& shape) noexcept;
    SemaphoreWord(const SemaphoreWord&) = delete;
    SemaphoreWord& operator=(const SemaphoreWord&) = delete;
    ~SemaphoreWord() { members_->set_sweeper({}); }

    /// Takes a permit. Commit store: the compare-and-swap. Progress: lock-free.
    /// Crash: before it nothing was taken; after it the permit stays taken, or, where it is owned,
    /// comes back with the next who looks.
    SemaphoreResult take() noexcept {
        if (shape_.permits == Permits::owned) {
            return take_owned();
        }
        std::uint32_t seen = layout_->value.load(std::memory_order_seq_cst);  // S1
        while (seen != 0) {
            if (layout_->value.compare_exchange_weak(seen, seen - 1, std::memory_order_seq_cst,
                                                     std::memory_order_seq_cst)) {  // A1 S1
                return SemaphoreResult::done;
            }
        }
        return SemaphoreResult::none;
    }

    /// Gives permits back. Commit store: the read-modify-write; of owned ones, one for each.
    /// Progress: lock-free. Crash: before it nothing was released; after it the permits are there,
    /// and a wake-up that died with the releaser is made up for when a sleeper's chunk ends.
    SemaphoreResult release(std::uint32_t count) noexcept {
        if (shape_.permits == Permits::owned) {
            return release_owned(count);
        }
        // relaxed: checked by the exchange
        std::uint32_t seen = layout_->value.load(std::memory_order_relaxed);
        do {
            // Written so that a damaged value does no harm.
            if (seen > shape_.limit || count > shape_.limit - seen) {
                return SemaphoreResult::too_many;
            }
        } while (!layout_->value.compare_exchange_weak(
            seen, seen + count, std::memory_order_seq_cst, std::memory_order_relaxed));  // R1 S1
        wake(count);
        return SemaphoreResult::done;
    }

    /// Free permits at some instant of the call.
    std::uint32_t value() const noexcept;

    /// Frees the permits of a member that has ended. `dead` is the proof of death, asked again
    /// before each permit is taken away. Idempotent; several may do it at once.
    void sweep(MemberId id, const DeadTenant& dead) noexcept;

    /// For waiters: rescues owners that are dead, and names the bells of those alive.
    Bells stuck() noexcept;

    EventCountLayout& sleepers() const noexcept { return layout_->sleepers; }
    SemaphoreLayout& layout() const noexcept { return *layout_; }
    Members& members() const noexcept { return *members_; }
    const Shape& shape() const noexcept { return shape_; }

 private:
    static constexpr std::uint32_t kTagStep = 1U << 16U;
    static constexpr std::uint32_t kOwnerMask = kTagStep - 1;
    static constexpr MemberId owner_of(std::uint32_t word) noexcept {
        return static_cast<MemberId>(word & kOwnerMask);
    }
    SemaphoreResult take_owned() noexcept;
    SemaphoreResult release_owned(std::uint32_t count) noexcept;
    /// One sleeper for each permit: more would find nothing.
    void wake(std::uint32_t count) noexcept {
        for (std::uint32_t woken = 0; woken < count && layout_->sleepers.has_sleepers(); ++woken) {
            layout_->sleepers.wake_one();
        }
    }

    // Constant after construction.
    SemaphoreLayout* layout_;
    Members* members_;
    Shape shape_;
    // Where the last permit was found: a guess, shared by this process's threads.
    std::atomic<std::uint32_t> hint_{0};
};

}  // namespace sluice::shm
