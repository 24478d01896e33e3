// What is known of one child: its phase, its pidfd, its exit code.
#include "process_state.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <thread>

namespace sluice::detail {
namespace {

[[noreturn]] void throw_errno(int error, const std::string& what) {
    throw std::system_error(error, std::generic_category(), what);
}

constinit std::atomic<unsigned> fork_depth{0};

[[maybe_unused]] const int fork_depth_is_counted = ::pthread_atfork(nullptr, nullptr, [] {
    fork_depth.fetch_add(1, std::memory_order_relaxed);  // a child has one thread when this runs
});

}  // namespace

Birth this_birth() {
    return {::getpid(), fork_depth.load(std::memory_order_relaxed)};  // changes only in a fork
}

void Descriptor::close() noexcept {
    if (fd_ >= 0) {
        ::close(std::exchange(fd_, -1));
    }
}

Descriptor open_pidfd(pid_t pid) {
    // By number, as pidfd_send_signal below: glibc has the names only since 2.36.
    return Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
}

void ProcessState::begin_start() {
    const std::scoped_lock lock(mutex_);
    if (phase_ != Phase::made) {
        throw Error("Process '" + name() + "' was started before" +
                    (pid_ == 0 ? "" : " (pid " + std::to_string(pid_) + ")"));
    }
    phase_ = Phase::starting;
}

void ProcessState::abandon_start() noexcept {
    const std::scoped_lock lock(mutex_);
    phase_ = Phase::made;
}

void ProcessState::set_started(pid_t pid, Descriptor sentinel,
                               std::optional<int> exitcode) noexcept {
    const std::scoped_lock lock(mutex_);
    pid_ = pid;
    sentinel_ = std::move(sentinel);
    exitcode_ = exitcode;
    phase_ = Phase::started;
}

void ProcessState::require_maker(const char* verb) const {
    if (made_here()) {
        return;
    }
    const pid_t here = ::getpid();
    std::string text = "Process '" + name() + "' (pid " + std::to_string(pid_) + "): ";
    if (pid_ == here) {
        text += std::string("a process cannot ") + verb + " itself";
    } else {
        text += "process " + std::to_string(here) + " cannot " + verb + " it, only its maker can";
        if (maker_.pid != 0) {
            text += " (process " + std::to_string(maker_.pid) + ")";
        }
    }
    throw NotPermitted(text);
}

void ProcessState::require_started(const char* verb) const {
    require_maker(verb);
    if (!started()) {
        throw Error("Process '" + name() + "': cannot " + verb + " it before start()");
    }
}

void ProcessState::send(int signal) const {
    const std::scoped_lock lock(mutex_);
    if (exitcode_) {
        return;
    }
    if (::syscall(SYS_pidfd_send_signal, sentinel_.get(), signal, nullptr, 0U) != 0 &&
        errno != ESRCH) {
        throw_errno(errno, "Process '" + name() + "' (pid " + std::to_string(pid_) +
                               "): pidfd_send_signal " + std::to_string(signal));
    }
}

std::optional<int> ProcessState::exitcode() {
    require_maker("ask for the exit code of");
    if (!started() || !reap()) {
        return std::nullopt;
    }
    const std::scoped_lock lock(mutex_);
    return exitcode_;
}

void ProcessState::end() noexcept {
    try {
        if (made_here() && started()) {
            if (options_.daemon) {
                send(SIGTERM);
            }
            wait(std::nullopt);
        }
    } catch (...) {  // the kernel refuses to signal or to wait: there is no other way to end it
    }
}

bool ProcessState::reap() {
    {
        const std::scoped_lock lock(mutex_);
        if (exitcode_) {
            return true;
        }
        // By pidfd, so that a pid which other code has waited for and the kernel given out again is
        // left alone.
        constexpr auto kPidfd = static_cast<idtype_t>(3);  // P_PIDFD, in glibc since 2.36
        siginfo_t info{};
        int result = 0;
        do {
            result = ::waitid(kPidfd, static_cast<id_t>(sentinel_.get()), &info, WEXITED | WNOHANG);
        } while (result != 0 && errno == EINTR);
        if (result == 0 && info.si_pid == 0) {
            return false;
        }
        if (result == 0) {
            exitcode_ = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
        } else if (errno == ECHILD) {
            exitcode_ = kExitCodeUnknown;
        } else {
            throw_errno(errno,
                        "Process '" + name() + "' (pid " + std::to_string(pid_) + "): waitid");
        }
    }
    forget_child(*this);
    return true;
}

bool ProcessState::wait(std::optional<Clock::time_point> deadline) {
    pollfd ended{.fd = sentinel(), .events = POLLIN, .revents = 0};
    while (!reap()) {
        timespec left{};
        if (deadline) {
            const auto nanoseconds = (*deadline - Clock::now()).count();
            if (nanoseconds <= 0) {
                return false;
            }
            left = {.tv_sec = nanoseconds / 1'000'000'000, .tv_nsec = nanoseconds % 1'000'000'000};
        }
        const int ready = ::ppoll(&ended, 1, deadline ? &left : nullptr, nullptr);
        if (ready < 0 && errno != EINTR) {
            throw_errno(errno,
                        "Process '" + name() + "' (pid " + std::to_string(pid()) + "): ppoll");
        }
        if (ready > 0 && !reap()) {
            // A debugger that traces the child sees its end before we may: neither spin nor give
            // up.
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
    return true;
}

bool ProcessState::is_alive() {
    if (!made_here()) {
        if (pid_ == ::getpid()) {
            return true;
        }
        if (is_parent(*this)) {
            return ::getppid() == pid_;
        }
    }
    require_maker("ask about");
    return started() && !reap();
}

}  // namespace sluice::detail
