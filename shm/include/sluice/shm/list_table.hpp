// A list in shared memory. Readers write nothing and wait for nobody; writers lock it. Whoever dies
// at whatever instruction leaves the list as it was or as it was to be.
//
//   root    the block that counts: place:32 | tag:32; place 0: the list is empty
//   block   size, capacity, pops, then a word for each element
//   word    the element itself, where that has 8 bytes at most (ListShape::is_inline); else a link,
//           node:32 | number:32
//   node    birth, (length where it varies,) value: whole words, as in a dictionary
//
// I1 what counts is what the root leads to. append is one store of the size, after the word; pop of
//    the last is one store of the size; assigning is one store of a word; whatever moves elements
//    makes another block and stores the root. Nodes never move and never change.
// I2 words from the size on are nobody's. One that was popped is written again by the next append,
//    before that is committed: so a pop raises `pops`, and who has read a word looks whether it is
//    still the same.
// I3 a node's birth is as in dict_table.hpp, I2: 0 while it is being written, then unique.
// I4 the version is odd while a change is being committed, and even else.
// I5 recovery is a walk over what the root reaches, as often as it takes; nothing is logged.
//
// Ordering ledger (arena.hpp's R3, A3 are those of the words in blocks)
//   R1 root -> A1 : a reader finds the block whole
//   R2 size -> A2 : a reader finds the words before it
//   R3, A3 word: a reader finds the node; and, of a snapshot, that the version was odd
//   R4 version even -> A4 : who reads it even finds what was committed before
//   R5 pops -> A5 : who has read a word that was written after a pop sees the pop. What is looked
//      at again, in this order: the word, pops, the root, the birth
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sluice/shm/arena.hpp"
#include "sluice/shm/lock_word.hpp"

namespace sluice::shm {

/// How elements lie there. Units: bytes of one, whole words; 0: they vary.
struct ListShape {
    std::size_t element_bytes{};
    bool is_inline{};  // in the word itself

    constexpr std::size_t header_bytes() const noexcept { return element_bytes != 0 ? 8 : 16; }
    constexpr std::size_t least() const noexcept { return header_bytes() + element_bytes; }
};

/// The root, taken apart.
struct ListRoot {
    std::uint64_t word;

