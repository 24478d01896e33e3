#include "sluice/shm/identity.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <set>

#include "support/processes.hpp"

namespace sluice::shm {
namespace {

TEST(ProcessIdentity, IsTheSameAtEachCall) {
    const ProcessIdentity& sut = this_process();
    EXPECT_NE(sut.nonce, 0U);
    EXPECT_EQ(sut.nonce, this_process().nonce);
    EXPECT_EQ(sut.pid, getpid());
    EXPECT_NE(sut.start_time, 0U);
    EXPECT_NE(sut.pid_namespace, 0U);
}

TEST(ProcessIdentity, AChildIsAnother) {
    struct Told {
        std::uint64_t nonce;
        std::int32_t pid;
    };
    const std::uint64_t mine = this_process().nonce;
    const test::Shared<Told> told;
    test::Child child([&] { *told = {this_process().nonce, this_process().pid}; });
    const pid_t pid = child.pid();
    EXPECT_EQ(child.join(), 0);
    EXPECT_NE(told->nonce, mine);
    EXPECT_NE(told->nonce, 0U);
    EXPECT_EQ(told->pid, pid);
    EXPECT_EQ(this_process().nonce, mine);
}

TEST(ProcessIdentity, NoncesAreDistinct) {
    std::set<std::uint64_t> nonces;
    for (int index = 0; index < 1000; ++index) {
        EXPECT_TRUE(nonces.insert(random_nonce()).second);
    }
    EXPECT_FALSE(nonces.contains(0));
}

TEST(Liveness, OfOneselfIsAlive) {
    EXPECT_EQ(process_liveness(this_process()), Liveness::alive);
    EXPECT_EQ(process_liveness(identify(getpid())), Liveness::alive);
}

TEST(Liveness, OfALivingAndAStoppedChildIsAlive) {
    test::Child child([] { pause(); });
    const ProcessIdentity sut = identify(child.pid());
    EXPECT_EQ(process_liveness(sut), Liveness::alive);
    child.stop();
    EXPECT_EQ(process_liveness(sut), Liveness::alive);
}

TEST(Liveness, OfAZombieIsDead) {
    const test::Watchdog watchdog(60);
    test::Child child([] { pause(); });
    const ProcessIdentity sut = identify(child.pid());
    child.signal(SIGKILL);
    siginfo_t info{};
    // Waits for the death and leaves the zombie.
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT), 0);
    EXPECT_EQ(kill(child.pid(), 0), 0) << "the zombie still has its pid";
    EXPECT_EQ(process_liveness(sut), Liveness::dead);
}

TEST(Liveness, OfAReapedChildIsDead) {
    test::Child child([] { pause(); });
    const ProcessIdentity sut = identify(child.pid());
    child.kill_and_join();
    EXPECT_EQ(process_liveness(sut), Liveness::dead);
}

TEST(Liveness, OfAReusedPidIsDead) {
    // The pid lives, but its process is not the one that was seen.
    test::Child child([] { pause(); });
    ProcessIdentity sut = identify(child.pid());
    sut.start_time += 1;
    sut.pidfd_inode = sut.pidfd_inode == 0 ? 0 : sut.pidfd_inode + 1;
    EXPECT_EQ(process_liveness(sut), Liveness::dead);
}

TEST(Liveness, OfAnotherPidNamespaceIsUnknown) {
    ProcessIdentity sut = this_process();
    sut.nonce += 1;
    sut.pid_namespace += 1;
    EXPECT_EQ(process_liveness(sut), Liveness::unknown);
}

TEST(Liveness, OfNobodyIsUnknown) {
    EXPECT_EQ(process_liveness(ProcessIdentity{}), Liveness::unknown);
    // Where /proc tells no namespace both are 0.
    ProcessIdentity sut;
    sut.pid_namespace = this_process().pid_namespace;
    EXPECT_EQ(process_liveness(sut), Liveness::unknown) << "no pid is no proof of death";
}

}  // namespace
}  // namespace sluice::shm
