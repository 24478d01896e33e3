#include "sluice/shm/mpmc_ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <thread>
#include <vector>

#include "support/processes.hpp"
#include "support/ring.hpp"

namespace sluice::shm {
namespace {

using namespace std::chrono_literals;
using test::await;
using test::Child;
using test::FreshName;
using test::Ring;
using test::RingOptions;
using test::Shared;
using test::Watchdog;

// Where a ring of this capacity has its slots' lap (40 bits) wrap, and where the position itself
// wraps.
std::uint64_t before_lap_wrap(std::uint64_t capacity) {
    return (1ULL << 40U) * capacity - 5;
}

class MpmcRingAt : public ::testing::TestWithParam<std::tuple<std::uint64_t, int>> {
 protected:
    static RingOptions options() {
        RingOptions made;
        made.capacity = std::get<0>(GetParam());
        switch (std::get<1>(GetParam())) {
            case 1:
                made.first_position = before_lap_wrap(made.capacity);
                break;
            case 2:
                made.first_position = 0ULL - 7;
                break;
            case 3:
                made.first_position = 0ULL - made.capacity;
                break;
            default:
                break;
        }
        return made;
    }
};

TEST_P(MpmcRingAt, IsAFifoThatIsFullAtItsCapacity) {
    const Ring sut(options());
    const std::uint64_t capacity = sut->capacity();
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    EXPECT_EQ(sut.try_get(), std::nullopt);
    for (std::uint64_t round = 0; round < 50; ++round) {
        while (sut.try_put(sent) == RingResult::done) {
            ++sent;
        }
        ASSERT_EQ(sut.try_put(99), RingResult::full);
        ASSERT_EQ(sent - received, capacity);
        ASSERT_TRUE(sut->full());
        ASSERT_TRUE(sut->readable());
        ASSERT_EQ(sut->size(), capacity);
        for (std::uint64_t take = 0; take <= round % capacity; ++take) {
            ASSERT_EQ(sut.try_get(), received);
            ++received;
            ASSERT_EQ(sut->size(), sent - received);
        }
    }
    while (const auto value = sut.try_get()) {
        ASSERT_EQ(*value, received++);
    }
    EXPECT_EQ(sent, received);
    EXPECT_EQ(sut->size(), 0U);
    EXPECT_FALSE(sut->readable());
    EXPECT_FALSE(sut->full());
}

TEST_P(MpmcRingAt, AnAbandonedSlotIsPassedBy) {
    const Ring sut(options());
    for (std::uint64_t round = 0; round < 3 * sut->capacity() + 3; ++round) {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim(claimed), RingResult::done);
        ClaimedSlot nothing;
        ASSERT_EQ(sut->claim_read(nothing), RingResult::pending);
        sut->abandon(claimed);
        ASSERT_EQ(sut.try_get(), std::nullopt);
        ASSERT_EQ(sut.try_put(round), RingResult::done);
        ASSERT_EQ(sut.try_get(), round);
    }
}

TEST_P(MpmcRingAt, AbandonedSlotsLeaveRoomForWritersWithoutReaders) {
    const Ring sut(options());
    for (std::uint64_t round = 0; round < 5 * sut->capacity(); ++round) {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim(claimed), RingResult::done) << round;
        sut->abandon(claimed);
    }
    ASSERT_EQ(sut.try_put(5), RingResult::done);
    EXPECT_EQ(sut.try_get(), 5U);
}

TEST_P(MpmcRingAt, AMessageGivenBackComesAgain) {
    const Ring sut(options());
    for (std::uint64_t round = 0; round < 3 * sut->capacity() + 3; ++round) {
        ASSERT_EQ(sut.try_put(round), RingResult::done);
        ClaimedSlot lease;
        ASSERT_EQ(sut->claim_read(lease), RingResult::done);
        ASSERT_EQ(sut->size(), 0U);
        sut->give_back(lease);
        ASSERT_EQ(sut->size(), 1U) << "there is a message";
        ASSERT_TRUE(sut->readable());
        ASSERT_EQ(sut.try_get(), round);
        ASSERT_EQ(sut.try_get(), std::nullopt);
        ASSERT_EQ(sut->size(), 0U);
    }
}

TEST_P(MpmcRingAt, AHeldMessagePinsItsSlotOnly) {
    const Ring sut(options());
    const std::uint64_t capacity = sut->capacity();
    ASSERT_EQ(sut.try_put(1000), RingResult::done);
    ClaimedSlot lease;
    ASSERT_EQ(sut->claim_read(lease), RingResult::done);
    for (std::uint64_t value = 0; value + 1 < capacity; ++value) {
        ASSERT_EQ(sut.try_put(value), RingResult::done) << value;
    }
    ASSERT_EQ(sut.try_put(99), RingResult::full);
    for (std::uint64_t value = 0; value + 1 < capacity; ++value) {
        ASSERT_EQ(sut.try_get(), value);
    }
    ASSERT_EQ(sut.try_get(), std::nullopt);
    sut->commit(lease);
    ASSERT_EQ(sut.try_put(7), RingResult::done);
    ASSERT_EQ(sut.try_get(), 7U);
}

