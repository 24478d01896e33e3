// One process sends, another receives; both sleep without end on the asymmetric fence, so that a
// lost wake-up hangs.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "sluice/shm/spsc_ring.hpp"
#include "support/processes.hpp"
#include "support/ring.hpp"

namespace sluice::shm {
namespace {

using test::Child;
using test::Shared;
using test::Watchdog;

using StreamRing = SpscRing<64, 8>;

struct Memory {
    alignas(kIsolationBytes) std::byte bytes[StreamRing::bytes(256)];
};

struct Message {
    std::uint64_t sequence;
    std::uint64_t check[6];  // of the sequence: a torn message shows
};

void stream(std::uint64_t capacity, std::uint64_t first_position, std::uint64_t count,
            std::uint64_t pause_every) {
    const Watchdog watchdog(170);
    const Shared<Memory> memory;
    StreamRing::initialise(memory->bytes, capacity, first_position);
    Child sender([&] {
        StreamRing ring(memory->bytes, capacity);
        for (std::uint64_t sequence = 0; sequence < count; ++sequence) {
            std::byte* room = nullptr;
            test::wait_endlessly(
                ring.gate().room, [&] { return (room = ring.try_begin_write()) != nullptr; },
                [] { heavy_fence(); });
            Message message{};
            message.sequence = sequence;
            for (std::uint64_t& word : message.check) {
                word = sequence * 0x9e37'79b9'7f4a'7c15ULL;
            }
            std::memcpy(room, &message, sizeof message);
            ring.publish();
            ring.notify_reader();
            if (pause_every != 0 && sequence % pause_every == 0) {
                sched_yield();
            }
        }
    });
    StreamRing ring(memory->bytes, capacity);
    for (std::uint64_t sequence = 0; sequence < count; ++sequence) {
        const std::byte* payload = nullptr;
        test::wait_endlessly(
            ring.gate().items, [&] { return (payload = ring.try_begin_read()) != nullptr; },
            [] { heavy_fence(); });
        Message message{};
        std::memcpy(&message, payload, sizeof message);
        ring.consume();
        ring.notify_writer();
        ASSERT_EQ(message.sequence, sequence);
        for (const std::uint64_t word : message.check) {
            ASSERT_EQ(word, sequence * 0x9e37'79b9'7f4a'7c15ULL) << "torn";
        }
    }
    EXPECT_EQ(sender.join(), 0);
    EXPECT_EQ(ring.size(), 0U);
}

TEST(SpscRingStream, OfCapacityOneLosesNothing) {
    stream(1, 0, 30'000, 0);
}
TEST(SpscRingStream, OfCapacityTwoLosesNothing) {
    stream(2, ~0ULL - 10'000, 60'000, 3);
}
TEST(SpscRingStream, OfManySlotsLosesNothing) {
    stream(256, ~0ULL - 100'000, 1'000'000, 0);
}

TEST(SpscRingStream, RoundTripsLoseNoWakeUp) {
    const Watchdog watchdog(170);
    constexpr std::uint64_t kRounds = 30'000;
    const Shared<Memory> there;
    const Shared<Memory> back;
    StreamRing::initialise(there->bytes, 4, ~0ULL - kRounds / 2);
    StreamRing::initialise(back->bytes, 4);
    const auto send = [](StreamRing& ring, std::uint64_t value) {
        std::byte* room = ring.try_begin_write();
        ASSERT_NE(room, nullptr);
        std::memcpy(room, &value, sizeof value);
        ring.publish();
        ring.notify_reader();
    };
    const auto receive = [](StreamRing& ring) {
        const std::byte* payload = nullptr;
        test::wait_endlessly(
            ring.gate().items, [&] { return (payload = ring.try_begin_read()) != nullptr; },
            [] { heavy_fence(); });
        std::uint64_t value = 0;
        std::memcpy(&value, payload, sizeof value);
        ring.consume();
        ring.notify_writer();
        return value;
    };
    Child other([&] {
        StreamRing in(there->bytes, 4);
        StreamRing out(back->bytes, 4);
        for (std::uint64_t round = 0; round < kRounds; ++round) {
            send(out, receive(in) + 1);
        }
    });
    StreamRing out(there->bytes, 4);
    StreamRing in(back->bytes, 4);
    for (std::uint64_t round = 0; round < kRounds; ++round) {
        send(out, round);
        ASSERT_EQ(receive(in), round + 1);
    }
    EXPECT_EQ(other.join(), 0);
}

}  // namespace
}  // namespace sluice::shm
