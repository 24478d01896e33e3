// Making, watching and replacing workers.
//
// The nursery knows of the owner's end by its pidfd, not by PR_SET_PDEATHSIG: that fires when the
// *thread* ends that forked. Of the workers' it is the parent, and has one thread: there
// PR_SET_PDEATHSIG is right, and ends them with the nursery, however that ends.
//
// Orders: shm/task_word.hpp
//   R5 the pool's state, A4 of the workers' phases: as there
#include "pool_nursery.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>

#include "family.hpp"
#include "pool_worker.hpp"
#include "sluice/detail/barrier_core.hpp"

namespace sluice::detail {
namespace {

using shm::PoolRequest;
using shm::PoolState;
using shm::WorkerLayout;
using shm::WorkerPhase;

// A worker that dies in its start so many times in a row is the Pool's error, not bad luck.
constexpr unsigned kStartsMax = 3;

int open_pidfd_of(pid_t pid) noexcept {
    return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

class Nursery {
 public:
    Nursery(PoolArea& area, const PoolOptions& options, const NurseryBirth& birth)
        : area_(area), options_(options), birth_(birth), nurslings_(area.workers()) {
        for (Nursling& nursling : nurslings_) {
            nursling = {};
        }
    }

    [[noreturn]] void live() noexcept;

 private:
    struct Nursling {
        pid_t pid{};
        int pidfd{-1};
        unsigned failed_starts{};
        std::int64_t overdue{};
    };

    void become_nursery() noexcept;
    void make_worker(std::uint32_t index) noexcept;
    [[noreturn]] void be_worker(std::uint32_t index) noexcept;
    void look_at(std::uint32_t index) noexcept;
    void judge(std::uint32_t index, int status) noexcept;
    [[nodiscard]] bool is_overdue(std::uint32_t index, std::uint64_t& number) const noexcept;
    void end_overdue_workers() noexcept;
    [[nodiscard]] const timespec* next_look(timespec& room) const noexcept;
    void wait_for_news() noexcept;
    [[gnu::format(printf, 2, 3)]] void give_up(const char* format, ...) noexcept;
    [[noreturn]] void end(PoolState state) noexcept;
    [[nodiscard]] bool any_alive() const noexcept {
        return std::any_of(nurslings_.begin(), nurslings_.end(),
                           [](const Nursling& nursling) { return nursling.pid != 0; });
    }
    [[nodiscard]] PoolRequest request() const noexcept {
        return area_.pool().request.load(std::memory_order_acquire);  // the owner's wish
    }

    PoolArea& area_;
    const PoolOptions& options_;
    const NurseryBirth& birth_;
    std::vector<Nursling> nurslings_;
    std::vector<pollfd> watched_{};
    int owner_{-1};
};

void Nursery::become_nursery() noexcept {
    ::prctl(PR_SET_NAME, "pool-nursery", 0, 0, 0);
    // Ctrl-C reaches the whole group; who ends the pool is the owner. SIGCHLD must not be ignored,
    // or the kernel would throw the workers' exit codes away.
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    std::signal(SIGCHLD, SIG_DFL);
    owner_ = open_pidfd_of(birth_.owner);
    if (owner_ < 0 || ::getppid() != birth_.owner) {
        if (::getppid() != birth_.owner) {
            ::_exit(0);  // it has died already
        }
        give_up("pidfd_open: %s", std::strerror(errno));
    }
    shm::Failure failure;
    if (area_.members().join(failure) == shm::kNobody) {
        give_up("%s", failure.text.c_str());
    }
}

void Nursery::be_worker(std::uint32_t index) noexcept {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    char name[16];
    std::snprintf(name, sizeof name, "pool-worker-%u", index % 1000U);
    ::prctl(PR_SET_NAME, name, 0, 0, 0);
    ::pthread_sigmask(SIG_SETMASK, &birth_.signals, nullptr);
    for (const Nursling& nursling : nurslings_) {
        if (nursling.pidfd >= 0) {
            ::close(nursling.pidfd);
        }
    }
    ::close(owner_);
    ::close(birth_.request);
    become(std::make_shared<const ProcessState>(
        ProcessOptions{.name = "PoolWorker-" + birth_.identities[index]}, birth_.identities[index],
        Birth{}));
    PoolWorker worker(area_, options_, index);
    const int code = worker.live(birth_.bindings[index]);
    if (code == 0) {
        BarrierCore::leave_all();
    }
    end_children();
    flush_standard_streams();
    ::_exit(code);
}

void Nursery::make_worker(std::uint32_t index) noexcept {
    WorkerLayout& line = area_.worker(index);
    Nursling& nursling = nurslings_[index];
    line.phase.store(WorkerPhase::forked, std::memory_order_relaxed);  // the worker raises it: R4
    const pid_t self = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || ::getppid() != self) {
            ::_exit(1);  // the nursery died in between
        }
        be_worker(index);
    }
    if (pid < 0) {
        give_up("fork: %s", std::strerror(errno));
    }
    nursling.pid = pid;
    nursling.pidfd = open_pidfd_of(pid);
    nursling.overdue = 0;
    line.pid.store(pid, std::memory_order_release);  // for workers()
    if (nursling.pidfd < 0) {
        give_up("pidfd_open: %s", std::strerror(errno));
    }
}

void Nursery::give_up(const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(area_.pool().text, sizeof area_.pool().text, format, arguments);
    va_end(arguments);
    end(PoolState::broken);
}

void Nursery::end(PoolState state) noexcept {
    for (const Nursling& nursling : nurslings_) {
        if (nursling.pid != 0) {
            ::kill(nursling.pid, SIGKILL);  // ours, and not reaped: the pid is no other's
        }
    }
    for (std::uint32_t index = 0; index < nurslings_.size(); ++index) {
        if (nurslings_[index].pid != 0) {
            while (::waitpid(nurslings_[index].pid, nullptr, 0) < 0 && errno == EINTR) {
            }
            area_.worker(index).pid.store(0, std::memory_order_release);  // for workers()
        }
    }
    area_.pool().state.exchange(state, std::memory_order_seq_cst);  // R5, before the sleepers
    area_.pool().results.notify_all();
    ::_exit(0);
}

void Nursery::judge(std::uint32_t index, int status) noexcept {
    WorkerLayout& line = area_.worker(index);
    Nursling& nursling = nurslings_[index];
    const WorkerPhase phase = line.phase.load(std::memory_order_acquire);  // A4
    const char* const kStart = "a worker cannot start";
    if (phase == WorkerPhase::working || phase == WorkerPhase::retiring) {
        nursling.failed_starts = 0;
        return;
    }
    ++nursling.failed_starts;
    if (phase == WorkerPhase::refused) {
        line.text[WorkerLayout::kTextBytes - 1] = '\0';
        if (nursling.failed_starts >= kStartsMax) {
            give_up("%s, it threw %u times: %s", kStart, kStartsMax, line.text);
        }
    } else if (nursling.failed_starts >= kStartsMax) {
        if (WIFSIGNALED(status)) {
            give_up("%s, it died %u times of signal %d (%s)", kStart, kStartsMax, WTERMSIG(status),
                    ::strsignal(WTERMSIG(status)));
        }
        give_up("%s, it exited %u times with code %d", kStart, kStartsMax, WEXITSTATUS(status));
    }
}

void Nursery::look_at(std::uint32_t index) noexcept {
    Nursling& nursling = nurslings_[index];
    int status = 0;
    if (::waitpid(nursling.pid, &status, WNOHANG) != nursling.pid) {
        return;
    }
    ::close(nursling.pidfd);
    area_.worker(index).pid.store(0, std::memory_order_release);  // for workers()
    settle_dead_worker(area_, options_, index, {nursling.pid, status, nursling.overdue});
    nursling.pid = 0;
    nursling.pidfd = -1;
    if (request() != PoolRequest::run) {
        return;
    }
    judge(index, status);
    make_worker(index);
}

bool Nursery::is_overdue(std::uint32_t index, std::uint64_t& number) const noexcept {
    const WorkerLayout& line = area_.worker(index);
    number = line.current.load(std::memory_order_acquire);  // I3: `started_ns` is of this task
    if (number == WorkerLayout::kNoTask) {
        return false;
    }
    // relaxed: a clock
    const std::int64_t started = line.started_ns.load(std::memory_order_relaxed);
    const shm::TaskControl seen{area_.task(static_cast<std::uint32_t>(number) % PoolArea::kTasks)
                                    .control.load(std::memory_order_acquire)};  // A2
    return shm::monotonic_now_ns() - started >= options_.task_timeout.count() &&
           seen.state() == shm::TaskState::running && seen.worker() == index;
}

void Nursery::end_overdue_workers() noexcept {
    if (options_.task_timeout.count() <= 0) {
        return;
    }
    for (std::uint32_t index = 0; index < nurslings_.size(); ++index) {
        Nursling& nursling = nurslings_[index];
        std::uint64_t number = 0;
        if (nursling.pid == 0 || nursling.overdue != 0 || !is_overdue(index, number)) {
            continue;
        }
        // Stopped first: else it might be done meanwhile, and its next task would be hit.
        ::kill(nursling.pid, SIGSTOP);
        siginfo_t info{};
        while (::waitid(P_PID, static_cast<id_t>(nursling.pid), &info,
                        WSTOPPED | WEXITED | WNOWAIT) < 0 &&
               errno == EINTR) {
        }
        std::uint64_t still = 0;
        if (is_overdue(index, still) && still == number) {
            nursling.overdue = options_.task_timeout.count();
            ::kill(nursling.pid, SIGKILL);
        } else {
            ::kill(nursling.pid, SIGCONT);
        }
    }
}

const timespec* Nursery::next_look(timespec& room) const noexcept {
    const std::int64_t limit = options_.task_timeout.count();
    if (limit <= 0) {
        return nullptr;
    }
    // Late by an eighth at most.
    constexpr std::int64_t kShortest = 1'000'000;
    constexpr std::int64_t kLongest = 100'000'000;
    constexpr std::int64_t kSecond = 1'000'000'000;
    const std::int64_t ns = std::clamp(limit / 8, kShortest, kLongest);
    room = {static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
    return &room;
}

void Nursery::wait_for_news() noexcept {
    watched_.clear();
    watched_.push_back({owner_, POLLIN, 0});
    watched_.push_back({birth_.request, POLLIN, 0});
    for (const Nursling& nursling : nurslings_) {
        watched_.push_back({nursling.pidfd, POLLIN, 0});  // negative: passed over
    }
    timespec room{};
    if (::ppoll(watched_.data(), watched_.size(), next_look(room), nullptr) <= 0) {
        return;
    }
    if (watched_[0].revents != 0) {
        end(PoolState::ended);
    }
    if (watched_[1].revents != 0) {
        std::uint64_t count = 0;
        static_cast<void>(::read(birth_.request, &count, sizeof count) == sizeof count);
    }
    for (std::uint32_t index = 0; index < nurslings_.size(); ++index) {
        if (watched_[index + 2].revents != 0) {
            look_at(index);
        }
    }
}

void Nursery::live() noexcept {
    become_nursery();
    for (std::uint32_t index = 0; index < nurslings_.size(); ++index) {
        make_worker(index);
    }
    for (;;) {
        if (request() == PoolRequest::terminate ||
            (request() == PoolRequest::finish && !any_alive())) {
            end(PoolState::ended);
        }
        wait_for_news();
        end_overdue_workers();
    }
}

}  // namespace

void run_pool_nursery(PoolArea& area, const PoolOptions& options,
                      const NurseryBirth& birth) noexcept {
    Nursery nursery(area, options, birth);
    nursery.live();
}

}  // namespace sluice::detail
