#include "sluice/shm/condition_word.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

#include "support/processes.hpp"
#include "support/words.hpp"

namespace sluice::shm {
namespace {

using namespace std::chrono_literals;
using test::await;
using test::Child;
using test::Condition;
using test::Shared;
using test::Watchdog;

// A child that waits without a deadline, and says when it was told.
struct Waiters {
    struct State {
        std::array<std::atomic<MemberId>, 8> id;
        std::array<std::atomic<int>, 8> woken;
    };
    explicit Waiters(Condition& condition, Wait mode = Wait::park)
        : condition_(condition), mode_(mode) {}

    /// Returns when it has announced itself (and sleeps, if it parks).
    void add() {
        const std::size_t number = children.size();
        children.emplace_back([this, number] {
            SpinBudget budget;
            const ConditionWord::Place place = condition_->announce(condition_.me());
            state->id[number].store(place.id);
            static_cast<void>(condition_->wait(place, mode_, budget, Deadline::never()));
            state->woken[number].store(1);
            for (;;) {
                pause();  // alive, and has not acted yet
            }
        });
        await([&] { return state->id[number].load() != kNobody; });
        if (mode_ == Wait::park) {
            await([&] { return condition_.state_of(id(number)) == ConditionState::asleep; });
            await([&] { return test::sleeps_in_futex(children[number].pid()); });
        }
    }
    MemberId id(std::size_t number) const { return state->id[number].load(); }
    bool is_woken(std::size_t number) const { return state->woken[number].load() != 0; }
    unsigned count() const {
        unsigned woken = 0;
        for (std::size_t number = 0; number < children.size(); ++number) {
            woken += is_woken(number) ? 1U : 0U;
        }
        return woken;
    }

    Shared<State> state;
    std::vector<Child> children;

