// The soak of the Pool: workers are killed at random instants, or end themselves in the middle of a
// task, while tasks of every kind are given; Pools come and go, in every way in which they can.
//
// It goes in eras. Each has two Pools: in one a death fails the task, in the other the task is run
// again. At the end of an era each task must have ended exactly once: in its result, in what it
// threw, or in WorkerDied; and processes, descriptors, memory and /dev/shm are as they were.
//
// Environment: SLUICE_SOAK, how many seconds (20; beside a sanitizer 10). SLUICE_TEST_SEED.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sluice/msgpack.hpp"
#include "sluice/pool.hpp"
#include "support/processes.hpp"
#include "support/soak.hpp"

namespace sluice::soak {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kWorkers = 2;              // of each Pool
constexpr std::uint32_t kTasksMax = 1U << 18;    // of one Pool in an era
constexpr std::uint32_t kOutstandingMax = 6000;  // more than the table holds

// ---- what workers run

/// What a task does.
enum class Fate : std::uint32_t { returns, lingers, large, throws, killed, crashes, exits, aborts };

struct Order {
    std::uint32_t pool;  // 0: a death fails it, 1: it is run again
    std::uint32_t task;
    Fate fate;
};

/// How often each task was begun: outside of all objects under test.
struct Ledger {
    std::array<std::array<std::atomic<std::uint8_t>, kTasksMax>, 2> begun{};
    std::array<std::atomic<pid_t>, kWorkers> orphans{};  // workers of an owner that is killed
    std::atomic<bool> owner_works{};
};
Ledger& ledger() {
    static const test::Shared<Ledger> shared;
    return *shared;
}

std::string result_of(const Order& order) {
    return std::to_string(order.task) +
           std::string(order.fate == Fate::large ? 20'000 + order.task % 1000 : 0, 'x');
}
std::string work(const Order& order) {
    const bool first = ledger().begun[order.pool][order.task].fetch_add(1) == 0;
    if (order.fate == Fate::lingers) {
        usleep(500);
    } else if (order.fate == Fate::throws) {
        throw std::out_of_range(std::to_string(order.task));
    } else if (first) {  // where it is run again it returns
        const auto die_of = [](int signal) {
            ::signal(signal, SIG_DFL);
            ::raise(signal);
        };
        switch (order.fate) {
            case Fate::killed:
                die_of(SIGKILL);
                break;
            case Fate::crashes:
                die_of(SIGSEGV);
                break;
            case Fate::aborts:
                die_of(SIGABRT);
                break;
            case Fate::exits:
                ::_exit(3);
            default:
                break;
        }
    }
    return result_of(order);
}
bool is_deadly(Fate fate) {
    return fate >= Fate::killed;
}
std::uint32_t mirror(std::uint32_t value) {
    return ~value;
}
/// Where nobody but the killer kills: half of it takes longer than a worker's start.
std::uint32_t mirror_slowly(std::uint32_t value) {
    if (value % 64 == 0) {
        usleep(200);
    }
    return ~value;
}

/// A task that was given, and how it was told of its end.
struct Given {
    Order order{};
    AsyncResult<std::string> result;
    std::shared_ptr<std::atomic<unsigned>> ends;
};

struct Totals {
    std::uint64_t tasks{};
    std::uint64_t items{};  // of maps
    std::uint64_t results{};
    std::uint64_t threw{};
    std::uint64_t died{};
    std::uint64_t given_up{};  // the Pool was ended, or broken
    std::uint64_t wrong{};
    std::atomic<std::uint64_t> kills{};
    std::uint64_t eras{};
    std::uint64_t owners{};
};

/// Kills workers of one Pool, at random instants of theirs.
class Killer {
 public:
    explicit Killer(const Pool& pool) : pool_(pool) {}

    /// Whether there was one to kill.
    bool kill_one(std::size_t index, int signal) {
        const WorkerInfo info = pool_.workers()[index];
        // The third death at a start breaks the Pool, and rightly so: two in a row are enough.
        Line& line = lines_[index];
        if (info.tasks_done != line.tasks_done) {
            line = {info.tasks_done, 0};
        }
        if (info.pid == 0 || line.deaths == 2) {
            return false;
        }
        const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, info.pid, 0));
        if (pidfd < 0) {
            return false;
        }
        // Else the pid may be another's by now.
        const bool still_there = pool_.workers()[index].pid == info.pid;
        if (still_there) {
            ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0);
            ++line.deaths;
        }
        ::close(pidfd);
        return still_there;
    }

 private:
    struct Line {
        std::uint64_t tasks_done{};
        unsigned deaths{};  // since it was so many
    };
    const Pool& pool_;
    std::array<Line, kWorkers> lines_{};
};

