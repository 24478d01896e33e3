// Memory that grows, for what lies in a segment and has no fixed size: the nodes of a dictionary,
// the blocks of a list. An arena is a row of units of 4 KiB; a heap is one lock's share of it.
//
// I1 a unit's word names the heap that has it, 0: nobody. It is taken by one compare-and-swap that
//    carries the heap, so there is no instant at which a unit is taken by nobody in particular.
// I2 only who holds a heap's lock changes its words, and the words of the units that it has.
// I3 memory is allocated (fallocate) before `grown` says that it may be used: a full file system is
//    an answer and never a SIGBUS.
// I4 what a heap has is found without it: its free lists are a cache of what its units hold less
//    what its owner can reach. So nothing is logged: who finds that the last holder of the lock
//    died walks over what is reachable and makes the lists anew (rebuild), as often as it takes.
//
// A unit that a heap takes is cut into blocks of one size class, or is part of a run: the memory of
// one block that is larger than any class. The head of a chunk or run is written last and taken
// back first; parts without a head are what a death in between leaves, and rebuild() frees them.
//
// Readers look at blocks without any lock, while these are given back and used again. So everything
// in them is written and read as whole words, by W below.
//
// Ordering ledger
//   R1 a unit given back -> A1 : who takes it next writes to it after us
//   R2 grown -> A2 : what `grown` covers has memory
//   R3 a word of a block -> A3 : who has read a word of a later use finds, when it looks again,
//      what was done before that use: the link to the block had been changed (else: takes a mixture
//      for a value). Each word and no fence, as in guarded_word.hpp
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sluice/shm/facts.hpp"
#include "sluice/shm/segment.hpp"

namespace sluice::shm {

/// A place in the arena, in steps of 16 bytes: 32 bits reach 64 GiB. 0: none.
using Granule = std::uint32_t;
inline constexpr std::size_t kGranuleBytes = 16;
inline constexpr std::size_t kUnitBytes = 4096;
inline constexpr std::size_t kUnitGranules = kUnitBytes / kGranuleBytes;

/// The bytes of a value: padded with zeros to whole words, which `data` has, too.
struct PaddedBytes {
    const std::byte* data{};
    std::size_t bytes{};

    constexpr std::size_t padded() const noexcept { return round_up(bytes, 8); }
};

/// What is said of the arena in its object's body.
struct ArenaLayout {
    std::uint64_t units_max;           // constant
    std::atomic<std::uint64_t> grown;  // units that have memory
    std::atomic<std::uint64_t> next;   // where to look for a free one first: a hint
    std::uint64_t reserved[5];
};
static_assert(sizeof(ArenaLayout) == kCacheLineBytes);

/// A unit's word: run length in units:32 | heap + 1:16 | kind:8.
struct UnitWord {
    static constexpr std::uint32_t kRun = 0x80;   // the head of a run
    static constexpr std::uint32_t kPart = 0x81;  // of a chunk or run; without a head: of nothing

    std::uint64_t word;

    static constexpr UnitWord make(std::uint32_t heap, std::uint32_t kind,
                                   std::uint64_t units) noexcept {
        return {(units << 32U) | (std::uint64_t{heap + 1U} << 8U) | kind};
    }
    constexpr bool is_of(std::uint32_t heap) const noexcept {
        return ((word >> 8U) & 0xffffU) == heap + 1U;
    }
    constexpr std::uint32_t kind() const noexcept {
        return static_cast<std::uint32_t>(word & 0xffU);
    }
    constexpr std::uint64_t units() const noexcept { return word >> 32U; }
};

/// The sizes that blocks come in: steps of 16 bytes up to 128, then four to each power of two, so
/// that at most a fifth of a block is wasted. Larger than the last: whole units.
struct SizeClass {
    static constexpr std::uint32_t kCount = 36;
    static constexpr std::size_t kBytesMax = 16384;
    static constexpr std::size_t kSmallMax = 128;

    static constexpr std::uint32_t of(std::size_t bytes) noexcept {
        if (bytes <= kSmallMax) {
            return static_cast<std::uint32_t>((bytes + kGranuleBytes - 1) / kGranuleBytes) - 1U;
        }
        std::uint32_t octave = 0;
        while ((kSmallMax << (octave + 1U)) < bytes) {
            ++octave;
        }
        const std::size_t base = kSmallMax << octave;
        return 8U + 4U * octave + static_cast<std::uint32_t>((bytes - 1 - base) / (base / 4));
    }
    static constexpr std::size_t bytes(std::uint32_t index) noexcept {
        if (index < 8U) {
            return (index + 1U) * kGranuleBytes;
        }
        const std::size_t base = kSmallMax << ((index - 8U) / 4U);
        return base + ((index - 8U) % 4U + 1U) * (base / 4);
    }
    /// Units that are cut up at once, so that little is left over at their end.
    static constexpr std::uint64_t chunk_units(std::uint32_t index) noexcept {
        return bytes(index) <= 512 ? 1 : bytes(index) <= 2048 ? 4 : 16;
    }
};
static_assert(SizeClass::of(SizeClass::kBytesMax) == SizeClass::kCount - 1);
static_assert(SizeClass::bytes(SizeClass::kCount - 1) == SizeClass::kBytesMax);

/// A heap's part of its object's body: all zero at first. Under the heap's lock (I2).
struct HeapLayout {
    std::atomic<std::uint64_t> held_bytes;  // of the units that it has
    std::atomic<std::uint64_t> free_bytes;  // in its lists
    std::atomic<std::uint64_t> trim_at;     // so many free bytes are worth a walk
    std::atomic<Granule> free[SizeClass::kCount];
};
static_assert(sizeof(HeapLayout) == 24 + 4 * SizeClass::kCount);

/// Why there was no memory.
struct Shortage {
    std::uint64_t asked_bytes{};
    int error{};  // the kernel's; 0: the arena's maximum is reached
};

/// This process's view of an arena.
class Arena {
 public:
    static constexpr std::uint64_t kUnitsMax = (1ULL << 32U) / kUnitGranules;

