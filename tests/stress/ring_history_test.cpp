// Histories of the owner-tagged ring, checked as those of a FIFO. This file needs shm/ and
// tests/support only: compiled against a ring with a planted fault, it is to fail.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "support/history.hpp"
#include "support/processes.hpp"
#include "support/recorder.hpp"
#include "support/ring.hpp"
#include "support/sanitizers.hpp"

namespace sluice::shm {
namespace {

using test::announce_seed;
using test::End;
using test::Episode;
using test::EpisodeOptions;
using test::faults_of;
using test::Operation;
using test::Recorder;
using test::Ring;
using test::RingOptions;
using test::Watchdog;

// Endless: a lost wake-up hangs the test. In chunks: as core/ waits, so that the dead are found.
enum class Sleep : std::uint8_t { endless, in_chunks };

// Drops: leases are given back. Each tells all getters to look for what came back, and so would
// hide that a rescue did not.
enum class Drops : std::uint8_t { none, some };

// How its processes behave. One in `pause_one_in` claims, if not 0, is held for `pause_us`: whoever
// takes it away on a time-out is found out, and kills hit it.
struct Manner {
    Sleep sleep{Sleep::endless};
    Drops drops{Drops::some};
    unsigned pause_one_in{};
    unsigned pause_us{};
};

class RingSubject {
 public:
    RingSubject(std::uint64_t capacity, const Manner& manner)
        : ring_(RingOptions{.capacity = capacity, .first_position = 0ULL - 100}), manner_(manner) {}

    std::optional<std::uint64_t> put(Recorder& recorder, std::uint64_t value,
                                     std::mt19937_64& random) {
        const std::uint64_t form = random() % 32;
        if (form == 0) {
            return recorder.give_up(value, [&] {
                return claim([&](const ClaimedSlot& claimed) { ring_->abandon(claimed); });
            });
        }
        // After "full" it waits: else the log would be full of it.
        if (form < 16 && !refused_) {
            const auto count =
                recorder.put({&value, 1}, [&](auto) { return count_of(ring_.try_put(value)); });
            refused_ = count && *count == 0;
            return count;
        }
        refused_ = false;
        return recorder.put({&value, 1}, [&](auto) {
            return claim([&](const ClaimedSlot& claimed) {
                pause(random);
                Ring::store(claimed, value);
                ring_->publish(claimed);
            });
        });
    }

    bool take(Recorder& recorder, std::mt19937_64& random) {
        const std::uint64_t form = random() % 16;
        if (form < 3) {
            const bool drop = form == 0 && manner_.drops == Drops::some;
            return lease(recorder, random, drop ? End::given_up : End::done);
        }
        std::uint64_t value = 0;
        const bool wait = form >= 10 || refused_;
        const auto count = recorder.take({&value, 1}, [&](std::span<std::uint64_t> values) {
            if (!wait) {
                return count_of(ring_.take(values[0]));
            }
            const std::optional<std::uint64_t> taken =
                manner_.sleep == Sleep::endless
                    ? ring_.take_endlessly()
                    : ring_.take(Wait::spin_then_park, [](std::uint64_t) {});
            values[0] = taken.value_or(0);
            return taken ? std::optional<std::size_t>(1) : std::nullopt;
        });
        refused_ = count && *count == 0;
        return count.has_value();
    }

    void close() { ring_->close(); }

 private:
    // How many it did; none: closed.
    static std::optional<std::size_t> count_of(RingResult result) noexcept {
        return result == RingResult::closed
                   ? std::nullopt
                   : std::optional<std::size_t>(result == RingResult::done ? 1 : 0);
    }

    template <class Use>
    std::optional<std::size_t> claim(Use&& use) {
        ClaimedSlot claimed;
        const bool done = manner_.sleep == Sleep::endless
                              ? ring_.claim_endlessly(claimed) == RingResult::done
                              : ring_.claim(claimed, Wait::park);
        if (!done) {
            return std::nullopt;
        }
        use(claimed);
        return 1;
    }

    bool lease(Recorder& recorder, std::mt19937_64& random, End end) {
        ClaimedSlot claimed;
        const auto hold = [&]() -> std::optional<std::uint64_t> {
            const bool done = manner_.sleep == Sleep::endless
                                  ? ring_.claim_read_endlessly(claimed) == RingResult::done
                                  : ring_.claim_read(claimed, Wait::park);
            return done ? std::optional(Ring::load(claimed)) : std::nullopt;
        };
        const auto release = [&] {
            pause(random);
            if (end == End::done) {
                ring_->commit(claimed);
            } else {
                ring_->give_back(claimed);
            }
        };
        return recorder.lease(hold, release, end);
    }

    void pause(std::mt19937_64& random) const {
        if (manner_.pause_one_in != 0 && random() % manner_.pause_one_in == 0) {
            usleep(manner_.pause_us);
        }
    }

    Ring ring_;
    Manner manner_;
    bool refused_{};  // each process has its own
};

void expect_fifo(std::uint64_t capacity, const EpisodeOptions& options, const Manner& manner,
                 std::uint64_t seed) {
    RingSubject sut(capacity, manner);
    const std::vector<Operation> history = Episode<RingSubject>(sut, options, seed).run();
    for (const test::Fault& fault : faults_of(history, capacity)) {
        ADD_FAILURE() << fault << " (capacity " << capacity << ", " << history.size()
                      << " operations)";
    }
}

TEST(RingHistory, IsThatOfAFifoAndNoWakeUpIsLost) {
    const Watchdog watchdog(60);
    std::mt19937_64 random(announce_seed());
    for (const std::uint64_t capacity : {1ULL, 2ULL, 4ULL, 64ULL}) {
        for (unsigned side = 1; side <= 3 && !HasFailure(); ++side) {
            expect_fifo(capacity, {.producers = side, .consumers = side, .puts_each = 8000 / side},
                        {}, random());
        }
    }
}

TEST(RingHistory, OfProcessesThatPauseInTheMiddleIsThatOfAFifo) {
    const Watchdog watchdog(60);
    std::mt19937_64 random(announce_seed());
    for (std::uint64_t capacity = 1; capacity <= 4 && !HasFailure(); capacity *= 2) {
        expect_fifo(capacity, {.producers = 2, .consumers = 2, .puts_each = 1500, .stops = 10},
                    {.sleep = Sleep::in_chunks, .pause_one_in = 256, .pause_us = 15'000}, random());
    }
}

TEST(RingHistory, OfKilledProcessesIsThatOfAFifo) {
    const Watchdog watchdog(60);
    std::mt19937_64 random(announce_seed());
    const unsigned steps = test::kUnderAddressSanitizer ? 6 : 60;  // it makes forks slow
    for (unsigned step = 0; step < steps && !HasFailure(); ++step) {
        const std::uint64_t capacity = 1ULL << (random() % 4);
        expect_fifo(capacity, {.producers = 2, .consumers = 2, .puts_each = 20'000, .kills = 4},
                    {.sleep = Sleep::in_chunks,
                     .drops = step % 2 == 0 ? Drops::none : Drops::some,
                     .pause_one_in = 16,
                     .pause_us = 200},
                    random());
    }
}

}  // namespace
}  // namespace sluice::shm
