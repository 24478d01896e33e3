// sluice doctor: whether this machine is set up for low latency, and how to mend what is not.
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <sluice/shm/inspect.hpp>
#include <sluice/shm/registry.hpp>
#include <sluice/topology.hpp>
#include <sstream>

#include "command.hpp"

namespace sluice::tool {
namespace {

namespace fs = std::filesystem;

struct Options {
    std::string root{"/"};
    bool json{};
};

enum class Grade { ok, warn, unknown };

struct Finding {
    std::string what{};
    Grade grade{};
    std::string found{};
    std::string mend{};  // of a warning
};

Finding ok(std::string what, std::string found) {
    return {std::move(what), Grade::ok, std::move(found), {}};
}
Finding warn(std::string what, std::string found, std::string mend) {
    return {std::move(what), Grade::warn, std::move(found), std::move(mend)};
}
Finding unknown(std::string what) {
    return {std::move(what), Grade::unknown, "the kernel does not tell", {}};
}

/// The files of /proc and /sys below `root`: another machine's copy can be judged, too.
class Machine {
 public:
    explicit Machine(std::string root) : root_(std::move(root)) {
        if (root_.back() != '/') {
            root_ += '/';
        }
    }
    std::optional<std::string> line(const std::string& path) const {
        return first_line(root_ + path);
    }
    fs::path path(const std::string& below) const { return root_ + below; }
    /// Of "always [madvise] never": madvise.
    std::optional<std::string> choice(const std::string& file) const {
        const auto text = line(file);
        if (!text) {
            return std::nullopt;
        }
        const std::size_t begin = text->find('[');
        const std::size_t end = text->find(']');
        return begin == std::string::npos || end == std::string::npos
                   ? std::nullopt
                   : std::optional(text->substr(begin + 1, end - begin - 1));
    }
    bool is_this_one() const { return root_ == "/"; }