 private:
    Condition& condition_;
    Wait mode_;
};

TEST(ConditionWord, NotifyingNobodyDoesNothing) {
    Condition sut;
    EXPECT_FALSE(sut->has_waiters());
    EXPECT_EQ(sut->notify(1), 0U);
    sut->notify_all();
    EXPECT_EQ(sut->layout().everybody.load(), 0U);
}

TEST(ConditionWord, ANotificationBetweenAnnouncementAndSleepIsNotMissed) {
    for (const Wait mode : {Wait::park, Wait::spin, Wait::spin_then_park}) {
        for (const bool all : {false, true}) {
            Condition sut;
            SpinBudget budget;
            const auto place = sut->announce(sut.me());
            EXPECT_TRUE(sut->has_waiters());
            if (all) {
                sut->notify_all();
            } else {
                EXPECT_EQ(sut->notify(1), 1U);
            }
            EXPECT_EQ(sut->wait(place, mode, budget, Deadline::never()), Waited::done);
            EXPECT_FALSE(sut->has_waiters());
            EXPECT_EQ(sut->notify(1), 0U) << "it waits no more";
        }
    }
}

TEST(ConditionWord, AWaitEndsAtItsDeadlineAndTakesNoNotificationWithIt) {
    for (const Wait mode : {Wait::park, Wait::spin, Wait::spin_then_park}) {
        Condition sut;
        SpinBudget budget;
        const auto place = sut->announce(sut.me());
        EXPECT_EQ(sut->wait(place, mode, budget, Deadline::after(3ms)), Waited::timed_out);
        EXPECT_EQ(sut.state_of(place.id), ConditionState::idle);
        EXPECT_EQ(sut->notify(1), 0U);
    }
}

TEST(ConditionWord, ANotificationThatCameInTimeCountsThoughTheDeadlineHasPassed) {
    Condition sut;
    SpinBudget budget;
    const auto place = sut->announce(sut.me());
    EXPECT_EQ(sut->notify(1), 1U);
    EXPECT_EQ(sut->wait(place, Wait::park, budget, Deadline::passed()), Waited::done);
}

TEST(ConditionWord, TheOldestAreNotifiedFirstAndNoMoreThanAsked) {
    const Watchdog watchdog(60);
    for (const Wait mode : {Wait::park, Wait::spin}) {
        // Tickets and tags wrap meanwhile.
        Condition sut(64, 0ULL - 2);
        Waiters waiters(sut, mode);
        for (int count = 0; count < 4; ++count) {
            waiters.add();
        }
        EXPECT_EQ(sut->notify(1), 1U);
        await([&] { return waiters.count() == 1; });
        EXPECT_TRUE(waiters.is_woken(0));
        EXPECT_EQ(sut->notify(2), 2U);
        await([&] { return waiters.count() == 3; });
        EXPECT_FALSE(waiters.is_woken(3));
        EXPECT_EQ(sut->notify(5), 1U);
        await([&] { return waiters.count() == 4; });
        EXPECT_EQ(sut->notify(1), 0U);
    }
}

TEST(ConditionWord, NotifyAllWakesEverybodyWhoWaitsAndNobodyWhoComesLater) {
    const Watchdog watchdog(60);
    Condition sut(64, 0ULL - 2);
    Waiters waiters(sut);
    for (int count = 0; count < 3; ++count) {
        waiters.add();
    }
    sut->notify_all();
    await([&] { return waiters.count() == 3; });
    SpinBudget budget;
    const auto later = sut->announce(sut.me());
    EXPECT_EQ(sut->wait(later, Wait::park, budget, Deadline::after(3ms)), Waited::timed_out);
}

TEST(ConditionWord, WhoWaitsAgainDuringANotifyIsNotMeantByIt) {
    Condition sut;
    const auto first = sut->announce(sut.me());
    EXPECT_EQ(sut->notify(100), 1U);
    const auto second = sut->announce(sut.me());
    EXPECT_NE(first.announced.word, second.announced.word) << "the tag was raised";
    EXPECT_TRUE(ConditionControl{sut->cell(second.id).word.load()}.is_waiting());
}

TEST(ConditionWord, WhoWithdrawsPassesOnWhatCameMeanwhile) {
    const Watchdog watchdog(60);
    Condition sut;
    const auto place = sut->announce(sut.me());
    Waiters waiters(sut);
    waiters.add();
    EXPECT_EQ(sut->notify(1), 1U) << "goes to the older one";
    sut->withdraw(place);
    await([&] { return waiters.is_woken(0); });
    const auto again = sut->announce(sut.me());
    sut->withdraw(again);
    EXPECT_EQ(sut.state_of(again.id), ConditionState::idle);
    EXPECT_EQ(sut->notify(1), 0U);
}

// Torn states: what a death leaves half-done.

TEST(ConditionWord, ASleeperWhomTheKernelWasNotToldOfFindsItself) {
    const Watchdog watchdog(60);
    Condition sut;
    Waiters waiters(sut);
    waiters.add();
    // A notifier that died between its commit store and the system call.
    const ConditionControl seen{sut->cell(waiters.id(0)).word.load()};
    sut->cell(waiters.id(0)).word.store(seen.with(ConditionState::notified).word);
    await([&] { return waiters.is_woken(0); });
}

TEST(ConditionWord, AfterTheCommitStoreOfNotifyAllNobodyNeedsItsCaller) {
    const Watchdog watchdog(60);
    Condition sut;
    Waiters waiters(sut);
    waiters.add();
    waiters.add();
    sut->layout().everybody.store(sut->layout().next_ticket.load());
    await([&] { return waiters.count() == 2; });
}

TEST(ConditionWord, ABitOfWhoDoesNotWaitIsPassedBy) {
    Condition sut(3);
    sut->layout().waiting[0].store(~0ULL);  // beyond the members, too
    EXPECT_TRUE(sut->has_waiters());
    EXPECT_EQ(sut->notify(3), 0U);
    const auto place = sut->announce(sut.me());
    EXPECT_EQ(sut->notify(3), 1U);
    EXPECT_EQ(sut.state_of(place.id), ConditionState::notified);
}

// Killed children.

TEST(ConditionWord, ANotificationOfOneWhoDiesGoesToAnother) {
    const Watchdog watchdog(60);
    Condition sut;
    Waiters waiters(sut);
    waiters.add();
    waiters.add();
    EXPECT_EQ(sut->notify(1), 1U);
    await([&] { return waiters.is_woken(0); });
    EXPECT_FALSE(waiters.is_woken(1));
    waiters.children[0].kill_and_join();
    await([&] { return waiters.is_woken(1); });  // by itself: it looks for the dead
}

TEST(ConditionWord, ADeadWaiterIsPassedByAndItsPlaceIsSwept) {
    const Watchdog watchdog(60);
    for (const Wait mode : {Wait::park, Wait::spin}) {
        Condition sut;
        Waiters waiters(sut, mode);
        waiters.add();
        const MemberId dead = waiters.id(0);
        waiters.children[0].kill_and_join();
        const auto place = sut->announce(sut.me());
        EXPECT_EQ(sut->notify(1), 1U);
        EXPECT_EQ(sut.state_of(place.id), ConditionState::notified);
        EXPECT_EQ(sut.state_of(dead), ConditionState::idle);
        EXPECT_FALSE(sut.members().has_ended(dead)) << "the id is free";
    }
}

TEST(ConditionWord, OfAllWhoDiedNotifiedEachPassesItOn) {
    const Watchdog watchdog(60);
    Condition sut;
    Waiters waiters(sut);
    for (int count = 0; count < 4; ++count) {
        waiters.add();
    }
    EXPECT_EQ(sut->notify(2), 2U);
    await([&] { return waiters.is_woken(0) && waiters.is_woken(1); });
    waiters.children[0].kill_and_join();
    waiters.children[1].kill_and_join();
    await([&] { return waiters.is_woken(2) && waiters.is_woken(3); });
}

TEST(ConditionWord, ALateRescuerLeavesANewcomersPlaceAlone) {
    const Watchdog watchdog(60);
    Condition sut(2);  // this process, and one more: the newcomer gets the dead one's id
    static_cast<void>(sut.me());
    Waiters waiters(sut);
    waiters.add();
    const MemberId id = waiters.id(0);
    const ConditionControl before{sut->cell(id).word.load()};
    waiters.children[0].kill_and_join();
    EXPECT_EQ(sut.members().rescue(), 1U);
    waiters.add();
    ASSERT_EQ(waiters.id(1), id);
    // What a rescuer would still do that was stopped over its exchange.
    std::uint32_t expected = before.word;
    EXPECT_FALSE(sut->cell(id).word.compare_exchange_strong(
        expected, before.next(ConditionState::idle).word));
    EXPECT_EQ(sut->notify(1), 1U);
    await([&] { return waiters.is_woken(1); });
}

TEST(ConditionWord, AStoppedWaiterIsNotRobbed) {
    const Watchdog watchdog(60);
    Condition sut;
    Waiters waiters(sut);
    waiters.add();
    waiters.children[0].stop();
    EXPECT_EQ(sut.members().rescue(), 0U);
    EXPECT_EQ(sut->notify(1), 1U);
    EXPECT_EQ(sut.state_of(waiters.id(0)), ConditionState::notified);
    waiters.children[0].resume();
    await([&] { return waiters.is_woken(0); });
}

TEST(ConditionWord, ThreadsWaitInPlacesOfTheirOwn) {
    const Watchdog watchdog(60);
    Condition sut;
    std::atomic<unsigned> woken{0};
    std::vector<std::thread> threads;
    for (int count = 0; count < 3; ++count) {
        threads.emplace_back([&] {
            SpinBudget budget;
            const auto place = sut->announce(sut.me());
            EXPECT_EQ(sut->wait(place, Wait::park, budget, Deadline::never()), Waited::done);
            sut->finish(place);
            ++woken;
        });
    }
    unsigned notified = 0;
    await([&] { return (notified += sut->notify(1)) == 3; });
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(woken.load(), 3U);
}

}  // namespace
}  // namespace sluice::shm
