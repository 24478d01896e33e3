// lock.hpp: who gets the lock, and when. Fairness: eight processes want it all the time; how often
// did the luckiest and the unluckiest get it, and how often running was somebody overtaken. Hand-
// over: from an unlock to the return of the lock() that waited for it, awake or asleep.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "baselines/locks.hpp"
#include "support/lock_blocks.hpp"
#include "support/our_lock.hpp"

namespace {

using namespace sluice::bench;

std::int64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

pid_t fork_child(const std::function<void()>& body) {
    std::fflush(nullptr);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
        throw std::runtime_error("fork");
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            body();
        }
        _exit(0);
    }
    return pid;
}
void reap(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0) {
        fail("a process of the race died");
    }
}

constexpr unsigned kProcesses = 8;
struct Board {
    struct alignas(kFarApartBytes) Line {
        std::atomic<std::uint64_t> times;
        std::atomic<std::uint64_t> overtaken_max;
        std::atomic<std::int64_t> waited_max_ns;
    };
    std::atomic<bool> go;
    std::atomic<bool> stop;
    alignas(kFarApartBytes) std::atomic<std::uint64_t> total;  // written under the lock
    alignas(kFarApartBytes) std::atomic<std::int64_t> released_ns;
    Line lines[kProcesses];
};

template <class L>
void fairness(const std::string& name, double seconds, unsigned section) {
    SharedArena arena(4U << 20U);
    L lock(arena);
    Board& board = arena.make<Board>();
    std::vector<pid_t> children;
    for (unsigned process = 0; process < kProcesses; ++process) {
        children.push_back(fork_child([&, process] {
            Board::Line& mine = board.lines[process];
            spin_until([&] { return board.go.load(); });
            // relaxed, below: counters of one writer, or written under the lock
            while (!board.stop.load(std::memory_order_relaxed)) {
                const std::uint64_t before = board.total.load(std::memory_order_relaxed);
                const std::int64_t begun = now_ns();
                lock.lock();
                const std::uint64_t after = board.total.load(std::memory_order_relaxed);
                board.total.store(after + 1, std::memory_order_relaxed);
                const std::int64_t waited = now_ns() - begun;
                work(section);
                lock.unlock();
                work(section);
                mine.times.fetch_add(1, std::memory_order_relaxed);
                if (after - before > mine.overtaken_max.load(std::memory_order_relaxed)) {
                    mine.overtaken_max.store(after - before, std::memory_order_relaxed);
                }
                if (waited > mine.waited_max_ns.load(std::memory_order_relaxed)) {
                    mine.waited_max_ns.store(waited, std::memory_order_relaxed);
                }
            }
        }));
    }
    board.go.store(true);
    usleep(static_cast<unsigned>(seconds * 1e6));
    board.stop.store(true);
    std::uint64_t least = ~0ULL;
    std::uint64_t most = 0;
    std::uint64_t overtaken = 0;
    std::int64_t waited = 0;
    for (unsigned process = 0; process < kProcesses; ++process) {
        reap(children[process]);
        const Board::Line& line = board.lines[process];
        least = std::min(least, line.times.load());
        most = std::max(most, line.times.load());
        overtaken = std::max(overtaken, line.overtaken_max.load());
        waited = std::max(waited, line.waited_max_ns.load());
    }
    fmt::print("{:<28} {:>8} ns {:>9.2f} {:>11} {:>11} {:>8.3f} {:>12} {:>10.1f}\n", name, section,
               static_cast<double>(board.total.load()) / seconds / 1e6, least, most,
               static_cast<double>(least) / static_cast<double>(std::max<std::uint64_t>(most, 1)),
               overtaken, static_cast<double>(waited) / 1e6);
    std::fflush(stdout);
}

/// The parent holds the lock for so long, then gives it back; the child waits for it.
template <class L>
void hand_over(const std::string& name, unsigned count, unsigned held_us) {
    SharedArena arena(4U << 20U);
    L lock(arena);
    Board& board = arena.make<Board>();
    std::atomic<std::uint32_t>& turn = arena.make<std::atomic<std::uint32_t>>(0U);
    std::atomic<std::int64_t>& took = arena.make<std::atomic<std::int64_t>>(0);
    const pid_t child = fork_child([&] {
        for (unsigned round = 0; round < count; ++round) {
            spin_until([&] { return turn.load() == 2 * round + 1; });
            lock.lock();
            const std::int64_t got = now_ns();
            took.store(got - board.released_ns.load());
            lock.unlock();
            turn.store(2 * round + 2);
        }
    });
    std::vector<std::int64_t> times;
    for (unsigned round = 0; round < count; ++round) {
        lock.lock();
        turn.store(2 * round + 1);
        for (const std::int64_t until = now_ns() + held_us * 1000LL; now_ns() < until;) {
        }
        board.released_ns.store(now_ns());
        lock.unlock();
        spin_until([&] { return turn.load() == 2 * round + 2; });
        times.push_back(took.load());
    }
    reap(child);
    std::sort(times.begin(), times.end());
    const auto at = [&](double share) {
        return times[std::min(times.size() - 1,
                              static_cast<std::size_t>(share * static_cast<double>(times.size())))];
    };
    fmt::print("{:<28} {:>8} us {:>9} {:>9} {:>9}\n", name, held_us, at(0.5), at(0.9), at(0.99));
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Sluice benchmark: fairness and hand-over of locks."};
    bool quick = false;
    double seconds = 5;
    app.add_flag("--quick", quick, "Each a moment; judges nothing");
    app.add_option("--seconds", seconds, "Time for each line of fairness")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    if (quick) {
        seconds = 0.05;
    }
    fmt::print("fairness: {} processes that want the lock all the time\n", kProcesses);
    fmt::print("{:<28} {:>11} {:>9} {:>11} {:>11} {:>8} {:>12} {:>10}\n", "", "section", "M/s",
               "least", "most", "ratio", "overtaken", "wait, ms");
    using Robust = PthreadMutex<PthreadKind::robust>;
    for (const unsigned section : {20U, 1000U, 20'000U}) {
        fairness<OurLock<>>("sluice Lock", seconds, section);
        fairness<DrepperFutex<0>>("Drepper's futex", seconds, section);
        fairness<DrepperFutex<1000>>("Drepper's futex, spinning", seconds, section);
        fairness<Robust>("pthread mutex, robust", seconds, section);
    }
    const unsigned count = quick ? 3 : 1000;
    fmt::print("hand-over: from unlock() to the return of the lock() that waited; ns\n");
    fmt::print("{:<28} {:>11} {:>9} {:>9} {:>9}\n", "", "held", "p50", "p90", "p99");
    for (const unsigned held_us : {3U, 2000U}) {
        hand_over<OurLock<>>("sluice Lock", count, held_us);
        hand_over<DrepperFutex<0>>("Drepper's futex", count, held_us);
        hand_over<DrepperFutex<1000>>("Drepper's futex, spinning", count, held_us);
        hand_over<Robust>("pthread mutex, robust", count, held_us);
    }
    return 0;
}
