// The owner-tagged ring: many producers, many consumers, bounded, FIFO by claim. Any of them may
// be killed at any instruction and the others carry on, because a claim is one compare-and-swap on
// the slot itself and carries its owner's id: there is no instant at which a claim is anonymous.
// (The famous bounded rings claim in a shared counter; whose claim it was dies with the claimer.)
//
// A slot's control word:   lap:40 | tag:5 | state:3 | owner:16
//
//   EMPTY(l)      --claim-->       WRITING(l,me)
//   WRITING(l,me) --publish-->     FULL(l)
//   WRITING(l,me) --abandon, rescue-->  SKIP(l)
//   FULL(l)       --claim-->       READING(l,me)
//   READING(l,me) --commit-->      EMPTY(l+1)
//   READING(l,me) --give back, rescue-->  RETURNED(l), and the epoch is raised
//   RETURNED(l)   --claim-->       READING(l,me), by who has seen the epoch and looks everywhere
//   READING(l,me) --commit, where memory lies beside the slot-->  CLEARING(l,me)
//   CLEARING(l,me) --memory given back-->  EMPTY(l+1)
//   CLEARING(l,me) --rescue-->     SKIP(l)
//   SKIP(l)       --pass by-->     EMPTY(l+1), where memory lies beside the slot by way of CLEARING
//
// I1 positions are claimed without gaps: a producer steps from t to t+1 only after it saw t
//    claimed; likewise consumers. So EMPTY(lap of h) at a consumer's h: the ring is empty.
// I2 hints (private to a process, and shared) are lower bounds of the truth. One ahead would make
//    a hole.
// I3 only the owner, or who holds proof of the owner's death, leaves WRITING, READING or CLEARING.
// I4 each rescue raises the slot's tag: the compare-and-swap of a rescuer who was stopped
//    meanwhile fails. Between his look at the slot and that, he looks whether the id is still the
//    dead one's: the claim may be a newcomer's.
// I5 the memory beside a slot belongs to the slot's owner; `extent_bytes` of it are allocated (at
//    most).
//
// Ordering ledger
//   R1 publish FULL -> A1 claim for reading : the consumer sees the payload (else: reads garbage)
//   R2 commit EMPTY -> A2 claim for writing : the producer's bytes come after the consumer's reads
//   S1 publish, commit: seq_cst compare-and-swaps, before the load of the sleepers' word
//      (waiting.hpp: S3, S4)
//   S3 claim for writing before the load of `control`, close() before the consumers' look at the
//      slots: a put that claims after a getter saw "closed and empty" sees "closed" (else: a
//      message for nobody)
//   R4 epoch raised after the slots were repaired -> A4 : who sees the epoch finds the messages
//      given back
// Source: owner ids as in iceoryx2's RobustUniqueIndexSet, claim on the entry as in
// erez-strauss/mpmc; the recovery and redelivery are ours.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "sluice/shm/segment.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice::shm {

enum class SlotState : std::uint8_t { empty, writing, full, reading, skip, clearing, returned };

/// The control word, taken apart.
struct SlotControl {
    static constexpr unsigned kOwnerBits = 16;
    static constexpr unsigned kStateBits = 3;
    static constexpr unsigned kTagBits = 5;
    static constexpr unsigned kLapShift = kOwnerBits + kStateBits + kTagBits;
    static constexpr std::uint64_t kLapMask = (1ULL << (64U - kLapShift)) - 1;

    std::uint64_t word;

    static constexpr SlotControl make(std::uint64_t lap, std::uint64_t tag, SlotState state,
                                      MemberId owner) noexcept {
        return {((lap & kLapMask) << kLapShift) | ((tag & 31U) << (kOwnerBits + kStateBits)) |
                (static_cast<std::uint64_t>(state) << kOwnerBits) | owner};
    }
    constexpr std::uint64_t lap() const noexcept { return word >> kLapShift; }
    constexpr std::uint64_t tag() const noexcept {
        return (word >> (kOwnerBits + kStateBits)) & 31U;
    }
    constexpr SlotState state() const noexcept {
        return static_cast<SlotState>((word >> kOwnerBits) & 7U);
    }
    constexpr MemberId owner() const noexcept { return static_cast<MemberId>(word); }