/// How an era's Pools end.
enum class End : std::uint32_t { joined, terminated, dropped, nursery_killed };

class PoolSoak : public ::testing::Test {
 protected:
    PoolSoak() : random_(test::announce_seed()) {
        ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // so that it sees that orphans end
        static_cast<void>(ledger());
    }

    static Pool make_pool(OnWorkerDeath on_death) {
        // What workers are sent is no fault for a sanitizer to report: they inherit this.
        struct sigaction by_default {};
        by_default.sa_handler = SIG_DFL;
        struct sigaction before {};
        ::sigaction(SIGSEGV, &by_default, &before);
        // Retries beyond what random kills can do to one task.
        Pool pool({.workers = kWorkers, .on_worker_death = on_death, .retries = 200});
        ::sigaction(SIGSEGV, &before, nullptr);
        return pool;
    }
    void wrong(const std::string& what) {
        ++totals_.wrong;
        ADD_FAILURE() << what;
    }

    Order next_order(std::uint32_t pool);
    void give(const Pool& pool, std::vector<Given>& given, std::uint32_t kind);
    void work_in_line(const Pool& pool, std::uint32_t kind);
    void check(const Given& given, End end);
    void run_era(Clock::duration time);
    void kill_an_owner();
    static void end_pool(std::optional<Pool>& pool, End end);
    void expect_no_children();
    static void reap_orphans();

    std::mt19937_64 random_;
    std::array<std::uint32_t, 2> next_task_{};
    Totals totals_;
};

Order PoolSoak::next_order(std::uint32_t pool) {
    Order order{pool, next_task_[pool]++, Fate::returns};
    const std::uint64_t dice = random_() % 1024;
    constexpr Fate kDeadly[] = {Fate::killed, Fate::crashes, Fate::exits, Fate::aborts};
    if (dice < 4) {
        order.fate = kDeadly[dice];
    } else if (dice < 24) {
        order.fate = Fate::throws;
    } else if (dice < 64) {
        order.fate = Fate::large;
    } else if (dice < 96) {
        order.fate = Fate::lingers;
    }
    return order;
}

/// A burst of tasks that nobody waits for.
void PoolSoak::give(const Pool& pool, std::vector<Given>& given, std::uint32_t kind) {
    for (std::uint64_t count = random_() % 400; count != 0; --count) {
        if (next_task_[kind] == kTasksMax) {
            return;
        }
        const Order order = next_order(kind);
        auto ends = std::make_shared<std::atomic<unsigned>>(0);
        given.push_back({order, pool.apply_async(work, order), ends});
        given.back().result.then([ends](const std::string&) { ++*ends; },
                                 [ends](const std::exception&) { ++*ends; });
    }
}

/// What a caller waits for: apply, map, imap.
void PoolSoak::work_in_line(const Pool& pool, std::uint32_t kind) {
    std::vector<std::uint32_t> items(random_() % 500 + 1);
    for (std::uint32_t& item : items) {
        item = static_cast<std::uint32_t>(random_());
    }
    const auto expect_mirror = [this](std::uint32_t item, std::uint32_t result) {
        if (result != ~item) {
            wrong("a map's result is another item's");
        }
    };
    const auto expect_may_die = [&](const WorkerDied& error) {
        ++totals_.died;
        if (kind == 1) {
            wrong(std::string("a task that was to be run again failed: ") + error.what());
        }
    };
    totals_.items += items.size();
    try {
        const std::uint64_t way = random_() % 3;
        if (way == 0) {
            expect_mirror(items[0], pool.apply(mirror, items[0]));
        } else if (way == 1) {
            const auto results = pool.map(mirror_slowly, items, random_() % 4);
            for (std::size_t index = 0; index < items.size(); ++index) {
                expect_mirror(items[index], results[index]);
            }
        } else {
            auto results = pool.imap(mirror, items);
            std::size_t index = 0;
            for (auto at = results.begin(); at != results.end(); ++at, ++index) {
                try {
                    expect_mirror(items[index], *at);
                } catch (const WorkerDied& error) {
                    expect_may_die(error);
                }
            }
            if (index != items.size()) {
                wrong("imap gave another number of results");
            }
        }
    } catch (const WorkerDied& error) {
        expect_may_die(error);
    }
}