TEST_P(MpmcRingAt, MessagesGivenBackBehindOthersAreAllFoundOnce) {
    const Ring sut(options());
    const std::uint64_t capacity = sut->capacity();
    std::vector<ClaimedSlot> leases(capacity);
    for (std::uint64_t value = 0; value < capacity; ++value) {
        ASSERT_EQ(sut.try_put(value), RingResult::done);
        ASSERT_EQ(sut->claim_read(leases[value]), RingResult::done);
    }
    for (std::uint64_t value = capacity; value-- > 0;) {
        sut->give_back(leases[value]);
    }
    for (std::uint64_t value = 0; value < capacity; ++value) {
        ASSERT_EQ(sut.try_get(), value) << "the oldest first";
    }
    EXPECT_EQ(sut.try_get(), std::nullopt);
}

TEST_P(MpmcRingAt, TakingInOneExchangeIsTheSameFifo) {
    const Ring sut(options());
    const std::uint64_t capacity = sut->capacity();
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t value = 0;
    ASSERT_EQ(sut.take(value), RingResult::empty);
    for (std::uint64_t round = 0; round < 50; ++round) {
        while (sut.try_put(sent) == RingResult::done) {
            ++sent;
        }
        ASSERT_EQ(sent - received, capacity);
        for (std::uint64_t get = 0; get <= round % capacity; ++get) {
            // By turns in one exchange and in two.
            if (get % 3 == 2) {
                ASSERT_EQ(sut.try_get(), received);
            } else {
                ASSERT_EQ(sut.take(value), RingResult::done);
                ASSERT_EQ(value, received);
            }
            ++received;
        }
    }
    ClaimedSlot lease;
    while (sut->claim_read(lease) == RingResult::done) {
        sut->give_back(lease);
        ASSERT_EQ(sut.take(value), RingResult::done);
        ASSERT_EQ(value, received++) << "what was given back is taken first";
    }
    ASSERT_EQ(received, sent);
    sut->close();
    ASSERT_EQ(sut.take(value), RingResult::closed);
}

INSTANTIATE_TEST_SUITE_P(Capacities, MpmcRingAt,
                         ::testing::Combine(::testing::Values(1ULL, 2ULL, 4ULL, 16ULL),
                                            ::testing::Values(0, 1, 2, 3)));

TEST(MpmcRing, FitsAcceptsOnlyWhatFits) {
    const std::size_t body = MpmcRing::bytes({8, 64, false, 0});
    EXPECT_TRUE(MpmcRing::fits({8, 64, false, 0}, body));
    EXPECT_FALSE(MpmcRing::fits({8, 64, false, 0}, body - 1));
    EXPECT_FALSE(MpmcRing::fits({7, 64, false, 0}, body));
    EXPECT_FALSE(MpmcRing::fits({0, 64, false, 0}, body));
    EXPECT_FALSE(MpmcRing::fits({8, 0, false, 0}, body));
    EXPECT_FALSE(MpmcRing::fits({8, 8, false, 0}, body));
    EXPECT_FALSE(MpmcRing::fits({8, 24, false, 0}, body));
    EXPECT_FALSE(MpmcRing::fits({1ULL << 63U, 16, false, 0}, body));
    EXPECT_FALSE(MpmcRing::fits({8, 1ULL << 61U, false, 0}, body));
    EXPECT_FALSE(MpmcRing::fits({1ULL << 26U, 1ULL << 38U, false, 0}, body));
    EXPECT_FALSE(MpmcRing::fits({8, 64, false, 0}, 0));
}

TEST(MpmcRing, OutOfOrderPublicationIsReadInOrder) {
    const Ring sut;
    ClaimedSlot first;
    ClaimedSlot second;
    ASSERT_EQ(sut->claim(first), RingResult::done);
    ASSERT_EQ(sut->claim(second), RingResult::done);
    Ring::store(first, 1);
    Ring::store(second, 2);
    sut->publish(second);
    ClaimedSlot nothing;
    EXPECT_EQ(sut->claim_read(nothing), RingResult::pending);
    EXPECT_FALSE(sut->readable());
    sut->publish(first);
    EXPECT_EQ(sut.try_get(), 1U);
    EXPECT_EQ(sut.try_get(), 2U);
}

TEST(MpmcRing, OutOfOrderCommitsFreeInOrder) {
    const Ring sut(RingOptions{.capacity = 2});
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    ASSERT_EQ(sut.try_put(2), RingResult::done);
    ClaimedSlot first;
    ClaimedSlot second;
    ASSERT_EQ(sut->claim_read(first), RingResult::done);
    ASSERT_EQ(sut->claim_read(second), RingResult::done);
    sut->commit(second);
    EXPECT_EQ(sut.try_put(3), RingResult::full);
    sut->commit(first);
    EXPECT_EQ(sut.try_put(3), RingResult::done);
    EXPECT_EQ(sut.try_put(4), RingResult::done);
    EXPECT_EQ(sut.try_get(), 3U);
    EXPECT_EQ(sut.try_get(), 4U);
}

