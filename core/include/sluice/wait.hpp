// How blocking operations wait, and how their time-outs are given.
#pragma once

#include <chrono>

#include "sluice/shm/deadline.hpp"
#include "sluice/shm/waiting.hpp"

namespace sluice {

/// spin_then_park: a while in user space, then asleep (the default). spin: never asleep, for a core
/// of one's own; about twice a millisecond it lets others have the CPU (sched_yield), so that it
/// starves nobody of its own priority under a real-time policy. park: asleep at once.
using shm::Wait;

namespace detail {
using shm::Deadline;
}  // namespace detail

}  // namespace sluice
