// Pipe and Connection inside one process: every operation in every form, plain and packed values,
// names.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
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

#include "core/pipe_messages.hpp"
#include "core/support.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::Pipe;
using sluice::PipeOptions;
using sluice::testing::UniqueName;

constexpr auto kShort = 2ms;

struct alignas(32) Quote {
    std::array<std::uint64_t, 12> levels{};
    bool operator==(const Quote&) const = default;
};

std::size_t open_descriptors() {
    std::size_t count = 0;
    for (int fd = 0; fd < 4096; ++fd) {
        count += ::fcntl(fd, F_GETFD) >= 0 ? 1U : 0U;
    }
    return count;
}

template <class T>
void expect_round_trips(const T& value) {
    const Pipe<T> sut(PipeOptions{.capacity = 4});
    for (int turn = 0; turn < 10; ++turn) {
        sut.first.send(value);
        EXPECT_TRUE(sut.second.try_send(value));
        EXPECT_EQ(sut.second.recv(), value);
        const std::optional<T> back = sut.first.try_recv();
        ASSERT_TRUE(back.has_value());
        EXPECT_EQ(*back, value);
    }
    EXPECT_FALSE(sut.first.poll());
}

template <class T>
class PipeOf : public sluice::testing::PipeMessages<T> {};
TYPED_TEST_SUITE(PipeOf, sluice::testing::MessageKinds, sluice::testing::NameOfKind);

TYPED_TEST(PipeOf, MovesMessagesBothWaysInOrder) {
    auto [one, two] = Pipe<TypeParam>();
    for (int i = 0; i < 1000; ++i) {
        one.send(this->make(i));
        two.send(this->make(-i));
    }
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(two.recv(), this->make(i));
        EXPECT_EQ(one.recv(), this->make(-i));
    }
}

TYPED_TEST(PipeOf, OneWayFirstReceivesAndSecondSends) {
    const Pipe<TypeParam> sut(PipeOptions{.duplex = false});
    sut.second.send(this->make(1));
    EXPECT_TRUE(sut.first.poll());
    EXPECT_EQ(sut.first.recv(), this->make(1));
    EXPECT_THROW(sut.first.send(this->make(1)), sluice::NotPermitted);
    EXPECT_THROW(static_cast<void>(sut.first.try_send(this->make(1))), sluice::NotPermitted);
    EXPECT_THROW(static_cast<void>(sut.second.recv()), sluice::NotPermitted);
    EXPECT_THROW(static_cast<void>(sut.second.try_recv()), sluice::NotPermitted);
    EXPECT_THROW(static_cast<void>(sut.second.poll()), sluice::NotPermitted);
}

TYPED_TEST(PipeOf, TryAndTimedFormsSayNoWhereItIsEmpty) {
    const Pipe<TypeParam> sut;
    EXPECT_FALSE(sut.first.poll());
    EXPECT_FALSE(sut.first.poll_for(kShort));
    EXPECT_FALSE(sut.first.poll_for(0s));
    EXPECT_EQ(sut.first.try_recv(), std::nullopt);
    EXPECT_EQ(sut.first.try_recv_for(kShort), std::nullopt);
    EXPECT_EQ(sut.first.try_recv_for(-1s), std::nullopt);
    EXPECT_EQ(sut.first.try_recv_until(std::chrono::steady_clock::now() + kShort), std::nullopt);
    EXPECT_EQ(sut.first.try_recv_until(std::chrono::system_clock::now() + kShort), std::nullopt);
    std::array<TypeParam, 2> room{};
    EXPECT_EQ(sut.first.try_recv_many(room), 0U);
    EXPECT_EQ(sut.first.recv_many({}), 0U);
    EXPECT_EQ(sut.first.send_many({}), 0U);
}

TYPED_TEST(PipeOf, TryAndTimedFormsSayNoWhereItIsFull) {
    const Pipe<TypeParam> sut(PipeOptions{.capacity = 2});
    int sent = 0;
    while (sut.first.try_send(this->make(sent))) {
        ++sent;
    }
    EXPECT_GE(sent, 2);
    EXPECT_FALSE(sut.first.try_send_for(this->make(0), kShort));
    EXPECT_FALSE(sut.first.try_send_for(this->make(0), 0s));
    EXPECT_FALSE(
        sut.first.try_send_until(this->make(0), std::chrono::steady_clock::now() + kShort));
    const std::array<TypeParam, 1> more{this->make(0)};
    EXPECT_EQ(sut.first.try_send_many(more), 0U);
    EXPECT_TRUE(sut.second.try_send(this->make(1)));  // the other direction is not
    for (int i = 0; i < sent; ++i) {
        EXPECT_EQ(sut.second.try_recv_for(1h), this->make(i));
    }
    EXPECT_EQ(sut.second.try_recv(), std::nullopt);
    EXPECT_TRUE(sut.first.try_send_for(this->make(3), std::chrono::hours::max()));
}