TEST(MpmcRing, AViewThatIsManyLapsBehindCatchesUp) {
    for (const std::uint64_t capacity : {1ULL, 2ULL, 4ULL, 64ULL}) {
        const FreshName name("laps");
        const RingOptions options{.capacity = capacity, .first_position = 0ULL - 300};
        const Ring ahead(name.name(), options);
        const Ring behind(name.name(), options);
        ASSERT_EQ(behind.try_put(0), RingResult::done);
        ASSERT_EQ(behind.try_get(), 0U);
        for (int pass = 0; pass < 3; ++pass) {
            for (std::uint64_t value = 0; value < 1000 + capacity / 2; ++value) {
                ASSERT_EQ(ahead.try_put(value), RingResult::done);
                ASSERT_EQ(ahead.try_get(), value);
            }
            EXPECT_EQ(behind->size(), 0U);
            ASSERT_EQ(ahead.try_put(1), RingResult::done);
            EXPECT_EQ(behind->size(), 1U);
            ASSERT_EQ(behind.try_get(), 1U);
            ASSERT_EQ(behind.try_get(), std::nullopt);
            for (std::uint64_t value = 0; value < capacity; ++value) {
                ASSERT_EQ(behind.try_put(value), RingResult::done);
            }
            ASSERT_EQ(behind.try_put(0), RingResult::full);
            for (std::uint64_t value = 0; value < capacity; ++value) {
                ASSERT_EQ(ahead.try_get(), value);
            }
        }
    }
}

TEST(MpmcRing, AViewThatComesLateStartsRight) {
    const FreshName name("late");
    const RingOptions options{.capacity = 4};
    const Ring early(name.name(), options);
    for (std::uint64_t value = 0; value < 123; ++value) {
        ASSERT_EQ(early.try_put(value), RingResult::done);
        ASSERT_EQ(early.try_get(), value);
    }
    ASSERT_EQ(early.try_put(5), RingResult::done);
    const Ring late(name.name(), options);
    EXPECT_EQ(late.try_get(), 5U);
    EXPECT_EQ(late.try_put(6), RingResult::done);
    EXPECT_EQ(early.try_get(), 6U);
}

TEST(MpmcRing, ALateViewFindsWhatWasGivenBackBeforeItCame) {
    const FreshName name("late-back");
    const RingOptions options{.capacity = 4};
    const Ring early(name.name(), options);
    for (std::uint64_t value = 0; value < 3; ++value) {
        ASSERT_EQ(early.try_put(value), RingResult::done);
    }
    ClaimedSlot lease;
    ASSERT_EQ(early->claim_read(lease), RingResult::done);
    ASSERT_EQ(early.try_get(), 1U);
    early->give_back(lease);
    const Ring late(name.name(), options);
    EXPECT_EQ(late->size(), 2U);
    EXPECT_EQ(late.try_get(), 0U);
    EXPECT_EQ(late.try_get(), 2U);
    EXPECT_EQ(late.try_get(), std::nullopt);
}

// Closing.

TEST(MpmcRing, ClosedAndEmptyIsClosedForAll) {
    const Ring sut;
    EXPECT_FALSE(sut->closed());
    sut->close();
    EXPECT_TRUE(sut->closed());
    ClaimedSlot claimed;
    EXPECT_EQ(sut->claim(claimed), RingResult::closed);
    EXPECT_EQ(sut->claim_read(claimed), RingResult::closed);
    for (int again = 0; again < 20; ++again) {
        EXPECT_EQ(sut.try_put(1), RingResult::closed);
    }
    EXPECT_EQ(sut->claim_read(claimed), RingResult::closed);
}

TEST(MpmcRing, WhatWasPutBeforeClosingIsStillGot) {
    const Ring sut(RingOptions{.capacity = 2});
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    ASSERT_EQ(sut.try_put(2), RingResult::done);
    sut->close();
    EXPECT_EQ(sut.try_put(3), RingResult::closed) << "closed, not full";
    EXPECT_EQ(sut.try_get(), 1U);
    EXPECT_EQ(sut.try_put(3), RingResult::closed);
    EXPECT_EQ(sut.try_get(), 2U);
    ClaimedSlot claimed;
    EXPECT_EQ(sut->claim_read(claimed), RingResult::closed);
}

TEST(MpmcRing, AClaimMadeBeforeClosingIsPublished) {
    const Ring sut;
    ClaimedSlot claimed;
    ASSERT_EQ(sut->claim(claimed), RingResult::done);
    sut->close();
    ClaimedSlot reading;
    EXPECT_EQ(sut->claim_read(reading), RingResult::pending);
    Ring::store(claimed, 5);
    sut->publish(claimed);
    EXPECT_EQ(sut.try_get(), 5U);
    EXPECT_EQ(sut->claim_read(reading), RingResult::closed);
}

TEST(MpmcRing, WhileAReaderHoldsAMessageTheOthersAreNotToldClosed) {
    for (const std::uint64_t capacity : {1ULL, 4ULL}) {
        const Ring sut(RingOptions{.capacity = capacity});
        ASSERT_EQ(sut.try_put(1), RingResult::done);
        ClaimedSlot lease;
        ASSERT_EQ(sut->claim_read(lease), RingResult::done);
        sut->close();
        ClaimedSlot reading;
        EXPECT_EQ(sut->claim_read(reading), RingResult::pending);
        sut->give_back(lease);
        ASSERT_EQ(sut->claim_read(reading), RingResult::done);
        EXPECT_EQ(Ring::load(reading), 1U);
        ClaimedSlot other;
        EXPECT_EQ(sut->claim_read(other), RingResult::pending);
        sut->commit(reading);
        EXPECT_EQ(sut->claim_read(other), RingResult::closed);
    }
}

// Sleeping. The children sleep without end: a lost wake-up hangs the test.

