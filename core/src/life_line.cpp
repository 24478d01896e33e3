#include "life_line.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>

namespace sluice::detail {
namespace {

[[noreturn]] void throw_errno(const char* call) {
    throw std::system_error(errno, std::generic_category(),
                            std::string("a daemon's tie to its parent: ") + call);
}

// Held across every fork of this process, so that no child is made between pipe2() and the note of
// what it returned: such a child would hold the writing end unknowingly, for its whole life.
pthread_mutex_t line_mutex = PTHREAD_MUTEX_INITIALIZER;
struct Line {
    int reading{-1};
    int writing{-1};
};
constinit Line line{};                      // guarded by line_mutex
constinit thread_local bool passed{false};  // to the child that this thread makes

void lock_line() noexcept {
    ::pthread_mutex_lock(&line_mutex);
}
void unlock_line() noexcept {
    ::pthread_mutex_unlock(&line_mutex);
}

/// In the child, which has one thread: the line is the parent's.
void leave_line() noexcept {
    if (line.writing >= 0) {
        ::close(line.writing);
    }
    if (line.reading >= 0 && !passed) {
        ::close(line.reading);
    }
    line = {};
    passed = false;
    unlock_line();
}

// The handlers must be there before the first line is.
const int handlers_failed = ::pthread_atfork(lock_line, unlock_line, leave_line);

}  // namespace

int life_line() {
    if (handlers_failed != 0) {
        errno = handlers_failed;
        throw_errno("pthread_atfork");
    }
    lock_line();
    if (line.reading < 0) {
        int ends[2] = {-1, -1};
        if (::pipe2(ends, O_CLOEXEC) != 0) {
            unlock_line();
            throw_errno("pipe2");
        }
        line = {.reading = ends[0], .writing = ends[1]};
    }
    const int reading = line.reading;
    unlock_line();
    return reading;
}

LifeLinePassed::LifeLinePassed() noexcept {
    passed = true;
}
LifeLinePassed::~LifeLinePassed() {
    passed = false;
}

void hold_life_line(int inherited) {
    // A description of its own: the signal's receiver is noted there, and the inherited one is the
    // parent's and its other daemons', too.
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", inherited);
    const int own = ::open(path, O_RDONLY | O_NONBLOCK);
    if (own < 0) {
        throw_errno("open of the pipe");
    }
    ::close(inherited);
    if (::fcntl(own, F_SETOWN, ::getpid()) != 0 || ::fcntl(own, F_SETSIG, SIGKILL) != 0 ||
        ::fcntl(own, F_SETFL, O_NONBLOCK | O_ASYNC) != 0) {
        throw_errno("fcntl");
    }
    // The parent may have ended before that, or it ends from now on and the signal comes.
    pollfd ended{.fd = own, .events = POLLIN, .revents = 0};
    if (::poll(&ended, 1, 0) > 0) {
        ::kill(::getpid(), SIGKILL);
    }
}

}  // namespace sluice::detail
