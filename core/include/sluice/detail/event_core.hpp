// The untyped body of Event.
#pragma once

#include "sluice/detail/object_core.hpp"
#include "sluice/shm/event_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// One event in this process; shared by all copies of a handle.
class EventCore : public ObjectCore {
 public:
    explicit EventCore(const Origin& origin, Wait wait = {});

    shm::EventWord& word() noexcept { return word_; }
    /// False: the deadline passed.
    bool wait(Deadline deadline) { return word_.is_set() || wait_for_set(deadline); }

 private:
    bool wait_for_set(Deadline deadline);

    shm::EventWord word_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::detail