struct Progress {
    std::atomic<std::uint64_t> done{0};
    std::atomic<std::uint64_t> closed{0};
    std::atomic<bool> release{false};
};

template <class Function>
std::vector<Child> asleep(unsigned count, Function&& function) {
    std::vector<Child> children;
    for (unsigned index = 0; index < count; ++index) {
        children.emplace_back(function);
        await([&] { return test::sleeps_in_futex(children.back().pid()); });
    }
    return children;
}

TEST(MpmcRing, AMessageBehindALateOneReachesASecondSleeperWhileTheFirstStillReads) {
    const Watchdog watchdog(60);
    Ring sut;
    const Shared<Progress> progress;
    ClaimedSlot first;
    ClaimedSlot second;
    ASSERT_EQ(sut->claim(first), RingResult::done);
    ASSERT_EQ(sut->claim(second), RingResult::done);
    auto children = asleep(2, [&] {
        ClaimedSlot claimed;
        EXPECT_EQ(sut.claim_read_endlessly(claimed), RingResult::done);
        progress->done.fetch_add(1, std::memory_order_seq_cst);
        await([&] { return progress->release.load(std::memory_order_seq_cst); });
        sut->commit(claimed);
    });
    sut->publish(second);  // wakes one sleeper, who cannot use it
    await([&] {
        return std::all_of(children.begin(), children.end(),
                           [](const Child& child) { return test::sleeps_in_futex(child.pid()); });
    });
    sut->publish(first);
    await([&] { return progress->done.load(std::memory_order_seq_cst) == 2; });
    progress->release.store(true, std::memory_order_seq_cst);
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
}

TEST(MpmcRing, RoomBehindALateReaderReachesASecondSleeperWhileTheFirstStillWrites) {
    const Watchdog watchdog(60);
    Ring sut(RingOptions{.capacity = 2});
    const Shared<Progress> progress;
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    ASSERT_EQ(sut.try_put(2), RingResult::done);
    ClaimedSlot first;
    ClaimedSlot second;
    ASSERT_EQ(sut->claim_read(first), RingResult::done);
    ASSERT_EQ(sut->claim_read(second), RingResult::done);
    auto children = asleep(2, [&] {
        ClaimedSlot claimed;
        EXPECT_EQ(sut.claim_endlessly(claimed), RingResult::done);
        progress->done.fetch_add(1, std::memory_order_seq_cst);
        await([&] { return progress->release.load(std::memory_order_seq_cst); });
        sut->publish(claimed);
    });
    sut->commit(second);
    await([&] {
        return std::all_of(children.begin(), children.end(),
                           [](const Child& child) { return test::sleeps_in_futex(child.pid()); });
    });
    sut->commit(first);
    await([&] { return progress->done.load(std::memory_order_seq_cst) == 2; });
    progress->release.store(true, std::memory_order_seq_cst);
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
}

std::vector<Child> closing_getters(Ring& sut, const Shared<Progress>& progress) {
    return asleep(3, [&] {
        ClaimedSlot claimed;
        RingResult result{};
        while ((result = sut.claim_read_endlessly(claimed)) == RingResult::done) {
            sut->commit(claimed);
            progress->done.fetch_add(1, std::memory_order_seq_cst);
        }
        EXPECT_EQ(result, RingResult::closed);
    });
}

TEST(MpmcRing, ClosingWakesEverybody) {
    const Watchdog watchdog(60);
    Ring sut(RingOptions{.capacity = 1});
    const Shared<Progress> progress;
    auto getters = closing_getters(sut, progress);
    sut->close();
    for (Child& child : getters) {
        EXPECT_EQ(child.join(), 0);
    }
    Ring full(RingOptions{.capacity = 1});
    ASSERT_EQ(full.try_put(1), RingResult::done);
    auto putters = asleep(3, [&] {
        ClaimedSlot claimed;
        EXPECT_EQ(full.claim_endlessly(claimed), RingResult::closed);
    });
    full->close();
    for (Child& child : putters) {
        EXPECT_EQ(child.join(), 0);
    }
}

TEST(MpmcRing, TheLastReadersCommitTellsAllGettersClosed) {
    const Watchdog watchdog(60);
    Ring sut;
    const Shared<Progress> progress;
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    ClaimedSlot lease;
    ASSERT_EQ(sut->claim_read(lease), RingResult::done);
    sut->close();
    auto getters = closing_getters(sut, progress);
    sut->commit(lease);
    for (Child& child : getters) {
        EXPECT_EQ(child.join(), 0);
    }
}

TEST(MpmcRing, TheLastReadersReturnTellsAllGettersClosed) {
    const Watchdog watchdog(60);
    Ring sut;
    const Shared<Progress> progress;
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    ClaimedSlot lease;
    ASSERT_EQ(sut->claim_read(lease), RingResult::done);
    sut->close();
    auto getters = closing_getters(sut, progress);
    sut->give_back(lease);
    for (Child& child : getters) {
        EXPECT_EQ(child.join(), 0);
    }
    EXPECT_EQ(progress->done.load(), 1U);
}

TEST(MpmcRing, TheLastWritersRetreatTellsAllGettersClosed) {
    const Watchdog watchdog(60);
    Ring sut;
    const Shared<Progress> progress;
    ClaimedSlot claimed;
    ASSERT_EQ(sut->claim(claimed), RingResult::done);
    sut->close();
    auto getters = closing_getters(sut, progress);
    sut->abandon(claimed);
    for (Child& child : getters) {
        EXPECT_EQ(child.join(), 0);
    }
}

