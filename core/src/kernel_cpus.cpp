// Reading CPU lists and quotas from /proc, /sys and the cgroups.
#include "kernel_cpus.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <memory>
#include <sluice/topology.hpp>
#include <stdexcept>
#include <system_error>

namespace sluice::detail {
namespace {

/// A recursive-descent reader: list = entry {"," entry}, entry = range | "{" range {"," range} "}".
class CpuListReader {
 public:
    explicit CpuListReader(std::string_view text) : text_(text) {}

    std::vector<std::vector<unsigned>> read() {
        std::vector<std::vector<unsigned>> sets;
        if (at_end()) {
            return sets;
        }
        do {
            if (take('{')) {
                std::vector<unsigned>& set = sets.emplace_back();
                do {
                    range([&set](unsigned cpu) { set.push_back(cpu); });
                } while (take(','));
                if (!take('}')) {
                    fail("expected '}'");
                }
            } else {
                range([&sets](unsigned cpu) { sets.push_back({cpu}); });
            }
        } while (take(','));
        if (!at_end()) {
            fail("expected ',' or the end");
        }
        return sets;
    }

 private:
    template <class Add>
    void range(Add add) {
        const unsigned first = number();
        unsigned last = first;
        unsigned stride = 1;
        if (take('-')) {
            last = number();
            if (last < first) {
                fail("the range ends before it begins");
            }
            if (take(':')) {
                stride = number();
                if (stride == 0) {
                    fail("a stride of 0");
                }
            }
        }
        for (unsigned cpu = first; cpu <= last; cpu += stride) {
            add(cpu);
        }
    }

    unsigned number() {
        skip_blanks();
        unsigned value = 0;
        const char* const begin = text_.data() + position_;
        const auto result = std::from_chars(begin, text_.data() + text_.size(), value);
        if (result.ec == std::errc::invalid_argument) {
            fail("expected a CPU number");
        }
        if (result.ec != std::errc{} || value >= kCpuNumberEnd) {
            fail("no machine has so many CPUs");
        }
        position_ += static_cast<std::size_t>(result.ptr - begin);
        return value;
    }

    bool take(char wanted) {
        skip_blanks();
        if (position_ == text_.size() || text_[position_] != wanted) {
            return false;
        }
        ++position_;
        return true;
    }

    bool at_end() {
        skip_blanks();
        return position_ == text_.size();
    }

    void skip_blanks() {
        const std::size_t next = text_.find_first_not_of(" \t\r\n", position_);
        position_ = std::min(next, text_.size());
    }

    [[noreturn]] void fail(const char* reason) const {
        throw std::invalid_argument("CPU list \"" + std::string(text_) + "\": " + reason +
                                    " at character " + std::to_string(position_ + 1) +
                                    "; write it as \"0,2-5\", \"0-6:2\" or \"{0,1},{2,3}\"");
    }

