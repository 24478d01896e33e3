#include "sluice/shm/guarded_word.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include "support/processes.hpp"
#include "support/words.hpp"

namespace sluice::shm {
namespace {

using test::await;
using test::Child;
using test::Guarded;
using test::Shared;
using test::Watchdog;

TEST(GuardedWord, SmallValuesLieOnTheVersionsLineAndOthersOnTheirOwn) {
    EXPECT_EQ(GuardedWord::bytes(24), kIsolationBytes + 8 + 48);
    EXPECT_EQ(GuardedWord::bytes(32), kIsolationBytes + kCacheLineBytes + 2 * kCacheLineBytes);
    EXPECT_EQ(GuardedWord::bytes(72), kIsolationBytes + kCacheLineBytes + 4 * kCacheLineBytes);
    Guarded<3> small;
    EXPECT_EQ(small->buffer(1) - small->buffer(0), 24);
    Guarded<9> large;
    EXPECT_EQ(large->buffer(1) - large->buffer(0), 128);
    EXPECT_EQ(large->buffer(0) - reinterpret_cast<std::byte*>(&large->layout()), 192);
}

template <std::size_t kWords>
void commits_across_the_wrap() {
    Guarded<kWords> sut(7, 0ULL - 2);
    EXPECT_EQ(sut.read(), 7U);
    for (std::uint64_t number = 0; number < 5; ++number) {
        EXPECT_EQ(sut.begin(), LockResult::done);
        sut.commit(number);
        EXPECT_EQ(sut.read(), number) << "committed, not only when the lock is given back";
        EXPECT_TRUE(sut.end());
        EXPECT_EQ(sut->version(), number - 1);
    }
}
TEST(GuardedWord, VersionsWrap) {
    commits_across_the_wrap<1>();
    commits_across_the_wrap<3>();
    commits_across_the_wrap<40>();
}

TEST(GuardedWord, AHalfWrittenSpareIsNobodysValue) {
    Guarded<8> sut(7);
    EXPECT_EQ(sut.begin(), LockResult::done);
    std::memset(sut->buffer(sut->version() + 1), 0xee, 24);
    EXPECT_EQ(sut.read(), 7U);
    EXPECT_TRUE(sut.end());
    EXPECT_EQ(sut.begin(), LockResult::done);
    sut.commit(8);
    EXPECT_EQ(sut.read(), 8U);
}

TEST(GuardedWord, ADeadWritersLockIsTakenAndItsSpareWrittenAnew) {
    const Watchdog watchdog(60);
    Guarded<8> sut(7);
    const Shared<std::atomic<bool>> writes;
    Child writer([&] {
        EXPECT_EQ(sut.begin(), LockResult::done);
        std::memset(sut->buffer(sut->version() + 1), 0xee, 24);
        writes->store(true);
        for (;;) {
            pause();
        }
    });
    await([&] { return writes->load(); });
    EXPECT_EQ(sut.begin(Deadline::passed()), LockResult::timed_out);
    writer.kill_and_join();
    EXPECT_EQ(sut.read(), 7U);
    EXPECT_EQ(sut.begin(Deadline::passed()), LockResult::done);
    sut.commit(8);
    EXPECT_TRUE(sut.end());
    EXPECT_EQ(sut.read(), 8U);
}

TEST(GuardedWord, AReaderNeedsNoPlaceAmongTheMembers) {
    const Watchdog watchdog(60);
    Guarded<2> sut(7, 0, 1);  // a place for one
    EXPECT_EQ(sut.begin(), LockResult::done);
    Child reader([&] {
        EXPECT_EQ(sut.read(), 7U);
        EXPECT_EQ(sut.me(), kNobody);
    });
    EXPECT_EQ(reader.join(), 0);
}

TEST(GuardedWord, KeepsValuesOfAnyLengthUpToTheMost) {
    test::SizedValue sut(16, "abc", ~0ULL - 1);
    EXPECT_EQ(sut.read(), "abc");
    ASSERT_EQ(sut.begin(), LockResult::done);
    for (const std::string& text :
         {std::string(), std::string("x"), std::string(16, 'y'), std::string("12345678")}) {
        sut.commit(text);
        EXPECT_EQ(sut.read(), text);
    }
    EXPECT_TRUE(sut.end());
}

TEST(GuardedWord, ALengthBeyondTheBufferIsNotFollowed) {
    test::SizedValue sut(16, "abc");
    const std::uint64_t length = ~0ULL;
    std::memcpy(sut.word().buffer(0), &length, sizeof length);
    std::array<std::byte, 64> room{};
    room.fill(std::byte{7});
    EXPECT_EQ(sut.word().read_sized(room), length) << "for the caller to refuse";
    EXPECT_EQ(room[16], std::byte{7}) << "no more is copied than there is";
}

TEST(GuardedWord, ThreadsReadWholeTextsWhileAnotherWrites) {
    test::SizedValue sut(200, "a");
    std::atomic<bool> done{false};
    std::thread writer([&] {
        ASSERT_EQ(sut.begin(), LockResult::done);
        for (int number = 0; number < 20'000; ++number) {
            const int which = number % 26;
            sut.commit(std::string(static_cast<std::size_t>(1 + which * 7),
                                   static_cast<char>('a' + which)));
        }
        EXPECT_TRUE(sut.end());
        done.store(true);
    });
    while (!done.load()) {
        const std::string text = sut.read();
        ASSERT_EQ(text.size(), 1U + static_cast<unsigned>(text.front() - 'a') * 7U);
        ASSERT_EQ(text.find_first_not_of(text.front()), std::string::npos);
    }
    writer.join();
}

}  // namespace
}  // namespace sluice::shm