TEST(MpmcRing, AfterTheSleepersAreServedNoBitIsLeft) {
    const Watchdog watchdog(60);
    Ring sut;
    auto children = asleep(3, [&] {
        ClaimedSlot claimed;
        EXPECT_EQ(sut.claim_read_endlessly(claimed), RingResult::done);
        sut->commit(claimed);
    });
    for (std::uint64_t value = 0; value < 3; ++value) {
        ASSERT_EQ(sut.try_put(value), RingResult::done);
    }
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
    ASSERT_EQ(sut.try_put(9), RingResult::done);
    EXPECT_FALSE(sut->layout().items.has_sleepers());
    EXPECT_FALSE(sut->layout().room.has_sleepers());
}

// Deaths. A child dies in the state that its function left.

template <class Function>
void die_after(Function&& function) {
    Child child([&] {
        function();
        raise(SIGKILL);
    });
    EXPECT_EQ(child.join(), -SIGKILL);
}

TEST(MpmcRing, AWriterThatDiesIsPassedByGetters) {
    const Watchdog watchdog(60);
    for (const Wait mode : {Wait::park, Wait::spin_then_park, Wait::spin}) {
        Ring sut;
        die_after([&] {
            ClaimedSlot claimed;
            ASSERT_EQ(sut->claim(claimed), RingResult::done);
        });
        ASSERT_EQ(sut.try_put(7), RingResult::done);
        ClaimedSlot nothing;
        EXPECT_EQ(sut->claim_read(nothing), RingResult::pending);
        EXPECT_EQ(sut.get(mode), 7U);
        EXPECT_EQ(sut->size(), 0U);
    }
}

TEST(MpmcRing, AWriterThatDiesIsPassedByPutters) {
    const Watchdog watchdog(60);
    for (const Wait mode : {Wait::park, Wait::spin_then_park, Wait::spin}) {
        Ring sut(RingOptions{.capacity = 1});
        die_after([&] {
            ClaimedSlot claimed;
            ASSERT_EQ(sut->claim(claimed), RingResult::done);
        });
        EXPECT_EQ(sut.try_put(7), RingResult::full);
        EXPECT_TRUE(sut.put(7, mode));
        EXPECT_EQ(sut.try_get(), 7U);
    }
}

TEST(MpmcRing, AReaderThatDiesGivesItsMessageBack) {
    const Watchdog watchdog(60);
    for (const std::uint64_t capacity : {1ULL, 2ULL, 4ULL}) {
        for (const Wait mode : {Wait::park, Wait::spin_then_park, Wait::spin}) {
            Ring sut(RingOptions{.capacity = capacity, .first_position = 0ULL - 2});
            ASSERT_EQ(sut.try_put(1), RingResult::done);
            die_after([&] {
                ClaimedSlot claimed;
                ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
            });
            if (capacity > 1) {
                ASSERT_EQ(sut.try_put(2), RingResult::done);
                ASSERT_EQ(sut.try_get(), 2U) << "younger ones may pass";
            }
            EXPECT_EQ(sut.get(mode), 1U);
            EXPECT_EQ(sut.get(mode, Deadline::after(5ms)), std::nullopt) << "exactly once";
            EXPECT_EQ(sut.try_put(3), RingResult::done);
            EXPECT_EQ(sut.try_get(), 3U);
        }
    }
}

TEST(MpmcRing, AReaderThatDiesInAFullRingDoesNotHangThePutters) {
    const Watchdog watchdog(60);
    Ring sut(RingOptions{.capacity = 2});
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    ASSERT_EQ(sut.try_put(2), RingResult::done);
    die_after([&] {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
        raise(SIGKILL);
    });
    Child putter([&] { EXPECT_TRUE(sut.put(3, Wait::park)); });
    std::vector<std::uint64_t> got;
    while (got.size() < 3) {
        got.push_back(*sut.get(Wait::park));
    }
    EXPECT_EQ(putter.join(), 0);
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, (std::vector<std::uint64_t>{1, 2, 3}));
}

TEST(MpmcRing, SleepersHearADeath) {
    const Watchdog watchdog(60);
    Ring sut;
    const Shared<Progress> progress;
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    Child holder([&] {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
        progress->release.store(true, std::memory_order_seq_cst);
        pause();
    });
    await([&] { return progress->release.load(std::memory_order_seq_cst); });
    auto getters = asleep(1, [&] { EXPECT_EQ(sut.get(Wait::park), 1U); });
    holder.kill_and_join();
    EXPECT_EQ(getters[0].join(), 0);
}

TEST(MpmcRing, WhoSleepsAgainWatchesEveryMember) {
    const Watchdog watchdog(60);
    Ring sut(RingOptions{.capacity = 2});
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    ASSERT_EQ(sut.try_get(), 1U);
    const Shared<Progress> progress;
    std::vector<Child> members;
    for (unsigned count = 0; count < 2; ++count) {
        members.emplace_back([&] {
            ASSERT_NE(sut->members().id(), kNobody);
            progress->done.fetch_add(1);
            pause();
        });
    }
    test::await([&] { return progress->done.load() == 2; });
    EXPECT_EQ(sut->stuck_getting(0).size(), 0U) << "nobody in particular is waited for";
    EXPECT_EQ(sut->stuck_getting(1).size(), 2U);
    EXPECT_EQ(sut->stuck_putting(1).size(), 2U);
    members.front().kill_and_join();
    EXPECT_EQ(sut->stuck_getting(1).size(), 1U) << "the dead one is rescued";
}

