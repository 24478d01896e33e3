// The soak of the Manager and what it holds: six processes on the same Dicts, Lists, Values and
// Arrays, and on objects that come and go, killed, stopped and started again at random instants.
//
// It goes in rounds. In each, workers operate while this process kills; then they come to rest,
// nobody is killed any more, and it is looked whether everything is whole and there.
//
// Environment: SLUICE_SOAK, how many seconds (15; beside a sanitizer 10). SLUICE_TEST_SEED.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "stress/manager_soak_worker.hpp"
#include "support/processes.hpp"
#include "support/soak.hpp"

namespace sluice::soak {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kHang{60};
class ManagerSoak : public ::testing::Test {
 protected:
    ManagerSoak()
        : name_("soak-manager"),
          manager_(Manager::create(name_.name())),
          objects_(manager_),
          random_(test::announce_seed()) {
        objects_.list.extend(std::vector<Count>(kCells, Count::of(0)));
        objects_.array.fill(Count::of(0));
    }

    void spawn(unsigned worker) {
        ledger_->workers[worker].at.store(ManagerAt::rest);
        victims_[worker] = StoppableChild([this, worker] {
            // Some open it by name, others inherit it.
            const Manager manager = worker % 2 == 0 ? manager_ : Manager::open(name_.name());
            ManagerWorker(*ledger_, worker, manager).run();
        });
    }

    std::uint64_t operations() const {
        std::uint64_t count = 0;
        for (const ManagerNote& note : ledger_->workers) {
            count += note.operations.load();
        }
        return count;
    }

    /// Of the Manager's memory.
    std::uint64_t file_bytes() const {
        struct stat status {};
        EXPECT_EQ(::stat(name_.path().c_str(), &status), 0);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    }

    void disturb();
    void resume(Clock::time_point now);
    void run_round(std::uint32_t round, Clock::duration time);
    void quiesce(std::uint32_t round);
    void balance();
    void balance_cells(Counted& counted, std::uint64_t cell, const Count& found, const char* what);
    template <class T>
    void balance_bag(const List<T>& bag, Bag& noted);
    void balance_kept();
    void balance_group();
    void sweep_churn();

