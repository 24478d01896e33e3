// mmap and munmap as the fuzzed library sees them (its sources are compiled with -Dmmap=...): each
// mapping lies between two pages that nobody may touch, and what the segment does not use of its
// last page is poisoned. AddressSanitizer by itself knows nothing of mapped memory.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <map>

#include "fuzz/segment_driver.hpp"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define SLUICE_FUZZ_ASAN
#endif
#endif

namespace {

struct Guarded {
    std::size_t bytes{};
    std::size_t poisoned{};  // so many of its last
};
std::map<void*, Guarded>& guarded() {
    static std::map<void*, Guarded> mappings;
    return mappings;
}

// How many bytes at its end the segment does not use.
std::size_t unused(std::size_t bytes, off_t offset) {
    const sluice::fuzz::MappingEnd& end = sluice::fuzz::expected_mapping_end;
    return offset == 0 && end.used_bytes != 0 && bytes == end.mapped_bytes ? bytes - end.used_bytes
                                                                           : 0;
}

}  // namespace

extern "C" {

void* sluice_fuzz_mmap(void* address, std::size_t bytes, int protection, int flags, int descriptor,
                       off_t offset) noexcept;
int sluice_fuzz_munmap(void* address, std::size_t bytes) noexcept;

void* sluice_fuzz_mmap(void* address, std::size_t bytes, int protection, int flags, int descriptor,
                       off_t offset) noexcept {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    if (address != nullptr || bytes > SIZE_MAX - 3 * page) {
        return mmap(address, bytes, protection, flags, descriptor, offset);
    }
    const std::size_t whole = (bytes + page - 1) / page * page;
    void* reserved = mmap(nullptr, whole + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED) {
        return MAP_FAILED;
    }
    std::byte* data = static_cast<std::byte*>(reserved) + page;
    if (mmap(data, bytes, protection, flags | MAP_FIXED, descriptor, offset) == MAP_FAILED) {
        const int error = errno;
        munmap(reserved, whole + 2 * page);
        errno = error;
        return MAP_FAILED;
    }
    const Guarded made{whole, unused(bytes, offset)};
#ifdef SLUICE_FUZZ_ASAN
    ASAN_POISON_MEMORY_REGION(data + bytes - made.poisoned, made.poisoned);
#endif
    guarded().emplace(data, made);
    return data;
}

int sluice_fuzz_munmap(void* address, std::size_t bytes) noexcept {
    const auto found = guarded().find(address);
    if (found == guarded().end()) {
        return munmap(address, bytes);
    }
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const Guarded gone = found->second;
    guarded().erase(found);
    auto* data = static_cast<std::byte*>(address);
#ifdef SLUICE_FUZZ_ASAN
    // Not the whole: a damaged segment may be mapped with very many bytes that nobody touches.
    ASAN_UNPOISON_MEMORY_REGION(data + gone.bytes - gone.poisoned, gone.poisoned);
#endif
    return munmap(data - page, gone.bytes + 2 * page);
}

}  // extern "C"
