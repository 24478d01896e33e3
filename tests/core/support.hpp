// What the tests of core/ share: words and text that children bring home, children that cannot be
// left behind, names that nobody else uses.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace sluice::testing {

/// Words that this process and its children see in common.
template <class T, std::size_t N = 1>
class Shared {
 public:
    Shared() {
        void* const memory = ::mmap(nullptr, sizeof(Words), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            throw std::system_error(errno, std::generic_category(), "mmap");
        }
        words_ = new (memory) Words{};
    }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() { ::munmap(words_, sizeof(Words)); }

    std::atomic<T>& operator[](std::size_t index) const { return (*words_)[index]; }
    std::atomic<T>& operator*() const { return (*words_)[0]; }

 private:
    using Words = std::array<std::atomic<T>, N>;
    Words* words_{};
};

/// A plain fork, so that these tests do not depend on Process. The child's exit code is 0 where
/// `body` returned true; an exception is printed and makes it 2. A child still running at the end
/// of the scope is killed.
class Child {
 public:
    explicit Child(const std::function<bool()>& body) {
        std::cout.flush();
        pid_ = ::fork();
        if (pid_ < 0) {
            throw std::system_error(errno, std::generic_category(), "fork");
        }
        if (pid_ == 0) {
            int code = 2;
            try {
                code = body() ? 0 : 1;
            } catch (const std::exception& error) {
                std::fprintf(stderr, "child %d: %s\n", static_cast<int>(::getpid()), error.what());
            }
            std::fflush(stderr);
            ::_exit(code);
        }
    }
    Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
    Child& operator=(Child&& other) noexcept {
        std::swap(pid_, other.pid_);  // what was here ends with the other
        return *this;
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::kill(pid_, SIGCONT);
            static_cast<void>(wait());
        }
    }

    [[nodiscard]] pid_t pid() const { return pid_; }
    void signal(int number) const { ::kill(pid_, number); }
    /// The exit code, or -N where signal N ended it.
    int wait() {
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    int kill_and_wait() {
        signal(SIGKILL);
        return wait();
    }
    /// Returns when the child has been stopped by a signal.
    void wait_stopped() const {
        int status = 0;
        while (::waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
        }
    }

 private:
    pid_t pid_{-1};
};

/// Runs `body` in a child; its exit code.
inline int in_child(const std::function<bool()>& body) {
    return Child(body).wait();
}

/// A name for /dev/shm that is nobody else's, removed at the end of the scope.
class UniqueName {
 public:
    explicit UniqueName(const std::string& stem) {
        static std::atomic<unsigned> made{0};
        text_ = "test-" + stem + "-" + std::to_string(::getpid()) + "-" +
                std::to_string(made.fetch_add(1, std::memory_order_relaxed));  // only a number
    }
    UniqueName(const UniqueName&) = delete;
    UniqueName& operator=(const UniqueName&) = delete;
    ~UniqueName() { ::unlink(path().c_str()); }

    [[nodiscard]] const std::string& text() const { return text_; }
    operator std::string_view() const { return text_; }  // NOLINT: stands where a name is meant
    [[nodiscard]] std::string path() const { return "/dev/shm/sluice." + text_; }

 private:
    std::string text_;
};

/// Waits, without an upper limit (the watchdog is CTest's), until `condition` holds.
inline void wait_until_true(const std::function<bool()>& condition) {
    while (!condition()) {
        std::this_thread::yield();
    }
}

/// Whether every thread of the process sleeps in the kernel (or it has ended): the state in
/// /proc/PID/stat.
inline char state_of(pid_t pid) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
    char text[512] = {};
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 'X';
    }
    const ssize_t length = ::read(file, text, sizeof text - 1);
    ::close(file);
    const std::string line(text, length > 0 ? static_cast<std::size_t>(length) : 0);
    const std::size_t end = line.rfind(')');
    return end == std::string::npos || end + 2 >= line.size() ? 'X' : line[end + 2];
}
inline void wait_until_asleep(pid_t pid) {
    wait_until_true([pid] { return state_of(pid) == 'S'; });
}

/// A child that takes something, keeps it, and stands. Returns when it has it.
template <class Take>
Child who_holds(Take&& take) {
    const Shared<int> held;
    Child holder([&] {
        const auto kept = take();
        *held = 1;
        for (;;) {
            ::pause();
        }
        return true;
    });
    wait_until_true([&] { return *held == 1; });
    return holder;
}

/// A seed that is printed, so that a failure can be had again: SLUICE_TEST_SEED sets it.
inline std::uint64_t test_seed() {
    const char* const given = std::getenv("SLUICE_TEST_SEED");
    const std::uint64_t seed =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::cout << "seed " << seed << '\n';
    return seed;
}

}  // namespace sluice::testing
