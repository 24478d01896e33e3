#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <sluice/process.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/support.hpp"
#include "support/sanitizers.hpp"
#include "support/text.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::Process;
using sluice::ProcessOptions;
using sluice::test::message_of;

/// Words that this process and its children see in common.
template <class T>
using Shared = sluice::testing::Shared<T, 8>;
/// A pipe that brings text from children; EOF when all of them are gone.
class TextPipe {
 public:
    TextPipe() {
        if (::pipe2(ends_.data(), O_CLOEXEC) != 0) {
            throw std::system_error(errno, std::generic_category(), "pipe2");
        }
    }
    TextPipe(const TextPipe&) = delete;
    TextPipe& operator=(const TextPipe&) = delete;
    ~TextPipe() {
        ::close(ends_[0]);
        close_writer();
    }

    void say(const std::string& text) const {
        EXPECT_EQ(::write(ends_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
    }
    [[nodiscard]] int writer() const { return ends_[1]; }
    void close_writer() {
        if (ends_[1] >= 0) {
            ::close(std::exchange(ends_[1], -1));
        }
    }
    /// All that was said; closes our own writing end first.
    std::string hear() {
        close_writer();
        std::string text;
        std::array<char, 4096> buffer{};
        for (ssize_t got = 0; (got = ::read(ends_[0], buffer.data(), buffer.size())) > 0;) {
            text.append(buffer.data(), static_cast<std::size_t>(got));
        }
        return text;
    }

 private:
    std::array<int, 2> ends_{};
};

void sleep_for_ever() {
    for (;;) {
        ::pause();
    }
}

std::optional<int> run_to_end(Process& process) {
    process.start();
    process.join();
    return process.exitcode();
}

void expect_no_children() {
    errno = 0;
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child or a zombie is left";
    EXPECT_EQ(errno, ECHILD);
}

/// Every test ends with no child left, running or zombie.
class ProcessTest : public testing::Test {
 protected:
    void TearDown() override {
        expect_no_children();
        EXPECT_TRUE(sluice::active_children().empty());
    }
};

// What a Process is
// ----------------------------------------------------------------------------------

static_assert(std::is_nothrow_move_constructible_v<Process>);
static_assert(std::is_nothrow_move_assignable_v<Process>);
static_assert(!std::is_copy_constructible_v<Process>);
static_assert(!std::is_copy_assignable_v<Process>);
static_assert(std::has_virtual_destructor_v<Process>);
static_assert(std::is_constructible_v<Process, ProcessOptions>);
static_assert(std::is_constructible_v<Process, const ProcessOptions&>);
static_assert(std::is_constructible_v<Process, void (*)()>);
static_assert(std::is_constructible_v<Process, void (*)(std::string), const char*>);
static_assert(std::is_constructible_v<Process, void (*)(int&), int>);
static_assert(!std::is_constructible_v<Process, void (*)(int), std::string>);
static_assert(!std::is_constructible_v<Process, void (*)(int)>);
static_assert(!std::is_constructible_v<Process, int>);
static_assert(!std::is_convertible_v<void (*)(), Process>);

// Running
// --------------------------------------------------------------------------------------------

TEST_F(ProcessTest, RunsItsTargetInAnotherProcess) {
    Shared<pid_t> seen;
    Process sut([&seen] { seen[0] = ::getpid(); });
    EXPECT_EQ(sut.pid(), 0);
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(seen[0], sut.pid());
    EXPECT_NE(seen[0], ::getpid());
}

Shared<int>* passed = nullptr;

void take_values(const std::string& name, int number, std::unique_ptr<int> moved) {
    (*passed)[0] = name == "user_1" && number == 7 && *moved == 9 ? 1 : 2;
}
void take_references(std::string& name, int& number) {
    name += "!";
    (*passed)[1] = number += static_cast<int>(name.size());
}
int return_something(double value) {
    return static_cast<int>(value);
}

struct Worker {
    int base{};
    void work(int number) { (*passed)[2] = base + number; }
};

TEST_F(ProcessTest, PassesArgumentsOfAnyKind) {
    Shared<int> words;
    passed = &words;
    Process values(take_values, "user_1", 7, std::make_unique<int>(9));
    EXPECT_EQ(run_to_end(values), 0);
    EXPECT_EQ(words[0], 1);

    const std::string name = "abc";
    Process references(take_references, name, 10);
    EXPECT_EQ(run_to_end(references), 0);
    EXPECT_EQ(words[1], 14);
    EXPECT_EQ(name, "abc");

    Process member(&Worker::work, Worker{40}, 2);
    EXPECT_EQ(run_to_end(member), 0);
    EXPECT_EQ(words[2], 42);

    Process ignored(return_something, 3.0);
    EXPECT_EQ(run_to_end(ignored), 0);

    auto owner = std::make_unique<int>(5);
    Process move_only([&words, owned = std::move(owner)] { words[3] = *owned; });
    EXPECT_EQ(run_to_end(move_only), 0);
    EXPECT_EQ(words[3], 5);
}

class MyProcess : public Process {
 public:
    explicit MyProcess(std::string name, Shared<int>& words, int value)
        : Process(ProcessOptions{.name = std::move(name)}), words_(&words), value_(value) {}

 protected:
    void run() override { (*words_)[0] += value_; }

 private:
    Shared<int>* words_;
    int value_;
};

TEST_F(ProcessTest, RunsASubclass) {
    Shared<int> words;
    std::vector<MyProcess> processes;
    for (int i = 0; i < 3; ++i) {
        processes.emplace_back("user_" + std::to_string(i), words, 1 << i);
    }
    for (MyProcess& process : processes) {
        process.start();
    }
    for (MyProcess& process : processes) {
        process.join();
        EXPECT_EQ(process.exitcode(), 0);
    }
    EXPECT_EQ(processes[2].name(), "user_2");
    EXPECT_EQ(words[0], 7);
}

class AroundTheTarget : public Process {
 public:
    AroundTheTarget(Shared<int>& words, std::function<void()> target)
        : Process(std::move(target)), words_(&words) {}

 protected:
    void run() override {
        (*words_)[0] = 1;
        Process::run();
        (*words_)[2] = 1;
    }

 private:
    Shared<int>* words_;
};

TEST_F(ProcessTest, LetsASubclassCallTheTarget) {
    Shared<int> words;
    AroundTheTarget sut(words, [&words] { words[1] = words[0] + 1; });
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(words[1], 2);
    EXPECT_EQ(words[2], 1);
}

struct Noted {
    explicit Noted(Shared<int>& words) : words_(&words), maker_(::getpid()) {}
    Noted(const Noted&) = delete;
    Noted& operator=(const Noted&) = delete;
    ~Noted() { (*words_)[::getpid() == maker_ ? 0 : 1] += 1; }

    Shared<int>* words_;
    pid_t maker_;
};

TEST_F(ProcessTest, DestroysItsArgumentsOnBothSides) {
    Shared<int> words;
    Process sut([](const std::unique_ptr<Noted>&) {}, std::make_unique<Noted>(words));
    sut.start();
    EXPECT_EQ(words[0], 1) << "the parent lets go of what it has passed on";
    sut.join();
    EXPECT_EQ(words[0], 1);
    EXPECT_EQ(words[1], 1);
}

TEST_F(ProcessTest, RunsAChildsChildren) {
    Shared<pid_t> seen;
    Process sut([&seen] {
        seen[0] = ::getpid();
        Process inner([&seen] {
            seen[1] = ::getppid();
            Process innermost([&seen] { seen[2] = ::getppid(); });
            innermost.start();
            seen[3] = innermost.pid();
        });
        inner.start();
        seen[4] = inner.pid();
    });
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(seen[0], sut.pid());
    EXPECT_EQ(seen[1], sut.pid());
    EXPECT_EQ(seen[2], seen[4]);
    EXPECT_NE(seen[3], 0);
}

TEST_F(ProcessTest, IsMadeFromAnyThread) {
    Shared<int> words;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 4; ++i) {
        threads.emplace_back([&words, i] {
            for (int round = 0; round < 5; ++round) {
                Process sut([&words, i] { ++words[i]; });
                EXPECT_EQ(run_to_end(sut), 0);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(words[i], 5);
    }
}

// How it ends
// ----------------------------------------------------------------------------------------

TEST_F(ProcessTest, TellsTheExitCode) {
    for (const int code : {0, 1, 3, 255}) {
        Process sut([code] { ::_exit(code); });
        EXPECT_EQ(run_to_end(sut), code);
    }
}

TEST_F(ProcessTest, TellsTheSignalThatKilledIt) {
    for (const int signal : {SIGKILL, SIGTERM, SIGUSR1}) {
        Process sut([signal] {
            ::raise(signal);
            sleep_for_ever();
        });
        EXPECT_EQ(run_to_end(sut), -signal);
    }
}

TEST_F(ProcessTest, HasNoExitCodeWhileItRuns) {
    Process sut(sleep_for_ever);
    EXPECT_FALSE(sut.exitcode().has_value());
    EXPECT_FALSE(sut.is_alive());
    sut.start();
    EXPECT_TRUE(sut.is_alive());
    EXPECT_FALSE(sut.exitcode().has_value());
    sut.kill();
    sut.join();
    EXPECT_FALSE(sut.is_alive());
    EXPECT_EQ(sut.exitcode(), -SIGKILL);
}

TEST_F(ProcessTest, KnowsTheEndWithoutJoin) {
    Process sut([] { ::_exit(4); });
    sut.start();
    while (sut.is_alive()) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(sut.exitcode(), 4);
    expect_no_children();
    sut.join();
    sut.join();
}

/// Runs the target with its stderr and stdout in the pipe.
template <class F>
Process with_output_in(const TextPipe& output, ProcessOptions options, F target) {
    return Process(std::move(options), [&output, target] {
        ::dup2(output.writer(), STDOUT_FILENO);
        ::dup2(output.writer(), STDERR_FILENO);
        target();
    });
}

TEST_F(ProcessTest, PrintsAnExceptionAndExitsWithOne) {
    TextPipe output;
    Process sut = with_output_in(output, {.name = "loser"},
                                 [] { throw std::runtime_error("the cat sat on it"); });
    EXPECT_EQ(run_to_end(sut), 1);
    EXPECT_EQ(output.hear(), "Process loser (pid " + std::to_string(sut.pid()) +
                                 "): exception: the cat sat on it\n");
}

TEST_F(ProcessTest, PrintsWhatIsNoStdException) {
    TextPipe output;
    Process sut = with_output_in(output, {.name = "odd"}, [] { throw 42; });
    EXPECT_EQ(run_to_end(sut), 1);
    EXPECT_NE(output.hear().find("Process odd (pid "), std::string::npos);
}

TEST_F(ProcessTest, FlushesWhatTheChildPrinted) {
    TextPipe output;
    Process sut = with_output_in(output, {}, [] {
        std::cout << "one ";
        std::printf("two ");
        std::clog << "three";
    });
    EXPECT_EQ(run_to_end(sut), 0);
    const std::string text = output.hear();
    for (const char* word : {"one ", "two ", "three"}) {
        EXPECT_NE(text.find(word), std::string::npos) << text;
    }
}

TEST_F(ProcessTest, PrintsNothingTwice) {
    TextPipe output;
    // In a child of our own, so that its stdout is a pipe and therefore fully buffered.
    Process sut = with_output_in(output, {}, [] {
        std::printf("from the parent;");
        std::cout << "from its stream;";
        Process inner([] { std::printf("from the child;"); });
        inner.start();
        inner.join();
    });
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(output.hear(), "from the parent;from its stream;from the child;");
}

TEST_F(ProcessTest, RunsNoAtExitFunctionOfTheParent) {
    Shared<int> words;
    static Shared<int>* at_exit_words = nullptr;
    at_exit_words = &words;
    Process parent([] {
        (void)std::atexit([] { ++(*at_exit_words)[0]; });
        Process sut([] {});
        sut.start();
        sut.join();
    });
    EXPECT_EQ(run_to_end(parent), 0);
    EXPECT_EQ(words[0], 0);
}

// Waiting
// --------------------------------------------------------------------------------------------

TEST_F(ProcessTest, JoinForGivesUpOnOneThatRuns) {
    Process sut(sleep_for_ever);
    sut.start();
    EXPECT_FALSE(sut.join_for(0ms));
    EXPECT_FALSE(sut.join_for(-5s));
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(sut.join_for(20ms));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
    EXPECT_FALSE(sut.join_for(std::chrono::duration<double>(0.001)));
    sut.kill();
    EXPECT_TRUE(sut.join_for(std::chrono::hours::max()));
    EXPECT_TRUE(sut.join_for(0ms));
}

TEST_F(ProcessTest, JoinSurvivesSignals) {
    struct sigaction quiet {};
    struct sigaction old_action {};
    quiet.sa_handler = [](int) {};
    ASSERT_EQ(::sigaction(SIGALRM, &quiet, &old_action),
              0);  // no SA_RESTART: every call sees EINTR
    const itimerval often{.it_interval = {.tv_sec = 0, .tv_usec = 1000},
                          .it_value = {.tv_sec = 0, .tv_usec = 1000}};
    const auto nap = [] {
        const timespec duration{.tv_sec = 0, .tv_nsec = 60'000'000};
        ::nanosleep(&duration, nullptr);
    };
    Process joined(nap);
    Process timed(nap);
    joined.start();
    timed.start();
    ASSERT_EQ(::setitimer(ITIMER_REAL, &often, nullptr), 0);
    const auto begin = std::chrono::steady_clock::now();
    Process endless(sleep_for_ever);
    EXPECT_EQ(endless.pid(), 0);
    joined.join();
    EXPECT_TRUE(timed.join_for(1h));
    endless.start();
    EXPECT_FALSE(endless.join_for(30ms));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 30ms);
    const itimerval never{};
    ASSERT_EQ(::setitimer(ITIMER_REAL, &never, nullptr), 0);
    endless.kill();
    endless.join();
    ASSERT_EQ(::sigaction(SIGALRM, &old_action, nullptr), 0);
    EXPECT_EQ(joined.exitcode(), 0);
    EXPECT_EQ(timed.exitcode(), 0);
}

TEST_F(ProcessTest, ShowsItsEndOnTheSentinel) {
    Process sut(sleep_for_ever);
    sut.start();
    pollfd ended{.fd = sut.sentinel(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&ended, 1, 0), 0);
    EXPECT_NE(::fcntl(sut.sentinel(), F_GETFD) & FD_CLOEXEC, 0);
    sut.kill();
    EXPECT_EQ(::poll(&ended, 1, -1), 1);
    sut.join();
    EXPECT_EQ(::poll(&ended, 1, 0), 1) << "it stays readable after the join";
}

TEST_F(ProcessTest, MayBeWaitedForByManyThreads) {
    for (int round = 0; round < 10; ++round) {
        Shared<int> go;
        Process sut([&go] {
            while (go[0] == 0) {
                std::this_thread::sleep_for(100us);
            }
            ::_exit(6);
        });
        sut.start();
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&sut, i] {
                if (i == 0) {
                    while (sut.is_alive()) {
                        std::this_thread::yield();
                    }
                } else if (i == 1) {
                    while (!sut.join_for(50us)) {
                    }
                } else {
                    sut.join();
                }
                EXPECT_EQ(sut.exitcode(), 6);
            });
        }
        go[0] = 1;
        for (std::thread& thread : threads) {
            thread.join();
        }
    }
}

