// Process: a function that runs in a process of its own, as Python's multiprocessing.Process.
//
//     sluice::Process child(greet, std::string("user_0"));
//     child.start();
//     child.join();
//
// The child is a fork: it sees what this process had at start(), and what either changes afterwards
// the other does not see; share by Queue, Pipe and their family. A fork beside other threads is
// allowed, but in the child only the calling thread exists, and a mutex that another one held stays
// locked for ever: make processes before threads, or spawn them.
//
// StartMethod::spawn starts a fresh image of this program instead, without this one's threads,
// locks and heap. It needs sluice::spawn_main(argc, argv) as the first line of main.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <sluice/detail/target.hpp>
#include <sluice/error.hpp>
#include <sluice/placement.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sluice {

/// fork: the child is a copy of this process. spawn: a fresh image of this program runs the target:
/// see spawn_main().
enum class StartMethod { fork, spawn };

/// How a Process is made.
///
/// name     For people; empty: "Process-1", "Process-2", ..., a child's children "Process-1:1".
/// daemon   Terminated instead of waited for when its Process is destroyed or this process exits;
///          killed when this process ends in any other way, SIGKILL included, or executes another
///          program. It may not start children itself: they would be left behind.
/// binding  Where the child runs, applied before its target; a child that may not run there
///          exits 1.
struct ProcessOptions {
    std::string name{};
    bool daemon{};
    StartMethod start_method{};  ///< a copy of this process, or a fresh image
    Binding binding{};
};

/// The exit code of a child whose real one is lost: SIGCHLD is ignored, or other code waited.
inline constexpr int kExitCodeUnknown = 255;

class Process;

namespace detail {

class Descriptor;
class ProcessState;

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
    /// As of Process.
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
/// Crash: its maker's death leaves the child running, as in Python; a daemon is killed by the
/// kernel, wherever either of them stood.
/// Cost: a fork, two descriptors for a moment, one (the sentinel) until it is destroyed. The first
/// daemon of a process takes two more, kept for good.
/// Source: docs.python.org/3/library/multiprocessing.html; fork(2), pidfd_open(2), waitid(2).
class Process {
 public:
    /// Runs target(args...), ignoring what it returns.
    template <class F, class... Args, bool kTravels = detail::can_spawn<F, Args...>>
    requires detail::ProcessTarget<F, Args...>
    explicit Process(F target, Args... args)
        : Process(ProcessOptions{}, std::move(target), std::move(args)...) {}

    /// The same, by these options.
    template <class F, class... Args, bool kTravels = detail::can_spawn<F, Args...>>
    requires detail::ProcessTarget<F, Args...> Process(ProcessOptions options, F target,
                                                       Args... args)
        : Process(std::move(options)) {
        target_ = std::make_unique<detail::BoundTarget<kTravels, F, Args...>>(std::move(target),
                                                                              std::move(args)...);
    }

    /// For subclasses that override run().
    explicit Process(ProcessOptions options);

    /// Takes over what the other one made.
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
    /// daemon's child, and for what cannot be spawned: see spawn_main(). What an argument throws
    /// when it is handed over.
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

    /// As it was made.
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
    [[nodiscard]] pid_t fork_child(detail::Descriptor& spare);
    [[noreturn]] void run_child(int line) noexcept;
    void end() noexcept;

    std::shared_ptr<detail::ProcessState> state_;
    std::unique_ptr<detail::Target> target_;
};

/// The children of this process that Process started and that have not ended. Those that have are
/// waited for on the way, so that no zombie stays. Callers: any thread.
std::vector<ProcessRef> active_children();

/// To be the first line of main in a program that uses StartMethod::spawn (Python's
/// freeze_support). In a process that start() spawned it runs the target and does not return; in
/// any other it does nothing.
///
/// The child is this program anew: what main would have done before start() has not been done, and
/// static objects are initialised again. The target is found by its offset in the program or in a
/// library that it is linked to, and only in the same build of it. It is a function, a lambda
/// without captures, or a function object whose members obey the rule for values; not a function
/// with captures, a pointer to a member, or a subclass's run(). Its arguments are values that may
/// travel through a Queue<T>; handles (Queue, Lock, Event and their like, Connection,
/// ByteConnection), anonymous ones included, whose descriptors are passed; and vectors, optionals,
/// tuples, pairs and arrays of these. Connections are handed over as by fork.
///
/// The child ends as one made by fork, but flushes every FILE: all of them are its own.
/// Errors: start() throws NotPermitted where main did not call this, or where the target or an
/// argument cannot travel. Ignored in a set-user-ID program: whoever runs it chooses argv.
void spawn_main(int argc, char** argv);

/// This process: "MainProcess", or the name its parent's Process gave it.
ProcessRef current_process();

/// The process that started this one; none in the first.
std::optional<ProcessRef> parent_process();

}  // namespace sluice
