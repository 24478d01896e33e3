// Who takes part in one segment: 16-bit ids for its claims, each leading to a bell in the registry.
//
// A claim in shared memory carries the id of the thread that made it. An id is given to a newcomer
// only after the segment was swept of its former owner's claims (Members::Sweeper), round robin,
// so that a rescuer who was stopped over its compare-and-swap finds the slot's tag changed when it
// goes on.
//
// Ordering ledger
//   R1 a cell taken -> A1 : who finds an id in a claim finds the bell of its owner
//   R2 a cell freed, after the sweep -> A2 : the next owner's claims come after the sweep
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/facts.hpp"
#include "sluice/shm/failure.hpp"
#include "sluice/shm/registry.hpp"

namespace sluice::shm {

/// Names a member of one segment. 0 is nobody.
using MemberId = std::uint16_t;
inline constexpr MemberId kNobody = 0;

/// The table in the segment. A cell is 0 (free) or incarnation:40 | registry entry + 1:24.
struct MembersLayout {
    std::atomic<std::uint32_t> next;  // where to look first: round robin. A hint, may be anything
    std::uint32_t reserved[15];
    std::atomic<std::uint64_t> cells[1];  // member_capacity of them; id n is cell n - 1

    static constexpr std::size_t bytes(std::uint32_t capacity) noexcept {
        return offsetof(MembersLayout, cells) + capacity * sizeof(std::uint64_t);
    }
};
static_assert(offsetof(MembersLayout, cells) == kCacheLineBytes);

namespace detail {

/// This thread's ids by the segment's local number: one load of thread-local storage on the fast
/// path. An entry is serial:48 | id:16. A cache: the truth is in ThreadMemberships (members.cpp).
struct IdCache {
    static constexpr std::size_t kEntries = 64;
    // Not std::array: g++ 12's -fsanitize=null takes `this` of a thread-local one for null.
    std::uint64_t tagged[kEntries];
};
// initial-exec: one load relative to the thread pointer, also from a shared library.
extern constinit thread_local IdCache id_cache [[gnu::tls_model("initial-exec")]];

}  // namespace detail

/// The tenant of an id whose death was proved. A rescuer may be stopped over its proof while
/// another rescues and the id goes to a newcomer: so it asks again after it has read a claim and
/// before it takes that claim away.
class DeadTenant {
 public:
    DeadTenant(const std::atomic<std::uint64_t>& cell, std::uint64_t word) noexcept
        : cell_(&cell), word_(word) {}

    /// Whether the id still is the dead one's. A claim read before this answered true is the dead
    /// one's, too.
    bool is_still_there() const noexcept {
        return cell_->load(std::memory_order_acquire) == word_;  // A1
    }

 private:
    const std::atomic<std::uint64_t>* cell_;
    std::uint64_t word_;
};

/// This process's view of a segment's member table.
class Members {
 public:
    /// Resolves the claims of a dead member before its id is used again. Called with the id; must
    /// be idempotent and bear several rescuers at once.
    struct Sweeper {
        void (*sweep)(void* object, MemberId id, const DeadTenant& dead){};
        void* object{};
    };

    void attach(MembersLayout* layout, std::uint32_t capacity, Registry* registry) noexcept;
    void set_sweeper(Sweeper sweeper) noexcept { sweeper_ = sweeper; }

    /// This thread's id, kNobody where it cannot become a member (see `failure()`).
    /// Blocks: never. Cost: one load and one compare; the first call of a thread claims a cell.
    MemberId id() noexcept {
        const std::uint64_t tagged = detail::id_cache.tagged[number_];
        if (tagged >> 16U == serial_) [[likely]] {
            return static_cast<MemberId>(tagged);
        }
        Failure ignored;
        return join(ignored);
    }

    /// This thread's id, kNobody where it is no member (yet, or any more).
    MemberId id_if_any() const noexcept;

    /// The same as id(), and says why it failed: all ids are taken by the living.
    MemberId join(Failure& failure) noexcept;

    /// Whether that member has ended. False for kNobody and for ids that are free.
    bool has_ended(MemberId id) const noexcept;

    /// Tells one tenant of an id from the next; 0 where the id is free.
    std::uint32_t tenant_tag(MemberId id) const noexcept {
        return tag_of(cell(id).load(std::memory_order_acquire));  // A1
    }
    /// Of a cell's word: 0 of a free one only. (Entry 255's 256th incarnation would be another.)
    static constexpr std::uint32_t tag_of(std::uint64_t word) noexcept {
        const auto tag = static_cast<std::uint32_t>(word ^ (word >> 24U));
        return tag != 0 || word == 0 ? tag : 1;
    }

    /// Whether an id is this thread's: who opens a segment twice has one in each view. By its bell,
    /// not by another of its cells, which may be damaged.
    bool is_this_threads(MemberId id) const noexcept;

    /// The bell of a member, to sleep on; over already where it has ended, a null word
    /// where the id is free.
    FutexWatch watch(MemberId id) const noexcept;

    /// Sweeps all dead members and frees their ids; returns how many. Any number of survivors may
    /// do so at once. Cost: a walk over the table, and a sweep for each of the dead.
    unsigned rescue() noexcept;

    /// Sweeps that member if it has ended.
    bool rescue(MemberId id) noexcept;

    /// Sweeps an id that nobody has, as if its tenant had died; true when it did. Who unmaps a
    /// segment holds nothing in it any more, so what is claimed in the name of a free id is damage.
    /// A look cannot prove that: between two of them the id may have gone to a newcomer, and back.
    /// So this thread takes the id first. What still stands there then is nobody's.
    /// Crash: the id is this thread's, and is swept with it.
    bool sweep_vacant(MemberId id) noexcept;

    /// Gives this process's ids back; called when it unmaps the segment.
    void leave() noexcept;

    std::uint32_t capacity() const noexcept { return capacity_; }

 private:
    std::atomic<std::uint64_t>& cell(MemberId id) const noexcept { return layout_->cells[id - 1U]; }
    static BellReference reference_of(std::uint64_t word) noexcept {
        return {static_cast<std::uint32_t>(word & 0xff'ffffU) - 1U, word >> 24U};
    }
    static std::uint64_t word_of(const BellReference& bell) noexcept {
        return (bell.incarnation << 24U) | (bell.entry + 1U);
    }
    bool retire(MemberId id, std::uint64_t word) noexcept;

    MembersLayout* layout_{};
    Registry* registry_{};
    std::uint64_t serial_{};
    std::uint32_t number_{};
    std::uint32_t capacity_{};
    Sweeper sweeper_{};
};

}  // namespace sluice::shm
