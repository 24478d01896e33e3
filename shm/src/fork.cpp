// The counter, and the handler that raises it.
#include "sluice/shm/fork.hpp"

#include <pthread.h>

namespace sluice::shm {

constinit std::uint32_t fork_generation = 1;

namespace {
const bool registered = pthread_atfork(nullptr, nullptr, [] { ++fork_generation; }) == 0;
}  // namespace

}  // namespace sluice::shm
