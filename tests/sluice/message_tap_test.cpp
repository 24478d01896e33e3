// Tapping a ring: every message once, in order, none of them taken; what was overtaken is counted.
#include "sluice/message_tap.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <sluice/byte_pipe.hpp>
#include <sluice/msgpack.hpp>
#include <sluice/pipe.hpp>
#include <sluice/queue.hpp>

#include "support/processes.hpp"

namespace sluice::tool {
namespace {

using sluice::test::FreshName;
using Begin = MessageTap::Begin;

constexpr std::size_t kCapacity = 8;

shm::Inspector inspect(const FreshName& name) {
    shm::Failure failure;
    auto opened = shm::Inspector::open(name.path(), failure);
    EXPECT_TRUE(opened) << failure.text;
    return std::move(*opened);
}

std::vector<std::int64_t> numbers(const std::vector<TappedMessage>& messages) {
    std::vector<std::int64_t> all;
    for (const TappedMessage& message : messages) {
        std::int64_t number = 0;
        std::memcpy(&number, message.bytes.data(), sizeof number);
        all.push_back(number);
    }
    return all;
}

using Numbers = std::vector<std::int64_t>;

TEST(MessageTap, SeesQueuedMessagesAndTakesNone) {
    const FreshName name("tap");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = kCapacity});
    queue.put(1);
    const shm::Inspector inspector = inspect(name);
    MessageTap sut(inspector, inspector.rings().at(0), Begin::with_the_next);
    queue.put(2);
    queue.put(3);
    std::vector<TappedMessage> messages;
    sut.read(messages);
    EXPECT_EQ(numbers(messages), (Numbers{2, 3}));
    EXPECT_EQ(messages.at(0).position, 1U);
    EXPECT_EQ(queue.size(), 3U);
    EXPECT_EQ(queue.get(), 1);
}

TEST(MessageTap, SeesWhatWaitedBeforeWhereItBeginsWithTheOldest) {
    const FreshName name("tap");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = kCapacity});
    for (std::int64_t number = 0; number < 5; ++number) {
        queue.put(number);
    }
    EXPECT_EQ(queue.get(), 0);
    EXPECT_EQ(queue.get(), 1);
    const shm::Inspector inspector = inspect(name);
    MessageTap sut(inspector, inspector.rings().at(0), Begin::with_the_oldest);
    std::vector<TappedMessage> messages;
    sut.read(messages);
    EXPECT_EQ(numbers(messages), (Numbers{2, 3, 4}));
}

TEST(MessageTap, SeesMessagesThatWereTakenAlreadyOverManyLaps) {
    const FreshName name("tap");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = kCapacity});
    const shm::Inspector inspector = inspect(name);
    MessageTap sut(inspector, inspector.rings().at(0), Begin::with_the_next);
    std::vector<TappedMessage> messages;
    Numbers expected;
    for (std::int64_t number = 0; number < 100; ++number) {
        queue.put(number);
        EXPECT_EQ(queue.get(), number);
        expected.push_back(number);
        if (number % 5 == 0) {
            sut.read(messages);
        }
    }
    sut.read(messages);
    EXPECT_EQ(numbers(messages), expected);
    EXPECT_EQ(sut.missed(), 0U);
}

TEST(MessageTap, CountsWhatItMissedAndGoesOn) {
    const FreshName name("tap");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = kCapacity});
    const shm::Inspector inspector = inspect(name);
    MessageTap sut(inspector, inspector.rings().at(0), Begin::with_the_next);
    constexpr std::int64_t kPassed = 1000;
    for (std::int64_t number = 0; number < kPassed; ++number) {
        queue.put(number);
        EXPECT_EQ(queue.get(), number);
    }
    std::vector<TappedMessage> messages;
    sut.read(messages);
    EXPECT_EQ(messages.size() + sut.missed(), static_cast<std::uint64_t>(kPassed));
    EXPECT_FALSE(messages.empty());
    for (const TappedMessage& message : messages) {
        EXPECT_EQ(numbers({message}).at(0), static_cast<std::int64_t>(message.position));
    }
    EXPECT_EQ(messages.back().position, static_cast<std::uint64_t>(kPassed - 1));
}

TEST(MessageTap, PassesByWhatWasNeverPublished) {
    const FreshName name("tap");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = kCapacity});
    const shm::Inspector inspector = inspect(name);
    MessageTap sut(inspector, inspector.rings().at(0), Begin::with_the_next);
    { const auto dropped = queue.claim(); }
    queue.put(4);
    std::vector<TappedMessage> messages;
    sut.read(messages);
    EXPECT_EQ(numbers(messages), Numbers{4});
}

