#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sluice/topology.hpp>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "support/text.hpp"

namespace {

using sluice::Topology;
using sluice::test::message_of;
using Cpus = std::vector<unsigned>;

/// A directory that stands for "/": the files of /sys and /proc that the tests put there.
class FakeRoot {
 public:
    FakeRoot() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "sluice_root_XXXXXX").string();
        path_ = ::mkdtemp(pattern.data());
    }
    FakeRoot(const FakeRoot&) = delete;
    FakeRoot& operator=(const FakeRoot&) = delete;
    ~FakeRoot() { std::filesystem::remove_all(path_); }

    void write(const std::string& file, const std::string& text) const {
        const std::filesystem::path full = path_ + "/" + file;
        std::filesystem::create_directories(full.parent_path());
        std::ofstream(full) << text;
    }
    [[nodiscard]] const std::string& path() const { return path_; }

 private:
    std::string path_{};
};

/// What the calling thread may run on.
cpu_set_t affinity() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    EXPECT_EQ(::sched_getaffinity(0, sizeof cpus, &cpus), 0);
    return cpus;
}

TEST(Topology, CountsWhatADescriptionSays) {
    const Topology sut = Topology::synthetic("pack:2 [numa] l3:2 core:4 pu:2");
    EXPECT_EQ(sut.pus().size(), 32U);
    EXPECT_EQ(sut.cores().size(), 16U);
    EXPECT_EQ(sut.l3s().size(), 4U);
    EXPECT_EQ(sut.nodes().size(), 2U);
}

TEST(Topology, RelatesPusCoresCachesAndNodes) {
    const Topology sut = Topology::synthetic("pack:2 [numa] l3:2 core:4 pu:2");
    const Topology::Pu* pu = sut.find(27);
    ASSERT_NE(pu, nullptr);
    EXPECT_EQ(pu->core, 13U);
    EXPECT_EQ(pu->l3, 3U);
    EXPECT_EQ(pu->node, 1U);
    EXPECT_FALSE(pu->isolated);
    EXPECT_EQ(pu->efficiency, -1);
    EXPECT_EQ(sut.cores()[13].cpus, (Cpus{26, 27}));
    EXPECT_EQ(sut.cores()[13].l3, 3U);
    EXPECT_EQ(sut.cores()[13].node, 1U);
    EXPECT_EQ(sut.l3s()[3].cpus, (Cpus{24, 25, 26, 27, 28, 29, 30, 31}));
    EXPECT_EQ(sut.l3s()[3].node, 1U);
    EXPECT_EQ(sut.nodes()[1].os_index, 1);
    EXPECT_EQ(sut.nodes()[1].cpus.size(), 16U);
    EXPECT_EQ(sut.nodes()[1].cpus.front(), 16U);
}

TEST(Topology, KeepsTheKernelsNumbersInTopologyOrder) {
    // As x86 numbers them: the second threads of all cores come after the first ones.
    const Topology sut = Topology::synthetic("l3:1 core:4 pu:2(indexes=0,4,1,5,2,6,3,7)");
    ASSERT_EQ(sut.pus().size(), 8U);
    EXPECT_EQ(sut.pus()[1].cpu, 4U);
    EXPECT_EQ(sut.cores()[2].cpus, (Cpus{2, 6}));
}

TEST(Topology, TakesThePackageWhereThereIsNoL3) {
    const Topology sut = Topology::synthetic("pack:2 core:2 pu:1");
    ASSERT_EQ(sut.l3s().size(), 2U);
    EXPECT_EQ(sut.l3s()[1].cpus, (Cpus{2, 3}));
    EXPECT_EQ(sut.nodes().size(), 1U);
}

TEST(Topology, TakesTheMachineWhereThereIsNoL3AndNoPackage) {
    const Topology sut = Topology::synthetic("core:3 pu:1");
    ASSERT_EQ(sut.l3s().size(), 1U);
    EXPECT_EQ(sut.l3s()[0].cpus, (Cpus{0, 1, 2}));
    ASSERT_EQ(sut.nodes().size(), 1U);
    EXPECT_EQ(sut.nodes()[0].cpus, (Cpus{0, 1, 2}));
}

