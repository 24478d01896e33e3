// Queue between processes: closing, deaths at every kind of moment, children that come and go, open
// tasks.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <sluice/msgpack.hpp>
#include <sluice/process.hpp>
#include <sluice/queue.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/support.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::Queue;
using sluice::QueueOptions;
using sluice::testing::Child;
using sluice::testing::in_child;
using sluice::testing::Shared;
using sluice::testing::UniqueName;
using sluice::testing::wait_until_asleep;
using sluice::testing::wait_until_true;
using sluice::testing::who_holds;

template <class Action>
bool throws_closed(Action&& action) {
    try {
        action();
    } catch (const sluice::Closed&) {
        return true;
    }
    return false;
}

TEST(Queue, IsInheritedByChildren) {
    const Queue<std::string> sut(4);
    const Queue<int> answer(4);
    sut.put("from the parent");
    Child child([&] {
        const bool same = sut.get() == "from the parent";
        sut.put("from the child");
        answer.put(1);
        return same;
    });
    EXPECT_EQ(answer.get(), 1);
    EXPECT_EQ(sut.get(), "from the child");
    EXPECT_EQ(child.wait(), 0);
}

TEST(Queue, IsPassedToProcessesAsAnArgument) {
    const Queue<int> sut(4);
    sluice::Process child([](const Queue<int>& queue, int value) { queue.put(value); }, sut, 42);
    child.start();
    EXPECT_EQ(sut.get(), 42);
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
}

TEST(Queue, IsCapturedByWhatAProcessRuns) {
    const Queue<int> sut(4);
    sluice::Process child([sut] { sut.put(43); });
    child.start();
    EXPECT_EQ(sut.get(), 43);
    child.join();
}

TEST(Queue, IsOpenedByNameInAnotherProcess) {
    const UniqueName name("there");
    const auto sut = Queue<std::string>::create(name);
    EXPECT_EQ(in_child([&] {
                  Queue<std::string>::open(name).put("x");
                  return true;
              }),
              0);
    EXPECT_EQ(sut.get(), "x");
}

TEST(Queue, MadeByAProcessThatIsGoneKeepsItsContent) {
    const UniqueName name("legacy");
    EXPECT_EQ(in_child([&] {
                  Queue<int>::create(name).put(7);
                  return true;
              }),
              0);
    EXPECT_EQ(Queue<int>::open(name).get(), 7);
}

TEST(Queue, HandlesDestroyedInAChildLeaveTheParentsUsable) {
    auto sut = std::make_unique<Queue<int>>(4U);
    sut->put(1);
    EXPECT_EQ(in_child([&] {
                  sut.reset();
                  return true;
              }),
              0);
    EXPECT_EQ(sut->get(), 1);
    EXPECT_EQ(in_child([&] {
                  sut->put(2);
                  sut.reset();
                  return true;
              }),
              0);
    EXPECT_EQ(sut->get(), 2);
}

TEST(Slot, DroppedInAChildStaysTheParents) {
    const Queue<int> sut(4);
    std::optional<sluice::Slot<int>> slot(sut.claim());
    EXPECT_EQ(in_child([&] {
                  bool refused = false;
                  {
                      auto moved = std::move(*slot);
                      try {
                          moved.publish();
                      } catch (const sluice::NotPermitted&) {
                          refused = true;
                      }
                  }
                  slot.reset();
                  return refused;
              }),
              0);
    **slot = 6;
    slot->publish();
    EXPECT_EQ(sut.get(), 6);
    EXPECT_EQ(sut.try_get(), std::nullopt);
}

TEST(Lease, DroppedInAChildStaysTheParents) {
    const Queue<std::string> sut(4);
    sut.put("mine");
    std::optional<sluice::Lease<std::string>> lease(sut.lease());
    EXPECT_EQ(in_child([&] {
                  lease.reset();
                  return sut.try_get() == std::nullopt;
              }),
              0);
    EXPECT_EQ(in_child([&] {
                  try {
                      lease->commit();
                  } catch (const sluice::NotPermitted&) {
                      return true;
                  }
                  return false;
              }),
              0);
    EXPECT_EQ(sut.try_get(), std::nullopt);
    lease->commit();
    EXPECT_TRUE(sut.empty());
}

