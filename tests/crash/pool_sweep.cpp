#include "crash/pool_sweep.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "pool_area.hpp"
#include "pool_worker.hpp"
#include "sluice/pool.hpp"
#include "support/processes.hpp"

namespace sluice::crash {
namespace {

using detail::PoolArea;
using detail::PoolWorker;
using detail::TaskContext;
using shm::TaskControl;
using shm::TaskState;

constexpr std::uint32_t kTask = 7;
constexpr std::uint32_t kOtherTask = 8;
constexpr std::uint32_t kLastTask = 9;
constexpr int kArgument = 41;

/// A result of 4 bytes, or one that does not fit into the table.
template <std::size_t kBytes>
void work(TaskContext& context) {
    int value = 0;
    std::memcpy(&value, context.arguments().data(), sizeof value);
    ++value;
    context.result(kBytes, [value](std::byte* place) {
        std::memset(place, 0, kBytes);
        std::memcpy(place, &value, sizeof value);
    });
}

enum class Found : std::uint8_t { queued, cancelled };

/// What others do while the victim stands: the other worker does a task, whichever comes first; or
/// the owner does not want the victim's task any more, and asks who settles it for a report.
enum class Others : std::uint8_t { work, abandon };

// The victim is worker 0; worker 1 is this process.
class WorkerScene : public Scene {
 public:
    struct Plan {
        detail::Thunk thunk{};
        bool reported{};
        OnWorkerDeath on_death{};
        Found found{};
        Others others{};
    };

    explicit WorkerScene(const Plan& plan) : plan_(plan), area_(2, Wait::park, {}) {
        options_.on_worker_death = plan.on_death;
        options_.wait = Wait::park;
        base_bytes_ = area_.memory_bytes();
        put(kTask);
        if (plan.found == Found::cancelled) {
            TaskControl seen{area_.task(kTask).control.load()};
            area_.task(kTask).control.store(seen.with(TaskState::cancelled, 0).word);
        }
    }

    // Joins the queue beforehand: where a newcomer finds its place depends on all processes.
    void prepare() override { static_cast<void>(area_.queue().ring().members().id()); }
    void act() override { require(PoolWorker(area_, options_, 0).serve_one(), "closed"); }

    void rival() override {
        if (plan_.others == Others::abandon) {
            abandon();
            return;
        }
        // Two for two workers: who comes second finds the other's.
        put(kOtherTask);
        serve();
    }

    int check(bool returned) override {
        if (!returned) {
            // Twice: it may be repeated.
            detail::settle_dead_worker(area_, options_, 0, {1234, SIGKILL, 0});
            detail::settle_dead_worker(area_, options_, 0, {1234, SIGKILL, 0});
        }
        const bool by_victim = state() == TaskState::done || state() == TaskState::passed;
        // What the dead did not take is there for the next worker; and so is another task.
        put(kLastTask);
        for (int served = 0; state(kLastTask) != TaskState::done; ++served) {
            require(served < 4, "the queue holds what it should not");
            serve();
        }
        for (const std::uint32_t task : given_) {
            check_task(task);
            check_reports(task);
            area_.release_extents(task);
        }
        require(area_.memory_bytes() <= base_bytes_, "memory beside the table is left");
        return by_victim ? 1 : 0;
    }

