// A barrier: `parties` threads meet, generation by generation; a party that dies breaks it.
//
// The state is one word, `generation:32 | endings:15 | broken:1 | arrived:16`, and each change of
// it one compare-and-swap:
//
//   arrive          (g, k)          -> (g, k + 1)            while k + 1 < parties
//   arrive, last    (g, parties-1)  -> (g + 1, 0)            endings: 0, opened
//   break           (g, k)          -> (g + 1, 0), broken    endings: 1, gave way
//   reset           (g, k)          -> (g + 1, 0), mended    endings: 1, also where nobody waited:
//                                                            a late rescuer's exchange must fail
//
// `endings` says of the last 15 generations how each ended, so that who waited for one and was slow
// to wake learns whether all had come, even if others have gone on since.
//
// A thread becomes a party, attaches, before its first arrival: its place in `attached` holds the
// tag of its membership (Members::tenant_tag). One that ends in good order leaves
// (Members::leave), and is no party any more. One that dies breaks the barrier, for those who wait
// and those who come, until it is reset: a survivor that looks for the dead before it sleeps, or
// whom the bell wakes, does that. Where no party is left alive and nobody was waiting, there is
// nobody for whom it could break: who comes then begins anew.
//
// I1 a generation ends once, by the compare-and-swap that raises it. `arrived` counts arrivals in
//    the generation that goes on, those of the dead included: they break it.
// I2 who attaches has swept all who died before. So a rescuer that sees a living party who came
//    after the death finds, when he asks again, that the id is not the dead one's any more.
//
// Ordering ledger
//   R1 arrive, break, reset -> A1 look : who goes on sees what all parties wrote before they came
//   R2 attached, after the rescue -> A2 sweep : I2
//   S1 arrive, break, reset: seq_cst read-modify-writes before the load of the sleepers' word;
//      look: a seq_cst load after the announcement (waiting.hpp: S1 to S4)
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/facts.hpp"
#include "sluice/shm/members.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice::shm {

/// The state word, taken apart.
struct BarrierState {
    static constexpr std::uint64_t kArrivedMask = 0xffff;
    static constexpr std::uint64_t kBroken = 1ULL << 16U;
    static constexpr unsigned kEndingsShift = 17;
    static constexpr unsigned kEndingsBits = 15;
    static constexpr std::uint64_t kEndingsMask = (1ULL << kEndingsBits) - 1;
    static constexpr unsigned kGenerationShift = 32;

    std::uint64_t word;

    constexpr std::uint32_t generation() const noexcept {
        return static_cast<std::uint32_t>(word >> kGenerationShift);
    }
    constexpr std::uint32_t arrived() const noexcept {
        return static_cast<std::uint32_t>(word & kArrivedMask);
    }
    constexpr bool is_broken() const noexcept { return (word & kBroken) != 0; }
    constexpr std::uint64_t endings() const noexcept {
        return (word >> kEndingsShift) & kEndingsMask;
    }

    constexpr BarrierState with_arrival() const noexcept { return {word + 1}; }
    constexpr BarrierState opened() const noexcept { return next(0, 0); }
    constexpr BarrierState broken() const noexcept { return next(1, kBroken); }
    constexpr BarrierState mended() const noexcept { return next(1, 0); }

    /// How an earlier generation ended. One that is forgotten by now had all its parties if any has
    /// had since: only threads beyond their number can have met without one that still sleeps. If
    /// none has, nobody can tell, and whoever is told that it gave way relies on nothing.
    constexpr bool gave_way(std::uint32_t earlier) const noexcept {
        const std::uint32_t ago = generation() - earlier - 1;
        return ago < kEndingsBits ? ((endings() >> ago) & 1U) != 0 : endings() == kEndingsMask;
    }

 private:
    constexpr BarrierState next(std::uint64_t ending, std::uint64_t flag) const noexcept {
        const auto raised = static_cast<std::uint64_t>(generation() + 1U);
        const std::uint64_t all = ((endings() << 1U) | ending) & kEndingsMask;
        return {(raised << kGenerationShift) | (all << kEndingsShift) | flag};
    }
};

struct BarrierLayout {
    std::atomic<std::uint64_t> state;
    EventCountLayout sleepers;                // who has arrived sleeps here
    std::atomic<std::uint32_t> attached_max;  // no id above it has ever attached; only grows
    std::uint32_t reserved[11];
    std::atomic<std::uint32_t> attached[1];  // one for each member: 0, or a tenant's tag
};
static_assert(offsetof(BarrierLayout, sleepers) == 8);
static_assert(offsetof(BarrierLayout, attached) == kCacheLineBytes);

