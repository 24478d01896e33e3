// sluice clean: removes what nobody uses, and nothing else.
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <sluice/event.hpp>
#include <sluice/guarded.hpp>
#include <sluice/queue.hpp>

#include "sluice/run.hpp"
#include "support/processes.hpp"

namespace sluice::tool::test {
namespace {

using sluice::test::Child;
using sluice::test::FreshName;
using sluice::test::Shared;
using sluice::test::Watchdog;

bool exists(const FreshName& name) {
    return access(name.path().c_str(), F_OK) == 0;
}

/// A queue whose only user is a child that holds it, with so many messages in it.
class User {
 public:
    User(const FreshName& name, int messages)
        : child_([&] {
              const auto queue = Queue<int>::create(name.name(), {.capacity = 8});
              queue.put(-1);  // who has not used it yet is no participant
              EXPECT_EQ(queue.get(), -1);
              for (int number = 0; number < messages; ++number) {
                  queue.put(number);
              }
              ready_->store(1);
              pause();
          }) {
        sluice::test::await([&] { return ready_->load() != 0; });
    }
    const Child& child() const { return child_; }
    /// Waits until it is torn down: its kernel locks go with its memory.
    void kill() { child_.kill_and_join(); }

 private:
    Shared<std::atomic<int>> ready_{};
    Child child_;
};

TEST(Clean, LeavesWhatALivingProcessUses) {
    const Watchdog watchdog(60);
    const FreshName name("clean");
    const User user(name, 0);
    const Ran ran = sluice_command({"clean", name.name(), "--yes", "--discard"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_TRUE(holds(ran.out, "left " + name.name())) << ran.out;
    EXPECT_TRUE(holds(ran.out, "in use by pid " + std::to_string(user.child().pid()))) << ran.out;
    EXPECT_TRUE(exists(name));
}

TEST(Clean, LeavesWhatAStoppedProcessUses) {
    const Watchdog watchdog(60);
    const FreshName name("clean");
    const User user(name, 0);
    user.child().stop();
    const Ran ran = sluice_command({"clean", name.name(), "--yes", "--discard"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_TRUE(holds(ran.out, "stopped")) << ran.out;
    EXPECT_TRUE(exists(name));
}

TEST(Clean, LeavesWhatIsOpenButWasNeverUsed) {
    const FreshName name("clean");
    const auto event = Event::create(name.name());
    EXPECT_EQ(sluice_command({"clean", name.name(), "--yes"}).code, 1);
    EXPECT_TRUE(exists(name));
}

TEST(Clean, OnlyTellsWhatItWouldRemoveUntilYes) {
    const Watchdog watchdog(60);
    const FreshName name("clean");
    User(name, 0).kill();
    const Ran told = sluice_command({"clean", name.name()});
    EXPECT_EQ(told.code, 0);
    EXPECT_TRUE(holds(told.out, "would remove " + name.name())) << told.out;
    EXPECT_TRUE(holds(told.out, "exclusive lock")) << "without the proof: " << told.out;
    EXPECT_TRUE(holds(told.err, "--yes")) << told.err;
    EXPECT_TRUE(exists(name));
    const Ran done = sluice_command({"clean", name.name(), "--yes", "--json"});
    EXPECT_EQ(done.code, 0);
    EXPECT_EQ(entry_of(done.json(), name.name()).at("action"), "removed");
    EXPECT_FALSE(exists(name));
}

TEST(Clean, LeavesMessagesUnlessTheyAreToBeDiscarded) {
    const Watchdog watchdog(60);
    const FreshName name("clean");
    User(name, 3).kill();
    const Ran left = sluice_command({"clean", name.name(), "--yes"});
    EXPECT_EQ(left.code, 1);
    EXPECT_TRUE(holds(left.out, "holds 3 messages")) << left.out;
    EXPECT_TRUE(exists(name));
    EXPECT_EQ(sluice_command({"clean", name.name(), "--yes", "--discard"}).code, 0);
    EXPECT_FALSE(exists(name));
}

TEST(Clean, LeavesAMessageThatADeadProcessWasReading) {
    const Watchdog watchdog(60);
    const FreshName name("clean");
    Shared<std::atomic<int>> ready;
    Child child([&] {
        const auto queue = Queue<int>::create(name.name(), {.capacity = 8});
        queue.put(1);
        const auto lease = queue.lease();
        ready->store(1);
        pause();
    });
    sluice::test::await([&] { return ready->load() != 0; });
    child.kill_and_join();
    EXPECT_TRUE(holds(sluice_command({"clean", name.name(), "--yes"}).out, "holds 1 message:"));
    EXPECT_TRUE(exists(name));
}

TEST(Clean, LeavesAValueUnlessItIsToBeDiscarded) {
    const FreshName name("clean");
    { const auto value = Guarded<std::int64_t>::create(name.name(), 7); }
    EXPECT_EQ(sluice_command({"clean", name.name(), "--yes"}).code, 1);
    EXPECT_TRUE(exists(name));
    EXPECT_EQ(sluice_command({"clean", name.name(), "--yes", "--discard"}).code, 0);
    EXPECT_FALSE(exists(name));
}

TEST(Clean, LeavesForeignFilesAndSaysSo) {
    const FreshName file("clean-file");
    const FreshName link("clean-link");
    const FreshName folder("clean-folder");
    const FreshName twin("clean-twin");
    const FreshName other("clean-other");
    std::ofstream(file.path()) << "notes";
    ASSERT_EQ(symlink(file.path().c_str(), link.path().c_str()), 0);
    ASSERT_EQ(mkdir(folder.path().c_str(), 0700), 0);
    { const auto event = Event::create(twin.name()); }
    ASSERT_EQ(::link(twin.path().c_str(), other.path().c_str()), 0);
    const Ran ran = sluice_command(
        {"clean", file.name(), link.name(), folder.name(), twin.name(), "--yes", "--discard"});
    EXPECT_EQ(ran.code, 1);
    EXPECT_FALSE(holds(ran.out, "removed")) << ran.out;
    for (const FreshName* const name : {&file, &link, &folder, &twin}) {
        EXPECT_TRUE(holds(ran.out, "left " + name->name())) << ran.out;
        EXPECT_TRUE(exists(*name));
    }
    rmdir(folder.path().c_str());
}

TEST(Clean, SaysThatAnObjectIsMissing) {
    const FreshName name("clean");
    EXPECT_EQ(sluice_command({"clean", name.name()}).code, 3);
}

TEST(Clean, NeverFailsAnOpenerBesideIt) {
    const Watchdog watchdog(120);
    const FreshName name("clean");
    Shared<std::atomic<int>> stop;
    Shared<std::atomic<int>> opened;
    // Opens, or makes, and uses: whatever the cleaner does, this must never see an error, and what
    // it put it must find again while it has the queue open.
    Child user([&] {
        while (stop->load() == 0) {
            const auto queue = Queue<int>::open_or_create(name.name(), {.capacity = 8});
            queue.put(7);
            EXPECT_EQ(queue.get(), 7);
            opened->fetch_add(1);
        }
    });
    unsigned removed = 0;
    for (int round = 0; round < 1000 && (round < 30 || removed < 3 || opened->load() < 100);
         ++round) {
        // The name may be gone when it is asked for.
        const Ran ran = sluice_command({"clean", name.name(), "--yes", "--discard"});
        EXPECT_TRUE(ran.code == 0 || ran.code == 1 || ran.code == 3) << ran.err;
        removed += ran.code == 0 ? 1U : 0U;
    }
    stop->store(1);
    EXPECT_EQ(user.join(), 0);
    EXPECT_GT(opened->load(), 0);
    if (removed == 0) {
        GTEST_SKIP() << "the cleaner never found a moment between two uses";
    }
}

}  // namespace
}  // namespace sluice::tool::test
