#include "sluice/guarded.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "sluice/error.hpp"
#include "sluice/lock.hpp"
#include "support/processes.hpp"

namespace sluice {
namespace {

using namespace std::chrono_literals;
using test::await;
using test::Child;
using test::FreshName;
using test::Shared;
using test::Watchdog;

struct Quote {
    std::int64_t bid{};
    std::int64_t ask{};
};

/// Every word the same, or it is a mixture.
template <std::size_t N>
struct Wide {
    std::array<std::uint64_t, N> words;
};
template <std::size_t N>
Wide<N> all(std::uint64_t word) {
    Wide<N> value;
    value.words.fill(word);
    return value;
}
template <std::size_t N>
bool is_whole(const Wide<N>& value) {
    for (const std::uint64_t word : value.words) {
        if (word != value.words[0]) {
            return false;
        }
    }
    return true;
}

TEST(Guarded, HoldsItsInitialValue) {
    EXPECT_EQ(Guarded<int>().read(), 0);
    EXPECT_EQ(Guarded<int>(7).read(), 7);
    EXPECT_EQ(Guarded<Quote>(Quote{1, 2}).read().ask, 2);
    EXPECT_EQ(Guarded<char>('x').read(), 'x');
    const Guarded<Wide<100>> wide(all<100>(3));
    EXPECT_EQ(wide.read().words[99], 3U);
    EXPECT_EQ(wide.version(), 0U);
}

TEST(Guarded, ADraftIsSeenOnceItIsCommitted) {
    const Guarded<Quote> sut;
    auto draft = sut.write();
    draft->bid = 101;
    (*draft).ask = 102;
    EXPECT_EQ(sut.read().bid, 0);
    draft.commit();
    EXPECT_EQ(sut.read().bid, 101);
    EXPECT_EQ(sut.read().ask, 102);
    EXPECT_EQ(sut.version(), 1U);
}

TEST(Guarded, ADroppedDraftChangesNothing) {
    const Guarded<Quote> sut(Quote{1, 2});
    {
        auto draft = sut.write();
        draft->bid = 99;
    }
    EXPECT_EQ(sut.read().bid, 1);
    auto next = sut.write();
    EXPECT_EQ(next->bid, 1) << "the next starts from the committed value";
    next->ask = 3;
    next.commit();
    EXPECT_EQ(sut.read().ask, 3);
}

TEST(Guarded, StoresAndUpdates) {
    const Guarded<std::uint32_t> sut;
    for (std::uint32_t round = 1; round <= 5; ++round) {
        sut.store(round);
        sut.update([](std::uint32_t& value) { value *= 10; });
        EXPECT_EQ(sut.read(), round * 10);
    }
    EXPECT_THROW(sut.update([](std::uint32_t& value) {
        value = 0;
        throw std::logic_error("no");
    }),
                 std::logic_error);
    EXPECT_EQ(sut.read(), 50U);
    sut.store(1);
}

TEST(Guarded, HoldsWhatIsCopiedElementByElement) {
    const Guarded<std::pair<int, std::tuple<char, double>>> sut({1, {'a', 0.5}});
    sut.update([](auto& value) { std::get<1>(value.second) = 2.5; });
    EXPECT_EQ(std::get<1>(sut.read().second), 2.5);
    EXPECT_EQ(sut.read().first, 1);
}

TEST(Guarded, OneWritesAtATimeAndReadersDoNotWait) {
    const Watchdog watchdog(60);
    const Guarded<Quote> sut(Quote{5, 6});
    auto draft = sut.write();
    draft->bid = 1;
    Child child([&] {
        EXPECT_FALSE(sut.try_write().has_value());
        EXPECT_FALSE(sut.try_write_for(2ms).has_value());
        EXPECT_FALSE(sut.try_write_until(std::chrono::steady_clock::now() + 2ms).has_value());
        EXPECT_EQ(sut.read().bid, 5);
    });
    EXPECT_EQ(child.join(), 0);
    draft.commit();
    EXPECT_TRUE(sut.try_write().has_value());
}

TEST(Guarded, AWriterThatSleepsIsWoken) {
    const Watchdog watchdog(60);
    const Guarded<int> sut(0, GuardedOptions{.wait = Wait::park});
    std::optional<Draft<int>> draft(sut.write());
    Child child([&] { sut.update([](int& value) { ++value; }); });
    await([&] { return test::sleeps_in_futex(child.pid()); });
    **draft = 10;
    draft->commit();
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(sut.read(), 11);
}

TEST(Guarded, MisuseThrows) {
    const Guarded<int> sut;
    auto draft = sut.write();
    EXPECT_THROW(static_cast<void>(sut.write()), Error) << "would wait for ever";
    EXPECT_FALSE(sut.try_write().has_value());
    auto moved = std::move(draft);
    EXPECT_THROW(draft.commit(), Error);  // NOLINT: what this is about
    std::thread([&] { EXPECT_THROW(moved.commit(), Error); }).join();
    EXPECT_EQ(sut.read(), 0);
}

TEST(Guarded, ACommittedDraftCannotBeCommittedAgain) {
    const Guarded<int> sut;
    auto draft = sut.write();
    draft.commit();
    EXPECT_THROW(draft.commit(), Error);
    sut.store(1);
}

TEST(Guarded, AChildsCopyOfADraftIsItsParents) {
    const Watchdog watchdog(60);
    const Guarded<int> sut(1);
    std::optional<Draft<int>> draft(sut.write());
    **draft = 2;
    Child child([&] {
        EXPECT_THROW(draft->commit(), Error);
        draft.reset();
        EXPECT_FALSE(sut.try_write().has_value()) << "dropping it released nothing";
    });
    EXPECT_EQ(child.join(), 0);
    draft->commit();
    EXPECT_EQ(sut.read(), 2);
}

TEST(Guarded, ADeadWriterLeavesTheLastCommitAndLetsOthersWriteAtOnce) {
    const Watchdog watchdog(60);
    const Guarded<Quote> sut(Quote{1, 2});
    const Shared<std::atomic<bool>> writes;
    Child child([&] {
        auto draft = sut.write();
        draft->bid = 99;
        writes->store(true);
        for (;;) {
            pause();
        }
    });
    await([&] { return writes->load(); });
    child.kill_and_join();
    EXPECT_EQ(sut.read().bid, 1);
    auto draft = sut.try_write();
    ASSERT_TRUE(draft.has_value());
    EXPECT_EQ((*draft)->bid, 1);
    (*draft)->bid = 3;
    draft->commit();
    EXPECT_EQ(sut.read().bid, 3);
}

TEST(Guarded, AStoppedWriterHoldsUpWritersButNoReader) {
    const Watchdog watchdog(60);
    const Guarded<int> sut(1);
    const Shared<std::atomic<bool>> writes;
    Child child([&] {
        auto draft = sut.write();
        writes->store(true);
        pause();
    });
    await([&] { return writes->load(); });
    child.stop();
    EXPECT_EQ(sut.read(), 1);
    EXPECT_FALSE(sut.try_write_for(5ms).has_value());
    child.kill_and_join();
    EXPECT_TRUE(sut.try_write().has_value());
}

TEST(Guarded, IsFoundByItsName) {
    const FreshName name("guarded");
    const auto made = Guarded<Quote>::create(name.name(), Quote{1, 2});
    EXPECT_EQ(made.name(), name.name());
    EXPECT_THROW(Guarded<Quote>::create(name.name()), std::system_error);
    EXPECT_THROW(Guarded<int>::open(name.name()), BadSegment) << "another type";
    EXPECT_THROW(Lock::open(name.name()), BadSegment);
    EXPECT_EQ(Guarded<Quote>::open(name.name()).read().ask, 2);
    const auto again = Guarded<Quote>::open_or_create(name.name(), Quote{7, 7});
    EXPECT_EQ(again.read().bid, 1);
    again.store(Quote{3, 4});
    EXPECT_EQ(made.read().bid, 3);
    Guarded<Quote>::unlink(name.name());
    EXPECT_THROW(Guarded<Quote>::open(name.name()), std::system_error);
    const Lock lock = Lock::create(name.name());
    EXPECT_THROW(Guarded<Quote>::open(name.name()), BadSegment);
}

// Readers beside writers that are killed: never a mixture, never back in time, and what a writer
// said it had committed is there.
template <std::size_t N>
void stress() {
    const Watchdog watchdog(120);
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    struct Notes {
        std::atomic<std::uint64_t> acknowledged;
        std::atomic<std::uint64_t> broken;
        std::atomic<std::uint64_t> reads;
        std::atomic<bool> stop;
    };
    const Guarded<Wide<N>> sut(all<N>(0));
    const Shared<Notes> notes;
    const auto write = [&] {
        for (;;) {
            auto draft = sut.write();
            const std::uint64_t next = draft->words[0] + 1;
            if (!is_whole(*draft)) {
                notes->broken.fetch_add(1);
            }
            *draft = all<N>(next);
            draft.commit();
            std::uint64_t seen = notes->acknowledged.load();
            while (seen < next && !notes->acknowledged.compare_exchange_weak(seen, next)) {
            }
        }
    };
    Child reader([&] {
        std::uint64_t last = 0;
        while (!notes->stop.load()) {
            const std::uint64_t acknowledged = notes->acknowledged.load();
            const Wide<N> value = sut.read();
            if (!is_whole(value) || value.words[0] < last || value.words[0] < acknowledged) {
                notes->broken.fetch_add(1);
            }
            last = value.words[0];
            notes->reads.fetch_add(1);
        }
    });
    std::vector<Child> writers;
    for (int count = 0; count < 2; ++count) {
        writers.emplace_back(write);
    }
    for (int round = 0; round < 40; ++round) {
        usleep(static_cast<useconds_t>(random() % 2000));
        Child& victim = writers[random() % writers.size()];
        victim.kill_and_join();
        victim = Child(write);
    }
    const std::uint64_t reads = notes->reads.load();
    const std::uint64_t commits = notes->acknowledged.load();
    await(
        [&] { return notes->reads.load() > reads + 100 && notes->acknowledged.load() > commits; });
    writers.clear();
    notes->stop.store(true);
    EXPECT_EQ(reader.join(), 0);
    EXPECT_EQ(notes->broken.load(), 0U);
    EXPECT_TRUE(is_whole(sut.read()));
}
TEST(Guarded, KeepsEveryCommitWhileWritersAreKilled) {
    stress<2>();
}
TEST(Guarded, KeepsEveryCommitOfWideValuesWhileWritersAreKilled) {
    stress<64>();
}

TEST(Guarded, ThreadsReadWholeValuesBesideAWriter) {
    const Watchdog watchdog(60);
    const Guarded<Wide<16>> sut(all<16>(0));
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    for (int count = 0; count < 2; ++count) {
        readers.emplace_back([&] {
            std::uint64_t last = 0;
            while (!stop.load()) {
                const Wide<16> value = sut.read();
                EXPECT_TRUE(is_whole(value));
                EXPECT_GE(value.words[0], last);
                last = value.words[0];
            }
        });
    }
    for (std::uint64_t number = 1; number <= 2000; ++number) {
        sut.store(all<16>(number));
    }
    stop.store(true);
    for (std::thread& reader : readers) {
        reader.join();
    }
    EXPECT_EQ(sut.version(), 2000U);
}

}  // namespace
}  // namespace sluice
