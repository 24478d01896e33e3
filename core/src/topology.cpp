// The only file that includes hwloc.
#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <sluice/topology.hpp>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "kernel_cpus.hpp"

namespace sluice {
namespace {

struct DestroyTopology {
    void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using TopologyHandle = std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, DestroyTopology>;

struct FreeBitmap {
    void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<std::remove_pointer_t<hwloc_bitmap_t>, FreeBitmap>;

[[noreturn]] void throw_errno(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), "Topology: " + what);
}

TopologyHandle new_topology() {
    hwloc_topology_t topology = nullptr;
    if (hwloc_topology_init(&topology) != 0) {
        throw_errno("hwloc_topology_init");
    }
    TopologyHandle handle(topology);
    // Devices are the slow part of discovery, and nothing here places anything by them.
    if (hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) != 0) {
        throw_errno("hwloc_topology_set_io_types_filter");
    }
    return handle;
}

void load(hwloc_topology_t topology, unsigned long flags, const std::string& name) {
    if (hwloc_topology_set_flags(topology, flags | HWLOC_TOPOLOGY_FLAG_NO_DISTANCES |
                                               HWLOC_TOPOLOGY_FLAG_NO_MEMATTRS) != 0) {
        throw_errno("hwloc_topology_set_flags of " + name);
    }
    if (hwloc_topology_load(topology) != 0) {
        throw_errno("hwloc_topology_load of " + name);
    }
}

int os_index_of(const hwloc_obj* object) {
    return object->os_index == HWLOC_UNKNOWN_INDEX ? -1 : static_cast<int>(object->os_index);
}

/// The nearest memory: that of the first object above the PU that has some. Of several kinds on one
/// object (DRAM and HBM) the first is the machine's normal memory.
const hwloc_obj* nearest_memory(const hwloc_obj* object) {
    for (; object != nullptr; object = object->parent) {
        const hwloc_obj* memory = object->memory_first_child;
        while (memory != nullptr && memory->type != HWLOC_OBJ_NUMANODE) {
            memory = memory->memory_first_child;  // below a memory-side cache
        }
        if (memory != nullptr) {
            return memory;
        }
    }
    return nullptr;
}

/// The nearest object of one of the types, in order of preference; else the object itself.
hwloc_obj_t ancestor_or_self(hwloc_topology_t topology, hwloc_obj_t object,
                             std::initializer_list<hwloc_obj_type_t> types) {
    for (const hwloc_obj_type_t type : types) {
        if (hwloc_obj_t found = hwloc_get_ancestor_obj_by_type(topology, type, object)) {
            return found;
        }
    }
    return object;
}

/// The efficiency of each CPU, empty if all are of one kind. hwloc also makes kinds of cores that
/// differ only in the clock they may boost to (AMD): believed are only those that the hardware
/// itself tells apart.
std::map<unsigned, int> efficiencies(hwloc_topology_t topology) {
    std::map<unsigned, int> found;
    std::map<std::string, int> kinds;
    const int count = hwloc_cpukinds_get_nr(topology, 0);
    for (int kind = 0; kind < count; ++kind) {
        const Bitmap cpus(hwloc_bitmap_alloc());
        int efficiency = -1;
        unsigned infos_count = 0;
        hwloc_info_s* infos = nullptr;
        if (!cpus || hwloc_cpukinds_get_info(topology, static_cast<unsigned>(kind), cpus.get(),
                                             &efficiency, &infos_count, &infos, 0) != 0) {
            return {};
        }
        for (unsigned i = 0; i < infos_count; ++i) {
            if (std::strcmp(infos[i].name, "CoreType") == 0 ||
                std::strcmp(infos[i].name, "LinuxCapacity") == 0) {
                efficiency = kinds.try_emplace(infos[i].value, efficiency).first->second;
                for (int cpu = hwloc_bitmap_first(cpus.get()); cpu >= 0;
                     cpu = hwloc_bitmap_next(cpus.get(), cpu)) {
                    found[static_cast<unsigned>(cpu)] = efficiency;
                }
                break;
            }
        }
    }
    return kinds.size() > 1 ? found : std::map<unsigned, int>{};
}

}  // namespace

