// What is known of a child process, shared by its Process and every ProcessRef: its pidfd, and its
// exit code once somebody has fetched it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <sluice/process.hpp>
#include <string>
#include <utility>

namespace sluice::detail {

using Clock = std::chrono::steady_clock;

/// Which process this is. The pid alone may be given out again, or be the same in two pid
/// namespaces; with the number of forks since the program's first process it tells a process from
/// all that it copied.
struct Birth {
    pid_t pid{};
    unsigned depth{};

    friend bool operator==(const Birth&, const Birth&) = default;
};

Birth this_birth();

class Descriptor {
 public:
    explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() { close(); }

    [[nodiscard]] int get() const noexcept { return fd_; }
    void close() noexcept;

 private:
    int fd_;
};

/// What a Process and all its handles know of the child. Outlives the Process while a ProcessRef is
/// held.
class ProcessState {
 public:
    /// A child to be.
    ProcessState(ProcessOptions options, std::string identity, Birth maker)
        : options_(std::move(options)), identity_(std::move(identity)), maker_(maker) {}

    /// A process that runs already and is not ours to wait for: this one, its parent.
    ProcessState(std::string name, std::string identity, bool daemon, pid_t pid)
        : options_{.name = std::move(name), .daemon = daemon},
          identity_(std::move(identity)),
          pid_(pid),
          phase_(Phase::started) {}

    [[nodiscard]] const ProcessOptions& options() const noexcept { return options_; }
    [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
    [[nodiscard]] const std::string& identity() const noexcept { return identity_; }
    [[nodiscard]] bool made_here() const { return maker_ == this_birth(); }

    [[nodiscard]] pid_t pid() const {
        if (!made_here()) {
            return pid_;  // as in require_maker
        }
        const std::scoped_lock lock(mutex_);
        return pid_;
    }

    [[nodiscard]] bool started() const {
        const std::scoped_lock lock(mutex_);
        return phase_ == Phase::started;
    }

    void begin_start();

    void abandon_start() noexcept;

    void set_started(pid_t pid, Descriptor sentinel, std::optional<int> exitcode) noexcept;

    /// Reads pid_ without the mutex: in a copy of the maker nobody changes it, and a thread that is
    /// not here may have held the mutex when the copy was made.
    void require_maker(const char* verb) const;

    void require_started(const char* verb) const;

    /// Takes the exit code if the child has ended; whether it has. Whichever thread comes first
    /// gets it from the kernel, the others from here.
    bool reap();

    /// Waits for the end; false if the deadline comes first.
    bool wait(std::optional<Clock::time_point> deadline);

    bool wait_for(std::chrono::nanoseconds timeout) { return wait(Clock::now() + timeout); }

    void send(int signal) const;

    [[nodiscard]] int sentinel() const {
        const std::scoped_lock lock(mutex_);
        return sentinel_.get();
    }

    std::optional<int> exitcode();

    bool is_alive();

    /// What a destructor and an exit do: no daemon is waited for without being told to end.
    void end() noexcept;

 private:
    enum class Phase { made, starting, started };

    const ProcessOptions options_;
    const std::string identity_;
    const Birth maker_{};
    mutable std::mutex mutex_{};  // guards what follows
    pid_t pid_{};
    Descriptor sentinel_{};
    std::optional<int> exitcode_{};
    Phase phase_{};
};

/// From family.cpp, which knows all children and the parent.
void forget_child(const ProcessState& child);
[[nodiscard]] bool is_parent(const ProcessState& process);

/// pidfd_open(2); close-on-exec.
Descriptor open_pidfd(pid_t pid);

}  // namespace sluice::detail
