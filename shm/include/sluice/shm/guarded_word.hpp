// A value together with the lock that guards it, twice: the last committed one and a spare. A
// writer fills the spare and commits it by one store; readers copy the other, and write nothing.
//
// I1 version & 1 names the buffer that holds the committed value; the other is the writer's.
// I2 only the lock's owner writes the spare and the version. A dead one's half-written spare is
//    nobody's value: the next writer starts from the committed one.
// I3 a buffer that held version v is written again only after v + 1 was committed. So whoever
//    copied it and then still finds v has copied v.
//
// Ordering ledger
//   R1 version committed -> A1 : a reader sees the value it names
//   R2 each word of the spare -> A2 : who has copied a word of a later value finds, when it looks
//      again, that v + 1 was committed (else: takes a mixture for v). Each word and not a fence
//      before them: on x86 both are free, and ThreadSanitizer understands this.
// Source: a sequence lock (Boehm, "Can seqlocks get along with programming language memory
// models?", MSPC 2012) with two buffers, so that no reader waits for a writer that is slow or dead.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sluice/shm/lock_word.hpp"

namespace sluice::shm {

/// The body of a guarded value's segment. Readers touch nothing of the lock's line. Values of up to
/// 24 bytes lie, both of them, on the version's line: reading one moves one line; others begin at
/// the next, each a multiple of a line.
struct GuardedLayout {
    static constexpr std::size_t kInlineBytesMax = 24;

    LockWordLayout lock;
    std::uint64_t reserved[13];
    std::atomic<std::uint64_t> version;  // how often it was committed
    std::byte buffers[8];                // as many as it takes

    static constexpr std::size_t stride(std::size_t value_bytes) noexcept {
        return value_bytes <= kInlineBytesMax ? kInlineBytesMax
                                              : round_up(value_bytes, kCacheLineBytes);
    }
    static constexpr std::size_t first_buffer(std::size_t value_bytes) noexcept {
        return value_bytes <= kInlineBytesMax ? kIsolationBytes + sizeof(std::uint64_t)
                                              : kIsolationBytes + kCacheLineBytes;
    }
};
static_assert(offsetof(GuardedLayout, version) == kIsolationBytes);
static_assert(offsetof(GuardedLayout, buffers) == kIsolationBytes + sizeof(std::uint64_t));

/// This process's view of one guarded value. Values are whole words.
class GuardedWord {
 public:
    static std::size_t bytes(std::size_t value_bytes) noexcept {
        return GuardedLayout::first_buffer(value_bytes) + 2 * GuardedLayout::stride(value_bytes);
    }
    static std::uint64_t layout_signature() noexcept;
    /// `first_version`: tests start near the wrap.
    static void initialise(std::byte* body, const std::byte* value, std::size_t value_bytes,
                           std::uint64_t first_version = 0) noexcept;

    /// Becomes the sweeper of `members`: the object must stay where it is.
    GuardedWord(std::byte* body, Members& members, std::size_t value_bytes) noexcept;
    GuardedWord(const GuardedWord&) = delete;
    GuardedWord& operator=(const GuardedWord&) = delete;

    /// Copies the committed value.
    /// Blocks: never. Progress: lock-free; it begins again when a writer has committed while it
    /// copied. Writes nothing, and needs no id. Crash: leaves nothing.
    template <std::size_t kBytes>
    void read(std::byte* value) const noexcept {
        for (;;) {
            const std::uint64_t seen = layout_->version.load(std::memory_order_acquire);  // A1
            load<kBytes>(value, buffer(seen));
            // relaxed: after the words by A2
            if (layout_->version.load(std::memory_order_relaxed) == seen) [[likely]] {
                return;
            }
            spin_pause();
        }
    }

    /// Makes `value` the committed one. Only by the lock's owner.
    /// Blocks: never. Commit store: `version`. Crash: before it the old value, from it on the new.
    template <std::size_t kBytes>
    void commit(const std::byte* value) noexcept {
        // relaxed: only the lock's owner writes it
        const std::uint64_t next = layout_->version.load(std::memory_order_relaxed) + 1;
        store<kBytes>(buffer(next), value);
        layout_->version.store(next, std::memory_order_release);  // R1
    }

    /// The same of values that differ in length: a word with it, then as many bytes. Of `room` as
    /// much is filled as fits; returns the length, which is input: it may be any.
    std::uint64_t read_sized(std::span<std::byte> room) const noexcept;
    /// `value` must fit. Commit store: `version`.
    void commit_sized(std::span<const std::byte> value) noexcept;
    /// The most bytes that it may have, where the whole value has that many.
    static constexpr std::size_t sized_bytes_max(std::size_t value_bytes) noexcept {
        return value_bytes - sizeof(std::uint64_t);
    }

    std::uint64_t version() const noexcept {
        return layout_->version.load(std::memory_order_acquire);  // A1
    }

    LockWord& lock() noexcept { return lock_; }
    Members& members() const noexcept { return *members_; }
    GuardedLayout& layout() const noexcept { return *layout_; }
    /// Where the value of a version lies.
    std::byte* buffer(std::uint64_t version) const noexcept {
        return buffers_ + (version & 1U) * stride_;
    }

 private:
    using Word = std::atomic<std::uint64_t>;

    template <std::size_t kBytes>
    static void load(std::byte* value, const std::byte* buffer) noexcept {
        static_assert(kBytes % sizeof(std::uint64_t) == 0);
#pragma GCC unroll 8
        for (std::size_t at = 0; at < kBytes; at += sizeof(std::uint64_t)) {
            const std::uint64_t word =
                reinterpret_cast<const Word*>(buffer + at)->load(std::memory_order_acquire);  // A2
            __builtin_memcpy(value + at, &word, sizeof word);
        }
    }
    template <std::size_t kBytes>
    static void store(std::byte* buffer, const std::byte* value) noexcept {
        static_assert(kBytes % sizeof(std::uint64_t) == 0);
#pragma GCC unroll 8
        for (std::size_t at = 0; at < kBytes; at += sizeof(std::uint64_t)) {
            std::uint64_t word = 0;
            __builtin_memcpy(&word, value + at, sizeof word);
            reinterpret_cast<Word*>(buffer + at)->store(word, std::memory_order_release);  // R2
        }
    }

    GuardedLayout* layout_;
    std::byte* buffers_;
    std::size_t stride_;
    std::size_t value_bytes_;
    Members* members_;
    LockWord lock_;
};

}  // namespace sluice::shm
