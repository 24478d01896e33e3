// The owner's side of a Pool: tasks out, outcomes in, callbacks, the end.
//
// Orders: shm/task_word.hpp; and inside the owner
//   R6 a task's value and error -> A6 : who sees it settled reads them
//   R1, A2, A3, A5 : as there
#include "sluice/detail/pool_core.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include "family.hpp"
#include "pool_area.hpp"
#include "pool_nursery.hpp"
#include "sluice/error.hpp"
#include "sluice/shm/fork.hpp"

namespace sluice::detail {
namespace {

using shm::PoolRequest;
using shm::PoolState;
using shm::TaskControl;
using shm::TaskLayout;
using shm::TaskState;
using shm::WorkerLayout;
using shm::WorkerPhase;

// The queue has places for 512 threads: of these some are left to the owner's.
constexpr std::size_t kWorkersMax = 448;
// So many reports at once are a stream: then the handler naps instead of being woken for each.
constexpr std::size_t kStream = 32;
constexpr std::size_t kCollectMax = 512;
// Who submits collects, too, once in so many times: the table is used while it is in the cache.
constexpr std::uint32_t kSubmissionsPerLook = 32;

thread_local bool is_handler = false;

[[noreturn]] void throw_errno(int error, const char* what) {
    throw std::system_error(error, std::generic_category(), what);
}

std::exception_ptr remote_error(std::span<const std::byte> bytes) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t end = std::min(text.find('\0'), text.size());
    const std::string_view message = end < text.size() ? text.substr(end + 1) : std::string_view{};
    return std::make_exception_ptr(
        RemoteError(std::string(text.substr(0, end)), std::string(message)));
}

std::exception_ptr death_error(const std::byte* bytes, std::uint64_t serial) {
    shm::DeathNote note{};
    std::memcpy(&note, bytes, sizeof note);
    WorkerDied::End end{note.pid, 0, 0, serial};
    std::string how;
    if (WIFSIGNALED(note.status)) {
        end.signal = WTERMSIG(note.status);
        how = "died of signal " + std::to_string(end.signal) + " (" + ::strsignal(end.signal) + ")";
    } else {
        end.exit_code = WEXITSTATUS(note.status);
        how = "exited with code " + std::to_string(end.exit_code);
    }
    if (note.overdue != 0) {
        how = "was killed, because the task took longer than task_timeout (" +
              std::to_string(note.overdue / 1'000'000) + " ms)";
    }
    return std::make_exception_ptr(WorkerDied("Pool: worker " + std::to_string(note.pid) + " " +
                                                  how + ", in task " + std::to_string(serial),
                                              end));
}

std::exception_ptr cancelled_error() {
    return std::make_exception_ptr(Error("Pool: the task was cancelled before it started"));
}

}  // namespace

AsyncCore::AsyncCore(std::shared_ptr<PoolCore> pool, std::uint32_t parts)
    : pool_(std::move(pool)),
      part_(parts == 1 ? kWaiting : kGone),
      parts_(parts > 1 ? parts : 0, kWaiting),
      open_(parts) {}

bool AsyncCore::wait(Deadline deadline) {
    if (ready()) {
        return true;
    }
    pool_->require_here();
    if (!deadline.is_passed() && pool_->area_->spin(pool_->options_.wait, [this] {
            if (!ready()) {
                pool_->try_collect();
            }
            return ready();
        })) {
        return true;
    }
    for (;;) {
        // While it spins, the waiter collects; asleep, it leaves that to the handler thread.
        // In a callback: the handler thread is this one.
        const shm::Waited waited = shm::wait_until(
            waiters_, is_handler ? Wait::spin : pool_->options_.wait, spin_, deadline,
            [this] {
                if (!ready()) {
                    pool_->try_collect();
                }
                return ready();
            },
            [] {}, [this] { return pool_->look_after_nursery(); });
        if (waited == shm::Waited::timed_out) {
            return ready();
        }
        return true;
    }
}

bool AsyncCore::cancel() {
    pool_->require_here();
    return pool_->cancel(*this);
}