TYPED_TEST(PipeOf, SendManyAndRecvManyMoveAsManyAsFit) {
    const Pipe<TypeParam> sut(PipeOptions{.capacity = 4});
    std::vector<TypeParam> values;
    for (int i = 0; i < 20'000; ++i) {
        values.push_back(this->make(i));
    }
    std::span<const TypeParam> rest = values;
    const std::size_t first = sut.first.send_many(rest);
    EXPECT_GE(first, 4U);
    EXPECT_LT(first, values.size());
    rest = rest.subspan(first);
    std::thread sender([&] {
        while (!rest.empty()) {
            rest = rest.subspan(sut.first.send_many(rest));
        }
    });
    std::array<TypeParam, 7> room{};
    for (std::size_t next = 0; next < values.size();) {
        const std::size_t count = sut.second.recv_many(room);
        ASSERT_GT(count, 0U);
        for (std::size_t i = 0; i < count; ++i) {
            ASSERT_EQ(room[i], values[next++]);
        }
    }
    sender.join();
}

TYPED_TEST(PipeOf, PollSaysWhetherRecvWouldNotBlock) {
    const Pipe<TypeParam> sut;
    sut.first.send(this->make(1));
    EXPECT_TRUE(sut.second.poll());
    EXPECT_TRUE(sut.second.poll_for(1h));
    EXPECT_TRUE(sut.second.poll());  // takes nothing
    EXPECT_EQ(sut.second.recv(), this->make(1));
    EXPECT_FALSE(sut.second.poll());
    sut.first.close();
    EXPECT_TRUE(sut.second.poll());
    EXPECT_TRUE(sut.second.poll_for(1h));
    EXPECT_THROW(static_cast<void>(sut.second.recv()), sluice::Closed);
}

TYPED_TEST(PipeOf, PollForWakesUpForAMessage) {
    const Pipe<TypeParam> sut(PipeOptions{.wait = sluice::Wait::park});
    std::atomic<bool> found{false};
    std::thread poller([&] { found = sut.second.poll_for(1h); });
    sut.first.send(this->make(1));
    poller.join();
    EXPECT_TRUE(found);
}

TYPED_TEST(PipeOf, CloseLetsTheOtherEndDrainThenThrows) {
    const Pipe<TypeParam> sut;
    sut.first.send(this->make(1));
    sut.first.send(this->make(2));
    EXPECT_FALSE(sut.first.closed());
    sut.first.close();
    sut.first.close();
    EXPECT_TRUE(sut.first.closed());
    EXPECT_FALSE(sut.second.closed());
    EXPECT_THROW(sut.second.send(this->make(0)), sluice::Closed);
    EXPECT_EQ(sut.second.recv(), this->make(1));
    EXPECT_EQ(sut.second.try_recv(), this->make(2));
    EXPECT_THROW(static_cast<void>(sut.second.try_recv()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.second.try_recv_for(1h)), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.second.recv()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.second.try_send(this->make(0))), sluice::Closed);
    EXPECT_THROW(sut.first.send(this->make(0)), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.first.recv()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.first.poll()), sluice::Closed);
}

TYPED_TEST(PipeOf, ADestroyedEndIsClosed) {
    std::optional<Pipe<TypeParam>> sut(std::in_place);
    auto kept = sut->first;
    sut->second.send(this->make(1));
    sut.reset();
    EXPECT_EQ(kept.recv(), this->make(1));
    EXPECT_THROW(static_cast<void>(kept.recv()), sluice::Closed);
    EXPECT_THROW(kept.send(this->make(1)), sluice::Closed);
}

TYPED_TEST(PipeOf, AnEndThatNobodyEverUsedIsClosedWithItsLastCopy) {
    std::optional<Pipe<TypeParam>> sut(std::in_place);
    auto kept = sut->first;
    auto other = sut->second;
    sut.reset();
    EXPECT_FALSE(kept.poll());  // a copy is left
    other = kept;
    EXPECT_THROW(static_cast<void>(kept.recv()), sluice::Closed);
}

TYPED_TEST(PipeOf, CloseWakesAReceiverAndASenderThatSleep) {
    const Pipe<TypeParam> sut(PipeOptions{.capacity = 1, .wait = sluice::Wait::park});
    std::atomic<int> closed{0};
    std::thread receiver([&] {
        try {
            static_cast<void>(sut.first.recv());
        } catch (const sluice::Closed&) {
            ++closed;
        }
    });
    std::thread sender([&] {
        try {
            for (;;) {
                sut.first.send(this->make(1));
            }
        } catch (const sluice::Closed&) {
            ++closed;
        }
    });
    while (!sut.second.poll_for(1ms)) {
    }
    sut.second.close();
    receiver.join();
    sender.join();
    EXPECT_EQ(closed, 2);
}

