// The untyped body of Queue<T>: the segment, the ring in it, waiting, open tasks. Queue<T> adds
// only the copying of values, so that most of a queue is compiled once.
//
// The body of a queue's segment: the ring (shm/mpmc_ring.hpp), then one TaskCellLayout for each
// member.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "sluice/detail/object_core.hpp"
#include "sluice/shm/fork.hpp"
#include "sluice/shm/mpmc_ring.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// What a member got, and how many of these were reported as done, by whatever thread. Two words,
/// so that a report always goes to the cell of a getter: one kept by the reporter would vanish when
/// that one ends.
/// I1 each is tenant tag:32 | count:32; it counts only while the tag is that of the id's living
///    owner, so nobody has to reset it after a death.
/// I2 `got` is written by its tenant alone. I3 done - got never exceeds 0 (both wrap round
/// together).
struct alignas(shm::kCacheLineBytes) TaskCellLayout {
    std::atomic<std::uint64_t> got;
    std::atomic<std::uint64_t> done;
};
static_assert(sizeof(TaskCellLayout) == 64);

constexpr std::uint64_t task_word(std::uint32_t tag, std::uint32_t count) noexcept {
    return (static_cast<std::uint64_t>(tag) << 32U) | count;
}
/// A word of a former tenant counts as 0.
constexpr std::uint32_t task_count(std::uint64_t word, std::uint32_t tag) noexcept {
    return static_cast<std::uint32_t>(word >> 32U) == tag ? static_cast<std::uint32_t>(word) : 0;
}

/// How a queue of some T is laid out, and how it waits.
struct QueueShape {
    std::uint64_t capacity{};  // as asked for; rounded up to a power of two
    std::uint64_t slot_bytes{};
    bool values_have_extents{};
    std::uint64_t type_signature{};
    std::string type_text{};
    Wait wait{};
    std::uint64_t first_position{};
};

class QueueCore;

/// Whether a claim that a Slot or a Lease holds is still this thread's process's, and still there.
class HeldClaim {
 public:
    explicit HeldClaim(const shm::ClaimedSlot& claimed) noexcept : claimed_(claimed) {}
    /// False in a child made by fork (the claim is the parent's), and when the thread that claimed
    /// has ended:
    /// then the claim was resolved as that of a dead one, and the slot may be another's.
    bool is_held(const QueueCore& core) const noexcept;
    /// Throws NotPermitted or Error where it is not.
    void require(const QueueCore& core) const;
    /// The same, of the claim's last use: it may have gone since require() looked.
    void require_done(const QueueCore& core, bool done) const;

 private:
    shm::ClaimedSlot claimed_;
    std::uint32_t generation_{shm::fork_generation};
};

class QueueCore : public ObjectCore {
 public:
    /// Errors: as ObjectCore's; std::invalid_argument: a capacity that cannot be.
    QueueCore(const Origin& origin, const QueueShape& wanted);

    /// False when the deadline passed first. Throws Closed, std::system_error (no place for this
    /// thread).
    bool claim(shm::ClaimedSlot& claimed, Deadline deadline);
    bool claim_read(shm::ClaimedSlot& claimed, Deadline deadline);

    /// The same without a deadline, and without a call where the slot is there.
    void claim_now(shm::ClaimedSlot& claimed) {
        if (ring_.claim(claimed) != shm::RingResult::done) [[unlikely]] {
            claim(claimed, Deadline::never());
        }
    }

    /// Copies and takes the oldest message in one step, if there is one: see MpmcRing::take(). The
    /// open task is counted before the commit store, in the copy, which may run several times.
    template <class Copy>
    shm::RingResult take(Copy&& copy) {
        bool counted = false;
        const shm::RingResult result = ring_.take([&](const std::byte* slot) {
            if (!counted) {
                open_task();
                counted = true;
            }
            copy(slot);
        });
        if (counted && result != shm::RingResult::done) [[unlikely]] {
            reopen_task();
        }
        return result;
    }

    /// The same, waiting. `copy(context, slot)`. False when the deadline passed first; throws as
    /// claim_read().
    using CopySlot = void (*)(void* context, const std::byte* slot);
    bool take(CopySlot copy, void* context, Deadline deadline);

    /// One attempt, without a call where the answer is there; otherwise as try_claim_read().
    template <class Copy>
    bool try_take(Copy&& inline_copy, CopySlot copy, void* context) {
        const shm::RingResult result = take(inline_copy);
        return result == shm::RingResult::done || settle_take(result, copy, context);
    }

