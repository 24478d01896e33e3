// Starting processes, and what a process knows of itself and its children.
//
// Ordering ledger
//   R1 publish a Registry -> A1 : other threads see it filled (else: members not yet written)
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <sluice/process.hpp>
#include <system_error>
#include <typeinfo>

#include "process_state.hpp"
#include "sluice/detail/barrier_core.hpp"

namespace sluice {
namespace {

[[noreturn]] void throw_errno(int error, const std::string& what) {
    throw std::system_error(error, std::generic_category(), what);
}

/// The streams that nearly every program shares with its children. Not all that stdio has open:
/// flushing one that another thread waits to read from would wait with it.
void flush_standard_streams() {
    for (std::ostream* stream : {&std::cout, &std::cerr, &std::clog}) {
        try {
            stream->flush();
        } catch (...) {  // exceptions() was set; whoever writes next will be told
        }
    }
    std::fflush(stdout);
    std::fflush(stderr);
}

using detail::Birth;
using detail::Descriptor;
using detail::ProcessState;
using AuthKey = std::array<std::byte, 32>;

/// What a process knows of itself and its children. Each process makes its own on first use and
/// never looks into the mutable part of one it inherited, whose mutex a thread of the parent may
/// have held.
struct Registry {
    Birth birth{};
    std::shared_ptr<ProcessState> self{};
    std::shared_ptr<ProcessState> parent{};
    AuthKey authkey{};
    const Registry* inherited{};  // not freed: a leak checker finds it here