    /// The same lap and tag in another state.
    constexpr SlotControl with(SlotState state, MemberId owner) const noexcept {
        return make(lap(), tag(), state, owner);
    }
    /// The next state by way of a rescue (I4).
    constexpr SlotControl rescued(SlotState state, MemberId owner) const noexcept {
        return make(lap(), tag() + 1, state, owner);
    }
    constexpr SlotControl next_lap() const noexcept {
        return make(lap() + 1, tag(), SlotState::empty, kNobody);
    }
    /// How many laps the slot is ahead of `position_lap`, modulo the lap's 40 bits.
    constexpr std::int64_t laps_ahead_of(std::uint64_t position_lap) const noexcept {
        return static_cast<std::int64_t>((lap() - position_lap) << kLapShift) >>
               static_cast<int>(kLapShift);
    }
};

/// One slot. The payload follows; its size is the segment's element_bytes.
struct SlotLayout {
    std::atomic<std::uint64_t> control;
};

/// What follows the control word where values have their length (and may lie beside the slot).
struct ValueSlotLayout {
    std::atomic<std::uint64_t> control;
    std::uint64_t value_bytes;                // the owner's
    std::atomic<std::uint64_t> extent_bytes;  // I5; read by rescuers
    std::byte inline_bytes[1];                // as many as the slot has
};
static_assert(offsetof(ValueSlotLayout, inline_bytes) == 24);

/// The ring's shared words. `control`: closed:1 | epoch:63. The gate line changes only when
/// somebody parks, closes or dies, so every process keeps a copy of it.
struct MpmcRingLayout {
    static constexpr std::uint64_t kClosed = 1;
    static constexpr std::uint64_t kEpochStep = 2;

    alignas(kIsolationBytes) std::atomic<std::uint64_t> control;
    EventCountLayout items;                                         // consumers sleep here
    EventCountLayout room;                                          // producers sleep here
    EventCountLayout tasks;                                         // join() sleeps here
    alignas(kIsolationBytes) std::atomic<std::uint64_t> tail_hint;  // I2
    alignas(kIsolationBytes) std::atomic<std::uint64_t> head_hint;  // I2
    alignas(kIsolationBytes) std::byte slots[1];
};
static_assert(offsetof(MpmcRingLayout, items) == 8 && offsetof(MpmcRingLayout, room) == 16);
static_assert(offsetof(MpmcRingLayout, tail_hint) == 128);
static_assert(offsetof(MpmcRingLayout, slots) == 384);

/// Why an operation did not happen, or that it did.
enum class RingResult : std::uint8_t {
    done,
    full,     // no room at the tail
    empty,    // nothing at the head
    pending,  // the oldest claim is not published yet: FIFO, so wait
    closed,
    no_member,  // this thread could not become a member
    damaged,    // no sequence of operations leaves slots like these
};

/// A slot that this thread owns, between claim and publication or commit.
struct ClaimedSlot {
    std::byte* slot{};
    SlotControl control{};
    std::uint64_t position{};

    std::byte* payload(std::size_t offset) const noexcept { return slot + offset; }
};

/// Copies a payload out of a slot, or into one, word by word: in MpmcRing::take() a reader may copy
/// while the next producer writes, and throws the copy away when its exchange fails. Relaxed
/// atomics, so that this is no data race; both sides are multiples of 8 bytes and aligned to 8.
template <std::size_t kBytes>
inline void load_words(std::byte* destination, const std::byte* slot) noexcept {
    static_assert(kBytes % sizeof(std::uint64_t) == 0);
#pragma GCC unroll 8
    for (std::size_t at = 0; at < kBytes; at += sizeof(std::uint64_t)) {
        const std::uint64_t word =
            reinterpret_cast<const std::atomic<std::uint64_t>*>(slot + at)->load(
                std::memory_order_relaxed);
        __builtin_memcpy(destination + at, &word, sizeof word);
    }
}
template <std::size_t kBytes>
inline void store_words(std::byte* slot, const std::byte* source) noexcept {
    static_assert(kBytes % sizeof(std::uint64_t) == 0);
#pragma GCC unroll 8
    for (std::size_t at = 0; at < kBytes; at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, source + at, sizeof word);
        // relaxed: published by R1
        reinterpret_cast<std::atomic<std::uint64_t>*>(slot + at)->store(word,
                                                                        std::memory_order_relaxed);
    }
}

