// The untyped body of Queue<T>: the segment, the ring in it, waiting, open tasks. Queue<T> adds only the copying of
// values, so that most of a queue is compiled once.
//
// The body of a queue's segment: the ring (shm/mpmc_ring.hpp), then one TaskCellLayout for each member.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sluice/shm/mpmc_ring.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// What a member got and has not reported as done. Written by its tenant alone.
/// I1 word is tenant tag:32 | count:32 (signed); it counts only while the tag is that of the id's living owner,
/// so nobody has to reset it after a death.
struct alignas(shm::kCacheLineBytes) TaskCellLayout {
    std::atomic<std::uint64_t> word;
};
static_assert(sizeof(TaskCellLayout) == 64);

/// How a queue of some T is laid out, and how it waits.
struct QueueShape {
    std::uint64_t capacity{};      // as asked for; rounded up to a power of two
    std::uint64_t slot_bytes{};
    bool values_have_extents{};
    std::uint64_t type_signature{};
    std::string type_text{};
    Wait wait{};
    std::uint64_t first_position{};
};

class QueueCore {
 public:
    enum class Open { create, open, open_or_create };

    /// `name` empty: anonymous. Throws as the public constructors say.
    static std::shared_ptr<QueueCore> make(std::string_view name, Open how, const QueueShape& shape,
                                           const shm::MemoryOptions& memory, unsigned permissions);
    static void unlink(std::string_view name);

    QueueCore(std::shared_ptr<shm::Segment> segment, const shm::MpmcRing::Shape& shape, Wait wait,
              std::string object);

    /// False when the deadline passed first. Throws Closed, std::system_error (no place for this thread).
    bool claim(shm::ClaimedSlot& claimed, Deadline deadline);
    bool claim_read(shm::ClaimedSlot& claimed, Deadline deadline);

    /// Fast forms: one attempt, no waiting; true when it was done.
    bool try_claim(shm::ClaimedSlot& claimed) {
        const shm::RingResult result = ring_.claim(claimed);
        return result == shm::RingResult::done ||
               (result != shm::RingResult::full && refuse_or_wait(result));
    }
    bool try_claim_read(shm::ClaimedSlot& claimed) {
        const shm::RingResult result = ring_.claim_read(claimed);
        return result == shm::RingResult::done ||
               (result != shm::RingResult::empty && refuse_or_wait(result));
    }

    /// Counts the message as this member's open task, then takes it: in this order, so that join() never
    /// misses it.
    void commit(const shm::ClaimedSlot& claimed) {
        open_task();
        ring_.commit(claimed);
    }

    /// Stores a value with its length, in the slot or beside it. Throws std::system_error when there is no
    /// memory beside the slots; the caller then gives the slot up.
    void write_value(const shm::ClaimedSlot& claimed, std::span<const std::byte> value);
    /// The value: in place, or read into `buffer`. Throws BadSegment when its length cannot be.
    std::span<const std::byte> read_value(const shm::ClaimedSlot& claimed,
                                          std::span<std::byte> (*room)(void*, std::size_t),
                                          void* context);

    void task_done();
    bool join(Deadline deadline);

    shm::MpmcRing& ring() noexcept { return ring_; }
    const std::string& object() const noexcept { return object_; }
    const shm::Segment& segment() const noexcept { return *segment_; }

 private:
    bool refuse_or_wait(shm::RingResult result);
    void open_task() noexcept;
    std::int64_t open_tasks() const noexcept;
    TaskCellLayout& cell(shm::MemberId id) const noexcept { return cells_[id - 1U]; }

    std::shared_ptr<shm::Segment> segment_;
    shm::MpmcRing ring_;
    TaskCellLayout* cells_;
    std::uint64_t inline_bytes_;
    Wait wait_;
    std::string object_;  // for messages: Queue "ticks"
    shm::SpinBudget put_spin_{};
    shm::SpinBudget get_spin_{};
};

}  // namespace sluice::detail
