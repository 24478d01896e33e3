// Queue, Slot and Lease inside one process: every operation in every form, and every kind of value.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <map>
#include <optional>
#include <sluice/msgpack.hpp>
#include <sluice/pipe.hpp>
#include <sluice/queue.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "core/support.hpp"
#include "support/text.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::Queue;
using sluice::QueueOptions;
using sluice::test::message_of;
using sluice::testing::UniqueName;

constexpr auto kShort = 2ms;

struct Tick {
    std::uint64_t id{};
    double price{};
    std::array<char, 12> symbol{};
    bool operator==(const Tick&) const = default;
};

struct alignas(64) Wide {
    std::array<std::uint64_t, 16> words{};
    bool operator==(const Wide&) const = default;
};

/// A plain value that cannot be made out of nothing.
class Price {
 public:
    explicit Price(int ticks) : ticks_(ticks) {}
    [[nodiscard]] int ticks() const { return ticks_; }

 private:
    int ticks_;
};

/// A packable one.
struct Order {
    std::string symbol{};
    std::vector<int> fills{};
    bool operator==(const Order&) const = default;
    MSGPACK_DEFINE(symbol, fills)
};

}  // namespace

template <>
inline constexpr bool sluice::is_shareable<Price> = true;

namespace {

template <class T>
void expect_round_trip(const T& value) {
    const Queue<T> sut(4);
    sut.put(value);
    EXPECT_EQ(sut.get(), value);
    // Once round the ring: every slot, and a slot used again.
    for (int turn = 0; turn < 9; ++turn) {
        EXPECT_TRUE(sut.try_put(value));
        EXPECT_EQ(sut.lease().operator*(), value);  // given back at once
        const std::optional<T> taken = sut.try_get();
        ASSERT_TRUE(taken.has_value());
        EXPECT_EQ(*taken, value);
    }
    EXPECT_TRUE(sut.empty());
}

TEST(Queue, GivesMessagesBackInTheOrderTheyWerePut) {
    const Queue<int> sut;
    for (int i = 0; i < 1000; ++i) {
        sut.put(i);
    }
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(sut.get(), i);
    }
}

TEST(Queue, HasACapacityOf1024ByDefault) {
    EXPECT_EQ(Queue<int>().capacity(), 1024U);
}

TEST(Queue, RoundsItsCapacityUpToAPowerOfTwo) {
    EXPECT_EQ(Queue<int>(1).capacity(), 1U);
    EXPECT_EQ(Queue<int>(2).capacity(), 2U);
    EXPECT_EQ(Queue<int>(3).capacity(), 4U);
    EXPECT_EQ(Queue<int>(1000).capacity(), 1024U);
    EXPECT_EQ(Queue<int>(QueueOptions{.capacity = 1025}).capacity(), 2048U);
}

TEST(Queue, RefusesACapacityOfNothingOrOfTooMuch) {
    EXPECT_THROW(Queue<int>(0), std::invalid_argument);
    EXPECT_THROW(Queue<int>((std::size_t{1} << 26U) + 1), std::invalid_argument);
    EXPECT_THROW(Queue<int>(~std::size_t{0}), std::invalid_argument);
    EXPECT_NE(message_of<std::exception>([] { Queue<int>(0); }).find("Queue"), std::string::npos);
}

TEST(Queue, RefusesSlotsThatNoMemoryCouldHold) {
    EXPECT_ANY_THROW(Queue<std::string>(
        QueueOptions{.capacity = std::size_t{1} << 26U, .slot_bytes = std::size_t{1} << 40U}));
    EXPECT_ANY_THROW(Queue<std::string>(QueueOptions{.slot_bytes = ~std::size_t{0}}));
    EXPECT_ANY_THROW(Queue<std::string>(
        QueueOptions{.capacity = 1U << 24U, .slot_bytes = std::size_t{1} << 42U}));
}

TEST(Queue, OfEverySmallCapacityIsFifoAndBounded) {
    for (const std::size_t capacity : {1U, 2U, 4U, 8U}) {
        const Queue<std::size_t> sut(capacity);
        std::size_t next_put = 0;
        std::size_t next_get = 0;
        for (int round = 0; round < 100; ++round) {
            while (sut.try_put(next_put)) {
                ++next_put;
            }
            EXPECT_EQ(next_put - next_get, capacity);
            EXPECT_TRUE(sut.full());
            EXPECT_EQ(sut.size(), capacity);
            for (int taken = 0; taken <= round % 3; ++taken) {
                if (const auto value = sut.try_get()) {
                    EXPECT_EQ(*value, next_get++);
                    EXPECT_FALSE(sut.full());
                }
            }
        }
    }
}

TEST(Queue, TellsItsSizeAndWhetherItIsEmptyOrFull) {
    const Queue<int> sut(2);
    EXPECT_TRUE(sut.empty());
    EXPECT_FALSE(sut.full());
    EXPECT_EQ(sut.size(), 0U);
    sut.put(1);
    EXPECT_FALSE(sut.empty());
    EXPECT_FALSE(sut.full());
    EXPECT_EQ(sut.size(), 1U);
    sut.put(2);
    EXPECT_TRUE(sut.full());
    EXPECT_EQ(sut.size(), 2U);
}