/// Turns hwloc's tree into the value.
class TopologyReader {
 public:
    static Topology read(hwloc_topology_t topology, const std::string& name) {
        Topology result;
        std::map<const hwloc_obj*, std::size_t> nodes;
        for (hwloc_obj_t node = nullptr;
             (node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr;) {
            nodes.emplace(node, result.nodes_.size());
            result.nodes_.push_back({.os_index = os_index_of(node)});
        }
        if (result.nodes_.empty()) {
            result.nodes_.emplace_back();
        }
        const std::map<unsigned, int> efficiency = efficiencies(topology);
        std::map<const hwloc_obj*, std::size_t> l3s;
        std::map<const hwloc_obj*, std::size_t> cores;
        for (hwloc_obj_t pu = nullptr;
             (pu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, pu)) != nullptr;) {
            const unsigned cpu = pu->os_index;
            const auto node_at = nodes.find(nearest_memory(pu));
            const std::size_t node = node_at == nodes.end() ? 0 : node_at->second;

            const hwloc_obj_t l3_object = ancestor_or_self(
                topology, pu, {HWLOC_OBJ_L3CACHE, HWLOC_OBJ_PACKAGE, HWLOC_OBJ_MACHINE});
            const std::size_t l3 = l3s.try_emplace(l3_object, l3s.size()).first->second;
            if (l3 == result.l3s_.size()) {
                result.l3s_.push_back({.node = node});
            }
            const hwloc_obj_t core_object = ancestor_or_self(topology, pu, {HWLOC_OBJ_CORE});
            const std::size_t core = cores.try_emplace(core_object, cores.size()).first->second;
            if (core == result.cores_.size()) {
                result.cores_.push_back(
                    {.os_index = os_index_of(core_object), .l3 = l3, .node = node});
            }
            const auto kind = efficiency.find(cpu);
            result.pus_.push_back({.cpu = cpu,
                                   .core = core,
                                   .l3 = l3,
                                   .node = node,
                                   .efficiency = kind == efficiency.end() ? -1 : kind->second});
            result.nodes_[node].cpus.push_back(cpu);
            result.l3s_[l3].cpus.push_back(cpu);
            result.cores_[core].cpus.push_back(cpu);
        }
        if (result.pus_.empty()) {
            throw std::invalid_argument("Topology: no usable CPU in " + name);
        }
        return result;
    }

    static void isolate(Topology& topology, const std::vector<unsigned>& cpus) {
        for (Topology::Pu& pu : topology.pus_) {
            pu.isolated = std::find(cpus.begin(), cpus.end(), pu.cpu) != cpus.end();
        }
    }
};

Topology Topology::system(const std::string& root) {
    const TopologyHandle topology = new_topology();
    unsigned long flags = HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING;
    // hwloc alone honours the cgroup but not sched_setaffinity. With one of its variables set, the
    // topology is of another machine and our binding says nothing about it.
    const bool replaced = std::getenv("HWLOC_SYNTHETIC") != nullptr ||
                          std::getenv("HWLOC_XMLFILE") != nullptr ||
                          std::getenv("HWLOC_FSROOT") != nullptr;
    if (!replaced) {
        flags |= HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM | HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING;
    }
    load(topology.get(), flags, "this machine");
    Topology result = TopologyReader::read(topology.get(), "this machine");
    TopologyReader::isolate(result, detail::isolated_cpus(root));
    return result;
}

Topology Topology::synthetic(std::string_view description) {
    const std::string text(description);
    const TopologyHandle topology = new_topology();
    const std::string name = "synthetic topology \"" + text + "\"";
    if (hwloc_topology_set_synthetic(topology.get(), text.c_str()) != 0) {
        throw std::invalid_argument(
            "Topology: " + name + " is malformed; write it as \"pack:2 [numa] l3:2 core:4 pu:2\"");
    }
    load(topology.get(), 0, name);
    return TopologyReader::read(topology.get(), name);
}

Topology Topology::from_xml(const std::string& path) {
    errno = 0;
    if (std::ifstream file(path); file.get() == std::ifstream::traits_type::eof()) {
        if (errno != 0) {
            throw_errno("cannot read " + path + " (make it with `lstopo --of xml " + path + "`)");
        }
    }
    const TopologyHandle topology = new_topology();
    const std::string mend = " is not a topology; make it with `lstopo --of xml " + path + "`";
    if (hwloc_topology_set_xml(topology.get(), path.c_str()) != 0 ||
        hwloc_topology_set_flags(topology.get(), 0) != 0 ||
        hwloc_topology_load(topology.get()) != 0) {
        throw std::invalid_argument("Topology: " + path + mend);
    }
    return TopologyReader::read(topology.get(), path);
}

Topology Topology::with_isolated(std::string_view cpus) const {
    const std::vector<unsigned> isolated = detail::parse_cpu_list(cpus);
    for (const unsigned cpu : isolated) {
        if (find(cpu) == nullptr) {
            throw std::invalid_argument("Topology: CPU " + std::to_string(cpu) +
                                        " cannot be isolated: usable CPUs are " + cpu_list());
        }
    }
    Topology result = *this;
    TopologyReader::isolate(result, isolated);
    return result;
}

const Topology::Pu* Topology::find(unsigned cpu) const noexcept {
    const auto found =
        std::find_if(pus_.begin(), pus_.end(), [cpu](const Pu& pu) { return pu.cpu == cpu; });
    return found == pus_.end() ? nullptr : &*found;
}

std::string Topology::cpu_list() const {
    std::vector<unsigned> cpus;
    for (const Pu& pu : pus_) {
        cpus.push_back(pu.cpu);
    }
    return detail::format_cpu_list(cpus);
}

}  // namespace sluice