TEST_F(ProcessTest, DoesNotHangWhenSigchldIsIgnored) {
    struct sigaction ignore {};
    struct sigaction old_action {};
    ignore.sa_handler = SIG_IGN;
    ASSERT_EQ(::sigaction(SIGCHLD, &ignore, &old_action), 0);
    {
        Process sut([] { ::_exit(3); });
        sut.start();
        EXPECT_GE(sut.sentinel(), 0);
        sut.join();
        EXPECT_EQ(sut.exitcode(), sluice::kExitCodeUnknown);
        EXPECT_FALSE(sut.is_alive());
        sut.terminate();

        Process killed(sleep_for_ever);
        killed.start();
        EXPECT_TRUE(killed.is_alive());
        killed.kill();
        killed.join();
        EXPECT_EQ(killed.exitcode(), sluice::kExitCodeUnknown);
    }
    ASSERT_EQ(::sigaction(SIGCHLD, &old_action, nullptr), 0);
}

TEST_F(ProcessTest, DoesNotHangWhenOtherCodeHasWaitedForIt) {
    Process sut([] {});
    sut.start();
    EXPECT_EQ(::waitpid(-1, nullptr, 0), sut.pid());
    sut.join();
    EXPECT_EQ(sut.exitcode(), sluice::kExitCodeUnknown);
}

