// One child under ptrace: brought to a chosen instruction, and killed, stopped or let go there.
//
// A point is an instruction of the child and how often it has been reached. The child stands before
// that instruction: everything before it has happened, nothing of it. Child and parent come from
// one fork, so addresses are the same in both.
//
// x86-64 only: breakpoints are int3.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace sluice::crash {

/// Before the `hit`-th execution of the instruction at `pc`. hit 0: asleep in the kernel.
struct Point {
    std::uintptr_t pc{};
    std::uint32_t hit{};
};

enum class Stop : std::uint8_t {
    at_point,  // stands where it was sent
    finished,  // the operation has returned
    asleep,    // sleeps in the kernel, and was not to be woken
    gone,      // has exited or was killed by something else
};

/// What to do when the child sleeps in a futex call: run `wake`, once, or stop there (empty).
struct Sleep {
    bool possible{};
    std::function<void()> wake{};
};

class Tracee {
 public:
    /// Forks a child that runs `prepare`, then stands before `act`. After `act` it exits with 0.
    Tracee(const std::function<void()>& prepare, const std::function<void()>& act);
    Tracee(const Tracee&) = delete;
    Tracee& operator=(const Tracee&) = delete;
    ~Tracee();

    /// Runs to the point, or to the end of `act`.
    Stop run_to(Point point, Sleep sleep = {});
    /// Runs to the end of `act`.
    Stop finish(Sleep sleep = {}) { return run_to({}, std::move(sleep)); }

    /// Steps through `act`; returns every point of the program's own code, and those before and
    /// after each system call wherever it is made. `at_each` runs at each of them.
    std::vector<Point> record(const std::function<void(std::size_t index)>& at_each, Sleep sleep);

    /// SIGKILL, and the kernel has torn it down when this returns.
    void kill();

    /// Turns a child that stands under the tracer into one that was stopped by SIGSTOP.
    void stop_by_signal();
    /// SIGCONT, then waits for its end; true when it exited with 0.
    bool continue_by_signal(Sleep sleep = {});
    /// Lets the child run untraced, and waits for its end; true when it exited with 0.
    bool let_go(Sleep sleep = {});

    pid_t pid() const noexcept { return pid_; }
    bool slept() const noexcept { return slept_; }

 private:
    std::uintptr_t pc() const;
    void set_pc(std::uintptr_t pc) const;
    void plant(std::uintptr_t at) const;
    void restore(std::uintptr_t at) const;
    /// Continues or steps; waits for the next stop. False: the child has ended.
    enum class Wait : std::uint8_t { stopped, ended, asleep };
    Wait resume(int request, Sleep& sleep);
    Wait wait_for_stop(Sleep& sleep);
    bool join(Sleep& sleep);

    pid_t pid_{-1};
    int status_{};
    int signal_{};  // to be delivered when it goes on
    bool slept_{};
};

/// The program's own code: what the linker put between its first and last instruction.
bool is_own_code(std::uintptr_t pc) noexcept;

}  // namespace sluice::crash
