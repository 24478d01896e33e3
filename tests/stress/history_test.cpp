// The checker of histories against histories written by hand; then histories of queues, by all
// forms of the public API, with and without kills.
#include "support/history.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "sluice/queue.hpp"
#include "support/processes.hpp"
#include "support/recorder.hpp"
#include "support/sanitizers.hpp"

namespace sluice::test {
namespace {

// ---- the checker ------------------------------------------------------------------------------

Operation put(std::uint64_t value, std::int64_t begun, std::int64_t ended, End end = End::done) {
    return {.act = Act::put, .end = end, .value = value, .begun = begun, .ended = ended};
}
Operation get(std::uint64_t value, std::int64_t begun, std::int64_t ended) {
    return {Act::take, End::done, value, begun, ended, ended, ended};
}
Operation lease(std::uint64_t value, std::int64_t begun, std::int64_t held, std::int64_t released,
                std::int64_t ended, End end) {
    return {Act::take, end, value, begun, held, released, ended};
}
// Nobody knows what it took, if anything.
Operation killed_get(std::int64_t begun, std::int64_t killed, std::int64_t ended) {
    return {Act::take, End::died, kUnknownValue, begun, 0, killed, ended};
}
Operation empty(std::int64_t begun, std::int64_t ended) {
    return {.act = Act::empty, .begun = begun, .ended = ended};
}
Operation full(std::int64_t begun, std::int64_t ended) {
    return {.act = Act::full, .begun = begun, .ended = ended};
}

std::vector<Aspect> aspects_of(const std::vector<Operation>& history, std::uint64_t capacity = 4) {
    std::vector<Aspect> aspects;
    for (const Fault& fault : faults_of(history, capacity)) {
        aspects.push_back(fault.aspect);
    }
    return aspects;
}
const std::vector<Aspect> kNone;
using Aspects = std::vector<Aspect>;

TEST(HistoryChecker, AcceptsNothingAtAll) {
    EXPECT_EQ(aspects_of({}), kNone);
    EXPECT_EQ(aspects_of({empty(1, 2)}), kNone);
}

TEST(HistoryChecker, AcceptsOneAfterTheOther) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), get(1, 5, 6), get(2, 7, 8), empty(9, 10)}),
              kNone);
}

TEST(HistoryChecker, AcceptsConcurrentPutsInAnyOrder) {
    EXPECT_EQ(aspects_of({put(1, 1, 4), put(2, 2, 3), get(2, 5, 6), get(1, 7, 8)}), kNone);
}

TEST(HistoryChecker, AcceptsConcurrentGetsInAnyOrder) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), get(2, 5, 7), get(1, 6, 8)}), kNone);
}

TEST(HistoryChecker, AcceptsAGetThatWaitsForItsPut) {
    EXPECT_EQ(aspects_of({get(1, 1, 4), put(1, 2, 3)}), kNone);
}

TEST(HistoryChecker, FindsAnInventedValue) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), get(1, 3, 4), get(7, 5, 6)}), Aspects{Aspect::invented});
}

TEST(HistoryChecker, FindsAValueGotBeforeItsPut) {
    EXPECT_EQ(aspects_of({get(1, 1, 2), put(1, 3, 4)}), Aspects{Aspect::invented});
}

TEST(HistoryChecker, FindsAValueWhosePutWasGivenUp) {
    EXPECT_EQ(aspects_of({put(1, 1, 2, End::given_up), get(1, 3, 4)}), Aspects{Aspect::invented});
}

TEST(HistoryChecker, FindsAValueGotTwice) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), get(1, 3, 4), get(1, 5, 6)}), Aspects{Aspect::repeated});
}

TEST(HistoryChecker, FindsALeaseOfWhatAnotherHolds) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), lease(1, 3, 4, 8, 9, End::given_up),
                          lease(1, 5, 6, 10, 11, End::done)}),
              Aspects{Aspect::repeated});
}

TEST(HistoryChecker, FindsAValueTakenFromALivingHolder) {
    // He held it from 4 on, and nobody killed him before 8.
    EXPECT_EQ(aspects_of({put(1, 1, 2), lease(1, 3, 4, 8, 9, End::died), get(1, 5, 6)}),
              Aspects{Aspect::repeated});
}

TEST(HistoryChecker, FindsAnOvertakenValue) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), get(2, 5, 6), get(1, 7, 8)}),
              Aspects{Aspect::overtaken});
}

TEST(HistoryChecker, FindsALostValue) {
    const auto aspects = aspects_of({put(1, 1, 2), put(2, 3, 4), get(2, 5, 6), empty(7, 8)});
    EXPECT_EQ(aspects, (Aspects{Aspect::overtaken, Aspect::falsely_empty}));
}

