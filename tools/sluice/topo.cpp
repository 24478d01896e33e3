// sluice topo, sluice plan: the machine as a picture in text, and where workers would go.
#include <sluice/placement.hpp>
#include <sluice/topology.hpp>

#include "command.hpp"

namespace sluice::tool {
namespace {

Topology machine(const std::string& synthetic) {
    try {
        return synthetic.empty() ? Topology::system() : Topology::synthetic(synthetic);
    } catch (const std::invalid_argument& error) {
        throw CommandError(kUsage, std::string("--synthetic: ") + error.what());
    }
}

// topo ---------------------------------------------------------------------------------------

struct TopoOptions {
    std::string synthetic{};
    bool json{};
};

std::string core_text(const Topology& topology, const Topology::Core& core) {
    std::string text = "[";
    for (const unsigned cpu : core.cpus) {
        const Topology::Pu* const pu = topology.find(cpu);
        text += text.size() > 1 ? " " : "";
        text += std::to_string(cpu);
        text += pu != nullptr && pu->isolated ? "!" : "";
    }
    return text + "]";
}

void print_cores(const Topology& topology, std::size_t l3, std::size_t node,
                 const std::string& indent) {
    constexpr std::size_t kColumns = 100;
    std::string line = indent;
    for (const Topology::Core& core : topology.cores()) {
        if (core.l3 != l3 || core.node != node) {
            continue;
        }
        const std::string text = core_text(topology, core);
        if (line.size() > indent.size() && line.size() + text.size() + 1 > kColumns) {
            fmt::print("{}\n", line);
            line = indent;
        }
        line += text + " ";
    }
    if (line.size() > indent.size()) {
        line.pop_back();
        fmt::print("{}\n", line);
    }
}

void print_picture(const Topology& topology) {
    fmt::print("{}\n", bold(fmt::format("{} CPUs, {} cores, {} L3 caches, {} memory nodes",
                                        topology.pus().size(), topology.cores().size(),
                                        topology.l3s().size(), topology.nodes().size())));
    for (std::size_t node = 0; node < topology.nodes().size(); ++node) {
        const Topology::Node& memory = topology.nodes()[node];
        fmt::print("node {}{}\n", memory.os_index < 0 ? 0 : memory.os_index,
                   memory.cpus.empty() ? "  (memory only)" : "  CPUs " + cpu_list(memory.cpus));
        for (std::size_t l3 = 0; l3 < topology.l3s().size(); ++l3) {
            if (topology.l3s()[l3].node == node) {
                fmt::print("  L3 {}  CPUs {}\n", l3, cpu_list(topology.l3s()[l3].cpus));
                print_cores(topology, l3, node, "    ");
            }
        }
    }
    for (const Topology::Pu& pu : topology.pus()) {
        if (pu.isolated) {
            fmt::print("! isolated from the scheduler\n");
            break;
        }
    }
    fmt::print(stderr, "sluice: a pair of brackets is a core, a number in it one of its CPUs\n");
}

Json topology_json(const Topology& topology) {
    Json json{{"cpus", Json::array()},
              {"cores", Json::array()},
              {"l3s", Json::array()},
              {"nodes", Json::array()}};
    for (const Topology::Pu& pu : topology.pus()) {
        json["cpus"].push_back({{"cpu", pu.cpu},
                                {"core", pu.core},
                                {"l3", pu.l3},
                                {"node", pu.node},
                                {"isolated", pu.isolated},
                                {"efficiency", pu.efficiency}});
    }
    for (const Topology::Core& core : topology.cores()) {
        json["cores"].push_back({{"l3", core.l3}, {"node", core.node}, {"cpus", core.cpus}});
    }
    for (const Topology::L3& l3 : topology.l3s()) {
        json["l3s"].push_back({{"node", l3.node}, {"cpus", l3.cpus}});
    }
    for (const Topology::Node& node : topology.nodes()) {
        json["nodes"].push_back({{"number", node.os_index}, {"cpus", node.cpus}});
    }
    return json;
}

int run_topo(const TopoOptions& options) {
    const Topology topology = machine(options.synthetic);
    if (options.json) {
        print_json(topology_json(topology));
    } else {
        print_picture(topology);
    }
    return kGood;
}

// plan ---------------------------------------------------------------------------------------

struct PlanOptions {
    std::string policy{"spread"};
    std::size_t workers{};
    std::string cpus{};
    std::string isolated{"avoid"};
    std::string synthetic{};
    bool smt{};
    bool json{};
};

int run_plan(const PlanOptions& options) {
    const Topology topology = machine(options.synthetic);
    const std::size_t workers = options.workers != 0 ? options.workers : topology.cores().size();
    std::vector<Binding> bindings;
    try {
        Placement wish = parse_placement(options.policy);
        if (!options.cpus.empty()) {
            wish.cpus = options.cpus;
        }
        wish.smt = options.smt;
        wish.isolated = options.isolated == "only"  ? Isolated::only
                        : options.isolated == "any" ? Isolated::any
                                                    : Isolated::avoid;
        bindings = plan(topology, wish, workers);
    } catch (const std::invalid_argument& error) {
        throw CommandError(kUsage, error.what());
    }
    Json all = Json::array();
    for (std::size_t worker = 0; worker < bindings.size(); ++worker) {
        const Binding& binding = bindings[worker];
        all.push_back({{"worker", worker}, {"cpus", binding.cpus}, {"node", binding.node}});
        if (!options.json) {
            fmt::print("worker {:>3}: {}\n", worker, to_string(binding));
        }
    }
    if (options.json) {
        print_json(all);
    }
    return kGood;
}

}  // namespace

void add_topo(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<TopoOptions>();
    Command command = add_command(app, "topo", "Draws the machine: memory nodes, caches, cores",
                                  "sluice topo --synthetic 'pack:2 [numa] l3:2 core:4 pu:2'");
    add_synthetic(command, options->synthetic);
    add_json(command, options->json);
    command.callback([options, &exit_code] { exit_code = run_topo(*options); });
}

void add_plan(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<PlanOptions>();
    Command command =
        add_command(app, "plan", "Tells where workers would go", "sluice plan compact -n 4 --smt");
    command
        .add_option("policy", options->policy,
                    "spread, compact, per_core, per_l3, per_node, none, or a list: 0,2-5 or "
                    "{0,1},{2,3}")
        .capture_default_str();
    command.add_option("-n,--workers", options->workers, "How many workers [one a core]")
        .type_name("N")
        .between(std::size_t{1}, std::size_t{65'536});
    command.add_option("--cpus", options->cpus, "Only these CPUs, as 0-7").type_name("LIST");
    command.add_option("--isolated", options->isolated, "CPUs of isolcpus=: avoid, only, any")
        .type_name("WHAT")
        .one_of({"avoid", "only", "any"})
        .capture_default_str();
    command.add_flag("--smt", options->smt, "Also second hardware threads of cores");
    add_synthetic(command, options->synthetic);
    add_json(command, options->json);
    command.callback([options, &exit_code] { exit_code = run_plan(*options); });
}

}  // namespace sluice::tool
