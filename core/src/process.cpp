// Starting processes by fork, and what can be done with them.
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <sluice/process.hpp>
#include <system_error>
#include <typeinfo>

#include "family.hpp"
#include "life_line.hpp"
#include "process_state.hpp"
#include "sluice/detail/barrier_core.hpp"
#include "spawn.hpp"

namespace sluice {
namespace {

using detail::Descriptor;
using detail::family;
using detail::ProcessState;

[[noreturn]] void throw_errno(int error, const std::string& what) {
    throw std::system_error(error, std::generic_category(), what);
}

std::shared_ptr<ProcessState> new_state(ProcessOptions options) {
    std::string identity = detail::next_identity();
    if (options.name.empty()) {
        options.name = "Process-" + identity;
    }
    return std::make_shared<ProcessState>(std::move(options), std::move(identity), family().birth);
}

/// Both a reserve and a spare: made before the fork, it proves that a descriptor can be had, and it
/// is the sentinel (readable at once) of a child that ended and was reaped before it could be given
/// one.
Descriptor open_spare_sentinel(const std::string& name) {
    Descriptor spare(::eventfd(1, EFD_CLOEXEC));
    if (spare.get() < 0) {
        throw_errno(errno, "Process '" + name + "': eventfd");
    }
    return spare;
}

/// After the fork, in the parent.
void adopt_child(ProcessState& state, pid_t pid, Descriptor spare) {
    Descriptor sentinel = detail::open_pidfd(pid);
    if (sentinel.get() < 0 && errno == EMFILE) {
        spare.close();
        sentinel = detail::open_pidfd(pid);
    }
    if (sentinel.get() >= 0) {
        state.set_started(pid, std::move(sentinel), std::nullopt);
        return;
    }
    const int error = errno;
    if (error == ESRCH) {  // SIGCHLD is ignored, so the kernel reaped it
        state.set_started(pid, std::move(spare), kExitCodeUnknown);
        return;
    }
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    throw_errno(error, "Process '" + state.name() + "': pidfd_open");
}

}  // namespace

pid_t ProcessRef::pid() const {
    return state_->pid();
}
const std::string& ProcessRef::name() const noexcept {
    return state_->name();
}
bool ProcessRef::daemon() const noexcept {
    return state_->options().daemon;
}
bool ProcessRef::is_alive() const {
    return state_->is_alive();
}
std::optional<int> ProcessRef::exitcode() const {
    return state_->exitcode();
}

int ProcessRef::sentinel() const {
    state_->require_started("watch");
    return state_->sentinel();
}

void ProcessRef::join() const {
    state_->require_started("join");
    state_->wait(std::nullopt);
}

bool ProcessRef::join_for_ns(std::chrono::nanoseconds timeout) const {
    state_->require_started("join");
    return state_->wait_for(timeout);
}

void ProcessRef::terminate() const {
    state_->require_started("terminate");
    state_->send(SIGTERM);
}

void ProcessRef::kill() const {
    state_->require_started("kill");
    state_->send(SIGKILL);
}

Process::Process(ProcessOptions options) : state_(new_state(std::move(options))) {}

Process::Process(Process&& other) noexcept = default;

Process& Process::operator=(Process&& other) noexcept {
    if (this != &other) {
        end();
        state_ = std::move(other.state_);
        target_ = std::move(other.target_);
    }
    return *this;
}

Process::~Process() {
    end();
}

void Process::end() noexcept {
    if (state_) {
        state_->end();
    }
}

ProcessState& Process::state() const {
    if (!state_) {
        throw Error("Process: this one was moved from");
    }
    return *state_;
}

void Process::require_startable() const {
    const std::string who = "Process '" + state().name() + "'";
    if (!target_ && typeid(*this) == typeid(Process)) {
        throw Error(who + ": nothing to run; give it a target, or derive and override run()");
    }
    if (state().options().start_method == StartMethod::spawn) {
        if (typeid(*this) != typeid(Process)) {
            throw NotPermitted(who +
                               ": a subclass cannot be spawned, a fresh image has no copy of it; "
                               "give a Process a function as its target, or use StartMethod::fork");
        }
        detail::require_spawn_main(who);
    }
    if (const ProcessState& self = *family().self; self.options().daemon) {
        throw NotPermitted(who + ": the daemon '" + self.name() +
                           "' may not have children, they would be left when it is terminated");
    }
}

void Process::start() {
    ProcessState& state = this->state();
    state.require_maker("start");
    state.begin_start();
    bool prepared = false;
    try {
        require_startable();
        detail::reap_children();
        detail::remember_child(state_);  // before the fork: nothing may fail once the child runs
        Descriptor spare = open_spare_sentinel(state.name());
        if (target_) {
            target_->prepare();
            prepared = true;
        }
        const bool spawned = state.options().start_method == StartMethod::spawn;
        const pid_t pid = spawned ? detail::spawn_child(state, *target_) : fork_child(spare);
        adopt_child(state, pid, std::move(spare));
        if (target_) {
            target_->finish(pid);
        }
    } catch (...) {
        if (prepared) {
            target_->cancel();
        }
        state.abandon_start();
        detail::forget_child(state);
        throw;
    }
    target_.reset();  // the child has its own; what these hold (ends, memory) is let go
}

pid_t Process::fork_child(detail::Descriptor& spare) {
    const ProcessState& state = *state_;
    std::optional<detail::LifeLinePassed> passed;
    int line = -1;
    if (state.options().daemon) {
        line = detail::life_line();
        passed.emplace();
    }
    detail::flush_standard_streams();
    const pid_t pid = ::fork();
    if (pid == 0) {
        spare.close();
        run_child(line);
    }
    if (pid < 0) {
        throw_errno(errno, "Process '" + state.name() + "': fork");
    }
    return pid;
}

void Process::run_child(int line) noexcept {
    int code = 0;
    try {
        if (line >= 0) {
            detail::hold_life_line(line);  // first: until then nothing ends it with its parent
        }
        detail::become(state_);
        bind_this_thread(state_->options().binding);
        if (target_) {
            target_->adopt();
        }
        run();
    } catch (...) {
        code = 1;
        detail::print_exception(state_->name());
    }
    if (code == 0) {
        detail::BarrierCore::leave_all();
    }
    if (target_) {
        // Destroyed, not freed: the memory goes with the process, and to free it is to write to it.
        std::destroy_at(target_.release());
    }
    detail::end_children();
    detail::flush_standard_streams();
    ::_exit(code);
}

void Process::run() {
    if (!target_) {
        throw Error("nothing to run: the class has no run() of its own");
    }
    target_->call();
}

void Process::join() {
    state().require_started("join");
    state().wait(std::nullopt);
}

bool Process::join_for_ns(std::chrono::nanoseconds timeout) {
    state().require_started("join");
    return state().wait_for(timeout);
}

void Process::terminate() {
    state().require_started("terminate");
    state().send(SIGTERM);
}

void Process::kill() {
    state().require_started("kill");
    state().send(SIGKILL);
}

bool Process::is_alive() const {
    return state().is_alive();
}
std::optional<int> Process::exitcode() const {
    return state().exitcode();
}
pid_t Process::pid() const {
    return state().pid();
}
const std::string& Process::name() const {
    return state().name();
}
bool Process::daemon() const {
    return state().options().daemon;
}

std::span<const std::byte> Process::authkey() const {
    (void)state();
    return family().authkey;
}

int Process::sentinel() const {
    state().require_started("watch");
    return state().sentinel();
}

std::vector<ProcessRef> active_children() {
    std::vector<ProcessRef> active;
    for (std::shared_ptr<ProcessState>& child : detail::children_now()) {
        if (!child->reap()) {
            active.push_back(ProcessRef(std::move(child)));
        }
    }
    return active;
}

ProcessRef current_process() {
    return ProcessRef(family().self);
}

std::optional<ProcessRef> parent_process() {
    if (const std::shared_ptr<ProcessState>& parent = family().parent) {
        return ProcessRef(parent);
    }
    return std::nullopt;
}

}  // namespace sluice
