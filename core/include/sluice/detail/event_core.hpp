// The untyped body of Event.
#pragma once

#include <string_view>

#include "sluice/detail/sync_core.hpp"
#include "sluice/shm/event_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// One event in this process; shared by all copies of a handle.
class EventCore {
 public:
    EventCore(const shm::SegmentPlace& place, SyncOpen how, Wait wait,
              const shm::MemoryOptions& memory, unsigned permissions);
    explicit EventCore(Unparcel& parcel);

    shm::EventWord& word() noexcept { return word_; }
    /// False: the deadline passed.
    bool wait(Deadline deadline) { return word_.is_set() || wait_for_set(deadline); }

    const SyncCore& sync() const noexcept { return sync_; }

 private:
    explicit EventCore(SyncCore sync);
    bool wait_for_set(Deadline deadline);

    SyncCore sync_;
    shm::EventWord word_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::detail