TEST(Topology, TakesEachPuForACoreWhereThereAreNoCores) {
    const Topology sut = Topology::synthetic("pu:3");
    EXPECT_EQ(sut.cores().size(), 3U);
    EXPECT_EQ(sut.cores()[2].cpus, (Cpus{2}));
}

TEST(Topology, GivesEachCpuToTheNearestOfItsNodes) {
    // One node for the package, and one for each half of it: the halves are nearer.
    const Topology sut = Topology::synthetic("pack:1 [numa] l3:2 [numa] core:2 pu:1");
    ASSERT_EQ(sut.nodes().size(), 3U);
    EXPECT_NE(sut.find(0)->node, sut.find(2)->node);
    std::size_t without_cpus = 0;
    for (const Topology::Node& node : sut.nodes()) {
        without_cpus += node.cpus.empty() ? 1U : 0U;
    }
    EXPECT_EQ(without_cpus, 1U);
}

TEST(Topology, FindsOnlyCpusThatAreHere) {
    const Topology sut = Topology::synthetic("core:2 pu:1");
    EXPECT_NE(sut.find(1), nullptr);
    EXPECT_EQ(sut.find(2), nullptr);
    EXPECT_EQ(sut.cpu_list(), "0-1");
}

TEST(Topology, RefusesAMalformedDescription) {
    for (const char* description : {"", "nonsense", "core:0 pu:1", "core:two"}) {
        const std::string what = message_of<std::invalid_argument>(
            [description] { (void)Topology::synthetic(description); });
        EXPECT_NE(what.find('"' + std::string(description) + '"'), std::string::npos) << what;
        EXPECT_NE(what.find("pack:2"), std::string::npos) << "no mend in: " << what;
    }
}

TEST(Topology, MarksTheIsolatedInACopy) {
    const Topology machine = Topology::synthetic("core:4 pu:1");
    const Topology sut = machine.with_isolated("1,3");
    EXPECT_FALSE(sut.find(0)->isolated);
    EXPECT_TRUE(sut.find(1)->isolated);
    EXPECT_FALSE(sut.find(2)->isolated);
    EXPECT_TRUE(sut.find(3)->isolated);
    EXPECT_FALSE(machine.find(1)->isolated);
    EXPECT_FALSE(sut.with_isolated("").find(1)->isolated);
}

TEST(Topology, RefusesToIsolateCpusThatAreNotHere) {
    const Topology sut = Topology::synthetic("core:4 pu:1");
    const std::string what =
        message_of<std::invalid_argument>([&sut] { (void)sut.with_isolated("2-5"); });
    EXPECT_NE(what.find("CPU 4"), std::string::npos) << what;
    EXPECT_NE(what.find("0-3"), std::string::npos) << what;
    EXPECT_THROW((void)sut.with_isolated("{0,1}"), std::invalid_argument);
    EXPECT_THROW((void)sut.with_isolated("x"), std::invalid_argument);
}

constexpr const char* kTwoCores = R"(<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
  <object type="Machine" os_index="0" cpuset="0x0000000f" complete_cpuset="0x0000000f"
   allowed_cpuset="0x0000000f" nodeset="0x00000001" complete_nodeset="0x00000001"
   allowed_nodeset="0x00000001" gp_index="1">
    <object type="NUMANode" os_index="0" cpuset="0x0000000f" complete_cpuset="0x0000000f"
     nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="2" local_memory="1073741824"/>
    <object type="Core" os_index="0" cpuset="0x00000005" complete_cpuset="0x00000005"
     nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="3">
      <object type="PU" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001"
       nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="4"/>
      <object type="PU" os_index="2" cpuset="0x00000004" complete_cpuset="0x00000004"
       nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="5"/>
    </object>
    <object type="Core" os_index="1" cpuset="0x0000000a" complete_cpuset="0x0000000a"
     nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="6">
      <object type="PU" os_index="1" cpuset="0x00000002" complete_cpuset="0x00000002"
       nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="7"/>
      <object type="PU" os_index="3" cpuset="0x00000008" complete_cpuset="0x00000008"
       nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="8"/>
    </object>
  </object>
CPUKINDS</topology>
)";

std::string two_cores(const std::string& cpukinds) {
    std::string xml = kTwoCores;
    xml.replace(xml.find("CPUKINDS"), 8, cpukinds);
    return xml;
}

