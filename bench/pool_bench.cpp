// Pool beside the Queue's round trip, a bare pool of one worker behind two pipes, bare processes
// that run the same loop, and Python's pools where there is a python3. Blocks are interleaved; the
// processes of those whose turn it is not are stopped. Owner on the first usable CPU, workers on
// the second.
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <sluice/pool.hpp>
#include <sluice/queue.hpp>
#include <string>
#include <vector>

#include "support/python.hpp"
#include "support/statistics.hpp"

namespace {

using sluice::bench::quantile;
using Clock = std::chrono::steady_clock;

double ns_since(Clock::time_point begin) {
    return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

void unpin(const std::vector<unsigned>& cpus) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const unsigned cpu : cpus) {
        CPU_SET(cpu, &set);
    }
    sched_setaffinity(0, sizeof set, &set);
}
void pin(unsigned cpu) {
    unpin({cpu});
}

std::vector<unsigned> usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    std::vector<unsigned> cpus;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &set)) {
            cpus.push_back(cpu);
        }
    }
    return cpus;
}

/// A child that works off a function until it is killed with this process.
class Helper {
 public:
    Helper(unsigned cpu, const std::function<void()>& body) {
        std::fflush(nullptr);
        const pid_t parent = getpid();
        pid_ = fork();
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) {
                _exit(1);
            }
            pin(cpu);
            body();
            _exit(0);
        }
    }
    Helper(const Helper&) = delete;
    Helper& operator=(const Helper&) = delete;
    ~Helper() {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    pid_t pid() const { return pid_; }

 private:
    pid_t pid_;
};

int increment(int i) {
    return i + 1;
}
std::uint64_t burn(std::uint64_t rounds) {
    std::uint64_t state = rounds | 1U;
    for (std::uint64_t round = 0; round < rounds; ++round) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        asm volatile("" : "+r"(state));
    }
    return state;
}

/// One worker behind two pipes, one task at a time: what one writes without a library.
class PipePool {
 public:
    explicit PipePool(unsigned cpu) {
        if (pipe(to_.data()) != 0 || pipe(from_.data()) != 0) {
            std::perror("pipe");
            std::exit(1);
        }
        worker_ = std::make_unique<Helper>(cpu, [this] {
            int value = 0;
            while (read(to_[0], &value, sizeof value) == sizeof value) {
                value = increment(value);
                if (write(from_[1], &value, sizeof value) != sizeof value) {
                    return;
                }
            }
        });
    }
    int apply(int value) {
        if (write(to_[1], &value, sizeof value) != sizeof value ||
            read(from_[0], &value, sizeof value) != sizeof value) {
            std::exit(1);
        }
        return value;
    }
    pid_t pid() const { return worker_->pid(); }

 private:
    std::array<int, 2> to_{};
    std::array<int, 2> from_{};
    std::unique_ptr<Helper> worker_;
};

/// One way of doing something `count` times, and the processes that it needs.
struct Contestant {
    std::string name;
    std::vector<pid_t> pids;
    std::uint64_t count;
    std::function<void(std::uint64_t)> run;
    std::vector<double> ns{};  // of one, block by block

    void wake(int signal) const {
        for (const pid_t pid : pids) {
            kill(pid, signal);
        }
    }
};

void race(const std::string& title, std::vector<Contestant>& contestants, unsigned cycles) {
    for (const Contestant& contestant : contestants) {
        contestant.wake(SIGSTOP);
    }
    for (unsigned cycle = 0; cycle < cycles; ++cycle) {
        for (Contestant& contestant : contestants) {
            contestant.wake(SIGCONT);
            contestant.run(contestant.count / 8 + 1);  // warm
            const auto begin = Clock::now();
            contestant.run(contestant.count);
            contestant.ns.push_back(ns_since(begin) / static_cast<double>(contestant.count));
            contestant.wake(SIGSTOP);
        }
    }
    for (const Contestant& contestant : contestants) {
        contestant.wake(SIGCONT);
    }
    fmt::print("\n{}\n{:<34} {:>12} {:>14} {:>10}\n", title, "", "ns", "per second", "x first");
    for (const Contestant& contestant : contestants) {
        std::vector<double> ratios;
        for (std::size_t block = 0; block < contestant.ns.size(); ++block) {
            ratios.push_back(contestant.ns[block] / contestants[0].ns[block]);
        }
        const double ns = quantile(contestant.ns, 0.5);
        fmt::print("{:<34} {:>12.1f} {:>14.0f} {:>10.2f}\n", contestant.name, ns, 1e9 / ns,
                   quantile(ratios, 0.5));
    }
}

