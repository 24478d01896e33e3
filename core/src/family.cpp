// What a process knows of itself and its relatives.
//
// Ordering ledger
//   R1 publish a Family -> A1 : other threads see it filled (else: members not yet written)
#include "family.hpp"

#include <stdio_ext.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <system_error>
#include <typeinfo>
#ifdef __GLIBCXX__
#include <ext/stdio_sync_filebuf.h>
#endif

namespace sluice::detail {
namespace {

constinit std::atomic<Family*> current_family{nullptr};

// In a child of a Process, what that one says of it. The Family is made of it when somebody asks:
// mostly nobody does, and each page that a child writes to is a fault and a copy. Written while the
// child has one thread.
constinit std::shared_ptr<const ProcessState> chosen{};
constinit Birth chosen_for{};

AuthKey random_key() {
    AuthKey key{};
    for (std::size_t filled = 0; filled < key.size();) {
        const ssize_t got = ::getrandom(key.data() + filled, key.size() - filled, 0);
        if (got > 0) {
            filled += static_cast<std::size_t>(got);
        } else if (errno != EINTR) {
            throw std::system_error(errno, std::generic_category(), "authkey: getrandom");
        }
    }
    return key;
}

/// `child` is what the parent's Process says of this process; null for the first one, and for one
/// that other code has forked, which keeps the name it inherits.
std::unique_ptr<Family> new_family(const Family* inherited, const ProcessState* child) {
    auto fresh = std::make_unique<Family>();
    fresh->birth = this_birth();
    fresh->inherited = inherited;
    const pid_t here = fresh->birth.pid;
    if (inherited == nullptr) {
        fresh->self = std::make_shared<ProcessState>("MainProcess", "", false, here);
        fresh->authkey = random_key();
        return fresh;
    }
    const ProcessState& parent = *inherited->self;
    const ProcessState& source = child == nullptr ? parent : *child;
    fresh->self = std::make_shared<ProcessState>(source.name(), source.identity(),
                                                 source.options().daemon, here);
    fresh->parent = std::make_shared<ProcessState>(parent.name(), parent.identity(),
                                                   parent.options().daemon, inherited->birth.pid);
    fresh->authkey = inherited->authkey;
    return fresh;
}

/// Whether the stream has no buffer of its own, as long as sync_with_stdio(false) was not called.
bool hands_on_to_stdio(const std::ostream& stream) {
#ifdef __GLIBCXX__
    const std::streambuf* const buffer = stream.rdbuf();
    return buffer != nullptr && typeid(*buffer) == typeid(__gnu_cxx::stdio_sync_filebuf<char>);
#else
    return false;
#endif
}

}  // namespace

Family& family() {
    Family* seen = current_family.load(std::memory_order_acquire);  // A1
    if (seen != nullptr && seen->birth == this_birth()) {
        return *seen;
    }
    std::unique_ptr<Family> fresh =
        new_family(seen, chosen_for == this_birth() ? chosen.get() : nullptr);
    if (current_family.compare_exchange_strong(seen, fresh.get(),
                                               std::memory_order_acq_rel,     // R1 A1
                                               std::memory_order_acquire)) {  // A1
        return *fresh.release();
    }
    return *seen;  // another thread was first
}

std::string next_identity() {
    Family& here = family();
    const std::string& mine = here.self->identity();
    const std::scoped_lock lock(here.mutex);
    return mine + (mine.empty() ? "" : ":") + std::to_string(++here.made_count);
}

void become(std::shared_ptr<const ProcessState> child) {
    chosen = std::move(child);
    chosen_for = this_birth();
}

void become(const Descent& descent) {
    auto fresh = std::make_unique<Family>();
    fresh->birth = this_birth();
    // A static object's constructor may have asked before main.
    fresh->inherited = current_family.load(std::memory_order_acquire);  // A1
    fresh->self = std::make_shared<ProcessState>(descent.name, descent.identity, descent.daemon,
                                                 fresh->birth.pid);
    fresh->parent = std::make_shared<ProcessState>(descent.parent_name, descent.parent_identity,
                                                   descent.parent_is_daemon, descent.parent_pid);
    fresh->authkey = descent.authkey;
    current_family.store(fresh.release(), std::memory_order_release);  // R1
}

std::vector<std::shared_ptr<ProcessState>> children_now() {
    Family& here = family();
    std::vector<std::shared_ptr<ProcessState>> children;
    {
        const std::scoped_lock lock(here.mutex);
        children = here.children;
    }
    std::erase_if(children, [](const auto& child) { return !child->started(); });
    return children;
}

void reap_children() {
    // One call says whether there is any: mostly not, and children may be many.
    siginfo_t ended{};
    if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) {
        return;
    }
    for (const std::shared_ptr<ProcessState>& child : children_now()) {
        child->reap();
    }
}

void end_children() noexcept {
    const Family* const seen = current_family.load(std::memory_order_acquire);  // A1
    if (seen == nullptr || seen->birth != this_birth()) {
        return;  // a process that never asked for its own has no children
    }
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
    Family& here = family();
    const std::scoped_lock lock(here.mutex);
    here.children.push_back(child);
}

void forget_child(const ProcessState& child) {
    Family& here = family();
    const std::scoped_lock lock(here.mutex);
    std::erase_if(here.children, [&child](const auto& known) { return known.get() == &child; });
}

bool is_parent(const ProcessState& process) {
    return family().parent.get() == &process;
}

void flush_standard_streams() {
    // Only what has something to flush: taking a stream's lock is to write to its page, which a
    // child pays for with a fault and a copy.
    for (std::ostream* stream : {&std::cout, &std::cerr, &std::clog}) {
        try {
            if (!hands_on_to_stdio(*stream)) {
                stream->flush();
            }
        } catch (...) {  // exceptions() was set; whoever writes next will be told
        }
    }
    for (std::FILE* file : {stdout, stderr}) {
        if (::__fpending(file) != 0) {
            std::fflush(file);
        }
    }
}

void print_exception(const std::string& name) noexcept {
    try {
        throw;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "Process %s (pid %d): exception: %s\n", name.c_str(), ::getpid(),
                     error.what());
    } catch (...) {
        std::fprintf(stderr, "Process %s (pid %d): exception: not a std::exception\n", name.c_str(),
                     ::getpid());
    }
}

}  // namespace sluice::detail
