// The plan: which worker gets which places.
#include <algorithm>
#include <array>
#include <map>
#include <sluice/placement.hpp>
#include <span>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "kernel_cpus.hpp"

namespace sluice {
namespace {

using Pu = Topology::Pu;
using Places = std::vector<const Pu*>;
using Level = std::size_t Pu::*;

constexpr std::array<std::pair<std::string_view, Policy>, 7> kPolicies{{
    {"spread", Policy::spread},
    {"compact", Policy::compact},
    {"per_core", Policy::per_core},
    {"per_l3", Policy::per_l3},
    {"per_node", Policy::per_node},
    {"list", Policy::list},
    {"none", Policy::none},
}};

const Pu& usable_pu(const Topology& topology, unsigned cpu) {
    if (const Pu* pu = topology.find(cpu)) {
        return *pu;
    }
    throw std::invalid_argument("placement: CPU " + std::to_string(cpu) +
                                " is not usable here; usable CPUs are " + topology.cpu_list());
}

/// The hardware threads that the wish leaves, ordered so that those of one core, one L3 and one
/// node are neighbours (an L3 that spans several nodes appears once in each).
Places places_of(const Topology& topology, const Placement& placement) {
    Places places;
    if (placement.cpus.empty()) {
        for (const Pu& pu : topology.pus()) {
            places.push_back(&pu);
        }
    } else {
        std::vector<unsigned> cpus = detail::parse_cpu_list(placement.cpus);
        std::sort(cpus.begin(), cpus.end());
        cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
        for (const unsigned cpu : cpus) {
            places.push_back(&usable_pu(topology, cpu));
        }
    }
    if (placement.isolated != Isolated::any) {
        const bool wanted = placement.isolated == Isolated::only;
        std::erase_if(places, [wanted](const Pu* pu) { return pu->isolated != wanted; });
    }
    if (places.empty()) {
        throw std::invalid_argument(placement.isolated == Isolated::only
                                        ? "placement: no usable CPU is isolated; boot with "
                                          "isolcpus= or choose Isolated::any"
                                        : "placement: no CPU is left (the usable ones are "
                                          "isolated); choose Isolated::only or any");
    }
    std::sort(places.begin(), places.end(), [](const Pu* a, const Pu* b) {
        // A pointer into one vector is the topology's own order.
        return std::tie(a->node, a->l3, a->core, a) < std::tie(b->node, b->l3, b->core, b);
    });
    if (!placement.smt) {
        places.erase(std::unique(places.begin(), places.end(),
                                 [](const Pu* a, const Pu* b) { return a->core == b->core; }),
                     places.end());
    }
    return places;
}

/// Cuts the places where the level's object changes.
std::vector<std::span<const Pu* const>> groups_of(std::span<const Pu* const> places, Level level) {
    std::vector<std::span<const Pu* const>> groups;
    for (std::size_t first = 0; first < places.size();) {
        std::size_t last = first;
        while (last < places.size() && places[last]->*level == places[first]->*level) {
            ++last;
        }
        groups.push_back(places.subspan(first, last - first));
        first = last;
    }
    return groups;
}

/// Deals `count` out to groups of these sizes, one to each in turn; the last round, when it is too
/// short to reach all, goes to groups at equal distances (what is far apart in the order shares
/// least).
std::vector<std::size_t> shares_of(const std::vector<std::size_t>& sizes, std::size_t count) {
    std::vector<std::size_t> shares(sizes.size());
    while (count > 0) {
        std::vector<std::size_t> open;
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            if (shares[i] < sizes[i]) {
                open.push_back(i);
            }
        }
        const std::size_t round = std::min(count, open.size());
        for (std::size_t i = 0; i < round; ++i) {
            ++shares[open[i * open.size() / round]];
        }
        count -= round;
    }
    return shares;
}

void spread_over(std::span<const Pu* const> places, std::size_t count,
                 std::span<const Level> levels, Places& chosen) {
    if (count == 0) {
        return;
    }
    if (levels.empty()) {
        chosen.insert(chosen.end(), places.begin(),
                      places.begin() + static_cast<std::ptrdiff_t>(count));
        return;
    }
    const std::vector<std::span<const Pu* const>> groups = groups_of(places, levels.front());
    std::vector<std::size_t> sizes;
    for (const std::span<const Pu* const> group : groups) {
        sizes.push_back(group.size());
    }
    const std::vector<std::size_t> shares = shares_of(sizes, count);
    for (std::size_t i = 0; i < groups.size(); ++i) {
        spread_over(groups[i], shares[i], levels.subspan(1), chosen);
    }
}

/// A set of CPUs for each worker, before isolated ones are looked at.
std::vector<std::vector<unsigned>> single_cpus(const Places& places) {
    std::vector<std::vector<unsigned>> sets;
    for (const Pu* place : places) {
        sets.push_back({place->cpu});
    }
    return sets;
}

std::vector<std::vector<unsigned>> sets_per(const Places& places, Level level) {
    std::map<std::size_t, std::vector<unsigned>> sets_of_objects;
    for (const Pu* place : places) {
        sets_of_objects[place->*level].push_back(place->cpu);
    }
    std::vector<std::vector<unsigned>> sets;
    for (auto& object : sets_of_objects) {
        sets.push_back(std::move(object.second));
    }
    return sets;
}

std::vector<std::vector<unsigned>> listed_sets(const Topology& topology, const std::string& text) {
    std::vector<std::vector<unsigned>> sets = detail::parse_cpu_sets(text);
    if (sets.empty()) {
        throw std::invalid_argument(
            "placement: Policy::list needs Placement::cpus, as \"0,2-5\" or "
            "\"{0,1},{2,3}\"");
    }
    for (std::vector<unsigned>& set : sets) {
        for (const unsigned cpu : set) {
            (void)usable_pu(topology, cpu);
        }
        std::sort(set.begin(), set.end());
        set.erase(std::unique(set.begin(), set.end()), set.end());
    }
    return sets;
}

std::vector<std::vector<unsigned>> sets_of(const Topology& topology, const Placement& placement,
                                           std::size_t workers) {
    static constexpr std::array<Level, 3> kLevels{&Pu::node, &Pu::l3, &Pu::core};
    if (placement.policy == Policy::list) {
        return listed_sets(topology, placement.cpus);
    }
    const Places places = places_of(topology, placement);
    switch (placement.policy) {
        case Policy::spread: {
            Places chosen;
            spread_over(places, std::min(workers, places.size()), kLevels, chosen);
            return single_cpus(chosen);
        }
        case Policy::per_core:
            return sets_per(places, &Pu::core);
        case Policy::per_l3:
            return sets_per(places, &Pu::l3);
        case Policy::per_node:
            return sets_per(places, &Pu::node);
        case Policy::compact:
        case Policy::list:
        case Policy::none:
            break;
    }
    return single_cpus(places);
}

int common_node(const Topology& topology, const std::vector<unsigned>& cpus) {
    const std::size_t node = usable_pu(topology, cpus.front()).node;
    const bool common = std::all_of(cpus.begin(), cpus.end(), [&](unsigned cpu) {
        return usable_pu(topology, cpu).node == node;
    });
    return common ? topology.nodes()[node].os_index : -1;
}

bool has_isolated(const Topology& topology, const std::vector<unsigned>& cpus) {
    return std::any_of(cpus.begin(), cpus.end(),
                       [&](unsigned cpu) { return usable_pu(topology, cpu).isolated; });
}

}  // namespace

