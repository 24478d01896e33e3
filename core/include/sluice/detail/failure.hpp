// Turns what shm/ reports into the exceptions that the public API promises.
#pragma once

#include <string_view>

#include "sluice/shm/failure.hpp"

namespace sluice::detail {

/// Throws std::system_error, BadSegment, NotPermitted or std::invalid_argument, as the
/// failure's kind says. `object` names what was being made or used: "Queue \"ticks\"".
[[noreturn]] void throw_failure(std::string_view object, const shm::Failure& failure);

}  // namespace sluice::detail