 private:
    void serve() { require(PoolWorker(area_, options_, 1).serve_one(), "closed"); }
    void put(std::uint32_t task) {
        auto& layout = area_.task(task);
        const int argument = kArgument;
        area_.write_arguments(task, std::as_bytes(std::span(&argument, 1)));
        layout.thunk = reinterpret_cast<std::uint64_t>(plan_.thunk);
        layout.control.store(TaskControl::make(kGeneration, TaskState::queued,
                                               plan_.reported ? TaskControl::kReport : 0)
                                 .word);
        area_.put(shm::task_number(task, kGeneration));
        given_.push_back(task);
    }
    // As the owner does when nobody wants a window's result.
    void abandon() {
        auto& control = area_.task(kTask).control;
        TaskControl seen{control.load()};
        while (!seen.is_settled()) {
            const TaskControl wanted = seen.state() == TaskState::queued
                                           ? seen.with(TaskState::cancelled, 0).with_report()
                                           : seen.with_report();
            if (control.compare_exchange_strong(seen.word, wanted.word)) {
                abandoned_ = true;
                return;
            }
        }
    }
    TaskState state(std::uint32_t task = kTask) const {
        return TaskControl{area_.task(task).control.load()}.state();
    }
    void check_task(std::uint32_t task) const {
        const TaskState end = state(task);
        if (end == TaskState::passed) {
            require(task == kTask && (plan_.found == Found::cancelled || abandoned_),
                    "a task was passed over that nobody cancelled");
            return;
        }
        require(task != kTask || plan_.found != Found::cancelled,
                "a cancelled task is not out of the queue");
        if (end == TaskState::died) {
            require(plan_.on_death == OnWorkerDeath::fail_task, "a task was to be run again");
            shm::DeathNote note{};
            std::memcpy(&note, area_.task(task).inline_bytes, sizeof note);
            require(note.pid == 1234 && note.status == SIGKILL, "the note does not say who died");
            return;
        }
        require(end == TaskState::done,
                "a task has no end: state " + std::to_string(static_cast<int>(end)));
        std::vector<std::byte> buffer;
        int value = 0;
        std::memcpy(&value, area_.result(task, buffer).data(), sizeof value);
        require(value == kArgument + 1, "a torn result");
    }
    void check_reports(std::uint32_t task) const {
        int reports = 0;
        for (std::uint32_t worker = 0; worker < area_.workers(); ++worker) {
            std::uint32_t reported = 0;
            for (std::uint64_t position = 0; area_.read_report(worker, position, reported);
                 ++position) {
                reports += reported == task ? 1 : 0;
            }
        }
        const bool wanted =
            plan_.reported || (task == kTask && (plan_.found == Found::cancelled || abandoned_));
        require(!wanted || reports != 0, "nobody told of the task's end");
        require(wanted || reports == 0, "a report that nobody asked for");
        require(reports <= 3, "a report again and again");
    }

    static constexpr std::uint32_t kGeneration = 0xffff'ffffU;  // the last before it wraps

    Plan plan_;
    PoolArea area_;
    PoolOptions options_{};
    std::vector<std::uint32_t> given_{};
    bool abandoned_{};
    std::uint64_t base_bytes_{};
};

// ---- the owner

/// What the victim does with its Pool of one worker.
enum class Deed : std::uint8_t { apply, apply_large, map, submit, collect, terminate, join };

/// What tasks note, outside of all objects under test.
struct Notes {
    std::atomic<std::uint32_t> ran{};
    std::atomic<std::uint32_t> torn{};
    std::atomic<bool> handler_stands{};
};
Notes& notes() {
    static const test::Shared<Notes> shared;
    return *shared;
}

using Large = std::array<int, 1000>;
Large large_argument() {
    Large large{};
    std::iota(large.begin(), large.end(), kArgument);
    return large;
}
int note(int value) {
    notes().ran.fetch_add(1);
    notes().torn.fetch_add(value == kArgument ? 0 : 1);
    return value + 1;
}
Large note_large(const Large& value) {
    notes().ran.fetch_add(1);
    notes().torn.fetch_add(value == large_argument() ? 0 : 1);
    return value;
}

std::size_t count_descriptors() {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}
/// Objects in /dev/shm, but for those of tests and examples that run beside this one.
std::size_t count_objects() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
        const std::string name = entry.path().filename().string();
        const bool is_others =
            name.find("test-") != name.npos || name.find("example-") != name.npos;
        count += is_others ? 0U : 1U;
    }
    return count;
}

/// Waits for all children, orphans included. Those that do not end by themselves are ended before
/// it is said: whoever swept for a fault would leave them behind.
void expect_that_all_end() {
    const char* given = std::getenv("SLUICE_SWEEP_WATCHDOG");
    const auto limit = std::chrono::seconds(given != nullptr ? std::strtol(given, nullptr, 10) - 1
                                                             : 50);  // the sweep's own comes later
    const auto end = std::chrono::steady_clock::now() + limit;
    bool late = false;
    for (;;) {
        const pid_t ended = ::waitpid(-1, nullptr, WNOHANG);
        if (ended < 0) {
            require(errno == ECHILD, "waitpid");
            require(!late, "a process outlives the Pool's owner");
            return;
        }
        if (ended != 0) {
            continue;
        }
        if (late || std::chrono::steady_clock::now() > end) {
            late = true;
            std::ifstream children("/proc/self/task/" + std::to_string(::getpid()) + "/children");
            for (pid_t child = 0; children >> child;) {
                ::kill(child, SIGKILL);
            }
        }
        ::usleep(50);
    }
}

class OwnerScene : public Scene {
 public:
    explicit OwnerScene(Deed deed) : deed_(deed) {
        ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // orphans come to this process, which sees their end
        notes().ran.store(0);
        notes().torn.store(0);
        notes().handler_stands.store(false);
        descriptors_ = count_descriptors();
        entries_ = count_objects();
    }