// Ending it
// ------------------------------------------------------------------------------------------

TEST_F(ProcessTest, IsTerminated) {
    Process sut(sleep_for_ever);
    sut.start();
    sut.terminate();
    sut.join();
    EXPECT_EQ(sut.exitcode(), -SIGTERM);
    sut.terminate();
    sut.kill();
    EXPECT_EQ(sut.exitcode(), -SIGTERM);
}

TEST_F(ProcessTest, IsKilledEvenIfItIgnoresTheRest) {
    Shared<int> words;
    Process sut([&words] {
        ::signal(SIGTERM, SIG_IGN);
        words[0] = 1;
        sleep_for_ever();
    });
    sut.start();
    while (words[0] == 0) {
        std::this_thread::sleep_for(1ms);
    }
    sut.terminate();
    EXPECT_FALSE(sut.join_for(20ms));
    sut.kill();
    sut.join();
    EXPECT_EQ(sut.exitcode(), -SIGKILL);
}

TEST_F(ProcessTest, MaySendSignalsToOneThatEndedUnnoticed) {
    Process sut([] {});
    sut.start();
    pollfd ended{.fd = sut.sentinel(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&ended, 1, -1), 1);
    sut.terminate();
    sut.kill();
    sut.join();
    EXPECT_EQ(sut.exitcode(), 0);
}