std::string cpukind(const char* cpuset, const char* efficiency, const char* info) {
    return std::string("  <cpukind cpuset=\"") + cpuset + "\" forced_efficiency=\"" + efficiency +
           "\">\n    " + info + "\n  </cpukind>\n";
}

TEST(Topology, ReadsAnXmlFile) {
    const FakeRoot root;
    root.write("machine.xml", two_cores(""));
    const Topology sut = Topology::from_xml(root.path() + "/machine.xml");
    ASSERT_EQ(sut.cores().size(), 2U);
    EXPECT_EQ(sut.cores()[0].cpus, (Cpus{0, 2}));
    EXPECT_EQ(sut.cores()[1].cpus, (Cpus{1, 3}));
    EXPECT_EQ(sut.cores()[1].os_index, 1);
    EXPECT_EQ(sut.find(0)->efficiency, -1);
}

TEST(Topology, TellsKindsOfCoresThatTheHardwareTellsApart) {
    const FakeRoot root;
    root.write("machine.xml",
               two_cores(cpukind("0x5", "0", R"(<info name="CoreType" value="IntelAtom"/>)") +
                         cpukind("0xa", "1", R"(<info name="CoreType" value="IntelCore"/>)")));
    const Topology sut = Topology::from_xml(root.path() + "/machine.xml");
    EXPECT_EQ(sut.find(0)->efficiency, 0);
    EXPECT_EQ(sut.find(2)->efficiency, 0);
    EXPECT_EQ(sut.find(3)->efficiency, 1);
}

TEST(Topology, TakesCoresThatDifferOnlyInClockForOneKind) {
    const FakeRoot root;
    root.write("machine.xml",
               two_cores(cpukind("0x5", "0", R"(<info name="FrequencyMaxMHz" value="5000"/>)") +
                         cpukind("0xa", "1", R"(<info name="FrequencyMaxMHz" value="5050"/>)")));
    const Topology sut = Topology::from_xml(root.path() + "/machine.xml");
    EXPECT_EQ(sut.find(0)->efficiency, -1);
    EXPECT_EQ(sut.find(3)->efficiency, -1);
}

TEST(Topology, NamesAnXmlFileThatIsMissing) {
    const std::string what =
        message_of<std::system_error>([] { (void)Topology::from_xml("/nonexistent/machine.xml"); });
    EXPECT_NE(what.find("/nonexistent/machine.xml"), std::string::npos) << what;
    EXPECT_NE(what.find("lstopo"), std::string::npos) << what;
}

TEST(Topology, NamesAnXmlFileThatIsNoTopology) {
    const FakeRoot root;
    for (const char* text : {"", "hello", "<a/>", "<?xml version=\"1.0\"?>\n<topology>"}) {
        root.write("machine.xml", text);
        const std::string path = root.path() + "/machine.xml";
        const std::string what =
            message_of<std::invalid_argument>([&path] { (void)Topology::from_xml(path); });
        EXPECT_NE(what.find(path), std::string::npos) << what;
    }
}

TEST(Topology, ShowsOfThisMachineWhatTheThreadMayUse) {
    const cpu_set_t allowed = affinity();
    const Topology sut = Topology::system();
    EXPECT_EQ(sut.pus().size(), static_cast<std::size_t>(CPU_COUNT(&allowed)));
    for (const Topology::Pu& pu : sut.pus()) {
        EXPECT_TRUE(CPU_ISSET(pu.cpu, &allowed)) << pu.cpu;
        EXPECT_LT(pu.core, sut.cores().size());
        EXPECT_LT(pu.l3, sut.l3s().size());
        EXPECT_LT(pu.node, sut.nodes().size());
    }
}

TEST(Topology, HonoursTheThreadsAffinityAndLeavesItAlone) {
    const cpu_set_t before = affinity();
    unsigned last = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &before)) {
            last = cpu;
        }
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    const Topology sut = Topology::system();
    const unsigned count = sluice::cpu_count();
    const cpu_set_t after = affinity();
    ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
    EXPECT_EQ(sut.cpu_list(), std::to_string(last));
    EXPECT_EQ(count, 1U);
    EXPECT_TRUE(CPU_EQUAL(&after, &one));
}

