#include "sluice/shm/arena.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/processes.hpp"
#include "support/tables.hpp"

namespace sluice::shm {
namespace {

using test::Child;
using test::Watchdog;

struct Body {
    ArenaLayout arena;
    HeapLayout heaps[3];
};

/// An arena with three heaps, which nobody locks.
class Sut {
 public:
    explicit Sut(std::uint64_t units_max = 64) {
        SegmentSpec spec;
        spec.kind = SegmentKind::dict;
        spec.member_capacity = 4;
        spec.body_bytes = kPageBytesMin;
        spec.body_alignment = kPageBytesMin;
        spec.room_bytes = Arena::room_bytes(units_max);
        Failure failure;
        segment_ = Segment::create("", spec, {}, 0600, failure, [&](Segment& made) {
            Arena::initialise((new (made.body()) Body{})->arena, units_max);
        });
        EXPECT_TRUE(segment_) << failure.text;
        arena_ = std::make_unique<Arena>(body().arena, *segment_, sizeof(Body), units_max);
    }

    Body& body() { return *reinterpret_cast<Body*>(segment_->body()); }
    Arena& arena() { return *arena_; }
    Segment& segment() { return *segment_; }
    Heap heap(std::uint32_t index) { return {*arena_, body().heaps[index], index}; }
    Granule allocate(std::uint32_t index, std::size_t bytes) {
        Shortage shortage;
        return heap(index).allocate(bytes, shortage);
    }
    test::Audit audit() { return {*segment_, sizeof(Body), body().arena}; }
    std::string audit_of(std::uint32_t index, std::set<Granule> living) {
        return audit().of(body().heaps[index], index, std::move(living));
    }

