// Records of random lengths between two processes that sleep without end.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <random>

#include "sluice/shm/byte_ring.hpp"
#include "sluice/shm/mapping.hpp"
#include "support/processes.hpp"
#include "support/ring.hpp"

namespace sluice::shm {
namespace {

using test::Child;
using test::Watchdog;

std::byte expected_byte(std::uint64_t message, std::uint64_t index) {
    return static_cast<std::byte>(message * 131 + index * 7);
}

void stream(std::uint64_t first_position, std::uint64_t bytes_max, std::uint64_t count) {
    const Watchdog watchdog(170);
    const std::uint64_t seed = test::announce_seed();
    constexpr std::uint64_t kCapacity = 16'384;
    Failure failure;
    const auto mapping = Mapping::create_anonymous("test", 4096 + kCapacity, {}, failure);
    ASSERT_TRUE(mapping) << failure.text;
    ByteRing::initialise(mapping->data(), first_position);
    std::byte* data = mapping->map_twice(4096, kCapacity, failure);
    ASSERT_NE(data, nullptr) << failure.text;
    Child sender([&] {
        ByteRing ring(mapping->data(), data, kCapacity);
        std::mt19937_64 random(seed);
        for (std::uint64_t message = 0; message < count; ++message) {
            const std::uint64_t bytes = random() % (bytes_max + 1);
            std::byte* room = nullptr;
            test::wait_endlessly(
                ring.gate().room, [&] { return (room = ring.try_claim(bytes)) != nullptr; },
                [] { heavy_fence(); });
            for (std::uint64_t index = 0; index < bytes; ++index) {
                room[index] = expected_byte(message, index);
            }
            ring.publish(bytes, static_cast<std::uint32_t>(message));
        }
    });
    ByteRing ring(mapping->data(), data, kCapacity);
    std::mt19937_64 random(seed);
    for (std::uint64_t message = 0; message < count; ++message) {
        std::span<const std::byte> payload;
        std::uint32_t flags = 0;
        ByteRing::Peek peek{};
        test::wait_endlessly(
            ring.gate().items,
            [&] { return (peek = ring.peek(payload, flags)) != ByteRing::Peek::empty; },
            [] { heavy_fence(); });
        ASSERT_EQ(peek, ByteRing::Peek::record);
        ASSERT_EQ(payload.size(), random() % (bytes_max + 1));
        ASSERT_EQ(flags, static_cast<std::uint32_t>(message));
        for (std::uint64_t index = 0; index < payload.size(); ++index) {
            ASSERT_EQ(payload[index], expected_byte(message, index));
        }
        ring.consume(payload.size());
    }
    EXPECT_EQ(sender.join(), 0);
    EXPECT_FALSE(ring.readable());
    munmap(data, 2 * kCapacity);
}

TEST(ByteRingStream, OfSmallRecordsLosesNothing) {
    stream(0ULL - 8 * 100'000, 64, 200'000);
}
TEST(ByteRingStream, OfLargeRecordsLosesNothing) {
    stream(0, 16'384 - 8, 5'000);
}

}  // namespace
}  // namespace sluice::shm
