// The facts that every other file of shm/ agrees on: line sizes, the hash that signs layouts,
// the pause instruction, and the assertion. Lowest level: includes nothing of Sluice's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace sluice::shm {

/// The unit of coherence. An ABI constant of our layouts, therefore not
/// std::hardware_destructive_interference_size, which varies with compiler flags.
inline constexpr std::size_t kCacheLineBytes = 64;

/// Words that different processes write lie this far apart: x86's adjacent-line
/// prefetcher works on pairs.
inline constexpr std::size_t kIsolationBytes = 128;

/// Base pages of every system we run on are a multiple of this; the real size is asked at run time.
inline constexpr std::size_t kPageBytesMin = 4096;

/// 64-bit FNV-1a. Signs layouts and types; not meant to withstand an adversary.
constexpr std::uint64_t fnv1a(std::string_view text,
                              std::uint64_t hash = 0xcbf29ce484222325ULL) noexcept {
    for (const char character : text) {
        hash ^= static_cast<unsigned char>(character);
        hash *= 0x100000001b3ULL;
    }
    return hash;
}

/// Mixes a number into a signature, byte by byte, so that field order matters.
constexpr std::uint64_t fnv1a(std::uint64_t value, std::uint64_t hash) noexcept {
    for (int byte = 0; byte < 8; ++byte) {
        hash ^= (value >> (8 * byte)) & 0xffU;
        hash *= 0x100000001b3ULL;
    }
    return hash;
}

constexpr std::size_t round_up(std::size_t value, std::size_t multiple) noexcept {
    return (value + multiple - 1) / multiple * multiple;
}

/// Tells the core that it is in a spin loop: frees the sibling thread and saves the
/// pipeline flush at the exit.
inline void spin_pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    // `isb` stalls for about the time of x86's pause; `yield` is a no-op on most cores.
    asm volatile("isb" ::: "memory");
#endif
}

/// Asks for the line in exclusive state ahead of the store, so that the store does not wait for it.
inline void prefetch_for_write(const void* address) noexcept {
#if defined(__x86_64__)
    // Not __builtin_prefetch: for the baseline x86-64 that becomes prefetcht0, which fetches a
    // shared copy. The few processors without the instruction take it for a no-op.
    asm volatile("prefetchw %0" ::"m"(*static_cast<const char*>(address)));
#else
    __builtin_prefetch(address, 1, 3);
#endif
}

[[noreturn]] inline void assertion_failed(const char* condition, const char* file,
                                          int line) noexcept {
    std::fprintf(stderr, "sluice: %s:%d: broken invariant: %s\n", file, line, condition);
    std::abort();
}

}  // namespace sluice::shm

// A broken invariant is a bug of ours or of the caller's: it ends the process, in
// debug builds only.
#ifdef NDEBUG
#define SLUICE_ASSERT(condition) static_cast<void>(0)
#else
#define SLUICE_ASSERT(condition)        \
    ((condition) ? static_cast<void>(0) \
                 : ::sluice::shm::assertion_failed(#condition, __FILE__, __LINE__))
#endif
