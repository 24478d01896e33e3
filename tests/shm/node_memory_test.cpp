#include "sluice/shm/node_memory.hpp"

#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <numeric>

#include "sluice/shm/mapping.hpp"

namespace sluice::shm {
namespace {

constexpr std::size_t kBytes = 64 * 4096;

bool kernel_has_numa() {
    int mode = 0;
    return syscall(SYS_get_mempolicy, &mode, nullptr, 0UL, nullptr, 0UL) == 0;
}

std::size_t pages_of(const NodeReport& report) {
    return std::accumulate(report.pages_on_node.begin(), report.pages_on_node.end(),
                           report.pages_absent);
}

TEST(NodeMemory, LocalIsPreferredAndPrefaulted) {
    Failure failure;
    const auto sut = Mapping::create_anonymous("test", kBytes, {}, failure);
    ASSERT_TRUE(sut) << failure.text;
    const NodeReport report = sut->node_report();
    EXPECT_EQ(report.requested, Numa::local);
    if (!kernel_has_numa()) {
        GTEST_SKIP() << "no NUMA in this kernel";
    }
    EXPECT_EQ(report.policy, MPOL_PREFERRED);
    EXPECT_EQ(report.pages_absent, 0U);
    EXPECT_EQ(pages_of(report), kBytes / static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
}

TEST(NodeMemory, BoundPagesLieOnTheirNode) {
    if (!kernel_has_numa()) {
        GTEST_SKIP() << "no NUMA in this kernel";
    }
    Failure failure;
    MemoryOptions options;
    options.numa = Numa::node;
    options.node = current_node();
    const auto sut = Mapping::create_anonymous("test", kBytes, options, failure);
    ASSERT_TRUE(sut) << failure.text;
    const NodeReport report = sut->node_report();
    EXPECT_EQ(report.policy, MPOL_BIND);
    EXPECT_EQ(report.node, options.node);
    ASSERT_GT(report.pages_on_node.size(), static_cast<std::size_t>(options.node));
    EXPECT_EQ(report.pages_on_node[static_cast<std::size_t>(options.node)], pages_of(report));
}

TEST(NodeMemory, InterleavedPagesAreAllThere) {
    if (!kernel_has_numa()) {
        GTEST_SKIP() << "no NUMA in this kernel";
    }
    Failure failure;
    MemoryOptions options;
    options.numa = Numa::interleave;
    const auto sut = Mapping::create_anonymous("test", kBytes, options, failure);
    ASSERT_TRUE(sut) << failure.text;
    const NodeReport report = sut->node_report();
    EXPECT_EQ(report.policy, MPOL_INTERLEAVE);
    EXPECT_EQ(report.pages_absent, 0U);
}

TEST(NodeMemory, ThePolicyBelongsToTheObject) {
    // A second mapping of the same memory has the policy too.
    if (!kernel_has_numa()) {
        GTEST_SKIP() << "no NUMA in this kernel";
    }
    Failure failure;
    MemoryOptions options;
    options.numa = Numa::node;
    options.node = current_node();
    const auto sut = Mapping::create_anonymous("test", kBytes, options, failure);
    ASSERT_TRUE(sut) << failure.text;
    void* again = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, sut->descriptor(), 0);
    ASSERT_NE(again, MAP_FAILED);
    EXPECT_EQ(read_placement(again, kBytes, options).policy, MPOL_BIND);
    munmap(again, kBytes);
}

TEST(NodeMemory, ANodeThatDoesNotExistIsAnError) {
    for (const int node : {1023, -1, 1024, 100'000}) {
        Failure failure;
        MemoryOptions options;
        options.numa = Numa::node;
        options.node = node;
        EXPECT_FALSE(Mapping::create_anonymous("test", kBytes, options, failure)) << node;
        EXPECT_TRUE(failure);
        EXPECT_NE(failure.text.find(std::to_string(node)), std::string::npos) << failure.text;
    }
}

TEST(NodeMemory, WithoutPrefaultTheReportCountsAbsentPages) {
    Failure failure;
    MemoryOptions options;
    options.prefault = false;
    const auto sut = Mapping::create_anonymous("test", kBytes, options, failure);
    ASSERT_TRUE(sut) << failure.text;
    const NodeReport report = sut->node_report();
    EXPECT_GT(report.pages_absent, 0U) << "not faulted in here";
    EXPECT_GE(sut->bytes_allocated(), kBytes) << "but allocated";
}

}  // namespace
}  // namespace sluice::shm
