// An array of elements of one size, with the lock of who changes them. Each element lies there
// twice: one half is read while the other is written. Which is which: the lowest bit of
// epoch + version. The epoch is the whole array's, so one store of it commits all elements; the
// version is the element's. Elements of up to 8 bytes have none: they are changed in place, by one
// store.
//
// I1 only the lock's owner writes halves, versions, `changes` and the epoch.
// I2 the half that is not named is nobody's: a writer who dies leaves old or new, never a mixture.
// I3 a half that was read is written again only after version or epoch was raised, or, in place,
//    after `changes` was. So who copied it and finds them unchanged has copied what was committed.
// I4 `changes` is raised before an element is changed, and one is changed at a time: who finds it
//    unchanged around a copy of all elements has missed at most the one change under way, and that
//    one whole.
//
// Ordering ledger
//   R1 epoch or version committed -> A1 : a reader sees the half it names
//   R2 each word of a half -> A2 : who has copied a later word finds, when it looks again, that
//      epoch, version or `changes` was raised (else: takes a mixture for a value)
//   R3 changes -> A3 : a snapshot sees the changes before the one that it may see or miss
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "sluice/shm/lock_word.hpp"

namespace sluice::shm {

/// The body of an array's segment. Readers of elements touch nothing of the lock's line.
struct ArrayLayout {
    LockWordLayout lock;
    std::atomic<std::uint64_t> changes;  // of single elements; raised before each
    std::uint64_t reserved[12];
    std::atomic<std::uint64_t> epoch;  // how often all were changed in one step
    std::uint64_t reserved_too[7];
    std::byte cells[8];  // versions of large elements, then the halves: first all, second all
};
static_assert(offsetof(ArrayLayout, changes) == 24 && offsetof(ArrayLayout, epoch) == 128);
static_assert(offsetof(ArrayLayout, cells) == 192);

/// This process's view of one array. Elements are given and taken as their plain bytes.
class ArrayWord {
 public:
    static constexpr std::size_t kInPlaceBytesMax = sizeof(std::uint64_t);

    static constexpr bool is_in_place(std::size_t element_bytes) noexcept {
        return element_bytes <= kInPlaceBytesMax;
    }
    static constexpr std::size_t cell_bytes(std::size_t element_bytes) noexcept {
        return is_in_place(element_bytes) ? std::bit_ceil(element_bytes)
                                          : round_up(element_bytes, sizeof(std::uint64_t));
    }
    static constexpr std::size_t bytes(std::uint64_t count, std::size_t element_bytes) noexcept {
        return offsetof(ArrayLayout, cells) + versions_bytes(count, element_bytes) +
               2 * half_bytes(count, element_bytes);
    }
    static std::uint64_t layout_signature() noexcept;
    /// Each element is `first`. `first_epoch`, of versions, too: tests start near the wrap.
    static void initialise(std::byte* body, std::uint64_t count, std::span<const std::byte> first,
                           std::uint64_t first_epoch = 0) noexcept;

    /// Becomes the sweeper of `members`: the object must stay where it is.
    ArrayWord(std::byte* body, Members& members, std::uint64_t count,
              std::size_t element_bytes) noexcept;
    ArrayWord(const ArrayWord&) = delete;
    ArrayWord& operator=(const ArrayWord&) = delete;

    /// Copies an element.
    /// Blocks: never. Progress: lock-free; it begins again when that element, or all, were
    /// committed while it copied. Writes nothing, and needs no id. Crash: leaves nothing.
    template <std::size_t kBytes>
    void load(std::uint64_t index, std::byte* value) const noexcept {
        for (;;) {
            const std::uint64_t epoch = layout_->epoch.load(std::memory_order_acquire);  // A1
            std::uint64_t version = 0;
            if constexpr (!is_in_place(kBytes)) {
                version = versions_[index].load(std::memory_order_acquire);  // A1
            }
            copy_out<kBytes>(value, cell<kBytes>(epoch + version, index));
            // relaxed, both: after the words by A2
            if (layout_->epoch.load(std::memory_order_relaxed) == epoch &&
                (is_in_place(kBytes) ||
                 versions_[index].load(std::memory_order_relaxed) == version)) [[likely]] {
                return;
            }
            spin_pause();
        }
    }

    /// Copies all elements as they were at one moment, one after the other. False: something was
    /// changed meanwhile. Blocks: never. Progress: wait-free. Writes nothing, needs no id.
    template <std::size_t kBytes>
    bool try_snapshot(std::byte* values) const noexcept {
        const std::uint64_t changes = layout_->changes.load(std::memory_order_acquire);  // A3
        const std::uint64_t epoch = layout_->epoch.load(std::memory_order_acquire);      // A1
        for (std::uint64_t index = 0; index < count_; ++index) {
            std::uint64_t version = 0;
            if constexpr (!is_in_place(kBytes)) {
                version = versions_[index].load(std::memory_order_acquire);  // A1
            }
            copy_out<kBytes>(values + index * kBytes, cell<kBytes>(epoch + version, index));
        }
        // relaxed, both: after the words by A2
        return layout_->epoch.load(std::memory_order_relaxed) == epoch &&
               layout_->changes.load(std::memory_order_relaxed) == changes;
    }

