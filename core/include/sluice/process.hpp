// Process: a function that runs in a process of its own, as Python's multiprocessing.Process.
//
//     sluice::Process child(greet, std::string("user_0"));
//     child.start();
//     child.join();
//
// The child is a fork: it sees what this process had at start(), and what either changes afterwards
// the other does not see; share by Queue, Pipe and their family. A fork beside other threads is
// allowed, but in the child only the calling thread exists, and a mutex that another one held stays
// locked for ever: make processes before threads.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <sluice/error.hpp>
#include <sluice/hand_over.hpp>
#include <sluice/placement.hpp>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace sluice {

/// fork: the child is a copy of this process. spawn: a fresh image of this program; not there yet.
enum class StartMethod { fork, spawn };

/// How a Process is made.
///
/// name     For people; empty: "Process-1", "Process-2", ..., a child's children "Process-1:1".
/// daemon   Terminated instead of waited for when its Process is destroyed or this process exits.
///          It may not start children itself: they would be left behind.
/// binding  Where the child runs, applied before its target; a child that may not run there
///          exits 1.
struct ProcessOptions {
    std::string name{};
    bool daemon{};
    StartMethod start_method{};
    Binding binding{};
};

/// The exit code of a child whose real one is lost: SIGCHLD is ignored, or other code waited.
inline constexpr int kExitCodeUnknown = 255;

class Process;

namespace detail {

class ProcessState;

/// A target with its arguments, of any types.
class Target {
 public:
    Target() = default;
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;
    virtual ~Target() = default;
    virtual void prepare() = 0;
    virtual void cancel() noexcept = 0;
    virtual void finish(pid_t child) noexcept = 0;
    virtual void adopt() = 0;
    virtual void call() = 0;
};

template <class F, class... Args>
class BoundTarget final : public Target {
 public:
    explicit BoundTarget(F target, Args... arguments)
        : target_(std::move(target)), arguments_(std::move(arguments)...) {}

    void prepare() override { prepare_hand_over(arguments_); }
    void cancel() noexcept override { cancel_hand_over(arguments_); }
    void finish(pid_t child) noexcept override { finish_hand_over(arguments_, child); }
    void adopt() override { detail::adopt(arguments_); }
    void call() override {
        if constexpr (std::invocable<F, Args...>) {
            std::apply(
                [this](Args&... arguments) {
                    std::invoke(std::move(target_), std::move(arguments)...);
                },
                arguments_);
        } else {  // the target takes an argument by reference: the child's own copy
            std::apply([this](Args&... arguments) { std::invoke(target_, arguments...); },
                       arguments_);
        }
    }

 private:
    F target_;
    std::tuple<Args...> arguments_;
};

template <class F, class... Args>
concept ProcessTarget = !std::derived_from<F, Process> && !std::same_as<F, ProcessOptions> &&
                        (std::invocable<F, Args...> || std::invocable<F&, Args&...>);

/// Any duration as nanoseconds, without overflow: at most a hundred years.
template <class Rep, class Period>
constexpr std::chrono::nanoseconds bounded_nanoseconds(
    std::chrono::duration<Rep, Period> duration) {
    constexpr std::chrono::nanoseconds kLongest = std::chrono::hours(24 * 365 * 100);
    const std::chrono::duration<double, std::nano> wanted = duration;
    if (!(wanted < std::chrono::duration<double, std::nano>(kLongest))) {
        return kLongest;
    }
    return wanted.count() <= 0 ? std::chrono::nanoseconds::zero()
                               : std::chrono::duration_cast<std::chrono::nanoseconds>(duration);
}

}  // namespace detail

/// Another handle on a process: what active_children(), current_process() and parent_process()
/// give. The operations are those of Process; destroying it neither joins nor ends anything.
///
/// Errors: NotPermitted, on the current process and the parent, for what only a maker can do (all
/// but pid, name, daemon and is_alive).
class ProcessRef {
 public:
    [[nodiscard]] pid_t pid() const;
    [[nodiscard]] const std::string& name() const noexcept;
    [[nodiscard]] bool daemon() const noexcept;
    [[nodiscard]] bool is_alive() const;
    [[nodiscard]] std::optional<int> exitcode() const;
    [[nodiscard]] int sentinel() const;
    void join() const;
    template <class Rep, class Period>
    [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) const {
        return join_for_ns(detail::bounded_nanoseconds(timeout));
    }
    void terminate() const;
    void kill() const;

 private:
    friend class Process;
    friend std::vector<ProcessRef> active_children();
    friend ProcessRef current_process();
    friend std::optional<ProcessRef> parent_process();
    explicit ProcessRef(std::shared_ptr<detail::ProcessState> state) : state_(std::move(state)) {}
    [[nodiscard]] bool join_for_ns(std::chrono::nanoseconds timeout) const;

    std::shared_ptr<detail::ProcessState> state_;
};

