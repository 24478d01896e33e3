// ptrace: stepping, breakpoints, and telling a sleeping child from a running one.
#include "crash/tracee.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "support/processes.hpp"

extern "C" {
extern const char __executable_start;
extern const char etext;
}

namespace sluice::crash {
namespace {

constexpr std::uint8_t kInt3 = 0xcc;

// clang makes no clones, and does not know the word.
#if defined(__clang__)
#define SLUICE_ONE_COPY [[gnu::noinline]]
#else
#define SLUICE_ONE_COPY [[gnu::noinline, gnu::noclone]]
#endif

// Where recording begins and ends. Never inlined, and different from each other, so that each has
// an address of its own.
SLUICE_ONE_COPY void begin_mark() noexcept {
    asm volatile("nop; nop" ::: "memory");
}
SLUICE_ONE_COPY void end_mark() noexcept {
    asm volatile("nop; nop; nop" ::: "memory");
}
std::uintptr_t address_of(void (*function)() noexcept) noexcept {
    return reinterpret_cast<std::uintptr_t>(function);
}

void require(bool holds, const char* what) {
    if (!holds) {
        throw std::runtime_error(std::string("ptrace: ") + what + ": errno " +
                                 std::to_string(errno));
    }
}

// The parent's text is the child's, without the breakpoints.
bool is_system_call(std::uintptr_t pc) noexcept {
    const auto* code = reinterpret_cast<const std::uint8_t*>(pc);
    return code[0] == 0x0f && code[1] == 0x05;
}

}  // namespace

bool is_own_code(std::uintptr_t pc) noexcept {
    return pc >= reinterpret_cast<std::uintptr_t>(&__executable_start) &&
           pc < reinterpret_cast<std::uintptr_t>(&etext);
}

Tracee::Tracee(const std::function<void()>& prepare, const std::function<void()>& act) {
    std::fflush(nullptr);
    const pid_t parent = getpid();
    pid_ = fork();
    require(pid_ >= 0, "fork");
    if (pid_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) {
            _exit(3);
        }
        alarm(0);
        int code = 0;
        try {
            prepare();
            ::kill(getpid(), SIGSTOP);
            begin_mark();
            act();
            end_mark();
        } catch (const std::exception& error) {
            std::fprintf(stderr, "victim: %s\n", error.what());
            code = 1;
        }
        _exit(code);
    }
    Sleep never;
    require(wait_for_stop(never) == Wait::stopped && WSTOPSIG(status_) == SIGSTOP,
            "the child did not reach its beginning");
    require(ptrace(PTRACE_SETOPTIONS, pid_, nullptr,
                   reinterpret_cast<void*>(static_cast<std::uintptr_t>(PTRACE_O_EXITKILL))) == 0,
            "PTRACE_O_EXITKILL");
    signal_ = 0;
}

Tracee::~Tracee() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        while (waitpid(pid_, &status_, __WALL) < 0 && errno == EINTR) {
        }
    }
}

std::uintptr_t Tracee::pc() const {
    return static_cast<std::uintptr_t>(
        ptrace(PTRACE_PEEKUSER, pid_, offsetof(user, regs.rip), nullptr));
}

void Tracee::set_pc(std::uintptr_t pc) const {
    require(ptrace(PTRACE_POKEUSER, pid_, offsetof(user, regs.rip), pc) == 0, "POKEUSER");
}

void Tracee::plant(std::uintptr_t at) const {
    // A whole word is written; its other bytes are the text's own, read from the child, where
    // another breakpoint may stand.
    errno = 0;
    const auto word = static_cast<std::uint64_t>(ptrace(PTRACE_PEEKTEXT, pid_, at, nullptr));
    require(errno == 0, "PEEKTEXT");
    require(ptrace(PTRACE_POKETEXT, pid_, at, (word & ~std::uint64_t{0xff}) | kInt3) == 0,
            "POKETEXT");
}

void Tracee::restore(std::uintptr_t at) const {
    errno = 0;
    const auto word = static_cast<std::uint64_t>(ptrace(PTRACE_PEEKTEXT, pid_, at, nullptr));
    require(errno == 0, "PEEKTEXT");
    const std::uint8_t original = *reinterpret_cast<const std::uint8_t*>(at);
    require(ptrace(PTRACE_POKETEXT, pid_, at, (word & ~std::uint64_t{0xff}) | original) == 0,
            "POKETEXT");
}