void AsyncCore::part_ended(std::uint32_t part, const TaskOutcome& outcome) noexcept {
    std::exception_ptr error = outcome.error;
    if (!error) {
        try {
            take(part, outcome.result);
        } catch (...) {
            error = std::current_exception();
        }
    }
    bool has_callbacks = false;
    {
        const std::scoped_lock lock(mutex_);
        if (error && !error_) {
            error_ = error;
        }
        if (--open_ != 0) {
            return;
        }
        settled_.store(true, std::memory_order_seq_cst);  // R6, before the look at the sleepers
        has_callbacks = !callbacks_.empty();
    }
    waiters_.notify_all();
    if (has_callbacks) {
        pool_->post(shared_from_this());
    }
}

void AsyncCore::then(std::function<void()> callback) {
    pool_->require_here();
    pool_->need_handler();
    bool now = false;
    {
        const std::scoped_lock lock(mutex_);
        callbacks_.push_back(std::move(callback));
        now = settled_.load(std::memory_order_relaxed);  // under the mutex that it is stored under
    }
    if (now) {
        pool_->post(shared_from_this());
    }
}

std::shared_ptr<PoolCore> PoolCore::make(const PoolOptions& options) {
    auto pool = std::make_shared<PoolCore>(options);
    pool->await_workers();
    return pool;
}

PoolCore::PoolCore(const PoolOptions& options)
    : options_(options), generation_(shm::fork_generation) {
    if (options_.workers == 0) {
        options_.workers = cpu_count();
    }
    if (options_.workers > kWorkersMax) {
        throw std::invalid_argument("Pool: 1 to " + std::to_string(kWorkersMax) + " workers, not " +
                                    std::to_string(options_.workers));
    }
    NurseryBirth birth;
    birth.bindings = plan(Topology::system(), options_.placement, options_.workers);
    for (std::size_t worker = 0; worker < options_.workers; ++worker) {
        birth.identities.push_back(next_identity());
    }
    const auto workers = static_cast<std::uint32_t>(options_.workers);
    area_ = std::make_unique<PoolArea>(workers, options_.wait, options_.memory);
    entries_.resize(PoolArea::kTasks);
    collected_.resize(workers);
    free_.reserve(PoolArea::kTasks);
    for (std::uint32_t task = PoolArea::kTasks; task != 0; --task) {
        free_.push_back(task - 1);
    }
    freed_.reserve(kCollectMax);
    request_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (request_ < 0) {
        throw_errno(errno, "Pool: eventfd");
    }
    birth.owner = ::getpid();
    birth.request = request_;
    flush_standard_streams();
    // Blocked until the nursery has its own mask: no handler of the owner's runs in it.
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &birth.signals);
    inherited_ = shm::Segment::last_serial();
    nursery_ = ::fork();
    if (nursery_ == 0) {
        run_pool_nursery(*area_, options_, birth);
    }
    const int error = errno;
    ::pthread_sigmask(SIG_SETMASK, &birth.signals, nullptr);
    if (nursery_ < 0) {
        ::close(request_);
        throw_errno(error, "Pool: fork");
    }
    nursery_pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, nursery_, 0));
    if (nursery_pidfd_ < 0) {
        const int why = errno;
        end_nursery(PoolRequest::terminate);
        ::close(request_);
        throw_errno(why, "Pool: pidfd_open");
    }
}

PoolCore::~PoolCore() {
    if (generation_ != shm::fork_generation) {
        static_cast<void>(handler_.release());  // the thread is the maker's
    } else {
        terminate();
    }
    ::close(request_);
    if (nursery_pidfd_ >= 0) {
        ::close(nursery_pidfd_);
    }
}

void PoolCore::await_workers() {
    const auto all_bound = [this] {
        for (std::uint32_t index = 0; index < area_->workers(); ++index) {
            if (area_->worker(index).phase.load(std::memory_order_seq_cst) <  // A4
                WorkerPhase::bound) {
                return lost_.load(std::memory_order_acquire);
            }
        }
        return true;
    };
    static_cast<void>(shm::wait_until(
        area_->pool().results, Wait::park, spin_, Deadline::never(), all_bound, [] {},
        [this] { return look_after_nursery(); }));
    if (lost_.load(std::memory_order_acquire)) {
        std::rethrow_exception(broken_error());
    }
}

void PoolCore::require_here() const {
    if (generation_ != shm::fork_generation) {
        throw NotPermitted("Pool: it belongs to the process that made it, not to its child " +
                           std::to_string(::getpid()));
    }
}

