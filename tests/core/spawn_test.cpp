// StartMethod::spawn: this program is started anew, and runs one function of it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <sluice/sluice.hpp>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "core/support.hpp"

namespace {

using sluice::ByteConnection;
using sluice::Connection;
using sluice::Process;
using sluice::ProcessOptions;
using sluice::Queue;
using sluice::testing::Child;

const ProcessOptions kSpawn{.start_method = sluice::StartMethod::spawn};

ProcessOptions spawn_named(std::string name) {
    return {.name = std::move(name), .start_method = sluice::StartMethod::spawn};
}

std::optional<int> run_to_end(Process& process) {
    process.start();
    process.join();
    return process.exitcode();
}

template <class F>
std::string refusal_of(F f) {
    try {
        f();
    } catch (const sluice::NotPermitted& error) {
        return error.what();
    }
    ADD_FAILURE() << "nothing was refused";
    return {};
}

// What runs
// -----------------------------------------------------------------------------------------

int global = 1;

void tell_global(const Queue<int>& answers) {
    answers.put(global);
    answers.put(::getpid());
}

TEST(Spawn, RunsAFunctionInAFreshImageOfTheProgram) {
    const Queue<int> answers;
    global = 2;
    Process sut(kSpawn, tell_global, answers);
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(answers.get(), 1) << "a fork would have seen 2";
    EXPECT_EQ(answers.get(), sut.pid());
    global = 1;
}

TEST(Spawn, RunsALambdaWithoutCaptures) {
    const Queue<int> answers;
    Process sut(
        kSpawn, [](const Queue<int>& queue, int number) { queue.put(number + global); }, answers,
        41);
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(answers.get(), 42);
}

struct Adder {
    int base{};
    void operator()(const Queue<int>& queue, int number) const { queue.put(base + number); }
};

TEST(Spawn, RunsAFunctionObjectWhoseMembersAreValues) {
    const Queue<int> answers;
    Process sut(kSpawn, Adder{40}, answers, 2);
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(answers.get(), 42);
}

void take_by_reference(std::string& text, const Queue<std::string>& answers) {
    text += "!";
    answers.put(text);
}

TEST(Spawn, GivesATargetThatTakesReferencesTheChildsOwnCopies) {
    const Queue<std::string> answers;
    Process sut(kSpawn, take_by_reference, std::string("moved"), answers);
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(answers.get(), "moved!");
}

// How arguments travel
// --------------------------------------------------------------------------------

struct Plain {
    int number{};
    double share{};
};
using Packed = std::map<std::string, std::vector<int>>;
using Mixed = std::tuple<std::string, std::optional<Plain>, std::array<short, 3>>;

TEST(Spawn, PassesValuesByTheCodec) {
    const Queue<std::string> answers;
    Process sut(
        kSpawn,
        [](const Queue<std::string>& queue, const Plain& plain, const Packed& packed,
           const Mixed& mixed, const std::vector<bool>& bits, const std::string& empty) {
            const auto& [text, optional, numbers] = mixed;
            const bool whole = plain.number == 7 && plain.share == 0.5 && packed.size() == 2 &&
                               packed.at("b") == std::vector<int>{2, 3} && text == "text" &&
                               optional->number == 8 && numbers[2] == -3 && bits.size() == 2 &&
                               bits[1] && empty.empty();
            queue.put(whole ? "whole" : "damaged");
        },
        answers, Plain{7, 0.5}, Packed{{"a", {}}, {"b", {2, 3}}},
        Mixed{"text", Plain{8, 0}, {1, 2, -3}}, std::vector<bool>{false, true}, std::string());
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(answers.get(), "whole");
}

TEST(Spawn, PassesAnonymousQueuesOfPlainAndOfPackedValues) {
    const Queue<long> plain(sluice::QueueOptions{.capacity = 4});
    const Queue<std::string> packed(sluice::QueueOptions{.capacity = 4});
    Process sut(
        kSpawn,
        [](const Queue<long>& numbers, const Queue<std::string>& texts) {
            for (;;) {
                const long number = numbers.get();
                if (number == 0) {
                    break;
                }
                // Values above a slot's size lie beside it: their memory must be the same, too.
                texts.put(std::string(static_cast<std::size_t>(number), 'x'));
            }
        },
        plain, packed);
    sut.start();
    for (const long length : {1L, 100L, 1'000L, 1'000'000L}) {
        plain.put(length);
        EXPECT_EQ(packed.get().size(), static_cast<std::size_t>(length));
    }
    plain.put(0);
    sut.join();
    EXPECT_EQ(sut.exitcode(), 0);
}

TEST(Spawn, PassesTheLockFamily) {
    using Locks = std::tuple<sluice::Lock, sluice::RLock, sluice::RWLock>;
    const Locks locks;
    const sluice::Semaphore semaphore(0);
    const sluice::BoundedSemaphore bounded(1);
    const sluice::Event event;
    const sluice::Barrier barrier(2);
    const sluice::Condition condition;
    const sluice::Guarded<int> guarded(1);
    std::get<0>(locks).lock();
    Process sut(
        kSpawn,
        [](const Locks& its_locks, const sluice::Semaphore& its_semaphore,
           const sluice::BoundedSemaphore& its_bounded, const sluice::Event& its_event,
           const sluice::Barrier& its_barrier, const sluice::Condition& its_condition,
           const sluice::Guarded<int>& its_guarded) {
            its_event.set();
            std::get<0>(its_locks).lock();  // until the parent waits with the condition
            its_guarded.store(2);
            its_condition.notify_all();
            std::get<0>(its_locks).unlock();
            std::get<1>(its_locks).lock();
            std::get<2>(its_locks).lock_shared();
            its_bounded.acquire();
            its_semaphore.release();
            its_barrier.wait();
            its_barrier.wait();
            std::get<2>(its_locks).unlock_shared();
            std::get<1>(its_locks).unlock();
        },
        locks, semaphore, bounded, event, barrier, condition, guarded);
    sut.start();
    event.wait();
    condition.wait(std::get<0>(locks), [&] { return guarded.read() == 2; });
    std::get<0>(locks).unlock();
    semaphore.acquire();
    barrier.wait();
    EXPECT_FALSE(std::get<1>(locks).try_lock());
    EXPECT_EQ(std::get<2>(locks).readers(), 1U);
    EXPECT_EQ(bounded.value(), 0U);
    barrier.wait();
    sut.join();
    EXPECT_EQ(sut.exitcode(), 0);
}

TEST(Spawn, PassesAnObjectThatHasANameNoMore) {
    const sluice::testing::UniqueName name("spawn");
    const auto queue = Queue<int>::create(name);
    Queue<int>::unlink(name);
    Process sut(
        kSpawn,
        [](const Queue<int>& its_queue) { its_queue.put(its_queue.name().empty() ? 1 : 2); },
        queue);
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(queue.get(), 2);
}

// A Manager by itself, and objects of it, which are parts of its file.
TEST(Spawn, PassesAManagerAndWhatIsInIt) {
    const sluice::Manager manager;
    const auto named = manager.queue<std::string>("named");
    const auto unnamed = manager.queue<std::string>();
    const auto [parent, child] = manager.pipe<int>();
    Process sut(
        kSpawn,
        [](const sluice::Manager& its, const Queue<std::string>& in, const Queue<std::string>& out,
           const Connection<int>& end) {
            out.put(in.get() + std::string(100'000, 'x'));
            end.send(its.value<int>("number").load());
            its.queue<int>("made-there").put(7);
        },
        manager, named, unnamed, child);
    manager.value<int>("number") = 42;
    sut.start();
    child.close();
    named.put("hello");
    EXPECT_EQ(parent.recv(), 42);
    EXPECT_EQ(unnamed.get(), "hello" + std::string(100'000, 'x'));
    sut.join();
    EXPECT_EQ(sut.exitcode(), 0);
    EXPECT_EQ(manager.queue<int>("made-there").get(), 7);
}

TEST(Spawn, PassesValuesAndArrays) {
    const sluice::Value<long> plain(5);
    const sluice::Value<std::string> packed("five", {.bytes_max = 50});
    const sluice::Array<double> array(3);
    const sluice::Manager manager;
    const auto inside = manager.array<int>(2);
    Process sut(
        kSpawn,
        [](const sluice::Value<long>& number, const sluice::Value<std::string>& text,
           const sluice::Array<double>& levels, const sluice::Array<int>& its) {
            number = number + 1;
            text.update([](std::string& value) { value += " and one"; });
            levels[-1] = 2.5;
            its.fill(9);
        },
        plain, packed, array, inside);
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(plain.load(), 6);
    EXPECT_EQ(packed.load(), "five and one");
    EXPECT_EQ(array.snapshot(), (std::vector<double>{0, 0, 2.5}));
    EXPECT_EQ(inside.load(1), 9);
}

// The spawned process holds its window by the description that it has inherited.
TEST(Spawn, HoldsThePartOfAManagersFileThatItWasGiven) {
    const sluice::Manager manager;
    const Queue<int> gate;
    Process sut(
        kSpawn,
        [](const Queue<int>& its_gate, const Queue<int>& given) {
            its_gate.put(1);
            static_cast<void>(given.get());
            given.put(2);
            its_gate.put(given.size() == 1 && given.get() == 2 ? 3 : 4);
        },
        gate, manager.queue<int>("given"));
    sut.start();
    const auto ours = manager.queue<int>("given");
    EXPECT_EQ(gate.get(), 1);
    EXPECT_TRUE(manager.remove("given"));
    for (int count = 0; count < 40; ++count) {
        manager.queue<int>().put(count);
    }
    ours.put(1);
    sut.join();
    EXPECT_EQ(gate.get(), 3);
}

template <class T>
void echo(Connection<T>& connection) {
    for (;;) {
        try {
            connection.send(connection.recv());
        } catch (const sluice::Closed&) {
            return;
        }
    }
}

TEST(Spawn, HandsOverTheEndOfAPipe) {
    auto [parent, child] = sluice::Pipe<int>();
    Process sut(kSpawn, echo<int>, child);
    sut.start();
    child.close();
    for (int i = 0; i < 3'000; ++i) {  // round the ring
        parent.send(i);
        EXPECT_EQ(parent.recv(), i);
    }
    parent.close();
    sut.join();
    EXPECT_EQ(sut.exitcode(), 0);
}

TEST(Spawn, HandsOverTheEndOfAPipeOfPackedValues) {
    auto [parent, child] = sluice::Pipe<std::string>();
    parent.send("before the start");
    Process sut(kSpawn, echo<std::string>, child);
    sut.start();
    EXPECT_EQ(parent.recv(), "before the start");
    const std::string large(3'000'000, 'x');
    std::thread sender([&parent = parent, &large] { parent.send(large); });
    EXPECT_EQ(parent.recv(), large);
    sender.join();
    parent.close();
    sut.join();
    EXPECT_EQ(sut.exitcode(), 0);
}

TEST(Spawn, HandsOverTheEndOfABytePipe) {
    auto [parent, child] = sluice::BytePipe();
    Process sut(
        kSpawn, [](const ByteConnection& connection) { connection.send(connection.recv()); },
        child);
    sut.start();
    const std::vector<std::byte> message(70'000, std::byte{9});
    parent.send(message);
    EXPECT_EQ(parent.recv(), message);
    sut.join();
    EXPECT_EQ(sut.exitcode(), 0);
}

TEST(Spawn, AKilledChildsEndIsClosed) {
    auto [parent, child] = sluice::Pipe<int>();
    Process sut(kSpawn, echo<int>, child);
    sut.start();
    child.close();
    parent.send(1);
    EXPECT_EQ(parent.recv(), 1);
    sut.kill();
    EXPECT_THROW(parent.recv(), sluice::Closed);
    sut.join();
    EXPECT_EQ(sut.exitcode(), -SIGKILL);
}

TEST(Spawn, AChildKilledBeforeItsTargetRunsClosesItsEnd) {
    for (int round = 0; round < 20; ++round) {
        auto [parent, child] = sluice::Pipe<int>();
        Process sut(kSpawn, echo<int>, child);
        sut.start();
        child.close();
        sut.kill();
        EXPECT_THROW(parent.recv(), sluice::Closed);
    }
}

TEST(Spawn, PassesHandlesInContainers) {
    std::vector<Connection<int>> ours;
    std::vector<Connection<int>> theirs;
    for (int i = 0; i < 3; ++i) {
        auto [mine, its] = sluice::Pipe<int>();
        ours.push_back(mine);
        theirs.push_back(its);
    }
    using Answers = std::tuple<std::optional<Queue<int>>, std::array<Queue<int>, 2>,
                               std::pair<int, Queue<int>>>;
    const Queue<int> answers;
    Process sut(
        kSpawn,
        [](std::vector<Connection<int>>& connections, const Answers& its_answers) {
            int sum = 0;
            for (Connection<int>& connection : connections) {
                sum += connection.recv();
            }
            std::get<0>(its_answers)->put(sum);
            std::get<1>(its_answers)[1].put(sum + 1);
            std::get<2>(its_answers).second.put(sum + std::get<2>(its_answers).first);
        },
        std::move(theirs), Answers{answers, {answers, answers}, {2, answers}});
    sut.start();
    for (int i = 0; i < 3; ++i) {
        ours[static_cast<std::size_t>(i)].send(1 << i);
    }
    EXPECT_EQ(answers.get(), 7);
    EXPECT_EQ(answers.get(), 8);
    EXPECT_EQ(answers.get(), 9);
    sut.join();
    EXPECT_EQ(sut.exitcode(), 0);
}

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST(Spawn, LeavesNoDescriptorBehindInParentOrChild) {
    const auto count_in_child = [](const auto&... arguments) {
        const Queue<std::size_t> counts;
        Process sut(
            kSpawn,
            [](const Queue<std::size_t>& queue, const auto&...) { queue.put(open_descriptors()); },
            counts, arguments...);
        EXPECT_EQ(run_to_end(sut), 0);
        return counts.get();
    };
    const Queue<int> queue;
    const std::size_t here = open_descriptors();
    const std::size_t one = count_in_child(queue);
    const std::size_t three = count_in_child(queue, queue, queue);
    EXPECT_EQ(three, one + 2) << "a handle has a descriptor of its own, and that is all";
    auto [parent, child] = sluice::Pipe<int>();
    const std::size_t pipe = count_in_child(queue, child);
    EXPECT_EQ(pipe, one + 2) << "its memory, and the lock that says that somebody holds the end";
    parent.close();
    child.close();
    EXPECT_LE(open_descriptors(), here + 1) << "the pipe's memory";
}

// What it knows of itself
// -----------------------------------------------------------------------------

TEST(Spawn, KnowsItsNameItsParentAndTheKey) {
    const Queue<std::string> answers;
    Process sut(
        spawn_named("kid"),
        [](const Queue<std::string>& queue) {
            const auto parent = sluice::parent_process();
            const Process inner([] {});
            const auto key = inner.authkey();
            queue.put(sluice::current_process().name() + " " + inner.name() + " " + parent->name() +
                      " " + std::to_string(parent->pid()) +
                      (parent->is_alive() ? " alive" : " dead"));
            queue.put(std::string(reinterpret_cast<const char*>(key.data()), key.size()));
        },
        answers);
    const auto key = sut.authkey();
    const std::string number = [&] {
        const Process next([] {});  // "Process-N"; the spawned one has N - 1
        return std::to_string(std::stoi(next.name().substr(8)) - 1);
    }();
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(answers.get(),
              "kid Process-" + number + ":1 MainProcess " + std::to_string(::getpid()) + " alive");
    EXPECT_EQ(answers.get(), std::string(reinterpret_cast<const char*>(key.data()), key.size()));
}

TEST(Spawn, RunsWhereItIsBound) {
    const unsigned cpu = sluice::Topology::system().pus().back().cpu;
    ProcessOptions options = kSpawn;
    options.binding.cpus = {cpu};
    Process sut(
        options,
        [](unsigned its_cpu) {
            cpu_set_t cpus;
            CPU_ZERO(&cpus);
            const bool read = ::sched_getaffinity(0, sizeof cpus, &cpus) == 0;
            ::_exit(read && CPU_COUNT(&cpus) == 1 && CPU_ISSET(its_cpu, &cpus) ? 0 : 1);
        },
        cpu);
    EXPECT_EQ(run_to_end(sut), 0);
}

TEST(Spawn, MaySpawnAndForkItself) {
    const Queue<int> answers;
    Process sut(
        kSpawn,
        [](const Queue<int>& queue) {
            Process spawned(
                kSpawn, [](const Queue<int>& its_queue) { its_queue.put(1); }, queue);
            Process forked([queue] { queue.put(2); });
            spawned.start();
            forked.start();
        },
        answers);
    EXPECT_EQ(run_to_end(sut), 0);
    EXPECT_EQ(answers.get() + answers.get(), 3);
}

TEST(Spawn, MayBeStartedByThreadsAtOnce) {
    const Queue<int> answers;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&answers, i] {
            for (int round = 0; round < 3; ++round) {
                Process sut(
                    kSpawn, [](const Queue<int>& queue, int number) { queue.put(number); }, answers,
                    i);
                EXPECT_EQ(run_to_end(sut), 0);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(answers.size(), 12U);
}

// How it ends
// -----------------------------------------------------------------------------------------

TEST(Spawn, TellsTheExitCodeAndTheSignal) {
    Process code(
        kSpawn, [](int its_code) { ::_exit(its_code); }, 7);
    EXPECT_EQ(run_to_end(code), 7);
    Process signal(kSpawn, [] { ::raise(SIGUSR1); });
    EXPECT_EQ(run_to_end(signal), -SIGUSR1);
}

/// Runs `process` with stdout and stderr in a file; what was written there.
std::string output_of(Process& process, std::optional<int> expected_code) {
    std::fflush(stdout);
    std::fflush(stderr);
    const int file = ::memfd_create("output", MFD_CLOEXEC);
    const std::array<int, 2> kept{::dup(STDOUT_FILENO), ::dup(STDERR_FILENO)};
    ::dup2(file, STDOUT_FILENO);
    ::dup2(file, STDERR_FILENO);
    const std::optional<int> code = run_to_end(process);
    std::fflush(stdout);
    ::dup2(kept[0], STDOUT_FILENO);
    ::dup2(kept[1], STDERR_FILENO);
    EXPECT_EQ(code, expected_code);
    std::string text(10'000, '\0');
    text.resize(static_cast<std::size_t>(::pread(file, text.data(), text.size(), 0)));
    for (const int descriptor : {file, kept[0], kept[1]}) {
        ::close(descriptor);
    }
    return text;
}

TEST(Spawn, PrintsAnExceptionAndExitsWithOne) {
    Process sut(spawn_named("loser"), [] { throw std::runtime_error("the cat sat on it"); });
    const std::string text = output_of(sut, 1);
    EXPECT_EQ(text, "Process loser (pid " + std::to_string(sut.pid()) +
                        "): exception: the cat sat on it\n");
}

TEST(Spawn, FlushesWhatBothSidesPrinted) {
    Process sut(kSpawn, [] {
        std::printf("from the child;");
        std::FILE* const own = ::fdopen(::dup(STDERR_FILENO), "w");
        std::fprintf(own, "from a file of its own;");  // and left open
    });
    std::fflush(stdout);
    const std::string text = output_of(sut, 0);
    EXPECT_NE(text.find("from the child;"), std::string::npos) << text;
    EXPECT_NE(text.find("from a file of its own;"), std::string::npos) << text;
}

// What cannot be spawned
// ------------------------------------------------------------------------------

class Derived : public Process {
 public:
    Derived() : Process(kSpawn) {}

 protected:
    void run() override {}
};

TEST(Spawn, RefusesASubclass) {
    Derived sut;
    EXPECT_NE(refusal_of([&sut] { sut.start(); }).find("a subclass cannot be spawned"),
              std::string::npos);
}

TEST(Spawn, RefusesATargetThatCaptures) {
    int number = 0;
    Process sut(spawn_named("holder"), [&number] { ++number; });
    const std::string what = refusal_of([&sut] { sut.start(); });
    EXPECT_NE(what.find("'holder': the target ("), std::string::npos) << what;
    EXPECT_NE(what.find("captures"), std::string::npos) << what;
    EXPECT_FALSE(sut.is_alive());
}

TEST(Spawn, RefusesAPointerToAMember) {
    Process sut(kSpawn, &Adder::operator(), Adder{1}, Queue<int>(), 2);
    EXPECT_NE(refusal_of([&sut] { sut.start(); }).find("a pointer to a member"), std::string::npos);
}

TEST(Spawn, RefusesAnArgumentThatCannotTravelAndNamesIt) {
    Process pointer(
        kSpawn, [](int, const char*) {}, 1, "text");
    const std::string what = refusal_of([&pointer] { pointer.start(); });
    EXPECT_NE(what.find("argument 2 (const char"), std::string::npos) << what;
    Process owned(
        kSpawn, [](const std::unique_ptr<int>&) {}, std::make_unique<int>(1));
    EXPECT_NE(refusal_of([&owned] { owned.start(); }).find("argument 1 (std::unique_ptr)"),
              std::string::npos);
}

TEST(Spawn, GivesAnEndBackWhenItRefusesTheRest) {
    auto [first, second] = sluice::Pipe<int>();
    Process sut(
        kSpawn, [](Connection<int>&, const char*) {}, second, "text");
    refusal_of([&sut] { sut.start(); });
    second.send(5);
    EXPECT_EQ(first.recv(), 5);
}

TEST(Spawn, RefusesAnEndOfWhichAMessageIsHalfReceived) {
    sluice::BytePipe pipe(4'096);
    Child sender([end = pipe.second] {
        end.send(std::vector<std::byte>(9'000));  // in fragments; waits for room
        return true;
    });
    while (!pipe.first.poll()) {
    }
    sluice::testing::wait_until_asleep(sender.pid());
    sender.signal(SIGSTOP);
    sender.wait_stopped();
    EXPECT_FALSE(pipe.first.try_recv().has_value());
    Process sut(
        kSpawn, [](const ByteConnection&) {}, pipe.first);
    EXPECT_THROW(sut.start(), sluice::Error);
    sender.signal(SIGCONT);
    EXPECT_EQ(pipe.first.recv().size(), 9'000U);
    EXPECT_EQ(sender.wait(), 0);
}

TEST(Spawn, ItsWordOnACommandLineRunsNothing) {
    for (const char* number : {"99", "0", "text", "-1"}) {
        Child sut([number] {
            ::close(STDERR_FILENO);
            ::execl("/proc/self/exe", "spawn_test", "--sluice-spawn", number, nullptr);
            return false;
        });
        EXPECT_EQ(sut.wait(), 1);
    }
}

// Daemons
// ---------------------------------------------------------------------------------------------

TEST(Spawn, ADaemonEndsWithItsKilledParent) {
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // orphans come to us
    const Queue<int> pids;
    Child parent([&pids] {
        ProcessOptions options = kSpawn;
        options.daemon = true;
        Process sut(
            options,
            [](const Queue<int>& queue) {
                queue.put(::getpid());
                for (;;) {
                    ::pause();
                }
            },
            pids);
        sut.start();
        ::pause();
        return true;
    });
    const pid_t daemon = pids.get();
    EXPECT_EQ(parent.kill_and_wait(), -SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(daemon, &status, 0), daemon);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

}  // namespace

int main(int argc, char** argv) {
    sluice::spawn_main(argc, argv);
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