// Destruction, daemons, moves
// ------------------------------------------------------------------------

TEST_F(ProcessTest, JoinsWhenDestroyed) {
    Shared<int> words;
    {
        Process sut([&words] {
            std::this_thread::sleep_for(20ms);
            words[0] = 1;
        });
        sut.start();
    }
    EXPECT_EQ(words[0], 1);
    expect_no_children();
}

TEST_F(ProcessTest, TerminatesADaemonWhenDestroyed) {
    {
        Process sut(ProcessOptions{.daemon = true}, sleep_for_ever);
        EXPECT_TRUE(sut.daemon());
        sut.start();
    }
    expect_no_children();
}

TEST_F(ProcessTest, IsDestroyedWithoutHavingStarted) {
    const Process sut(sleep_for_ever);
    const Process empty{ProcessOptions{}};
}

TEST_F(ProcessTest, RefusesADaemonsChildren) {
    TextPipe output;
    Process sut = with_output_in(output, {.name = "demon", .daemon = true}, [] {
        Process inner([] {});
        inner.start();
    });
    EXPECT_EQ(run_to_end(sut), 1);
    EXPECT_NE(output.hear().find("daemon 'demon' may not have children"), std::string::npos);
}

TEST_F(ProcessTest, IsMovedBeforeTheStart) {
    Shared<int> words;
    std::vector<Process> processes;
    for (std::size_t i = 0; i < 4; ++i) {
        processes.emplace_back([&words, i] { words[i] = 1; });
    }
    Process first = std::move(processes.front());
    EXPECT_EQ(run_to_end(first), 0);
    EXPECT_EQ(words[0], 1);
    EXPECT_THROW(processes.front().start(), sluice::Error);
}

