// A dictionary in shared memory. Readers find a key at about the cost of a look into a private hash
// table: they write nothing, take no id, and wait for nobody. Writers lock one of many stripes.
// Whoever dies at whatever instruction leaves, of each key, the old value or the new.
//
//   hash     stripe (its upper half, modulo their number) and 32 bits that stay with the link
//   stripe   a table: an array of links, open addressing, linear probing, never more than 3/4 full
//   link     node:32 | hash:32; 0: empty, and no probe goes on behind it; node 0: a tombstone
//   node     birth, (lengths where they vary,) key, value: whole words, see NodeShape
//
// Nodes never move and never change. Setting a key makes a new node and stores its link: that one
// store is the commit, of a new key, of another value, and, with a tombstone, of erasing. A table
// that is too full is copied, and the copy published by one store of the stripe's table word. All
// of this happens under the stripe's lock (lock_word.hpp), which the dead do not keep.
//
// I1 what the table word leads to is whole. What nothing leads to is free: who finds that the last
//    holder of the lock died makes the heap anew from what the table reaches (arena.hpp), and may
//    die doing so. Nothing is logged.
// I2 a node's birth is 0 while it is being written, and then a number that no other node of this
//    arena ever had. So who reads a birth, copies, finds the link where it was, and then the same
//    birth, has copied what that link led to.
// I3 the version is odd while a change is being committed, and even else. Who finds it even and
//    the same before and after it copied a stripe has copied one state of it.
// I4 `live` and `used` are counts of the table: recovery counts again.
//
// Several keys in one step: for each stripe concerned, all locked, a new table lies ready in
// `pending`; one store, of the step's number into `committed`, makes them count. Then each table
// word is stored. Who finds a dead owner's stripe with a pending table does that for him, if the
// step it belongs to is the one that is committed: its number is the step's alone. Before another
// step, whoever takes the steps' lock from the dead sees to all that is pending.
//
// Ordering ledger (arena.hpp's R3, A3 are those of the words in blocks)
//   R1 table word -> A1 : a reader finds the links of the table it looks at
//   R2 link -> A2 : a reader finds the node; and, of a snapshot, that the version was odd
//   R4 version even -> A4 : who reads it even finds what was committed before
//   A5 (R2) looks again, in this order: the link, the table word, the birth. The link before the
//      birth: a link that came back belongs to a node that was born again
//   R6 step committed -> A6 : who finds the number finds all that is pending for it
//   R7 pending -> A7 : with the number of its step
// Source: reading as in a sequence lock (Boehm, MSPC 2012), one a node; tombstones and probing as
// in any textbook; no hazard pointers, no epochs: nothing is ever unmapped, so a reader that is
// late reads garbage and finds out.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sluice/shm/arena.hpp"
#include "sluice/shm/lock_word.hpp"

namespace sluice::shm {

/// How keys and values lie in a node: bytes of each, whole words, 0 where they vary.
struct NodeShape {
    std::size_t key_bytes{};
    std::size_t value_bytes{};

    constexpr bool is_fixed() const noexcept { return key_bytes != 0 && value_bytes != 0; }
    constexpr std::size_t header_bytes() const noexcept { return is_fixed() ? 8 : 16; }
    constexpr std::size_t least() const noexcept {
        return is_fixed() ? 8 + key_bytes + value_bytes : 16;
    }
};

/// A link, taken apart.
struct DictLink {
    static constexpr std::uint64_t kTombstone = 1;

    std::uint64_t word;