std::vector<Binding> plan(const Topology& topology, const Placement& placement,
                          std::size_t workers) {
    std::vector<Binding> bindings(workers);
    if (placement.policy == Policy::none) {
        if (!placement.cpus.empty()) {
            throw std::invalid_argument(
                "placement: Policy::none binds nothing, but Placement::cpus is \"" +
                placement.cpus + "\"; choose Policy::list");
        }
        return bindings;
    }
    if (workers == 0) {
        return bindings;
    }
    const std::vector<std::vector<unsigned>> sets = sets_of(topology, placement, workers);
    std::map<std::vector<unsigned>, std::size_t> reduced;
    for (std::size_t worker = 0; worker < workers; ++worker) {
        const std::vector<unsigned>& set = sets[worker % sets.size()];
        Binding& binding = bindings[worker];
        if (set.size() > 1 && has_isolated(topology, set)) {
            binding.cpus = {set[reduced[set]++ % set.size()]};
        } else {
            binding.cpus = set;
        }
        binding.node = common_node(topology, binding.cpus);
    }
    return bindings;
}

Placement parse_placement(std::string_view text) {
    for (const auto& [word, policy] : kPolicies) {
        if (word == text && policy != Policy::list) {
            return Placement{.policy = policy};
        }
    }
    if (text.find_first_of("0123456789{") == text.find_first_not_of(" \t") &&
        text.find_first_not_of(" \t") != std::string_view::npos) {
        (void)detail::parse_cpu_sets(
            text);  // a malformed list is better told of here, at the user's words
        return Placement{.policy = Policy::list, .cpus = std::string(text)};
    }
    throw std::invalid_argument(
        "placement \"" + std::string(text) +
        "\": expected spread, compact, per_core, per_l3, per_node, none, or a "
        "list of CPUs such as \"0,2-5\" or \"{0,1},{2,3}\"");
}

std::string_view to_string(Policy policy) noexcept {
    const auto found = std::find_if(kPolicies.begin(), kPolicies.end(),
                                    [policy](const auto& entry) { return entry.second == policy; });
    return found == kPolicies.end() ? "unknown" : found->first;
}

std::string to_string(const Binding& binding) {
    const std::string node = binding.node < 0 ? "" : "node " + std::to_string(binding.node);
    if (binding.cpus.empty()) {
        return node.empty() ? "unbound" : node;
    }
    return (binding.cpus.size() == 1 ? "CPU " : "CPUs ") + detail::format_cpu_list(binding.cpus) +
           (node.empty() ? "" : " on ") + node;
}

}  // namespace sluice
