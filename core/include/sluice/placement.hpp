// Where workers go. plan() is a pure function from (machine, wish, number of workers) to CPU sets,
// so it can be tried on any machine's description; bind_this_thread() is the only thing here that
// changes anything.
#pragma once

#include <cstddef>
#include <sluice/shm/memory_options.hpp>
#include <sluice/topology.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

using shm::HugePages;
using shm::MemoryOptions;
using shm::Numa;

/// How workers are laid out. A *place* is a usable hardware thread: see Placement for which are.
///
/// spread    Evenly over the memory nodes, inside them over the L3 caches, inside those over the
///           cores: the most bandwidth for each. One place a worker; workers are numbered in
///           topology order.
/// compact   Core by core inside an L3, then the next L3, then the next node: the shortest ways.
/// per_core  Worker i gets all the places of core i, to move among them.
/// per_l3    Worker i gets all the places of L3 i.
/// per_node  Worker i gets all the places of memory node i; nodes without CPUs are passed over.
/// list      Worker i gets entry i of Placement::cpus.
/// none      No worker is bound.
///
/// With more workers than places (cores, L3s, nodes, entries) it starts again at the first:
/// worker i shares with worker i + the number of them.
enum class Policy { spread, compact, per_core, per_l3, per_node, list, none };

/// What to do with the CPUs of isolcpus=: leave them alone, use nothing else, make no difference.
enum class Isolated { avoid, only, any };

/// A wish for plan().
///
/// cpus      For Policy::list, the entries: single CPUs "2,4-7:2" (taken as 2, 4, 6) or a set for
///           each worker, "{0,1},{2,3}". For the other policies, the CPUs they may use ("0-7");
///           empty: all. Not for none.
/// smt       Whether the second and further hardware threads of a core are places too.
/// isolated  See Isolated.
/// A list is taken at its word: smt and isolated do not change it.
struct Placement {
    Policy policy{};  ///< by what rule
    std::string cpus{};
    bool smt{};
    Isolated isolated{};
};

/// Where one worker runs. cpus: those it may use; none: anywhere. node: the memory node it takes
/// memory from (the kernel's number; -1: no wish).
struct Binding {
    std::vector<unsigned> cpus{};
    int node{-1};

    friend bool operator==(const Binding&, const Binding&) = default;
};

/// Decides where `workers` workers go; element i is for worker i. Pure: the same arguments give the
/// same plan.
///
/// A set of several CPUs with an isolated one among them is reduced to one CPU, because the kernel
/// balances no load onto isolated CPUs and all threads of the set would stay on the first; equal
/// sets are reduced to their members in turn. Binding::node is the node of the CPUs, -1 if they
/// have no common one.
///
/// Errors: std::invalid_argument, when a CPU of the list is not usable (it names the CPU and the
/// usable ones), the list is malformed, or the wish leaves no place (all or no CPUs are isolated).
std::vector<Binding> plan(const Topology& topology, const Placement& placement,
                          std::size_t workers);

/// Reads what a user types: "spread", "compact", "per_core", "per_l3", "per_node", "none", or the
/// list itself, as "0,2-5" or "{0,1},{2,3}".
/// Errors: std::invalid_argument that lists the words.
Placement parse_placement(std::string_view text);

std::string_view to_string(Policy policy) noexcept;

/// For people: "unbound", "CPU 3 on node 0", "CPUs 0-3,8", "node 1".
std::string to_string(const Binding& binding);

/// Keeps the calling thread (and the threads and processes it makes from now on) on binding.cpus,
/// and makes it take memory from binding.node while that has some. Whatever is empty is left as it
/// was.
///
/// A container may forbid memory policies. That is an error only where it matters: a thread that
/// runs on the wanted node gets its memory from there anyway.
/// Blocks: never.
/// Errors: std::system_error that names the CPUs or the node.
/// Source: sched_setaffinity(2), set_mempolicy(2) with MPOL_PREFERRED.
void bind_this_thread(const Binding& binding);

}  // namespace sluice
