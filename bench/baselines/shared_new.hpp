// Leads new[] into a shared arena, for libraries that allocate their ring themselves. The benchmark
// programs replace the global operator new[] (shared_new.cpp); outside a NewFromArena it is malloc.
#pragma once

#include "support/shared_arena.hpp"

namespace sluice::bench {

/// While it lives, every new[] of this thread comes from the arena. Such memory must not be
/// deleted: the objects that hold it are never destroyed, as with everything in an arena.
class NewFromArena {
 public:
    explicit NewFromArena(SharedArena& arena);
    ~NewFromArena();
    NewFromArena(const NewFromArena&) = delete;
    NewFromArena& operator=(const NewFromArena&) = delete;
};

}  // namespace sluice::bench