    static constexpr DictLink make(Granule node, std::uint64_t hash) noexcept {
        return {(std::uint64_t{node} << 32U) | (hash & 0xffff'ffffU)};
    }
    constexpr bool is_empty() const noexcept { return word == 0; }
    constexpr Granule node() const noexcept { return static_cast<Granule>(word >> 32U); }
    constexpr std::uint32_t hash() const noexcept { return static_cast<std::uint32_t>(word); }
    constexpr bool has_hash(std::uint64_t wanted) const noexcept {
        return hash() == static_cast<std::uint32_t>(wanted) && node() != 0;
    }
};

/// A stripe's table word: where its links are, how many, and a number that changes with each.
struct DictTableWord {
    static constexpr std::uint32_t kLog2Max = 31;

    std::uint64_t word;  // place:32 | log2:6 | tag:26, tag never 0 once there was a table

    constexpr Granule place() const noexcept { return static_cast<Granule>(word >> 32U); }
    constexpr std::uint32_t log2() const noexcept {
        return static_cast<std::uint32_t>(word >> 26U) & 0x3fU;
    }
    constexpr bool has_links() const noexcept { return place() != 0; }
    constexpr std::uint64_t count() const noexcept { return 1ULL << log2(); }
    constexpr std::size_t bytes() const noexcept { return sizeof(std::uint64_t) << log2(); }
    constexpr DictTableWord next(Granule place, std::uint32_t log2) const noexcept {
        const std::uint64_t tag = (word + 1) & 0x3ff'ffffU;
        return {(std::uint64_t{place} << 32U) | (std::uint64_t{log2} << 26U) |
                (tag == 0 ? 1 : tag)};
    }
};

/// What readers look at is on the first line, what writers write on the others.
struct DictStripeLayout {
    std::atomic<std::uint64_t> table;         // DictTableWord
    std::atomic<std::uint64_t> pending;       // the same, of a step; 0: none
    std::atomic<std::uint64_t> pending_step;  // which
    std::uint64_t reserved[5];
    LockWordLayout lock;
    std::atomic<std::uint64_t> version;  // I3
    std::atomic<std::uint64_t> births;   // how many nodes were made
    std::atomic<std::uint32_t> live;     // links to nodes
    std::atomic<std::uint32_t> used;     // and tombstones
    std::uint64_t reserved_too[2];
    HeapLayout heap;
    std::byte reserved_last[88];
};
static_assert(sizeof(DictStripeLayout) == 3 * kIsolationBytes);
static_assert(offsetof(DictStripeLayout, lock) == kCacheLineBytes);
static_assert(offsetof(DictStripeLayout, version) == 88);
static_assert(offsetof(DictStripeLayout, heap) == kIsolationBytes);

/// The body of a dictionary's segment; then the stripes, then the arena.
struct DictLayout {
    ArenaLayout arena;
    std::atomic<std::uint64_t> committed;  // the last step that counts
    std::atomic<std::uint64_t> applied;    // the last that is done
    std::uint64_t reserved[6];
    LockWordLayout steps;              // one step at a time
    std::atomic<std::uint64_t> begun;  // the last that was begun; under that lock
    std::uint64_t reserved_too[12];
};
static_assert(sizeof(DictLayout) == 2 * kIsolationBytes);
static_assert(offsetof(DictLayout, steps) == kIsolationBytes);

enum class DictResult : std::uint8_t {
    done,
    missing,
    full,            // the arena, or the file system: see Shortage
    would_deadlock,  // this thread holds the stripe
    damaged,
};

/// Mixes 64 bits: the halves of a product (wyhash's step).
constexpr std::uint64_t mix_words(std::uint64_t one, std::uint64_t other) noexcept {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(one) * other;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}
constexpr std::uint64_t kHashMultiplier = 0xa076'1d64'78bd'642fULL;
constexpr std::uint64_t kHashFinisher = 0xe703'7ed1'a0b4'28dbULL;

/// The hash of a key's padded bytes. `seed` is the segment's own: no program can know which keys
/// fall together. Source: wyhash, a word at a time.
inline std::uint64_t hash_words(const std::byte* words, std::size_t bytes,
                                std::uint64_t seed) noexcept {
    std::uint64_t hash = seed ^ bytes;
    for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, words + at, sizeof word);
        hash = mix_words(hash ^ word, kHashMultiplier);
    }
    return mix_words(hash, kHashFinisher);
}

/// One change of a step.
struct DictChange {
    std::uint64_t hash{};
    PaddedBytes key{};
    PaddedBytes value{};
};

/// A copy of one stripe, for a snapshot: for each entry the lengths of key and value (u64 each),
/// then both, padded.
struct StripeCopy {
    std::uint64_t version{};
    std::uint64_t entries{};
    std::vector<std::byte> bytes{};
    bool is_there{};
};

/// This process's view of one dictionary.
///
/// Crash: killed before its commit store a change never happened, from it on it has. Whoever locks
/// the stripe next mends it first. A dead reader leaves nothing: it has written nothing.
class DictTable {
 public:
    struct Shape {
        NodeShape node{};
        std::uint32_t stripes{};  // a power of two, at most kStripesMax
        std::uint64_t units_max{};
        std::uint64_t seed{};          // of the hash
        std::uint64_t first_number{};  // tests: versions, births, steps start near their wrap
    };
    static constexpr std::uint32_t kStripesMax = 256;