    constexpr Granule place() const noexcept { return static_cast<Granule>(word >> 32U); }
    constexpr ListRoot next(Granule place) const noexcept {
        return {(std::uint64_t{place} << 32U) | ((word + 1) & 0xffff'ffffU)};
    }
};

/// The elements; then a word for each.
struct ListBlockLayout {
    std::atomic<std::uint64_t> size;
    std::atomic<std::uint64_t> capacity;
    std::atomic<std::uint64_t> pops;
    std::uint64_t reserved;
};
static_assert(sizeof(ListBlockLayout) == 32);

/// The body of a list's segment; then the arena. What readers look at is on a line of its own.
struct ListLayout {
    ArenaLayout arena;
    std::atomic<std::uint64_t> root;
    std::uint64_t reserved[7];
    LockWordLayout lock;
    std::atomic<std::uint64_t> version;  // I4
    std::atomic<std::uint64_t> births;   // how many nodes were made
    std::uint64_t reserved_too[3];
    HeapLayout heap;
    std::byte reserved_last[24];
};
static_assert(sizeof(ListLayout) == 3 * kIsolationBytes);
static_assert(offsetof(ListLayout, lock) == kIsolationBytes);

enum class ListResult : std::uint8_t {
    done,
    outside,         // there is no such element
    full,            // the arena, or the file system: see Shortage
    would_deadlock,  // this thread holds the lock
    damaged,
};

/// This process's view of one list.
///
/// Crash: killed before its commit store a change never happened, from it on it has. Whoever locks
/// the list next frees what the dead one left. A dead reader leaves nothing.
class ListTable {
 public:
    struct Shape {
        ListShape element{};
        std::uint64_t units_max{};
        std::uint64_t first_number{};  // tests: versions, births, pops start near their wrap
    };

    static std::uint64_t layout_signature() noexcept;
    static std::size_t head_bytes() noexcept { return sizeof(ListLayout); }
    static void initialise(std::byte* body, const Shape& shape) noexcept;

    /// Becomes the sweeper of the segment's members: the object must stay where it is.
    ListTable(Segment& segment, const Shape& shape) noexcept;
    ListTable(const ListTable&) = delete;
    ListTable& operator=(const ListTable&) = delete;

    /// The number of elements. Blocks: never.
    ListResult size(std::uint64_t& size) const noexcept {
        return look([&](const Block&, std::uint64_t seen) {
            size = seen;
            return Look::done;
        });
    }

    /// Copies the element at `index`, of compile-time size; from the end where it is negative.
    /// `size`: that of the list. Blocks: never. Progress: lock-free; it begins again when this
    /// element was replaced, or something was popped or moved, meanwhile.
    template <std::size_t kBytes, bool kInline>
    ListResult read(std::int64_t index, std::byte* value, std::uint64_t& size) const noexcept {
        return read_element(index, size, [&](const std::atomic<std::uint64_t>& slot) {
            const std::uint64_t word = slot.load(std::memory_order_acquire);  // A3
            if constexpr (kInline) {
                __builtin_memcpy(value, &word, sizeof word);
                return Element{};
            } else {
                const std::byte* node = node_at(word);
                if (node == nullptr) {
                    return Element{word, nullptr, 0};
                }
                const std::uint64_t birth = load_block_word(node);
                load_block_words<kBytes>(value, node + sizeof birth);
                return Element{word, node, birth};
            }
        });
    }
    /// The same for any element. Errors: bad_alloc.
    ListResult read(std::int64_t index, std::vector<std::byte>& value, std::size_t& value_bytes,
                    std::uint64_t& size) const;

    /// All elements at one instant: for each its length (u64) and bytes, padded. Blocks: it does
    /// not, unless writers get in its way several times in a row; then it locks.
    ListResult snapshot(std::vector<std::byte>& elements, std::uint64_t& count,
                        MemberId (*me)(void*), void* context, Wait mode, SpinBudget& budget);

    // Under the lock ------------------------------------------------------------------------------

    /// Blocks: while another writes. Mends what a dead holder left.
    ListResult lock(MemberId me, Wait mode, SpinBudget& budget) {
        return lock_.try_lock_now(me) ? ListResult::done : lock_slowly(me, mode, budget);
    }
    void unlock(MemberId me) noexcept {
        if (!lock_.unlock_now(me)) {
            static_cast<void>(lock_.unlock(me));
        }
    }
    /// The number of elements; damaged: there is no such block.
    ListResult size_now(std::uint64_t& size) const noexcept;
    /// The bytes of an element that is there; null: damaged.
    struct ElementBytes {
        const std::byte* data{};
        std::size_t bytes{};
    };
    ElementBytes element_now(std::uint64_t index) const noexcept;

    /// Appends. `padded`: whole words. Commit store: the size, or the root.
    ListResult append(const std::byte* padded, std::size_t bytes, Shortage& shortage) noexcept;
    /// Removes the last. Commit store: the size.
    void pop_last() noexcept;
    /// Replaces the element at an index that is there. Commit store: its word.
    ListResult assign(std::uint64_t index, const std::byte* padded, std::size_t bytes,
                      Shortage& shortage) noexcept;

    /// An element of a list that is to be: one that is there, or a new one.
    struct Source {
        std::uint64_t index{};  // of one that is there, where `padded` is null
        const std::byte* padded{};
        std::size_t bytes{};
    };
    /// Makes the list consist of these, in one step; each that is there at most once. Commit store:
    /// the root. Errors: bad_alloc: nothing was done.
    ListResult replace(std::span<const Source> sources, Shortage& shortage);
    /// Appends them in one step. Commit store: the size, or the root.
    ListResult extend(std::span<const Source> sources, Shortage& shortage);

    const Arena& arena() const noexcept { return arena_; }
    ListLayout& layout() const noexcept { return *layout_; }
    LockWord& lock_word() noexcept { return lock_; }

 private:
    using Words = std::atomic<std::uint64_t>*;
    struct Block {
        ListBlockLayout* layout{};
        Words words{};
        std::uint64_t capacity{};
    };
    struct Element {
        std::uint64_t word{};
        const std::byte* node{};
        std::uint64_t birth{};
    };
    enum class Look : std::uint8_t { done, outside, again, damaged };

    static constexpr std::uint64_t kCapacityMin = 4;

    /// False where it is not all of the arena. A block that is none has no capacity.
    bool find_block(ListRoot root, Block& block) const noexcept {
        block = {};
        if (root.place() == 0) {
            return true;
        }
        std::byte* memory = arena_.at(root.place(), sizeof(ListBlockLayout));
        if (memory == nullptr) {
            return false;
        }
        block.layout = reinterpret_cast<ListBlockLayout*>(memory);
        block.words = reinterpret_cast<Words>(memory + sizeof(ListBlockLayout));
        // relaxed: a constant while the block counts
        block.capacity = block.layout->capacity.load(std::memory_order_relaxed);
        return block.capacity <= Arena::kUnitsMax * kUnitBytes / sizeof(std::uint64_t) &&
               arena_.holds(memory, block_bytes(block.capacity));
    }
    static constexpr std::size_t block_bytes(std::uint64_t capacity) noexcept {
        return sizeof(ListBlockLayout) + capacity * sizeof(std::uint64_t);
    }

    /// Looks at a block that counts, until `look` is through with it.
    template <class LookAt>
    ListResult look(LookAt&& look_at) const {
        for (;;) {
            const ListRoot root{layout_->root.load(std::memory_order_acquire)};  // A1
            Block block;
            const bool is_whole = find_block(root, block);
            const std::uint64_t size =
                is_whole && block.layout != nullptr
                    ? block.layout->size.load(std::memory_order_acquire)  // A2
                    : 0;
            const Look looked =
                !is_whole || size > block.capacity ? Look::damaged : look_at(block, size);
            // What cannot be, and what counts, is so only while the root is the same. A5
            if (looked == Look::again || layout_->root.load(std::memory_order_acquire) != root.word)
                [[unlikely]] {
                spin_pause();
                continue;
            }
            return looked == Look::done      ? ListResult::done
                   : looked == Look::outside ? ListResult::outside
                                             : ListResult::damaged;
        }
    }

    /// `load(word)` copies one element, and says what of it must be the same afterwards.
    template <class Load>
    ListResult read_element(std::int64_t index, std::uint64_t& size, Load&& load) const {
        return look([&](const Block& block, std::uint64_t seen) {
            size = seen;
            if (block.layout == nullptr) {
                return Look::outside;
            }
            const std::uint64_t pops = block.layout->pops.load(std::memory_order_acquire);  // A5
            // Once more, after `pops`: what is popped from now on is seen. A2
            size = block.layout->size.load(std::memory_order_acquire);
            const std::uint64_t at = index < 0 ? size + static_cast<std::uint64_t>(index)
                                               : static_cast<std::uint64_t>(index);
            if (at >= size || size > block.capacity) {
                return size > block.capacity ? Look::damaged : Look::outside;
            }
            const Element element = load(block.words[at]);
            // In this order: A5 (the root is looked at by look(), and here, before the birth)
            const bool is_sound =
                (element.word == 0 ||
                 block.words[at].load(std::memory_order_acquire) == element.word) &&
                block.layout->pops.load(std::memory_order_acquire) == pops;
            if (!is_sound) {
                return Look::again;
            }
            if (element.word == 0 && element.node == nullptr) {
                return Look::done;  // it lay in the word itself
            }
            if (element.node == nullptr || element.birth == 0) {
                return Look::damaged;
            }
            return load_block_word(element.node) == element.birth ? Look::done : Look::again;
        });
    }

    std::byte* node_at(std::uint64_t word) const noexcept {
        return arena_.at(static_cast<Granule>(word >> 32U), shape_.least());
    }
    struct NodeView {
        const std::byte* value{};
        std::size_t value_bytes{};
        std::size_t bytes{};  // of the whole node; 0: its length cannot be
    };
    NodeView view(const std::byte* node) const noexcept;
    std::uint64_t make_word(const std::byte* padded, std::size_t bytes,
                            Shortage& shortage) noexcept;
    void release_word(std::uint64_t word) noexcept;
    ListResult make_block(std::uint64_t capacity, Granule& place, Block& block,
                          Shortage& shortage) noexcept;
    void publish(Granule place) noexcept;
    void release_block(ListRoot root, const Block& block) noexcept;
    void begin_change() noexcept;
    void end_change() noexcept;
    void trim() noexcept;
    ListResult rebuild();
    ListResult recover();
    ListResult lock_slowly(MemberId me, Wait mode, SpinBudget& budget);
    bool mend(MemberId me);
    enum class Copied : std::uint8_t { done, disturbed, damaged };
    Copied copy(std::vector<std::byte>& elements, std::uint64_t& count) const;
    Heap heap() noexcept { return {arena_, layout_->heap, 0}; }

    Segment* segment_;
    ListLayout* layout_;
    ListShape shape_;
    Arena arena_;
    LockWord lock_;
};

}  // namespace sluice::shm
