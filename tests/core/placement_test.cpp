#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <set>
#include <sluice/placement.hpp>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

using sluice::Binding;
using sluice::Isolated;
using sluice::Placement;
using sluice::plan;
using sluice::Policy;
using sluice::Topology;
using Cpus = std::vector<unsigned>;
using Plan = std::vector<Cpus>;

/// 2 nodes, 4 L3s of 4 cores of 2 threads: CPUs 0-31, the threads of core n are 2n and 2n+1.
Topology two_nodes() {
    return Topology::synthetic("pack:2 [numa] l3:2 core:4 pu:2");
}

Plan cpus_of(const std::vector<Binding>& bindings) {
    Plan cpus;
    for (const Binding& binding : bindings) {
        cpus.push_back(binding.cpus);
    }
    return cpus;
}

Plan planned(const Topology& topology, const Placement& placement, std::size_t workers) {
    return cpus_of(plan(topology, placement, workers));
}

std::vector<int> nodes_of(const std::vector<Binding>& bindings) {
    std::vector<int> nodes;
    for (const Binding& binding : bindings) {
        nodes.push_back(binding.node);
    }
    return nodes;
}

template <class F>
std::string refusal(F f) {
    try {
        f();
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    ADD_FAILURE() << "no invalid_argument was thrown";
    return {};
}

// spread
// ---------------------------------------------------------------------------------------------

TEST(PlanSpread, GivesFourWorkersAnL3Each) {
    const std::vector<Binding> sut = plan(two_nodes(), {.policy = Policy::spread}, 4);
    EXPECT_EQ(cpus_of(sut), (Plan{{0}, {8}, {16}, {24}}));
    EXPECT_EQ(nodes_of(sut), (std::vector<int>{0, 0, 1, 1}));
}

TEST(PlanSpread, IsTheDefault) {
    EXPECT_EQ(planned(two_nodes(), {}, 2), (Plan{{0}, {16}}));
}

TEST(PlanSpread, TakesNodesThenCachesThenCores) {
    EXPECT_EQ(planned(two_nodes(), {}, 1), (Plan{{0}}));
    EXPECT_EQ(planned(two_nodes(), {}, 3), (Plan{{0}, {8}, {16}}));
    // What `hwloc-distrib --single 8` says: every second core.
    EXPECT_EQ(planned(two_nodes(), {}, 8), (Plan{{0}, {4}, {8}, {12}, {16}, {20}, {24}, {28}}));
}

TEST(PlanSpread, UsesEachCoreOnceBeforeItBeginsAgain) {
    const Plan sut = planned(two_nodes(), {}, 20);
    ASSERT_EQ(sut.size(), 20U);
    for (unsigned worker = 0; worker < 16; ++worker) {
        EXPECT_EQ(sut[worker], (Cpus{2 * worker}));
    }
    EXPECT_EQ(sut[16], (Cpus{0}));
    EXPECT_EQ(sut[19], (Cpus{6}));
}

TEST(PlanSpread, UsesSecondThreadsOnlyWhenAllowedAndOnlyWhenCoresRunOut) {
    const Plan sixteen = planned(two_nodes(), {.smt = true}, 16);
    for (unsigned worker = 0; worker < 16; ++worker) {
        EXPECT_EQ(sixteen[worker], (Cpus{2 * worker}));
    }
    const Plan sut = planned(two_nodes(), {.smt = true}, 32);
    for (unsigned worker = 0; worker < 32; ++worker) {
        EXPECT_EQ(sut[worker], (Cpus{worker}));
    }
}

TEST(PlanSpread, SharesOutUnevenMachinesFairly) {
    // Restricted to 3 cores of the first node and 1 of the second: the small node is not
    // overfilled.
    const Placement small{.cpus = "0,2,4,16"};
    EXPECT_EQ(planned(two_nodes(), small, 2), (Plan{{0}, {16}}));
    EXPECT_EQ(planned(two_nodes(), small, 4), (Plan{{0}, {2}, {4}, {16}}));
}

TEST(PlanSpread, GoesToNodesFarApartWhenThereAreMoreNodesThanWorkers) {
    const Topology four = Topology::synthetic("pack:4 [numa] core:2 pu:1");
    EXPECT_EQ(planned(four, {}, 2), (Plan{{0}, {4}}));
}

TEST(PlanSpread, NeedsNeitherSmtNorL3NorNuma) {
    const Topology plain = Topology::synthetic("core:4 pu:1");
    EXPECT_EQ(planned(plain, {}, 2), (Plan{{0}, {2}}));
    EXPECT_EQ(planned(plain, {}, 4), (Plan{{0}, {1}, {2}, {3}}));
}

TEST(PlanSpread, GivesNoTwoWorkersOnePlaceWhileThereAreOthers) {
    for (const char* machine :
         {"pack:2 [numa] l3:2 core:4 pu:2", "pack:3 [numa] core:5 pu:2", "l3:3 core:3 pu:1", "pu:7",
          "pack:1 [numa] l3:2 [numa] core:2 pu:2"}) {
        const Topology topology = Topology::synthetic(machine);
        for (const Policy policy : {Policy::spread, Policy::compact}) {
            const std::size_t places = topology.pus().size();
            for (std::size_t workers = 0; workers <= places; ++workers) {
                const Plan sut = planned(topology, {.policy = policy, .smt = true}, workers);
                ASSERT_EQ(sut.size(), workers);
                EXPECT_EQ(std::set<Cpus>(sut.begin(), sut.end()).size(), workers) << machine;
            }
        }
    }
}

TEST(PlanSpread, BalancesEveryNumberOfWorkers) {
    const Topology topology = two_nodes();
    for (std::size_t workers = 1; workers <= 32; ++workers) {
        std::vector<std::size_t> on_l3(4);
        for (const Binding& binding : plan(topology, {.smt = true}, workers)) {
            ++on_l3[topology.find(binding.cpus.front())->l3];
        }
        const auto [least, most] = std::minmax_element(on_l3.begin(), on_l3.end());
        EXPECT_LE(*most - *least, 1U) << workers;
    }
}

// compact
// --------------------------------------------------------------------------------------------

TEST(PlanCompact, FillsOneL3CoreByCoreThenTheNext) {
    const std::vector<Binding> sut = plan(two_nodes(), {.policy = Policy::compact}, 6);
    EXPECT_EQ(cpus_of(sut), (Plan{{0}, {2}, {4}, {6}, {8}, {10}}));
    EXPECT_EQ(sut[5].node, 0);
}

TEST(PlanCompact, FillsBothThreadsOfACoreWhenAllowed) {
    const Placement placement{.policy = Policy::compact, .smt = true};
    EXPECT_EQ(planned(two_nodes(), placement, 3), (Plan{{0}, {1}, {2}}));
}

TEST(PlanCompact, GoesByTheMachineAndNotByTheNumbers) {
    const Topology topology = Topology::synthetic("l3:2 core:2 pu:2(indexes=0,4,1,5,2,6,3,7)");
    EXPECT_EQ(planned(topology, {.policy = Policy::compact, .smt = true}, 5),
              (Plan{{0}, {4}, {1}, {5}, {2}}));
    EXPECT_EQ(planned(topology, {.policy = Policy::compact}, 4), (Plan{{0}, {1}, {2}, {3}}));
}

TEST(PlanCompact, BeginsAgainWhenPlacesRunOut) {
    const Topology topology = Topology::synthetic("core:2 pu:2");
    EXPECT_EQ(planned(topology, {.policy = Policy::compact}, 5), (Plan{{0}, {2}, {0}, {2}, {0}}));
}

// per_core, per_l3, per_node
// -------------------------------------------------------------------------

TEST(PlanPer, BindsToAllPlacesOfTheObject) {
    const Topology topology = two_nodes();
    EXPECT_EQ(planned(topology, {.policy = Policy::per_core, .smt = true}, 2),
              (Plan{{0, 1}, {2, 3}}));
    EXPECT_EQ(planned(topology, {.policy = Policy::per_core}, 2), (Plan{{0}, {2}}));
    EXPECT_EQ(planned(topology, {.policy = Policy::per_l3}, 4),
              (Plan{{0, 2, 4, 6}, {8, 10, 12, 14}, {16, 18, 20, 22}, {24, 26, 28, 30}}));
    EXPECT_EQ(planned(topology, {.policy = Policy::per_l3, .smt = true}, 1),
              (Plan{{0, 1, 2, 3, 4, 5, 6, 7}}));
    const std::vector<Binding> nodes = plan(topology, {.policy = Policy::per_node, .smt = true}, 2);
    EXPECT_EQ(nodes[1].cpus.size(), 16U);
    EXPECT_EQ(nodes[1].cpus.front(), 16U);
    EXPECT_EQ(nodes_of(nodes), (std::vector<int>{0, 1}));
}

TEST(PlanPer, BeginsAgainWhenObjectsRunOut) {
    const std::vector<Binding> sut = plan(two_nodes(), {.policy = Policy::per_node}, 5);
    EXPECT_EQ(nodes_of(sut), (std::vector<int>{0, 1, 0, 1, 0}));
    EXPECT_EQ(sut[0], sut[4]);
}

TEST(PlanPer, PassesOverNodesWithoutCpus) {
    const Topology topology = Topology::synthetic("pack:1 [numa] l3:2 [numa] core:2 pu:1");
    ASSERT_EQ(topology.nodes().size(), 3U);
    EXPECT_EQ(planned(topology, {.policy = Policy::per_node}, 3), (Plan{{0, 1}, {2, 3}, {0, 1}}));
}

TEST(PlanPer, StaysInsideTheCpusNamed) {
    const Placement placement{.policy = Policy::per_l3, .cpus = "2-5,16-17", .smt = true};
    EXPECT_EQ(planned(two_nodes(), placement, 3), (Plan{{2, 3, 4, 5}, {16, 17}, {2, 3, 4, 5}}));
}

// list, none
// -----------------------------------------------------------------------------------------

TEST(PlanList, TakesCpusInTheOrderWritten) {
    EXPECT_EQ(planned(two_nodes(), {.policy = Policy::list, .cpus = "2,4-7:2"}, 3),
              (Plan{{2}, {4}, {6}}));
    EXPECT_EQ(planned(two_nodes(), {.policy = Policy::list, .cpus = " 9 , 3-5 "}, 5),
              (Plan{{9}, {3}, {4}, {5}, {9}}));
}

TEST(PlanList, TakesASetForEachWorker) {
    const std::vector<Binding> sut =
        plan(two_nodes(), {.policy = Policy::list, .cpus = "{1,0},{14-17}, 5"}, 4);
    EXPECT_EQ(cpus_of(sut), (Plan{{0, 1}, {14, 15, 16, 17}, {5}, {0, 1}}));
    EXPECT_EQ(nodes_of(sut), (std::vector<int>{0, -1, 0, 0}));
}

TEST(PlanList, IsTakenAtItsWord) {
    const Topology topology = two_nodes().with_isolated("8");
    EXPECT_EQ(planned(topology, {.policy = Policy::list, .cpus = "1,8", .smt = false}, 2),
              (Plan{{1}, {8}}));
}

TEST(PlanList, NamesACpuThatIsNotUsable) {
    for (const char* cpus : {"0,32", "{0,32}", "30-32"}) {
        const std::string what =
            refusal([cpus] { (void)plan(two_nodes(), {.policy = Policy::list, .cpus = cpus}, 1); });
        EXPECT_NE(what.find("CPU 32"), std::string::npos) << what;
        EXPECT_NE(what.find("0-31"), std::string::npos) << what;
    }
}

TEST(PlanList, RefusesAMalformedList) {
    for (const char* cpus :
         {"", " ", ",", "1,", "a", "1-", "3-1", "0-4:0", "{}", "{1", "1}", "{1},", "{{1}}", "-1",
          "1 2", "99999999999", "70000", "0-70000", "0:2"}) {
        const std::string what =
            refusal([cpus] { (void)plan(two_nodes(), {.policy = Policy::list, .cpus = cpus}, 1); });
        EXPECT_NE(what.find("0,2-5"), std::string::npos)
            << "no mend for '" << cpus << "': " << what;
    }
}

TEST(PlanNone, BindsNobody) {
    EXPECT_EQ(plan(two_nodes(), {.policy = Policy::none}, 3), std::vector<Binding>(3));
    EXPECT_THROW((void)plan(two_nodes(), {.policy = Policy::none, .cpus = "1"}, 3),
                 std::invalid_argument);
}

TEST(Plan, IsEmptyForNoWorkers) {
    for (const Policy policy : {Policy::spread, Policy::compact, Policy::per_l3, Policy::none}) {
        EXPECT_TRUE(plan(two_nodes(), {.policy = policy}, 0).empty());
    }
}

TEST(Plan, RefusesSetsWhereOneListIsMeant) {
    EXPECT_THROW((void)plan(two_nodes(), {.cpus = "{0,1},{2,3}"}, 1), std::invalid_argument);
    const std::string what = refusal([] { (void)plan(two_nodes(), {.cpus = "64"}, 1); });
    EXPECT_NE(what.find("CPU 64"), std::string::npos) << what;
}

// isolated CPUs
// --------------------------------------------------------------------------------------

TEST(PlanIsolated, LeavesThemAloneByDefault) {
    const Topology topology = Topology::synthetic("core:4 pu:1").with_isolated("0-1");
    EXPECT_EQ(planned(topology, {.policy = Policy::compact}, 3), (Plan{{2}, {3}, {2}}));
    EXPECT_EQ(planned(topology, {.policy = Policy::per_l3}, 1), (Plan{{2, 3}}));
}

TEST(PlanIsolated, UsesNothingElseWhenToldSo) {
    const Topology topology = Topology::synthetic("core:4 pu:1").with_isolated("1,3");
    EXPECT_EQ(planned(topology, {.isolated = Isolated::only}, 2), (Plan{{1}, {3}}));
}

TEST(PlanIsolated, MakesNoDifferenceWhenToldSo) {
    const Topology topology = Topology::synthetic("core:4 pu:1").with_isolated("1,3");
    EXPECT_EQ(planned(topology, {.isolated = Isolated::any}, 4), (Plan{{0}, {1}, {2}, {3}}));
}

TEST(PlanIsolated, ReducesASetToOneCpu) {
    const Topology topology = Topology::synthetic("core:4 pu:1").with_isolated("1,3");
    const Placement only{.policy = Policy::per_l3, .isolated = Isolated::only};
    EXPECT_EQ(planned(topology, only, 3), (Plan{{1}, {3}, {1}}));
    const Placement any{.policy = Policy::per_l3, .isolated = Isolated::any};
    EXPECT_EQ(planned(topology, any, 5), (Plan{{0}, {1}, {2}, {3}, {0}}));
    const Placement sets{.policy = Policy::list, .cpus = "{2,3},{0,2},{2,3}"};
    EXPECT_EQ(planned(topology, sets, 3), (Plan{{2}, {0, 2}, {3}}));
}

TEST(PlanIsolated, TakesTheThreadOfACoreThatIsNotIsolated) {
    const Topology topology = Topology::synthetic("core:2 pu:2").with_isolated("0");
    EXPECT_EQ(planned(topology, {}, 2), (Plan{{1}, {2}}));
}

TEST(PlanIsolated, SaysWhatToDoWhenNothingIsLeft) {
    const Topology none = Topology::synthetic("core:2 pu:1");
    const Topology all = none.with_isolated("0-1");
    EXPECT_NE(
        refusal([&none] { (void)plan(none, {.isolated = Isolated::only}, 1); }).find("isolcpus="),
        std::string::npos);
    EXPECT_NE(refusal([&all] { (void)plan(all, {}, 1); }).find("Isolated::only"),
              std::string::npos);
}

// words
// ----------------------------------------------------------------------------------------------

TEST(ParsePlacement, KnowsTheWords) {
    for (const Policy policy : {Policy::spread, Policy::compact, Policy::per_core, Policy::per_l3,
                                Policy::per_node, Policy::none}) {
        const Placement sut = sluice::parse_placement(sluice::to_string(policy));
        EXPECT_EQ(sut.policy, policy);
        EXPECT_TRUE(sut.cpus.empty());
    }
}

TEST(ParsePlacement, TakesAList) {
    for (const char* text : {"0,1", "2-5", "{0,1},{2,3}", " 3"}) {
        const Placement sut = sluice::parse_placement(text);
        EXPECT_EQ(sut.policy, Policy::list) << text;
        EXPECT_EQ(sut.cpus, text);
    }
    EXPECT_THROW((void)sluice::parse_placement("0,x"), std::invalid_argument);
}

TEST(ParsePlacement, ListsTheWordsWhenItKnowsBetter) {
    for (const char* text : {"", " ", "sprad", "list", "spread0", "SPREAD"}) {
        const std::string what = refusal([text] { (void)sluice::parse_placement(text); });
        EXPECT_NE(what.find("spread, compact, per_core, per_l3, per_node, none"), std::string::npos)
            << what;
        EXPECT_NE(what.find('"' + std::string(text) + '"'), std::string::npos) << what;
    }
}

TEST(BindingText, IsForPeople) {
    EXPECT_EQ(sluice::to_string(Binding{}), "unbound");
    EXPECT_EQ(sluice::to_string(Binding{.node = 1}), "node 1");
    EXPECT_EQ(sluice::to_string(Binding{.cpus = {3}}), "CPU 3");
    EXPECT_EQ(sluice::to_string(Binding{.cpus = {3}, .node = 0}), "CPU 3 on node 0");
    EXPECT_EQ(sluice::to_string(Binding{.cpus = {8, 1, 0, 2}, .node = 0}), "CPUs 0-2,8 on node 0");
}

// bind_this_thread
// -----------------------------------------------------------------------------------

TEST(BindThisThread, BindsOnlyThisThread) {
    const Topology topology = Topology::system();
    const unsigned cpu = topology.pus().back().cpu;
    cpu_set_t inside;
    CPU_ZERO(&inside);
    cpu_set_t before;
    ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
    std::thread([cpu, &inside] {
        sluice::bind_this_thread({.cpus = {cpu}});
        EXPECT_EQ(::sched_getaffinity(0, sizeof inside, &inside), 0);
    }).join();
    cpu_set_t after;
    ASSERT_EQ(::sched_getaffinity(0, sizeof after, &after), 0);
    EXPECT_EQ(CPU_COUNT(&inside), 1);
    EXPECT_TRUE(CPU_ISSET(cpu, &inside));
    EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(BindThisThread, PrefersTheNode) {
    const Topology topology = Topology::system();
    const Topology::Pu& pu = topology.pus().front();
    const int node = topology.nodes()[pu.node].os_index;
    std::thread([&pu, node] {
        sluice::bind_this_thread({.cpus = {pu.cpu}, .node = node});
        int mode = -1;
        unsigned long mask[16] = {};
        if (::syscall(SYS_get_mempolicy, &mode, mask, sizeof mask * 8, nullptr, 0) != 0) {
            GTEST_SKIP() << "the kernel or the container has no memory policies";
        }
        EXPECT_EQ(mode, MPOL_PREFERRED);
        EXPECT_EQ(mask[0], 1UL << node);
    }).join();
}

TEST(BindThisThread, ChangesNothingForAnEmptyBinding) {
    cpu_set_t before;
    ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
    sluice::bind_this_thread({});
    cpu_set_t after;
    ASSERT_EQ(::sched_getaffinity(0, sizeof after, &after), 0);
    EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(BindThisThread, NamesTheCpusAndTheNodeItCannotHave) {
    for (const unsigned cpu : {8000U, 70000U, 4294967295U}) {
        try {
            sluice::bind_this_thread({.cpus = {cpu}});
            ADD_FAILURE() << "bound to CPU " << cpu;
        } catch (const std::system_error& error) {
            EXPECT_NE(std::string(error.what()).find("CPU " + std::to_string(cpu)),
                      std::string::npos)
                << error.what();
        }
    }
    for (const int node : {1000, 100000}) {
        try {
            sluice::bind_this_thread({.node = node});
            ADD_FAILURE() << "bound to node " << node;
        } catch (const std::system_error& error) {
            EXPECT_NE(std::string(error.what()).find("node " + std::to_string(node)),
                      std::string::npos)
                << error.what();
        }
    }
}

}  // namespace