TEST(HistoryChecker, FindsAFalseEmpty) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), empty(3, 4), get(1, 5, 6)}),
              Aspects{Aspect::falsely_empty});
}

TEST(HistoryChecker, FindsAFalseEmptyWhereDifferentValuesLieThereByTurns) {
    // Neither is there all the time, but one of the two always is.
    EXPECT_EQ(aspects_of({put(1, 1, 2), empty(3, 8), put(2, 4, 5), get(1, 6, 9), get(2, 10, 11)}),
              Aspects{Aspect::falsely_empty});
    EXPECT_EQ(aspects_of({put(1, 1, 2), empty(3, 8), get(1, 4, 9), put(2, 5, 6), get(2, 10, 11)}),
              kNone);
}

TEST(HistoryChecker, AcceptsEmptyWhileAnOlderPutIsUnfinished) {
    EXPECT_EQ(aspects_of({put(1, 1, 8), put(2, 2, 3), empty(4, 5), get(1, 9, 10), get(2, 11, 12)}),
              kNone);
}

TEST(HistoryChecker, FindsAFalseEmptyWhileAYoungerPutIsUnfinished) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 8), empty(4, 5), get(1, 9, 10), get(2, 11, 12)}),
              Aspects{Aspect::falsely_empty});
}

TEST(HistoryChecker, FindsAFalseFull) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), full(3, 4), get(1, 5, 6)}, 2),
              Aspects{Aspect::falsely_full});
    EXPECT_EQ(aspects_of({full(1, 2)}), Aspects{Aspect::falsely_full});
}

TEST(HistoryChecker, FindsAFullThatWasSoOnlyBefore) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), get(1, 5, 6), full(7, 8), get(2, 9, 10)}, 2),
              Aspects{Aspect::falsely_full});
}

TEST(HistoryChecker, AcceptsFullWhileTheOldestIsBeingTaken) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), full(5, 6), get(1, 5, 7), get(2, 8, 9)}, 2),
              kNone);
    // The younger is gone, but the lease of the older pins its slot.
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), lease(1, 5, 6, 11, 12, End::done),
                          get(2, 7, 8), full(9, 10)},
                         2),
              kNone);
}

TEST(HistoryChecker, AcceptsFullWhileACameBackMessageIsThere) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), lease(1, 5, 6, 7, 10, End::given_up),
                          get(2, 8, 9), full(11, 12), get(1, 13, 14)},
                         2),
              kNone);
}

TEST(HistoryChecker, AcceptsADroppedLeaseAfterYoungerOnes) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), lease(1, 5, 6, 9, 10, End::given_up),
                          get(2, 7, 8), get(1, 11, 12), empty(13, 14)}),
              kNone);
}

TEST(HistoryChecker, FindsAFalseEmptyAfterADroppedLease) {
    EXPECT_EQ(
        aspects_of({put(1, 1, 2), lease(1, 3, 4, 5, 6, End::given_up), empty(7, 8), get(1, 9, 10)}),
        Aspects{Aspect::falsely_empty});
    EXPECT_EQ(aspects_of({put(1, 1, 2), lease(1, 3, 4, 9, 10, End::given_up), empty(7, 8),
                          get(1, 11, 12)}),
              kNone);
}

TEST(HistoryChecker, AcceptsAKilledPutThatHappenedAndOneThatDidNot) {
    EXPECT_EQ(aspects_of({put(1, 1, 2, End::died), put(2, 3, 4), get(1, 5, 6), get(2, 7, 8)}),
              kNone);
    EXPECT_EQ(aspects_of({put(1, 1, 2, End::died), put(2, 3, 4), get(2, 7, 8), empty(9, 10)}),
              kNone);
}

TEST(HistoryChecker, FindsAKilledPutThatHappensAfterItsDeath) {
    // Dead at 2, put at 3 and got first, it is got last.
    EXPECT_EQ(aspects_of({put(1, 1, 2, End::died), put(2, 3, 4), get(2, 5, 6), get(1, 7, 8)}),
              Aspects{Aspect::overtaken});
}

TEST(HistoryChecker, AcceptsEmptyUntilAKilledPutWasPassedBy) {
    const Operation dead = put(1, 1, 2, End::died);
    EXPECT_EQ(aspects_of({dead, put(2, 3, 4), empty(5, 6), get(2, 7, 8), empty(9, 10)}), kNone);
    EXPECT_EQ(
        aspects_of({dead, put(2, 3, 4), get(2, 5, 6), put(3, 7, 8), empty(9, 10), get(3, 11, 12)}),
        Aspects{Aspect::falsely_empty});
}