TEST(MpmcRing, ClosedWithADeadReaderGivesItsMessageThenSaysClosed) {
    const Watchdog watchdog(60);
    Ring sut;
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    die_after([&] {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
    });
    sut->close();
    ClaimedSlot claimed;
    EXPECT_EQ(sut->claim_read(claimed), RingResult::pending);
    EXPECT_EQ(sut.get(Wait::park), 1U);
    EXPECT_EQ(sut.get(Wait::park), std::nullopt);
    EXPECT_EQ(sut->claim_read(claimed), RingResult::closed);
}

TEST(MpmcRing, ClosedWithADeadWriterIsClosed) {
    const Watchdog watchdog(60);
    Ring sut;
    die_after([&] {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim(claimed), RingResult::done);
    });
    sut->close();
    EXPECT_EQ(sut.get(Wait::park), std::nullopt);
}

TEST(MpmcRing, AStoppedOwnerIsNeverRobbed) {
    const Watchdog watchdog(60);
    Ring sut;
    const Shared<Progress> progress;
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    Child reader([&] {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
        progress->release.store(true, std::memory_order_seq_cst);
        await([&] { return progress->done.load(std::memory_order_seq_cst) != 0; });
        EXPECT_EQ(Ring::load(claimed), 1U);
        sut->commit(claimed);
    });
    await([&] { return progress->release.load(std::memory_order_seq_cst); });
    reader.stop();
    EXPECT_EQ(sut.get(Wait::park, Deadline::after(50ms)), std::nullopt);
    EXPECT_EQ(sut->members().rescue(), 0U);
    progress->done.store(1, std::memory_order_seq_cst);
    reader.resume();
    EXPECT_EQ(reader.join(), 0);
    EXPECT_EQ(sut.get(Wait::park, Deadline::after(5ms)), std::nullopt) << "taken exactly once";
}

TEST(MpmcRing, ARescuerThatDiedHalfWayIsRepeatedFromTheTop) {
    const Watchdog watchdog(60);
    Ring sut;
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    ASSERT_EQ(sut.try_get(), 1U);  // the heads are past position 0
    ASSERT_EQ(sut.try_put(2), RingResult::done);
    die_after([&] {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
        // As a rescuer would have left it that mended the slot and died before it raised the epoch.
        auto& control = reinterpret_cast<SlotLayout*>(claimed.slot)->control;
        control.store(claimed.control.rescued(SlotState::returned, kNobody).word,
                      std::memory_order_seq_cst);
    });
    // Our head has gone on. The epoch has not been raised: first what lies at the head.
    ASSERT_EQ(sut.try_put(3), RingResult::done);
    EXPECT_EQ(sut.get(Wait::park), 3U);
    EXPECT_EQ(sut.get(Wait::park), 2U);
}

TEST(MpmcRing, AMessageGivenBackIsFoundByWhoWasLedPastItByTheHint) {
    const test::FreshName name("given-back");
    constexpr std::uint64_t kCapacity = 16;
    // One who never got anything, so that its own head is 0, and everybody else.
    Ring idle(name.name(), RingOptions{.capacity = kCapacity});
    Ring others(name.name(), RingOptions{.capacity = kCapacity});
    for (std::uint64_t value = 0; value < 31; ++value) {
        ASSERT_EQ(others.try_put(value), RingResult::done);
        ASSERT_EQ(others.try_get(), value);
    }
    ClaimedSlot first;
    ClaimedSlot second;
    ASSERT_EQ(others.try_put(31), RingResult::done);
    ASSERT_EQ(others.try_put(32), RingResult::done);
    ASSERT_EQ(others->claim_read(first), RingResult::done);
    ASSERT_EQ(others->claim_read(second), RingResult::done);  // the shared hint is 32 now
    others->give_back(first);
    EXPECT_EQ(idle->size(), 1U);
    EXPECT_TRUE(idle->readable());
    EXPECT_EQ(idle.try_get(), 31U);
    others->commit(second);
    for (std::uint64_t value = 33; value < 33 + kCapacity; ++value) {
        ASSERT_EQ(others.try_put(value), RingResult::done);
    }
}

TEST(MpmcRing, EachRescueRaisesTheTag) {
    const Watchdog watchdog(60);
    Ring sut(RingOptions{.capacity = 1});
    ASSERT_EQ(sut.try_put(1), RingResult::done);
    const SlotControl before = sut.control_at(0);
    for (int death = 0; death < 40; ++death) {
        die_after([&] {
            ClaimedSlot claimed;
            ASSERT_TRUE(sut.claim_read(claimed, Wait::park));
        });
        EXPECT_EQ(sut->members().rescue(), 1U);
        EXPECT_EQ(sut.control_at(0).tag(), (before.tag() + static_cast<unsigned>(death) + 1) % 32);
        EXPECT_EQ(sut.state_at(0), SlotState::returned);
    }
    EXPECT_EQ(sut.try_get(), 1U);
}