/// This process's view of a ring. All operations may be called by any thread of any process at
/// once.
class MpmcRing {
 public:
    static constexpr unsigned kExtentShift = 36;  // 64 GiB of file offsets for each slot

    struct Shape {
        std::uint64_t capacity{};        // slots; a power of two
        std::uint64_t slot_bytes{};      // a multiple of 16
        bool values_have_extents{};      // ValueSlotLayout, and memory beside the slots
        std::uint64_t first_position{};  // tests start near the wrap
    };

    static std::size_t bytes(const Shape& shape) noexcept;
    static std::uint64_t layout_signature() noexcept;
    static void initialise(std::byte* body, const Shape& shape) noexcept;
    /// Whether numbers read from a header can be a ring of that many bytes.
    static bool fits(const Shape& shape, std::size_t body_bytes) noexcept;

    MpmcRing(Segment& segment, const Shape& shape) noexcept;
    MpmcRing(const MpmcRing&) = delete;
    MpmcRing& operator=(const MpmcRing&) = delete;
    ~MpmcRing() { segment_->members().set_sweeper({}); }

    /// Claims the next slot for writing. Commit store: none; until publish() the message does not
    /// exist.
    /// Progress: lock-free among claimers. Crash: the slot becomes SKIP when a survivor meets it.
    RingResult claim(ClaimedSlot& claimed) noexcept;

    /// Commit store of a put: the message exists from this compare-and-swap on, whoever dies.
    /// False, as in commit(), abandon() and give_back(), when the claim is gone: its thread
    /// had ended, and it was resolved as that of a dead one (or a stranger wrote to the ring).
    bool publish(const ClaimedSlot& claimed) noexcept;

    /// Gives the claimed slot up; consumers pass it by.
    bool abandon(const ClaimedSlot& claimed) noexcept;

    /// Claims the oldest message for reading. Crash: it is given back, and the epoch raised.
    RingResult claim_read(ClaimedSlot& claimed) noexcept {
        return next<Next::claim>(claimed, [](const std::byte*) {});
    }

    /// Copies the oldest message and takes it, in one step: `copy(slot)` runs before the compare-
    /// and-swap from FULL to the next lap, which is the commit store. It must copy by relaxed
    /// atomics (load_words), may see bytes that are being overwritten (then the exchange fails and
    /// it runs again), and must do nothing else. Half the read-modify-writes of claim_read() and
    /// commit(), and no claim that a death could leave.
    template <class Copy>
    RingResult take(Copy&& copy) noexcept {
        SLUICE_ASSERT(!values_have_extents_);  // their memory is given back by way of CLEARING
        ClaimedSlot unused;
        return next<Next::take>(unused, copy);
    }

    /// Commit store of a get: the message counts as taken from here on.
    bool commit(const ClaimedSlot& claimed) noexcept;

    /// Whether, after a take, the next message is there already.
    bool more() const noexcept {
        const std::uint64_t position = head_.load(std::memory_order_relaxed);  // I2
        const SlotControl seen{
            slot_at(position).control.load(std::memory_order_relaxed)};  // a hint
        return seen.state() == SlotState::full && seen.laps_ahead_of(lap_of(position)) == 0;
    }

    /// Puts the message back where it was; one consumer will find it.
    bool give_back(const ClaimedSlot& claimed) noexcept;

    /// Forbids further claims for writing and wakes everybody.
    void close() noexcept;
    bool closed() const noexcept {
        return (layout_->control.load(std::memory_order_seq_cst) &  // S3
                MpmcRingLayout::kClosed) != 0;
    }

    /// Messages in the ring: exact when nobody operates, else some number it had meanwhile.
    /// A walk over the ring while messages that were given back lie behind others.
    std::uint64_t size() const noexcept;
    /// Slots that hold a message, published or taken but not committed. A walk over the ring.
    std::uint64_t unfinished() const noexcept;
    bool readable() const noexcept;
    bool full() const noexcept;
    std::uint64_t capacity() const noexcept { return mask_ + 1; }

    /// Resolves the claims of a member that has ended: WRITING becomes SKIP, READING becomes
    /// FULL again. `dead` is the proof of death, asked again before each claim is taken.
    /// Idempotent; several may do it at once.
    void sweep(MemberId id, const DeadTenant& dead) noexcept;