TEST(Queue, StaticObjectsAreDestroyedAtExitInPeace) {
    for (const bool from_thread : {false, true}) {
        Child child([from_thread]() -> bool {
            static const Queue<std::string> plain(4);
            static std::optional<sluice::Lease<std::string>> leased;
            if (from_thread) {
                std::thread([] { plain.put("thread"); }).join();
            } else {
                plain.put("main");
            }
            leased.emplace(plain.lease());
            std::exit(17);  // static destructors, thread-locals of the main thread before them
        });
        EXPECT_EQ(child.wait(), 17);
    }
}

TEST(Queue, CloseWakesGettersInOtherProcesses) {
    for (const sluice::Wait wait :
         {sluice::Wait::spin_then_park, sluice::Wait::spin, sluice::Wait::park}) {
        const Queue<int> sut(QueueOptions{.capacity = 4, .wait = wait});
        std::vector<Child> getters;
        for (int i = 0; i < 3; ++i) {
            getters.emplace_back([&] { return throws_closed([&] { sut.get(); }); });
        }
        if (wait != sluice::Wait::spin) {
            for (const Child& getter : getters) {
                wait_until_asleep(getter.pid());
            }
        }
        sut.close();
        for (Child& getter : getters) {
            EXPECT_EQ(getter.wait(), 0);
        }
    }
}

TEST(Queue, CloseWakesPuttersInOtherProcesses) {
    const Queue<int> sut(2);
    sut.put(1);
    sut.put(2);
    std::vector<Child> putters;
    for (int i = 0; i < 3; ++i) {
        putters.emplace_back([&] { return throws_closed([&] { sut.put(9); }); });
    }
    for (const Child& putter : putters) {
        wait_until_asleep(putter.pid());
    }
    sut.close();
    for (Child& putter : putters) {
        EXPECT_EQ(putter.wait(), 0);
    }
    EXPECT_EQ(sut.get(), 1);
    EXPECT_EQ(sut.get(), 2);
    EXPECT_TRUE(throws_closed([&] { sut.get(); }));
}

TEST(Queue, CloseRacingPutsLosesNothingThatWasAccepted) {
    for (int round = 0; round < 50; ++round) {
        const Queue<int> sut(8);
        const Shared<int> accepted;
        std::vector<Child> producers;
        for (int i = 0; i < 2; ++i) {
            producers.emplace_back([&] {
                try {
                    for (;;) {
                        sut.put(1);
                        accepted[0].fetch_add(1);
                    }
                } catch (const sluice::Closed&) {
                    return true;
                }
            });
        }
        int taken = 0;
        const int enough = 20 + round;
        EXPECT_TRUE(throws_closed([&] {
            for (;;) {
                taken += sut.get();
                if (taken == enough) {
                    sut.close();
                }
            }
        }));
        for (Child& producer : producers) {
            EXPECT_EQ(producer.wait(), 0);
        }
        EXPECT_EQ(taken, *accepted);
        EXPECT_TRUE(throws_closed([&] { static_cast<void>(sut.try_get()); }));
    }
}

