// mbind, get_mempolicy and move_pages by system call: libnuma would be a package for
// three functions.
#include "sluice/shm/node_memory.hpp"

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>

namespace sluice::shm {
namespace {

constexpr std::size_t kNodesMax = 1024;  // the largest CONFIG_NODES_SHIFT
constexpr std::size_t kBitsPerWord = 8 * sizeof(unsigned long);
using NodeMask = std::array<unsigned long, kNodesMax / kBitsPerWord>;

void set_node(NodeMask& mask, std::size_t node) noexcept {
    mask[node / kBitsPerWord] |= 1UL << (node % kBitsPerWord);
}

bool kernel_lacks_numa(int error) noexcept {
    return error == ENOSYS;
}

}  // namespace

int current_node() noexcept {
    unsigned cpu = 0;
    unsigned node = 0;
    return getcpu(&cpu, &node) == 0 ? static_cast<int>(node) : 0;
}

bool place_pages(void* address, std::size_t bytes, const MemoryOptions& options, Failure& failure) {
    NodeMask mask{};
    int mode = MPOL_PREFERRED;
    switch (options.numa) {
        case Numa::local:
            set_node(mask, static_cast<std::size_t>(current_node()));
            break;
        case Numa::node:
            if (options.node < 0 || static_cast<std::size_t>(options.node) >= kNodesMax) {
                failure.set(FailureKind::bad_argument,
                            "MemoryOptions: Numa::node needs a node number of 0 to 1023, got " +
                                std::to_string(options.node));
                return false;
            }
            mode = MPOL_BIND;
            set_node(mask, static_cast<std::size_t>(options.node));
            break;
        case Numa::interleave:
            mode = MPOL_INTERLEAVE;
            if (syscall(SYS_get_mempolicy, nullptr, mask.data(), kNodesMax, nullptr,
                        MPOL_F_MEMS_ALLOWED) != 0) {
                return true;  // no NUMA: one node, nothing to interleave
            }
            break;
    }
    // The kernel reads maxnode - 1 bits, hence the one more.
    if (syscall(SYS_mbind, address, bytes, mode, mask.data(), kNodesMax + 1, 0U) == 0) {
        return true;
    }
    if (kernel_lacks_numa(errno) && options.numa != Numa::node) {
        return true;
    }
    // `local` is a wish: a container may forbid mbind (EPERM); first touch does the same.
    if (options.numa == Numa::local) {
        return true;
    }
    failure.environment("mbind to node " + std::to_string(options.node) +
                        ": no such node, or it is not allowed to this process");
    return false;
}

NodeReport read_placement(void* address, std::size_t bytes, const MemoryOptions& options) {
    NodeReport report;
    report.requested = options.numa;
    report.node = options.numa == Numa::node    ? options.node
                  : options.numa == Numa::local ? current_node()
                                                : -1;
    int mode = 0;
    NodeMask mask{};
    if (syscall(SYS_get_mempolicy, &mode, mask.data(), kNodesMax + 1, address, MPOL_F_ADDR) == 0) {
        report.policy = mode;
    }
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    constexpr std::size_t kBatch = 512;
    std::array<void*, kBatch> pages{};
    std::array<int, kBatch> status{};
    for (std::size_t at = 0; at < bytes; at += kBatch * page) {
        const std::size_t count = std::min(kBatch, (bytes - at + page - 1) / page);
        for (std::size_t index = 0; index < count; ++index) {
            pages[index] = static_cast<char*>(address) + at + index * page;
        }
        if (syscall(SYS_move_pages, 0, count, pages.data(), nullptr, status.data(), 0) != 0) {
            return report;
        }
        for (std::size_t index = 0; index < count; ++index) {
            if (status[index] < 0) {
                ++report.pages_absent;
                continue;
            }
            const auto node = static_cast<std::size_t>(status[index]);
            if (report.pages_on_node.size() <= node) {
                report.pages_on_node.resize(node + 1);
            }
            ++report.pages_on_node[node];
        }
    }
    return report;
}

}  // namespace sluice::shm