TEST(Topology, ReadsTheIsolatedFromTheKernel) {
    const FakeRoot root;
    root.write("sys/devices/system/cpu/isolated", "0-4095\n");
    for (const Topology::Pu& pu : Topology::system(root.path()).pus()) {
        EXPECT_TRUE(pu.isolated) << pu.cpu;
    }
    root.write("sys/devices/system/cpu/isolated", "\n");
    for (const Topology::Pu& pu : Topology::system(root.path()).pus()) {
        EXPECT_FALSE(pu.isolated) << pu.cpu;
    }
    const FakeRoot without_file;
    for (const Topology::Pu& pu : Topology::system(without_file.path()).pus()) {
        EXPECT_FALSE(pu.isolated) << pu.cpu;
    }
}

TEST(Topology, IsReplacedByHwlocsVariable) {
    ASSERT_EQ(::setenv("HWLOC_SYNTHETIC", "pack:2 [numa] l3:2 core:4 pu:2", 1), 0);
    const Topology sut = Topology::system();
    ASSERT_EQ(::unsetenv("HWLOC_SYNTHETIC"), 0);
    EXPECT_EQ(sut.pus().size(), 32U);
}

// cpu_count: the thread's CPUs, or what the cgroups grant.

unsigned allowed_count() {
    const cpu_set_t allowed = affinity();
    return static_cast<unsigned>(CPU_COUNT(&allowed));
}

TEST(CpuCount, IsWhatTheThreadMayUseWithoutAQuota) {
    const FakeRoot root;
    EXPECT_EQ(sluice::cpu_count(root.path()), allowed_count());
    EXPECT_GE(sluice::cpu_count(), 1U);
    EXPECT_LE(sluice::cpu_count(), allowed_count());
}

TEST(CpuCount, IsTheQuotaOfCgroupV2RoundedDown) {
    const FakeRoot root;
    root.write("proc/self/cgroup", "0::/box\n");
    root.write("sys/fs/cgroup/box/cpu.max", "199999 100000\n");
    EXPECT_EQ(sluice::cpu_count(root.path()), 1U);
    root.write("sys/fs/cgroup/box/cpu.max", "200000 100000\n");
    EXPECT_EQ(sluice::cpu_count(root.path()), std::min(allowed_count(), 2U));
    root.write("sys/fs/cgroup/box/cpu.max", "max 100000\n");
    EXPECT_EQ(sluice::cpu_count(root.path()), allowed_count());
}

TEST(CpuCount, IsAtLeastOne) {
    const FakeRoot root;
    root.write("proc/self/cgroup", "0::/\n");
    root.write("sys/fs/cgroup/cpu.max", "1000 100000\n");
    EXPECT_EQ(sluice::cpu_count(root.path()), 1U);
}

TEST(CpuCount, HonoursTheQuotaOfAnAncestor) {
    const FakeRoot root;
    root.write("proc/self/cgroup", "0::/box/a/b\n");
    root.write("sys/fs/cgroup/box/a/b/cpu.max", "max 100000\n");
    root.write("sys/fs/cgroup/box/cpu.max", "100000 100000\n");
    EXPECT_EQ(sluice::cpu_count(root.path()), 1U);
}

TEST(CpuCount, HonoursTheQuotaOfCgroupV1) {
    const FakeRoot root;
    root.write(
        "proc/self/cgroup",
        "5:memory:/elsewhere\n4:cpuset:/box\n3:cpu,cpuacct:/docker/box\n1:name=systemd:/\n0::/\n");
    root.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n");
    root.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(sluice::cpu_count(root.path()), 1U);
    root.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    EXPECT_EQ(sluice::cpu_count(root.path()), allowed_count());
}

TEST(CpuCount, PassesOverWhatItCannotRead) {
    const FakeRoot root;
    for (const char* text :
         {"", "\n", ":", "0:", "0::", "nonsense", "0::/../../..\n", "1:cpu,,:/\n"}) {
        root.write("proc/self/cgroup", text);
        EXPECT_EQ(sluice::cpu_count(root.path()), allowed_count()) << text;
    }
    root.write("proc/self/cgroup", "0::/box\n");
    for (const char* text : {"", "nonsense", "100000", "100000 0", "0 0", "-1 100000"}) {
        root.write("sys/fs/cgroup/box/cpu.max", text);
        EXPECT_EQ(sluice::cpu_count(root.path()), allowed_count()) << text;
    }
}

}  // namespace