/// One task after its Pool's end, or while it goes on.
void PoolSoak::check(const Given& given, End end) {
    const Order& order = given.order;
    const std::string name = "task " + std::to_string(order.task) + " of pool " +
                             std::to_string(order.pool) + ", fate " +
                             std::to_string(static_cast<unsigned>(order.fate)) + ": ";
    const unsigned begun = ledger().begun[order.pool][order.task].load();
    const bool may_be_given_up = end != End::joined;
    ++totals_.tasks;
    if (order.pool == 0 && begun > 1) {
        wrong(name + "was run again");
    }
    if (!given.result.ready()) {
        wrong(name + "has no end");
        return;
    }
    try {
        const std::string result = given.result.get();
        ++totals_.results;
        if (result != result_of(order)) {
            wrong(name + "has another's result, or a torn one");
        }
        if (order.fate == Fate::throws || (is_deadly(order.fate) && order.pool == 0) ||
            begun == 0) {
            wrong(name + "has a result that it cannot have");
        }
    } catch (const RemoteError& error) {
        ++totals_.threw;
        if (order.fate != Fate::throws || error.type_name() != "std::out_of_range" ||
            error.message() != std::to_string(order.task)) {
            wrong(name + "threw " + error.what());
        }
    } catch (const WorkerDied& error) {
        ++totals_.died;
        if (order.pool == 1) {
            wrong(name + "was not run again: " + error.what());
        }
    } catch (const Error& error) {  // Closed, too
        ++totals_.given_up;
        if (!may_be_given_up) {
            wrong(name + "was given up: " + error.what());
        }
    }
    if (*given.ends != 1) {
        wrong(name + "was told " + std::to_string(*given.ends) + " times of its end");
    }
}

pid_t parent_of(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string word;
    pid_t parent = 0;
    file >> word >> word >> word >> parent;  // pid (pool-worker-N) state parent
    return parent;
}

void PoolSoak::end_pool(std::optional<Pool>& pool, End end) {
    if (end == End::nursery_killed) {
        pid_t nursery = 0;
        test::await([&] {
            const pid_t worker = pool->workers()[0].pid;
            nursery = worker != 0 ? parent_of(worker) : 0;
            return nursery > 1 && parent_of(nursery) == getpid() && nursery != getpid();
        });
        ::kill(nursery, SIGKILL);  // not reaped before we wait for it: the pid is no other's
        EXPECT_THROW(
            for (;;) { pool->apply(mirror, 1U); }, Error);
        pool->terminate();
    } else if (end == End::joined) {
        pool->close();
        pool->join();
    } else if (end == End::terminated) {
        pool->terminate();
    }
    pool.reset();
}

void PoolSoak::expect_no_children() {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD) {
        wrong("a process is left behind");
    }
}

/// Of a nursery, or an owner, that was killed: they end by themselves, or this hangs.
void PoolSoak::reap_orphans() {
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
    EXPECT_EQ(errno, ECHILD);
}