Tracee::Wait Tracee::wait_for_stop(Sleep& sleep) {
    constexpr unsigned kPollsPerLook = 4;
    for (unsigned poll = 1;; ++poll) {
        const pid_t got = waitpid(pid_, &status_, __WALL | (sleep.possible ? WNOHANG : 0));
        if (got == pid_) {
            if (!WIFSTOPPED(status_)) {
                pid_ = -1;
                return Wait::ended;
            }
            return Wait::stopped;
        }
        require(got == 0 || errno == EINTR, "waitpid");
        if (got == 0) {
            sched_yield();
            if (poll % kPollsPerLook == 0 && test::sleeps_in_futex(pid_)) {
                slept_ = true;
                if (!sleep.wake) {
                    return Wait::asleep;
                }
                // Once: from here on it goes on by itself.
                sleep.possible = false;
                sleep.wake();
            }
        }
    }
}

Tracee::Wait Tracee::resume(int request, Sleep& sleep) {
    for (;;) {
        require(ptrace(static_cast<__ptrace_request>(request), pid_, nullptr,
                       static_cast<std::uintptr_t>(signal_)) == 0,
                "resuming");
        signal_ = 0;
        const Wait waited = wait_for_stop(sleep);
        if (waited != Wait::stopped || WSTOPSIG(status_) == SIGTRAP) {
            return waited;
        }
        signal_ = WSTOPSIG(status_);  // not ours: the child is to have it
    }
}

Stop Tracee::run_to(Point point, Sleep sleep) {
    const std::uintptr_t end = address_of(end_mark);
    plant(end);
    if (point.hit != 0) {
        plant(point.pc);
    }
    for (std::uint32_t hits = 0;;) {
        const Wait waited = resume(PTRACE_CONT, sleep);
        if (waited != Wait::stopped) {
            return waited == Wait::ended ? Stop::gone : Stop::asleep;
        }
        const std::uintptr_t at = pc() - 1;
        set_pc(at);
        if (at == end || ++hits == point.hit) {
            restore(end);
            if (point.hit != 0) {
                restore(point.pc);
            }
            return at == end ? Stop::finished : Stop::at_point;
        }
        restore(at);
        const Wait stepped = resume(PTRACE_SINGLESTEP, sleep);
        if (stepped != Wait::stopped) {
            return stepped == Wait::ended ? Stop::gone : Stop::asleep;
        }
        plant(at);
    }
}

std::vector<Point> Tracee::record(const std::function<void(std::size_t index)>& at_each,
                                  Sleep sleep) {
    const std::uintptr_t begin = address_of(begin_mark);
    plant(begin);
    require(resume(PTRACE_CONT, sleep) == Wait::stopped && pc() - 1 == begin,
            "the child does not begin");
    restore(begin);
    set_pc(begin);
    std::vector<Point> points;
    std::unordered_map<std::uintptr_t, std::uint32_t> hits;
    bool after_call = false;
    for (std::uintptr_t at = begin; at != address_of(end_mark); at = pc()) {
        const bool calls = is_system_call(at);
        if (is_own_code(at) || calls || after_call) {
            points.push_back({at, ++hits[at]});
            at_each(points.size() - 1);
        }
        after_call = calls;
        require(resume(PTRACE_SINGLESTEP, sleep) == Wait::stopped,
                "the child ended while stepping");
    }
    points.push_back({address_of(end_mark), 1});
    at_each(points.size() - 1);
    return points;
}

void Tracee::kill() {
    ::kill(pid_, SIGKILL);
    do {
        while (waitpid(pid_, &status_, __WALL) < 0 && errno == EINTR) {
        }
    } while (WIFSTOPPED(status_));
    pid_ = -1;
}

void Tracee::stop_by_signal() {
    require(ptrace(PTRACE_DETACH, pid_, nullptr, static_cast<std::uintptr_t>(SIGSTOP)) == 0,
            "PTRACE_DETACH");
    int status = 0;
    while (waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
    }
    require(WIFSTOPPED(status), "the child does not stop");
}

bool Tracee::join(Sleep& sleep) {
    return wait_for_stop(sleep) == Wait::ended && WIFEXITED(status_) && WEXITSTATUS(status_) == 0;
}

bool Tracee::continue_by_signal(Sleep sleep) {
    ::kill(pid_, SIGCONT);
    return join(sleep);
}

bool Tracee::let_go(Sleep sleep) {
    require(ptrace(PTRACE_DETACH, pid_, nullptr, nullptr) == 0, "PTRACE_DETACH");
    return join(sleep);
}

}  // namespace sluice::crash
