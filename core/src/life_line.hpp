// What ends a daemon together with its parent, however that one ends.
//
// The obvious way, PR_SET_PDEATHSIG, fires when the *thread* ends that forked: a daemon started by
// a short-lived thread would die at once. So each process holds the only writing end of a pipe, its
// life line, and every daemon of its has a reading end that is told to raise SIGKILL when it hangs
// up (O_ASYNC with F_SETSIG). The kernel closes the writing end whatever its holder dies of; nobody
// polls, no thread is made, and a stopped daemon ends like a running one.
//
// Source: fcntl(2) on F_SETOWN and F_SETSIG; pipe(7); prctl(2) on PR_SET_PDEATHSIG.
#pragma once

namespace sluice::detail {

/// The reading end of this process's life line, which is made at the first call; close-on-exec.
/// Errors: std::system_error. Callers: any thread.
int life_line();

/// While it lives, children made by fork(2) in this thread keep the reading end of their parent's
/// life line. All others lose both ends at birth: a writing end that a brother of the daemon held
/// would keep the line whole.
class LifeLinePassed {
 public:
    LifeLinePassed() noexcept;
    LifeLinePassed(const LifeLinePassed&) = delete;
    LifeLinePassed& operator=(const LifeLinePassed&) = delete;
    ~LifeLinePassed();
};

/// In a daemon: from now on this process is killed when the other side of the line is closed, now
/// if it is already. Closes `line` and keeps a descriptor of its own, for this process's life; that
/// one is kept through execve(2), too.
/// Errors: std::system_error.
void hold_life_line(int line);

}  // namespace sluice::detail