    static std::uint64_t layout_signature() noexcept;
    /// What lies behind the body's `head_bytes`, of which none has memory at first.
    static std::size_t room_bytes(std::uint64_t units_max) noexcept;
    static void initialise(ArenaLayout& layout, std::uint64_t units_max) noexcept;
    /// Whether the arena that the layout tells of lies inside the segment. Returns its units_max, 0
    /// where it does not.
    static std::uint64_t checked_units_max(const ArenaLayout& layout, const Segment& segment,
                                           std::size_t head_bytes) noexcept;

    /// `head_bytes`: of the body, before the arena; the body begins at a page. The segment must
    /// outlive this.
    Arena(ArenaLayout& layout, const Segment& segment, std::size_t head_bytes,
          std::uint64_t units_max) noexcept;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    /// The bytes from there on; null where they are not all of the arena: a place that was read in
    /// shared memory may be anything.
    std::byte* at(Granule place, std::size_t bytes) const noexcept {
        const std::uint64_t offset = std::uint64_t{place} * kGranuleBytes;
        // relaxed: this process's own note of A2
        if (offset + bytes > known_bytes_.load(std::memory_order_relaxed)) [[unlikely]] {
            if (offset + bytes > learn_bytes()) {
                return nullptr;
            }
        }
        return data_ + offset;
    }

    /// Whether so many bytes from there on, a place that at() gave, are all of the arena.
    bool holds(const std::byte* from, std::uint64_t bytes) const noexcept {
        const auto offset = static_cast<std::uint64_t>(from - data_);
        // relaxed: as above
        const std::uint64_t known = known_bytes_.load(std::memory_order_relaxed);
        return bytes <= bytes_max() && (offset + bytes <= known || offset + bytes <= learn_bytes());
    }
    /// What has memory.
    std::uint64_t bytes_grown() const noexcept { return grown() * kUnitBytes; }
    std::uint64_t bytes_max() const noexcept { return units_max_ * kUnitBytes; }
    /// Of the units that heaps have. Cost: a look at each unit's word.
    std::uint64_t bytes_in_use() const noexcept;

 private:
    friend class Heap;

    using Word = std::atomic<std::uint64_t>;
    Word& unit(std::uint64_t index) const noexcept { return units_[index]; }
    std::uint64_t grown() const noexcept {
        const std::uint64_t grown = layout_->grown.load(std::memory_order_acquire);  // A2
        return grown < units_max_ ? grown : units_max_;
    }
    std::uint64_t learn_bytes() const noexcept;
    /// The first of `count` units in a row, marked as parts of the heap's; 0: there are none.
    std::uint64_t claim(std::uint32_t heap, std::uint64_t count, Shortage& shortage) noexcept;
    std::uint64_t claim_between(std::uint64_t first, std::uint64_t last, std::uint32_t heap,
                                std::uint64_t count) noexcept;
    void give_back(std::uint64_t first, std::uint64_t count) noexcept;
    bool grow(std::uint64_t seen, std::uint64_t count, Shortage& shortage) noexcept;

    ArenaLayout* layout_;
    const Segment* segment_;
    std::size_t table_offset_;  // of the mapping
    Word* units_;
    std::size_t data_offset_;
    std::byte* data_;
    std::uint64_t units_max_;
    mutable std::atomic<std::uint64_t> known_bytes_{};
};

/// One lock's share of an arena. All calls under that lock.
class Heap {
 public:
    Heap(Arena& arena, HeapLayout& layout, std::uint32_t index) noexcept
        : arena_(&arena), layout_(&layout), index_(index) {}

    /// Memory for so many bytes; 0 where there is none. What is in it is what was in it.
    /// Crash: a block that nothing reaches is freed by rebuild().
    Granule allocate(std::size_t bytes, Shortage& shortage) noexcept {
        const std::uint32_t index = bytes <= SizeClass::kBytesMax ? SizeClass::of(bytes) : 0;
        // relaxed, here and below: under the lock
        const Granule block = layout_->free[index].load(std::memory_order_relaxed);
        std::byte* memory = arena_->at(block, SizeClass::bytes(index));
        if (bytes > SizeClass::kBytesMax || block < kUnitGranules || memory == nullptr)
            [[unlikely]] {
            return allocate_slowly(bytes, shortage);
        }
        layout_->free[index].store(static_cast<Granule>(next_of(memory)),
                                   std::memory_order_relaxed);
        add_free(0 - SizeClass::bytes(index));
        return block;
    }