void PoolCore::require_open() {
    require_here();
    if (lost_.load(std::memory_order_acquire)) {  // `lost_` is stored after all that it says
        std::rethrow_exception(broken_error());
    }
    const std::scoped_lock lock(mutex_);
    if (closed_) {
        throw Closed("Pool: it was closed, and takes no more tasks");
    }
}

std::uint32_t PoolCore::worker_count() const noexcept {
    return area_->workers();
}

std::uint32_t PoolCore::take_slot(std::uint64_t& serial) {
    const std::scoped_lock lock(mutex_);
    if (closed_) {
        throw Closed("Pool: it was closed, and takes no more tasks");
    }
    if (lost_.load(std::memory_order_acquire)) {  // it is stored after all that it says
        std::rethrow_exception(broken_error());
    }
    serial = next_serial();
    // relaxed: counted down under other locks, compared with 0 where nothing can be added
    outstanding_.fetch_add(1, std::memory_order_relaxed);
    if (free_.empty() || !backlog_.empty()) {
        return kNoTask;
    }
    const std::uint32_t task = free_.back();
    free_.pop_back();
    return task;
}

void PoolCore::hand_out(std::uint32_t task, const TaskOrder& order, std::uint64_t flags) {
    TaskLayout& layout = area_->task(task);
    area_->write_arguments(task, order.arguments);
    layout.thunk = reinterpret_cast<std::uint64_t>(order.thunk);
    layout.function = order.function;
    // relaxed: it is free, so only we change it
    const TaskControl seen{layout.control.load(std::memory_order_relaxed)};
    const std::uint64_t all = flags | (order.timed ? TaskControl::kTimed : 0);
    layout.control.store(TaskControl::make(seen.generation(), TaskState::queued, all).word,
                         std::memory_order_release);  // R1
    try {
        area_->put(shm::task_number(task, seen.generation()));
    } catch (...) {  // this thread finds no place in the queue
        layout.control.store(seen.next().word, std::memory_order_relaxed);  // nobody knows of it
        throw;
    }
}

bool PoolCore::is_settled(std::uint32_t task) const noexcept {
    return TaskControl{area_->task(task).control.load(std::memory_order_seq_cst)}  // A2
        .is_settled();
}

void PoolCore::wait_settled(std::uint32_t task) {
    if (area_->spin(options_.wait, [this, task] { return is_settled(task); })) {
        return;
    }
    static_cast<void>(shm::wait_until(
        area_->task(task).settled, options_.wait, spin_, Deadline::never(),
        [this, task] { return is_settled(task); }, [] {}, [this] { return look_after_nursery(); }));
}

TaskOutcome PoolCore::outcome_of(std::uint32_t task, std::uint64_t serial) {
    thread_local std::vector<std::byte> buffer;
    const TaskLayout& layout = area_->task(task);
    const TaskControl seen{layout.control.load(std::memory_order_acquire)};  // A2
    TaskOutcome outcome;
    try {
        switch (seen.state()) {
            case TaskState::done:
                outcome.result = area_->result(task, buffer);
                if (seen.is_timed()) {
                    outcome.duration =
                        std::chrono::nanoseconds(static_cast<std::int64_t>(layout.duration_ns));
                }
                break;
            case TaskState::failed:
                outcome.error = remote_error(area_->result(task, buffer));
                break;
            case TaskState::died:
                outcome.error = death_error(layout.inline_bytes, serial);
                break;
            case TaskState::passed:
                outcome.error = cancelled_error();
                break;
            default:
                outcome.error = broken_error();
        }
    } catch (...) {
        outcome.error = std::current_exception();
    }
    return outcome;
}

void PoolCore::recycle(std::uint32_t task) noexcept {
    TaskLayout& layout = area_->task(task);
    area_->release_extents(task);
    // relaxed: nobody else changes a settled word, and what follows is published by R1
    const TaskControl seen{layout.control.load(std::memory_order_relaxed)};
    layout.control.store(seen.next().word, std::memory_order_relaxed);  // as above
}

void PoolCore::give_back(std::span<const std::uint32_t> tasks) {
    {
        const std::scoped_lock lock(mutex_);
        free_.insert(free_.end(), tasks.begin(), tasks.end());
        if (!backlog_.empty()) {
            refill();
        }
    }
    if (slot_waiters_.load(std::memory_order_seq_cst) != 0) {  // after the places were given back
        area_->pool().results.notify_all();
    }
    count_down(tasks.size());
}