TEST(Queue, AMessageUnderADeadLeaseIsGivenAgainOnce) {
    const Queue<std::string> sut(8);
    for (int round = 0; round < 20; ++round) {
        const std::string value(round % 2 == 0 ? 10U : 100'000U, 'v');
        sut.put(value);
        const Shared<int> held;
        Child holder([&] {
            auto lease = sut.lease();
            *held = 1;
            for (;;) {
                ::pause();
            }
            return true;
        });
        wait_until_true([&] { return *held == 1; });
        EXPECT_EQ(sut.try_get(), std::nullopt);
        holder.kill_and_wait();
        EXPECT_EQ(sut.get(), value);
        EXPECT_EQ(sut.try_get_for(1ms), std::nullopt);
    }
}

TEST(Queue, ADeadLeaseGoesToAGetterThatIsAsleep) {
    const Queue<int> sut(8);
    sut.put(5);
    Child holder = who_holds([&] { return sut.lease(); });
    Child getter([&] { return sut.get() == 5; });
    wait_until_asleep(getter.pid());
    holder.kill_and_wait();
    EXPECT_EQ(getter.wait(), 0);
}

TEST(Queue, ADeadLeaseOnAClosedQueueGoesToAGetterAndThenItIsDrained) {
    const Queue<int> sut(8);
    sut.put(5);
    Child holder = who_holds([&] { return sut.lease(); });
    sut.close();
    Child getter([&] { return sut.get() == 5 && throws_closed([&] { sut.get(); }); });
    wait_until_asleep(getter.pid());
    holder.kill_and_wait();
    EXPECT_EQ(getter.wait(), 0);
}

TEST(Queue, PollingFindsTheMessageOfADeadLease) {
    const Queue<int> sut(8);
    sut.put(5);
    Child holder = who_holds([&] { return sut.lease(); });
    holder.kill_and_wait();
    wait_until_true([&] { return sut.try_get() == 5; });
}

/// A child that claims a slot and dies holding it.
void die_holding_a_slot(const Queue<int>& sut) {
    EXPECT_EQ(in_child([&] {
                  auto slot = sut.claim();
                  ::kill(::getpid(), SIGKILL);
                  return true;
              }),
              -SIGKILL);
}

TEST(Queue, AClaimOfADeadProducerIsPassedBy) {
    const Queue<int> sut(4);
    for (int round = 0; round < 20; ++round) {
        sut.put(1);
        die_holding_a_slot(sut);
        sut.put(2);
        EXPECT_EQ(sut.get(), 1);
        EXPECT_EQ(sut.get(), 2);
        EXPECT_EQ(sut.try_get_for(1ms), std::nullopt);
    }
}

TEST(Queue, PollingPassesTheClaimOfADeadProducerBy) {
    const Queue<int> sut(4);
    die_holding_a_slot(sut);
    sut.put(2);
    wait_until_true([&] { return sut.try_get() == 2; });
    die_holding_a_slot(sut);
    sut.put(3);
    wait_until_true([&] { return sut.try_get_for(1us) == 3; });
    die_holding_a_slot(sut);
    sut.put(4);
    std::array<int, 2> room{};
    wait_until_true([&] { return sut.try_get_many(room) == 1; });
    EXPECT_EQ(room[0], 4);
}

TEST(Queue, PollingProducersGetPastTheDeadInAFullQueue) {
    const Queue<int> sut(2);
    die_holding_a_slot(sut);
    die_holding_a_slot(sut);
    wait_until_true([&] { return sut.try_put(7); });
    EXPECT_EQ(sut.get(), 7);
    const Queue<int> blocked(1);
    die_holding_a_slot(blocked);
    blocked.put(8);
    EXPECT_EQ(blocked.get(), 8);
}

TEST(Queue, AClosedQueueIsDrainedWhenAProducerDiedInAClaim) {
    const Queue<int> sut(4);
    sut.put(1);
    die_holding_a_slot(sut);
    sut.close();
    EXPECT_EQ(sut.get(), 1);
    EXPECT_TRUE(throws_closed([&] { sut.get(); }));
}

TEST(Queue, AnsweringPollsOfAClosedQueueEndWhenAProducerDiedInAClaim) {
    const Queue<int> sut(4);
    die_holding_a_slot(sut);
    sut.close();
    wait_until_true([&] { return throws_closed([&] { static_cast<void>(sut.try_get()); }); });
}

TEST(Queue, TakesEveryMessageOnceWhileItsProducersAreKilled) {
    const std::uint64_t seed = sluice::testing::test_seed();
    std::mt19937_64 random(seed);
    // Numbers are taken by producers from one counter *before* the put: a killed one loses at most
    // its last.
    const Queue<std::uint32_t> sut(16);
    const Shared<std::uint32_t> next;
    constexpr std::uint32_t kRounds = 60;
    constexpr std::size_t kProducers = 2;
    std::vector<int> seen;
    const auto drain = [&](auto&& take) {
        while (const auto value = take()) {
            if (*value >= seen.size()) {
                seen.resize(*value + 1);
            }
            ++seen[*value];
        }
    };
    const auto producer = [&] {
        for (;;) {
            sut.put(next[0].fetch_add(1));
        }
        return true;
    };
    std::vector<Child> producers;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
        while (producers.size() < kProducers) {
            producers.emplace_back(producer);
        }
        const auto pause = std::chrono::microseconds(random() % 2000);
        const auto until = std::chrono::steady_clock::now() + pause;
        drain([&]() -> std::optional<std::uint32_t> {
            return std::chrono::steady_clock::now() < until ? sut.try_get_for(100us) : std::nullopt;
        });
        producers.front().kill_and_wait();
        producers.erase(producers.begin());
    }
    producers.clear();
    sut.close();
    EXPECT_TRUE(throws_closed([&] { drain([&] { return std::optional(sut.get()); }); }));
    const std::uint32_t issued = *next;
    seen.resize(issued);
    std::uint32_t lost = 0;
    for (const int count : seen) {
        ASSERT_LE(count, 1);
        lost += count == 0 ? 1U : 0U;
    }
    EXPECT_LE(lost, kRounds + kProducers);
}

