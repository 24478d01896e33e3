#include "shared_new.hpp"

#include <cstdlib>
#include <new>

namespace sluice::bench {

namespace {
thread_local SharedArena* current_arena = nullptr;
}

NewFromArena::NewFromArena(SharedArena& arena) {
    current_arena = &arena;
}
NewFromArena::~NewFromArena() {
    current_arena = nullptr;
}

namespace {

void* allocate(std::size_t bytes) {
    if (current_arena != nullptr) {
        return current_arena->allocate(bytes);
    }
    if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) {
        return memory;
    }
    throw std::bad_alloc();
}

}  // namespace
}  // namespace sluice::bench

void* operator new[](std::size_t bytes) {
    return sluice::bench::allocate(bytes);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    std::free(memory);
}
