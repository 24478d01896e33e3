#include "sluice/shm/byte_ring.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <optional>
#include <vector>

#include "sluice/shm/mapping.hpp"
#include "support/processes.hpp"

namespace sluice::shm {
namespace {

using test::Child;
using test::Watchdog;

// Control, then the data, mapped twice in a row.
class Ring {
 public:
    explicit Ring(std::uint64_t first_position = 0, std::uint64_t capacity = 4096)
        : capacity_(capacity) {
        Failure failure;
        mapping_ = std::move(*Mapping::create_anonymous("test", 4096 + capacity, {}, failure));
        ByteRing::initialise(mapping_.data(), first_position);
        data_ = mapping_.map_twice(4096, capacity, failure);
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() { munmap(data_, 2 * capacity_); }

    ByteRing view() const { return {mapping_.data(), data_, capacity_}; }
    ByteRingLayout& layout() const { return *reinterpret_cast<ByteRingLayout*>(mapping_.data()); }
    std::byte* data() const { return data_; }

 private:
    Mapping mapping_{};
    std::byte* data_{};
    std::uint64_t capacity_;
};

std::byte expected_byte(std::uint64_t message, std::uint64_t index) {
    return static_cast<std::byte>(message * 31 + index);
}

bool try_send(ByteRing& sut, std::uint64_t message, std::uint64_t bytes, std::uint32_t flags = 0) {
    std::byte* room = sut.try_claim(bytes);
    if (room == nullptr) {
        return false;
    }
    for (std::uint64_t index = 0; index < bytes; ++index) {
        room[index] = expected_byte(message, index);
    }
    sut.publish(bytes, flags);
    return true;
}

// The length of the message, if one was there; its bytes are checked.
std::optional<std::uint64_t> try_recv(ByteRing& sut, std::uint64_t message) {
    std::span<const std::byte> payload;
    std::uint32_t flags = 0;
    if (sut.peek(payload, flags) != ByteRing::Peek::record) {
        return std::nullopt;
    }
    for (std::uint64_t index = 0; index < payload.size(); ++index) {
        if (payload[index] != expected_byte(message, index)) {
            ADD_FAILURE() << "message " << message << " byte " << index;
            break;
        }
    }
    sut.consume(payload.size());
    return payload.size();
}

TEST(ByteRing, RecordsOfAnyLengthComeWholeAndInOrder) {
    for (const std::uint64_t first : {0ULL, 4096ULL - 8, 0ULL - 4096, 0ULL - 8}) {
        const Ring ring(first);
        ByteRing writer = ring.view();
        ByteRing reader = ring.view();
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
        const auto length = [](std::uint64_t message) { return message * 37 % 1500; };
        while (received < 500) {
            while (try_send(writer, sent, length(sent))) {
                ++sent;
            }
            for (int take = 0; take < 2 && received < sent; ++take) {
                ASSERT_EQ(try_recv(reader, received), length(received));
                ++received;
            }
        }
    }
}

TEST(ByteRing, EmptyMessagesAreMessages) {
    const Ring ring;
    ByteRing writer = ring.view();
    ByteRing reader = ring.view();
    EXPECT_FALSE(reader.readable());
    ASSERT_TRUE(try_send(writer, 0, 0));
    EXPECT_TRUE(reader.readable());
    EXPECT_EQ(try_recv(reader, 0), 0U);
    EXPECT_FALSE(try_recv(reader, 1));
}

TEST(ByteRing, TheLongestClaimFillsTheRing) {
    const Ring ring(0ULL - 16);
    ByteRing writer = ring.view();
    ByteRing reader = ring.view();
    ASSERT_TRUE(try_send(writer, 7, writer.claim_max()));
    EXPECT_FALSE(try_send(writer, 8, 0)) << "not a byte is left";
    EXPECT_EQ(try_recv(reader, 7), writer.claim_max());
    EXPECT_TRUE(try_send(writer, 8, 0));
}

TEST(ByteRing, ClaimsThatCanNeverFitAreRefused) {
    const Ring ring;
    ByteRing sut = ring.view();
    for (const std::uint64_t bytes : {sut.claim_max() + 1, std::uint64_t{1} << 32U,
                                      ~std::uint64_t{0}, ~std::uint64_t{7}, ~std::uint64_t{15}}) {
        EXPECT_EQ(sut.try_claim(bytes), nullptr) << bytes;
    }
}

TEST(ByteRing, CreditIsExactToTheByte) {
    const Ring ring;
    ByteRing writer = ring.view();
    ByteRing reader = ring.view();
    for (std::uint64_t message = 0; message < 4; ++message) {
        ASSERT_TRUE(try_send(writer, message, 1016));
    }
    EXPECT_FALSE(try_send(writer, 4, 0));
    ASSERT_TRUE(try_recv(reader, 0));
    EXPECT_FALSE(try_send(writer, 4, 1017));
    EXPECT_TRUE(try_send(writer, 4, 1016));
}

TEST(ByteRing, LessThanWasClaimedMayBePublished) {
    const Ring ring;
    ByteRing writer = ring.view();
    ByteRing reader = ring.view();
    ASSERT_NE(writer.try_claim(1000), nullptr);
    ASSERT_TRUE(try_send(writer, 3, 10));
    EXPECT_EQ(try_recv(reader, 3), 10U);
}

TEST(ByteRing, FlagsTravelWithTheRecord) {
    const Ring ring;
    ByteRing writer = ring.view();
    ByteRing reader = ring.view();
    ASSERT_TRUE(try_send(writer, 0, 3, RecordLayout::kMore));
    std::span<const std::byte> payload;
    std::uint32_t flags = 0;
    ASSERT_EQ(reader.peek(payload, flags), ByteRing::Peek::record);
    EXPECT_EQ(flags, RecordLayout::kMore);
}

TEST(ByteRing, ALengthThatCannotBeIsDamage) {
    for (const std::uint32_t length : {17U, 4089U, 4096U, 0x7fff'ffffU, 0xffff'ffffU}) {
        const Ring ring(0ULL - 8);
        ByteRing writer = ring.view();
        ByteRing reader = ring.view();
        ASSERT_TRUE(try_send(writer, 0, 16));
        std::memcpy(ring.data() + 4096 - 8, &length, sizeof length);
        std::span<const std::byte> payload;
        std::uint32_t flags = 0;
        EXPECT_EQ(reader.peek(payload, flags), ByteRing::Peek::damaged) << length;
    }
}

TEST(ByteRing, PositionsThatCannotBeAreDamage) {
    for (const std::uint64_t written : {4097ULL, 4104ULL, 1ULL << 40U, 4ULL, 0ULL - 8}) {
        const Ring ring;
        ring.layout().write_position.store(written, std::memory_order_seq_cst);
        ByteRing reader = ring.view();
        std::span<const std::byte> payload;
        std::uint32_t flags = 0;
        EXPECT_EQ(reader.peek(payload, flags), ByteRing::Peek::damaged) << written;
    }
}

TEST(ByteRing, AKilledWriterLeavesWholeRecordsOnly) {
    const Watchdog watchdog(60);
    const Ring ring;
    Child writer([&] {
        ByteRing sut = ring.view();
        ASSERT_TRUE(try_send(sut, 0, 100));
        std::byte* room = sut.try_claim(50);
        ASSERT_NE(room, nullptr);
        std::memset(room, 0xee, 50);
        raise(SIGKILL);
    });
    EXPECT_EQ(writer.join(), -SIGKILL);
    ByteRing reader = ring.view();
    EXPECT_EQ(try_recv(reader, 0), 100U);
    EXPECT_FALSE(try_recv(reader, 1));
    ByteRing heir = ring.view();
    ASSERT_TRUE(try_send(heir, 1, 60));
    EXPECT_EQ(try_recv(reader, 1), 60U);
}

TEST(ByteRing, AKilledReaderLeavesTheRecordThatItHadNotConsumed) {
    const Watchdog watchdog(60);
    const Ring ring;
    ByteRing writer = ring.view();
    ASSERT_TRUE(try_send(writer, 0, 100) && try_send(writer, 1, 200));
    Child reader([&] {
        ByteRing sut = ring.view();
        ASSERT_TRUE(try_recv(sut, 0));
        std::span<const std::byte> payload;
        std::uint32_t flags = 0;
        ASSERT_EQ(sut.peek(payload, flags), ByteRing::Peek::record);
        raise(SIGKILL);
    });
    EXPECT_EQ(reader.join(), -SIGKILL);
    ByteRing heir = ring.view();
    EXPECT_EQ(try_recv(heir, 1), 200U);
}

}  // namespace
}  // namespace sluice::shm
