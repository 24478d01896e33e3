// bind_this_thread: the system calls, apart from the plan that is pure.
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <memory>
#include <sluice/placement.hpp>
#include <system_error>
#include <vector>

#include "kernel_cpus.hpp"

namespace sluice {
namespace {

struct FreeCpuSet {
    void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};

[[noreturn]] void throw_binding_error(int error, const Binding& binding, const char* call) {
    throw std::system_error(error, std::generic_category(),
                            "bind_this_thread to " + to_string(binding) + ": " + call);
}

void bind_cpus(const Binding& binding) {
    const unsigned highest = *std::max_element(binding.cpus.begin(), binding.cpus.end());
    if (highest >= detail::kCpuNumberEnd) {
        throw_binding_error(EINVAL, binding, "sched_setaffinity");
    }
    const std::size_t bytes = CPU_ALLOC_SIZE(highest + 1);
    const std::unique_ptr<cpu_set_t, FreeCpuSet> set(CPU_ALLOC(highest + 1));
    if (!set) {
        throw_binding_error(ENOMEM, binding, "CPU_ALLOC");
    }
    CPU_ZERO_S(bytes, set.get());
    for (const unsigned cpu : binding.cpus) {
        CPU_SET_S(cpu, bytes, set.get());
    }
    if (::sched_setaffinity(0, bytes, set.get()) != 0) {
        throw_binding_error(errno, binding, "sched_setaffinity");
    }
}

bool runs_on(int node) {
    unsigned cpu = 0;
    unsigned current = 0;
    return ::getcpu(&cpu, &current) == 0 && current == static_cast<unsigned>(node);
}

void prefer_node(const Binding& binding) {
    constexpr std::size_t kBits = sizeof(unsigned long) * CHAR_BIT;
    constexpr int kNodeEnd = 1024;  // the kernel's largest MAX_NUMNODES
    if (binding.node >= kNodeEnd) {
        throw_binding_error(EINVAL, binding, "set_mempolicy");
    }
    const std::size_t node = static_cast<std::size_t>(binding.node);
    std::vector<unsigned long> mask(node / kBits + 1);
    mask[node / kBits] = 1UL << (node % kBits);
    // The kernel reads one bit less than it is told of.
    if (::syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask.data(), mask.size() * kBits + 1) == 0) {
        return;
    }
    const int error = errno;
    if ((error == ENOSYS || error == EPERM) && runs_on(binding.node)) {
        return;
    }
    throw_binding_error(error, binding, "set_mempolicy");
}

}  // namespace

void bind_this_thread(const Binding& binding) {
    if (!binding.cpus.empty()) {
        bind_cpus(binding);
    }
    if (binding.node >= 0) {
        prefer_node(binding);
    }
}

}  // namespace sluice
