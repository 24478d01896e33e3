// The cold halves of waking, and how long spinning is worth while.
#include "sluice/shm/waiting.hpp"

#include <unistd.h>

#include <climits>

namespace sluice::shm {
namespace {

const bool several_processors = sysconf(_SC_NPROCESSORS_ONLN) > 1;

}  // namespace

void give_way() noexcept {
    static_cast<void>(sched_yield());
}

void EventCountLayout::wake_one() noexcept {
    for (;;) {
        // Raising first makes everyone who has announced but not yet fallen asleep look again.
        const std::uint32_t raised = word.fetch_add(kStep, std::memory_order_seq_cst) + kStep;
        const WakeOne woken = futex_wake_one(word, raised);
        if (woken == WakeOne::value_changed) {
            continue;  // somebody announced in between: he may be the one to wake
        }
        if (woken != WakeOne::others_sleep) {
            std::uint32_t expected = raised;
            // Relaxed: only says that nobody sleeps, which the comparison has proved (I1, I2).
            word.compare_exchange_strong(expected, raised & ~kSleepers, std::memory_order_relaxed,
                                         std::memory_order_relaxed);
        }
        return;
    }
}

void EventCountLayout::wake_all() noexcept {
    // Raised first, as above.
    const std::uint32_t raised = word.fetch_add(kStep, std::memory_order_seq_cst) + kStep;
    futex_wake(word, INT_MAX);
    std::uint32_t expected = raised;
    // Relaxed, as above: who announced since made the comparison fail.
    word.compare_exchange_strong(expected, raised & ~kSleepers, std::memory_order_relaxed,
                                 std::memory_order_relaxed);
}

// The budget is relaxed throughout: a guess, races on it do no harm.
std::int64_t SpinBudget::ns() const noexcept {
    return several_processors ? ns_.load(std::memory_order_relaxed) : 0;
}

void SpinBudget::paid() noexcept {
    const std::int64_t now = ns_.load(std::memory_order_relaxed);  // relaxed: a guess
    if (now < kMaxNs) {
        ns_.store(now * 2 < kMaxNs ? now * 2 : kMaxNs, std::memory_order_relaxed);
    }
}

void SpinBudget::wasted() noexcept {
    const std::int64_t now = ns_.load(std::memory_order_relaxed);  // relaxed: a guess
    if (now > kMinNs) {
        ns_.store(now / 2 > kMinNs ? now / 2 : kMinNs, std::memory_order_relaxed);
    }
}

}  // namespace sluice::shm
