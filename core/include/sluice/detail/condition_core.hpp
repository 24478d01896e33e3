// The untyped body of Condition: the cells in their segment, and a wait around a lock.
#pragma once

#include <memory>
#include <string_view>

#include "sluice/detail/lock_core.hpp"
#include "sluice/detail/sync_core.hpp"
#include "sluice/shm/condition_word.hpp"

namespace sluice::detail {

class ConditionCore {
 public:
    /// Throws as Condition's makers say.
    ConditionCore(const shm::SegmentPlace& place, SyncOpen how, Wait wait,
                  const shm::MemoryOptions& memory, unsigned permissions);
    explicit ConditionCore(Unparcel& parcel);

    /// Releases the lock, waits, and acquires it again. False when the deadline passed first.
    /// Throws Error where this thread does not hold it; what acquiring throws: then it is not held.
    bool wait(LockCore& lock, Deadline deadline);
    /// Throws Error: the lock is not held.
    [[noreturn]] void throw_not_held() const;

    shm::ConditionWord& word() noexcept { return word_; }
    const SyncCore& sync() const noexcept { return sync_; }

 private:
    explicit ConditionCore(SyncCore sync);
    SyncCore sync_;
    shm::ConditionWord word_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::detail
