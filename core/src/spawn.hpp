// Starting a child as a fresh image of this program.
//
// The parent packs what the child needs into a parcel, a sealed memfd, and executes /proc/self/exe
// with that descriptor's number on the command line; the descriptors of shared objects are
// inherited under the numbers they have. spawn_main() in the child reads it and runs the target.
//
// posix_spawn, not fork: nothing of the parent's memory is copied, however large it is, and the
// child runs no code of the parent's beside its other threads.
#pragma once

#include <sys/types.h>

#include <string>

#include "process_state.hpp"

namespace sluice::detail {

/// Errors: NotPermitted, where main does not call spawn_main(): the child would run main a second
/// time, which starts a child, which ...
void require_spawn_main(const std::string& who);

/// Starts the child; its pid.
/// Errors: NotPermitted, where the target cannot travel; std::system_error.
pid_t spawn_child(const ProcessState& state, const Target& target);

}  // namespace sluice::detail
