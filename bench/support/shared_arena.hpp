// Memory that a race's contestants share: mapped once before the fork, so it lies at the same
// address in every process and even a library that keeps plain pointers can be measured across
// processes.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <system_error>
#include <utility>

namespace sluice::bench {

/// Two lines, because adjacent lines are fetched in pairs by the prefetchers of common processors.
inline constexpr std::size_t kFarApartBytes = 128;

/// Slots of every ring in a race, ours and theirs: what a stream costs depends on it more
/// than on design.
inline constexpr std::size_t kCapacity = 1024;

class SharedArena {
 public:
    explicit SharedArena(std::size_t bytes) : bytes_(bytes) {
        begin_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (begin_ == MAP_FAILED) {
            throw std::system_error(errno, std::generic_category(), "shared arena: mmap");
        }
    }
    ~SharedArena() { munmap(begin_, bytes_); }
    SharedArena(const SharedArena&) = delete;
    SharedArena& operator=(const SharedArena&) = delete;

    void* allocate(std::size_t bytes) {
        const std::size_t start = (used_ + kFarApartBytes - 1) / kFarApartBytes * kFarApartBytes;
        if (start + bytes > bytes_) {
            throw std::bad_alloc();
        }
        used_ = start + bytes;
        return static_cast<std::byte*>(begin_) + start;
    }

    /// Objects made here are never destroyed: the mapping goes, as shared memory does.
    template <class T, class... Args>
    T& make(Args&&... args) {
        return *new (allocate(sizeof(T))) T(std::forward<Args>(args)...);
    }

    bool contains(const void* address) const {
        const auto offset =
            reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(begin_);
        return offset < bytes_;
    }

    /// Page faults belong before the first block. Each process calls it: a fork does not copy the
    /// page tables of a shared mapping.
    void prefault() const {
        constexpr std::size_t kPageBytes = 4096;
        for (std::size_t i = 0; i < used_; i += kPageBytes) {
            auto* word = reinterpret_cast<char*>(static_cast<std::byte*>(begin_) + i);
            __atomic_fetch_add(word, char{0}, __ATOMIC_RELAXED);  // a write that changes nothing
        }
    }

 private:
    void* begin_;
    std::size_t bytes_;
    std::size_t used_ = 0;
};

}  // namespace sluice::bench