    void prepare() override {
        pool_.emplace(PoolOptions{.workers = 1, .wait = Wait::park});
        if (deed_ == Deed::submit || deed_ == Deed::collect) {
            // The handler thread would meet the tracer's breakpoints: it is kept in a callback.
            pool_->apply_async(note, kArgument).then([](int) {
                notes().handler_stands.store(true);
                for (;;) {
                    ::pause();
                }
            });
            test::await([] { return notes().handler_stands.load(); });
        }
        if (deed_ == Deed::collect) {
            result_.emplace(pool_->apply_async(note, kArgument));
            // The one worker has reported it before it does the next.
            pool_->apply(note, kArgument);
        }
    }

    void act() override {
        switch (deed_) {
            case Deed::apply:
                require(pool_->apply(note, kArgument) == kArgument + 1, "a wrong result");
                break;
            case Deed::apply_large:
                require(pool_->apply(note_large, large_argument()) == large_argument(),
                        "a wrong result");
                break;
            case Deed::map:
                require(pool_->map(note, std::vector<int>(3, kArgument), 1) ==
                            std::vector<int>(3, kArgument + 1),
                        "wrong results");
                break;
            case Deed::submit:
                static_cast<void>(pool_->apply_async(note, kArgument));
                break;
            case Deed::collect:
                require(result_->get() == kArgument + 1, "a wrong result");
                break;
            case Deed::terminate:
                pool_->terminate();
                break;
            case Deed::join:
                pool_->close();
                pool_->join();
                break;
        }
    }
    bool may_sleep() const override {
        return deed_ == Deed::apply || deed_ == Deed::apply_large || deed_ == Deed::map ||
               deed_ == Deed::join;
    }
    void wake() override {}  // the worker does
    bool depends_on_others() const override { return true; }
    bool is_steady() const override { return false; }

    int check(bool) override {
        expect_that_all_end();
        require(notes().torn.load() == 0, "a task saw torn arguments");
        const std::uint32_t given = deed_ == Deed::map       ? 3
                                    : deed_ == Deed::collect ? 3
                                    : deed_ == Deed::submit  ? 2
                                                             : 1;
        require(notes().ran.load() <= given, "a task ran twice");
        require(count_descriptors() == descriptors_, "a descriptor is left");
        require(count_objects() <= entries_, "something is left in /dev/shm");
        return 0;
    }

 private:
    Deed deed_;
    std::optional<Pool> pool_{};
    std::optional<AsyncResult<int>> result_{};
    std::size_t descriptors_{};
    std::size_t entries_{};
};

SweepCounts sweep_one(const std::string& state, const WorkerScene::Plan& plan) {
    return sweep("Pool worker", state, [plan] { return std::make_unique<WorkerScene>(plan); });
}
SweepCounts sweep_one(const std::string& state, Deed deed) {
    return sweep("Pool owner", state, [deed] { return std::make_unique<OwnerScene>(deed); },
                 {.pause = false, .pairs = false});
}

}  // namespace

SweepCounts sweep_pool_worker() {
    constexpr auto kFail = OnWorkerDeath::fail_task;
    constexpr auto kRetry = OnWorkerDeath::retry;
    SweepCounts sum;
    sum += sweep_one("a task, awaited", {&work<4>, false, kFail, {}, Others::work});
    sum += sweep_one("a task, given up meanwhile", {&work<4>, false, kFail, {}, Others::abandon});
    sum += sweep_one("a task, reported", {&work<4>, true, kFail, {}, Others::work});
    sum += sweep_one("a task, run again", {&work<4>, true, kRetry, {}, Others::work});
    sum += sweep_one("given up and run again", {&work<4>, false, kRetry, {}, Others::abandon});
    sum += sweep_one("a large result", {&work<5000>, true, kRetry, {}, Others::work});
    sum += sweep_one("a cancelled task", {&work<4>, true, kFail, Found::cancelled, Others::work});
    return sum;
}

SweepCounts sweep_pool_owner() {
    // Asked for once here, so that the victims, which are copies, need not look at the machine.
    static_cast<void>(Topology::system());
    SweepCounts sum;
    sum += sweep_one("apply", Deed::apply);
    if (is_thorough()) {
        sum += sweep_one("apply, large", Deed::apply_large);
        sum += sweep_one("map of three", Deed::map);
    }
    sum += sweep_one("apply_async", Deed::submit);
    sum += sweep_one("collecting", Deed::collect);
    sum += sweep_one("terminate", Deed::terminate);
    sum += sweep_one("close and join", Deed::join);
    return sum;
}

}  // namespace sluice::crash