TEST(Queue, GivesEveryMessageToALeaseThatCommitsWhileConsumersAreKilled) {
    const std::uint64_t seed = sluice::testing::test_seed();
    std::mt19937_64 random(seed);
    constexpr std::uint32_t kCount = 3000;
    const Queue<std::uint32_t> sut(16);
    // A consumer notes the message before and after its commit: a kill falls before, between or
    // after.
    const Shared<int, kCount> begun;
    const Shared<int, kCount> committed;
    const auto consumer = [&] {
        return throws_closed([&] {
            for (;;) {
                auto lease = sut.lease();
                const std::uint32_t value = *lease;
                begun[value].fetch_add(1);
                lease.commit();
                committed[value].fetch_add(1);
            }
        });
    };
    std::vector<Child> consumers;
    std::uint32_t killed = 0;
    for (std::uint32_t value = 0; value < kCount; ++value) {
        while (consumers.size() < 3) {
            consumers.emplace_back(consumer);
        }
        sut.put(value);
        if (random() % 64 == 0) {
            const std::size_t victim = random() % consumers.size();
            consumers[victim].kill_and_wait();
            consumers.erase(consumers.begin() + static_cast<std::ptrdiff_t>(victim));
            ++killed;
        }
    }
    sut.close();
    for (Child& survivor : consumers) {
        EXPECT_EQ(survivor.wait(), 0);
    }
    if (consumers.empty()) {
        EXPECT_EQ(in_child(consumer), 0);
    }
    std::uint32_t unnoted = 0;
    for (std::uint32_t value = 0; value < kCount; ++value) {
        ASSERT_GE(begun[value], 1) << value;
        ASSERT_LE(committed[value], 1) << value;
        unnoted += committed[value] == 0 ? 1U : 0U;  // died between the commit and the note
    }
    EXPECT_LE(unnoted, killed);
    EXPECT_TRUE(sut.empty());
}

