// Processes for tests: children that cannot outlive the test, memory that they share, and waiting
// without a time limit of its own (a watchdog ends what hangs).
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>

namespace sluice::test {

/// Ends this process by SIGALRM when the test hangs. CTest's TIMEOUT ends the parent; this ends it
/// together with its children, which the kernel kills with it.
class Watchdog {
 public:
    explicit Watchdog(unsigned seconds) { alarm(seconds); }
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;
    ~Watchdog() { alarm(0); }
};

/// A T in memory that children share. Zero at first, T's default initialisers applied.
template <class T>
class Shared {
 public:
    Shared() {
        void* memory =
            mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            throw std::runtime_error("mmap");
        }
        value_ = new (memory) T{};
    }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() { munmap(value_, sizeof(T)); }

    T& operator*() const noexcept { return *value_; }
    T* operator->() const noexcept { return value_; }

 private:
    T* value_;
};

/// A child made by fork. It runs the function and exits with 0, or 1 when it throws or a check in
/// it fails.
/// Destroyed: killed, if it still runs.
class Child {
 public:
    Child() = default;
    template <class Function>
    explicit Child(Function&& function) {
        std::fflush(nullptr);
        const pid_t parent = getpid();
        pid_ = fork();
        if (pid_ < 0) {
            throw std::runtime_error("fork");
        }
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) {
                _exit(3);
            }
            int code = 0;
            try {
                function();
            } catch (const std::exception& error) {
                std::fprintf(stderr, "child: %s\n", error.what());
                code = 1;
            }
            if (::testing::Test::HasFailure()) {
                code = 1;
            }
            std::fflush(nullptr);
            _exit(code);
        }
    }
    Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
    Child& operator=(Child&& other) noexcept {
        std::swap(pid_, other.pid_);
        return *this;
    }
    ~Child() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            static_cast<void>(join());
        }
    }

    pid_t pid() const noexcept { return pid_; }

    /// The exit code, or -N when it died of signal N.
    int join() {
        int status = 0;
        while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

    void signal(int number) const { ::kill(pid_, number); }

    /// Kills it and waits until the kernel has torn it down.
    void kill_and_join() {
        ::kill(pid_, SIGKILL);
        static_cast<void>(join());
    }

    /// Stops it, and returns when it stands.
    void stop() const {
        ::kill(pid_, SIGSTOP);
        int status = 0;
        while (waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
        }
    }
    void resume() const { ::kill(pid_, SIGCONT); }

 private:
    pid_t pid_{-1};
};

/// Waits until the condition holds. No limit: the watchdog is the limit.
template <class Condition>
void await(Condition&& condition) {
    while (!condition()) {
        usleep(50);
    }
}

/// Whether the kernel says that a process or thread sleeps (state S) in a futex call.
inline bool sleeps_in_futex(pid_t pid) {
    const std::string path = "/proc/" + std::to_string(pid) + "/wchan";
    char text[64] = {};
    if (std::FILE* file = std::fopen(path.c_str(), "r")) {
        const std::size_t bytes = std::fread(text, 1, sizeof text - 1, file);
        text[bytes] = '\0';
        std::fclose(file);
    }
    return std::string(text).find("futex") != std::string::npos;
}

/// A seed that differs from run to run unless SLUICE_TEST_SEED gives one; printed, so that a
/// failure can be repeated.
inline std::uint64_t announce_seed() {
    const char* given = std::getenv("SLUICE_TEST_SEED");
    const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10)
                                                : std::uint64_t{std::random_device{}()};
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    return seed;
}

/// A name that no other test run uses, removed at the end.
class FreshName {
 public:
    explicit FreshName(const std::string& stem, const std::string& prefix = "test-")
        : name_(prefix + stem + "-" + std::to_string(getpid())), path_("/dev/shm/sluice." + name_) {
        ::unlink(path_.c_str());
    }
    FreshName(const FreshName&) = delete;
    FreshName& operator=(const FreshName&) = delete;
    ~FreshName() { ::unlink(path_.c_str()); }

    const std::string& name() const noexcept { return name_; }
    const std::string& path() const noexcept { return path_; }

 private:
    std::string name_;
    std::string path_;
};

}  // namespace sluice::test