    static std::uint64_t layout_signature() noexcept;
    static std::size_t head_bytes(std::uint32_t stripes) noexcept {
        return sizeof(DictLayout) + stripes * sizeof(DictStripeLayout);
    }
    static void initialise(std::byte* body, const Shape& shape) noexcept;

    /// Becomes the sweeper of the segment's members: the object must stay where it is.
    DictTable(Segment& segment, const Shape& shape);
    DictTable(const DictTable&) = delete;
    DictTable& operator=(const DictTable&) = delete;

    std::uint64_t hash_of(PaddedBytes key) const noexcept {
        return hash_words(key.data, key.padded(), seed_);
    }
    template <std::size_t kBytes>
    std::uint64_t hash_of(const std::byte* key) const noexcept {
        return hash_words(key, kBytes, seed_);
    }

    /// Copies the value of a key, both of compile-time sizes; false: it is missing.
    /// Blocks: never. Progress: lock-free; it begins again when this very node, or the table, was
    /// replaced meanwhile. Writes nothing, needs no id.
    template <std::size_t kKeyBytes, std::size_t kValueBytes>
    DictResult read(std::uint64_t hash, const std::byte* key, std::byte* value) const noexcept {
        return search(
            hash,
            [&](const std::byte* node) {
                constexpr std::size_t kHeader = sizeof(std::uint64_t);
                if (!equals_block_words<kKeyBytes>(node + kHeader, key)) {
                    return false;
                }
                if (value != nullptr) {
                    load_block_words<kValueBytes>(value, node + kHeader + kKeyBytes);
                }
                return true;
            },
            sizeof(std::uint64_t) + kKeyBytes + kValueBytes);
    }
    /// The same for any node. `value` is filled with the value's bytes, padded; null: only looks.
    /// Errors: bad_alloc.
    DictResult read(std::uint64_t hash, PaddedBytes key, std::vector<std::byte>* value,
                    std::size_t* value_bytes) const;

    /// Whether a step is committed, and not done everywhere: its owner may have died.
    bool step_is_open() const noexcept {
        // relaxed: a hint; who acts on it looks under the lock
        return layout_->applied.load(std::memory_order_relaxed) !=
               layout_->committed.load(std::memory_order_relaxed);
    }

    // Under a stripe's lock -----------------------------------------------------------------------