void PoolCore::count_down(std::size_t tasks) noexcept {
    // seq_cst: before the look at who waits for the end
    if (tasks != 0 && outstanding_.fetch_sub(tasks, std::memory_order_seq_cst) == tasks) {
        idle_.notify_all();
    }
}

void PoolCore::abandon(std::uint32_t task, std::vector<std::uint32_t>& freed) {
    std::atomic<std::uint64_t>& control = area_->task(task).control;
    TaskControl seen{control.load(std::memory_order_acquire)};  // A2
    // Whoever settles it reports it then, and whoever collects finds that nobody wants it.
    while (!seen.is_settled()) {
        const TaskControl wanted = seen.state() == TaskState::queued
                                       ? seen.with(TaskState::cancelled, 0).with_report()
                                       : seen.with_report();
        if (control.compare_exchange_strong(seen.word, wanted.word, std::memory_order_seq_cst,
                                            std::memory_order_acquire)) {  // A2
            return;
        }
    }
    recycle(task);
    freed.push_back(task);
}

void PoolCore::run(const TaskOrder& order, void (*take)(void*, std::span<const std::byte>),
                   void* context) {
    require_here();
    std::uint64_t serial = 0;
    const std::uint32_t task = take_slot(serial);
    if (task == kNoTask) {
        // No place: it waits its turn behind the others.
        struct Single final : AsyncCore {
            explicit Single(std::shared_ptr<PoolCore> pool) : AsyncCore(std::move(pool), 1) {}
            void take(std::uint32_t, std::span<const std::byte> result) override {
                bytes.assign(result.begin(), result.end());
            }
            std::vector<std::byte> bytes{};
        };
        count_down(1);
        const auto single = std::make_shared<Single>(shared_from_this());
        submit(order, single, 0);
        static_cast<void>(single->wait(Deadline::never()));
        if (const std::exception_ptr error = single->error()) {
            std::rethrow_exception(error);
        }
        take(context, single->bytes);
        return;
    }
    struct Free {
        PoolCore& pool;
        std::uint32_t task;
        bool handed_out{};
        ~Free() {
            if (handed_out) {
                pool.recycle(task);
            }
            pool.give_back(std::span(&task, 1));
        }
    } free{*this, task};
    hand_out(task, order, 0);
    free.handed_out = true;
    wait_settled(task);
    const TaskOutcome outcome = outcome_of(task, serial);
    if (outcome.error) [[unlikely]] {
        std::rethrow_exception(outcome.error);
    }
    take(context, outcome.result);
}

void PoolCore::submit(const TaskOrder& order, const std::shared_ptr<AsyncCore>& task,
                      std::uint32_t part) {
    std::uint32_t index = kNoTask;
    {
        const std::scoped_lock lock(mutex_);
        if (lost_.load(std::memory_order_acquire)) {  // it is stored after all that it says
            std::rethrow_exception(broken_error());
        }
        if (closed_) {
            throw Closed("Pool: it was closed, and takes no more tasks");
        }
        outstanding_.fetch_add(1, std::memory_order_relaxed);  // as in take_slot
        if (!backlog_.empty() || free_.empty()) {
            backlog_.push_back({order.thunk,
                                order.function,
                                order.timed,
                                part,
                                task,
                                {order.arguments.begin(), order.arguments.end()}});
        } else {
            index = free_.back();
            free_.pop_back();
            entries_[index] = {task, part, next_serial()};
            // relaxed: it is free, so only we change it
            task->place_of(part) = shm::task_number(
                index, TaskControl{area_->task(index).control.load(std::memory_order_relaxed)}
                           .generation());
        }
    }
    need_handler();
    if (index != kNoTask) {
        try {
            hand_out(index, order, TaskControl::kReport);
        } catch (...) {
            {
                const std::scoped_lock lock(mutex_);
                entries_[index] = {};
                task->place_of(part) = AsyncCore::kGone;
            }
            give_back(std::span(&index, 1));
            throw;
        }
    }
    // relaxed: a race only moves a look
    const std::uint32_t count = submitted_.load(std::memory_order_relaxed) + 1;
    submitted_.store(count, std::memory_order_relaxed);  // as above
    if (index == kNoTask || count % kSubmissionsPerLook == 0) {
        try_collect();
    }
}