std::vector<pid_t> pids_of(const sluice::Pool& pool) {
    std::vector<pid_t> pids;
    for (const sluice::WorkerInfo& worker : pool.workers()) {
        pids.push_back(worker.pid);
    }
    return pids;
}

sluice::Pool make_pool(std::size_t workers, const std::vector<unsigned>& cpus, sluice::Wait wait) {
    std::string list;
    for (const unsigned cpu : cpus) {
        list += (list.empty() ? "" : ",") + std::to_string(cpu);
    }
    return sluice::Pool({.workers = workers,
                         .placement = {.policy = sluice::Policy::list, .cpus = list},
                         .wait = wait});
}

void apply_race(const std::vector<unsigned>& cpus, bool quick) {
    const unsigned cpu = cpus[1];
    sluice::Queue<std::uint64_t> there({.capacity = 64, .wait = sluice::Wait::spin});
    sluice::Queue<std::uint64_t> back({.capacity = 64, .wait = sluice::Wait::spin});
    const Helper echo(cpu, [&] {
        for (;;) {
            back.put(there.get());
        }
    });
    kill(echo.pid(), SIGSTOP);  // who spins on a real-time CPU lets nobody else start there
    const sluice::Pool spinning = make_pool(1, {cpu}, sluice::Wait::spin);
    kill(pids_of(spinning)[0], SIGSTOP);
    const sluice::Pool parking = make_pool(1, {cpu}, sluice::Wait::park);
    PipePool pipes(cpu);
    pin(cpus[0]);  // not before: workers may run only where their owner may
    std::vector<Contestant> contestants;
    contestants.push_back(
        {"sluice Queue, round trip", {echo.pid()}, 4000, [&](std::uint64_t count) {
             for (; count != 0; --count) {
                 there.put(count);
                 back.get();
             }
         }});
    contestants.push_back(
        {"sluice Pool.apply, spinning", pids_of(spinning), 4000, [&](std::uint64_t count) {
             for (; count != 0; --count) {
                 spinning.apply(increment, 1);
             }
         }});
    contestants.push_back(
        {"sluice Pool.apply, parked", pids_of(parking), 100, [&](std::uint64_t count) {
             for (; count != 0; --count) {
                 parking.apply(increment, 1);
             }
         }});
    contestants.push_back({"bare pipes", {pipes.pid()}, 100, [&](std::uint64_t count) {
                               for (; count != 0; --count) {
                                   pipes.apply(1);
                               }
                           }});
    race("Pool_Apply (target: spinning <= 3 x the Queue's round trip)", contestants,
         quick ? 2 : 200);
}

void throughput(const std::vector<unsigned>& cpus, bool quick) {
    const std::uint64_t many = quick ? 2000 : 100'000;
    const sluice::Pool one = make_pool(1, {cpus[1]}, sluice::Wait::spin_then_park);
    pin(cpus[0]);  // as above
    const auto map_ones = [many](const sluice::Pool& pool, std::uint64_t count) {
        std::vector<int> items(std::min(count, many));
        std::iota(items.begin(), items.end(), 0);
        pool.map(increment, items, 1);
    };
    std::vector<Contestant> contestants;
    contestants.push_back({"sluice Pool.map, chunk 1", pids_of(one), many,
                           [&](std::uint64_t count) { map_ones(one, count); }});
    contestants.push_back(
        {"sluice Pool.map, chunk 0", pids_of(one), many, [&](std::uint64_t count) {
             std::vector<int> items(count);
             one.map(increment, items);
         }});
    contestants.push_back(
        {"sluice Pool.imap, chunk 1", pids_of(one), many / 10, [&](std::uint64_t count) {
             std::vector<int> items(count);
             for (const int value : one.imap(increment, items)) {
                 static_cast<void>(value);
             }
         }});
    contestants.push_back(
        {"sluice Pool.apply_async, get", pids_of(one), many, [&](std::uint64_t count) {
             std::vector<sluice::AsyncResult<int>> results;
             results.reserve(count);
             for (std::uint64_t task = 0; task < count; ++task) {
                 results.push_back(one.apply_async(increment, 1));
             }
             for (const auto& result : results) {
                 result.get();
             }
         }});
    contestants.push_back(
        {"sluice Pool.apply_async, callback", pids_of(one), many, [&](std::uint64_t count) {
             std::atomic<std::uint64_t> called{0};
             for (std::uint64_t task = 0; task < count; ++task) {
                 one.apply_async(increment, 1).then([&called](int) { ++called; });
             }
             while (called != count) {
                 sched_yield();
             }
         }});
    race("Pool_Throughput, one worker (targets: map, chunk 1 >= 5 M/s; apply_async >= 2 M/s)",
         contestants, quick ? 1 : 15);
}