    std::mutex mutex{};  // guards what follows
    unsigned made_count{};
    std::vector<std::shared_ptr<ProcessState>> children{};
};

constinit std::atomic<Registry*> current_registry{nullptr};

AuthKey random_key() {
    AuthKey key{};
    for (std::size_t filled = 0; filled < key.size();) {
        const ssize_t got = ::getrandom(key.data() + filled, key.size() - filled, 0);
        if (got > 0) {
            filled += static_cast<std::size_t>(got);
        } else if (errno != EINTR) {
            throw_errno(errno, "authkey: getrandom");
        }
    }
    return key;
}

/// A registry for this process: `child` is what its parent's Process says of it; null for the first
/// process, and for one that other code has forked, which keeps the name it inherits.
std::unique_ptr<Registry> new_registry(const Registry* inherited, const ProcessState* child) {
    auto registry = std::make_unique<Registry>();
    registry->birth = detail::this_birth();
    registry->inherited = inherited;
    const pid_t here = registry->birth.pid;
    if (inherited == nullptr) {
        registry->self = std::make_shared<ProcessState>("MainProcess", "", false, here);
        registry->authkey = random_key();
        return registry;
    }
    const ProcessState& parent = *inherited->self;
    const ProcessState& source = child == nullptr ? parent : *child;
    registry->self = std::make_shared<ProcessState>(source.name(), source.identity(),
                                                    source.options().daemon, here);
    registry->parent = std::make_shared<ProcessState>(
        parent.name(), parent.identity(), parent.options().daemon, inherited->birth.pid);
    registry->authkey = inherited->authkey;
    return registry;
}

Registry& registry() {
    Registry* seen = current_registry.load(std::memory_order_acquire);  // A1
    if (seen != nullptr && seen->birth == detail::this_birth()) {
        return *seen;
    }
    std::unique_ptr<Registry> fresh = new_registry(seen, nullptr);
    if (current_registry.compare_exchange_strong(seen, fresh.get(),
                                                 std::memory_order_acq_rel,     // R1 A1
                                                 std::memory_order_acquire)) {  // A1
        return *fresh.release();
    }
    return *seen;  // another thread was first
}

/// In a new child: forgets the parent's children and takes the name that was chosen for it.
void become(const ProcessState& child) {
    std::unique_ptr<Registry> fresh =
        new_registry(current_registry.load(std::memory_order_acquire), &child);  // A1
    current_registry.store(fresh.release(), std::memory_order_release);          // R1
}

/// The children that were started and are not known to have ended.
std::vector<std::shared_ptr<ProcessState>> children_now() {
    Registry& here = registry();
    std::vector<std::shared_ptr<ProcessState>> children;
    {
        const std::scoped_lock lock(here.mutex);
        children = here.children;
    }
    std::erase_if(children, [](const auto& child) { return !child->started(); });
    return children;
}

/// What every process does before it exits, as Python: daemons are ended, all children waited for.
void end_children() noexcept {
    try {
        const std::vector<std::shared_ptr<ProcessState>> children = children_now();
        for (const std::shared_ptr<ProcessState>& child : children) {
            if (child->options().daemon) {
                child->send(SIGTERM);  // all first, so that they end side by side
            }
        }
        for (const std::shared_ptr<ProcessState>& child : children) {
            child->end();
        }
    } catch (...) {  // out of memory at exit: the children stay, as after a crash
    }
}

void remember_child(const std::shared_ptr<ProcessState>& child) {
    [[maybe_unused]] static const int kAtExit = std::atexit(end_children);
    Registry& here = registry();
    const std::scoped_lock lock(here.mutex);
    here.children.push_back(child);
}

std::shared_ptr<ProcessState> new_state(ProcessOptions options) {
    Registry& here = registry();
    std::string identity = here.self->identity();
    {
        const std::scoped_lock lock(here.mutex);
        identity += (identity.empty() ? "" : ":") + std::to_string(++here.made_count);
    }
    if (options.name.empty()) {
        options.name = "Process-" + identity;
    }
    return std::make_shared<ProcessState>(std::move(options), std::move(identity), here.birth);
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

namespace detail {

void forget_child(const ProcessState& child) {
    Registry& here = registry();
    const std::scoped_lock lock(here.mutex);
    std::erase_if(here.children, [&child](const auto& known) { return known.get() == &child; });
}

bool is_parent(const ProcessState& process) {
    return registry().parent.get() == &process;
}

}  // namespace detail

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
        throw NotPermitted(who +
                           ": StartMethod::spawn is not available yet; use StartMethod::fork");
    }
    if (const ProcessState& self = *registry().self; self.options().daemon) {
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
        remember_child(state_);  // before the fork: nothing may fail once the child runs
        Descriptor spare = open_spare_sentinel(state.name());
        if (target_) {
            target_->prepare();
            prepared = true;
        }
        flush_standard_streams();
        const pid_t pid = ::fork();
        if (pid == 0) {
            spare.close();
            run_child();
        }
        if (pid < 0) {
            throw_errno(errno, "Process '" + state.name() + "': fork");
        }
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

void Process::run_child() noexcept {
    int code = 0;
    try {
        become(*state_);
        bind_this_thread(state_->options().binding);
        if (target_) {
            target_->adopt();
        }
        run();
    } catch (const std::exception& error) {
        code = 1;
        std::fprintf(stderr, "Process %s (pid %d): exception: %s\n", state_->name().c_str(),
                     ::getpid(), error.what());
    } catch (...) {
        code = 1;
        std::fprintf(stderr, "Process %s (pid %d): exception: not a std::exception\n",
                     state_->name().c_str(), ::getpid());
    }
    if (code == 0) {
        detail::BarrierCore::leave_all();
    }
    target_.reset();
    end_children();
    flush_standard_streams();
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
    return registry().authkey;
}

int Process::sentinel() const {
    state().require_started("watch");
    return state().sentinel();
}

std::vector<ProcessRef> active_children() {
    std::vector<ProcessRef> active;
    for (std::shared_ptr<ProcessState>& child : children_now()) {
        if (!child->reap()) {
            active.push_back(ProcessRef(std::move(child)));
        }
    }
    return active;
}

ProcessRef current_process() {
    return ProcessRef(registry().self);
}

std::optional<ProcessRef> parent_process() {
    if (const std::shared_ptr<ProcessState>& parent = registry().parent) {
        return ProcessRef(parent);
    }
    return std::nullopt;
}

}  // namespace sluice
