// What Semaphore and BoundedSemaphore have in common: everything but how they are made.
#pragma once

#include <cstdint>
#include <string_view>

#include "sluice/detail/object_core.hpp"
#include "sluice/shm/semaphore_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// One semaphore in this process; shared by all copies of a handle.
class SemaphoreCore : public ObjectCore {
 public:
    struct Wanted {
        shm::SegmentKind kind{};
        std::uint32_t value{};
        shm::Permits permits{};
        Wait wait{};
    };
    /// Errors: as ObjectCore's; std::invalid_argument: a number of permits that cannot be.
    SemaphoreCore(const Origin& origin, const Wanted& wanted);

    void acquire() {
        if (word_.take() != shm::SemaphoreResult::done) [[unlikely]] {
            static_cast<void>(acquire(Deadline::never()));
        }
    }
    bool try_acquire() { return word_.take() == shm::SemaphoreResult::done || look_and_take(); }
    bool acquire(Deadline deadline);
    void release(std::uint32_t count) {
        if (word_.release(count) != shm::SemaphoreResult::done) [[unlikely]] {
            release_or_throw(count);
        }
    }
    std::uint32_t value();

 private:
    bool look_and_take();
    void release_or_throw(std::uint32_t count);

    shm::SemaphoreWord word_;
    shm::SpinBudget spin_{};
    bool bounded_;
};

}  // namespace sluice::detail