void PoolSoak::run_era(Clock::duration time) {
    next_task_ = {};
    for (auto& begun : ledger().begun) {
        for (auto& one : begun) {
            one.store(0, std::memory_order_relaxed);  // nobody runs
        }
    }
    std::array<std::optional<Pool>, 2> pools{make_pool(OnWorkerDeath::fail_task),
                                             make_pool(OnWorkerDeath::retry)};
    std::array<std::vector<Given>, 2> given;
    // Some eras are calm, others a massacre.
    constexpr std::uint64_t kGapsUs[] = {1'000, 5'000, 30'000};
    const std::uint64_t gap_us = kGapsUs[random_() % 3];
    // jthread: it ends before the Pools do, also where a check throws.
    std::jthread killing([&, seed = random_()](const std::stop_token& stop) {
        std::mt19937_64 random(seed);
        std::array<Killer, 2> killers{Killer(*pools[0]), Killer(*pools[1])};
        while (!stop.stop_requested()) {
            usleep(static_cast<useconds_t>(500 + random() % gap_us));
            constexpr int kSignals[] = {SIGKILL, SIGKILL, SIGSEGV, SIGTERM};
            totals_.kills +=
                killers[random() % 2].kill_one(random() % kWorkers, kSignals[random() % 4]);
        }
    });
    const Clock::time_point end = Clock::now() + time;
    while (Clock::now() < end) {
        const auto kind = static_cast<std::uint32_t>(random_() % 2);
        if (random_() % 3 == 0) {
            work_in_line(*pools[kind], kind);
        } else {
            give(*pools[kind], given[kind], kind);
        }
        // Now and then it waits, so that the backlog is bounded.
        if (given[kind].size() > kOutstandingMax) {
            for (const Given& one : given[kind]) {
                one.result.wait();
            }
            // The callbacks may be yet to come.
            for (const Given& one : given[kind]) {
                test::await([&] { return *one.ends != 0; });
                check(one, End::joined);
            }
            given[kind].clear();
        }
    }
    killing = {};  // asks it to stop, and waits
    bool orphans = false;
    for (std::size_t kind = 0; kind < pools.size(); ++kind) {
        const auto how = static_cast<End>(random_() % 4);
        end_pool(pools[kind], how);
        orphans |= how == End::nursery_killed;
        for (const Given& one : given[kind]) {
            check(one, how);
        }
    }
    ++totals_.eras;
    if (orphans) {
        reap_orphans();
    }
    expect_no_children();
}

/// A Pool's owner is killed at a random instant: workers and nursery end, and come to us.
void PoolSoak::kill_an_owner() {
    ledger().owner_works.store(false);
    test::Child owner([] {
        const Pool pool(kWorkers);
        for (std::size_t index = 0; index < kWorkers; ++index) {
            ledger().orphans[index].store(pool.workers()[index].pid);
        }
        ledger().owner_works.store(true);
        for (;;) {
            std::vector<AsyncResult<std::uint32_t>> results;
            for (std::uint32_t task = 0; task < 300; ++task) {
                results.push_back(pool.apply_async(mirror, task));
            }
            const auto sum = pool.map(mirror_slowly, std::vector<std::uint32_t>(100, 7), 1);
            for (const auto& result : results) {
                result.wait();
            }
        }
    });
    if (random_() % 4 != 0) {
        test::await([] { return ledger().owner_works.load(); });
    }  // else while it makes its Pool
    usleep(static_cast<useconds_t>(random_() % 5'000));
    owner.kill_and_join();
    ++totals_.owners;
    reap_orphans();
}

TEST_F(PoolSoak, KilledWorkersCostTheirOwnTaskAndNothingElse) {
    const seconds time = soak_time(20);
    const test::Watchdog watchdog(static_cast<unsigned>(time.count()) + 170);
    const Clock::time_point start = Clock::now();
    Clock::time_point told = start;
    Growth growth;
    const auto tell = [&] {
        const auto number = [](std::uint64_t value) {
            return static_cast<unsigned long long>(value);
        };
        std::printf(
            "soak: %.0f s, %llu eras, %llu tasks and %llu items: %llu results, %llu threw, %llu "
            "died, %llu given up, %llu wrong; %llu kills, %llu owners killed; %s\n",
            std::chrono::duration<double>(Clock::now() - start).count(), number(totals_.eras),
            number(totals_.tasks), number(totals_.items), number(totals_.results),
            number(totals_.threw), number(totals_.died), number(totals_.given_up),
            number(totals_.wrong), number(totals_.kills.load()), number(totals_.owners),
            growth.text().c_str());
        std::fflush(stdout);
    };
    for (unsigned era = 1; !HasFailure() && Clock::now() - start < time; ++era) {
        run_era(milliseconds(1000));
        kill_an_owner();
        growth.look(era <= 4);  // warm
        // What is resident goes up and down with the largest burst of tasks; a leak shows in what
        // is allocated between two eras, when there is no Pool.
        growth.expect_none(64U << 20U);
        if (Clock::now() - told >= seconds(60)) {
            told = Clock::now();
            tell();
        }
    }
    tell();
    EXPECT_GT(totals_.kills.load(), 0U);
    EXPECT_GT(totals_.results, 0U);
    EXPECT_GT(totals_.threw, 0U);
    EXPECT_GT(totals_.died, 0U);
}

}  // namespace
}  // namespace sluice::soak