TYPED_TEST(PipeOf, CopiesOfAnEndShareIt) {
    const Pipe<TypeParam> sut;
    const auto copy = sut.first;  // NOLINT: the copy is the point
    sut.first.send(this->make(1));
    copy.send(this->make(2));
    EXPECT_EQ(sut.second.recv(), this->make(1));
    EXPECT_EQ(sut.second.recv(), this->make(2));
    copy.close();
    EXPECT_TRUE(sut.first.closed());
}

TYPED_TEST(PipeOf, OneThreadADirectionMayUseAnEndAndBeTheFirst) {
    // Both threads of an end may be its first users at once: it is taken once, and no message is
    // lost by it.
    for (int round = 0; round < 100; ++round) {
        const Pipe<TypeParam> sut(PipeOptions{.capacity = 8});
        constexpr int kCount = 100;
        std::atomic<int> wrong{0};
        const auto send = [&](const auto& end) {
            for (int i = 0; i < kCount; ++i) {
                end.send(this->make(i));
            }
        };
        const auto receive = [&](const auto& end) {
            for (int i = 0; i < kCount; ++i) {
                const auto value = end.recv();
                wrong += value == this->make(i) ? 0 : 1;
            }
        };
        std::array<std::thread, 4> threads{
            std::thread([&] { send(sut.first); }), std::thread([&] { receive(sut.first); }),
            std::thread([&] { send(sut.second); }), std::thread([&] { receive(sut.second); })};
        for (auto& thread : threads) {
            thread.join();
        }
        ASSERT_EQ(wrong, 0);
    }
}

TYPED_TEST(PipeOf, EveryWayOfWaitingWorks) {
    for (const sluice::Wait wait :
         {sluice::Wait::spin_then_park, sluice::Wait::spin, sluice::Wait::park}) {
        const Pipe<TypeParam> sut(PipeOptions{.capacity = 2, .wait = wait});
        std::thread echo([&] {
            try {
                for (;;) {
                    sut.second.send(sut.second.recv());
                }
            } catch (const sluice::Closed&) {
            }
        });
        for (int i = 0; i < 200; ++i) {
            sut.first.send(this->make(i));
            ASSERT_EQ(sut.first.recv(), this->make(i));
        }
        sut.first.close();
        echo.join();
    }
}

TYPED_TEST(PipeOf, OpensByName) {
    const UniqueName name("pipe");
    const auto sut = Pipe<TypeParam>::create(name, {.capacity = 8});
    const auto opened = Pipe<TypeParam>::open(name);
    const auto either = Pipe<TypeParam>::open_or_create(name);
    sut.first.send(this->make(1));
    EXPECT_EQ(opened.second.recv(), this->make(1));
    EXPECT_THROW(Pipe<TypeParam>::create(name), std::system_error);
    Pipe<TypeParam>::unlink(name);
    EXPECT_THROW(Pipe<TypeParam>::open(name), std::system_error);
    EXPECT_THROW(Pipe<TypeParam>::unlink(name), std::system_error);
    EXPECT_THROW(Pipe<TypeParam>::create(""), std::invalid_argument);
    EXPECT_THROW(Pipe<TypeParam>::open("a/b"), std::invalid_argument);
}

TYPED_TEST(PipeOf, ANameHoldsTheEndThatNobodyHasOpenedYet) {
    const UniqueName name("half");
    const auto mine = Pipe<TypeParam>::create(name).first;
    EXPECT_EQ(mine.try_recv_for(kShort), std::nullopt);
    EXPECT_FALSE(mine.poll());
    mine.send(this->make(1));
    const auto theirs = Pipe<TypeParam>::open(name).second;
    EXPECT_EQ(theirs.recv(), this->make(1));
    theirs.send(this->make(2));
    EXPECT_EQ(mine.recv(), this->make(2));
    theirs.close();
    EXPECT_THROW(static_cast<void>(mine.recv()), sluice::Closed);
}

TYPED_TEST(PipeOf, RefusesACapacityOfNothing) {
    EXPECT_THROW(Pipe<TypeParam>(PipeOptions{.capacity = 0}), std::invalid_argument);
    EXPECT_THROW(Pipe<TypeParam>(PipeOptions{.capacity = ~std::size_t{0}}), std::invalid_argument);
}