    std::uint32_t stripe_of(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(hash >> 32U) & (stripes_count_ - 1U);
    }
    /// Locks the stripe, and mends what a dead holder left. Blocks: while another writes there.
    DictResult lock(std::uint32_t stripe, MemberId me, Wait mode, SpinBudget& budget) {
        return locks_[stripe].try_lock_now(me) ? DictResult::done
                                               : lock_slowly(stripe, me, mode, budget);
    }
    void unlock(std::uint32_t stripe, MemberId me) noexcept {
        if (!locks_[stripe].unlock_now(me)) {
            static_cast<void>(locks_[stripe].unlock(me));
        }
    }
    /// Where a key is, or would be.
    struct Place {
        std::atomic<std::uint64_t>* link{};  // null: the table must grow first
        DictLink seen{};
        std::byte* node{};  // null: it is missing
        PaddedBytes value{};
    };
    DictResult find(std::uint64_t hash, PaddedBytes key, Place& place) noexcept;
    /// Sets the key. `place`: what find() said. Commit store: the link.
    DictResult put(std::uint64_t hash, PaddedBytes key, PaddedBytes value, Place place,
                   Shortage& shortage) noexcept;
    /// Erases what was found. Commit store: the link.
    void erase(std::uint64_t hash, const Place& place) noexcept;

    // Of the whole --------------------------------------------------------------------------------

    /// Sets all of them in one step; no key twice, sorted by stripe. `clear`: all that was there
    /// goes. Commit store: `committed`.
    /// Errors: bad_alloc: nothing was done.
    enum class StepKind : std::uint8_t { assign, clear };
    DictResult step(StepKind kind, std::span<const DictChange> changes, MemberId me, Wait mode,
                    SpinBudget& budget, Shortage& shortage);

    /// Copies all stripes as they were at one instant. Blocks: it does not, unless writers get in
    /// its way several times in a row; then it locks all stripes. `with_values`: else keys alone.
    enum class CopyWhat : std::uint8_t { keys, items };
    DictResult snapshot(CopyWhat what, std::vector<StripeCopy>& copies, MemberId (*me)(void*),
                        void* context, Wait mode, SpinBudget& budget);

    /// Entries: of each stripe a number that it had meanwhile.
    std::uint64_t size() const noexcept;

    /// Finishes what a dead writer left in this stripe. True where it did. Blocks: never.
    bool mend(std::uint32_t stripe, MemberId me);
    /// The same for a step that a dead one has left.
    void mend_step(MemberId me);
    /// Whether that stripe is in the middle of a change.
    bool is_changing(std::uint32_t stripe) const noexcept {
        return (stripes_[stripe].version.load(std::memory_order_relaxed) & 1U) != 0;  // a hint
    }

    std::uint32_t stripes() const noexcept { return stripes_count_; }
    const Arena& arena() const noexcept { return arena_; }
    DictLayout& layout() const noexcept { return *layout_; }
    DictStripeLayout& stripe(std::uint32_t index) const noexcept { return stripes_[index]; }
    LockWord& lock_of(std::uint32_t index) noexcept { return locks_[index]; }

 private:
    using Links = std::atomic<std::uint64_t>*;

    /// A place's links; null where they are not all of the arena.
    Links links_of(DictTableWord table) const noexcept {
        return table.log2() > DictTableWord::kLog2Max
                   ? nullptr
                   : reinterpret_cast<Links>(arena_.at(table.place(), table.bytes()));
    }

