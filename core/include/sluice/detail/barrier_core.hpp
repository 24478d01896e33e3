// The untyped body of Barrier; who is a party, and who leaves in good order.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "sluice/detail/object_core.hpp"
#include "sluice/shm/barrier_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// One barrier in this process; shared by all copies of a handle.
class BarrierCore : public ObjectCore, public std::enable_shared_from_this<BarrierCore> {
 public:
    explicit BarrierCore(const Origin& origin, std::uint32_t parties = 1, Wait wait = {});

    /// The index of the arrival; nothing when the deadline passed, and the barrier is broken.
    /// Throws BrokenBarrier.
    std::optional<std::uint32_t> wait(Deadline deadline);

    shm::BarrierWord& word() noexcept { return word_; }

    /// This thread ends in good order: it is no party any more of any barrier. Done at the end of
    /// each thread; a process that ends by _exit calls it.
    static void leave_all() noexcept;

 private:
    void attach();
    [[noreturn]] void throw_broken() const;

    shm::BarrierWord word_;
    shm::SpinBudget spin_{};
};

}  // namespace sluice::detail
