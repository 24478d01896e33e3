#include "crash/pool_sweep.hpp"

#include <signal.h>

#include <cstring>
#include <memory>
#include <string>

#include "pool_area.hpp"
#include "pool_worker.hpp"

namespace sluice::crash {
namespace {

using detail::PoolArea;
using detail::PoolWorker;
using detail::TaskContext;
using shm::TaskControl;
using shm::TaskState;

constexpr std::uint32_t kTask = 7;
constexpr std::uint32_t kOtherTask = 8;
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

class WorkerScene : public Scene {
 public:
    struct Plan {
        detail::Thunk thunk{};
        bool reported{};
        OnWorkerDeath on_death{};
        Found found{};
    };

    explicit WorkerScene(const Plan& plan) : plan_(plan), area_(1, Wait::park, {}) {
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

    int check(bool returned) override {
        if (!returned) {
            // Twice: it may be repeated.
            detail::settle_dead_worker(area_, options_, 0, {1234, SIGKILL, 0});
            detail::settle_dead_worker(area_, options_, 0, {1234, SIGKILL, 0});
        }
        const bool by_victim = state() == TaskState::done || state() == TaskState::passed;
        // What the dead did not take is there for the next worker; and so is another task.
        put(kOtherTask);
        for (int served = 0; state(kOtherTask) != TaskState::done; ++served) {
            require(served < 4, "the queue holds what it should not");
            require(PoolWorker(area_, options_, 0).serve_one(), "closed");
        }
        check_task();
        check_reports();
        area_.release_extents(kTask);
        area_.release_extents(kOtherTask);
        require(area_.memory_bytes() <= base_bytes_, "memory beside the table is left");
        return by_victim ? 1 : 0;
    }

 private:
    void put(std::uint32_t task) {
        auto& layout = area_.task(task);
        const int argument = kArgument;
        area_.write_arguments(task, std::as_bytes(std::span(&argument, 1)));
        layout.thunk = reinterpret_cast<std::uint64_t>(plan_.thunk);
        layout.control.store(
            TaskControl::make(3, TaskState::queued, plan_.reported ? TaskControl::kReport : 0)
                .word);
        area_.put(shm::task_number(task, 3));
    }
    TaskState state(std::uint32_t task = kTask) const {
        return TaskControl{area_.task(task).control.load()}.state();
    }
    void check_task() const {
        if (plan_.found == Found::cancelled) {
            require(state() == TaskState::passed, "a cancelled task is not out of the queue");
            return;
        }
        if (state() == TaskState::died) {
            require(plan_.on_death == OnWorkerDeath::fail_task, "a task was to be run again");
            shm::DeathNote note{};
            std::memcpy(&note, area_.task(kTask).inline_bytes, sizeof note);
            require(note.pid == 1234 && note.status == SIGKILL, "the note does not say who died");
            return;
        }
        require(state() == TaskState::done,
                "the task has no end: state " + std::to_string(static_cast<int>(state())));
        std::vector<std::byte> buffer;
        int value = 0;
        std::memcpy(&value, area_.result(kTask, buffer).data(), sizeof value);
        require(value == kArgument + 1, "a torn result");
    }
    void check_reports() const {
        int reports = 0;
        std::uint32_t task = 0;
        for (std::uint64_t position = 0; area_.read_report(0, position, task); ++position) {
            reports += task == kTask ? 1 : 0;
        }
        const bool wanted = plan_.reported || plan_.found == Found::cancelled;
        require(!wanted || reports != 0, "nobody told of the task's end");
        require(wanted || reports == 0, "a report that nobody asked for");
        require(reports <= 3, "a report again and again");
    }

    Plan plan_;
    PoolArea area_;
    PoolOptions options_{};
    std::uint64_t base_bytes_{};
};

SweepCounts sweep_one(const std::string& state, const WorkerScene::Plan& plan) {
    return sweep("Pool worker", state, [plan] { return std::make_unique<WorkerScene>(plan); },
                 {.pause = false, .pairs = false});
}

}  // namespace

SweepCounts sweep_pool_worker() {
    SweepCounts sum;
    sum += sweep_one("a task, awaited", {&work<4>, false, OnWorkerDeath::fail_task, {}});
    sum += sweep_one("a task, reported", {&work<4>, true, OnWorkerDeath::fail_task, {}});
    sum += sweep_one("a task, run again", {&work<4>, true, OnWorkerDeath::retry, {}});
    sum += sweep_one("a large result", {&work<5000>, true, OnWorkerDeath::retry, {}});
    sum +=
        sweep_one("a cancelled task", {&work<4>, true, OnWorkerDeath::fail_task, Found::cancelled});
    return sum;
}

}  // namespace sluice::crash