TEST(MessageTap, SeesPackedValuesInTheSlotAndBesideIt) {
    const FreshName name("tap");
    const auto queue = Queue<std::string>::create(name.name(), {.capacity = kCapacity});
    const shm::Inspector inspector = inspect(name);
    MessageTap sut(inspector, inspector.rings().at(0), Begin::with_the_next);
    queue.put("short");
    queue.put(std::string(100'000, 'x'));
    std::vector<TappedMessage> messages;
    sut.read(messages);
    ASSERT_EQ(messages.size(), 2U);
    EXPECT_EQ(messages[0].bytes.size(), 6U);
    EXPECT_EQ(messages[1].bytes.size(), 100'005U);
    EXPECT_EQ(messages[1].bytes.back(), std::byte{'x'});
}

TEST(MessageTap, SeesBothDirectionsOfAPipe) {
    const FreshName name("tap");
    const auto pipe = Pipe<std::int64_t>::create(name.name(), {.capacity = kCapacity});
    const shm::Inspector inspector = inspect(name);
    const auto places = inspector.rings();
    ASSERT_EQ(places.size(), 2U);
    MessageTap forward(inspector, places[0], Begin::with_the_next);
    MessageTap backward(inspector, places[1], Begin::with_the_next);
    std::vector<TappedMessage> there;
    std::vector<TappedMessage> back;
    Numbers expected;
    for (std::int64_t number = 0; number < 50; ++number) {
        pipe.first.send(number);
        EXPECT_EQ(pipe.second.recv(), number);
        pipe.second.send(-number);
        EXPECT_EQ(pipe.first.recv(), -number);
        expected.push_back(number);
        forward.read(there);
        backward.read(back);
    }
    EXPECT_EQ(numbers(there), expected);
    EXPECT_EQ(numbers(back).back(), -49);
    EXPECT_EQ(back.size(), 50U);
}

TEST(MessageTap, CountsWhatItMissedInAPipe) {
    const FreshName name("tap");
    const auto pipe = Pipe<std::int64_t>::create(name.name(), {.capacity = kCapacity});
    const shm::Inspector inspector = inspect(name);
    MessageTap sut(inspector, inspector.rings().at(0), Begin::with_the_next);
    for (std::int64_t number = 0; number < 100; ++number) {
        pipe.first.send(number);
        EXPECT_EQ(pipe.second.recv(), number);
    }
    pipe.first.send(100);
    std::vector<TappedMessage> messages;
    sut.read(messages);
    EXPECT_EQ(messages.size() + sut.missed(), 101U);
    EXPECT_EQ(numbers(messages).back(), 100);
}

TEST(MessageTap, SeesRecordsAcrossTheEndOfTheRingAndLongOnesWhole) {
    const FreshName name("tap");
    const auto pipe = BytePipe::create(name.name(), {.capacity_bytes = 64U << 10U});
    const shm::Inspector inspector = inspect(name);
    MessageTap sut(inspector, inspector.rings().at(0), Begin::with_the_next);
    std::vector<std::byte> sent(3001);
    std::vector<TappedMessage> messages;
    for (int number = 0; number < 100; ++number) {
        std::fill(sent.begin(), sent.end(), static_cast<std::byte>(number));
        pipe.first.send(sent);
        EXPECT_EQ(pipe.second.recv(), sent);
        messages.clear();
        sut.read(messages);
        ASSERT_EQ(messages.size(), 1U);
        EXPECT_EQ(messages[0].bytes, sent);
    }
    EXPECT_EQ(sut.missed(), 0U);
}

TEST(MessageTap, SurvivesRingsThatAreScribbledOn) {
    const sluice::test::Watchdog watchdog(120);
    std::mt19937_64 random(sluice::test::announce_seed());
    const FreshName slots("tap-slots");
    const FreshName packed("tap-packed");
    const FreshName numbered("tap-numbered");
    const FreshName records("tap-records");
    const auto one = Queue<std::int64_t>::create(slots.name(), {.capacity = kCapacity});
    const auto two = Queue<std::string>::create(packed.name(), {.capacity = kCapacity});
    const auto three = Pipe<std::int64_t>::create(numbered.name(), {.capacity = kCapacity});
    const auto four = BytePipe::create(records.name(), {.capacity_bytes = 64U << 10U});
    for (const FreshName* const name : {&slots, &packed, &numbered, &records}) {
        const shm::Inspector inspector = inspect(*name);
        const int file = open(name->path().c_str(), O_RDWR | O_CLOEXEC);
        for (int round = 0; round < 300; ++round) {
            const shm::RingPlace place = inspector.rings().at(0);
            MessageTap sut(inspector, place,
                           round % 2 == 0 ? Begin::with_the_oldest : Begin::with_the_next);
            for (int scribble = 0; scribble < 20; ++scribble) {
                // Words small and large; anywhere in the ring, and often where its positions are.
                const std::uint64_t word = random() >> (random() % 64);
                const std::uint64_t at =
                    place.offset + (scribble % 2 == 0 ? 128 * (random() % 3) : random() % 2048 * 8);
                ASSERT_EQ(pwrite(file, &word, sizeof word, static_cast<off_t>(at)),
                          static_cast<ssize_t>(sizeof word));
            }
            std::vector<TappedMessage> messages;
            sut.read(messages);
            sut.read(messages);
            EXPECT_LE(messages.size(), 512U);
        }
        close(file);
        unlink(name->path().c_str());
    }
}

}  // namespace
}  // namespace sluice::tool