TEST(Queue, TryAndTimedFormsSayNoWhereTheQueueIsFull) {
    const Queue<int> sut(1);
    EXPECT_TRUE(sut.try_put_for(1, kShort));
    EXPECT_FALSE(sut.try_put(2));
    EXPECT_FALSE(sut.try_put_for(2, kShort));
    EXPECT_FALSE(sut.try_put_for(2, 0s));
    EXPECT_FALSE(sut.try_put_for(2, -1h));
    EXPECT_FALSE(sut.try_put_until(2, std::chrono::steady_clock::now() + kShort));
    EXPECT_FALSE(sut.try_put_until(2, std::chrono::system_clock::now() + kShort));
    EXPECT_FALSE(sut.try_claim().has_value());
    EXPECT_FALSE(sut.try_claim_for(kShort).has_value());
    const std::array more{3, 4};
    EXPECT_EQ(sut.try_put_many(more), 0U);
    EXPECT_EQ(sut.try_put_many_for(more, kShort), 0U);
    EXPECT_EQ(sut.get(), 1);
    EXPECT_TRUE(sut.empty());
}

TEST(Queue, TryAndTimedFormsSayNoWhereTheQueueIsEmpty) {
    const Queue<int> sut(4);
    EXPECT_EQ(sut.try_get(), std::nullopt);
    EXPECT_EQ(sut.try_get_for(kShort), std::nullopt);
    EXPECT_EQ(sut.try_get_for(0s), std::nullopt);
    EXPECT_EQ(sut.try_get_for(-1h), std::nullopt);
    EXPECT_EQ(sut.try_get_until(std::chrono::steady_clock::now() + kShort), std::nullopt);
    EXPECT_EQ(sut.try_get_until(std::chrono::system_clock::now() - 1h), std::nullopt);
    EXPECT_FALSE(sut.try_lease().has_value());
    EXPECT_FALSE(sut.try_lease_for(kShort).has_value());
    std::array<int, 2> room{};
    EXPECT_EQ(sut.try_get_many(room), 0U);
    EXPECT_EQ(sut.try_get_many_for(room, kShort), 0U);
}

TEST(Queue, TimedFormsWaitAtLeastAsLongAsAsked) {
    const Queue<int> sut(1);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(sut.try_get_for(30ms), std::nullopt);
    EXPECT_GE(std::chrono::steady_clock::now() - start, 30ms);
}

TEST(Queue, TimedFormsTakeTheLongestDurationThereIs) {
    const Queue<int> sut(1);
    EXPECT_TRUE(sut.try_put_for(1, std::chrono::hours::max()));
    EXPECT_EQ(sut.try_get_for(std::chrono::nanoseconds::max()), 1);
    EXPECT_TRUE(sut.try_put_until(2, std::chrono::steady_clock::time_point::max()));
    EXPECT_EQ(sut.try_get_until(std::chrono::steady_clock::time_point::max()), 2);
}

TEST(Queue, BlockedGetIsWokenByAPutInEveryWayOfWaiting) {
    for (const sluice::Wait wait :
         {sluice::Wait::spin_then_park, sluice::Wait::spin, sluice::Wait::park}) {
        const Queue<int> there(QueueOptions{.capacity = 1, .wait = wait});
        const Queue<int> back(QueueOptions{.capacity = 1, .wait = wait});
        std::thread peer([&] {
            for (int i = 0; i < 200; ++i) {
                back.put(there.get() + 1);
            }
        });
        for (int i = 0; i < 200; ++i) {
            there.put(i);
            EXPECT_EQ(back.get(), i + 1);
        }
        peer.join();
    }
}

TEST(Queue, BlockedPutIsWokenByAGetInEveryWayOfWaiting) {
    for (const sluice::Wait wait :
         {sluice::Wait::spin_then_park, sluice::Wait::spin, sluice::Wait::park}) {
        const Queue<int> sut(QueueOptions{.capacity = 2, .wait = wait});
        std::thread producer([&] {
            for (int i = 0; i < 500; ++i) {
                sut.put(i);
            }
        });
        for (int i = 0; i < 500; ++i) {
            EXPECT_EQ(sut.get(), i);
        }
        producer.join();
    }
}

TEST(Queue, PutManyPutsAsManyAsFit) {
    const Queue<int> sut(4);
    const std::vector<int> values{1, 2, 3, 4, 5, 6};
    EXPECT_EQ(sut.put_many(values), 4U);
    EXPECT_EQ(sut.get(), 1);
    EXPECT_EQ(sut.try_put_many(std::span(values).subspan(4)), 1U);
    std::array<int, 8> taken{};
    EXPECT_EQ(sut.get_many(taken), 4U);
    EXPECT_EQ(taken, (std::array<int, 8>{2, 3, 4, 5}));
}

TEST(Queue, PutManyAndGetManyOfNothingDoNothing) {
    const Queue<int> sut(1);
    EXPECT_EQ(sut.put_many({}), 0U);
    EXPECT_EQ(sut.get_many({}), 0U);  // would block if it asked for one
    EXPECT_TRUE(sut.empty());
}

