#include "crew.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdio>
#include <set>
#include <system_error>

namespace sluice::bench {

// Ordering ledger
//   R1 store of a role's command -> A1 : the role sees the block it is to run
//   R2 store of ready            -> A2 : the leader starts only when every role is at the line
//   R3 store of go               -> A3 : the roles start
//   R4 store of done             -> A4 : the leader sees what the roles wrote (tallies,
//   preemptions)

namespace {

constexpr unsigned kRolesMax = 16;
constexpr std::uint32_t kStop = UINT32_MAX;
constexpr unsigned kWatchdogSeconds = 60;

struct alignas(kFarApartBytes) Word {
    std::atomic<std::uint32_t> value{0};
};

struct RoleWords {
    Word command;  // written by the leader
    Word ready;    // written by the role, as are the others
    Word done;
    long preemptions{0};
};

long preemptions_so_far() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

// The watchdog's view of the crew; signal handlers can reach nothing else.
std::array<volatile pid_t, kRolesMax> watched_pids;
volatile sig_atomic_t dismissing;

void say(const char* text, std::size_t size) {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text, size);
}

// The leader may be anywhere when a role dies, deep inside a contestant's spinning get() too, so
// only a signal can stop it.
void on_child_ended(int) {
    if (dismissing != 0) {
        return;
    }
    for (const auto& pid : watched_pids) {
        int status = 0;
        if (pid > 0 && waitpid(pid, &status, WNOHANG) == pid) {
            constexpr char kText[] = "bench: a process of the crew died; there is no result\n";
            say(kText, sizeof kText - 1);
            _exit(3);
        }
    }
}

void on_watchdog(int) {
    constexpr char kText[] = "bench: a block did not end within a minute; there is no result\n";
    say(kText, sizeof kText - 1);
    _exit(3);
}

void set_handler(int signal_number, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    if (sigaction(signal_number, &action, nullptr) != 0) {
        throw std::system_error(errno, std::generic_category(), "crew: sigaction");
    }
}

void pin(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        throw std::system_error(errno, std::generic_category(), "crew: sched_setaffinity");
    }
}

void sleep_while(std::atomic<std::uint32_t>& word, std::uint32_t value) {
    syscall(SYS_futex, &word, FUTEX_WAIT, value, nullptr, nullptr, 0);
}

void wake(std::atomic<std::uint32_t>& word) {
    syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

struct Crew::Board {
    Word go;
    alignas(kFarApartBytes) std::size_t contestant{0};
    std::uint64_t count{0};
    unsigned participants{0};
    std::array<RoleWords, kRolesMax> roles;
};

Crew::Crew(SharedArena& arena, std::span<const std::unique_ptr<Contestant>> contestants,
           std::vector<unsigned> cpus)
    : arena_(arena),
      contestants_(contestants),
      cpus_(std::move(cpus)),
      crowd_(std::set<unsigned>(cpus_.begin(), cpus_.end()).size() < cpus_.size()
                 ? Crowd::oversubscribed
                 : Crowd::fits),
      board_(arena.make<Board>()) {
    if (cpus_.size() > kRolesMax) {
        throw std::invalid_argument("crew: too many roles");
    }
    dismissing = 0;
    set_handler(SIGCHLD, on_child_ended);
    set_handler(SIGALRM, on_watchdog);
    sched_getaffinity(0, sizeof affinity_before_, &affinity_before_);
    std::fflush(nullptr);  // or each role would print what is buffered here again
    const pid_t leader = getpid();
    for (unsigned role = 1; role < cpus_.size(); ++role) {
        const pid_t pid = fork();
        if (pid < 0) {
            throw std::system_error(errno, std::generic_category(), "crew: fork");
        }
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != leader) {
                _exit(3);  // the leader died before the line above
            }
            set_handler(SIGCHLD, SIG_DFL);
            set_handler(SIGALRM, SIG_DFL);
            pin(cpus_[role]);
            serve(role);
        }
        pids_.push_back(pid);
        watched_pids[role] = pid;
    }
    pin(cpus_[0]);
    arena_.prefault();
}

Crew::~Crew() {
    dismissing = 1;
    alarm(0);
    for (unsigned role = 1; role < cpus_.size(); ++role) {
        auto& command = board_.roles[role].command.value;
        command.store(kStop, std::memory_order_release);  // R1
        wake(command);
        watched_pids[role] = 0;
    }
    for (const pid_t pid : pids_) {
        while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
    }
    sched_setaffinity(0, sizeof affinity_before_, &affinity_before_);
}

Crew::Outcome Crew::run(std::size_t contestant, std::uint64_t count, unsigned participants,
                        std::uint64_t* stamps) {
    alarm(kWatchdogSeconds);
    board_.contestant = contestant;
    board_.count = count;
    board_.participants = participants;
    ++epoch_;
    for (unsigned role = 1; role < participants; ++role) {
        auto& command = board_.roles[role].command.value;
        command.store(epoch_, std::memory_order_release);  // R1
        if (crowd_ == Crowd::oversubscribed) {
            wake(command);
        }
    }
    Patience patience(crowd_);
    for (unsigned role = 1; role < participants; ++role) {
        while (board_.roles[role].ready.value.load(std::memory_order_acquire) != epoch_) {  // A2
            patience.wait();
        }
    }
    const Block block{0, participants, count, stamps, participants > 2 ? crowd_ : Crowd::fits};
    const long preemptions_before = preemptions_so_far();
    board_.go.value.store(epoch_, std::memory_order_release);  // R3
    const auto start = std::chrono::steady_clock::now();
    contestants_[contestant]->run(block);
    for (unsigned role = 1; role < participants; ++role) {
        while (board_.roles[role].done.value.load(std::memory_order_acquire) != epoch_) {  // A4
            patience.wait();
        }
    }
    const auto end = std::chrono::steady_clock::now();
    contestants_[contestant]->check(block);
    Outcome outcome{std::chrono::duration<double, std::nano>(end - start).count(),
                    preemptions_so_far() - preemptions_before};
    for (unsigned role = 1; role < participants; ++role) {
        outcome.preemptions += board_.roles[role].preemptions;
    }
    return outcome;
}

void Crew::serve(unsigned role) {
    arena_.prefault();
    auto& words = board_.roles[role];
    std::uint32_t last = 0;
    for (;;) {
        std::uint32_t epoch = 0;
        // A role that has no part in a block must not take a CPU from those that have: in a crowd
        // it sleeps between blocks.
        while ((epoch = words.command.value.load(std::memory_order_acquire)) == last) {  // A1
            if (crowd_ == Crowd::oversubscribed) {
                sleep_while(words.command.value, last);
            }
        }
        if (epoch == kStop) {
            _exit(0);
        }
        last = epoch;
        const Block block{role, board_.participants, board_.count, nullptr,
                          board_.participants > 2 ? crowd_ : Crowd::fits};
        Contestant& contestant = *contestants_[board_.contestant];
        const long preemptions_before = preemptions_so_far();
        words.ready.value.store(epoch, std::memory_order_release);  // R2
        Patience patience(crowd_);
        while (board_.go.value.load(std::memory_order_acquire) != epoch) {  // A3
            patience.wait();
        }
        contestant.run(block);
        words.preemptions = preemptions_so_far() - preemptions_before;
        words.done.value.store(epoch, std::memory_order_release);  // R4
    }
}

}  // namespace sluice::bench
