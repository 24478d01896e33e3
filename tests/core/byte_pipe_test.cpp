// BytePipe: messages of any length, copied and in place.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <sluice/byte_pipe.hpp>
#include <sluice/error.hpp>
#include <sluice/msgpack.hpp>
#include <sluice/pipe.hpp>
#include <sluice/process.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/support.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::ByteConnection;
using sluice::BytePipe;
using sluice::BytePipeOptions;
using sluice::testing::Child;
using sluice::testing::in_child;
using sluice::testing::Shared;
using sluice::testing::UniqueName;
using sluice::testing::wait_until_asleep;
using sluice::testing::wait_until_true;
using Message = std::vector<std::byte>;

constexpr auto kShort = 2ms;

/// Bytes that differ from place to place and from message to message.
Message pattern(std::size_t length, std::uint64_t seed) {
    Message message(length);
    std::uint64_t state = seed * 0x9e37'79b9'7f4a'7c15ULL + length;
    for (std::byte& byte : message) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        byte = static_cast<std::byte>(state >> 56U);
    }
    return message;
}

Message copy_of(std::span<const std::byte> bytes) {
    return {bytes.begin(), bytes.end()};
}

TEST(BytePipe, MovesMessagesOfAnyLengthBothWays) {
    auto [one, two] = BytePipe();
    for (const std::size_t length : {0U, 1U, 7U, 8U, 9U, 1000U, 4095U, 4096U, 100'000U, 131'072U}) {
        one.send(pattern(length, 1));
        two.send(pattern(length, 2));
        EXPECT_EQ(two.recv(), pattern(length, 1));
        EXPECT_EQ(one.recv(), pattern(length, 2));
    }
}

TEST(BytePipe, KeepsMessagesApartAndInOrder) {
    const BytePipe sut(4096U);
    std::mt19937_64 random(sluice::testing::test_seed());
    std::vector<std::size_t> lengths(5000);
    for (std::size_t& length : lengths) {
        length = random() % 1500;
    }
    std::thread sender([&] {
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            sut.first.send(pattern(lengths[i], i));
        }
    });
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        ASSERT_EQ(sut.second.recv(), pattern(lengths[i], i)) << i;
    }
    sender.join();
}

