#!/usr/bin/env python3
"""Plants one fault at a time in a small clean tree; the check that is there for it must find it."""
import os
import pathlib
import subprocess
import sys
import tempfile

CHECKS = pathlib.Path(__file__).resolve().parent / "../../tools/lint"

CLEAN = {
    "shm/include/sluice/shm/facts.hpp": """\
// Facts that all agree on.
#pragma once

namespace sluice::shm {
inline constexpr int kCacheLineBytes = 64;
}
""",
    "shm/include/sluice/shm/waiting.hpp": """\
// A word to wait on.
//
// Ordering ledger
//   R1 publish word -> A1 : the waiter sees what came before  (else: reads garbage)
#pragma once

#include <atomic>

#include "sluice/shm/facts.hpp"

namespace sluice::shm {
struct WordLayout {
    std::atomic<int> word;

    void publish(int value) noexcept {
        word.store(value, std::memory_order_release);  // R1
    }
    int read() const noexcept {
        return word.load(std::memory_order_acquire);  // A1
    }
    bool swap(int expected) noexcept {
        // relaxed: counts only
        return word.compare_exchange_strong(expected, 1, std::memory_order_relaxed,
                                            std::memory_order_relaxed);
    }
};
}
""",
    "core/include/sluice/wait.hpp": """\
// Waiting, as users see it.
#pragma once

#include "sluice/shm/waiting.hpp"

namespace sluice {
/// What is waited for. wait_ns: how long at most.
struct Bus {
    int wait_ns{};

    /// Waits.
    void wait();
    bool try_wait();

    /// Waits for one of two.
    /// @param one this one
    /// @param other that one
    void wait(int one, int other);
};
}  // namespace sluice
""",
    "core/README.md": "# core\n\n[waiting](docs/waiting.md)\n",
    "core/docs/waiting.md": "# Waiting\n\n[bus](../../tests/examples/bus.cpp)\n\n"
    "```cpp\nreturn wait();\n```\n",
    "core/src/topology.cpp": "// The machine. The only user of hwloc.\n#include <hwloc.h>\n",
    "README.md": "# It\n\n[run](tools/run)\n\n```cpp\nint main() {}\n```\n",
    "tests/examples/bus.cpp": "// Waits for a bus.\nint main() {\n    return wait();\n}\n",
    "tests/examples/readme.cpp": "// The README's example.\nint main() {}\n",
    "tools/run": "#!/bin/sh\n# Runs something.\ntrue\n",
}

WAITING = "shm/include/sluice/shm/waiting.hpp"
FACTS = "shm/include/sluice/shm/facts.hpp"
WAIT = "core/include/sluice/wait.hpp"

PUBLISH = "word.store(value, std::memory_order_release);  // R1"