    /// Looks for a node of that hash that `take(node)` takes: true when the key is the wanted one
    /// and all that is wanted was copied. It may see any bytes, `bytes` of them at least, and run
    /// several times.
    template <class Take>
    DictResult search(std::uint64_t hash, Take&& take, std::size_t bytes) const {
        const DictStripeLayout& stripe = stripes_[stripe_of(hash)];
        for (;;) {
            const DictTableWord table{stripe.table.load(std::memory_order_acquire)};  // A1
            if (!table.has_links()) {
                return DictResult::missing;
            }
            const Links links = links_of(table);
            if (links == nullptr) [[unlikely]] {
                return DictResult::damaged;
            }
            const std::uint64_t mask = table.count() - 1;
            std::uint64_t index = hash & mask & 0xffff'ffffU;
            bool again = false;
            for (std::uint64_t probes = 0; probes <= mask; ++probes, index = (index + 1) & mask) {
                const DictLink link{links[index].load(std::memory_order_acquire)};  // A2
                if (link.is_empty()) {
                    break;
                }
                if (!link.has_hash(hash)) {
                    continue;
                }
                const std::byte* node = arena_.at(link.node(), bytes);
                if (node == nullptr) [[unlikely]] {
                    // Of a table that is used for something else by now; or damaged.
                    again = stripe.table.load(std::memory_order_acquire) != table.word;  // A5
                    if (!again) {
                        return DictResult::damaged;
                    }
                    break;
                }
                const std::uint64_t birth = load_block_word(node);
                const bool taken = take(node);
                // In this order: A5
                const bool is_sound = links[index].load(std::memory_order_acquire) == link.word &&
                                      stripe.table.load(std::memory_order_acquire) == table.word &&
                                      load_block_word(node) == birth;
                if (!is_sound) [[unlikely]] {
                    again = true;
                    break;
                }
                if (birth == 0) [[unlikely]] {
                    return DictResult::damaged;  // none that is being written is linked (I2)
                }
                if (taken) {
                    return DictResult::done;
                }
            }
            // Not found counts for this table only. A5
            if (!again && stripe.table.load(std::memory_order_acquire) == table.word) {
                return DictResult::missing;
            }
            spin_pause();
        }
    }

    DictResult lock_slowly(std::uint32_t stripe, MemberId me, Wait mode, SpinBudget& budget);
    DictResult lock_steps(MemberId me, Wait mode, SpinBudget& budget);
    DictResult finish_steps(MemberId me, Wait mode, SpinBudget& budget);
    DictResult recover(std::uint32_t stripe);
    DictResult rebuild(std::uint32_t stripe);
    void trim(std::uint32_t stripe) noexcept;
    DictResult grow(std::uint32_t stripe, std::size_t additional, Shortage& shortage) noexcept;
    struct Part;
    DictResult copy_table(std::uint32_t stripe, DictTableWord from, std::size_t additional,
                          Shortage& shortage, Part& part) noexcept;
    DictResult prepare(Part& part, StepKind kind, std::span<const DictChange> changes,
                       std::vector<Granule>& replaced, Shortage& shortage);
    void release_node(std::uint32_t stripe, Granule node) noexcept;
    void release_table(std::uint32_t stripe, DictTableWord table) noexcept;
    Granule make_node(std::uint32_t stripe, PaddedBytes key, PaddedBytes value,
                      Shortage& shortage) noexcept;
    DictResult probe(Links links, DictTableWord table, std::uint64_t hash, PaddedBytes key,
                     Place& place) const noexcept;
    enum class Copied : std::uint8_t { done, disturbed, damaged };
    Copied copy_stripe(std::uint32_t index, CopyWhat what, StripeCopy& copy) const;
    /// Whether a stripe is in the middle of a change that nobody makes.
    bool is_stuck(MemberId me);
    DictResult snapshot_locked(CopyWhat what, std::vector<StripeCopy>& copies, MemberId me,
                               Wait mode, SpinBudget& budget);
    void begin_change(DictStripeLayout& stripe) noexcept;
    void end_change(DictStripeLayout& stripe) noexcept;
    Heap heap_of(std::uint32_t stripe) noexcept { return {arena_, stripes_[stripe].heap, stripe}; }
    struct NodeView {
        PaddedBytes key{};
        PaddedBytes value{};
        std::size_t bytes{};  // of the whole node; 0: its lengths cannot be
    };
    NodeView view(const std::byte* node) const noexcept;
    std::byte* node_at(Granule node) const noexcept { return arena_.at(node, shape_.least()); }
    void sweep(MemberId id, const DeadTenant& dead) noexcept;

    Segment* segment_;
    DictLayout* layout_;
    DictStripeLayout* stripes_;
    std::uint32_t stripes_count_;
    std::uint64_t seed_;
    NodeShape shape_;
    Arena arena_;
    std::unique_ptr<std::byte[]> lock_memory_;
    LockWord* locks_;
    LockWord steps_lock_;
};

}  // namespace sluice::shm