TEST(HistoryChecker, AcceptsOneLateOrMissingValueForEachKilledGet) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), killed_get(5, 6, 7), get(2, 8, 9),
                          get(1, 10, 11), empty(12, 13)}),
              kNone);
    EXPECT_EQ(
        aspects_of({put(1, 1, 2), put(2, 3, 4), killed_get(5, 6, 7), get(2, 8, 9), empty(12, 13)}),
        kNone);
}

TEST(HistoryChecker, FindsTheSecondMissingValueOfAKilledGet) {
    EXPECT_EQ(aspects_of({put(1, 1, 2), put(2, 3, 4), put(3, 5, 6), killed_get(7, 8, 9),
                          get(3, 10, 11), empty(12, 13)}),
              (Aspects{Aspect::overtaken, Aspect::falsely_empty}));
}

TEST(HistoryChecker, FindsAnOvertakingThatNoKilledGetExplains) {
    // It begins after the value was overtaken.
    EXPECT_EQ(
        aspects_of({put(1, 1, 2), put(2, 3, 4), get(2, 5, 6), killed_get(7, 8, 9), get(1, 10, 11)}),
        Aspects{Aspect::overtaken});
    // It still lived when the value was got.
    EXPECT_EQ(
        aspects_of({put(1, 1, 2), put(2, 3, 4), killed_get(5, 12, 13), get(2, 6, 7), get(1, 8, 9)}),
        Aspects{Aspect::overtaken});
}

TEST(HistoryChecker, AcceptsTheMessageOfAKilledHolderAgainOrNeverAgain) {
    const Operation dead = lease(1, 3, 4, 5, 6, End::died);
    EXPECT_EQ(aspects_of({put(1, 1, 2), dead, empty(7, 8), get(1, 9, 10)}), kNone);
    EXPECT_EQ(aspects_of({put(1, 1, 2), dead, empty(7, 8)}), kNone);  // killed in its commit
}

TEST(HistoryChecker, FindsFaultsAmongManyOperations) {
    std::vector<Operation> history;
    constexpr std::uint64_t kMany = 10'000;
    for (std::uint64_t value = 0; value < kMany; ++value) {
        const auto time = static_cast<std::int64_t>(20 * value);
        history.push_back(put(value, time + 1, time + 5));
        history.push_back(get(value, time + 15, time + 25));
    }
    EXPECT_EQ(aspects_of(history, 1), kNone);
    std::swap(history[7001].value, history[7011].value);
    EXPECT_FALSE(aspects_of(history, 1).empty());
}

// ---- queues -----------------------------------------------------------------------------------

// All forms of the public API.
class QueueSubject {
 public:
    QueueSubject(std::uint64_t capacity, Wait wait)
        : queue_(QueueOptions{.capacity = capacity, .wait = wait}) {}

    std::optional<std::uint64_t> put(Recorder& recorder, std::uint64_t first,
                                     std::mt19937_64& random) {
        const std::uint64_t form = random() % 16;
        if (form == 0) {
            return recorder.give_up(first, [&] {
                return unless_closed([&] {
                    const Slot<std::uint64_t> slot = queue_.claim();
                    return std::size_t{1};
                });
            });
        }
        std::vector<std::uint64_t> values(form < 4 ? 1 + random() % 5 : 1);
        std::iota(values.begin(), values.end(), first);
        const auto count = recorder.put(values, [&](std::span<const std::uint64_t> all) {
            return unless_closed([&]() -> std::size_t { return put_by(form, all, random); });
        });
        refused_ = count && *count < values.size();
        return count;
    }

    bool take(Recorder& recorder, std::mt19937_64& random) {
        const std::uint64_t form = random() % 16;
        if (form < 4) {
            return lease(recorder, random);
        }
        std::vector<std::uint64_t> values(form < 6 ? 1 + random() % 5 : 1);
        const auto count = recorder.take(values, [&](std::span<std::uint64_t> all) {
            return unless_closed([&]() -> std::size_t { return take_by(form, all); });
        });
        refused_ = count && *count < values.size();
        return count.has_value();
    }

    void close() { queue_.close(); }

 private:
    using Soon = std::chrono::microseconds;