TEST(Queue, GetManyTakesOnlyWhatTheSpanHolds) {
    const Queue<std::string> sut(8);
    const std::vector<std::string> values{"a", "b", "c"};
    EXPECT_EQ(sut.put_many(values), 3U);
    std::array<std::string, 2> room;
    EXPECT_EQ(sut.get_many(room), 2U);
    EXPECT_EQ(room[1], "b");
    EXPECT_EQ(sut.size(), 1U);
}

TEST(Queue, PutManyAndGetManyMoveEverythingBetweenThreads) {
    const Queue<std::uint32_t> sut(16);
    constexpr std::uint32_t kCount = 20'000;
    std::thread producer([&] {
        std::vector<std::uint32_t> values(kCount);
        for (std::uint32_t i = 0; i < kCount; ++i) {
            values[i] = i;
        }
        for (std::span<const std::uint32_t> rest = values; !rest.empty();) {
            rest = rest.subspan(sut.put_many(rest));
        }
    });
    std::array<std::uint32_t, 24> room{};
    for (std::uint32_t next = 0; next < kCount;) {
        const std::size_t count = sut.get_many(room);
        ASSERT_GT(count, 0U);
        for (std::size_t i = 0; i < count; ++i) {
            ASSERT_EQ(room[i], next++);
        }
    }
    producer.join();
}

TEST(Queue, CarriesPlainValues) {
    expect_round_trip<char>('x');
    expect_round_trip<std::uint64_t>(~0ULL);
    expect_round_trip(Tick{7, 61659.7, {'b', 't', 'c'}});
    expect_round_trip(std::array<int, 5>{1, 2, 3, 4, 5});
    expect_round_trip(std::optional<double>(2.5));
    expect_round_trip(std::optional<double>());
    expect_round_trip(std::pair<char, std::int64_t>('p', -1));
    expect_round_trip(std::tuple<char, double, std::pair<short, bool>>('t', 0.5, {short{3}, true}));
    expect_round_trip(std::chrono::nanoseconds(17));
}

TEST(Queue, CarriesPlainValuesOfSeveralPages) {
    std::array<std::uint32_t, 5000> large{};
    for (std::uint32_t i = 0; i < large.size(); ++i) {
        large[i] = i * i;
    }
    expect_round_trip(large);
}

TEST(Queue, KeepsTheAlignmentOfOverAlignedValues) {
    Wide value;
    value.words.fill(0x0123'4567'89ab'cdefULL);
    expect_round_trip(value);
    const Queue<Wide> sut(2);
    for (int i = 0; i < 4; ++i) {
        auto slot = sut.claim();
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&*slot) % alignof(Wide), 0U);
        slot.publish();
        auto lease = sut.lease();
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&*lease) % alignof(Wide), 0U);
        lease.commit();
    }
}

TEST(Queue, CarriesValuesThatHaveNoDefaultConstructor) {
    static_assert(!std::is_default_constructible_v<Price>);
    const Queue<Price> sut(2);
    sut.put(Price(42));
    EXPECT_EQ(sut.try_put_for(Price(43), kShort), true);
    EXPECT_EQ(sut.get().ticks(), 42);
    auto lease = sut.lease();
    EXPECT_EQ(lease->ticks(), 43);
    lease.commit();
}

TEST(Queue, CarriesPackedValues) {
    expect_round_trip<std::string>("hello");
    expect_round_trip<std::string>("");
    expect_round_trip(std::string("with\0zero", 9));
    expect_round_trip(std::vector<int>{});
    expect_round_trip(std::vector<std::string>{"a", "", "ccc"});
    expect_round_trip(std::map<std::string, std::vector<double>>{{"x", {1.5}}, {"y", {}}});
    expect_round_trip(std::optional<std::string>("there"));
    expect_round_trip(std::optional<std::string>());
    expect_round_trip(Order{"btcusdt", {1, 2, 3}});
    expect_round_trip(std::variant<int, std::string>("text"));
}

TEST(Queue, CarriesTheTuplesOfTheTutorial) {
    expect_round_trip(std::tuple<int, std::string, std::string>(42, "user_0", "hello"));
    expect_round_trip(std::tuple<int, std::monostate, std::string>(42, {}, "hello"));
}

TEST(Queue, CarriesValuesOfEveryLengthAroundTheSlotsEnd) {
    const Queue<std::string> sut(2);
    for (std::size_t length = 0; length < 600; ++length) {
        const std::string value(length, static_cast<char>('a' + length % 26));
        sut.put(value);
        ASSERT_EQ(sut.get(), value);
    }
}

