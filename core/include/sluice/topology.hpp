// The machine as a worker's place is chosen on it: hardware threads (PUs), cores, last-level caches
// and memory nodes, as plain values. Only topology.cpp knows hwloc; whoever includes this does not.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

/// A machine's processors and memory nodes: read once, then a value that never changes.
///
/// CPUs are named by the kernel's numbers (those of taskset and /proc/cpuinfo). The vectors are in
/// topology order: what is near each other on the machine is near each other in them. A `core`,
/// `l3` or `node` member is a position in cores(), l3s() or nodes().
///
/// Callers: any thread; the value is shared read-only by forked children.
class Topology {
 public:
    /// One hardware thread.
    struct Pu {
        unsigned cpu{};      ///< the kernel's number
        std::size_t core{};  ///< in cores()
        std::size_t l3{};    ///< in l3s()
        std::size_t node{};  ///< in nodes()
        bool isolated{};     ///< the kernel's isolcpus: no load is balanced onto it
        int efficiency{-1};  ///< 0 saves most power, higher is faster; -1: all are of one kind
    };
    /// One core. os_index is the kernel's number, unique only inside a package; -1: none.
    struct Core {
        int os_index{-1};
        std::size_t l3{};              ///< in l3s()
        std::size_t node{};            ///< in nodes()
        std::vector<unsigned> cpus{};  ///< its threads
    };
    /// The CPUs that share a level-3 cache, or the package (else the machine) where there is none.
    struct L3 {
        std::size_t node{};            ///< in nodes()
        std::vector<unsigned> cpus{};  ///< that share it
    };
    /// A memory node and the CPUs it is nearest to: none for memory of its own (CXL, a device's, or
    /// the second kind beside the same CPUs). os_index is what mbind wants; -1: the machine has
    /// none.
    struct Node {
        int os_index{-1};
        std::vector<unsigned> cpus{};  ///< that are nearest to it
    };

    /// Reads this machine: the CPUs that the calling thread may use (taskset, cgroup, Slurm).
    ///
    /// `root` is prefixed to the files of /sys that are read beside hwloc (the isolated CPUs).
    /// hwloc's own variables HWLOC_SYNTHETIC and HWLOC_XMLFILE put another machine in this one's
    /// place. Errors: std::system_error. Cost: milliseconds: do it once, before the workers are
    /// made.
    static Topology system(const std::string& root = "/");

    /// Makes up a machine from hwloc's description, as "pack:2 [numa] l3:2 core:4 pu:2".
    /// Errors: std::invalid_argument with the description.
    static Topology synthetic(std::string_view description);

    /// Reads a machine that `lstopo --of xml` has written.
    /// Errors: std::system_error when the file cannot be read, std::invalid_argument when it is no
    /// topology.
    static Topology from_xml(const std::string& path);

    /// This machine with exactly these CPUs ("2-5,8") marked as isolated.
    /// Errors: std::invalid_argument, on a malformed list or a CPU that is not here.
    [[nodiscard]] Topology with_isolated(std::string_view cpus) const;

    /// All of a kind. On a temporary these return a copy, so that
    /// `for (auto& pu : Topology::system().pus())` is sound.
    [[nodiscard]] const std::vector<Pu>& pus() const& noexcept { return pus_; }
    [[nodiscard]] const std::vector<Core>& cores() const& noexcept { return cores_; }
    [[nodiscard]] const std::vector<L3>& l3s() const& noexcept { return l3s_; }
    [[nodiscard]] const std::vector<Node>& nodes() const& noexcept { return nodes_; }
    [[nodiscard]] std::vector<Pu> pus() && noexcept { return std::move(pus_); }
    [[nodiscard]] std::vector<Core> cores() && noexcept { return std::move(cores_); }
    [[nodiscard]] std::vector<L3> l3s() && noexcept { return std::move(l3s_); }
    [[nodiscard]] std::vector<Node> nodes() && noexcept { return std::move(nodes_); }

    /// The hardware thread with the kernel's number `cpu`; nullptr if it is not usable here.
    [[nodiscard]] const Pu* find(unsigned cpu) const noexcept;

    /// The usable CPUs as a list, "0-3,8".
    [[nodiscard]] std::string cpu_list() const;

 private:
    friend class TopologyReader;
    Topology() = default;

    std::vector<Pu> pus_{};
    std::vector<Core> cores_{};
    std::vector<L3> l3s_{};
    std::vector<Node> nodes_{};
};

/// How many CPUs this thread can really use, at least 1: those it may run on, or the whole CPUs'
/// worth of time that its cgroups grant (cpu.max, cpu.cfs_quota_us), if fewer. Rounded down,
/// because a spinning worker too many gets all of them throttled.
///
/// `root` is prefixed to /proc and /sys.
/// Errors: std::system_error.
/// Cost: a few small files.
unsigned cpu_count(const std::string& root = "/");

}  // namespace sluice
