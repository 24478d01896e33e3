// What Python does with its own module, printed beside ours. Not interleaved: for scale.
#pragma once

#include <string>

namespace sluice::bench {

/// Prints the title, and runs the script where there is a python3; it may call
/// clock(name, count, run), which prints what one of `count` operations of run(count) takes.
void run_python(const std::string& title, const std::string& script);

}  // namespace sluice::bench