    /// For waiters: rescues whom the operation waits for, if dead, and names his bell, if alive.
    /// `sleeps`: how often the waiter has slept already. Whoever has slept once watches all other
    /// members: a wake-up may have died with its sender.
    Bells stuck_putting(unsigned sleeps) noexcept;
    Bells stuck_getting(unsigned sleeps) noexcept;

    MpmcRingLayout& layout() const noexcept { return *layout_; }
    Members& members() const noexcept { return segment_->members(); }

    // The memory beside the slots (values_have_extents only).
    bool write_extent(const ClaimedSlot& claimed, std::span<const std::byte> value,
                      Failure& failure) noexcept;
    bool read_extent(const ClaimedSlot& claimed, std::span<std::byte> value,
                     Failure& failure) const noexcept;

 private:
    /// Rescues the dead; whom a reader waits for.
    MemberId stuck_on() noexcept;
    /// Of that member, and of all others where the waiter has slept before.
    Bells bells(MemberId first, unsigned sleeps) noexcept;
    SlotLayout& slot_at(std::uint64_t position) const noexcept {
        return *reinterpret_cast<SlotLayout*>(slots_ + (position & mask_) * slot_bytes_);
    }
    ValueSlotLayout& value_slot(std::byte* slot) const noexcept {
        return *reinterpret_cast<ValueSlotLayout*>(slot);
    }
    std::uint64_t lap_of(std::uint64_t position) const noexcept { return position >> lap_shift_; }
    std::uint64_t position_of(std::uint64_t near, std::int64_t laps) const noexcept {
        return near + (static_cast<std::uint64_t>(laps) << lap_shift_);
    }
    /// Who is behind jumps ahead and finds his slot sooner or later. The laps of damaged slots can
    /// lead round in a circle, for ever: through 2^40 laps, which is further than anybody falls
    /// behind between two looks. Where positions count fewer laps than slots do (rings above 2^24
    /// slots), damage may also lead on step by step: so there is an end to any jumping.
    bool goes_round(std::uint64_t jumps, std::uint64_t began,
                    std::uint64_t position) const noexcept {
        constexpr std::uint64_t kJumps = 1ULL << 12U;
        constexpr std::uint64_t kJumpsMax = 1ULL << 28U;
        constexpr std::int64_t kLaps = 1LL << 30U;
        const auto laps =
            static_cast<std::int64_t>(position - began) >> static_cast<int>(lap_shift_);
        return jumps > capacity() + kJumps && (laps > kLaps || jumps > kJumpsMax);
    }
    std::uint64_t find_tail() const noexcept;
    std::uint64_t find_head() const noexcept;
    enum class Next : std::uint8_t { claim, take };
    template <Next kNext, class Copy>
    RingResult next(ClaimedSlot& claimed, Copy&& copy) noexcept;
    void after_take() noexcept {
        layout_->room.notify_one();
        if (closed()) [[unlikely]] {
            // Getters wait until nobody reads any more; this may have been the last.
            layout_->items.notify_all();
        }
    }
    /// From the claim as it was made to the slot's next state; false when the claim is gone (I3).
    static bool leave(const ClaimedSlot& claimed, SlotControl next) noexcept;
    RingResult claim_given_back(ClaimedSlot& claimed, MemberId me, std::uint64_t control) noexcept;
    void pass_by(SlotLayout& slot, SlotControl seen, MemberId me) noexcept;
    void finish_clearing(SlotLayout& slot, SlotControl mine) noexcept;
    bool holds_much(std::byte* slot) const noexcept;
    void pass_on_room(std::uint64_t position) noexcept;
    void pass_on_items(std::uint64_t position) noexcept;
    bool has_given_back() const noexcept;

    static constexpr std::uint64_t kHintEvery = 16;  // shared hints are refreshed this often
    // A slot keeps this much of the memory beside it for the next value; more is given back at
    // once.
    static constexpr std::uint64_t kExtentKept = 64U << 10U;

    // Constant after construction.
    MpmcRingLayout* layout_;
    std::byte* slots_;
    Segment* segment_;
    std::uint64_t mask_;
    std::uint64_t slot_bytes_;
    unsigned lap_shift_;
    bool values_have_extents_;
    // Lower bounds (I2), shared by this process's threads; relaxed: the slots are the truth.
    alignas(kIsolationBytes) std::atomic<std::uint64_t> tail_;
    alignas(kIsolationBytes) std::atomic<std::uint64_t> head_;
    std::atomic<std::uint64_t> epoch_seen_;
};