TEST(Queue, SlotBytesSayHowMuchOfAPackedValueLiesInItsSlot) {
    for (const std::size_t slot_bytes : {1U, 8U, 64U, 1000U, 100'000U}) {
        const Queue<std::string> sut(QueueOptions{.capacity = 2, .slot_bytes = slot_bytes});
        for (const std::size_t length : {0U, 1U, 7U, 63U, 64U, 1000U, 5000U, 100'000U}) {
            const std::string value(length, 'v');
            sut.put(value);
            ASSERT_EQ(sut.get(), value) << slot_bytes << ' ' << length;
        }
    }
}

TEST(Queue, GivesTheMemoryOfLargeValuesBack) {
    const Queue<std::string> sut(4);
    const std::uint64_t before = sut.memory_bytes();
    const std::string large(10U << 20U, 'x');
    for (int round = 0; round < 3; ++round) {
        sut.put(large);
        sut.put(large);
        EXPECT_GE(sut.memory_bytes(), before + 2 * large.size());
        EXPECT_EQ(sut.get(), large);
        EXPECT_EQ(sut.get(), large);
    }
    // A slot may keep a little for its next value; 64 KiB as it is written.
    EXPECT_LE(sut.memory_bytes(), before + 4 * (64U << 10U) + 4096);
}

TEST(Queue, GivesTheMemoryOfALargeLeaseAndOfALargeDroppedSlotBack) {
    const Queue<std::string> sut(4);
    const std::uint64_t before = sut.memory_bytes();
    sut.put(std::string(1U << 20U, 'x'));
    {
        auto lease = sut.lease();
        EXPECT_EQ(lease->size(), 1U << 20U);
        lease.commit();
    }
    {
        auto slot = sut.claim();
        *slot = std::string(1U << 20U, 'y');  // never published: nothing is written
    }
    sut.put("small");
    EXPECT_EQ(sut.get(), "small");
    EXPECT_LE(sut.memory_bytes(), before + (64U << 10U) + 4096);
}

TEST(Queue, CopiesOfAHandleLeadToTheSameQueue) {
    const Queue<int> sut(4);
    const Queue<int> copy = sut;  // NOLINT: the copy is the point
    copy.put(5);
    EXPECT_EQ(sut.get(), 5);
    Queue<int> assigned(1);
    assigned = sut;
    assigned.put(6);
    EXPECT_EQ(copy.get(), 6);
    EXPECT_EQ(assigned.capacity(), 4U);
}

TEST(Queue, LivesAsLongAsItsLastCopy) {
    std::optional<Queue<int>> sut(std::in_place, 4U);
    sut->put(1);
    const Queue<int> copy = *sut;
    sut.reset();
    EXPECT_EQ(copy.get(), 1);
}

TEST(Queue, ClosingForbidsPuttingAndDrains) {
    const Queue<int> sut(4);
    EXPECT_FALSE(sut.closed());
    sut.put(1);
    sut.put(2);
    sut.close();
    sut.close();
    EXPECT_TRUE(sut.closed());
    EXPECT_THROW(sut.put(3), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.try_put(3)), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.try_put_for(3, 1h)), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.claim()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.try_claim()), sluice::Closed);
    EXPECT_EQ(sut.get(), 1);
    EXPECT_EQ(sut.try_get(), 2);
    EXPECT_THROW(static_cast<void>(sut.get()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.try_get()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.try_get_for(1h)), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.lease()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.try_lease()), sluice::Closed);
    std::array<int, 1> room{};
    EXPECT_THROW(static_cast<void>(sut.get_many(room)), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.put_many(room)), sluice::Closed);
}

TEST(Queue, ClosedWhenFullStillThrows) {
    const Queue<int> sut(1);
    sut.put(1);
    sut.close();
    EXPECT_THROW(static_cast<void>(sut.try_put(2)), sluice::Closed);
    EXPECT_THROW(sut.put(2), sluice::Closed);
    EXPECT_EQ(sut.get(), 1);
    EXPECT_THROW(static_cast<void>(sut.try_get()), sluice::Closed);
}

TEST(Queue, GetManyReportsWhatItDrainedBeforeItThrows) {
    const Queue<int> sut(4);
    sut.put(1);
    sut.put(2);
    sut.close();
    std::array<int, 4> room{};
    EXPECT_EQ(sut.get_many(room), 2U);
    EXPECT_THROW(static_cast<void>(sut.get_many(room)), sluice::Closed);
}

TEST(Queue, ALeaseHeldAtCloseAndDroppedGoesToAnotherGetter) {
    const Queue<int> sut(4);
    sut.put(1);
    std::optional<sluice::Lease<int>> lease(sut.lease());
    sut.close();
    EXPECT_EQ(sut.try_get(), std::nullopt);  // not drained: it may come back
    std::atomic<int> got{0};
    std::thread getter([&] { got = sut.get(); });
    lease.reset();
    getter.join();
    EXPECT_EQ(got, 1);
    EXPECT_THROW(static_cast<void>(sut.get()), sluice::Closed);
}

TEST(Queue, ALeaseHeldAtCloseAndCommittedLetsWaitingGettersGo) {
    const Queue<int> sut(4);
    sut.put(1);
    auto lease = sut.lease();
    sut.close();
    std::array<std::thread, 3> getters;
    std::atomic<int> closed{0};
    for (auto& getter : getters) {
        getter = std::thread([&] {
            try {
                static_cast<void>(sut.get());
            } catch (const sluice::Closed&) {
                ++closed;
            }
        });
    }
    lease.commit();
    for (auto& getter : getters) {
        getter.join();
    }
    EXPECT_EQ(closed, 3);
}

TEST(Queue, ASlotClaimedBeforeCloseAndPublishedAfterItArrives) {
    const Queue<int> sut(4);
    auto slot = sut.claim();
    sut.close();
    EXPECT_EQ(sut.try_get(), std::nullopt);  // pending
    *slot = 9;
    slot.publish();
    EXPECT_EQ(sut.get(), 9);
    EXPECT_THROW(static_cast<void>(sut.get()), sluice::Closed);
}

