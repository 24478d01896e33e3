// What the kernel's files say about CPUs, and the syntax they (and our users) write CPU lists in.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::detail {

/// No kernel has a CPU of this number or above; it bounds what a list may ask us to allocate.
inline constexpr unsigned kCpuNumberEnd = 65536;

/// Reads "2,4-7:2" as {2},{4},{6} and "{0,1},{2,3}" as {0,1},{2,3}: one set for each worker, in the
/// order written. N-M:S takes every S-th, as taskset does. Blanks are skipped, an empty text is no
/// set. Errors: std::invalid_argument that shows the text and the position.
std::vector<std::vector<unsigned>> parse_cpu_sets(std::string_view text);

/// Reads a list without braces.
/// Errors: std::invalid_argument.
std::vector<unsigned> parse_cpu_list(std::string_view text);

/// Writes CPUs as "0-3,8": ascending, each once.
std::string format_cpu_list(std::span<const unsigned> cpus);

/// The CPUs of isolcpus=, from /sys/devices/system/cpu/isolated; none if there is no such file.
std::vector<unsigned> isolated_cpus(const std::string& root);

/// The smallest CPU quota of our cgroups and all above them, in CPUs; none if unlimited.
std::optional<double> cpu_quota(const std::string& root);

}  // namespace sluice::detail
