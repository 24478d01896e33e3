#include "sluice/shm/directory.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/processes.hpp"
#include "support/words.hpp"

namespace sluice::shm {
namespace {

using test::await;
using test::Child;
using test::Shared;
using test::Watchdog;

std::shared_ptr<Directory> make_directory(std::uint32_t members = 64) {
    return std::make_shared<Directory>(
        test::make_segment(SegmentKind::manager, Directory::bytes(), members,
                           [](std::byte* body, std::uint32_t) { Directory::initialise(body); }),
        "Manager");
}

SegmentSpec small_spec() {
    SegmentSpec spec;
    spec.kind = SegmentKind::event;
    spec.capacity = 1;
    spec.member_capacity = 4;
    spec.body_bytes = 64;
    return spec;
}
std::shared_ptr<Segment> make_in(const std::shared_ptr<Directory>& directory,
                                 const std::string& name, Failure& failure,
                                 const SegmentSpec& spec = small_spec()) {
    return Segment::create({name, directory}, spec, {}, 0600, failure, [](Segment&) {});
}
DirectoryState state_at(Directory& directory, std::size_t index) {
    return static_cast<DirectoryState>(directory.layout().states[index].load());
}

TEST(Directory, WindowsLieApartAndInsideTheFile) {
    const FileWindow first = Directory::window_of(0);
    const FileWindow second = Directory::window_of(1);
    const FileWindow last = Directory::window_of(DirectoryLayout::kObjects - 1);
    EXPECT_EQ(first.begin, first.bytes) << "the table's own part is as large";
    EXPECT_EQ(first.begin + first.bytes, second.begin);
    EXPECT_LT(last.begin + last.bytes, 1ULL << 63U) << "the largest offset that there is";
}

TEST(Directory, AWindowIsFreeUsedNamedUsedAndFreeAgain) {
    const auto sut = make_directory();
    Failure failure;
    EXPECT_EQ(state_at(*sut, 0), DirectoryState::free);
    auto segment = make_in(sut, "a", failure);
    ASSERT_TRUE(segment) << failure.text;
    EXPECT_EQ(state_at(*sut, 0), DirectoryState::named);
    EXPECT_TRUE(sut->remove("a", failure));
    EXPECT_EQ(state_at(*sut, 0), DirectoryState::used);
    segment.reset();
    EXPECT_EQ(state_at(*sut, 0), DirectoryState::free);
    EXPECT_FALSE(sut->remove("a", failure));
    EXPECT_EQ(failure.error, ENOENT);
}

TEST(Directory, SaysWhichNameIsTakenOrMissing) {
    const auto sut = make_directory();
    Failure failure;
    const auto segment = make_in(sut, "a", failure);
    EXPECT_FALSE(make_in(sut, "a", failure));
    EXPECT_EQ(failure.error, EEXIST);
    EXPECT_NE(failure.text.find("Manager: \"a\""), std::string::npos) << failure.text;
    EXPECT_EQ(state_at(*sut, 1), DirectoryState::free) << "what could not be named is cleared";
    EXPECT_FALSE(Segment::open({"b", sut}, small_spec(), failure));
    EXPECT_EQ(failure.error, ENOENT);
    EXPECT_NE(failure.text.find("Manager: \"b\""), std::string::npos) << failure.text;
}

TEST(Directory, ATakenWindowIsNotCleared) {
    const auto sut = make_directory();
    Failure failure;
    std::vector<std::shared_ptr<Segment>> held;
    std::set<std::uint64_t> windows;
    for (int count = 0; count < 100; ++count) {
        held.push_back(make_in(sut, "", failure));
        ASSERT_TRUE(held.back()) << failure.text;
        std::memset(held.back()->body(), count, 64);
        windows.insert(held.back()->mapping().window().begin);
    }
    EXPECT_EQ(windows.size(), 100U);
    for (int count = 0; count < 100; ++count) {
        EXPECT_EQ(held[static_cast<std::size_t>(count)]->body()[63], static_cast<std::byte>(count));
    }
}

TEST(Directory, ThreadsMakeOpenAndRemoveAtOnce) {
    const Watchdog watchdog(60);
    const auto sut = make_directory();
    std::atomic<int> makers{0};
    const auto work = [&](unsigned seed) {
        for (unsigned count = 0; count < 300; ++count) {
            const std::string name = "n" + std::to_string((seed + count) % 3);
            Failure failure;
            auto segment = make_in(sut, name, failure);
            if (segment) {
                makers.fetch_add(1);
                segment->body()[0] = std::byte{1};
            } else if (failure.error == EEXIST) {
                failure = {};
                segment = Segment::open({name, sut}, small_spec(), failure);
            }
            ASSERT_TRUE(segment || failure.error == ENOENT) << failure.text;
            if (count % 4 == 0) {
                static_cast<void>(sut->remove(name, failure));
            }
        }
    };
    std::thread one(work, 0U);
    std::thread other(work, 1U);
    one.join();
    other.join();
    EXPECT_GT(makers.load(), 0);
    Failure failure;
    for (const DirectoryEntry& entry : sut->list(failure)) {
        EXPECT_TRUE(sut->remove(entry.name, failure));
    }
    for (std::size_t index = 0; index < sut->layout().high.load(); ++index) {
        EXPECT_EQ(state_at(*sut, index), DirectoryState::free) << index;
    }
}

// Torn states: the half-finished bytes of each operation, then others go on.

TEST(Directory, ANameWithoutItsStateIsNone) {
    const auto sut = make_directory();
    Failure failure;
    std::strcpy(sut->layout().names[0], "a");
    sut->layout().high.store(1);
    sut->layout().states[0].store(static_cast<std::uint32_t>(DirectoryState::used));
    EXPECT_FALSE(sut->contains("a", failure));
    EXPECT_TRUE(make_in(sut, "a", failure)) << failure.text;
    EXPECT_EQ(sut->list(failure).size(), 1U);
}

TEST(Directory, WhatADeadMakerLeftIsClearedByTheNextOne) {
    const Watchdog watchdog(60);
    const auto sut = make_directory();
    Shared<std::atomic<int>> ready;
    Child maker([&] {
        Failure failure;
        auto window = sut->make_window(failure);
        ASSERT_TRUE(window && window->create_in_window(100'000, {}, failure)) << failure.text;
        std::memset(window->data(), 0xee, window->bytes());
        ready->store(1);
        await([] { return false; });
    });
    await([&] { return ready->load() == 1; });
    Failure failure;
    EXPECT_EQ(state_at(*sut, 0), DirectoryState::used);
    auto other = make_in(sut, "", failure);
    EXPECT_EQ(state_at(*sut, 0), DirectoryState::used) << "he lives";
    EXPECT_EQ(other->mapping().window().begin, Directory::window_of(1).begin);
    maker.kill_and_join();
    const std::uint64_t before = sut->segment().mapping().bytes_allocated();
    const auto next = make_in(sut, "", failure);
    EXPECT_EQ(next->mapping().window().begin, Directory::window_of(0).begin);
    EXPECT_LT(sut->segment().mapping().bytes_allocated(), before - 90'000);
    EXPECT_EQ(next->body()[0], std::byte{0}) << "of his bytes none is there";
}

TEST(Directory, AClearedWindowWhoseStateWasNotWrittenIsClearedAgain) {
    const auto sut = make_directory();
    Failure failure;
    sut->layout().high.store(1);
    sut->layout().states[0].store(static_cast<std::uint32_t>(DirectoryState::used));
    EXPECT_TRUE(sut->segment().mapping().clear_window(Directory::window_of(0)));
    const auto segment = make_in(sut, "a", failure);
    ASSERT_TRUE(segment) << failure.text;
    EXPECT_EQ(segment->mapping().window().begin, Directory::window_of(0).begin);
}

TEST(Directory, TheLockOfADeadOneIsTaken) {
    const Watchdog watchdog(60);
    const auto sut = make_directory();
    Shared<std::atomic<int>> ready;
    Child owner([&] {
        LockWord lock(sut->layout().lock, sut->segment().members());
        ready->store(lock.try_lock_now(sut->segment().members().id()) ? 1 : 2);
        await([] { return false; });
    });
    await([&] { return ready->load() != 0; });
    ASSERT_EQ(ready->load(), 1);
    owner.kill_and_join();
    Failure failure;
    EXPECT_TRUE(make_in(sut, "a", failure)) << failure.text;
    EXPECT_TRUE(sut->contains("a", failure));
}

// What a table contains is input.

TEST(Directory, DamagedEntriesAreNotFollowed) {
    const auto sut = make_directory();
    Failure failure;
    sut->layout().high.store(~0U);
    sut->layout().cursor.store(~0U);
    std::memset(sut->layout().names, 'x', sizeof sut->layout().names);
    for (auto& state : sut->layout().states) {
        state.store(77);
    }
    EXPECT_FALSE(make_in(sut, "a", failure));
    EXPECT_EQ(failure.error, ENOSPC);
    EXPECT_TRUE(sut->list(failure).empty());
    for (auto& state : sut->layout().states) {
        state.store(static_cast<std::uint32_t>(DirectoryState::named));
    }
    failure = {};
    EXPECT_EQ(sut->list(failure).size(), DirectoryLayout::kObjects);
    EXPECT_FALSE(sut->contains(std::string(300, 'x'), failure));
    // Names that lead to nothing.
    EXPECT_FALSE(Segment::open({std::string(200, 'x'), sut}, small_spec(), failure));
    std::strcpy(sut->layout().names[5], "hole");
    failure = {};
    EXPECT_FALSE(Segment::open({"hole", sut}, small_spec(), failure));
    EXPECT_EQ(failure.kind, FailureKind::bad_segment) << failure.text;
}

TEST(Directory, ALockWithAnOwnerThatThereIsNotIsDamage) {
    const auto sut = make_directory();
    Failure failure;
    sut->layout().lock.word.store(60'000);
    EXPECT_FALSE(make_in(sut, "a", failure));
    EXPECT_EQ(failure.kind, FailureKind::bad_segment) << failure.text;
}

TEST(Directory, HasNoPlaceForMoreThreadsThanMembers) {
    const Watchdog watchdog(60);
    const auto sut = make_directory(1);
    Failure failure;
    EXPECT_FALSE(sut->contains("a", failure));
    EXPECT_FALSE(failure);
    Child child([&] {
        Failure its;
        EXPECT_FALSE(sut->contains("a", its));
        EXPECT_EQ(its.error, EAGAIN) << its.text;
    });
    EXPECT_EQ(child.join(), 0);
}

}  // namespace
}  // namespace sluice::shm
