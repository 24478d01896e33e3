#include "sluice/shm/registry.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "support/processes.hpp"

namespace sluice::shm {
namespace {

using test::await;
using test::Child;
using test::Shared;
using test::Watchdog;

Registry& registry() {
    Failure failure;
    Registry* found = Registry::instance(failure);
    if (found == nullptr) {
        throw std::runtime_error(failure.text);
    }
    return *found;
}

BellReference arm() {
    BellReference reference;
    Failure failure;
    EXPECT_TRUE(registry().arm_this_thread(reference, failure)) << failure.text;
    return reference;
}

struct Told {
    BellReference bell;
    ProcessIdentity identity;
    std::atomic<bool> ready{false};
    std::atomic<bool> go{false};
};

void tell(const Shared<Told>& told) {
    told->bell = arm();
    told->identity = this_process();
    told->ready.store(true, std::memory_order_seq_cst);
}

void hear(const Shared<Told>& told) {
    await([&] { return told->ready.load(std::memory_order_seq_cst); });
}

TEST(Registry, IsOneForTheProcess) {
    Failure failure;
    EXPECT_EQ(Registry::instance(failure), Registry::instance(failure));
    EXPECT_NE(registry().nonce(), 0U);
}

TEST(Registry, AChildSharesIt) {
    const std::uint64_t nonce = registry().nonce();
    Child child([&] { EXPECT_EQ(registry().nonce(), nonce); });
    EXPECT_EQ(child.join(), 0);
}

TEST(Registry, AThreadHasOneBell) {
    const BellReference first = arm();
    const BellReference second = arm();
    EXPECT_EQ(first.entry, second.entry);
    EXPECT_EQ(first.incarnation, second.incarnation);
    EXPECT_FALSE(registry().has_ended(first));
}

TEST(Registry, TheBellRingsWhenItsProcessIsKilled) {
    const Watchdog watchdog(60);
    static_cast<void>(registry());
    const Shared<Told> told;
    Child child([&] {
        tell(told);
        pause();
    });
    hear(told);
    EXPECT_FALSE(registry().has_ended(told->bell));
    EXPECT_EQ(registry().liveness(told->identity), Liveness::alive);
    // Sleeping on the bell: the kernel wakes us, or has rung it already.
    const FutexWatch watch = registry().watch(told->bell);
    child.signal(SIGKILL);
    EXPECT_NE(futex_wait(*watch.word, watch.expected, Deadline::never()), FutexResult::timed_out);
    EXPECT_TRUE(registry().has_ended(told->bell));
    EXPECT_EQ(registry().liveness(told->identity), Liveness::dead);
    BellReference none;
    EXPECT_FALSE(registry().find_bell(told->identity.nonce, none));
}

TEST(Registry, AStoppedProcessHasNotEnded) {
    const Watchdog watchdog(60);
    const Shared<Told> told;
    Child child([&] {
        tell(told);
        pause();
    });
    hear(told);
    child.stop();
    EXPECT_FALSE(registry().has_ended(told->bell));
    EXPECT_EQ(registry().liveness(told->identity), Liveness::alive);
    child.resume();
    EXPECT_FALSE(registry().has_ended(told->bell));
}

TEST(Registry, ALeavingProcessEndsWithoutRinging) {
    const Watchdog watchdog(60);
    const Shared<Told> told;
    Child child([&] {
        std::thread([&] { tell(told); }).join();
        EXPECT_TRUE(registry().has_ended(told->bell)) << "the thread's end is an end";
        EXPECT_EQ(registry().liveness(told->identity), Liveness::alive) << "not of the process";
    });
    EXPECT_EQ(child.join(), 0);
    EXPECT_TRUE(registry().has_ended(told->bell));
    EXPECT_EQ(registry().liveness(told->identity), Liveness::dead);
}

TEST(Registry, AChildIsNotItsParent) {
    const Watchdog watchdog(60);
    const BellReference mine = arm();
    const Shared<Told> told;
    Child child([&] { tell(told); });
    EXPECT_EQ(child.join(), 0);
    EXPECT_FALSE(told->bell.entry == mine.entry && told->bell.incarnation == mine.incarnation);
    EXPECT_FALSE(registry().has_ended(mine)) << "a child's end rings the child's bell only";
    EXPECT_TRUE(registry().has_ended(told->bell));
}

TEST(Registry, AKilledChildDoesNotRingItsParentsBell) {
    const Watchdog watchdog(60);
    const BellReference mine = arm();
    Child idle([] { pause(); });
    idle.kill_and_join();
    EXPECT_FALSE(registry().has_ended(mine));
}

TEST(Registry, FindsTheBellOfALivingProcess) {
    const BellReference mine = arm();
    BellReference found;
    ASSERT_TRUE(registry().find_bell(this_process().nonce, found));
    EXPECT_EQ(found.entry, mine.entry);
    EXPECT_EQ(found.incarnation, mine.incarnation);
    EXPECT_FALSE(registry().find_bell(random_nonce(), found));
}

TEST(Registry, AnEntryIsUsedAgainUnderAnotherIncarnation) {
    // So many short lives that entries must be used again; what is dead stays dead.
    const Watchdog watchdog(120);
    std::set<std::pair<std::uint32_t, std::uint64_t>> lives;
    std::vector<BellReference> ended;
    std::set<std::uint32_t> entries;
    for (unsigned life = 0; life < 2 * Registry::kEntries; ++life) {
        std::thread([&] {
            const BellReference bell = arm();
            EXPECT_FALSE(registry().has_ended(bell));
            EXPECT_TRUE(lives.emplace(bell.entry, bell.incarnation).second);
            entries.insert(bell.entry);
            ended.push_back(bell);
        }).join();
    }
    EXPECT_LT(entries.size(), lives.size());
    for (const BellReference& bell : ended) {
        EXPECT_TRUE(registry().has_ended(bell));
    }
}

TEST(Registry, ManyThreadsHaveDistinctBells) {
    const Watchdog watchdog(120);
    constexpr unsigned kThreads = 64;
    std::vector<BellReference> bells(kThreads);
    std::atomic<unsigned> armed{0};
    std::vector<std::thread> threads;
    for (unsigned index = 0; index < kThreads; ++index) {
        threads.emplace_back([&, index] {
            bells[index] = arm();
            armed.fetch_add(1, std::memory_order_seq_cst);
            await([&] { return armed.load(std::memory_order_seq_cst) == kThreads; });
            EXPECT_FALSE(registry().has_ended(bells[index]));
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    std::set<std::uint32_t> entries;
    for (const BellReference& bell : bells) {
        EXPECT_TRUE(entries.insert(bell.entry).second);
        EXPECT_TRUE(registry().has_ended(bell));
    }
}

// A user's thread-local object that operates in its destructor, when the thread's bell was given
// back already.
struct LateUser {
    BellReference* late{};
    bool* ended_then{};
    ~LateUser() {
        if (late != nullptr) {
            *late = arm();
            *ended_then = registry().has_ended(*late);
        }
    }
};

TEST(Registry, AThreadThatOperatesWhileItEndsIsNotTakenForDead) {
    const Watchdog watchdog(60);
    BellReference early;
    BellReference late;
    bool ended_then = true;
    std::thread([&] {
        thread_local LateUser user;  // made before the bell, so destroyed after it
        user.late = &late;
        user.ended_then = &ended_then;
        early = arm();
    }).join();
    EXPECT_FALSE(ended_then) << "its claims could be taken from it";
    EXPECT_TRUE(registry().has_ended(early));
    // The thread has been joined, but the kernel may ring a moment later than it wakes the joiner.
    await([&] { return registry().has_ended(late); });
    EXPECT_EQ(registry().liveness(this_process()), Liveness::alive);
}

TEST(Registry, ABellRungLateDoesNotEndTheProcess) {
    const Watchdog watchdog(60);
    const Shared<Told> told;
    Child child([&] {
        BellReference late;
        bool ended_then = false;
        std::thread([&] {
            thread_local LateUser user;
            user.late = &late;
            user.ended_then = &ended_then;
            static_cast<void>(arm());
        }).join();
        await([&] { return registry().has_ended(late); });
        told->identity = this_process();
        told->ready.store(true, std::memory_order_seq_cst);
        pause();
    });
    hear(told);
    EXPECT_EQ(registry().liveness(told->identity), Liveness::alive);
}

}  // namespace
}  // namespace sluice::shm