TEST(Queue, NamesItselfInItsErrors) {
    const UniqueName name("errors");
    const auto sut = Queue<int>::create(name);
    EXPECT_EQ(sut.name(), name.text());
    sut.close();
    const std::string text = message_of<std::exception>([&] { sut.put(1); });
    EXPECT_NE(text.find(name.text()), std::string::npos) << text;
    EXPECT_EQ(Queue<int>().name(), "");
}

TEST(Queue, OpensByNameWhatWasCreated) {
    const UniqueName name("open");
    const auto sut = Queue<std::string>::create(name, {.capacity = 5});
    const auto opened = Queue<std::string>::open(name);
    EXPECT_EQ(opened.capacity(), 8U);
    sut.put("one");
    EXPECT_EQ(opened.get(), "one");
    opened.put("two");
    EXPECT_EQ(sut.get(), "two");
    opened.put(std::string(1U << 20U, 'l'));
    EXPECT_EQ(sut.get().size(), 1U << 20U);
}

TEST(Queue, OpensByNameWhatHasSlotsOfItsOwnSize) {
    const UniqueName name("slots");
    const auto sut = Queue<std::string>::create(name, {.capacity = 4, .slot_bytes = 2000});
    const auto opened = Queue<std::string>::open(name);
    const auto again = Queue<std::string>::open_or_create(name);
    const std::string value(1500, 's');
    sut.put(value);
    EXPECT_EQ(opened.get(), value);
    again.put(value);
    again.put(value + value);
    EXPECT_EQ(sut.get(), value);
    EXPECT_EQ(opened.get(), value + value);
}

TEST(Queue, KeepsTheContentOfANamedQueueThatNobodyHasOpen) {
    const UniqueName name("kept");
    { Queue<int>::create(name, {.capacity = 4}).put(7); }
    EXPECT_EQ(Queue<int>::open(name).get(), 7);
}

TEST(Queue, OpenOrCreateMakesItOnceAndThenOpensIt) {
    const UniqueName name("either");
    const auto sut = Queue<int>::open_or_create(name, {.capacity = 16});
    const auto again = Queue<int>::open_or_create(name, {.capacity = 2});
    EXPECT_EQ(again.capacity(), 16U);
    sut.put(3);
    EXPECT_EQ(again.get(), 3);
}

TEST(Queue, OpenOrCreateByManyThreadsMakesOneQueue) {
    for (int round = 0; round < 20; ++round) {
        const UniqueName name("race");
        const Queue<int> results(16);
        std::vector<std::thread> threads;
        for (int i = 0; i < 6; ++i) {
            threads.emplace_back(
                [&, i] { Queue<int>::open_or_create(name, {.capacity = 8}).put(i); });
        }
        for (auto& thread : threads) {
            thread.join();
        }
        EXPECT_EQ(Queue<int>::open(name).size(), 6U);
    }
}

TEST(Queue, CreatingATakenNameIsAnErrorOfTheSystem) {
    const UniqueName name("taken");
    const auto sut = Queue<int>::create(name);
    try {
        Queue<int>::create(name);
        FAIL() << "it was created twice";
    } catch (const std::system_error& error) {
        EXPECT_EQ(error.code(), std::errc::file_exists);
        EXPECT_NE(std::string(error.what()).find(name.text()), std::string::npos) << error.what();
    }
}

TEST(Queue, OpeningWhatIsNotThereIsAnErrorOfTheSystem) {
    const UniqueName name("absent");
    for (const auto& action : {std::function<void()>([&] { Queue<int>::open(name); }),
                               std::function<void()>([&] { Queue<int>::unlink(name); })}) {
        try {
            action();
            FAIL() << "it was there";
        } catch (const std::system_error& error) {
            EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
            EXPECT_NE(std::string(error.what()).find(name.text()), std::string::npos)
                << error.what();
        }
    }
}

TEST(Queue, RefusesNamesThatAreNoWords) {
    for (const std::string& bad :
         {std::string(), std::string("a/b"), std::string("../x"), std::string(".hidden"),
          std::string(300, 'x'), std::string("nul\0inside", 10), std::string("white space")}) {
        EXPECT_THROW(Queue<int>::create(bad), std::invalid_argument) << bad;
        EXPECT_THROW(Queue<int>::open(bad), std::invalid_argument) << bad;
        EXPECT_THROW(Queue<int>::open_or_create(bad), std::invalid_argument) << bad;
        EXPECT_THROW(Queue<int>::unlink(bad), std::invalid_argument) << bad;
    }
}

TEST(Queue, UnlinkedGoesOnForWhoHasItOpen) {
    const UniqueName name("unlinked");
    const auto sut = Queue<int>::create(name);
    const auto other = Queue<int>::open(name);
    Queue<int>::unlink(name);
    sut.put(1);
    EXPECT_EQ(other.get(), 1);
    EXPECT_THROW(Queue<int>::open(name), std::system_error);
    const auto fresh = Queue<int>::create(name);
    EXPECT_TRUE(fresh.empty());
}