TEST(Queue, LargeValuesSurviveTheDeathsOfTheirProducersAndTheirMemoryComesBack) {
    const std::uint64_t seed = sluice::testing::test_seed();
    std::mt19937_64 random(seed);
    const Queue<std::string> sut(4);
    const std::uint64_t before = sut.memory_bytes();
    for (int round = 0; round < 30; ++round) {
        Child producer([&] {
            for (char letter = 'a';; letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1)) {
                sut.put(std::string(300'000U, letter));
            }
            return true;
        });
        const int take = static_cast<int>(random() % 8);
        for (int i = 0; i < take; ++i) {
            const std::string value = sut.get();
            ASSERT_EQ(value.size(), 300'000U);
            ASSERT_EQ(value.find_first_not_of(value.front()), std::string::npos);
        }
        producer.kill_and_wait();
        while (const auto rest = sut.try_get_for(5ms)) {
            ASSERT_EQ(rest->find_first_not_of(rest->front()), std::string::npos);
        }
    }
    // Round the ring once, so that each slot which a death left full of memory is used.
    for (int i = 0; i < 8; ++i) {
        sut.put(std::string(300'000U, 'x'));
        EXPECT_EQ(sut.get().size(), 300'000U);
    }
    EXPECT_LE(sut.memory_bytes(), before + 4 * (64U << 10U) + 4096);
}

TEST(Queue, ChildrenThatComeAndGoDoNotUseItsPlacesUp) {
    const Queue<int> sut(4);
    for (int i = 0; i < 1000; ++i) {
        ASSERT_EQ(in_child([&] {
                      sut.put(i);
                      return true;
                  }),
                  0);
        ASSERT_EQ(sut.get(), i);
    }
}

TEST(Queue, GrandchildrenAreMembersOfTheirOwn) {
    const Queue<int> sut(8);
    sut.put(0);
    EXPECT_EQ(sut.get(), 0);
    EXPECT_EQ(in_child([&] {
                  sut.put(1);
                  const int code = in_child([&] {
                      sut.put(2);
                      return true;
                  });
                  sut.put(3);
                  return code == 0;
              }),
              0);
    sut.put(4);
    for (int i = 1; i <= 4; ++i) {
        EXPECT_EQ(sut.get(), i);
    }
}

TEST(Queue, AForkBesideThreadsThatPutWorks) {
    const Queue<int> sut(64);
    std::atomic<bool> stop{false};
    std::thread busy([&] {
        while (!stop) {
            static_cast<void>(sut.try_put(1));
        }
    });
    for (int i = 0; i < 100; ++i) {
        ASSERT_EQ(in_child([&] {
                      // Not the blocking form: the thread fills the queue faster than this gets.
                      static_cast<void>(sut.try_put(2));
                      return sut.try_get_for(1h).has_value();
                  }),
                  0);
        static_cast<void>(sut.try_get());
    }
    stop = true;
    busy.join();
}

TEST(Queue, JoinCountsADeadGettersTasksAsDone) {
    const Queue<int> sut(8);
    for (int i = 0; i < 3; ++i) {
        sut.put(i);
    }
    const Shared<int> got;
    Child getter([&] {
        for (int i = 0; i < 3; ++i) {
            static_cast<void>(sut.get());
        }
        *got = 1;
        for (;;) {
            ::pause();
        }
        return true;
    });
    wait_until_true([&] { return *got == 1; });
    EXPECT_FALSE(sut.try_join());
    EXPECT_FALSE(sut.try_join_for(2ms));
    getter.kill_and_wait();
    sut.join();
    EXPECT_TRUE(sut.try_join());
    EXPECT_THROW(sut.task_done(), sluice::Error);
}

TEST(Queue, TryJoinSeesThatTheLastClaimDied) {
    const Queue<int> sut(8);
    die_holding_a_slot(sut);
    EXPECT_TRUE(sut.try_join());
}

TEST(Queue, JoinWaitsForWorkersInOtherProcesses) {
    const Queue<int> sut(8);
    const Shared<int> done;
    std::vector<Child> workers;
    for (int i = 0; i < 3; ++i) {
        workers.emplace_back([&] {
            return throws_closed([&] {
                for (;;) {
                    static_cast<void>(sut.get());
                    done[0].fetch_add(1);
                    sut.task_done();
                }
            });
        });
    }
    for (int i = 0; i < 500; ++i) {
        sut.put(i);
    }
    sut.join();
    EXPECT_EQ(*done, 500);
    sut.close();
    for (Child& worker : workers) {
        EXPECT_EQ(worker.wait(), 0);
    }
}

TEST(Queue, AStoppedConsumerKeepsItsClaim) {
    const Queue<int> sut(4);
    const Shared<int> held;
    sut.put(1);
    Child holder([&] {
        auto lease = sut.lease();
        *held = 1;
        while (*held == 1) {
            std::this_thread::yield();
        }
        const bool same = *lease == 1;
        lease.commit();
        return same;
    });
    wait_until_true([&] { return *held == 1; });
    holder.signal(SIGSTOP);
    holder.wait_stopped();
    EXPECT_EQ(sut.try_get_for(100ms), std::nullopt);  // stopped is not dead
    holder.signal(SIGCONT);
    *held = 2;
    EXPECT_EQ(holder.wait(), 0);
    EXPECT_TRUE(sut.empty());
}

}  // namespace
