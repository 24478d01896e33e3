// The untyped body of Guarded<T>: the segment, the lock, the two buffers. Guarded<T> adds what a T
// looks like.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "sluice/detail/sync_core.hpp"
#include "sluice/shm/fork.hpp"
#include "sluice/shm/guarded_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// How a guarded value of some T is laid out.
struct GuardedShape {
    std::span<const std::byte> initial{};  // whole words
    std::uint64_t type_signature{};
    std::string type_text{};
    Wait wait{};
};

class GuardedCore {
 public:
    GuardedCore(const shm::SegmentPlace& place, SyncOpen how, const GuardedShape& shape,
                const shm::MemoryOptions& memory, unsigned permissions);
    GuardedCore(const GuardedCore&) = delete;
    GuardedCore& operator=(const GuardedCore&) = delete;
    /// A writer's lock goes with the last handle.
    ~GuardedCore();

    /// False when the deadline passed first. Throws Error: this thread writes already.
    bool begin(Deadline deadline);
    bool try_begin();
    void end() noexcept;
    /// Whether this thread is the one that writes.
    bool is_writer() noexcept;
    [[noreturn]] void throw_not_writer() const;

    shm::GuardedWord& word() noexcept { return word_; }
    const SyncCore& sync() const noexcept { return sync_; }

 private:
    bool settle(shm::LockResult result) const;

    SyncCore sync_;
    shm::GuardedWord word_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::detail