    std::string_view text_;
    std::size_t position_{};
};

/// The limit of one directory of cgroup v2 ("200000 100000", "max 100000") or v1, in CPUs.
std::optional<double> quota_of(const std::string& directory) {
    double quota = 0;
    double period = 0;
    std::ifstream v2(directory + "/cpu.max");
    if (!(v2 >> quota >> period)) {
        std::ifstream v1_quota(directory + "/cpu.cfs_quota_us");
        std::ifstream v1_period(directory + "/cpu.cfs_period_us");
        if (!(v1_quota >> quota && v1_period >> period)) {
            return std::nullopt;
        }
    }
    if (quota <= 0 || period <= 0) {  // v1 writes -1 for no limit
        return std::nullopt;
    }
    return quota / period;
}

/// The smallest limit from `directory` up to `mount`. Directories that do not exist are passed
/// over: a container without a cgroup namespace is told its path on the host, but sees only the
/// mount.
void lower_to_quota_of_ancestors(const std::string& mount, std::string directory,
                                 std::optional<double>& lowest) {
    for (;;) {
        const std::optional<double> quota = quota_of(mount + directory);
        if (quota && (!lowest || *quota < *lowest)) {
            lowest = quota;
        }
        const std::size_t slash = directory.rfind('/');
        if (slash == std::string::npos) {
            return;
        }
        directory.erase(slash);
    }
}

bool lists_cpu_controller(std::string_view controllers) {
    while (!controllers.empty()) {
        const std::size_t comma = std::min(controllers.find(','), controllers.size());
        if (controllers.substr(0, comma) == "cpu") {
            return true;
        }
        controllers.remove_prefix(std::min(comma + 1, controllers.size()));
    }
    return false;
}

unsigned allowed_cpu_count() {
    struct Free {
        void operator()(cpu_set_t* set) const { CPU_FREE(set); }
    };
    // The kernel wants room for every CPU it could have and answers EINVAL until there is enough.
    for (unsigned cpus = 1024; cpus <= kCpuNumberEnd; cpus *= 2) {
        const std::unique_ptr<cpu_set_t, Free> set(CPU_ALLOC(cpus));
        if (!set) {
            break;
        }
        if (::sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), set.get()) == 0) {
            return static_cast<unsigned>(CPU_COUNT_S(CPU_ALLOC_SIZE(cpus), set.get()));
        }
        if (errno != EINVAL) {
            break;
        }
    }
    throw std::system_error(errno, std::generic_category(), "cpu_count: sched_getaffinity");
}

}  // namespace

std::vector<std::vector<unsigned>> parse_cpu_sets(std::string_view text) {
    return CpuListReader(text).read();
}

std::vector<unsigned> parse_cpu_list(std::string_view text) {
    if (text.find('{') != std::string_view::npos) {
        throw std::invalid_argument(
            "CPU list \"" + std::string(text) +
            "\": sets in braces mean one for each worker; here one list is meant");
    }
    std::vector<unsigned> cpus;
    for (const std::vector<unsigned>& set : parse_cpu_sets(text)) {
        cpus.push_back(set.front());
    }
    return cpus;
}

std::string format_cpu_list(std::span<const unsigned> cpus) {
    std::vector<unsigned> sorted(cpus.begin(), cpus.end());
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    std::string text;
    for (std::size_t first = 0; first < sorted.size();) {
        std::size_t last = first;
        while (last + 1 < sorted.size() && sorted[last + 1] == sorted[last] + 1) {
            ++last;
        }
        text += (text.empty() ? "" : ",") + std::to_string(sorted[first]);
        if (last != first) {
            text += "-" + std::to_string(sorted[last]);
        }
        first = last + 1;
    }
    return text;
}

std::vector<unsigned> isolated_cpus(const std::string& root) {
    std::ifstream file(root + "/sys/devices/system/cpu/isolated");
    std::string line;
    std::getline(file, line);
    return parse_cpu_list(line);
}

std::optional<double> cpu_quota(const std::string& root) {
    const std::string mounts = root + "/sys/fs/cgroup";
    std::optional<double> lowest;
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {  // "hierarchy:controllers:path"
        const std::size_t first = line.find(':');
        const std::size_t second = line.find(':', std::min(first, line.size() - 1) + 1);
        if (first == std::string::npos || second == std::string::npos) {
            continue;
        }
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::string path = line.substr(second + 1);
        if (path == "/") {
            path.clear();
        }
        if (controllers.empty()) {  // cgroup v2, alone or beside v1
            lower_to_quota_of_ancestors(mounts, path, lowest);
            lower_to_quota_of_ancestors(mounts + "/unified", path, lowest);
        } else if (lists_cpu_controller(controllers)) {
            lower_to_quota_of_ancestors(mounts + "/cpu", path, lowest);
            lower_to_quota_of_ancestors(mounts + "/" + controllers, path, lowest);
        }
    }
    return lowest;
}

}  // namespace sluice::detail

namespace sluice {

unsigned cpu_count(const std::string& root) {
    unsigned count = detail::allowed_cpu_count();
    if (const std::optional<double> quota = detail::cpu_quota(root); quota && *quota < count) {
        count = static_cast<unsigned>(std::floor(*quota));
    }
    return std::max(count, 1U);
}

}  // namespace sluice