void busy_workers(const std::vector<unsigned>& cpus, bool quick) {
    const std::uint64_t rounds = quick ? 100'000 : 20'000'000;
    sluice::Queue<std::uint64_t> starts(16);
    sluice::Queue<std::uint64_t> ends(16);
    const auto serve = [&] {
        for (;;) {
            ends.put(burn(starts.get()));
        }
    };
    const Helper first(cpus[0], serve);
    const Helper second(cpus[1], serve);
    const sluice::Pool pool = make_pool(2, {cpus[0], cpus[1]}, sluice::Wait::spin_then_park);
    std::vector<Contestant> contestants;
    contestants.push_back(
        {"two bare processes", {first.pid(), second.pid()}, rounds, [&](std::uint64_t count) {
             starts.put(count);
             starts.put(count);
             ends.get();
             ends.get();
         }});
    contestants.push_back(
        {"sluice Pool, two workers", pids_of(pool), rounds, [&](std::uint64_t count) {
             pool.map(burn, std::vector<std::uint64_t>{count, count}, 1);
         }});
    race("Pool_Busy: the same loop (target: <= 1 / 0.9 = 1.11)", contestants, quick ? 1 : 15);
}

void python() {
    sluice::bench::run_python("one worker", R"(
import concurrent.futures

def increment(i):
    return i + 1

with multiprocessing.Pool(1) as pool:
    clock("Pool.apply", 2000, lambda n: [pool.apply(increment, (1,)) for _ in range(n)])
    clock("Pool.apply_async, get", 10000, lambda n: [r.get() for r in
          [pool.apply_async(increment, (1,)) for _ in range(n)]])
    clock("Pool.map, chunksize 1", 20000, lambda n: pool.map(increment, range(n), 1))
    clock("Pool.map", 200000, lambda n: pool.map(increment, range(n)))
with concurrent.futures.ProcessPoolExecutor(1) as pool:
    clock("ProcessPoolExecutor.submit", 5000, lambda n: [f.result() for f in
          [pool.submit(increment, 1) for _ in range(n)]])
    clock("ProcessPoolExecutor.map", 5000, lambda n: list(pool.map(increment, range(n)))))");
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Pool beside the Queue, bare pipes, bare processes and Python's pools"};
    bool quick = false;
    bool no_python = false;
    std::string only;
    app.add_flag("--quick", quick, "every contestant a few times");
    app.add_flag("--no-python", no_python, "without Python's pools");
    app.add_option("--only", only, "apply, throughput or busy");
    CLI11_PARSE(app, argc, argv);
    const std::vector<unsigned> cpus = usable_cpus();
    if (cpus.size() < 2) {
        fmt::print("two CPUs are needed\n");
        return 77;
    }
    if (only.empty() || only == "busy") {
        busy_workers(cpus, quick);
    }
    if (only.empty() || only == "apply") {
        apply_race(cpus, quick);
        unpin(cpus);
    }
    if (only.empty() || only == "throughput") {
        throughput(cpus, quick);
        unpin(cpus);
    }
    if (only.empty() && !quick && !no_python) {
        python();
    }
}