    test::FreshName name_;
    test::Shared<ManagerLedger> ledger_;
    Manager manager_;
    ManagedObjects objects_;
    std::mt19937_64 random_;
    std::uint64_t kills_{};
    std::uint64_t stops_{};
    std::uint64_t in_doubt_{};        // items, in all
    std::uint64_t doubtful_items_{};  // of this round
    std::array<StoppableChild, kManagerWorkers> victims_;
};

void ManagerSoak::disturb() {
    const auto worker = static_cast<unsigned>(random_() % kManagerWorkers);
    if (random_() % 8 == 0) {
        victims_[worker].stop_for(std::chrono::microseconds(random_() % 20'000));
        ++stops_;
        return;
    }
    victims_[worker].kill_and_join();
    ++kills_;
    doubtful_items_ += ledger_->workers[worker].at.load() == ManagerAt::taking;
    spawn(worker);
}

void ManagerSoak::resume(Clock::time_point now) {
    for (StoppableChild& victim : victims_) {
        victim.resume_if_due(now);
    }
}

/// Nobody is killed any more: all come to rest, or it is a hang.
void ManagerSoak::quiesce(std::uint32_t round) {
    resume(Clock::time_point::max());
    ledger_->serving.store(0);
    const Clock::time_point end = Clock::now() + kHang;
    for (unsigned worker = 0; worker < kManagerWorkers;) {
        const ManagerNote& note = ledger_->workers[worker];
        if (note.round_done.load() == round) {
            ++worker;
            continue;
        }
        ASSERT_LT(Clock::now(), end)
            << "worker " << worker << " hangs at " << text_of(note.at.load());
        usleep(500);
    }
}

/// What was begun may have happened, what ended has. Then no step is in doubt any more.
void ManagerSoak::balance_cells(Counted& counted, std::uint64_t cell, const Count& found,
                                const char* what) {
    EXPECT_TRUE(found.is_whole()) << what << ", cell " << cell;
    EXPECT_GE(found.number, counted.ended[cell].load()) << what << " lost, cell " << cell;
    EXPECT_LE(found.number, counted.begun[cell].load()) << what << " doubled, cell " << cell;
    counted.ended[cell].store(found.number);
    counted.begun[cell].store(found.number);
}

template <class T>
void ManagerSoak::balance_bag(const List<T>& bag, Bag& noted) {
    const std::uint32_t items = std::min(noted.items.load(), kItemsMax);
    std::vector<bool> there(items);
    const std::vector<T> entries = bag.snapshot();
    EXPECT_EQ(entries.size(), bag.size());
    for (const T& entry : entries) {
        const std::optional<std::uint64_t> item = ManagerWorker::item_of(entry);
        ASSERT_TRUE(item && *item < items) << "nobody put it";
        EXPECT_FALSE(there[*item]) << "item " << *item << " is there twice";
        EXPECT_NE(noted.states[*item].load(), ItemState::taken) << "item " << *item;
        there[*item] = true;
    }
    for (std::uint32_t item = 0; item < items; ++item) {
        if (noted.states[item].load() == ItemState::put && !there[item]) {
            ASSERT_GT(doubtful_items_, 0U) << "item " << item << " is lost";
            --doubtful_items_;  // who took it was killed
            ++in_doubt_;
        }
        noted.states[item].store(ItemState::none);
    }
    noted.items.store(0);
    bag.clear();
}

void ManagerSoak::balance_kept() {
    std::size_t there = 0;
    for (unsigned worker = 0; worker < kManagerWorkers; ++worker) {
        for (unsigned key = 0; key < kKeptKeys; ++key) {
            const Kept& kept = ledger_->workers[worker].kept[key];
            const std::uint64_t wanted = kept.before.load();
            const auto text = objects_.kept.get(kept_key(worker, key));
            EXPECT_EQ(text.has_value(), wanted != 0);
            if (text && wanted != 0) {
                EXPECT_EQ(*text, text_of_number(wanted));
                ++there;
            }
        }
    }
    EXPECT_EQ(objects_.kept.size(), there);
    EXPECT_EQ(objects_.kept.items().size(), there);
}

void ManagerSoak::balance_group() {
    const auto group = objects_.group.items();
    EXPECT_TRUE(group.empty() || group.size() == kGroupKeys) << group.size();
    EXPECT_EQ(objects_.group.size(), group.size());
    for (const auto& [key, stamp] : group) {
        EXPECT_EQ(stamp, group.front().second) << "half a step";
        EXPECT_EQ(objects_.group.at(key), stamp);
    }
}

/// All that came and went is gone, whoever died at it.
void ManagerSoak::sweep_churn() {
    for (unsigned name = 0; name < kChurnNames; ++name) {
        manager_.remove(churn_name(name));
    }
    EXPECT_EQ(manager_.entries().size(), 8U);
}

void ManagerSoak::balance() {
    for (std::uint64_t cell = 0; cell < kCells; ++cell) {
        balance_cells(ledger_->dict, cell, objects_.dict.get(cell, Count::of(0)), "Dict");
        balance_cells(ledger_->list, cell, objects_.list.at(static_cast<std::int64_t>(cell)),
                      "List");
        balance_cells(ledger_->array, cell, objects_.array.load(static_cast<std::int64_t>(cell)),
                      "Array");
    }
    balance_cells(ledger_->value, 0, objects_.value.load(), "Value");
    EXPECT_EQ(objects_.dict.size(), objects_.dict.items().size());
    EXPECT_EQ(objects_.list.size(), kCells);
    balance_kept();
    balance_group();
    balance_bag(objects_.numbers, ledger_->numbers);
    balance_bag(objects_.texts, ledger_->texts);
    doubtful_items_ = 0;
    sweep_churn();
}

void ManagerSoak::run_round(std::uint32_t round, Clock::duration time) {
    const Clock::time_point end = Clock::now() + time;
    ledger_->serving.store(round);
    ledger_->round.store(round);
    // Some rounds are calm, others a massacre.
    constexpr std::uint64_t kGapsUs[] = {2'000, 10'000, 50'000};
    const std::uint64_t gap_us = kGapsUs[random_() % 3];
    while (Clock::now() < end) {
        usleep(static_cast<useconds_t>(random_() % gap_us));
        resume(Clock::now());
        disturb();
    }
    quiesce(round);
    if (!HasFatalFailure()) {
        balance();
    }
}

TEST_F(ManagerSoak, KilledProcessesLeaveTheOldOrTheNew) {
    const seconds time = soak_time(15);
    const test::Watchdog watchdog(static_cast<unsigned>(time.count()) + 170);
    for (unsigned worker = 0; worker < kManagerWorkers; ++worker) {
        spawn(worker);
    }
    const Clock::time_point start = Clock::now();
    Clock::time_point told = start;
    Growth growth;
    std::uint64_t first_bytes = 0;
    std::uint64_t last_bytes = 0;
    const auto tell = [&] {
        const auto number = [](std::uint64_t value) {
            return static_cast<unsigned long long>(value);
        };
        std::printf(
            "soak: %.0f s, %llu operations, %llu kills, %llu stops, %llu steps of several keys, "
            "%llu names of another kind, %llu items in doubt, %llu wrong; file %llu -> %llu KiB, "
            "%s\n",
            std::chrono::duration<double>(Clock::now() - start).count(), number(operations()),
            number(kills_), number(stops_), number(ledger_->stamps.load()),
            number(ledger_->other_kinds.load()), number(in_doubt_), number(ledger_->wrong.load()),
            number(first_bytes >> 10U), number(last_bytes >> 10U), growth.text().c_str());
        std::fflush(stdout);
    };
    for (std::uint32_t round = 1; !HasFailure() && Clock::now() - start < time; ++round) {
        run_round(round, milliseconds(1500));
        growth.look(round <= 3);  // warm
        last_bytes = file_bytes();
        if (round <= 3) {
            first_bytes = last_bytes;
        }
        EXPECT_EQ(ledger_->wrong.load(), 0U);
        growth.expect_none(16U << 20U);
        EXPECT_LT(last_bytes, first_bytes + (4U << 20U));
        if (Clock::now() - told >= seconds(60)) {
            told = Clock::now();
            tell();
        }
    }
    tell();
    EXPECT_GT(kills_, 0U);
    EXPECT_GT(ledger_->stamps.load(), 0U);
    EXPECT_GT(ledger_->other_kinds.load(), 0U);
}

}  // namespace
}  // namespace sluice::soak
