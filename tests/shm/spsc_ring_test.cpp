#include "sluice/shm/spsc_ring.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "support/processes.hpp"

namespace sluice::shm {
namespace {

using test::Child;
using test::Shared;
using test::Watchdog;

using SmallRing = SpscRing<16, 8>;

template <class Sut>
struct Memory {
    static constexpr std::size_t kBytes = 65'536;
    alignas(kIsolationBytes) std::byte bytes[kBytes];
};

template <class Sut>
bool try_send(Sut& sut, std::uint64_t value) {
    std::byte* slot = sut.try_begin_write();
    if (slot == nullptr) {
        return false;
    }
    std::memcpy(slot, &value, sizeof value);
    sut.publish();
    sut.notify_reader();
    return true;
}

template <class Sut>
bool try_recv(Sut& sut, std::uint64_t& value) {
    const std::byte* slot = sut.try_begin_read();
    if (slot == nullptr) {
        return false;
    }
    std::memcpy(&value, slot, sizeof value);
    sut.consume();
    sut.notify_writer();
    return true;
}

TEST(SpscRing, SlotsArePackedOrWholeLines) {
    EXPECT_EQ(spsc_slot_bytes(8, 8), 16U);
    EXPECT_EQ(spsc_slot_bytes(1, 1), 16U);
    EXPECT_EQ(spsc_slot_bytes(9, 8), 32U);
    EXPECT_EQ(spsc_slot_bytes(24, 8), 32U);
    EXPECT_EQ(spsc_slot_bytes(16, 16), 32U);
    EXPECT_EQ(spsc_slot_bytes(56, 8), 64U);
    EXPECT_EQ(spsc_slot_bytes(57, 8), 128U);
    EXPECT_EQ(spsc_slot_bytes(32, 32), 64U);
    EXPECT_EQ(spsc_slot_bytes(64, 64), 128U);
    EXPECT_EQ(spsc_slot_bytes(1000, 8), 1024U);
}

class SpscRingFrom : public ::testing::TestWithParam<std::pair<std::uint64_t, std::uint64_t>> {};

TEST_P(SpscRingFrom, IsAFifoThatIsFullAtItsCapacity) {
    const auto [capacity, first] = GetParam();
    const Shared<Memory<SmallRing>> memory;
    SmallRing::initialise(memory->bytes, capacity, first);
    SmallRing writer(memory->bytes, capacity);
    SmallRing reader(memory->bytes, capacity);
    std::uint64_t value = 0;
    EXPECT_FALSE(try_recv(reader, value));
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    // Fill and drain by different amounts, so that the ends meet everywhere.
    for (std::uint64_t round = 0; round < 40; ++round) {
        while (try_send(writer, sent)) {
            ++sent;
        }
        ASSERT_EQ(sent - received, capacity);
        ASSERT_EQ(writer.size(), capacity);
        for (std::uint64_t take = 0; take <= round % capacity; ++take) {
            ASSERT_TRUE(try_recv(reader, value));
            ASSERT_EQ(value, received++);
        }
    }
    while (try_recv(reader, value)) {
        ASSERT_EQ(value, received++);
    }
    EXPECT_EQ(sent, received);
    EXPECT_EQ(reader.size(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Positions, SpscRingFrom,
                         ::testing::Values(std::pair{1ULL, 0ULL}, std::pair{2ULL, 0ULL},
                                           std::pair{64ULL, 0ULL}, std::pair{1ULL, ~0ULL},
                                           std::pair{1ULL, ~0ULL - 7}, std::pair{2ULL, ~0ULL - 2},
                                           std::pair{8ULL, ~0ULL - 20},
                                           std::pair{64ULL, 0ULL - 64}));

TEST(SpscRing, AnUnpublishedMessageIsNotSeen) {
    const Shared<Memory<SmallRing>> memory;
    SmallRing::initialise(memory->bytes, 4);
    SmallRing writer(memory->bytes, 4);
    SmallRing reader(memory->bytes, 4);
    ASSERT_NE(writer.try_begin_write(), nullptr);
    EXPECT_EQ(reader.try_begin_read(), nullptr);
    writer.publish();
    EXPECT_NE(reader.try_begin_read(), nullptr);
    EXPECT_NE(reader.try_begin_read(), nullptr) << "until it is consumed";
}

TEST(SpscRing, AKilledWritersMessagesStayAndItsHeirGoesOn) {
    const Watchdog watchdog(60);
    const Shared<Memory<SmallRing>> memory;
    SmallRing::initialise(memory->bytes, 8, ~0ULL - 1);
    SmallRing reader(memory->bytes, 8);
    Child writer([&] {
        SmallRing sut(memory->bytes, 8);
        ASSERT_TRUE(try_send(sut, 1) && try_send(sut, 2));
        ASSERT_NE(sut.try_begin_write(), nullptr);
        raise(SIGKILL);
    });
    EXPECT_EQ(writer.join(), -SIGKILL);
    SmallRing heir(memory->bytes, 8);
    ASSERT_TRUE(try_send(heir, 3));
    std::uint64_t value = 0;
    for (const std::uint64_t expected : {1U, 2U, 3U}) {
        ASSERT_TRUE(try_recv(reader, value));
        EXPECT_EQ(value, expected);
    }
    EXPECT_FALSE(try_recv(reader, value));
}

TEST(SpscRing, AMessageNumberedButNotCountedExists) {
    // The writer died between the two stores of publish().
    const Shared<Memory<SmallRing>> memory;
    SmallRing::initialise(memory->bytes, 4);
    auto* layout = reinterpret_cast<SpscRingLayout*>(memory->bytes);
    {
        SmallRing writer(memory->bytes, 4);
        for (std::uint64_t value = 0; value < 4; ++value) {
            ASSERT_TRUE(try_send(writer, value));
        }
        layout->write_position.store(1, std::memory_order_relaxed);
    }
    SmallRing heir(memory->bytes, 4);
    EXPECT_FALSE(try_send(heir, 99)) << "it is full, whatever the counter says";
    SmallRing reader(memory->bytes, 4);
    std::uint64_t value = 0;
    for (std::uint64_t expected = 0; expected < 4; ++expected) {
        ASSERT_TRUE(try_recv(reader, value));
        EXPECT_EQ(value, expected);
    }
}

TEST(SpscRing, AKilledReadersUnconsumedMessageIsItsHeirs) {
    const Watchdog watchdog(60);
    const Shared<Memory<SmallRing>> memory;
    SmallRing::initialise(memory->bytes, 2);
    SmallRing writer(memory->bytes, 2);
    ASSERT_TRUE(try_send(writer, 1) && try_send(writer, 2));
    Child reader([&] {
        SmallRing sut(memory->bytes, 2);
        std::uint64_t value = 0;
        ASSERT_TRUE(try_recv(sut, value));
        ASSERT_NE(sut.try_begin_read(), nullptr);
        raise(SIGKILL);
    });
    EXPECT_EQ(reader.join(), -SIGKILL);
    EXPECT_TRUE(try_send(writer, 3));
    EXPECT_FALSE(try_send(writer, 4));
    SmallRing heir(memory->bytes, 2);
    std::uint64_t value = 0;
    ASSERT_TRUE(try_recv(heir, value));
    EXPECT_EQ(value, 2U);
    ASSERT_TRUE(try_recv(heir, value));
    EXPECT_EQ(value, 3U);
}

TEST(SpscRing, CreditIsWhatTheReaderHasTold) {
    const Shared<Memory<SmallRing>> memory;
    SmallRing::initialise(memory->bytes, 4);
    SmallRing writer(memory->bytes, 4);
    SmallRing reader(memory->bytes, 4);
    std::uint64_t value = 0;
    for (std::uint64_t next = 0; next < 4; ++next) {
        ASSERT_TRUE(try_send(writer, next));
    }
    ASSERT_EQ(writer.try_begin_write(), nullptr);
    ASSERT_NE(reader.try_begin_read(), nullptr);
    EXPECT_EQ(writer.try_begin_write(), nullptr) << "read, but not consumed";
    ASSERT_TRUE(try_recv(reader, value));
    EXPECT_TRUE(try_send(writer, 4));
    EXPECT_FALSE(try_send(writer, 5));
}

TEST(GateLayout, ClosingIsSeenBySide) {
    GateLayout sut{};
    EXPECT_FALSE(sut.sender_closed());
    sut.close(GateLayout::kSenderClosed);
    EXPECT_TRUE(sut.sender_closed());
    EXPECT_FALSE(sut.receiver_closed());
    sut.close(GateLayout::kReceiverClosed);
    EXPECT_TRUE(sut.sender_closed() && sut.receiver_closed());
}

}  // namespace
}  // namespace sluice::shm