TEST(MpmcRing, ARescuerThatWasStoppedTakesNothingFromTheNewTenantOfTheId) {
    // We hold the proof that member 1 is dead and are stopped; another rescues; a newcomer becomes
    // member 1 and claims a slot; we go on.
    const Watchdog watchdog(60);
    const FreshName name("stopped");
    const RingOptions options{.capacity = 2, .member_capacity = 1};
    Ring stopped(name.name(), options);
    die_after([&] {
        ClaimedSlot claimed;
        ASSERT_EQ(stopped->claim(claimed), RingResult::done);
    });
    Ring other(name.name(), options);
    struct Scene {
        Ring* stopped;
        Ring* other;
        ClaimedSlot claimed{};
        bool entered{false};
    } scene{&stopped, &other};
    stopped.segment().members().set_sweeper(
        {[](void* object, MemberId id, const DeadTenant& dead) {
             auto& view = *static_cast<Scene*>(object);
             if (!view.entered) {
                 view.entered = true;
                 EXPECT_EQ((*view.other)->members().rescue(), 1U);
                 EXPECT_EQ((*view.other)->members().id(), id);
                 EXPECT_EQ((*view.other)->claim(view.claimed), RingResult::done);
             }
             (*view.stopped)->sweep(id, dead);
         },
         &scene});
    EXPECT_FALSE(stopped->members().rescue(1));
    EXPECT_EQ(other.state_at(scene.claimed.position), SlotState::writing) << "it is the living's";
    Ring::store(scene.claimed, 8);
    other->publish(scene.claimed);
    EXPECT_EQ(other.try_get(), 8U);
}

TEST(MpmcRing, AClaimWhoseThreadEndedLeavesTheNextOwnersSlotAlone) {
    // A claim handed to another thread: its own ends, the claim is resolved and the slot comes to
    // somebody else, all before that other thread makes use of it.
    const Watchdog watchdog(60);
    Ring sut(RingOptions{.capacity = 2});
    ClaimedSlot late;
    std::thread([&] { ASSERT_EQ(sut->claim(late), RingResult::done); }).join();
    EXPECT_EQ(sut->members().rescue(), 1U);
    EXPECT_EQ(sut.try_put(1), RingResult::done);
    EXPECT_EQ(sut.try_get(), 1U);  // past the dead claim, which makes room for the next lap
    ClaimedSlot mine;
    ASSERT_EQ(sut->claim(mine), RingResult::done);
    ASSERT_EQ(mine.slot, late.slot);
    EXPECT_FALSE(sut->publish(late));
    EXPECT_FALSE(sut->abandon(late));
    EXPECT_EQ(sut.state_at(mine.position), SlotState::writing);
    Ring::store(mine, 2);
    EXPECT_TRUE(sut->publish(mine));
    std::thread([&] { ASSERT_EQ(sut->claim_read(late), RingResult::done); }).join();
    EXPECT_EQ(sut->members().rescue(), 1U);
    EXPECT_FALSE(sut->commit(late));
    EXPECT_FALSE(sut->give_back(late));
    EXPECT_EQ(sut.try_get(), 2U);
}

// Values beside their slots.

struct Value {
    static constexpr std::uint64_t kBytes = 300'000;
    static std::vector<std::byte> make(std::uint8_t seed) {
        std::vector<std::byte> bytes(kBytes);
        for (std::size_t index = 0; index < bytes.size(); ++index) {
            bytes[index] = static_cast<std::byte>(seed + index % 253);
        }
        return bytes;
    }
};

const RingOptions kExtents{.capacity = 2, .slot_bytes = 64, .values_have_extents = true};

void put_large(Ring& sut, std::uint8_t seed) {
    ClaimedSlot claimed;
    ASSERT_TRUE(sut.claim(claimed, Wait::park));
    Failure failure;
    ASSERT_TRUE(sut->write_extent(claimed, Value::make(seed), failure)) << failure.text;
    sut->publish(claimed);
}

void get_large(Ring& sut, std::uint8_t seed) {
    ClaimedSlot claimed;
    ASSERT_TRUE(sut.claim_read(claimed, Wait::park));
    std::vector<std::byte> value(Value::kBytes);
    Failure failure;
    ASSERT_TRUE(sut->read_extent(claimed, value, failure)) << failure.text;
    EXPECT_EQ(value, Value::make(seed));
    sut->commit(claimed);
}

TEST(MpmcRingExtents, LargeValuesTravelBesideTheSlotAndTheirMemoryComesBack) {
    Ring sut(kExtents);
    const std::uint64_t before = sut.segment().mapping().bytes_allocated();
    for (std::uint8_t round = 0; round < 10; ++round) {
        put_large(sut, round);
        EXPECT_GE(sut.segment().mapping().bytes_allocated(), before + Value::kBytes);
        get_large(sut, round);
        EXPECT_EQ(sut.segment().mapping().bytes_allocated(), before);
    }
}

TEST(MpmcRingExtents, SmallOnesKeepTheirMemoryForTheNext) {
    Ring sut(kExtents);
    const std::vector<std::byte> small(5000, std::byte{3});
    for (int round = 0; round < 10; ++round) {
        ClaimedSlot claimed;
        Failure failure;
        ASSERT_EQ(sut->claim(claimed), RingResult::done);
        ASSERT_TRUE(sut->write_extent(claimed, small, failure)) << failure.text;
        sut->publish(claimed);
        ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
        std::vector<std::byte> read(small.size());
        ASSERT_TRUE(sut->read_extent(claimed, read, failure));
        EXPECT_EQ(read, small);
        sut->commit(claimed);
    }
}

