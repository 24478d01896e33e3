#include "sluice/shm/identity.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <set>
#include <thread>

#include "sluice/shm/failure.hpp"
#include "sluice/shm/futex.hpp"
#include "sluice/shm/registry.hpp"
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

// In a fresh image, where nothing was used before.
void fork_beside_the_first_use() {
    std::atomic<int> step{0};
    std::thread first([&] {
        step.store(1);
        while (step.load() != 2) {
        }
        this_process();
        futex_waitv_available();
        Failure failure;
        Registry::instance(failure);
    });
    while (step.load() != 1) {
    }
    std::mt19937 random(static_cast<unsigned>(getpid()));
    step.store(2);
    for (unsigned pause = random() % 128; pause > 0; --pause) {
        step.load();
    }
    for (int fork = 0; fork < 5; ++fork) {
        test::Child child([] {
            this_process();
            futex_waitv_available();
            Failure failure;
            Registry::instance(failure);
        });
        EXPECT_EQ(child.join(), 0);
    }
    first.join();
}

// Was a hang: the handler that frees the lock in a child was registered under that lock.
TEST(ProcessIdentity, AChildMadeWhileAnotherThreadAsksFirstCanAsk) {
    constexpr const char* kFresh = "SLUICE_TEST_FRESH_IMAGE";
    if (getenv(kFresh) != nullptr) {
        fork_beside_the_first_use();
        return;
    }
    setenv(kFresh, "1", 1);
    for (int image = 0; image < 40; ++image) {
        const pid_t pid = fork();
        if (pid == 0) {
            execl("/proc/self/exe", "identity",
                  "--gtest_filter=ProcessIdentity.AChildMadeWhileAnotherThreadAsksFirstCanAsk",
                  "--gtest_brief=1", nullptr);
            _exit(127);
        }
        int status = -1;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
    }
    unsetenv(kFresh);
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
