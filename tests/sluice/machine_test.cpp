// sluice topo, plan, c2c, jitter and doctor: what they tell of machines, this one and made-up ones.
#include <sched.h>

#include <filesystem>
#include <fstream>

#include "sluice/run.hpp"
#include "support/processes.hpp"

namespace sluice::tool::test {
namespace {

constexpr const char* kMachine = "pack:2 [numa] l3:2 core:2 pu:2";

int usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
}

TEST(Topo, DrawsAMadeUpMachine) {
    const Ran ran = sluice_command({"topo", "--synthetic", kMachine});
    EXPECT_EQ(ran.code, 0);
    EXPECT_EQ(ran.out,
              "16 CPUs, 8 cores, 4 L3 caches, 2 memory nodes\n"
              "node 0  CPUs 0-7\n"
              "  L3 0  CPUs 0-3\n"
              "    [0 1] [2 3]\n"
              "  L3 1  CPUs 4-7\n"
              "    [4 5] [6 7]\n"
              "node 1  CPUs 8-15\n"
              "  L3 2  CPUs 8-11\n"
              "    [8 9] [10 11]\n"
              "  L3 3  CPUs 12-15\n"
              "    [12 13] [14 15]\n");
}

TEST(Topo, TellsThisMachineInJson) {
    const auto json = sluice_command({"topo", "--json"}).json();
    EXPECT_EQ(json.at("cpus").size(), static_cast<std::size_t>(usable_cpus()));
    EXPECT_FALSE(json.at("nodes").empty());
}

TEST(Topo, RefusesAMachineThatIsNone) {
    const Ran ran = sluice_command({"topo", "--synthetic", "pack:x"});
    EXPECT_EQ(ran.code, 2);
    EXPECT_TRUE(holds(ran.err, "pack:x")) << ran.err;
}

TEST(Plan, TellsWhereWorkersGoOnAMadeUpMachine) {
    const Ran text =
        sluice_command({"plan", "compact", "-n", "2", "--smt", "--synthetic", kMachine});
    EXPECT_EQ(text.out, "worker   0: CPU 0 on node 0\nworker   1: CPU 1 on node 0\n");
    const auto json =
        sluice_command({"plan", "spread", "-n", "2", "--json", "--synthetic", kMachine}).json();
    EXPECT_EQ(json.at(0).at("node"), 0);
    EXPECT_EQ(json.at(1).at("node"), 1);
}

TEST(Plan, RefusesACpuThatIsNotThereAndNamesIt) {
    const Ran ran = sluice_command({"plan", "99", "-n", "1", "--synthetic", kMachine});
    EXPECT_EQ(ran.code, 2);
    EXPECT_TRUE(holds(ran.err, "99")) << ran.err;
}

TEST(CoreToCore, MeasuresEveryPairOnce) {
    const sluice::test::Watchdog watchdog(120);
    const Ran ran = sluice_command({"c2c", "--blocks", "1", "--json"});
    if (usable_cpus() < 2) {
        EXPECT_EQ(ran.code, 2);
        GTEST_SKIP() << "needs two CPUs";
    }
    const auto json = ran.json();
    const auto& matrix = json.at("matrix");
    const auto count = static_cast<std::size_t>(usable_cpus());
    ASSERT_EQ(matrix.size(), count);
    for (std::size_t row = 0; row < count; ++row) {
        for (std::size_t column = 0; column < count; ++column) {
            EXPECT_EQ(matrix[row][column] > 0, row != column);
            EXPECT_EQ(matrix[row][column], matrix[column][row]);
        }
    }
    const Ran text = sluice_command({"c2c", "--blocks", "1"});
    EXPECT_EQ(text.lines().size(), count + 1);
    EXPECT_TRUE(text.lines().at(0).starts_with("CPU")) << text.out;
}

TEST(Jitter, TellsEachCpusInterruptions) {
    const sluice::test::Watchdog watchdog(120);
    const auto json =
        sluice_command({"jitter", "--seconds", "0.1", "--threshold", "0.5", "--json"}).json();
    ASSERT_EQ(json.size(), static_cast<std::size_t>(usable_cpus()));
    for (const auto& cpu : json) {
        std::uint64_t counted = 0;
        for (const auto& bucket : cpu.at("histogram")) {
            counted += bucket.at("count").get<std::uint64_t>();
        }
        EXPECT_EQ(counted, cpu.at("interruptions"));
        EXPECT_GE(cpu.at("watched_ns"), 100'000'000);
        EXPECT_LE(cpu.at("lost_ns"), cpu.at("watched_ns"));
    }
    EXPECT_TRUE(holds(sluice_command({"jitter", "--seconds", "0.05"}).out, "interruptions"));
    EXPECT_EQ(sluice_command({"jitter", "--cpus", "9999", "--seconds", "0.05"}).code, 2);
}

/// A copy of another machine's /proc and /sys.
class FakeMachine {
 public:
    FakeMachine() : root_("/tmp/sluice-doctor-" + std::to_string(getpid())) {
        std::filesystem::remove_all(root_);
        std::filesystem::create_directories(root_);
    }
    FakeMachine(const FakeMachine&) = delete;
    FakeMachine& operator=(const FakeMachine&) = delete;
    ~FakeMachine() { std::filesystem::remove_all(root_); }