TEST(MpmcRingExtents, ADeadWritersMemoryComesBack) {
    const Watchdog watchdog(60);
    Ring sut(kExtents);
    const std::uint64_t before = sut.segment().mapping().bytes_allocated();
    die_after([&] {
        ClaimedSlot claimed;
        Failure failure;
        ASSERT_EQ(sut->claim(claimed), RingResult::done);
        ASSERT_TRUE(sut->write_extent(claimed, Value::make(1), failure)) << failure.text;
    });
    EXPECT_GT(sut.segment().mapping().bytes_allocated(), before);
    put_large(sut, 2);
    get_large(sut, 2);
    EXPECT_EQ(sut.segment().mapping().bytes_allocated(), before);
}

TEST(MpmcRingExtents, ADeadReadersValueIsReadAgain) {
    const Watchdog watchdog(60);
    Ring sut(kExtents);
    const std::uint64_t before = sut.segment().mapping().bytes_allocated();
    put_large(sut, 3);
    die_after([&] {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
    });
    get_large(sut, 3);
    EXPECT_EQ(sut.segment().mapping().bytes_allocated(), before);
}

TEST(MpmcRingExtents, OneWhoDiesClearingHasTaken) {
    const Watchdog watchdog(60);
    Ring sut(kExtents);
    const std::uint64_t before = sut.segment().mapping().bytes_allocated();
    put_large(sut, 4);
    die_after([&] {
        ClaimedSlot claimed;
        ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
        reinterpret_cast<SlotLayout*>(claimed.slot)
            ->control.store(claimed.control.with(SlotState::clearing, claimed.control.owner()).word,
                            std::memory_order_seq_cst);
    });
    EXPECT_EQ(sut.get(Wait::park, Deadline::after(10ms)), std::nullopt) << "it was taken";
    for (std::uint8_t round = 0; round < 4; ++round) {
        put_large(sut, round);
        get_large(sut, round);
    }
    EXPECT_EQ(sut.segment().mapping().bytes_allocated(), before);
}

TEST(MpmcRingExtents, AnAbandonedValuesMemoryComesBack) {
    Ring sut(kExtents);
    const std::uint64_t before = sut.segment().mapping().bytes_allocated();
    ClaimedSlot claimed;
    Failure failure;
    ASSERT_EQ(sut->claim(claimed), RingResult::done);
    ASSERT_TRUE(sut->write_extent(claimed, Value::make(1), failure));
    sut->abandon(claimed);
    ClaimedSlot nothing;
    EXPECT_EQ(sut->claim_read(nothing), RingResult::empty);
    EXPECT_EQ(sut.segment().mapping().bytes_allocated(), before);
}

TEST(MpmcRingExtents, ADamagedLengthDoesNotTouchTheNeighbour) {
    Ring sut(kExtents);
    put_large(sut, 1);
    put_large(sut, 2);
    ClaimedSlot claimed;
    ASSERT_EQ(sut->claim_read(claimed), RingResult::done);
    reinterpret_cast<ValueSlotLayout*>(claimed.slot)
        ->extent_bytes.store(1ULL << 40U, std::memory_order_seq_cst);
    sut->commit(claimed);
    get_large(sut, 2);
}

// Threads on one view (also for ThreadSanitizer).

TEST(MpmcRing, ThreadsGetEachMessageOnce) {
    const Watchdog watchdog(120);
    constexpr std::uint64_t kThreads = 3;
    constexpr std::uint64_t kEach = 4000;
    for (const std::uint64_t capacity : {1ULL, 2ULL, 16ULL}) {
        Ring sut(RingOptions{.capacity = capacity, .first_position = 0ULL - kEach});
        std::vector<std::vector<std::uint64_t>> got(kThreads);
        std::vector<std::thread> threads;
        for (std::uint64_t index = 0; index < kThreads; ++index) {
            threads.emplace_back([&, index] {
                for (std::uint64_t sequence = 0; sequence < kEach; ++sequence) {
                    ASSERT_TRUE(sut.put(index << 32U | sequence, Wait::park));
                }
            });
            threads.emplace_back([&, index] {
                const auto get = [&] {
                    return index == 0 ? sut.get(Wait::park)
                                      : sut.take(Wait::park, [](std::uint64_t) {});
                };
                while (const auto value = get()) {
                    got[index].push_back(*value);
                }
            });
        }
        for (std::uint64_t index = 0; index < 2 * kThreads; index += 2) {
            threads[index].join();
        }
        sut->close();
        for (std::uint64_t index = 1; index < 2 * kThreads; index += 2) {
            threads[index].join();
        }
        std::map<std::uint64_t, int> times;
        for (const auto& mine : got) {
            std::map<std::uint64_t, std::uint64_t> next;
            for (const std::uint64_t value : mine) {
                EXPECT_GE(value & 0xffff'ffffU, next[value >> 32U]) << "a producer's order";
                next[value >> 32U] = (value & 0xffff'ffffU) + 1;
                ++times[value];
            }
        }
        EXPECT_EQ(times.size(), kThreads * kEach);
        EXPECT_TRUE(std::all_of(times.begin(), times.end(),
                                [](const auto& entry) { return entry.second == 1; }));
    }
}

}  // namespace
}  // namespace sluice::shm