// Under mutex_. Tasks that waited in the owner's memory go into the table.
void PoolCore::refill() noexcept {
    while (!backlog_.empty() && !free_.empty()) {
        Waiting waiting = std::move(backlog_.front());
        backlog_.pop_front();
        if (waiting.task->place_of(waiting.part) == AsyncCore::kGone) {
            continue;  // cancelled
        }
        const std::uint32_t index = free_.back();
        free_.pop_back();
        entries_[index] = {waiting.task, waiting.part, next_serial()};
        // relaxed: it is free, so only we change it
        waiting.task->place_of(waiting.part) = shm::task_number(
            index,
            TaskControl{area_->task(index).control.load(std::memory_order_relaxed)}.generation());
        try {
            hand_out(index, {waiting.thunk, waiting.function, waiting.arguments, waiting.timed},
                     TaskControl::kReport);
        } catch (...) {  // no memory beside the table, or the queue is gone: this task fails
            entries_[index] = {};
            waiting.task->place_of(waiting.part) = AsyncCore::kGone;
            free_.push_back(index);
            waiting.task->part_ended(waiting.part, {std::current_exception(), {}, {}});
            count_down(1);
        }
    }
}

std::size_t PoolCore::try_collect() noexcept {
    const std::unique_lock lock(collecting_, std::try_to_lock);
    return lock.owns_lock() ? collect() : 0;
}

std::size_t PoolCore::collect_all() noexcept {
    const std::scoped_lock lock(collecting_);
    return collect();
}

// Under collecting_. What workers have reported; returns how many.
std::size_t PoolCore::collect() noexcept {
    std::size_t found = 0;
    for (std::uint32_t worker = 0; worker < area_->workers(); ++worker) {
        std::uint64_t& position = collected_[worker];
        for (std::uint32_t task = 0;
             found < kCollectMax && area_->read_report(worker, position, task); ++position) {
            ++found;
            collect_one(task);
        }
    }
    flush_freed();
    return found;
}

// Under collecting_. A report says no more than: look at this one.
void PoolCore::collect_one(std::uint32_t task) noexcept {
    const TaskControl seen{area_->task(task).control.load(std::memory_order_acquire)};  // A2
    if (!seen.is_settled() || !seen.is_reported()) {
        return;
    }
    // Without mutex_: the entry is the collector's once its task is settled.
    const Entry entry = std::exchange(entries_[task], {});
    if (entry.async) {
        entry.async->part_ended(entry.part, outcome_of(task, entry.serial));
    }
    recycle(task);
    freed_.push_back(task);
}

void PoolCore::flush_freed() noexcept {
    if (!freed_.empty()) {
        give_back(freed_);
        freed_.clear();
    }
}

bool PoolCore::cancel(AsyncCore& task) {
    std::vector<std::uint32_t> waiting;
    bool any = false;
    {
        const std::scoped_lock lock(mutex_);
        for (std::uint32_t part = 0; part < task.part_count(); ++part) {
            std::uint64_t& place = task.place_of(part);
            if (place == AsyncCore::kGone) {
                continue;
            }
            if (place == AsyncCore::kWaiting) {
                place = AsyncCore::kGone;
                waiting.push_back(part);
                continue;
            }
            auto& control = area_->task(static_cast<std::uint32_t>(place)).control;
            // relaxed: checked by the exchange
            TaskControl seen{control.load(std::memory_order_relaxed)};
            // A task that a death gave back has started before. seq_cst: with the worker's claim
            any |= seen.generation() == static_cast<std::uint32_t>(place >> 32U) &&
                   seen.state() == TaskState::queued && seen.deaths() == 0 &&
                   control.compare_exchange_strong(
                       seen.word, seen.with(TaskState::cancelled, 0).word,
                       std::memory_order_seq_cst, std::memory_order_relaxed);
        }
    }
    for (const std::uint32_t part : waiting) {
        task.part_ended(part, {cancelled_error(), {}, {}});
        count_down(1);
    }
    return any || !waiting.empty();
}

void PoolCore::close() {
    require_here();
    const std::scoped_lock lock(mutex_);
    closed_ = true;
}