    void set(const std::string& path, const std::string& text) const {
        const std::filesystem::path file = root_ / path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text << '\n';
    }
    nlohmann::json judged(const std::string& check) const {
        for (const auto& finding :
             sluice_command({"doctor", "--root", root_.string(), "--json"}).json()) {
            if (finding.at("check") == check) {
                return finding;
            }
        }
        ADD_FAILURE() << "no check " << check;
        return {};
    }

 private:
    std::filesystem::path root_;
};

TEST(Doctor, WarnsAndSaysHowToMend) {
    const FakeMachine sut;
    struct Case {
        const char* check;
        const char* file;
        const char* good;
        const char* bad;
    };
    for (const Case& item : {
             Case{"CPU governor", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                  "performance", "powersave"},
             Case{"isolated CPUs", "sys/devices/system/cpu/isolated", "2-7", ""},
             Case{"SMT", "sys/devices/system/cpu/smt/active", "0", "1"},
             Case{"huge pages", "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64", "0"},
             Case{"THP for shared memory", "sys/kernel/mm/transparent_hugepage/shmem_enabled",
                  "always within_size [advise] never deny force",
                  "always within_size advise [never] deny force"},
             Case{"clock source", "sys/devices/system/clocksource/clocksource0/current_clocksource",
                  "tsc", "hpet"},
             Case{"kernel", "proc/sys/kernel/osrelease", "5.16.0-1", "5.10.0-30-amd64"},
             Case{"ptrace scope", "proc/sys/kernel/yama/ptrace_scope", "1", "3"},
             Case{"CPU mitigations", "sys/devices/system/cpu/vulnerabilities/meltdown",
                  "Not affected", "Mitigation: PTI"},
         }) {
        SCOPED_TRACE(item.check);
        sut.set(item.file, item.good);
        EXPECT_EQ(sut.judged(item.check).at("grade"), "ok");
        EXPECT_EQ(sut.judged(item.check).at("mend"), "");
        sut.set(item.file, item.bad);
        EXPECT_EQ(sut.judged(item.check).at("grade"), "warn");
        EXPECT_NE(sut.judged(item.check).at("mend"), "");
    }
}

TEST(Doctor, ExitCodeSaysWhetherItWarned) {
    const Ran json = sluice_command({"doctor", "--json"});
    bool warned = false;
    for (const auto& finding : json.json()) {
        warned = warned || finding.at("grade") == "warn";
        EXPECT_EQ(finding.at("grade") == "warn", finding.at("mend") != "") << finding;
    }
    EXPECT_EQ(json.code, warned ? 1 : 0);
    const Ran text = sluice_command({"doctor"});
    EXPECT_EQ(text.code, json.code);
    EXPECT_TRUE(holds(text.out, "/dev/shm")) << text.out;
    EXPECT_TRUE(holds(text.out, "kernel features")) << text.out;
}

}  // namespace
}  // namespace sluice::tool::test
