#include "machine.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "bench_build.hpp"  // made by the build: commit, compiler, flags

namespace sluice::bench {

namespace {

std::string first_line(const std::string& path, const std::string& otherwise = "not readable") {
    std::ifstream file(path);
    std::string line;
    return std::getline(file, line) ? line : otherwise;
}

std::string field_of(const std::string& path, const std::string& field) {
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) {
        if (line.starts_with(field)) {
            const auto colon = line.find(':');
            const auto value = line.find_first_not_of(" \t", colon + 1);
            return value == std::string::npos ? "" : line.substr(value);
        }
    }
    return "not readable";
}

bool has_cpu_flag(const std::string& flag) {
    std::istringstream flags(field_of("/proc/cpuinfo", "flags"));
    return std::find(std::istream_iterator<std::string>(flags), {}, flag) !=
           std::istream_iterator<std::string>();
}

std::string cpu_path(unsigned cpu) {
    return fmt::format("/sys/devices/system/cpu/cpu{}/", cpu);
}

std::string describe_cpu(unsigned cpu) {
    const std::string path = cpu_path(cpu);
    std::string text = fmt::format("core {} of package {}, SMT siblings {}",
                                   first_line(path + "topology/core_id", "?"),
                                   first_line(path + "topology/physical_package_id", "?"),
                                   first_line(path + "topology/thread_siblings_list", "?"));
    for (int index = 0; index < 8; ++index) {
        const std::string cache = fmt::format("{}cache/index{}/", path, index);
        if (std::filesystem::exists(cache)) {
            text += fmt::format("; L{} {} {}, CPUs {}", first_line(cache + "level", "?"),
                                first_line(cache + "type", "?"), first_line(cache + "size", "?"),
                                first_line(cache + "shared_cpu_list", "?"));
        }
    }
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
        const std::string name = entry.path().filename();
        if (name.starts_with("node")) {
            text += "; " + name;
        }
    }
    return text;
}

}  // namespace

std::vector<unsigned> usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    std::vector<unsigned> cpus;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &set)) {
            cpus.push_back(cpu);
        }
    }
    return cpus;
}

std::vector<unsigned> choose_two_cpus() {
    auto cpus = usable_cpus();
    if (cpus.size() < 2) {
        return cpus;
    }
    const auto core = [](unsigned cpu) {
        return first_line(cpu_path(cpu) + "topology/physical_package_id", "0") + "/" +
               first_line(cpu_path(cpu) + "topology/core_id", std::to_string(cpu));
    };
    for (const unsigned cpu : cpus) {
        if (core(cpu) != core(cpus[0])) {
            return {cpus[0], cpu};
        }
    }
    return {cpus[0], cpus[1]};
}

MachineFacts read_machine_facts(unsigned leader_cpu, unsigned peer_cpu) {
    MachineFacts machine;
    machine.commit = kBuildCommit;
    machine.cpu_model = field_of("/proc/cpuinfo", "model name");
    machine.date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));

    utsname system{};
    uname(&system);
    const std::string cpu_dir = "/sys/devices/system/cpu/";
    const std::string smt = first_line(cpu_dir + "smt/active");
    auto& facts = machine.facts;
    facts.emplace_back("date", machine.date);
    facts.emplace_back("commit", machine.commit);
    facts.emplace_back("processor", machine.cpu_model);
    facts.emplace_back("virtual machine", has_cpu_flag("hypervisor")
                                              ? "yes: the host may move its CPUs at any time"
                                              : "no");
    facts.emplace_back("CPUs",
                       fmt::format("{} usable of {} online ({})", usable_cpus().size(),
                                   sysconf(_SC_NPROCESSORS_ONLN), first_line(cpu_dir + "online")));
    facts.emplace_back("SMT", smt == "1" ? "on" : smt == "0" ? "off, or hidden" : smt);
    facts.emplace_back("invariant clock",
                       has_cpu_flag("constant_tsc") ? "yes" : "not stated by the processor");
    for (const unsigned cpu : {leader_cpu, peer_cpu}) {
        facts.emplace_back(fmt::format("CPU {} ({})", cpu, cpu == leader_cpu ? "leader" : "peer"),
                           describe_cpu(cpu));
    }
    facts.emplace_back("governor", first_line(cpu_path(leader_cpu) + "cpufreq/scaling_governor"));
    facts.emplace_back("kernel",
                       fmt::format("{} {} {}", system.sysname, system.release, system.version));
    facts.emplace_back("huge pages for shm",
                       first_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
    facts.emplace_back("compiler", kBuildCompiler);
    facts.emplace_back("flags", kBuildFlags);
    facts.emplace_back("load before", first_line("/proc/loadavg"));
    return machine;
}

}  // namespace sluice::bench