TEST(BytePipe, SendsMessagesLongerThanTheRingInFragments) {
    const BytePipe sut(4096U);
    for (const std::size_t length :
         {2039U, 2040U, 2041U, 4080U, 4088U, 4089U, 4096U, 5000U, 300'000U, 3'000'000U}) {
        std::thread sender([&] {
            sut.first.send(pattern(length, 3));
            sut.first.send(pattern(5, 4));
        });
        EXPECT_EQ(sut.second.recv(), pattern(length, 3)) << length;
        EXPECT_EQ(sut.second.recv(), pattern(5, 4));
        sender.join();
    }
}

TEST(BytePipe, TryRecvDoesNotWaitForTheRestOfAFragmentedMessage) {
    auto [one, two] = BytePipe(4096);
    const Message message = pattern(7000, 2);
    const Child sender([&end = one, &message] {
        end.send(message);
        return true;
    });
    wait_until_true([&end = two] { return end.poll(); });
    sender.signal(SIGSTOP);
    sender.wait_stopped();
    std::optional<Message> received = two.try_recv();
    EXPECT_FALSE(received) << "more than the ring holds cannot have come";
    sender.signal(SIGCONT);
    while (!received) {
        received = two.try_recv_for(kShort);
    }
    EXPECT_EQ(*received, message);
}

TEST(BytePipe, PeeksAtAFragmentedMessageAsAWhole) {
    const BytePipe sut(4096U);
    std::thread sender([&] { sut.first.send(pattern(100'000, 5)); });
    EXPECT_EQ(copy_of(sut.second.peek()), pattern(100'000, 5));
    EXPECT_EQ(copy_of(sut.second.peek()), pattern(100'000, 5));
    sut.second.consume();
    EXPECT_EQ(sut.second.try_peek(), std::nullopt);
    sender.join();
}

TEST(BytePipe, OneWayFirstReceivesAndSecondSends) {
    const BytePipe sut(BytePipeOptions{.duplex = false});
    sut.second.send(pattern(3, 1));
    EXPECT_EQ(sut.first.recv(), pattern(3, 1));
    EXPECT_THROW(sut.first.send(pattern(3, 1)), sluice::NotPermitted);
    EXPECT_THROW(static_cast<void>(sut.first.claim(3)), sluice::NotPermitted);
    EXPECT_THROW(static_cast<void>(sut.second.recv()), sluice::NotPermitted);
    EXPECT_THROW(static_cast<void>(sut.second.peek()), sluice::NotPermitted);
    EXPECT_THROW(static_cast<void>(sut.second.poll()), sluice::NotPermitted);
}

TEST(BytePipe, TryAndTimedFormsSayNoWhereItIsEmpty) {
    const BytePipe sut;
    std::array<std::byte, 8> buffer{};
    EXPECT_FALSE(sut.first.poll());
    EXPECT_FALSE(sut.first.poll_for(kShort));
    EXPECT_EQ(sut.first.try_recv(), std::nullopt);
    EXPECT_EQ(sut.first.try_recv_for(kShort), std::nullopt);
    EXPECT_EQ(sut.first.try_recv_into(buffer), std::nullopt);
    EXPECT_EQ(sut.first.try_recv_into_for(buffer, kShort), std::nullopt);
    EXPECT_FALSE(sut.first.try_peek().has_value());
    EXPECT_FALSE(sut.first.try_peek_for(kShort).has_value());
}

TEST(BytePipe, TryAndTimedFormsSayNoWhereItIsFull) {
    const BytePipe sut(4096U);
    std::size_t sent = 0;
    while (sut.first.try_send(pattern(1000, sent))) {
        ++sent;
    }
    EXPECT_EQ(sent, 4U);
    EXPECT_FALSE(sut.first.try_send_for(pattern(1000, 0), kShort));
    EXPECT_FALSE(sut.first.try_claim(1000).has_value());
    EXPECT_FALSE(sut.first.try_claim_for(1000, kShort).has_value());
    EXPECT_FALSE(sut.first.try_send(pattern(100'000, 0)));  // not even the first fragment
    for (std::size_t i = 0; i < sent; ++i) {
        EXPECT_EQ(sut.second.recv(), pattern(1000, i));
    }
    EXPECT_FALSE(sut.second.poll());
}

TEST(BytePipe, RecvIntoFillsTheBufferOfTheCaller) {
    const BytePipe sut;
    std::array<std::byte, 16> buffer{};
    sut.first.send(pattern(10, 1));
    EXPECT_EQ(sut.second.recv_into(buffer), 10U);
    EXPECT_EQ(copy_of(std::span(buffer).first(10)), pattern(10, 1));
    sut.first.send({});
    EXPECT_EQ(sut.second.try_recv_into(buffer), 0U);
    sut.first.send(pattern(16, 2));
    EXPECT_EQ(sut.second.try_recv_into_for(buffer, 1h), 16U);
    EXPECT_EQ(copy_of(buffer), pattern(16, 2));
}

TEST(BytePipe, RecvIntoABufferTooShortKeepsTheMessage) {
    const BytePipe sut(4096U);
    std::array<std::byte, 8> buffer{};
    for (const std::size_t length : {9U, 20'000U}) {
        std::thread sender([&] { sut.first.send(pattern(length, 1)); });
        for (int attempt = 0; attempt < 2; ++attempt) {
            try {
                static_cast<void>(sut.second.recv_into(buffer));
                FAIL() << "it fitted";
            } catch (const std::length_error& error) {
                EXPECT_NE(std::string(error.what()).find(std::to_string(length)),
                          std::string::npos);
                EXPECT_NE(std::string(error.what()).find(" 8"), std::string::npos) << error.what();
            }
        }
        EXPECT_TRUE(sut.second.poll());
        EXPECT_EQ(sut.second.recv(), pattern(length, 1));
        sender.join();
    }
}

TEST(BytePipe, ClaimAndCommitSendWithoutACopy) {
    const BytePipe sut;
    const Message message = pattern(5000, 6);
    const std::span<std::byte> room = sut.first.claim(message.size());
    ASSERT_EQ(room.size(), message.size());
    std::memcpy(room.data(), message.data(), message.size());
    EXPECT_FALSE(sut.second.poll());
    sut.first.commit();
    EXPECT_EQ(copy_of(sut.second.peek()), message);
    sut.second.consume();
}

TEST(BytePipe, CommitMaySendLessThanWasClaimed) {
    const BytePipe sut(4096U);
    for (int i = 0; i < 20; ++i) {  // several times round the ring
        const std::span<std::byte> room = sut.first.claim(1000);
        const Message message = pattern(17, static_cast<std::uint64_t>(i));
        std::memcpy(room.data(), message.data(), message.size());
        sut.first.commit(17);
        EXPECT_EQ(sut.second.recv(), message);
    }
    static_cast<void>(sut.first.claim(10));
    sut.first.commit(0);
    EXPECT_EQ(sut.second.recv(), Message());
}

TEST(BytePipe, ClaimsUpToTheWholeRing) {
    const BytePipe sut(4096U);
    const std::size_t most = sut.first.claim_max();
    EXPECT_GE(most, 4096U - 64U);
    for (int i = 0; i < 3; ++i) {
        const Message message = pattern(most, 7);
        std::memcpy(sut.first.claim(most).data(), message.data(), most);
        sut.first.commit();
        EXPECT_FALSE(sut.first.try_claim(1).has_value());
        EXPECT_EQ(sut.second.recv(), message);
        sut.first.send(pattern(24, 8));  // so that the next one wraps round
        EXPECT_EQ(sut.second.recv(), pattern(24, 8));
    }
    EXPECT_THROW(static_cast<void>(sut.first.claim(most + 1)), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(sut.first.try_claim(~std::size_t{0})), std::invalid_argument);
    EXPECT_THROW(static_cast<void>(sut.first.claim(~std::size_t{0} - 5)), std::invalid_argument);
}

TEST(BytePipe, CommitAndConsumeNeedSomethingInHand) {
    const BytePipe sut;
    EXPECT_THROW(sut.first.commit(), sluice::Error);
    EXPECT_THROW(sut.first.commit(0), sluice::Error);
    EXPECT_THROW(sut.first.consume(), sluice::Error);
    static_cast<void>(sut.first.claim(4));
    EXPECT_THROW(sut.first.commit(5), sluice::Error);
    sut.first.commit();
    EXPECT_THROW(sut.first.commit(), sluice::Error);
    EXPECT_EQ(sut.second.peek().size(), 4U);
    sut.second.consume();
    EXPECT_THROW(sut.second.consume(), sluice::Error);
}

TEST(BytePipe, CloseLetsTheOtherEndDrainThenThrows) {
    const BytePipe sut;
    sut.first.send(pattern(5, 1));
    sut.first.close();
    EXPECT_TRUE(sut.first.closed());
    EXPECT_THROW(sut.second.send(pattern(5, 1)), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.second.claim(5)), sluice::Closed);
    EXPECT_EQ(sut.second.recv(), pattern(5, 1));
    EXPECT_TRUE(sut.second.poll());
    EXPECT_THROW(static_cast<void>(sut.second.try_recv()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.second.recv()), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.second.peek()), sluice::Closed);
    EXPECT_THROW(sut.first.send(pattern(5, 1)), sluice::Closed);
}

TEST(BytePipe, AMessageInHandIsGoneWhenItsEndIsClosed) {
    const BytePipe sut;
    sut.first.send(pattern(5, 1));
    static_cast<void>(sut.second.peek());
    static_cast<void>(sut.second.claim(5));
    sut.second.close();
    EXPECT_THROW(static_cast<void>(sut.second.peek()), sluice::Closed);
    EXPECT_THROW(sut.second.consume(), sluice::Closed);
    EXPECT_THROW(sut.second.commit(), sluice::Closed);
    EXPECT_THROW(static_cast<void>(sut.first.recv()), sluice::Closed);
}

TEST(BytePipe, MessagesAreInPlace) {
    const BytePipe sut;
    const std::span<std::byte> room = sut.first.claim(64);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(room.data()) % 8, 0U);
    room[0] = std::byte{42};
    sut.first.commit();
    EXPECT_EQ(sut.second.peek()[0], std::byte{42});
    sut.second.consume();
}

TEST(BytePipe, OpensByName) {
    const UniqueName name("bytes");
    const auto sut = BytePipe::create(name, {.capacity_bytes = 10'000});
    const auto opened = BytePipe::open(name);
    const auto either = BytePipe::open_or_create(name);
    sut.first.send(pattern(20, 1));
    EXPECT_EQ(opened.second.recv(), pattern(20, 1));
    EXPECT_EQ(opened.first.claim_max(), sut.first.claim_max());
    EXPECT_THROW(sluice::Pipe<int>::open(name), sluice::BadSegment);
    EXPECT_THROW(sluice::Pipe<std::string>::open(name), sluice::BadSegment);
    EXPECT_THROW(BytePipe::create(name), std::system_error);
    BytePipe::unlink(name);
    EXPECT_THROW(BytePipe::open(name), std::system_error);
    EXPECT_THROW(BytePipe::create(""), std::invalid_argument);
}

TEST(BytePipe, RefusesARingOfNothingOrOfTooMuch) {
    EXPECT_THROW(BytePipe(0U), std::invalid_argument);
    EXPECT_THROW(BytePipe(~std::size_t{0}), std::invalid_argument);
}

TEST(BytePipe, MadeAndDestroyedOverAndOverLeavesNothingBehind) {
    const auto descriptors = [] {
        int count = 0;
        for (int fd = 0; fd < 4096; ++fd) {
            count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
        }
        return count;
    };
    { const BytePipe warm; }
    const int before = descriptors();
    for (int i = 0; i < 100; ++i) {
        const BytePipe sut(4096U);
        sut.first.send(pattern(100, 1));
    }
    EXPECT_EQ(descriptors(), before);
}

TEST(BytePipe, EndsArePassedToProcesses) {
    auto [mine, theirs] = BytePipe();
    sluice::Process child(
        [](const ByteConnection& end) {
            Message message = end.recv();
            message.push_back(std::byte{9});
            end.send(message);
        },
        theirs);
    child.start();
    theirs.close();
    mine.send(pattern(300'000, 1));
    Message expected = pattern(300'000, 1);
    expected.push_back(std::byte{9});
    EXPECT_EQ(mine.recv(), expected);
    EXPECT_THROW(static_cast<void>(mine.recv()), sluice::Closed);
    child.join();
}

TEST(BytePipe, AnEndWithAMessageInHandIsNotPassedOn) {
    const BytePipe sut;
    sut.first.send(pattern(10, 1));
    static_cast<void>(sut.second.peek());
    sluice::Process child([](const ByteConnection& end) { static_cast<void>(end.recv()); },
                          sut.second);
    EXPECT_THROW(child.start(), sluice::Error);
    EXPECT_EQ(sut.second.recv(), pattern(10, 1));  // and is still ours
    sut.first.send(pattern(11, 2));
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    EXPECT_THROW(static_cast<void>(sut.first.recv()), sluice::Closed);
}

TEST(BytePipe, AMessageInHandIsNotTheChilds) {
    const BytePipe sut;
    sut.first.send(pattern(10, 1));
    static_cast<void>(sut.second.peek());
    const auto refused = [](auto&& action) {
        try {
            action();
        } catch (const sluice::NotPermitted&) {
            return true;
        }
        return false;
    };
    EXPECT_EQ(in_child([&] {
                  return refused([&] { static_cast<void>(sut.second.peek()); }) &&
                         refused([&] { sut.second.consume(); }) &&
                         refused([&] { static_cast<void>(sut.second.poll()); });
              }),
              0);
    EXPECT_EQ(sut.second.recv(), pattern(10, 1));
}

TEST(BytePipe, ADeadSendersHalfSentMessageIsDiscarded) {
    for (int round = 0; round < 10; ++round) {
        auto [mine, theirs] = BytePipe(4096U);
        const ByteConnection& end = theirs;
        Child sender([&end] {
            end.send(pattern(20, 1));
            end.send(pattern(100'000, 2));  // nobody takes it: it stays half sent
            return true;
        });
        wait_until_asleep(sender.pid());
        while (!mine.poll()) {
        }
        sender.kill_and_wait();
        theirs.close();
        EXPECT_EQ(mine.recv(), pattern(20, 1));
        EXPECT_THROW(static_cast<void>(mine.recv()), sluice::Closed);
        EXPECT_THROW(static_cast<void>(mine.try_recv()), sluice::Closed);
    }
}

TEST(BytePipe, AClaimOfADeadSenderWasNeverSent) {
    auto [mine, theirs] = BytePipe();
    const ByteConnection& end = theirs;
    EXPECT_EQ(in_child([&end] {
                  end.send(pattern(3, 1));
                  end.claim(5)[0] = std::byte{1};
                  ::kill(::getpid(), SIGKILL);
                  return true;
              }),
              -SIGKILL);
    EXPECT_EQ(mine.recv(), pattern(3, 1));
    EXPECT_THROW(static_cast<void>(mine.recv()), sluice::Closed);
}

TEST(BytePipe, ASenderThatWaitsForADeadReceiverIsTold) {
    auto [mine, theirs] = BytePipe(4096U);
    const ByteConnection& end = theirs;
    const Shared<int> ready;
    Child receiver([&end, &ready] {
        static_cast<void>(end.recv());
        *ready = 1;
        for (;;) {
            ::pause();
        }
        return true;
    });
    const ByteConnection& sending = mine;
    Child killer([&] {
        wait_until_true([&] { return *ready == 1; });
        receiver.signal(SIGKILL);
        return true;
    });
    EXPECT_THROW(
        {
            for (;;) {
                sending.send(pattern(1000, 1));
            }
        },
        sluice::Closed);
    killer.wait();
}

}  // namespace