# check, what to plant (file, old text, new text), what must be said
FAULTS = [
    ("orders", WAITING, "load(std::memory_order_acquire)", "load()", "load() names no"),
    ("orders", WAITING, "value, std::memory_order_release", "value", "store() names no memory"),
    ("orders", WAITING, PUBLISH, "word = value;", "operator"),
    ("orders", WAITING, PUBLISH, "++word;", "operator"),
    ("orders", WAITING, "1, std::memory_order_relaxed,\n", "1,\n", "name the one of failure"),
    ("orders", WAITING, "// A1", "", "neither a label nor a reason"),
    ("orders", WAITING, "// A1", "// as above", "A1 is in the ledger, but on no operation"),
    ("orders", WAITING, "// R1\n", "// R1 R7\n", "R7 is on an operation, but in no ledger"),
    ("orders", WAITING, "// relaxed: counts only", "", "does not say why"),
    ("style", FACTS, "int k", "int " + 70 * " " + "kkkkkkkkkkkkkk", "columns wide"),
    ("style", FACTS, "inline", "\tinline", "a tab"),
    ("style", FACTS, "// Facts", "// TO" + "DO: facts", "without an issue"),
    ("style", FACTS, "// Facts", "// FIX" + "ME facts", "without an issue"),
    ("style", FACTS, "64;", "64; ", "a blank at the end"),
    ("style", FACTS, "#pragma once", "", "without #pragma once"),
    ("style", FACTS, "// Facts that all agree on.\n", "", "does not open with a comment"),
    ("style", "tools/run", "# Runs something.\n", "", "does not open with a comment"),
    ("layers", WAITING, "shm/facts.hpp", "wait.hpp", "shm/ knows nothing of core/"),
    ("layers", FACTS, "#pragma once", '#pragma once\n#include "sluice/shm/waiting.hpp"', "upwards"),
    ("layers", FACTS, "#pragma once", '#pragma once\n#include "sluice/shm/waiting.hpp"', "a cycle"),
    ("layers", WAIT, "sluice/shm/waiting.hpp", "../bench/support/crew.hpp", "nothing of bench"),
    ("layers", WAIT, '"sluice/shm/waiting.hpp"', "<fmt/format.h>", "tests and tools only"),
    ("layers", WAIT, '"sluice/shm/waiting.hpp"', "<hwloc.h>", "only core/src/topology.cpp"),
    ("layers", WAIT, '"sluice/shm/waiting.hpp"', "<msgpack.hpp>", "only sluice/msgpack.hpp"),
    ("headers", WAITING, "#include <atomic>\n", "", "does not compile alone"),
    ("docs", "README.md", "tools/run", "tools/walk", "a link to tools/walk"),
    ("docs", "README.md", "int main() {}", "int main();", "which is compiled and run"),
    ("headers", FACTS, "#pragma once", "", "does not compile alone"),
    ("docs", "core/docs/waiting.md", "return wait();", "return await();", "no part of any program"),
    ("docs", "core/docs/waiting.md", "[bus](../../tests/examples/bus.cpp)", "", "nor linked"),
    ("docs", "tests/examples/bus.cpp", "{\n", "{\n" + 40 * "    wait();\n", "40 lines or more"),
    ("reference", WAIT, "    /// @param other that one\n", "", "parameter 'other'"),
    ("reference", WAIT, "@param one", "@param won", "argument 'won'"),
    ("reference", WAIT, "    /// Waits.\n", "", "Member wait() (function)"),
    ("reference", WAIT, "    bool try_wait", "\n    bool try_wait", "Member try_wait() (function)"),
    ("reference", WAIT, " wait_ns: how long at most.", "", "Member wait_ns (variable)"),
    ("reference", WAIT, "/// What is waited for. wait_ns: how long at most.\n", "",
     "Compound sluice::Bus"),
    ("reference", "core/README.md", "docs/waiting.md", "docs/sleeping.md", "docs/sleeping.md"),
]


def run(check, root):
    result = subprocess.run([sys.executable, CHECKS / f"check_{check}", root],
                            capture_output=True, text=True, check=False,
                            env={**os.environ, "CXX": os.environ.get("CXX", "g++")})
    return result.returncode, result.stdout + result.stderr


def plant(root, files):
    for name, text in files.items():
        path = pathlib.Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as root:
        plant(root, CLEAN)
        for check in ("orders", "style", "layers", "headers", "docs", "reference"):
            code, output = run(check, root)
            if code != 0:
                failures += 1
                print(f"check_{check} refuses the clean tree:\n{output}")
    for check, name, old, new, said in FAULTS:
        with tempfile.TemporaryDirectory() as root:
            assert old in CLEAN[name], (name, old)
            plant(root, {**CLEAN, name: CLEAN[name].replace(old, new, 1)})
            code, output = run(check, root)
            if code == 0 or said not in output:
                failures += 1
                print(f"check_{check} does not find {new!r} in {name}; it says:\n{output}")
    print(f"{len(FAULTS)} faults planted, {failures} checks failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