void PoolCore::join() {
    require_here();
    {
        const std::scoped_lock lock(mutex_);
        if (!closed_) {
            throw Error("Pool: join() comes after close() or terminate()");
        }
    }
    {
        const std::scoped_lock lock(handler_mutex_);
        if (handler_ && handler_->get_id() == std::this_thread::get_id()) {
            throw Error("Pool: join() in a callback would wait for itself");
        }
    }
    shm::SpinBudget budget;
    static_cast<void>(shm::wait_until(
        idle_, options_.wait, budget, Deadline::never(),
        [this] {
            try_collect();
            // seq_cst: after the announcement (waiting.hpp: S2)
            return outstanding_.load(std::memory_order_seq_cst) == 0;
        },
        [] {}, [this] { return look_after_nursery(); }));
    end_nursery(PoolRequest::finish);
    stop_handler();
}

void PoolCore::terminate() noexcept {
    if (generation_ != shm::fork_generation) {
        return;
    }
    {
        const std::scoped_lock lock(mutex_);
        closed_ = true;
    }
    terminated_.store(true, std::memory_order_release);  // before `lost_`
    end_nursery(PoolRequest::terminate);
    lose_all();
    stop_handler();
}

void PoolCore::end_nursery(PoolRequest request) noexcept {
    const std::scoped_lock lock(ending_);
    if (nursery_ended_) {
        return;
    }
    area_->pool().request.store(request, std::memory_order_release);  // the nursery's request()
    if (request == PoolRequest::finish) {
        area_->queue().ring().close();
    }
    const std::uint64_t one = 1;
    static_cast<void>(::write(request_, &one, sizeof one) == sizeof one);
    while (::waitpid(nursery_, nullptr, 0) < 0 && errno == EINTR) {
    }
    if (nursery_pidfd_ >= 0) {  // SIGCHLD is ignored, or other code has waited
        pollfd ended{nursery_pidfd_, POLLIN, 0};
        while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
        }
    }
    nursery_ended_ = true;
}

shm::FutexWatch PoolCore::look_after_nursery() noexcept {
    constexpr shm::MemberId kNursery = 1;
    const bool rang = area_->members().has_ended(kNursery);
    const PoolState state = area_->pool().state.load(std::memory_order_acquire);  // A5
    pollfd ended{nursery_pidfd_, POLLIN, 0};
    if (rang || state != PoolState::running || ::poll(&ended, 1, 0) == 1) {
        lose_all();
        return {};
    }
    return area_->members().watch(kNursery);
}

void PoolCore::lose_all() noexcept {
    for (std::uint32_t task = 0; task < PoolArea::kTasks; ++task) {
        std::atomic<std::uint64_t>& control = area_->task(task).control;
        TaskControl seen{control.load(std::memory_order_acquire)};  // A2
        while (seen.state() == TaskState::queued || seen.state() == TaskState::running ||
               seen.state() == TaskState::cancelled) {
            if (control.compare_exchange_strong(seen.word, seen.with(TaskState::lost, 0).word,
                                                std::memory_order_seq_cst,
                                                std::memory_order_acquire)) {
                break;
            }
        }
        area_->task(task).settled.notify_all();
    }
    lost_.store(true, std::memory_order_seq_cst);  // after all that it says
    area_->pool().batches.notify_all();
    collect_lost();
    area_->pool().results.notify_all();
    idle_.notify_all();
}

// Everything that was to be reported, reported or not.
void PoolCore::collect_lost() noexcept {
    const std::scoped_lock lock(collecting_);
    std::deque<Waiting> waiting;
    {
        const std::scoped_lock tasks(mutex_);
        waiting.swap(backlog_);
        std::erase_if(waiting, [](const Waiting& one) {
            return one.task->place_of(one.part) == AsyncCore::kGone;
        });
        for (const Waiting& one : waiting) {
            one.task->place_of(one.part) = AsyncCore::kGone;
        }
    }
    for (std::uint32_t task = 0; task < PoolArea::kTasks; ++task) {
        collect_one(task);
    }
    flush_freed();
    for (const Waiting& one : waiting) {
        one.task->part_ended(one.part, {broken_error(), {}, {}});
        count_down(1);
    }
}