TEST_F(ProcessTest, IsMovedWhileItRuns) {
    Process from(sleep_for_ever);
    from.start();
    const pid_t pid = from.pid();
    Process sut = std::move(from);
    EXPECT_EQ(sut.pid(), pid);
    EXPECT_TRUE(sut.is_alive());
    EXPECT_THROW((void)from.is_alive(), sluice::Error);
    EXPECT_THROW((void)from.name(), sluice::Error);
    sut.kill();
    sut.join();
    EXPECT_EQ(sut.exitcode(), -SIGKILL);
}

TEST_F(ProcessTest, EndsWhatIsAssignedOver) {
    Shared<int> words;
    Process sut([&words] { words[0] = 1; });
    sut.start();
    sut = Process([&words] { words[1] = 1; });
    EXPECT_EQ(words[0], 1);
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(words[1], 1);
    Process& same = sut;
    sut = std::move(same);
    EXPECT_EQ(sut.exitcode(), 0);
}

TEST_F(ProcessTest, JoinsItsChildrenAtExit) {
    TextPipe output;
    Process sut([&output] {
        // Never destroyed: what is left is the exit's business.
        auto* waited = new Process([&output] {
            std::this_thread::sleep_for(30ms);
            output.say("waited for;");
        });
        auto* ended = new Process(ProcessOptions{.daemon = true}, [&output] {
            sleep_for_ever();
            output.say("not reached;");
        });
        waited->start();
        ended->start();
    });
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(output.hear(), "waited for;");
}

TEST_F(ProcessTest, SeesToItsChildrenWhenTheProgramExits) {
    // Not by Process: std::exit and the atexit functions are those of a whole program.
    TextPipe output;
    const pid_t program = ::fork();
    if (program == 0) {
        auto* waited = new Process([&output] {
            std::this_thread::sleep_for(30ms);
            output.say("waited for;");
        });
        auto* ended = new Process(ProcessOptions{.daemon = true}, sleep_for_ever);
        waited->start();
        ended->start();
        std::exit(9);  // NOLINT(concurrency-mt-unsafe): one thread
    }
    int status = 0;
    ASSERT_EQ(::waitpid(program, &status, 0), program);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 9) << status;
    EXPECT_EQ(output.hear(), "waited for;");
}

TEST_F(ProcessTest, LeavesNoZombieOfOneThatNobodyAsksAbout) {
    // Neither joined nor destroyed: the next start waits for it, as in Python.
    auto* forgotten = new Process([] {});
    forgotten->start();
    pollfd ended{.fd = forgotten->sentinel(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&ended, 1, -1), 1);
    siginfo_t zombie{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(forgotten->pid()), &zombie, WEXITED | WNOWAIT), 0);
    Process next(sleep_for_ever);
    next.start();
    EXPECT_EQ(
        ::waitid(P_PID, static_cast<id_t>(forgotten->pid()), &zombie, WEXITED | WNOHANG | WNOWAIT),
        -1);
    EXPECT_EQ(forgotten->exitcode(), 0);
    next.kill();
    delete forgotten;
}

// In other processes than its maker's
// ----------------------------------------------------------------