    std::size_t put_by(std::uint64_t form, std::span<const std::uint64_t> all,
                       std::mt19937_64& random) const {
        if (form < 4) {
            return form == 3 && !refused_ ? queue_.try_put_many(all) : queue_.put_many(all);
        }
        if (form < 8 && !refused_) {
            return queue_.try_put(all[0]) ? 1 : 0;
        }
        if (form == 8) {
            return queue_.try_put_for(all[0], Soon(random() % 300)) ? 1 : 0;
        }
        if (form == 9) {
            Slot<std::uint64_t> slot = queue_.claim();
            *slot = all[0];
            pause(random);
            slot.publish();
            return 1;
        }
        queue_.put(all[0]);
        return 1;
    }

    std::size_t take_by(std::uint64_t form, std::span<std::uint64_t> all) const {
        if (form < 6) {
            return form == 5 && !refused_ ? queue_.try_get_many(all) : queue_.get_many(all);
        }
        if (form < 9 && !refused_) {
            return fill(all, queue_.try_get());
        }
        return form == 9 ? fill(all, queue_.try_get_for(Soon(200))) : fill(all, queue_.get());
    }
    static std::size_t fill(std::span<std::uint64_t> all,
                            const std::optional<std::uint64_t>& value) {
        all[0] = value.value_or(0);
        return value ? 1 : 0;
    }

    bool lease(Recorder& recorder, std::mt19937_64& random) {
        std::optional<Lease<std::uint64_t>> lease;
        const End end = random() % 3 == 0 ? End::given_up : End::done;
        bool closed = false;
        const auto hold = [&]() -> std::optional<std::uint64_t> {
            const auto count = unless_closed([&] {
                if (random() % 2 == 0 && !refused_) {
                    if (auto one = queue_.try_lease()) {
                        lease.emplace(std::move(*one));
                    }
                } else {
                    lease.emplace(queue_.lease());
                }
                return std::size_t{1};
            });
            closed = !count;
            return lease ? std::optional(**lease) : std::nullopt;
        };
        const auto release = [&] {
            pause(random);
            if (end == End::done) {
                lease->commit();
            }
            lease.reset();
        };
        refused_ = !recorder.lease(hold, release, end);
        return !closed;
    }

    // Now and then a claim is held for long.
    static void pause(std::mt19937_64& random) {
        if (random() % 512 == 0) {
            usleep(static_cast<useconds_t>(random() % 4000));
        }
    }

    template <class Call>
    static std::optional<std::size_t> unless_closed(Call&& call) {
        try {
            return call();
        } catch (const Closed&) {
            return std::nullopt;
        }
    }

    Queue<std::uint64_t> queue_;
    bool refused_{};  // so that the log is not full of "full" and "empty"; each process has its own
};

std::size_t expect_fifo(std::uint64_t capacity, Wait wait, const EpisodeOptions& options,
                        std::uint64_t seed) {
    QueueSubject sut(capacity, wait);
    const std::vector<Operation> history = Episode<QueueSubject>(sut, options, seed).run();
    for (const Fault& fault : faults_of(history, capacity)) {
        ADD_FAILURE() << fault << " (capacity " << capacity << ", " << history.size()
                      << " operations)";
    }
    return history.size();
}

class QueueHistory : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(QueueHistory, IsThatOfAFifo) {
    const Watchdog watchdog(170);
    std::mt19937_64 random(announce_seed());
    std::size_t operations = 0;
    for (const auto& [producers, consumers] : {std::pair{1U, 1U}, {1U, 3U}, {3U, 1U}, {3U, 3U}}) {
        for (const Wait wait : {Wait::spin_then_park, Wait::park}) {
            if (HasFailure()) {
                return;  // a child would take it for its own
            }
            operations += expect_fifo(GetParam(), wait,
                                      {.producers = producers,
                                       .consumers = consumers,
                                       .puts_each = 5000 / producers,
                                       .stops = wait == Wait::park ? 5U : 0U},
                                      random());
        }
    }
    std::printf("%zu operations\n", operations);
}

TEST_P(QueueHistory, OfKilledProcessesIsThatOfAFifo) {
    const Watchdog watchdog(170);
    std::mt19937_64 random(announce_seed());
    std::size_t operations = 0;
    const unsigned steps = kUnderAddressSanitizer ? 3 : 15;  // it makes forks slow
    for (unsigned step = 0; step < steps && !HasFailure(); ++step) {
        operations += expect_fifo(GetParam(), step % 2 == 0 ? Wait::park : Wait::spin_then_park,
                                  {.producers = 1 + step % 3,
                                   .consumers = 1 + step % 2,
                                   .puts_each = 20'000,
                                   .kills = 4,
                                   .stops = step % 4},
                                  random());
    }
    std::printf("%zu operations\n", operations);
}

INSTANTIATE_TEST_SUITE_P(Capacity, QueueHistory, ::testing::Values(1, 2, 4, 64),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace sluice::test
