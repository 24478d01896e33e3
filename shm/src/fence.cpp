// membarrier(2), by system call.
#include "sluice/shm/fence.hpp"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace sluice::shm {
namespace {

enum class Registration : int { unknown, yes, no };
std::atomic<Registration> registration{Registration::unknown};

void forget_in_child() noexcept {
    registration.store(Registration::unknown, std::memory_order_relaxed);  // one thread only
}
const bool at_fork = pthread_atfork(nullptr, nullptr, forget_in_child) == 0;

}  // namespace

bool register_for_heavy_fence() noexcept {
    static_cast<void>(at_fork);
    // relaxed: registering twice does no harm, and the answer orders nothing
    Registration known = registration.load(std::memory_order_relaxed);
    if (known == Registration::unknown) {
        const long rc = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0U, 0);
        known = rc == 0 ? Registration::yes : Registration::no;
        registration.store(known, std::memory_order_relaxed);
    }
    return known == Registration::yes;
}

void heavy_fence() noexcept {
    syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0U, 0);
}

}  // namespace sluice::shm
