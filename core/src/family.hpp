// What a process knows of itself and its relatives; what is to be done when it starts a child and
// when it ends.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "process_state.hpp"

namespace sluice::detail {

using AuthKey = std::array<std::byte, 32>;

/// What a process knows of itself and its children. Each process makes its own on first use and
/// never looks into the mutable part of one it inherited, whose mutex a thread of the parent may
/// have held.
struct Family {
    Birth birth{};
    std::shared_ptr<ProcessState> self{};
    std::shared_ptr<ProcessState> parent{};
    AuthKey authkey{};
    const Family* inherited{};  // not freed: a leak checker finds it here

    std::mutex mutex{};  // guards what follows
    unsigned made_count{};
    std::vector<std::shared_ptr<ProcessState>> children{};
};

/// This process's. Callers: any thread.
Family& family();

/// Of a child to be: this process's own, and a number.
std::string next_identity();

/// In a new child: forgets the parent's children and takes the name that was chosen for it.
void become(std::shared_ptr<const ProcessState> child);

/// In a spawned child, which has inherited nothing: all that become() would have found.
struct Descent {
    std::string name{};
    std::string identity{};
    bool daemon{};
    std::string parent_name{};
    std::string parent_identity{};
    bool parent_is_daemon{};
    pid_t parent_pid{};
    AuthKey authkey{};
};
void become(const Descent& descent);

/// The children that were started and are not known to have ended.
std::vector<std::shared_ptr<ProcessState>> children_now();

/// Waits for those children that have ended and that nobody has asked about since, so that a
/// Process that was never joined nor destroyed leaves no zombie for long.
void reap_children();

/// What every process does before it exits, as Python: daemons are ended, all children waited for.
void end_children() noexcept;

/// Notes a child before it is started.
void remember_child(const std::shared_ptr<ProcessState>& child);

/// stdout, stderr and the standard C++ streams: those that nearly every program shares with its
/// children. Not all that stdio has open: flushing one that another thread waits to read from would
/// wait with it.
void flush_standard_streams();

/// Says on stderr why the child ends with 1. To be called where the exception was caught.
void print_exception(const std::string& name) noexcept;

}  // namespace sluice::detail
