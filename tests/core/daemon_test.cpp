// Daemons: they end with their parent, however it ends. The tests are the reaper of all orphans, so
// that the kernel tells whether one was left.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <sluice/sluice.hpp>
#include <thread>
#include <vector>

#include "core/birth_sweep.hpp"
#include "core/support.hpp"

namespace {

using sluice::Process;
using sluice::ProcessOptions;
using sluice::testing::BirthSweep;
using sluice::testing::Child;
using sluice::testing::Reaper;
using sluice::testing::Shared;
using sluice::testing::Swept;
using sluice::testing::wait_until_true;

const ProcessOptions kDaemon{.daemon = true};

[[noreturn]] void run_for_ever() {
    for (;;) {
        ::pause();
    }
}

/// Waits for the end of that child, adopted or not; the signal that killed it, 0 for an exit.
int signal_that_killed(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/// A parent with a daemon, which has said that it runs. `live` is what the parent does then.
struct Household {
    explicit Household(
        const std::function<void()>& live, const std::function<void()>& daemon_does = [] {})
        : parent([this, live, daemon_does] {
              Process sut(kDaemon, [this, daemon_does] {
                  daemon_does();
                  *daemon_pid = ::getpid();
                  run_for_ever();
              });
              sut.start();
              wait_until_true([this] { return *daemon_pid != 0; });
              live();
              ::_exit(0);
              return true;
          }) {
        wait_until_true([this] { return *daemon_pid != 0; });
    }

    Shared<int> daemon_pid{};
    Child parent;
};

TEST(Daemon, EndsWithItsKilledParent) {
    const Reaper reaper;
    Household sut(run_for_ever);
    EXPECT_EQ(sut.parent.kill_and_wait(), -SIGKILL);
    EXPECT_EQ(signal_that_killed(*sut.daemon_pid), SIGKILL);
}

TEST(Daemon, EndsWithAParentThatLeavesWithoutFarewell) {
    const Reaper reaper;
    const std::vector<std::function<void()>> ways{
        [] { ::_exit(3); },
        [] { std::quick_exit(3); },
        [] { std::abort(); },
        [] { ::raise(SIGSEGV); },
        [] { ::execl("/bin/sleep", "sleep", "1000", nullptr); },
    };
    for (const std::function<void()>& way : ways) {
        Household sut(way);
        // Before its parent is waited for, which may run on as another program.
        wait_until_true([&sut] { return sluice::testing::state_of(*sut.daemon_pid) == 'Z'; });
        sut.parent.kill_and_wait();
        EXPECT_EQ(signal_that_killed(*sut.daemon_pid), SIGKILL);
    }
}

TEST(Daemon, EndsThoughItIsStoppedOrIgnoresSignals) {
    const Reaper reaper;
    Household stopped(run_for_ever);
    ::kill(*stopped.daemon_pid, SIGSTOP);
    wait_until_true([&stopped] { return sluice::testing::state_of(*stopped.daemon_pid) == 'T'; });
    stopped.parent.kill_and_wait();
    EXPECT_EQ(signal_that_killed(*stopped.daemon_pid), SIGKILL);

    Household deaf(run_for_ever, [] {
        sigset_t all;
        ::sigfillset(&all);
        ::sigprocmask(SIG_BLOCK, &all, nullptr);
    });
    deaf.parent.kill_and_wait();
    EXPECT_EQ(signal_that_killed(*deaf.daemon_pid), SIGKILL);
}

TEST(Daemon, EndsWithItsParentThoughItRunsAnotherProgram) {
    const Reaper reaper;
    Shared<int> pid;
    Child parent([&pid] {
        Process sut(kDaemon, [&pid] {
            *pid = ::getpid();
            ::execl("/bin/sleep", "sleep", "1000", nullptr);
        });
        sut.start();
        run_for_ever();
        return true;
    });
    wait_until_true([&pid] { return *pid != 0; });
    wait_until_true([&pid] {
        std::FILE* const file =
            std::fopen(("/proc/" + std::to_string(*pid) + "/comm").c_str(), "re");
        char name[32] = {};
        const bool read = file != nullptr && std::fgets(name, sizeof name, file) != nullptr;
        if (file != nullptr) {
            std::fclose(file);
        }
        return read && std::string(name) == "sleep\n";
    });
    parent.kill_and_wait();
    EXPECT_EQ(signal_that_killed(*pid), SIGKILL);
}

TEST(Daemon, LivesOnWhenTheThreadThatStartedItEnds) {
    const Reaper reaper;
    Shared<int> pid;
    Process sut(kDaemon, [&pid] {
        *pid = ::getpid();
        run_for_ever();
    });
    std::thread([&sut] { sut.start(); }).join();
    wait_until_true([&pid] { return *pid != 0; });
    // PR_SET_PDEATHSIG would have come before all these children have come and gone.
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(sluice::testing::in_child([] { return true; }), 0);
    }
    EXPECT_TRUE(sut.is_alive());
    sut.kill();
    sut.join();
}

TEST(Daemon, IsNotKeptByItsBrothers) {
    const Reaper reaper;
    Shared<int, 4> pids;
    Child parent([&pids] {
        std::vector<Process> processes;
        const auto note = [&pids](std::size_t index) {
            return [&pids, index] {
                pids[index] = ::getpid();
                run_for_ever();
            };
        };
        processes.emplace_back(note(0));
        processes.emplace_back(kDaemon, note(1));
        processes.emplace_back(note(2));
        for (Process& process : processes) {
            process.start();
        }
        const pid_t stranger = ::fork();  // not by Process
        if (stranger == 0) {
            note(3)();
        }
        run_for_ever();
        return true;
    });
    for (std::size_t i = 0; i < 4; ++i) {
        wait_until_true([&pids, i] { return pids[i] != 0; });
    }
    parent.kill_and_wait();
    EXPECT_EQ(signal_that_killed(pids[1]), SIGKILL);
    for (const std::size_t brother : {0U, 2U, 3U}) {
        EXPECT_EQ(::kill(pids[brother], 0), 0) << "only a daemon ends with its parent";
        ::kill(pids[brother], SIGKILL);
        EXPECT_EQ(signal_that_killed(pids[brother]), SIGKILL);
    }
}

TEST(Daemon, NoneIsLeftWhereverItsParentDiesInStart) {
    const Reaper reaper;
    const Shared<int> runs;
    for (const Swept swept : {Swept::maker_child_stands, Swept::maker_child_runs, Swept::child}) {
        BirthSweep sut(
            swept,
            [&runs] {
                auto* daemon = new Process(kDaemon, [&runs] {
                    *runs = 1;
                    run_for_ever();
                });
                daemon->start();
            },
            [&runs] { return runs[0].exchange(0) != 0; });
        unsigned stops = 0;
        while (sut.kill_maker_at(stops)) {
            ++stops;
        }
        EXPECT_GT(stops, 10U);
        RecordProperty("stops_" + std::to_string(static_cast<int>(swept)), std::to_string(stops));
    }
}

TEST(Daemon, NoneIsLeftWhereverItsParentDiesWhileItIsSpawned) {
    const Reaper reaper;
    const sluice::Queue<int> told;
    BirthSweep sut(
        Swept::child,
        [&told] {
            const ProcessOptions options{.daemon = true,
                                         .start_method = sluice::StartMethod::spawn};
            auto* daemon = new Process(
                options,
                [](const sluice::Queue<int>& queue) {
                    queue.put(1);
                    run_for_ever();
                },
                told);
            daemon->start();
        },
        [&told] { return told.try_get().has_value(); });
    unsigned stops = 0;
    while (sut.kill_maker_at(stops)) {
        ++stops;
    }
    EXPECT_GT(stops, 50U);
    RecordProperty("stops", std::to_string(stops));
}

}  // namespace

int main(int argc, char** argv) {
    sluice::spawn_main(argc, argv);
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