 private:
    std::string root_;
};

Finding governor(const Machine& machine) {
    const std::string what = "CPU governor";
    std::vector<std::string> slow;
    bool any = false;
    std::error_code error;
    for (const auto& cpu : fs::directory_iterator(machine.path("sys/devices/system/cpu"), error)) {
        const auto governor = first_line((cpu.path() / "cpufreq/scaling_governor").string());
        any = any || governor.has_value();
        if (governor && *governor != "performance") {
            slow.push_back(cpu.path().filename().string() + ": " + *governor);
        }
    }
    if (!any) {
        return unknown(what);
    }
    std::sort(slow.begin(), slow.end());
    return slow.empty()
               ? ok(what, "performance on all CPUs")
               : warn(what, fmt::format("{}{}", slow.front(), slow.size() > 1 ? ", ..." : ""),
                      "a CPU that wakes up slow-clocked is late: cpupower frequency-set -g "
                      "performance");
}

Finding isolation(const Machine& machine) {
    const std::string what = "isolated CPUs";
    const auto isolated = machine.line("sys/devices/system/cpu/isolated");
    return isolated && !isolated->empty()
               ? ok(what, *isolated)
               : warn(what, "none",
                      "boot with isolcpus=2-7 nohz_full=2-7 rcu_nocbs=2-7 for CPUs that only spin");
}

Finding smt(const Machine& machine) {
    const std::string what = "SMT";
    const auto active = machine.line("sys/devices/system/cpu/smt/active");
    if (!active) {
        return unknown(what);
    }
    return *active == "0"
               ? ok(what, "off, or none")
               : warn(what, "on",
                      "leave the sibling of a spinning CPU idle (plan() does), or: echo off > "
                      "/sys/devices/system/cpu/smt/control");
}

Finding huge_pages(const Machine& machine) {
    const std::string what = "huge pages";
    const std::string folder = "sys/kernel/mm/hugepages/hugepages-2048kB/";
    const auto total = machine.line(folder + "nr_hugepages");
    if (!total) {
        return unknown(what);
    }
    const std::string free = machine.line(folder + "free_hugepages").value_or("?");
    return *total != "0" ? ok(what, fmt::format("{} of 2 MiB, {} free", *total, free))
                         : warn(what, "none reserved",
                                "HugePages::require needs some: sysctl vm.nr_hugepages=64");
}

Finding shmem_huge(const Machine& machine) {
    const std::string what = "THP for shared memory";
    const auto enabled = machine.choice("sys/kernel/mm/transparent_hugepage/shmem_enabled");
    if (!enabled) {
        return unknown(what);
    }
    return *enabled == "never" || *enabled == "deny"
               ? warn(what, *enabled,
                      "HugePages::prefer has no effect: echo advise > "
                      "/sys/kernel/mm/transparent_hugepage/shmem_enabled")
               : ok(what, *enabled);
}

Finding memlock(const Machine&) {
    const std::string what = "lockable memory";
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    constexpr rlim_t kEnough = 1ULL << 30U;
    if (limit.rlim_cur == RLIM_INFINITY || ::geteuid() == 0) {
        return ok(what, "unlimited");
    }
    const std::string found = bytes_text(limit.rlim_cur);
    return limit.rlim_cur >= kEnough
               ? ok(what, found)
               : warn(what, found,
                      "MemoryOptions::lock needs more: ulimit -l unlimited, or memlock in "
                      "/etc/security/limits.conf");
}

Finding shared_memory(const Machine&) {
    const std::string what = "/dev/shm";
    struct statfs info {};
    if (::statfs("/dev/shm", &info) != 0) {
        return warn(what, "missing",
                    "named objects need it: mount -t tmpfs -o mode=1777 tmpfs /dev/shm");
    }
    const auto block = static_cast<std::uint64_t>(info.f_bsize);
    const std::uint64_t total = info.f_blocks * block;
    const std::uint64_t free = info.f_bavail * block;
    const std::string found = fmt::format("{}, {} free", bytes_text(total), bytes_text(free));
    constexpr std::uint64_t kLeast = 256U << 20U;
    return total < kLeast || free < total / 10
               ? warn(what, found,
                      "objects are made there: mount -o remount,size=8G /dev/shm (containers: "
                      "--shm-size=8g); `sluice clean` frees what nobody uses")
               : ok(what, found);
}

Finding clock_source(const Machine& machine) {
    const std::string what = "clock source";
    const auto source =
        machine.line("sys/devices/system/clocksource/clocksource0/current_clocksource");
    if (!source) {
        return unknown(what);
    }
    // These are read without a system call.
    const bool fast = *source == "tsc" || *source == "kvm-clock" || *source == "arch_sys_counter" ||
                      source->starts_with("hyperv");
    return fast ? ok(what, *source)
                : warn(what, *source,
                       "reading the time costs a system call or more: boot with tsc=reliable where "
                       "the TSC is sound");
}

Finding kernel(const Machine& machine) {
    const std::string what = "kernel";
    const auto release = machine.line("proc/sys/kernel/osrelease");
    if (!release) {
        return unknown(what);
    }
    int major = 0;
    int minor = 0;
    char dot = '.';
    std::istringstream(*release) >> major >> dot >> minor;
    return major > 5 || (major == 5 && minor >= 16)
               ? ok(what, *release)
               : warn(what, *release,
                      "before 5.16 a waiter hears of a death within a millisecond only: upgrade");
}

bool has_call(long number, long first, long second, long third = 0) {
    return syscall(number, first, second, third, 0, 0) >= 0 || errno != ENOSYS;
}

Finding kernel_features(const Machine& machine) {
    const std::string what = "kernel features";
    if (!machine.is_this_one()) {
        return unknown(what);
    }
#ifndef SYS_futex_waitv
    constexpr long SYS_futex_waitv = 449;
#endif
    std::vector<std::string> missing;
    if (!has_call(SYS_futex_waitv, 0, 0)) {
        missing.emplace_back("futex_waitv");
    }
    const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    if (commands < 0 || (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0) {
        missing.emplace_back("membarrier");
    }
    if (!has_call(SYS_rseq, 0, 0)) {
        missing.emplace_back("rseq");
    }
    return missing.empty()
               ? ok(what, "futex_waitv, membarrier, rseq")
               : warn(what, fmt::format("without {}", fmt::join(missing, ", ")),
                      "the library works without, slower: upgrade, or let the container's filter "
                      "(seccomp) pass them");
}

Finding ptrace_scope(const Machine& machine) {
    const std::string what = "ptrace scope";
    const auto scope = machine.line("proc/sys/kernel/yama/ptrace_scope");
    if (!scope) {
        return ok(what, "not restricted");
    }
    return *scope == "0" || *scope == "1" ? ok(what, *scope)
                                          : warn(what, *scope,
                                                 "debuggers cannot look into a stuck process: "
                                                 "sysctl kernel.yama.ptrace_scope=1");
}

Finding mitigations(const Machine& machine) {
    const std::string what = "CPU mitigations";
    std::vector<std::string> active;
    std::error_code error;
    for (const auto& entry :
         fs::directory_iterator(machine.path("sys/devices/system/cpu/vulnerabilities"), error)) {
        const auto state = first_line(entry.path().string());
        if (state && state->find("Mitigation") != std::string::npos) {
            active.push_back(entry.path().filename().string());
        }
    }
    if (error) {
        return unknown(what);
    }
    std::sort(active.begin(), active.end());
    return active.empty()
               ? ok(what, "none active")
               : warn(
                     what,
                     fmt::format("{} active ({}{})", active.size(), active.front(),
                                 active.size() > 1 ? ", ..." : ""),
                     "system calls and context switches cost more; mitigations=off is for machines "
                     "that run trusted code only");
}

Finding registry(const Machine& machine) {
    const std::string what = "participants";
    if (!machine.is_this_one()) {
        return unknown(what);
    }
    const std::string path = shm::RegistryLayout::path_of(::geteuid());
    if (::access(path.c_str(), F_OK) != 0) {
        return ok(what, "nobody has used the library since /dev/shm was made");
    }
    if (::access(path.c_str(), R_OK | W_OK) != 0) {
        return warn(what, path + " may not be read and written",
                    "deaths could not be seen: remove it when no program of yours runs");
    }
    std::size_t foreign = 0;
    std::size_t total = 0;
    for (const std::string& object : shm::list_named_segments()) {
        shm::Failure failure;
        if (const auto inspector = shm::Inspector::open(object, failure);
            inspector && inspector->facts().owner == ::geteuid()) {
            ++total;
            foreign += inspector->look().bells_known ? 0U : 1U;
        }
    }
    return foreign == 0
               ? ok(what, fmt::format("{} named objects use {}", total, path))
               : warn(
                     what,
                     fmt::format("{} of {} objects use another table than {}", foreign, total,
                                 path),
                     "/dev/shm was cleared while they were in use: remove them and make them anew");
}

std::string_view word_of(Grade grade) {
    return grade == Grade::ok ? "ok" : grade == Grade::warn ? "warn" : "unknown";
}

int run(const Options& options) {
    const Machine machine(options.root);
    Json all = Json::array();
    bool warned = false;
    for (const auto& check :
         {governor, isolation, smt, huge_pages, shmem_huge, memlock, shared_memory, clock_source,
          kernel, kernel_features, ptrace_scope, mitigations, registry}) {
        const Finding finding = check(machine);
        warned = warned || finding.grade == Grade::warn;
        all.push_back({{"check", finding.what},
                       {"grade", word_of(finding.grade)},
                       {"found", finding.found},
                       {"mend", finding.mend}});
        if (options.json) {
            continue;
        }
        const std::string grade = fmt::format("{:<7}", word_of(finding.grade));
        fmt::print("{}  {:<22} {}\n",
                   finding.grade == Grade::ok     ? green(grade)
                   : finding.grade == Grade::warn ? yellow(grade)
                                                  : dim(grade),
                   finding.what, finding.found);
        if (!finding.mend.empty()) {
            fmt::print("         {}\n", finding.mend);
        }
    }
    if (options.json) {
        print_json(all);
    }
    return warned ? kFound : kGood;
}

}  // namespace

void add_doctor(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command = add_command(app, "doctor",
                                  "Checks this machine for low latency: ok, or a warning and how "
                                  "to mend it. Exit code 1: it warned",
                                  "sluice doctor");
    command
        .add_option("--root", options->root,
                    "Read proc and sys below this folder: a copy of another machine's")
        .type_name("DIR")
        .existing_directory()
        .capture_default_str();
    add_json(command, options->json);
    command.callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace sluice::tool