/// A child process. Make it with a target and its arguments, or derive and override run().
///
/// The arguments are copied (or moved) into the Process, and start() passes them on; a Connection
/// among them, or in a vector, optional, tuple, pair or array among them, then belongs to the
/// child. What a lambda captures or a subclass holds is copied with the process, but not handed
/// over.
///
/// The child ends when its target returns: the arguments are destroyed, its own children are seen
/// to as at any exit, stdout, stderr and the standard C++ streams are flushed, and it leaves with
/// _exit(0): no atexit function, no static destructor, no other FILE is touched, because all these
/// are copies of the parent's. A target that throws has "Process NAME (pid N): exception: WHAT"
/// printed to stderr and exits 1. It may choose its exit code with _exit(n).
///
/// The destructor joins, so no zombie is left; a daemon is terminated first. At the normal exit of
/// this process (exit, return from main) daemons still running are terminated and all children are
/// joined. In any other process than the one that made it, a Process does nothing when destroyed.
///
/// Callers: any thread of the process that made it. One handle may be used by several threads,
/// except that moving, assigning and destroying need it alone.
/// Errors: Error for what comes too early or twice, or on a moved-from Process. NotPermitted in a
/// process that did not make it, naming both pids (pid, name, daemon and authkey work everywhere).
/// Crash: its maker's death leaves the child running.
/// Cost: a fork, two descriptors for a moment, one (the sentinel) until it is destroyed.
/// Source: docs.python.org/3/library/multiprocessing.html; fork(2), pidfd_open(2), waitid(2).
class Process {
 public:
    /// Runs target(args...), ignoring what it returns.
    template <class F, class... Args>
    requires detail::ProcessTarget<F, Args...>
    explicit Process(F target, Args... args)
        : Process(ProcessOptions{}, std::move(target), std::move(args)...) {}

    template <class F, class... Args>
    requires detail::ProcessTarget<F, Args...> Process(ProcessOptions options, F target,
                                                       Args... args)
        : Process(std::move(options)) {
        target_ = std::make_unique<detail::BoundTarget<F, Args...>>(std::move(target),
                                                                    std::move(args)...);
    }

    /// For subclasses that override run().
    explicit Process(ProcessOptions options);

    Process(Process&& other) noexcept;
    /// Ends what was held here as the destructor does.
    Process& operator=(Process&& other) noexcept;
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    /// Blocks: until the child has ended.
    virtual ~Process();

    /// Makes the child. stdout, stderr and the standard C++ streams are flushed first, so that
    /// nothing is printed twice.
    /// Errors: Error, if it was started before or there is nothing to run; std::system_error, if
    /// the system gives no process or descriptor: then it may be tried again. NotPermitted for a
    /// daemon's child and for StartMethod::spawn. What an argument throws when it is handed over.
    void start();

    /// Waits until the child has ended.
    /// Blocks: until then, whatever signals arrive.
    void join();

    /// The same, but not longer than `timeout`; true if it has ended.
    template <class Rep, class Period>
    [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) {
        return join_for_ns(detail::bounded_nanoseconds(timeout));
    }

    /// Sends SIGTERM; nothing happens if it has ended. The signal cannot hit another process.
    void terminate();

    /// Sends SIGKILL; as terminate().
    void kill();

    /// Whether it was started and has not ended.
    [[nodiscard]] bool is_alive() const;

    /// What it ended with: its exit code, or -N if signal N killed it; none before that. If SIGCHLD
    /// is ignored or other code has waited for it, the code is lost: kExitCodeUnknown.
    [[nodiscard]] std::optional<int> exitcode() const;

    /// The child's pid; 0 before start().
    [[nodiscard]] pid_t pid() const;

    [[nodiscard]] const std::string& name() const;
    [[nodiscard]] bool daemon() const;

    /// 32 random bytes that this program's first process chose and all its children inherit.
    [[nodiscard]] std::span<const std::byte> authkey() const;

    /// A descriptor that poll, select and epoll find readable when the child has ended. It stays
    /// ours and valid until the Process is destroyed.
    [[nodiscard]] int sentinel() const;

 protected:
    /// What the child does; calls the target.
    virtual void run();

 private:
    [[nodiscard]] detail::ProcessState& state() const;
    [[nodiscard]] bool join_for_ns(std::chrono::nanoseconds timeout);
    void require_startable() const;
    [[noreturn]] void run_child() noexcept;
    void end() noexcept;

    std::shared_ptr<detail::ProcessState> state_;
    std::unique_ptr<detail::Target> target_;
};

/// The children of this process that Process started and that have not ended. Those that have are
/// waited for on the way, so that no zombie stays. Callers: any thread.
std::vector<ProcessRef> active_children();

/// This process: "MainProcess", or the name its parent's Process gave it.
ProcessRef current_process();

/// The process that started this one; none in the first.
std::optional<ProcessRef> parent_process();

}  // namespace sluice