inline RingResult MpmcRing::claim(ClaimedSlot& claimed) noexcept {
    const MemberId me = members().id();
    if (me == kNobody) [[unlikely]] {
        return RingResult::no_member;
    }
    std::uint64_t position = tail_.load(std::memory_order_relaxed);  // I2
    for (std::uint64_t jumps = 0;;) {
        SlotLayout& slot = slot_at(position);
        SlotControl seen{slot.control.load(std::memory_order_acquire)};  // A2
        const std::int64_t ahead = seen.laps_ahead_of(lap_of(position));
        if (ahead == 0) {
            if (seen.state() == SlotState::empty) [[likely]] {
                const SlotControl mine = seen.with(SlotState::writing, me);
                // seq_cst, S3: before the look at `control` below.
                if (!slot.control.compare_exchange_strong(seen.word, mine.word,
                                                          std::memory_order_seq_cst,
                                                          std::memory_order_relaxed)) {
                    continue;  // claimed under our eyes: look again, then step on
                }
                claimed = {reinterpret_cast<std::byte*>(&slot), mine, position};
                tail_.store(position + 1, std::memory_order_relaxed);  // I2
                if (position % kHintEvery == 0) {
                    layout_->tail_hint.store(position, std::memory_order_relaxed);  // I2
                }
                if (closed()) [[unlikely]] {
                    abandon(claimed);
                    return RingResult::closed;
                }
                if (layout_->room.has_sleepers()) [[unlikely]] {
                    pass_on_room(position + 1);
                }
                return RingResult::done;
            }
            ++position;  // claimed by another (I1)
        } else if (ahead > 0) {
            // relaxed: I2; where this began, roughly
            if (goes_round(++jumps, tail_.load(std::memory_order_relaxed), position)) [[unlikely]] {
                return RingResult::damaged;
            }
            // We are a lap or more behind: EMPTY(l) says that all before it in lap l-1 and it were
            // claimed.
            const std::uint64_t there = position_of(position, ahead);
            const std::uint64_t bound =
                seen.state() == SlotState::empty ? there - capacity() + 1 : there + 1;
            position = static_cast<std::int64_t>(bound - position) > 0 ? bound : position + 1;
            const std::uint64_t hint = layout_->tail_hint.load(std::memory_order_relaxed);  // I2
            if (static_cast<std::int64_t>(hint - position) > 0) {
                position = hint;
            }
        } else {
            // The slot still belongs to the lap before: the ring is full (I1), unless what lies
            // there is nothing: then anybody may clear it away.
            tail_.store(position, std::memory_order_relaxed);  // I2
            if (seen.state() == SlotState::skip) {
                pass_by(slot, seen, me);
                continue;
            }
            return closed() ? RingResult::closed : RingResult::full;
        }
    }
}

inline bool MpmcRing::leave(const ClaimedSlot& claimed, SlotControl next) noexcept {
    std::uint64_t expected = claimed.control.word;
    // R1 R2 S1. relaxed where it fails: nothing follows from what was seen
    return reinterpret_cast<SlotLayout*>(claimed.slot)
        ->control.compare_exchange_strong(expected, next.word, std::memory_order_seq_cst,
                                          std::memory_order_relaxed);
}

inline bool MpmcRing::publish(const ClaimedSlot& claimed) noexcept {
    if (!leave(claimed, claimed.control.with(SlotState::full, kNobody))) [[unlikely]] {
        return false;
    }
    // No prefetch of the next slot for writing: the consumer polls it, and the two would take it
    // from each other (round trip of 48 B, two processes on Zen 3: 1.33 x the limit with it, 1.22 x
    // without, at a limit of 520 ns).
    layout_->items.notify_one();
    return true;
}