    /// Fast forms: no waiting; true when it was done. What is in the way may belong to the dead, so
    /// now and then a failing attempt looks for them.
    bool try_claim(shm::ClaimedSlot& claimed) {
        const shm::RingResult result = ring_.claim(claimed);
        return result == shm::RingResult::done || settle_claim(result, claimed);
    }
    bool try_claim_read(shm::ClaimedSlot& claimed) {
        const shm::RingResult result = ring_.claim_read(claimed);
        return result == shm::RingResult::done || settle_claim_read(result, claimed);
    }

    /// Counts the message as this member's open task, then takes it: in this order, so that join()
    /// never misses it. False when the claim is gone.
    bool commit(const shm::ClaimedSlot& claimed) {
        open_task();
        if (!ring_.commit(claimed)) [[unlikely]] {
            reopen_task();
            return false;
        }
        return true;
    }
    /// Throws where a claim that was used at once is gone: only a stranger's store can do that.
    void publish(const shm::ClaimedSlot& claimed) {
        if (!ring_.publish(claimed)) [[unlikely]] {
            refuse_or_join(shm::RingResult::damaged);
        }
    }

    /// Stores a value with its length, in the slot or beside it. Throws std::system_error when
    /// there is no memory beside the slots; the caller then gives the slot up.
    void write_value(const shm::ClaimedSlot& claimed, std::span<const std::byte> value);
    /// The value: in place, or read into `buffer`. Throws BadSegment when its length cannot be.
    std::span<const std::byte> read_value(const shm::ClaimedSlot& claimed,
                                          std::span<std::byte> (*room)(void*, std::size_t),
                                          void* context);

    void task_done();
    bool join(Deadline deadline);

    /// Whether the control word still says that the claim is there: a rescue raises its tag.
    bool holds(const shm::ClaimedSlot& claimed) const noexcept;

    shm::MpmcRing& ring() noexcept { return ring_; }

 private:
    // What a failed attempt without further waiting comes to. What is in the way may belong to the
    // dead, and only who waits long looks for them by itself: so now and then this does. Now and
    // then: who polls finds nothing far more often than anybody dies.
    bool settle_take(shm::RingResult result, CopySlot copy, void* context) {
        const bool nothing = result == shm::RingResult::empty || result == shm::RingResult::pending;
        return nothing && !is_time_to_look(get_failures_) ? false : look_and_take(copy, context);
    }
    bool look_and_take(CopySlot copy, void* context);
    bool settle_claim(shm::RingResult result, shm::ClaimedSlot& claimed) {
        const bool nothing = result == shm::RingResult::full;
        return nothing && !is_time_to_look(put_failures_) ? false : look_and_claim(claimed);
    }
    bool settle_claim_read(shm::RingResult result, shm::ClaimedSlot& claimed) {
        const bool nothing = result == shm::RingResult::empty || result == shm::RingResult::pending;
        return nothing && !is_time_to_look(get_failures_) ? false : look_and_claim_read(claimed);
    }
    bool look_and_claim(shm::ClaimedSlot& claimed);
    bool look_and_claim_read(shm::ClaimedSlot& claimed);
    /// Throws Closed, or makes this thread a member, or throws because it cannot become one.
    void refuse_or_join(shm::RingResult result);
    // Of each side its own count: in a loop that tries both in turn one of them would always meet
    // the round number, and the other never.
    static bool is_time_to_look(std::atomic<std::uint32_t>& failed) noexcept {
        constexpr std::uint32_t kLookEvery = 256;
        // relaxed: shared by this process's threads; a race only moves a look
        const std::uint32_t failures = failed.load(std::memory_order_relaxed) + 1;
        failed.store(failures, std::memory_order_relaxed);
        return failures % kLookEvery == 0;
    }
    void open_task() noexcept {
        const shm::MemberId me = ring_.members().id();
        if (me == shm::kNobody) [[unlikely]] {
            return;
        }
        const std::uint32_t tag = ring_.members().tenant_tag(me);
        std::atomic<std::uint64_t>& got = cell(me).got;
        const std::uint64_t seen =
            got.load(std::memory_order_relaxed);  // I2: only this thread writes it
        // release: before the commit store
        got.store(task_word(tag, task_count(seen, tag) + 1), std::memory_order_release);
    }
    void reopen_task() noexcept;
    std::int64_t open_tasks() const noexcept;
    std::int64_t open_tasks_of(shm::MemberId id) const noexcept;
    bool report_done(shm::MemberId id) noexcept;
    TaskCellLayout& cell(shm::MemberId id) const noexcept { return cells_[id - 1U]; }

    shm::MpmcRing ring_;
    TaskCellLayout* cells_;
    std::uint64_t inline_bytes_;
    std::atomic<std::uint32_t> put_failures_{};
    std::atomic<std::uint32_t> get_failures_{};
    shm::SpinBudget put_spin_{};
    shm::Slip slip_{};
    shm::SpinBudget get_spin_{};
};

}  // namespace sluice::detail