TEST_F(ProcessTest, DoesNothingWhenDestroyedInAChild) {
    auto sut = std::make_unique<Process>(ProcessOptions{.daemon = true}, sleep_for_ever);
    sut->start();
    Process other([&sut] { sut.reset(); });
    EXPECT_EQ(run_to_end(other), 0);
    EXPECT_TRUE(sut->is_alive());

    // The same in a child that this library did not make.
    const pid_t stranger = ::fork();
    if (stranger == 0) {
        sut.reset();
        ::_exit(0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(stranger, &status, 0), stranger);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(sut->is_alive());
}

TEST_F(ProcessTest, MayBeUsedByItsMakerOnly) {
    TextPipe said;
    Process sut({.name = "mine"}, sleep_for_ever);
    sut.start();
    Process other([&] {
        const auto say = [&said](const std::function<void()>& use) {
            said.say(message_of<sluice::NotPermitted>(use) + "\n");
        };
        say([&sut] { sut.join(); });
        say([&sut] { (void)sut.join_for(1ms); });
        say([&sut] { sut.terminate(); });
        say([&sut] { sut.kill(); });
        say([&sut] { (void)sut.is_alive(); });
        say([&sut] { (void)sut.exitcode(); });
        say([&sut] { (void)sut.sentinel(); });
        say([&sut] { sut.start(); });
        ::_exit(sut.name() == "mine" && !sut.daemon() ? 0 : 1);
    });
    EXPECT_EQ(run_to_end(other), 0);
    EXPECT_TRUE(sut.is_alive());
    sut.kill();
    sut.join();  // it holds a writing end of the pipe
    std::istringstream lines(said.hear());
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
        EXPECT_NE(line.find("'mine'"), std::string::npos) << line;
        EXPECT_NE(line.find(std::to_string(::getpid())), std::string::npos) << line;
        EXPECT_NE(line.find(std::to_string(other.pid())), std::string::npos) << line;
    }
    EXPECT_EQ(count, 8);
}

// Mistakes
// -------------------------------------------------------------------------------------------

TEST_F(ProcessTest, StartsOnlyOnce) {
    Process sut([] {});
    sut.start();
    EXPECT_NE(message_of<sluice::Error>([&sut] { sut.start(); }).find("started before"),
              std::string::npos);
    sut.join();
    EXPECT_THROW(sut.start(), sluice::Error);
}

TEST_F(ProcessTest, RefusesToStartWithNothingToRun) {
    Process sut(ProcessOptions{.name = "idle"});
    const std::string what = message_of<sluice::Error>([&sut] { sut.start(); });
    EXPECT_NE(what.find("'idle': nothing to run"), std::string::npos) << what;
    EXPECT_FALSE(sut.is_alive());
}

TEST_F(ProcessTest, RefusesToBeUsedBeforeTheStart) {
    Process sut([] {});
    EXPECT_THROW(sut.join(), sluice::Error);
    EXPECT_THROW((void)sut.join_for(1s), sluice::Error);
    EXPECT_THROW(sut.terminate(), sluice::Error);
    EXPECT_THROW(sut.kill(), sluice::Error);
    EXPECT_THROW((void)sut.sentinel(), sluice::Error);
}

TEST_F(ProcessTest, SaysThatSpawnNeedsALineInMain) {
    Process sut({.start_method = sluice::StartMethod::spawn}, [] {});
    EXPECT_NE(message_of<sluice::NotPermitted>([&sut] {
                  sut.start();
              }).find("needs sluice::spawn_main(argc, argv) as the first line of main"),
              std::string::npos);
    EXPECT_FALSE(sut.is_alive());
}

TEST_F(ProcessTest, MayBeStartedAgainAfterTheSystemRefused) {
    if (sluice::test::kUnderAddressSanitizer) {
        GTEST_SKIP() << "UndefinedBehaviorSanitizer needs descriptors to look at objects";
    }
    Shared<int> words;
    Process sut({.name = "late"}, [&words] { words[0] = 1; });
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    std::exception_ptr refusal;
    try {
        sut.start();
    } catch (...) {
        refusal = std::current_exception();  // looked at later: sanitizers need descriptors too
    }
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    ASSERT_TRUE(refusal);
    const std::string what =
        message_of<std::system_error>([&refusal] { std::rethrow_exception(refusal); });
    EXPECT_NE(what.find("'late'"), std::string::npos) << what;
    EXPECT_TRUE(sluice::active_children().empty());
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(words[0], 1);
}

// Names and relatives
// --------------------------------------------------------------------------------

TEST_F(ProcessTest, HasADefaultName) {
    const Process first([] {});
    const Process named({.name = "named"}, [] {});
    const Process third([] {});
    ASSERT_EQ(first.name().substr(0, 8), "Process-");
    const int number = std::stoi(first.name().substr(8));
    EXPECT_EQ(named.name(), "named");
    EXPECT_EQ(third.name(), "Process-" + std::to_string(number + 2));
}

TEST_F(ProcessTest, NamesAChildsChildAfterIt) {
    TextPipe said;
    Process sut([&said] {
        const Process inner([] {});
        said.say(inner.name());
    });
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(said.hear(), sut.name() + ":1");
}