std::exception_ptr PoolCore::broken_error() const {
    if (terminated_.load(std::memory_order_acquire)) {  // a flag
        return std::make_exception_ptr(Closed("Pool: it was terminated"));
    }
    if (area_->pool().state.load(std::memory_order_acquire) == PoolState::broken) {  // A5
        char text[shm::PoolLayout::kTextBytes];
        std::memcpy(text, area_->pool().text, sizeof text);
        text[sizeof text - 1] = '\0';
        return std::make_exception_ptr(Error(std::string("Pool: ") + text));
    }
    return std::make_exception_ptr(
        Error("Pool: its nursery (pid " + std::to_string(nursery_) + ") was killed"));
}

std::vector<WorkerInfo> PoolCore::workers() const {
    require_here();
    std::vector<WorkerInfo> infos;
    for (std::uint32_t index = 0; index < area_->workers(); ++index) {
        const WorkerLayout& line = area_->worker(index);
        WorkerInfo info;
        // The pid first: who sees a successor's sees a phase of the successor's.
        info.pid = line.pid.load(std::memory_order_acquire);  // 0 while there is none
        if (line.phase.load(std::memory_order_acquire) < WorkerPhase::bound) {  // A4
            info.pid = 0;
        }
        info.tasks_done = line.tasks_done.load(std::memory_order_relaxed);  // a number for people
        info.binding.node = line.node.load(std::memory_order_relaxed);      // as the CPUs
        for (std::size_t word = 0; word < WorkerLayout::kCpuWords; ++word) {
            // relaxed: the constructor has seen them published; a successor writes the same
            std::uint64_t bits = line.cpus[word].load(std::memory_order_relaxed);
            for (; bits != 0; bits &= bits - 1) {
                info.binding.cpus.push_back(static_cast<unsigned>(
                    word * 64 + static_cast<std::size_t>(std::countr_zero(bits))));
            }
        }
        infos.push_back(std::move(info));
    }
    return infos;
}

void PoolCore::make_handler() {
    const std::scoped_lock lock(handler_mutex_);
    // relaxed: stored under this mutex
    if (!handler_ && !stop_.load(std::memory_order_relaxed)) {
        // The owner's signals are not for this thread.
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            handler_ =
                std::make_unique<std::thread>([self = shared_from_this()] { self->handle(); });
        } catch (...) {
            ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
            throw;
        }
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        handler_is_there_.store(true, std::memory_order_relaxed);  // as in need_handler
    }
}