    /// Gives back what allocate(bytes) gave. Its first word keeps its value until it is used again.
    void release(Granule block, std::size_t bytes) noexcept {
        if (bytes > SizeClass::kBytesMax) [[unlikely]] {
            release_run(block);
            return;
        }
        const std::uint32_t index = SizeClass::of(bytes);
        if (std::byte* memory = arena_->at(block, SizeClass::bytes(index)); memory != nullptr) {
            push(index, block, memory);
        }
    }

    /// Whether so much is free that a walk over the living is worth it: give back whole units to
    /// the others.
    bool is_worth_a_trim() const noexcept {
        constexpr std::uint64_t kFewBytes = 16 * kUnitBytes;
        const std::uint64_t free = layout_->free_bytes.load(std::memory_order_relaxed);  // I2
        return free > kFewBytes && free > layout_->trim_at.load(std::memory_order_relaxed) &&
               2 * free > layout_->held_bytes.load(std::memory_order_relaxed);
    }

    /// Makes the free lists anew: `living`, sorted, is all that is reachable; whatever else the
    /// heap's units hold is free, and units without anything that lives are nobody's.
    /// Crash: can be repeated. Cost: a look at each unit of the arena, and at each free block.
    void rebuild(std::span<const Granule> living) noexcept;

    std::uint32_t index() const noexcept { return index_; }

 private:
    static std::uint64_t next_of(const std::byte* block) noexcept {
        // relaxed: under the lock (I2)
        return reinterpret_cast<const std::atomic<std::uint64_t>*>(block)[1].load(
            std::memory_order_relaxed);
    }
    void push(std::uint32_t index, Granule block, std::byte* memory) noexcept {
        // relaxed: under the lock. The block's word is one that readers may still look at: R3
        const Granule next = layout_->free[index].load(std::memory_order_relaxed);
        reinterpret_cast<std::atomic<std::uint64_t>*>(memory)[1].store(
            next, std::memory_order_release);  // R3
        layout_->free[index].store(block, std::memory_order_relaxed);
        add_free(SizeClass::bytes(index));
    }
    void add_free(std::uint64_t bytes) noexcept {
        // relaxed: under the lock
        layout_->free_bytes.store(layout_->free_bytes.load(std::memory_order_relaxed) + bytes,
                                  std::memory_order_relaxed);
    }
    void add_held(std::uint64_t bytes) noexcept {
        // relaxed: under the lock
        layout_->held_bytes.store(layout_->held_bytes.load(std::memory_order_relaxed) + bytes,
                                  std::memory_order_relaxed);
    }
    Granule allocate_slowly(std::size_t bytes, Shortage& shortage) noexcept;
    void release_run(Granule block) noexcept;
    void free_units(std::uint64_t first, std::uint64_t count) noexcept;

    Arena* arena_;
    HeapLayout* layout_;
    std::uint32_t index_;
};

/// Words of blocks, whole (R3, A3). Sizes are multiples of 8.
inline std::uint64_t load_block_word(const std::byte* at) noexcept {
    return reinterpret_cast<const std::atomic<std::uint64_t>*>(at)->load(
        std::memory_order_acquire);  // A3
}
inline void store_block_word(std::byte* at, std::uint64_t word) noexcept {
    reinterpret_cast<std::atomic<std::uint64_t>*>(at)->store(word,
                                                             std::memory_order_release);  // R3
}
template <std::size_t kBytes>
inline void load_block_words(std::byte* destination, const std::byte* block) noexcept {
    static_assert(kBytes % sizeof(std::uint64_t) == 0);
#pragma GCC unroll 8
    for (std::size_t at = 0; at < kBytes; at += sizeof(std::uint64_t)) {
        const std::uint64_t word = load_block_word(block + at);
        __builtin_memcpy(destination + at, &word, sizeof word);
    }
}
inline void load_block_words(std::byte* destination, const std::byte* block,
                             std::size_t bytes) noexcept {
    for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
        const std::uint64_t word = load_block_word(block + at);
        __builtin_memcpy(destination + at, &word, sizeof word);
    }
}
inline void store_block_words(std::byte* block, const std::byte* source,
                              std::size_t bytes) noexcept {
    for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, source + at, sizeof word);
        store_block_word(block + at, word);
    }
}
template <std::size_t kBytes>
inline bool equals_block_words(const std::byte* block, const std::byte* other) noexcept {
    std::uint64_t difference = 0;
#pragma GCC unroll 8
    for (std::size_t at = 0; at < kBytes; at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, other + at, sizeof word);
        difference |= load_block_word(block + at) ^ word;
    }
    return difference == 0;
}
inline bool equals_block_words(const std::byte* block, const std::byte* other,
                               std::size_t bytes) noexcept {
    for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, other + at, sizeof word);
        if (load_block_word(block + at) != word) {
            return false;
        }
    }
    return true;
}

}  // namespace sluice::shm