TEST_F(ProcessTest, KnowsItselfAndItsParent) {
    EXPECT_EQ(sluice::current_process().name(), "MainProcess");
    EXPECT_EQ(sluice::current_process().pid(), ::getpid());
    EXPECT_TRUE(sluice::current_process().is_alive());
    EXPECT_FALSE(sluice::parent_process().has_value());
    TextPipe said;
    Process sut({.name = "kid", .daemon = true}, [&said] {
        const sluice::ProcessRef self = sluice::current_process();
        const std::optional<sluice::ProcessRef> parent = sluice::parent_process();
        said.say(self.name() + " " + std::to_string(self.pid()) +
                 (self.daemon() ? " daemon " : " ") + parent->name() + " " +
                 std::to_string(parent->pid()) + (parent->is_alive() ? " alive" : " dead"));
    });
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(said.hear(), "kid " + std::to_string(sut.pid()) + " daemon MainProcess " +
                               std::to_string(::getpid()) + " alive");
}

TEST_F(ProcessTest, CanNeitherJoinItselfNorItsParent) {
    const std::string itself =
        message_of<sluice::NotPermitted>([] { sluice::current_process().join(); });
    EXPECT_NE(itself.find("join itself"), std::string::npos) << itself;
    TextPipe said;
    Process sut([&said] {
        said.say(message_of<sluice::NotPermitted>([] { sluice::parent_process()->kill(); }));
    });
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_NE(said.hear().find("'MainProcess'"), std::string::npos);
}

TEST_F(ProcessTest, ListsTheActiveChildren) {
    Process first(sleep_for_ever);
    Process second([] {});
    Process never([] {});
    EXPECT_TRUE(sluice::active_children().empty());
    first.start();
    second.start();
    pollfd ended{.fd = second.sentinel(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&ended, 1, -1), 1);
    std::vector<sluice::ProcessRef> active = sluice::active_children();
    ASSERT_EQ(active.size(), 1U);
    EXPECT_EQ(active[0].pid(), first.pid());
    EXPECT_EQ(active[0].name(), first.name());
    EXPECT_FALSE(active[0].daemon());
    EXPECT_FALSE(active[0].join_for(1ms));
    EXPECT_FALSE(active[0].exitcode().has_value());
    EXPECT_EQ(active[0].sentinel(), first.sentinel());
    active[0].terminate();
    active[0].join();
    EXPECT_EQ(first.exitcode(), -SIGTERM);
    EXPECT_EQ(active[0].exitcode(), -SIGTERM);
    EXPECT_TRUE(sluice::active_children().empty());
}

TEST_F(ProcessTest, KeepsAHandleValidAfterTheProcessIsGone) {
    std::vector<sluice::ProcessRef> active;
    {
        Process sut({.daemon = true}, sleep_for_ever);
        sut.start();
        active = sluice::active_children();
    }
    ASSERT_EQ(active.size(), 1U);
    EXPECT_FALSE(active[0].is_alive());
    EXPECT_EQ(active[0].exitcode(), -SIGTERM);
    active[0].kill();
}

TEST_F(ProcessTest, ForgetsTheParentsChildrenInTheChild) {
    Process brother(sleep_for_ever);
    brother.start();
    Process sut([] {
        Process own(sleep_for_ever);
        const bool none = sluice::active_children().empty();
        own.start();
        const bool one = sluice::active_children().size() == 1;
        own.kill();
        own.join();
        ::_exit(none && one ? 0 : 1);
    });
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_TRUE(brother.is_alive());
    brother.kill();
}

TEST_F(ProcessTest, PassesOneAuthkeyToAll) {
    const Process here([] {});
    ASSERT_EQ(here.authkey().size(), 32U);
    const std::vector<std::byte> key(here.authkey().begin(), here.authkey().end());
    EXPECT_NE(key, std::vector<std::byte>(32));
    Process sut([&key] {
        const Process inner([] {});
        ::_exit(std::equal(key.begin(), key.end(), inner.authkey().begin()) ? 0 : 1);
    });
    EXPECT_EQ(run_to_end(sut), 0);
}

// Placement
// ------------------------------------------------------------------------------------------

TEST_F(ProcessTest, RunsWhereItIsBound) {
    const unsigned cpu = sluice::Topology::system().pus().back().cpu;
    Process sut({.binding = {.cpus = {cpu}}}, [cpu] {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        const bool read = ::sched_getaffinity(0, sizeof cpus, &cpus) == 0;
        ::_exit(read && CPU_COUNT(&cpus) == 1 && CPU_ISSET(cpu, &cpus) ? 0 : 1);
    });
    EXPECT_EQ(run_to_end(sut), 0);
}

TEST_F(ProcessTest, EndsWithOneWhereItCannotBeBound) {
    TextPipe output;
    ::fflush(stderr);
    const int kept = ::dup(STDERR_FILENO);
    ::dup2(output.writer(), STDERR_FILENO);
    Process sut({.binding = {.cpus = {8000}}}, [] {});
    const std::optional<int> code = run_to_end(sut);
    ::dup2(kept, STDERR_FILENO);
    ::close(kept);
    EXPECT_EQ(code, 1);
    EXPECT_NE(output.hear().find("CPU 8000"), std::string::npos);
}

