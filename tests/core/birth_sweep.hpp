// Kills the maker of a daemon at each system call of start(), its own or its child's. That no
// process outlives it is for the kernel to say: this process is the reaper of all orphans, and has
// no child left at the end.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <stdexcept>

#include "core/support.hpp"

namespace sluice::testing {

/// Whose system calls are counted, and what the child does while the maker's are: it stands at its
/// birth until the maker is dead, or runs on freely.
enum class Swept { maker_child_stands, maker_child_runs, child };

/// Orphans of this process's children become its own children while it lives.
class Reaper {
 public:
    Reaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }
    Reaper(const Reaper&) = delete;
    Reaper& operator=(const Reaper&) = delete;
    ~Reaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 0); }

    /// Returns when every child, adopted ones included, has ended.
    static void wait_for_all() {
        while (::waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR) {
        }
    }
};

/// One run of it: `make` starts the daemon, and its maker is killed at the stop number `number`,
/// before or after a system call. `daemon_runs` tells whether the target has begun since it last
/// said so. False where there is no such stop: all has been swept.
class BirthSweep {
 public:
    BirthSweep(Swept swept, std::function<void()> make, std::function<bool()> daemon_runs)
        : swept_(swept), make_(std::move(make)), daemon_runs_(std::move(daemon_runs)) {}

    bool kill_maker_at(unsigned number) {
        while (daemon_runs_()) {
        }
        *made_ = 0;
        start_maker();
        const bool reached = run_to(number);
        ::kill(maker_, SIGKILL);
        int status = 0;
        do {
            ::waitpid(maker_, &status, __WALL);
        } while (WIFSTOPPED(status));
        if (child_ != 0 && !child_is_free_) {
            let_child_go();
        }
        Reaper::wait_for_all();
        return reached;
    }

 private:
    void start_maker() {
        child_ = 0;
        child_stands_ = false;
        child_is_free_ = false;
        maker_ = ::fork();
        if (maker_ == 0) {
            ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
            ::raise(SIGSTOP);
            make_();
            *made_ = 1;
            for (;;) {
                ::pause();
            }
        }
        int status = 0;
        if (::waitpid(maker_, &status, 0) != maker_ || !WIFSTOPPED(status)) {
            throw std::runtime_error("the maker does not stand");
        }
        constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                                  PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
        ::ptrace(PTRACE_SETOPTIONS, maker_, nullptr, kOptions);
        go_on(maker_, 0);
    }

    bool run_to(unsigned number) {
        for (unsigned count = 0;;) {
            int status = 0;
            const pid_t pid = ::waitpid(-1, &status, __WALL);
            if (pid < 0) {
                throw std::runtime_error("the maker is gone before its time");
            }
            if (!WIFSTOPPED(status)) {
                continue;
            }
            const bool of_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
            if (pid == maker_) {
                if (status >> 16 != 0) {
                    note_child();
                }
                if (of_call && swept_ != Swept::child) {
                    if (*made_ != 0) {
                        return false;
                    }
                    if (count++ == number) {
                        return true;
                    }
                }
                go_on(pid, status);
                continue;
            }
            child_ = pid;
            child_stands_ = true;
            switch (swept_) {
                case Swept::maker_child_stands:
                    break;
                case Swept::maker_child_runs:
                    let_child_go();
                    break;
                case Swept::child:
                    if (daemon_runs_()) {
                        return false;
                    }
                    if (count++ == number) {
                        return true;
                    }
                    child_stands_ = false;
                    go_on(pid, status);
                    break;
            }
        }
    }

    static void go_on(pid_t pid, int status) {
        const int signal = status == 0 || status >> 16 != 0 ? 0 : WSTOPSIG(status);
        const bool real = signal != 0 && (signal & ~0x80) != SIGTRAP && signal != SIGSTOP;
        ::ptrace(PTRACE_SYSCALL, pid, nullptr, real ? signal : 0);
    }
    void note_child() {
        unsigned long pid = 0;
        ::ptrace(PTRACE_GETEVENTMSG, maker_, nullptr, &pid);
        child_ = static_cast<pid_t>(pid);
    }
    void let_child_go() {
        int status = 0;
        if (!child_stands_ && ::waitpid(child_, &status, __WALL) == child_ && !WIFSTOPPED(status)) {
            return;  // it has ended already
        }
        ::ptrace(PTRACE_DETACH, child_, nullptr, nullptr);
        child_is_free_ = true;
    }

    Swept swept_;
    std::function<void()> make_;
    std::function<bool()> daemon_runs_;
    Shared<int> made_{};
    pid_t maker_{};
    pid_t child_{};
    bool child_stands_{};
    bool child_is_free_{};
};

}  // namespace sluice::testing
