// Who put and who got what, kept apart from the memory under test.
//
// Every value is unique. A process notes a put after it returned, and a get with its value after it
// returned: so an operation that was begun and has no note is in doubt, and only that one.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "crash/sweep.hpp"
#include "support/processes.hpp"

namespace sluice::crash {

/// What one process has done. In memory that the processes share.
struct Notes {
    static constexpr std::uint32_t kGotMax = 64;

    std::atomic<std::uint32_t> put;  // of its values, in their order
    std::atomic<std::uint32_t> got_count;
    std::atomic<std::uint64_t> got[kGotMax];
    std::atomic<std::uint32_t> begun;
    std::atomic<std::uint32_t> ended;  // also where it ended with Closed

    // seq_cst throughout: the notes must not be in doubt themselves.
    void note_put() noexcept { put.fetch_add(1); }
    void note_got(std::uint64_t value) noexcept {
        const std::uint32_t index = got_count.load();
        got[index % kGotMax].store(value);
        got_count.store(index + 1);
    }
};

/// The account of one scene, in the survivor.
class Ledger {
 public:
    /// Acknowledged: must be delivered exactly once.
    void put(std::uint64_t value) { acknowledged_.push_back(value); }
    void got(std::uint64_t value) {
        require(++times_[value] == 1, "value " + std::to_string(value) + " was delivered twice");
        order_.push_back(value);
    }
    /// By somebody else, as his notes say.
    void got_by(const Notes& notes) {
        const std::uint32_t noted = notes.got_count.load();
        for (std::uint32_t index = 0; index < noted; ++index) {
            const std::uint64_t value = notes.got[index % Notes::kGotMax].load();
            require(++times_[value] == 1,
                    "value " + std::to_string(value) + " was delivered twice");
        }
    }

    /// The victim's puts: `values` in their order, `acknowledged` of which have returned. Those
    /// after them may have happened, in order: if one has, so have all before it. Returns how many.
    int settle_puts(const std::vector<std::uint64_t>& values, std::uint32_t acknowledged) {
        std::size_t happened = acknowledged;
        for (std::size_t index = 0; index < values.size(); ++index) {
            if (times_[values[index]] != 0 && index >= happened) {
                happened = index + 1;
            }
        }
        for (std::size_t index = 0; index < happened; ++index) {
            put(values[index]);
        }
        return static_cast<int>(happened);
    }

    /// Up to `in_doubt` values that nobody has may have been taken by those who died before they
    /// could note it. Returns how many were.
    int settle_gets(std::uint32_t in_doubt) {
        int gone = 0;
        for (const std::uint64_t value : acknowledged_) {
            if (times_[value] == 0) {
                require(static_cast<std::uint32_t>(gone) < in_doubt,
                        "value " + std::to_string(value) + " was acknowledged and is lost");
                ++gone;
                times_[value] = 1;
            }
        }
        return gone;
    }

    /// Every acknowledged value was delivered once, nothing was invented, and, apart from values
    /// that were `redelivered`, every putter's values came in its order.
    void settle(const std::vector<std::uint64_t>& redelivered = {}) {
        for (const std::uint64_t value : acknowledged_) {
            require(times_[value] == 1,
                    "value " + std::to_string(value) + " was acknowledged and is lost");
        }
        for (const auto& [value, times] : times_) {
            require(times == 0 || contains(acknowledged_, value),
                    "value " + std::to_string(value) + " was invented");
        }
        std::map<std::uint64_t, std::uint64_t> last;  // by putter: the hundreds
        for (const std::uint64_t value : order_) {
            if (contains(redelivered, value)) {
                continue;
            }
            std::uint64_t& before = last[value / 100];
            require(before < value,
                    "value " + std::to_string(value) + " came after " + std::to_string(before));
            before = value;
        }
    }

 private:
    static bool contains(const std::vector<std::uint64_t>& values, std::uint64_t value) {
        return std::find(values.begin(), values.end(), value) != values.end();
    }

    std::vector<std::uint64_t> acknowledged_;
    std::vector<std::uint64_t> order_;
    std::map<std::uint64_t, int> times_;
};

}  // namespace sluice::crash