enum class BarrierResult : std::uint8_t {
    opened,   // all parties have come
    waiting,  // some are missing
    broken,
    no_party,  // this thread has not attached
};

/// This process's view of a barrier. Any thread of any process may operate.
class BarrierWord {
 public:
    static constexpr std::uint32_t kPartiesMax = 512;

    /// An arrival: in which generation, and how many came before.
    struct Arrival {
        std::uint32_t generation{};
        std::uint32_t index{};
    };

    static std::size_t bytes(std::uint32_t members) noexcept;
    static std::uint64_t layout_signature() noexcept;
    /// `generation`: tests start near the wrap.
    static void initialise(std::byte* body, std::uint32_t generation = 0) noexcept;

    BarrierWord(std::byte* body, Members& members, std::uint32_t parties) noexcept;
    BarrierWord(const BarrierWord&) = delete;
    BarrierWord& operator=(const BarrierWord&) = delete;
    ~BarrierWord() { members_->set_sweeper({}); }

    /// Makes this thread, whose id that is, a party. Once; walks over the table of members. Who
    /// waits already is woken, to sleep on this thread's bell, too.
    void attach(MemberId me) noexcept;
    /// This thread is no party any more: its end will not break the barrier.
    void leave() noexcept { members().leave(); }

    /// Arrives. Commit store: the compare-and-swap; the last one's opens the generation.
    /// Progress: lock-free. Crash: before it, and after it, the barrier breaks, unless all came: a
    /// generation that was opened stays so, and wake-ups that died with the last are made up for
    /// when the sleepers' chunks end.
    BarrierResult arrive(Arrival& arrival) noexcept;

    /// What has become of the generation of that arrival.
    BarrierResult look(const Arrival& arrival) const noexcept {
        const BarrierState seen{layout_->state.load(std::memory_order_seq_cst)};  // A1 S1
        if (seen.generation() == arrival.generation) {
            return BarrierResult::waiting;
        }
        return seen.gave_way(arrival.generation) ? BarrierResult::broken : BarrierResult::opened;
    }

    /// Breaks the generation of that arrival; false where it has ended already.
    bool give_up(const Arrival& arrival) noexcept;
    /// Breaks the barrier, for those who wait and those who come.
    void abort() noexcept;
    /// Makes it whole and empty again; who waits finds it broken. Sweeps the dead first: a death of
    /// before does not break it afterwards, nor does a rescuer of one who was stopped meanwhile.
    void reset() noexcept;

    bool is_broken() const noexcept { return state().is_broken(); }
    /// How many have come and wait.
    std::uint32_t arrived() const noexcept { return state().arrived(); }
    std::uint32_t parties() const noexcept { return parties_; }

    /// Breaks the barrier where it was a party that has ended. `dead` is the proof of death, asked
    /// again before it breaks. Idempotent; several may do it at once.
    void sweep(MemberId id, const DeadTenant& dead) noexcept;

    /// For waiters: looks for parties that are dead, and names the bells of those alive.
    Bells stuck() noexcept;

    EventCountLayout& sleepers() const noexcept { return layout_->sleepers; }
    BarrierLayout& layout() const noexcept { return *layout_; }
    Members& members() const noexcept { return *members_; }

 private:
    BarrierState state() const noexcept {
        return {layout_->state.load(std::memory_order_acquire)};  // A1
    }
    bool end_generation(BarrierState& seen, BarrierState next) noexcept {
        if (!layout_->state.compare_exchange_strong(seen.word, next.word, std::memory_order_seq_cst,
                                                    std::memory_order_seq_cst)) {  // R1 S1
            return false;
        }
        layout_->sleepers.notify_all();
        return true;
    }
    bool is_party(MemberId id) const noexcept {
        const std::uint32_t tag = layout_->attached[id - 1U].load(std::memory_order_acquire);  // A2
        return tag != 0 && tag == members().tenant_tag(id);
    }
    std::uint32_t attached_max() const noexcept;
    bool has_living_party_beside(MemberId id) const noexcept;

    // Constant after construction.
    BarrierLayout* layout_;
    Members* members_;
    std::uint32_t parties_;
};

}  // namespace sluice::shm