TYPED_TEST(PipeOf, MadeAndDestroyedOverAndOverLeavesNoDescriptor) {
    { const Pipe<TypeParam> warm; }
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 100; ++i) {
        const Pipe<TypeParam> sut(PipeOptions{.capacity = 2});
        sut.first.send(this->make(1));
        EXPECT_EQ(sut.second.recv(), this->make(1));
        sut.second.close();
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(Pipe, CarriesPlainValues) {
    expect_round_trips<char>('x');
    expect_round_trips<std::uint64_t>(~0ULL);
    expect_round_trips(std::array<char, 3>{'a', 'b', 'c'});
    expect_round_trips(std::array<char, 24>{'2', '4'});
    expect_round_trips(std::array<char, 56>{'5', '6'});
    expect_round_trips(std::array<char, 57>{'5', '7'});
    expect_round_trips(std::array<char, 5000>{'5', '0'});
    expect_round_trips(Quote{{1, 2, 3}});
    expect_round_trips(std::pair<char, double>('p', 0.5));
    expect_round_trips(std::tuple<int, std::optional<short>>(1, short{2}));
}

TEST(Pipe, CarriesPackedValues) {
    expect_round_trips<std::string>("");
    expect_round_trips(std::vector<std::string>{"a", ""});
    expect_round_trips(std::map<int, std::string>{{1, "x"}});
    expect_round_trips(std::tuple<int, std::monostate, std::string>(42, {}, "hello"));
    expect_round_trips(std::tuple<int, std::optional<int>, std::string>(42, {}, "hello"));
}

TEST(Pipe, HoldsAsManyPlainMessagesAsItsCapacitySays) {
    for (const std::size_t capacity : {1U, 2U, 3U, 8U}) {
        const Pipe<int> sut(PipeOptions{.capacity = capacity});
        std::size_t sent = 0;
        while (sut.first.try_send(static_cast<int>(sent))) {
            ++sent;
        }
        EXPECT_EQ(sent, std::bit_ceil(capacity));
        for (std::size_t round = 0; round < 20; ++round) {
            EXPECT_EQ(sut.second.recv(), static_cast<int>(round));
            EXPECT_TRUE(sut.first.try_send(static_cast<int>(sent++)));
            EXPECT_FALSE(sut.first.try_send(0));
        }
    }
}

TEST(Pipe, CarriesPackedValuesLongerThanItsRing) {
    const Pipe<std::string> sut(PipeOptions{.capacity = 1});  // 64 KiB
    for (const std::size_t length : {30'000U, 33'000U, 64'000U, 70'000U, 1'000'000U, 5'000'000U}) {
        const std::string value(length, static_cast<char>('a' + length % 26));
        std::thread sender([&] { sut.first.send(value); });
        EXPECT_EQ(sut.second.recv(), value);
        sender.join();
    }
    EXPECT_FALSE(sut.second.poll());
}

TEST(Pipe, OfAnotherTypeCannotBeOpened) {
    const UniqueName name("type");
    const auto sut = Pipe<int>::create(name);
    EXPECT_THROW(Pipe<double>::open(name), sluice::BadSegment);
    EXPECT_THROW(Pipe<std::string>::open(name), sluice::BadSegment);
    EXPECT_THROW(Pipe<std::string>::open_or_create(name), sluice::BadSegment);
    EXPECT_THROW(sluice::Queue<int>::open(name), sluice::BadSegment);
}

TEST(Pipe, OpenedTakesTheShapeOfItsMaker) {
    const UniqueName name("shape");
    const auto sut = Pipe<int>::create(name, {.duplex = false, .capacity = 2});
    const auto opened = Pipe<int>::open(name);
    EXPECT_THROW(opened.first.send(1), sluice::NotPermitted);
    EXPECT_TRUE(opened.second.try_send(1));
    EXPECT_TRUE(opened.second.try_send(2));
    EXPECT_FALSE(opened.second.try_send(3));
}

TEST(Pipe, NamesItselfInItsErrors) {
    const UniqueName name("named");
    const auto sut = Pipe<int>::create(name);
    sut.first.send(1);  // else the name would hold the end
    EXPECT_EQ(sut.second.recv(), 1);
    sut.first.close();
    try {
        static_cast<void>(sut.second.try_send(1));
        sut.second.send(1);
        static_cast<void>(sut.second.recv());
        FAIL() << "it was not closed";
    } catch (const sluice::Closed& error) {
        EXPECT_NE(std::string(error.what()).find(name.text()), std::string::npos) << error.what();
    }
}

TEST(Pipe, ManyAtOnceEachCarryTheirOwn) {
    std::vector<Pipe<int>> suts;
    for (int i = 0; i < 150; ++i) {
        suts.emplace_back(PipeOptions{.capacity = 2});
    }
    for (int i = 0; i < 150; ++i) {
        suts[static_cast<std::size_t>(i)].first.send(i);
    }
    for (int i = 0; i < 150; ++i) {
        EXPECT_EQ(suts[static_cast<std::size_t>(i)].second.recv(), i);
    }
}

}  // namespace