 private:
    std::shared_ptr<Segment> segment_{};
    std::unique_ptr<Arena> arena_{};
};

TEST(Arena, SizeClassesWasteAFifthAtMost) {
    for (std::size_t bytes = 1; bytes <= SizeClass::kBytesMax; ++bytes) {
        const std::uint32_t index = SizeClass::of(bytes);
        ASSERT_LT(index, SizeClass::kCount);
        ASSERT_GE(SizeClass::bytes(index), bytes);
        ASSERT_TRUE(index == 0 || SizeClass::bytes(index - 1) < bytes);
        ASSERT_EQ(SizeClass::bytes(index) % kGranuleBytes, 0U);
        if (bytes > SizeClass::kSmallMax) {
            ASSERT_LE(SizeClass::bytes(index) - bytes, bytes / 4);
        }
    }
    for (std::uint32_t index = 0; index < SizeClass::kCount; ++index) {
        const std::size_t chunk = SizeClass::chunk_units(index) * kUnitBytes;
        EXPECT_LE(chunk % SizeClass::bytes(index), chunk / 8) << "left over at the end";
    }
}

TEST(Arena, HasNoMemoryBeforeItIsUsed) {
    Sut sut(1U << 20U);
    const std::uint64_t before = sut.segment().mapping().bytes_allocated();
    EXPECT_LE(before, 4 * kPageBytesMin);
    EXPECT_EQ(sut.arena().at(256, 16), nullptr);
    const Granule block = sut.allocate(0, 32);
    ASSERT_NE(block, 0U);
    EXPECT_NE(sut.arena().at(block, 32), nullptr);
    EXPECT_GE(sut.segment().mapping().bytes_allocated(), before + kUnitBytes);
    EXPECT_EQ(sut.arena().at(0xffff'ffff, 16), nullptr);
}

TEST(Arena, BlocksAreNobodyElses) {
    Sut sut(1024);
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    struct Block {
        Granule place;
        std::size_t bytes;
        std::uint64_t word;
    };
    std::vector<Block> blocks[2];
    for (std::uint64_t step = 1; step < 20'000; ++step) {
        const std::uint32_t index = random() % 2;
        auto& mine = blocks[index];
        if (mine.empty() || random() % 5 < 3) {
            const std::size_t most = random() % 40 == 0 ? 40'000 : 600;
            const std::size_t bytes = 16 + random() % most / 8 * 8;
            const Granule place = sut.allocate(index, bytes);
            if (place == 0) {
                continue;  // full for this size
            }
            std::byte* memory = sut.arena().at(place, bytes);
            ASSERT_NE(memory, nullptr);
            for (std::size_t at = 0; at < bytes; at += 8) {
                store_block_word(memory + at, step);
            }
            mine.push_back({place, bytes, step});
        } else {
            std::swap(mine[random() % mine.size()], mine.back());
            const Block gone = mine.back();
            mine.pop_back();
            const std::byte* memory = sut.arena().at(gone.place, gone.bytes);
            for (std::size_t at = 0; at < gone.bytes; at += 8) {
                ASSERT_EQ(load_block_word(memory + at), gone.word);
            }
            sut.heap(index).release(gone.place, gone.bytes);
            ASSERT_EQ(load_block_word(memory), gone.word) << "the first word is kept";
        }
    }
    for (const std::uint32_t index : {0U, 1U}) {
        std::set<Granule> living;
        for (const Block& block : blocks[index]) {
            EXPECT_TRUE(living.insert(block.place).second);
        }
        EXPECT_EQ(sut.audit_of(index, living), "");
        // The same again, out of what is reachable alone.
        const std::vector<Granule> sorted(living.begin(), living.end());
        sut.heap(index).rebuild(sorted);
        EXPECT_EQ(sut.audit_of(index, living), "");
        sut.heap(index).rebuild({});
        EXPECT_EQ(sut.audit_of(index, {}), "");
    }
    EXPECT_EQ(sut.arena().bytes_in_use(), 0U);
}

TEST(Arena, FullSaysWhatWasAskedForAndWhatIsGivenBackIsThereForOthers) {
    Sut sut(33);
    std::vector<Granule> runs;
    Shortage shortage;
    for (;;) {
        const Granule run = sut.heap(0).allocate(4 * kUnitBytes + 1, shortage);
        if (run == 0) {
            break;
        }
        runs.push_back(run);
    }
    EXPECT_EQ(runs.size(), 6U);
    EXPECT_EQ(shortage.asked_bytes, 4 * kUnitBytes + 1);
    EXPECT_EQ(shortage.error, 0);
    EXPECT_EQ(sut.arena().bytes_in_use(), 30 * kUnitBytes);
    EXPECT_EQ(sut.allocate(1, 5 * kUnitBytes), 0U);
    sut.heap(0).release(runs[3], 4 * kUnitBytes + 1);
    EXPECT_EQ(sut.allocate(1, 5 * kUnitBytes), runs[3]);
    EXPECT_EQ(sut.allocate(0, std::size_t{1} << 40U), 0U);
}

// As where /dev/shm is full: here the descriptor leads to a file that has no memory to give.
TEST(Arena, WhatTheKernelRefusesIsAnErrorAndLosesNothing) {
    Sut sut(1024);
    const Granule before = sut.allocate(0, 32);
    ASSERT_NE(before, 0U);
    store_block_word(sut.arena().at(before, 32), 7);
    const int descriptor = sut.segment().mapping().descriptor();
    const int kept = dup(descriptor);
    const int other = open("/dev/null", O_RDWR | O_CLOEXEC);
    ASSERT_TRUE(kept >= 0 && other >= 0 && dup2(other, descriptor) == descriptor);
    Shortage shortage;
    EXPECT_EQ(sut.heap(0).allocate(30 * kUnitBytes, shortage), 0U);
    EXPECT_EQ(shortage.error, ENODEV);
    EXPECT_EQ(shortage.asked_bytes, 30 * kUnitBytes);
    EXPECT_NE(sut.allocate(0, 32), 0U) << "there is some left of what it has";
    ASSERT_EQ(dup2(kept, descriptor), descriptor);
    EXPECT_NE(sut.heap(0).allocate(30 * kUnitBytes, shortage), 0U);
    EXPECT_EQ(load_block_word(sut.arena().at(before, 32)), 7U);
    close(kept);
    close(other);
}

// What a death in the middle of taking units, or of giving them back, leaves: parts of nothing.
TEST(Arena, TornChunksAreFound) {
    Sut sut;
    const Granule block = sut.allocate(0, 32);
    const Granule run = sut.allocate(0, 30'000);
    const Granule others = sut.allocate(1, 30'000);
    ASSERT_TRUE(block != 0 && run != 0 && others != 0);
    const test::Audit audit = sut.audit();
    const std::uint64_t part = UnitWord::make(0, UnitWord::kPart, 0).word;
    // Three units claimed for a run, its head not yet written.
    std::uint64_t free_unit = 1;
    while (audit.unit(free_unit) != 0 || audit.unit(free_unit + 1) != 0) {
        ++free_unit;
    }
    audit.unit(free_unit) = part;
    audit.unit(free_unit + 1) = part;
    // A run half given back.
    audit.unit(run / kUnitGranules) = part;
    audit.unit(run / kUnitGranules + 1) = 0;
    EXPECT_NE(sut.audit_of(0, {block}), "");
    sut.heap(0).rebuild(std::vector<Granule>{block});
    EXPECT_EQ(sut.audit_of(0, {block}), "");
    EXPECT_EQ(sut.audit_of(1, {others}), "") << "another's units are left alone";
    EXPECT_EQ(sut.arena().bytes_in_use(), (1 + 8) * kUnitBytes);
}

TEST(Arena, ProcessesTakeUnitsSideBySide) {
    const Watchdog watchdog(60);
    Sut sut(512);
    std::vector<Child> children;
    for (std::uint32_t index = 0; index < 3; ++index) {
        children.emplace_back([&sut, index] {
            for (int round = 0; round < 300; ++round) {
                std::vector<Granule> mine;
                for (int count = 0; count < 4; ++count) {
                    const std::size_t bytes = count % 2 == 0 ? 20'000 : 4000;
                    const Granule place = sut.allocate(index, bytes);
                    EXPECT_NE(place, 0U);
                    mine.push_back(place);
                    store_block_word(sut.arena().at(place, bytes), index);
                }
                for (int count = 0; count < 4; ++count) {
                    const Granule place = mine[static_cast<std::size_t>(count)];
                    EXPECT_EQ(load_block_word(sut.arena().at(place, 8)), index);
                    sut.heap(index).release(place, count % 2 == 0 ? 20'000 : 4000);
                }
            }
            sut.heap(index).rebuild({});
        });
    }
    for (Child& child : children) {
        EXPECT_EQ(child.join(), 0);
    }
    EXPECT_EQ(sut.arena().bytes_in_use(), 0U);
}

}  // namespace
}  // namespace sluice::shm