void PoolCore::handle() noexcept {
    is_handler = true;
    constexpr timespec kNap{0, 200'000};
    shm::SpinBudget budget;
    for (;;) {
        std::size_t found = collect_all();
        const bool called = run_callbacks();
        if (stop_.load(std::memory_order_acquire) && !called) {  // after what it was to do
            return;
        }
        if (found >= kStream) {
            // In a stream nobody has to wake us: a worker's time is worth more.
            ::nanosleep(&kNap, nullptr);
            continue;
        }
        if (found != 0 || called) {
            continue;
        }
        static_cast<void>(shm::wait_until(
            area_->pool().results, Wait::park, budget, Deadline::never(),
            [this, &found] {
                // Not try_collect(): who holds the lock may have looked before the last report.
                found = collect_all();
                // seq_cst: after the announcement (waiting.hpp: S2)
                return found != 0 || posted_.load(std::memory_order_seq_cst) != 0 ||
                       stop_.load(std::memory_order_seq_cst);
            },
            [] {}, [this] { return look_after_nursery(); }));
    }
}

void PoolCore::post(std::shared_ptr<AsyncCore> task) {
    outstanding_.fetch_add(1, std::memory_order_relaxed);  // until its callbacks have run
    {
        const std::scoped_lock lock(handler_mutex_);
        settled_.push_back(std::move(task));
        posted_.fetch_add(1, std::memory_order_seq_cst);  // before the look at the sleepers
    }
    area_->pool().results.notify_all();
}

bool PoolCore::run_callbacks() noexcept {
    bool any = false;
    for (;;) {
        std::shared_ptr<AsyncCore> task;
        {
            const std::scoped_lock lock(handler_mutex_);
            if (settled_.empty()) {
                return any;
            }
            task = std::move(settled_.front());
            settled_.pop_front();
            posted_.fetch_sub(1, std::memory_order_relaxed);  // only compared with 0
        }
        any = true;
        std::vector<std::function<void()>> callbacks;
        {
            const std::scoped_lock lock(task->mutex_);
            callbacks.swap(task->callbacks_);
        }
        for (const std::function<void()>& callback : callbacks) {
            try {
                callback();
            } catch (const std::exception& error) {
                std::fprintf(stderr, "Pool: a callback threw: %s\n", error.what());
            } catch (...) {
                std::fprintf(stderr, "Pool: a callback threw what is not a std::exception\n");
            }
        }
        count_down(1);
    }
}

void PoolCore::stop_handler() noexcept {
    std::unique_ptr<std::thread> handler;
    {
        const std::scoped_lock lock(handler_mutex_);
        stop_.store(true, std::memory_order_seq_cst);  // before the look at the sleepers
        handler = std::move(handler_);
    }
    if (!handler) {
        return;
    }
    area_->pool().results.notify_all();
    if (handler->get_id() == std::this_thread::get_id()) {
        handler->detach();  // terminate() in a callback: the thread ends after it
        return;
    }
    handler->join();
}

TaskWindow::TaskWindow(std::shared_ptr<PoolCore> pool, std::size_t wanted)
    : pool_(std::move(pool)) {
    pool_->require_open();
    const auto take = [&] {
        const std::scoped_lock lock(pool_->mutex_);
        const std::size_t count = std::min(wanted, pool_->free_.size());
        if (count == 0 || !pool_->backlog_.empty()) {
            return pool_->lost_.load(std::memory_order_acquire);  // after all that it says
        }
        for (std::size_t index = 0; index < count; ++index) {
            places_.push_back({pool_->free_.back(), false, 0});
            pool_->free_.pop_back();
        }
        // relaxed: as in take_slot
        pool_->outstanding_.fetch_add(count, std::memory_order_relaxed);
        return true;
    };
    pool_->slot_waiters_.fetch_add(1, std::memory_order_seq_cst);  // before the look at the places
    static_cast<void>(shm::wait_until(
        pool_->area_->pool().results, pool_->options_.wait, spin_, Deadline::never(),
        [&] {
            if (take()) {
                return true;
            }
            pool_->try_collect();
            return false;
        },
        [] {}, [this] { return pool_->look_after_nursery(); }));
    pool_->slot_waiters_.fetch_sub(1, std::memory_order_relaxed);  // a look in vain does no harm
    if (places_.empty()) {
        std::rethrow_exception(pool_->broken_error());
    }
}

TaskWindow::~TaskWindow() {
    if (pool_->generation_ != shm::fork_generation) {
        return;
    }
    std::vector<std::uint32_t> freed;
    for (const Place& place : places_) {
        if (place.in_use) {
            pool_->abandon(place.task, freed);
        } else {
            freed.push_back(place.task);
        }
    }
    pool_->give_back(freed);
    if (freed.size() != places_.size()) {
        try {
            pool_->need_handler();  // somebody has to collect what ends by itself
        } catch (const std::system_error&) {
            // Else whoever comes by does.
        }
    }
}

void TaskWindow::start(std::size_t place, const TaskOrder& order) {
    Place& here = places_[place];
    here.serial = pool_->next_serial();
    pool_->hand_out(here.task, order, 0);
    here.in_use = true;
    // acquire: it is stored after all that it says
    if (pool_->lost_.load(std::memory_order_acquire)) [[unlikely]] {
        pool_->lose_all();  // it came after the others were given up
    }
}

bool TaskWindow::settled(std::size_t place) const noexcept {
    return pool_->is_settled(places_[place].task);
}

bool TaskWindow::any_settled() const noexcept {
    return std::any_of(places_.begin(), places_.end(), [this](const Place& place) {
        return place.in_use && pool_->is_settled(place.task);
    });
}

void TaskWindow::wait(std::size_t place) {
    pool_->wait_settled(places_[place].task);
}

void TaskWindow::wait_any() {
    if (pool_->area_->spin(pool_->options_.wait, [this] { return any_settled(); })) {
        return;
    }
    static_cast<void>(shm::wait_until(
        pool_->area_->pool().batches, pool_->options_.wait, spin_, Deadline::never(),
        [this] { return any_settled(); }, [] {}, [this] { return pool_->look_after_nursery(); }));
}

TaskOutcome TaskWindow::outcome_of(std::size_t place) {
    return pool_->outcome_of(places_[place].task, places_[place].serial);
}

void TaskWindow::recycle(std::size_t place) noexcept {
    places_[place].in_use = false;
    pool_->recycle(places_[place].task);
}

}  // namespace sluice::detail