// The hand-over of arguments
// -------------------------------------------------------------------------

struct Noisy {
    Shared<int>* counts{};
    bool fails{};
    bool fails_to_be_adopted{};
};

}  // namespace

// The counts are: [0] prepare, [1] cancel, [2] finish, [3] adopt, [4] the pid that finish was told.
template <>
struct sluice::detail::HandOver<Noisy> {
    static void prepare(Noisy& noisy) {
        if (noisy.fails) {
            throw std::runtime_error("not this one");
        }
        ++(*noisy.counts)[0];
    }
    static void cancel(Noisy& noisy) noexcept { ++(*noisy.counts)[1]; }
    static void finish(Noisy& noisy, pid_t child) noexcept {
        ++(*noisy.counts)[2];
        (*noisy.counts)[4] = child;
    }
    static void adopt(Noisy& noisy) {
        if (noisy.fails_to_be_adopted) {
            throw std::runtime_error("adopt nobody");
        }
        (*noisy.counts)[5] = ::getpid();
        ++(*noisy.counts)[3];
    }
};

namespace {

std::vector<int> values_of(Shared<int>& counts) {
    return {counts[0], counts[1], counts[2], counts[3]};
}

TEST_F(ProcessTest, HandsItsArgumentsOver) {
    Shared<int> counts;
    Process sut([&counts](const Noisy&, int, const Noisy&) { counts[6] = counts[3].load(); },
                Noisy{&counts}, 1, Noisy{&counts});
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(values_of(counts), (std::vector<int>{2, 0, 2, 2}));
    EXPECT_EQ(counts[4], sut.pid());
    EXPECT_EQ(counts[5], sut.pid());
    EXPECT_EQ(counts[6], 2) << "adopted before the target runs";
}

TEST_F(ProcessTest, HandsOverWhatIsInContainers) {
    Shared<int> counts;
    const Noisy one{&counts};
    using Nested = std::tuple<std::pair<int, Noisy>, std::array<Noisy, 2>, std::optional<Noisy>>;
    Process sut([](const std::vector<Noisy>&, const Nested&, std::optional<Noisy>,
                   const std::vector<bool>&) {},
                std::vector<Noisy>{one, one}, Nested{{1, one}, {one, one}, one},
                std::optional<Noisy>{}, std::vector<bool>{true});
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(values_of(counts), (std::vector<int>{6, 0, 6, 6}));
}

TEST_F(ProcessTest, CancelsWhatWasPreparedWhenAnArgumentRefuses) {
    Shared<int> counts;
    const Noisy good{&counts};
    Process sut([](const std::vector<Noisy>&, const Noisy&) {}, std::vector<Noisy>{good, good},
                Noisy{.counts = &counts, .fails = true});
    EXPECT_EQ(message_of<std::runtime_error>([&sut] { sut.start(); }), "not this one");
    EXPECT_EQ(values_of(counts), (std::vector<int>{2, 2, 0, 0}));
    EXPECT_FALSE(sut.is_alive());
    EXPECT_THROW(sut.start(), std::runtime_error) << "it may be tried again";
}

TEST_F(ProcessTest, CancelsWhatWasPreparedWhenTheForkFails) {
    Shared<int> counts;
    TextPipe said;
    Process limited([&counts, &said] {
        if (::geteuid() == 0 && ::setuid(65534) != 0) {  // no limit holds for root
            ::_exit(1);
        }
        const rlimit none{};
        if (::setrlimit(RLIMIT_NPROC, &none) != 0) {
            ::_exit(2);
        }
        Process sut(
            ProcessOptions{.name = "late"}, [](const Noisy&) {}, Noisy{&counts});
        said.say(message_of<std::system_error>([&sut] { sut.start(); }));
    });
    EXPECT_EQ(run_to_end(limited), 0);
    const std::string what = said.hear();
    EXPECT_NE(what.find("'late': fork"), std::string::npos) << what;
    EXPECT_EQ(values_of(counts), (std::vector<int>{1, 1, 0, 0}));
}

TEST_F(ProcessTest, EndsWithOneWhenAnArgumentCannotBeAdopted) {
    Shared<int> counts;
    TextPipe output;
    ::fflush(stderr);
    const int kept = ::dup(STDERR_FILENO);
    ::dup2(output.writer(), STDERR_FILENO);
    Process sut([&counts](const Noisy&) { counts[6] = 1; },
                Noisy{.counts = &counts, .fails_to_be_adopted = true});
    const std::optional<int> code = run_to_end(sut);
    ::dup2(kept, STDERR_FILENO);
    ::close(kept);
    EXPECT_EQ(code, 1);
    EXPECT_EQ(counts[6], 0);
    EXPECT_NE(output.hear().find("adopt nobody"), std::string::npos);
}

}  // namespace