template <MpmcRing::Next kNext, class Copy>
inline RingResult MpmcRing::next(ClaimedSlot& claimed, Copy&& copy) noexcept {
    const MemberId me = members().id();
    if (me == kNobody) [[unlikely]] {
        return RingResult::no_member;
    }
    // Read before the slots are: "closed" counts only if it came before the emptiness (S3).
    const std::uint64_t control = layout_->control.load(std::memory_order_seq_cst);  // A4
    if (control >> 1U != epoch_seen_.load(std::memory_order_relaxed)) [[unlikely]] {
        if (claim_given_back(claimed, me, control) == RingResult::done) {
            if constexpr (kNext == Next::take) {
                copy(claimed.slot);
                return commit(claimed) ? RingResult::done : RingResult::damaged;
            }
            return RingResult::done;
        }
    }
    std::uint64_t position = head_.load(std::memory_order_relaxed);  // I2
    for (std::uint64_t jumps = 0;;) {
        SlotLayout& slot = slot_at(position);
        SlotControl seen{slot.control.load(std::memory_order_seq_cst)};  // S3
        const std::int64_t ahead = seen.laps_ahead_of(lap_of(position));
        if (ahead == 0) {
            switch (seen.state()) {
                case SlotState::full: {
                    const SlotControl mine =
                        kNext == Next::take ? seen.next_lap() : seen.with(SlotState::reading, me);
                    copy(reinterpret_cast<const std::byte*>(&slot));
                    // A1 was the load of `seen`; R2 S1: the copy comes before, the look at the
                    // sleepers after.
                    if (!slot.control.compare_exchange_strong(seen.word, mine.word,
                                                              std::memory_order_seq_cst,
                                                              std::memory_order_relaxed)) {
                        continue;
                    }
                    claimed = {reinterpret_cast<std::byte*>(&slot), mine, position};
                    head_.store(position + 1, std::memory_order_relaxed);  // I2
                    if (position % kHintEvery == 0) {
                        layout_->head_hint.store(position, std::memory_order_relaxed);  // I2
                    }
                    if constexpr (kNext == Next::take) {
                        after_take();
                    }
                    if (layout_->items.has_sleepers()) [[unlikely]] {
                        pass_on_items(position + 1);
                    }
                    return RingResult::done;
                }
                case SlotState::empty:
                    head_.store(position, std::memory_order_relaxed);  // I2
                    if ((control & MpmcRingLayout::kClosed) == 0) [[likely]] {
                        return RingResult::empty;
                    }
                    // A reader may yet give its message back.
                    return unfinished() != 0 ? RingResult::pending : RingResult::closed;
                case SlotState::skip:
                    pass_by(slot, seen, me);
                    continue;
                case SlotState::writing:
                    return RingResult::pending;
                case SlotState::reading:
                case SlotState::clearing:
                case SlotState::returned:
                    ++position;
                    break;  // taken by another, or once taken: the epoch tells of those (I1)
                default:
                    return RingResult::damaged;  // no state of ours
            }
        } else if (ahead > 0) {
            // relaxed: I2; where this began, roughly
            if (goes_round(++jumps, head_.load(std::memory_order_relaxed), position)) [[unlikely]] {
                return RingResult::damaged;
            }
            const std::uint64_t bound = position_of(position, ahead) - capacity() + 1;
            position = static_cast<std::int64_t>(bound - position) > 0 ? bound : position + 1;
            const std::uint64_t hint = layout_->head_hint.load(std::memory_order_relaxed);  // I2
            if (static_cast<std::int64_t>(hint - position) > 0) {
                position = hint;
            }
        } else {
            // The lap before is still being read here, or was given back, so nothing can have been
            // claimed at this position.
            if ((control & MpmcRingLayout::kClosed) != 0 && unfinished() == 0) {
                return RingResult::closed;
            }
            return (control & MpmcRingLayout::kClosed) != 0 ? RingResult::pending
                                                            : RingResult::empty;
        }
    }
}

inline bool MpmcRing::commit(const ClaimedSlot& claimed) noexcept {
    if (values_have_extents_ && holds_much(claimed.slot)) [[unlikely]] {
        const SlotControl clearing =
            claimed.control.with(SlotState::clearing, claimed.control.owner());
        if (!leave(claimed, clearing)) {  // the commit store
            return false;
        }
        finish_clearing(*reinterpret_cast<SlotLayout*>(claimed.slot), clearing);
    } else if (!leave(claimed, claimed.control.next_lap())) [[unlikely]] {
        return false;
    }
    after_take();
    return true;
}

}  // namespace sluice::shm
