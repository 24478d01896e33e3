// Which system calls the operations make, shown by strace. Skipped, saying so, where it cannot be
// used.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

extern char** environ;

namespace {

/// A file that is removed at the end of the scope.
class ScratchFile {
 public:
    ScratchFile() {
        char name[] = "/tmp/sluice-strace-XXXXXX";
        const int file = ::mkstemp(name);
        ::close(file);
        path_ = name;
    }
    ScratchFile(const ScratchFile&) = delete;
    ScratchFile& operator=(const ScratchFile&) = delete;
    ~ScratchFile() { ::unlink(path_.c_str()); }
    [[nodiscard]] const std::string& path() const { return path_; }

 private:
    std::string path_;
};

int run(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    pid_t pid = 0;
    if (::posix_spawnp(&pid, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) {
        return 127;
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

struct Trace {
    bool usable{};
    int exit_code{};
    std::vector<std::string> stretch{};  // the calls of the marking process between its two marks
    int marks{};
};

/// Runs the probe under strace and cuts out what lies between the marks.
Trace trace(const std::string& what) {
    Trace result;
    const ScratchFile check;
    if (run({"strace", "-o", check.path(), "true"}) != 0) {
        return result;
    }
    result.usable = true;
    const ScratchFile output;
    result.exit_code = run({"strace", "-f", "-o", output.path(), SYSTEM_CALLS_PROBE, what});
    std::ifstream lines(output.path());
    std::string marker;  // the pid that lines begin with
    for (std::string line; std::getline(lines, line);) {
        const std::string pid = line.substr(0, line.find(' '));
        if (line.find("getppid(") != std::string::npos) {
            ++result.marks;
            marker = pid;
        } else if (result.marks == 1 && pid == marker &&
                   // Signals are printed between the calls, and a mark's end perhaps on its own.
                   line.find("--- ") == std::string::npos &&
                   line.find("getppid resumed") == std::string::npos) {
            result.stretch.push_back(line);
        }
    }
    return result;
}

void expect_no_calls(const std::string& what) {
    const Trace seen = trace(what);
    if (!seen.usable) {
        GTEST_SKIP() << "strace cannot be used here: not installed, or ptrace is forbidden";
    }
    ASSERT_EQ(seen.exit_code, 0);
    ASSERT_EQ(seen.marks, 2);
    EXPECT_EQ(seen.stretch.size(), 0U) << "the first of them: " << seen.stretch.front();
}

TEST(SystemCalls, NoneForPutsAndGetsWhereNobodySleeps) {
    expect_no_calls("queue_alone");
}

TEST(SystemCalls, NoneForPutsAfterAConsumerWasWokenAndWentOn) {
    expect_no_calls("queue_after_a_wake");
}

TEST(SystemCalls, NoneForPutsAfterAGetterTimedOut) {
    expect_no_calls("queue_after_a_time_out");
}

TEST(SystemCalls, NoneForSendsAndReceivesWhereNobodySleeps) {
    expect_no_calls("pipe_alone");
}

TEST(SystemCalls, WaitsAreOnTheMonotonicClockByAbsoluteTimes) {
    const Trace seen = trace("timed_waits");
    if (!seen.usable) {
        GTEST_SKIP() << "strace cannot be used here: not installed, or ptrace is forbidden";
    }
    ASSERT_EQ(seen.exit_code, 0);
    ASSERT_EQ(seen.marks, 2);
    int waits = 0;
    for (const std::string& line : seen.stretch) {
        const auto has = [&](const char* text) { return line.find(text) != std::string::npos; };
        if (has("resumed>")) {
            continue;
        }
        // A step of the wall clock can hurt only who waits by it, or by a relative time after
        // EINTR.
        EXPECT_FALSE(has("CLOCK_REALTIME")) << line;
        EXPECT_FALSE(has("nanosleep") || has("select") || has("poll(") || has("epoll")) << line;
        if (has("futex_waitv(")) {
            EXPECT_TRUE(has("CLOCK_MONOTONIC")) << line;
            ++waits;
        } else if (has("futex(") && has("WAIT")) {
            EXPECT_TRUE(has("FUTEX_WAIT_BITSET")) << line;  // absolute, unlike FUTEX_WAIT
            ++waits;
        }
    }
    EXPECT_GE(waits, 7);
}

}  // namespace