    /// Changes an element. Only by the lock's owner.
    /// Blocks: never. Commit store: the element itself, in place; its version where it is larger.
    template <std::size_t kBytes>
    void store(std::uint64_t index, const std::byte* value) noexcept {
        // relaxed, these and below: only the lock's owner writes them
        const std::uint64_t epoch = layout_->epoch.load(std::memory_order_relaxed);
        const std::uint64_t changes = layout_->changes.load(std::memory_order_relaxed);
        layout_->changes.store(changes + 1, std::memory_order_release);  // R3
        if constexpr (is_in_place(kBytes)) {
            copy_in<kBytes>(cell<kBytes>(epoch, index), value);
        } else {
            const std::uint64_t next = versions_[index].load(std::memory_order_relaxed) + 1;
            copy_in<kBytes>(cell<kBytes>(epoch + next, index), value);
            versions_[index].store(next, std::memory_order_release);  // R1
        }
    }

    /// Changes all elements in one step; `value_of(index)` gives the bytes of each. Only by the
    /// lock's owner.
    /// Blocks: never. Commit store: `epoch`. Crash: before it all are the old ones, from it on all
    /// the new.
    template <std::size_t kBytes, class ValueOf>
    void assign(ValueOf&& value_of) {
        // relaxed, these: only the lock's owner writes them
        const std::uint64_t next = layout_->epoch.load(std::memory_order_relaxed) + 1;
        for (std::uint64_t index = 0; index < count_; ++index) {
            std::uint64_t version = 0;
            if constexpr (!is_in_place(kBytes)) {
                version = versions_[index].load(std::memory_order_relaxed);  // as above
            }
            copy_in<kBytes>(cell<kBytes>(next + version, index), value_of(index));
        }
        layout_->epoch.store(next, std::memory_order_release);  // R1
    }

    std::uint64_t count() const noexcept { return count_; }
    LockWord& lock() noexcept { return lock_; }
    ArrayLayout& layout() const noexcept { return *layout_; }
    /// A half of an element: of epoch + version, or the next.
    template <std::size_t kBytes>
    std::byte* cell(std::uint64_t state, std::uint64_t index) const noexcept {
        return halves_ + (state & 1U) * half_bytes_ + index * cell_bytes(kBytes);
    }

 private:
    static constexpr std::size_t versions_bytes(std::uint64_t count,
                                                std::size_t element_bytes) noexcept {
        return is_in_place(element_bytes) ? 0 : count * sizeof(std::uint64_t);
    }
    static constexpr std::size_t half_bytes(std::uint64_t count,
                                            std::size_t element_bytes) noexcept {
        return round_up(count * cell_bytes(element_bytes), kCacheLineBytes);
    }

    template <std::size_t kBytes>
    using WordOf =
        std::conditional_t<cell_bytes(kBytes) == 1, std::uint8_t,
                           std::conditional_t<cell_bytes(kBytes) == 2, std::uint16_t,
                                              std::conditional_t<cell_bytes(kBytes) == 4,
                                                                 std::uint32_t, std::uint64_t>>>;

    template <std::size_t kBytes>
    static void copy_out(std::byte* value, const std::byte* cell) noexcept {
        using Word = WordOf<kBytes>;
        for (std::size_t at = 0; at < kBytes; at += sizeof(Word)) {
            const Word word = reinterpret_cast<const std::atomic<Word>*>(cell + at)->load(
                std::memory_order_acquire);  // A2
            __builtin_memcpy(value + at, &word,
                             kBytes - at < sizeof word ? kBytes - at : sizeof word);
        }
    }
    template <std::size_t kBytes>
    static void copy_in(std::byte* cell, const std::byte* value) noexcept {
        using Word = WordOf<kBytes>;
        for (std::size_t at = 0; at < kBytes; at += sizeof(Word)) {
            Word word = 0;
            __builtin_memcpy(&word, value + at,
                             kBytes - at < sizeof word ? kBytes - at : sizeof word);
            reinterpret_cast<std::atomic<Word>*>(cell + at)->store(
                word, std::memory_order_release);  // R2
        }
    }

    ArrayLayout* layout_;
    std::atomic<std::uint64_t>* versions_;
    std::byte* halves_;
    std::uint64_t count_;
    std::size_t half_bytes_;
    LockWord lock_;
};

}  // namespace sluice::shm
