// An event: a flag that is set and cleared, and those who wait until it is set.
//
// The state is `sets:31 | set:1`. Setting raises the count of sets, so that who began to wait while
// the flag was clear returns once it was set, even if it has been cleared again since: nobody is
// overlooked by a set() that is followed by a clear() at once.
//
// I1 a clear state is left only by a set(), which raises the count in the same step: who finds the
//    clear state that he began with has missed nothing.
//
// Ordering ledger
//   R1 set -> A1 wait, is_set, clear : who sees the flag, or has cleared it, sees what was written
//      before it was set. So set() is a read-modify-write even when the flag is set: in
//        setter: write work; set()     waiter: clear(); look for work; wait()
//      either the set comes first and clear() reads it (the work is seen), or the flag is set after
//      clear(). A set() that only looked could see the old flag, and the work's write be late.
//   S1 set: a seq_cst read-modify-write before the load of the sleepers' word; wait: a seq_cst load
//      after the announcement (waiting.hpp: S1 to S4)
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/shm/facts.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice::shm {

struct EventLayout {
    std::atomic<std::uint32_t> state;  // sets:31 | set:1
    std::uint32_t reserved;
    EventCountLayout sleepers;
};
static_assert(sizeof(EventLayout) == 16 && offsetof(EventLayout, sleepers) == 8);

/// This process's view of an event. Any thread of any process may operate; nobody owns anything,
/// so no death leaves anything to be mended.
class EventWord {
 public:
    static constexpr std::uint32_t kSet = 1;
    static constexpr std::uint32_t kStep = 2;

    static std::size_t bytes() noexcept { return sizeof(EventLayout); }
    static std::uint64_t layout_signature() noexcept;
    /// `sets`: how often it has been set; tests start near the wrap.
    static void initialise(std::byte* body, std::uint32_t sets = 0) noexcept;

    explicit EventWord(std::byte* body) noexcept : layout_(reinterpret_cast<EventLayout*>(body)) {}

    bool is_set() const noexcept { return (begin() & kSet) != 0; }

    /// Commit store: the compare-and-swap. Progress: lock-free. Crash: before it the event was not
    /// set; after it, it is: a wake-up that died with the setter is made up for when a sleeper's
    /// chunk ends.
    void set() noexcept {
        std::uint32_t seen =
            layout_->state.load(std::memory_order_relaxed);  // checked by the exchange
        while (!layout_->state.compare_exchange_weak(
            seen, (seen & kSet) != 0 ? seen : (seen + kStep) | kSet, std::memory_order_seq_cst,
            std::memory_order_relaxed)) {  // R1 S1
        }
        layout_->sleepers.notify_all();
    }
    /// Commit store: the read-modify-write. Progress: wait-free.
    void clear() noexcept {
        layout_->state.fetch_and(~kSet, std::memory_order_acq_rel);  // A1
    }

    /// The state at the beginning of a wait.
    std::uint32_t begin() const noexcept {
        return layout_->state.load(std::memory_order_seq_cst);  // A1 S1
    }
    /// Whether the event is set, or was since then (I1).
    bool has_come(std::uint32_t begun) const noexcept {
        return (begun & kSet) != 0 || begin() != begun;
    }

    EventCountLayout& sleepers() const noexcept { return layout_->sleepers; }
    EventLayout& layout() const noexcept { return *layout_; }

 private:
    EventLayout* layout_;
};

}  // namespace sluice::shm
