// Runs a script in python3, by the shell.
#include "support/python.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace sluice::bench {

void run_python(const std::string& title, const std::string& script) {
    if (std::system("python3 -c 'import multiprocessing' 2>/dev/null") != 0) {
        fmt::print("\nPython: there is no python3 here\n");
        return;
    }
    fmt::print("\nPython, {}\n{:<34} {:>12} {:>14}\n", title, "", "ns", "a second");
    std::fflush(stdout);
    const std::string command = R"(python3 - <<'PYTHON'
import multiprocessing, time

def clock(name, count, run):
    run(count // 10 + 1)
    begin = time.perf_counter()
    run(count)
    ns = (time.perf_counter() - begin) / count * 1e9
    print(f"{name:<34} {ns:>12.1f} {1e9 / ns:>14.0f}")
)" + script + "\nPYTHON\n";
    if (std::system(command.c_str()) != 0) {
        fmt::print("it failed\n");
    }
}

}  // namespace sluice::bench
