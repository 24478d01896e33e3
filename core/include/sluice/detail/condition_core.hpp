// The untyped body of Condition: the cells in their segment, and a wait around a lock.
#pragma once

#include "sluice/detail/lock_core.hpp"
#include "sluice/detail/object_core.hpp"
#include "sluice/shm/condition_word.hpp"

namespace sluice::detail {

class ConditionCore : public ObjectCore {
 public:
    explicit ConditionCore(const Origin& origin, Wait wait = {});

    /// Releases the lock, waits, and acquires it again. False when the deadline passed first.
    /// Throws Error where this thread does not hold it; what acquiring throws: then it is not held.
    bool wait(LockCore& lock, Deadline deadline);
    /// Throws Error: the lock is not held.
    [[noreturn]] void throw_not_held() const;

    shm::ConditionWord& word() noexcept { return word_; }

 private:
    shm::ConditionWord word_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::detail