TEST(Queue, RefusesToOpenAQueueOfAnotherType) {
    const UniqueName name("type");
    const auto sut = Queue<int>::create(name);
    EXPECT_THROW(Queue<unsigned>::open(name), sluice::BadSegment);
    EXPECT_THROW(Queue<double>::open_or_create(name), sluice::BadSegment);
    EXPECT_THROW(Queue<std::string>::open(name), sluice::BadSegment);
    const std::string text = message_of<std::exception>([&] { Queue<std::string>::open(name); });
    EXPECT_NE(text.find(name.text()), std::string::npos) << text;
    EXPECT_NE(text.find("int"), std::string::npos) << text;
}

TEST(Queue, RefusesToOpenWhatIsNoQueue) {
    const UniqueName pipe("pipe");
    const auto made = sluice::Pipe<int>::create(pipe);
    EXPECT_THROW(Queue<int>::open(pipe), sluice::BadSegment);

    const UniqueName file("file");
    std::ofstream(file.path()) << std::string(100'000, 'x');
    EXPECT_THROW(Queue<int>::open(file), sluice::BadSegment);
    const UniqueName empty("empty");
    { const std::ofstream made_empty(empty.path()); }
    EXPECT_THROW(Queue<int>::open(empty), sluice::BadSegment);
}

TEST(Queue, RefusesToOpenATruncatedQueue) {
    const UniqueName name("cut");
    { const auto sut = Queue<int>::create(name); }
    ASSERT_EQ(::truncate(name.path().c_str(), 4096), 0);
    EXPECT_THROW(Queue<int>::open(name), sluice::BadSegment);
}

TEST(Queue, HasThePermissionsThatWereAskedFor) {
    const UniqueName secret("mode");
    const UniqueName common("mode");
    const ::mode_t mask = ::umask(0);
    const auto first = Queue<int>::create(secret);
    const auto second = Queue<int>::create(common, {.permissions = 0660});
    ::umask(mask);
    struct stat info {};
    ASSERT_EQ(::stat(secret.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
    ASSERT_EQ(::stat(common.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0660U);
}

TEST(Queue, LeavesNoFileOfAnAnonymousQueueInShm) {
    const Queue<int> sut;
    EXPECT_EQ(sut.name(), "");
    EXPECT_GT(sut.memory_bytes(), 0U);
}

TEST(Queue, JoinReturnsWhenEveryMessageWasReportedDone) {
    const Queue<int> sut(8);
    sut.join();  // nothing was put
    EXPECT_TRUE(sut.try_join());
    sut.put(1);
    sut.put(2);
    EXPECT_FALSE(sut.try_join());
    EXPECT_FALSE(sut.try_join_for(kShort));
    EXPECT_EQ(sut.get(), 1);
    EXPECT_EQ(sut.get(), 2);
    EXPECT_FALSE(sut.try_join());
    sut.task_done();
    EXPECT_FALSE(sut.try_join());
    sut.task_done();
    EXPECT_TRUE(sut.try_join());
    sut.join();
    EXPECT_THROW(sut.task_done(), sluice::Error);
    EXPECT_TRUE(sut.try_join());
}

TEST(Queue, JoinCountsCommittedLeasesAndNotDroppedOnes) {
    const Queue<int> sut(4);
    sut.put(1);
    { const auto dropped = sut.lease(); }
    EXPECT_THROW(
        {
            sut.task_done();  // it is in the queue again, nobody has got it
            sut.task_done();
        },
        sluice::Error);
    const Queue<int> other(4);
    other.put(1);
    auto lease = other.lease();
    EXPECT_FALSE(other.try_join());
    lease.commit();
    EXPECT_FALSE(other.try_join());
    other.task_done();
    EXPECT_TRUE(other.try_join());
}

TEST(Queue, JoinWaitsForWorkerThreads) {
    const Queue<int> sut(4);
    std::atomic<int> done{0};
    std::vector<std::thread> workers;
    for (int i = 0; i < 3; ++i) {
        workers.emplace_back([&] {
            try {
                for (;;) {
                    static_cast<void>(sut.get());
                    done.fetch_add(1);
                    sut.task_done();
                }
            } catch (const sluice::Closed&) {
            }
        });
    }
    for (int i = 0; i < 300; ++i) {
        sut.put(i);
    }
    sut.join();
    EXPECT_EQ(done, 300);
    sut.close();
    for (auto& worker : workers) {
        worker.join();
    }
}

TEST(Queue, TasksGotByOneThreadMayBeReportedByOthersThatEnd) {
    const Queue<int> sut(8);
    for (int i = 0; i < 5; ++i) {
        sut.put(i);
        static_cast<void>(sut.get());
    }
    for (int i = 0; i < 5; ++i) {
        EXPECT_FALSE(sut.try_join());
        std::thread([&] { sut.task_done(); }).join();
    }
    EXPECT_TRUE(sut.try_join());
    EXPECT_THROW(sut.task_done(), sluice::Error);
    EXPECT_TRUE(sut.try_join());
}

TEST(Slot, BuildsAMessageInPlace) {
    const Queue<Tick> sut(4);
    auto slot = sut.claim();
    EXPECT_EQ(*slot, Tick{});
    EXPECT_EQ(sut.try_get(), std::nullopt);  // not published yet
    slot->id = 5;
    slot.publish();
    EXPECT_EQ(sut.get().id, 5U);
}

TEST(Slot, BuildsAPackedMessage) {
    const Queue<std::string> sut(4);
    auto slot = sut.claim();
    slot->append("built");
    slot.publish();
    auto timed = sut.try_claim_for(1h);
    ASSERT_TRUE(timed.has_value());
    **timed = std::string(100'000, 'b');
    timed->publish();
    EXPECT_EQ(sut.get(), "built");
    EXPECT_EQ(sut.get().size(), 100'000U);
}

TEST(Slot, BuildsPairsAndTuples) {
    const Queue<std::pair<int, double>> sut(4);
    auto slot = sut.claim();
    slot->first = 3;
    slot->second = 0.25;
    slot.publish();
    EXPECT_EQ(sut.get(), (std::pair<int, double>(3, 0.25)));
}

TEST(Slot, DroppedIsPassedBy) {
    const Queue<int> sut(2);
    for (int i = 0; i < 10; ++i) {
        { const auto dropped = sut.claim(); }
        sut.put(i);
        EXPECT_EQ(sut.get(), i);
    }
    EXPECT_EQ(sut.try_get(), std::nullopt);
    EXPECT_TRUE(sut.try_join() || true);
}

TEST(Slot, DroppedByEverybodyLeavesTheQueueUsable) {
    const Queue<int> sut(4);
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(sut.try_claim().has_value()) << i;
    }
    sut.put(1);
    EXPECT_EQ(sut.get(), 1);
}

TEST(Slot, PublishesOnce) {
    const Queue<int> sut(4);
    auto slot = sut.claim();
    auto moved = std::move(slot);
    EXPECT_THROW(slot.publish(), sluice::Error);  // NOLINT: it was moved from
    moved.publish();
    EXPECT_THROW(moved.publish(), sluice::Error);
    EXPECT_EQ(sut.size(), 1U);
}

TEST(Slot, ClaimedFirstHoldsUpTheYoungerMessages) {
    const Queue<int> sut(4);
    auto slot = sut.claim();
    sut.put(2);
    EXPECT_EQ(sut.try_get(), std::nullopt);  // FIFO by claim
    EXPECT_EQ(sut.try_get_for(kShort), std::nullopt);
    *slot = 1;
    slot.publish();
    EXPECT_EQ(sut.get(), 1);
    EXPECT_EQ(sut.get(), 2);
}

TEST(Lease, ShowsTheMessageInPlaceAndTakesItByCommit) {
    const Queue<Tick> sut(4);
    sut.put(Tick{9, 1.5, {}});
    auto lease = sut.lease();
    EXPECT_EQ(lease->id, 9U);
    EXPECT_EQ(sut.try_get(), std::nullopt);
    lease.commit();
    EXPECT_EQ(sut.try_get(), std::nullopt);
    EXPECT_TRUE(sut.empty());
    EXPECT_THROW(lease.commit(), sluice::Error);
}

TEST(Lease, DroppedGivesTheMessageBackOnce) {
    const Queue<std::string> sut(4);
    sut.put("one");
    sut.put("two");
    for (int i = 0; i < 100; ++i) {
        const auto lease = sut.try_lease();
        ASSERT_TRUE(lease.has_value());
        EXPECT_EQ(**lease, "one");
    }
    EXPECT_EQ(sut.get(), "one");
    EXPECT_EQ(sut.get(), "two");
    EXPECT_EQ(sut.try_get(), std::nullopt);
}

TEST(Lease, DroppedIsTakenByAThreadThatWaits) {
    const Queue<int> sut(4);
    sut.put(1);
    std::optional<sluice::Lease<int>> lease(sut.lease());
    std::atomic<int> got{0};
    std::thread getter([&] { got = sut.get(); });
    lease.reset();
    getter.join();
    EXPECT_EQ(got, 1);
}

TEST(Lease, PinsItsSlotSoThatCapacityLessOnePutsSucceed) {
    const Queue<int> sut(4);
    sut.put(0);
    auto lease = sut.lease();
    for (int round = 0; round < 3; ++round) {
        int put = 0;
        while (sut.try_put(put + 1)) {
            ++put;
        }
        // In the first round the three slots behind; then nothing more, whatever is taken in front.
        EXPECT_EQ(put, round == 0 ? 3 : 0);
        if (round == 0) {
            for (int i = 1; i <= 3; ++i) {
                EXPECT_EQ(sut.get(), i);
            }
        }
    }
    lease.commit();
    EXPECT_TRUE(sut.try_put(5));
    EXPECT_EQ(sut.get(), 5);
}

TEST(Lease, MovesAndCommitsOnce) {
    const Queue<int> sut(4);
    sut.put(1);
    auto lease = sut.lease();
    auto moved = std::move(lease);
    EXPECT_EQ(*moved, 1);
    EXPECT_THROW(lease.commit(), sluice::Error);  // NOLINT: it was moved from
    moved.commit();
    EXPECT_TRUE(sut.empty());
}

TEST(Lease, OutlivesTheHandleItCameFrom) {
    const UniqueName name("lease");
    const auto watcher = Queue<int>::create(name);
    watcher.put(1);
    {
        std::optional<Queue<int>> handle(Queue<int>::open(name));
        auto lease = handle->lease();
        handle.reset();
        EXPECT_EQ(*lease, 1);
    }
    EXPECT_EQ(watcher.get(), 1);
}

TEST(Lease, OfAThreadThatEndedCommitsNothing) {
    const Queue<int> sut(4);
    sut.put(1);
    std::optional<sluice::Lease<int>> lease;
    std::thread([&] { lease.emplace(sut.lease()); }).join();
    // The claim died with its thread; whoever looks next gets the message again.
    EXPECT_EQ(sut.get(), 1);
    EXPECT_THROW(lease->commit(), sluice::Error);
    sut.put(2);
    lease.reset();
    EXPECT_EQ(sut.get(), 2);
    EXPECT_EQ(sut.try_get(), std::nullopt);
}

TEST(Queue, ManyThreadsOnOneHandleLoseAndDoubleNothing) {
    const Queue<std::uint32_t> sut(64);
    constexpr std::uint32_t kEach = 5000;
    constexpr std::uint32_t kProducers = 3;
    std::vector<std::atomic<int>> seen(kEach * kProducers);
    std::vector<std::thread> threads;
    for (std::uint32_t producer = 0; producer < kProducers; ++producer) {
        threads.emplace_back([&, producer] {
            for (std::uint32_t i = 0; i < kEach; ++i) {
                sut.put(producer * kEach + i);
            }
        });
    }
    std::vector<std::thread> consumers;
    std::atomic<bool> in_order{true};
    for (int consumer = 0; consumer < 3; ++consumer) {
        consumers.emplace_back([&] {
            std::array<std::uint32_t, kProducers> next{};
            try {
                for (;;) {
                    const std::uint32_t value = sut.get();
                    seen[value].fetch_add(1);
                    // What one consumer sees of one producer comes in order.
                    if (value % kEach + 1 <= next[value / kEach]) {
                        in_order = false;
                    }
                    next[value / kEach] = value % kEach + 1;
                }
            } catch (const sluice::Closed&) {
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    sut.close();
    for (auto& thread : consumers) {
        thread.join();
    }
    EXPECT_TRUE(in_order);
    for (const auto& count : seen) {
        ASSERT_EQ(count, 1);
    }
}

TEST(Queue, ManyQueuesInOneProcessKeepTheirMembersApart) {
    // More than the thread-local table of ids has entries, so that they displace each other.
    constexpr std::size_t kQueues = 230;
    std::vector<Queue<std::size_t>> suts;
    for (std::size_t i = 0; i < kQueues; ++i) {
        suts.emplace_back(std::size_t{2});
    }
    for (int round = 0; round < 5; ++round) {
        for (std::size_t i = 0; i < kQueues; ++i) {
            suts[i].put(i);
        }
        for (std::size_t i = 0; i < kQueues; ++i) {
            auto lease = suts[i].lease();
            ASSERT_EQ(*lease, i);
            lease.commit();
        }
    }
    suts.erase(suts.begin(), suts.begin() + 100);
    for (std::size_t i = 0; i < suts.size(); ++i) {
        suts[i].put(i);
        EXPECT_EQ(suts[i].get(), i);
    }
}

TEST(Queue, MadeAndDestroyedOverAndOverLeavesNothingBehind) {
    const auto descriptors = [] {
        std::size_t count = 0;
        for (int fd = 0; fd < 1024; ++fd) {
            count += ::fcntl(fd, F_GETFD) >= 0 ? 1U : 0U;
        }
        return count;
    };
    { const Queue<int> warm(2); }
    const std::size_t before = descriptors();
    for (int i = 0; i < 300; ++i) {
        const Queue<std::string> sut(2);
        sut.put("x");
        EXPECT_EQ(sut.get(), "x");
    }
    EXPECT_EQ(descriptors(), before);
}

TEST(Queue, NamedOpenedOverAndOverDoesNotUseItsPlacesUp) {
    const UniqueName name("again");
    const auto sut = Queue<int>::create(name, {.capacity = 4});
    for (int i = 0; i < 1200; ++i) {
        const auto opened = Queue<int>::open(name);
        opened.put(i);
        ASSERT_EQ(sut.get(), i);
    }
}

TEST(Queue, ThreadsThatComeAndGoDoNotUseItsPlacesUp) {
    const Queue<int> sut(4);
    for (int i = 0; i < 2000; ++i) {
        std::thread([&] { sut.put(i); }).join();
        ASSERT_EQ(sut.get(), i);
    }
}

TEST(Queue, SaysSoWhenLivingThreadsHaveTakenAllPlaces) {
    const Queue<int> sut(1024);
    std::atomic<int> joined{0};
    std::atomic<int> refused{0};
    std::atomic<bool> go_home{false};
    std::vector<std::thread> threads;
    constexpr int kThreads = 520;
    for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&] {
            try {
                sut.put(1);
                ++joined;
            } catch (const std::system_error& error) {
                refused += error.code() == std::errc::resource_unavailable_try_again ? 1 : 1000;
            }
            go_home.wait(false);
        });
    }
    sluice::testing::wait_until_true([&] { return joined + refused >= kThreads; });
    EXPECT_EQ(joined, 512);
    EXPECT_EQ(refused, kThreads - 512);
    go_home = true;
    go_home.notify_all();
    for (auto& thread : threads) {
        thread.join();
    }
    int taken = 0;  // now there are places again
    while (sut.try_get()) {
        ++taken;
    }
    EXPECT_EQ(taken, 512);
}

}  // namespace
