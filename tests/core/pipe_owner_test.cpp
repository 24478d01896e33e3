// Pipe between processes: whose end it is, closing by owners and others, and the deaths of either
// side.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <sluice/msgpack.hpp>
#include <sluice/pipe.hpp>
#include <sluice/process.hpp>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/pipe_messages.hpp"
#include "core/support.hpp"

namespace {

using namespace std::chrono_literals;
using sluice::Connection;
using sluice::Pipe;
using sluice::PipeOptions;
using sluice::Process;
using sluice::testing::Child;
using sluice::testing::in_child;
using sluice::testing::Shared;
using sluice::testing::UniqueName;
using sluice::testing::wait_until_asleep;
using sluice::testing::wait_until_true;

template <class Exception, class Action>
std::optional<std::string> thrown(Action&& action) {
    try {
        action();
    } catch (const Exception& error) {
        return error.what();
    }
    return std::nullopt;
}
template <class Action>
bool throws_closed(Action&& action) {
    return thrown<sluice::Closed>(action).has_value();
}

[[noreturn]] void pause_for_ever() {
    for (;;) {
        ::pause();
    }
}

template <class T>
class PipeEndOf : public sluice::testing::PipeMessages<T> {};
TYPED_TEST_SUITE(PipeEndOf, sluice::testing::MessageKinds, sluice::testing::NameOfKind);

TYPED_TEST(PipeEndOf, PassedToAProcessBelongsToIt) {
    using T = TypeParam;
    const Pipe<T> sut;
    Process child([](const Connection<T>& end) { end.send(end.recv()); }, sut.second);
    child.start();
    sut.first.send(this->make(5));
    EXPECT_EQ(sut.first.recv(), this->make(5));
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
    EXPECT_TRUE(throws_closed([&] { sut.first.send(this->make(1)); }));
}

TYPED_TEST(PipeEndOf, UsedByItsFormerHolderIsNotPermittedAndNamesTheOwner) {
    using T = TypeParam;
    const Pipe<T> sut;
    Process child([](const Connection<T>& end) { end.send(end.recv()); }, sut.second);
    child.start();
    const auto text = thrown<sluice::NotPermitted>([&] { sut.second.send(this->make(1)); });
    ASSERT_TRUE(text.has_value());
    EXPECT_NE(text->find(std::to_string(child.pid())), std::string::npos) << *text;
    EXPECT_TRUE(thrown<sluice::NotPermitted>([&] {
                    static_cast<void>(sut.second.try_recv());
                }).has_value());
    EXPECT_TRUE(
        thrown<sluice::NotPermitted>([&] { static_cast<void>(sut.second.poll()); }).has_value());
    sut.first.send(this->make(1));
    EXPECT_EQ(sut.first.recv(), this->make(1));
    child.join();
}

TYPED_TEST(PipeEndOf, ThePythonIdiomOfClosingTheChildsEndWorks) {
    using T = TypeParam;
    auto [mine, theirs] = Pipe<T>();
    Process child(
        [](const Connection<T>& end) {
            end.send(T{});
            end.close();
        },
        theirs);
    child.start();
    theirs.close();
    EXPECT_TRUE(theirs.closed());
    EXPECT_EQ(mine.recv(), T{});
    EXPECT_TRUE(throws_closed([&, &end = mine] { end.recv(); }));
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
}

TYPED_TEST(PipeEndOf, BelongsToTheFirstThatUsesIt) {
    using T = TypeParam;
    const Pipe<T> sut;
    const Shared<int> stage;
    Child child([&] {
        sut.second.send(this->make(1));
        *stage = 1;
        const bool same = sut.second.recv() == this->make(2);
        return same;
    });
    EXPECT_EQ(sut.first.recv(), this->make(1));
    wait_until_true([&] { return *stage == 1; });
    const auto text = thrown<sluice::NotPermitted>([&] { sut.second.send(this->make(1)); });
    ASSERT_TRUE(text.has_value());
    EXPECT_NE(text->find(std::to_string(child.pid())), std::string::npos) << *text;
    sut.first.send(this->make(2));
    EXPECT_EQ(child.wait(), 0);
}

TYPED_TEST(PipeEndOf, UsedByTheParentFirstIsRefusedToTheChild) {
    using T = TypeParam;
    const Pipe<T> sut;
    sut.first.send(this->make(1));
    const pid_t parent = ::getpid();
    EXPECT_EQ(in_child([&] {
                  const auto text =
                      thrown<sluice::NotPermitted>([&] { sut.first.send(this->make(9)); });
                  return text && text->find(std::to_string(parent)) != std::string::npos &&
                         sut.second.recv() == this->make(1);
              }),
              0);
}

TYPED_TEST(PipeEndOf, UsedByTheParentMayStillBePassedOn) {
    using T = TypeParam;
    const Pipe<T> sut;
    for (int i = 0; i < 5; ++i) {
        sut.first.send(this->make(i));
        sut.second.send(this->make(i));
    }
    EXPECT_EQ(sut.second.recv(), this->make(0));
    EXPECT_EQ(sut.first.recv(), this->make(0));
    Process child(
        [](const Connection<T>& end) {
            for (int i = 1; i < 5; ++i) {
                if (end.recv() != PipeEndOf<T>::make(i)) {
                    ::_exit(3);
                }
            }
            for (int i = 5; i < 8; ++i) {
                end.send(PipeEndOf<T>::make(i));
            }
        },
        sut.second);
    child.start();
    for (int i = 1; i < 8; ++i) {
        EXPECT_EQ(sut.first.recv(), this->make(i));
    }
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
}

TYPED_TEST(PipeEndOf, PassedOnByItsUserIsWatchedAtItsNewOwner) {
    using T = TypeParam;
    const Pipe<T> sut;
    const auto pass_on_and_kill = [&] {
        sut.first.send(this->make(1));
        EXPECT_EQ(sut.second.recv(), this->make(1));
        sut.second.send(this->make(2));
        EXPECT_EQ(sut.first.recv(), this->make(2));
        EXPECT_EQ(sut.first.try_recv(), std::nullopt);  // by now the parent's bell is known
        Process child(
            [](const Connection<T>& end) {
                end.send(PipeEndOf<T>::make(3));
                pause_for_ever();
            },
            sut.second);
        child.start();
        EXPECT_EQ(sut.first.recv(), this->make(3));
        child.kill();
        child.join();
    };
    pass_on_and_kill();
    wait_until_true([&] { return sut.first.poll(); });
    EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
}

TYPED_TEST(PipeEndOf, PassedFromProcessToProcess) {
    using T = TypeParam;
    const Pipe<T> sut;
    Process child(
        [](const Connection<T>& end) {
            end.send(PipeEndOf<T>::make(1));
            Process grandchild(
                [](const Connection<T>& inner) {
                    inner.send(PipeEndOf<T>::make(2));
                    if (inner.recv() != PipeEndOf<T>::make(3)) {
                        ::_exit(3);
                    }
                },
                end);
            grandchild.start();
            grandchild.join();
            ::_exit(grandchild.exitcode().value_or(9));
        },
        sut.second);
    child.start();
    EXPECT_EQ(sut.first.recv(), this->make(1));
    EXPECT_EQ(sut.first.recv(), this->make(2));
    sut.first.send(this->make(3));
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
}

TYPED_TEST(PipeEndOf, ClosedByAnotherThanItsOwnerStaysOpen) {
    using T = TypeParam;
    const Pipe<T> sut;
    sut.first.send(this->make(1));  // ours
    EXPECT_EQ(in_child([&] {
                  sut.first.close();
                  sut.second.close();
                  return sut.first.closed();
              }),
              0);
    sut.first.send(this->make(2));
    EXPECT_EQ(sut.second.recv(), this->make(1));
    EXPECT_EQ(sut.second.recv(), this->make(2));
}

TYPED_TEST(PipeEndOf, IsNotClosedWhenAChildThatOnlyInheritedItEnds) {
    using T = TypeParam;
    std::optional<Pipe<T>> sut(std::in_place);
    EXPECT_EQ(in_child([&] {
                  sut.reset();
                  return true;
              }),
              0);
    EXPECT_EQ(in_child([&] { return true; }), 0);
    sut->first.send(this->make(1));
    EXPECT_EQ(sut->second.recv(), this->make(1));
}

TYPED_TEST(PipeEndOf, OfAKilledChildDrainsThenThrows) {
    using T = TypeParam;
    for (int round = 0; round < 10; ++round) {
        const Pipe<T> sut;
        const Shared<int> sent;
        Child child([&] {
            for (int i = 0; i < 3; ++i) {
                sut.second.send(this->make(i));
            }
            *sent = 1;
            pause_for_ever();
            return true;
        });
        wait_until_true([&] { return *sent == 1; });
        child.kill_and_wait();
        for (int i = 0; i < 3; ++i) {
            EXPECT_EQ(sut.first.recv(), this->make(i));
        }
        EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
        EXPECT_TRUE(throws_closed([&] { sut.first.send(this->make(0)); }));
        EXPECT_TRUE(sut.first.poll());
    }
}

TYPED_TEST(PipeEndOf, OfAChildKilledWhileWeSleepInRecvThrows) {
    using T = TypeParam;
    const Pipe<T> sut;
    const pid_t parent = ::getpid();
    const Shared<int> ready;
    Child child([&] {
        sut.second.send(this->make(1));
        *ready = 1;
        pause_for_ever();
        return true;
    });
    EXPECT_EQ(sut.first.recv(), this->make(1));
    Child killer([&] {
        wait_until_asleep(parent);
        child.signal(SIGKILL);
        return true;
    });
    EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
    killer.wait();
}

TYPED_TEST(PipeEndOf, OfAKilledChildIsNoticedByPolling) {
    using T = TypeParam;
    const Pipe<T> sut;
    const Shared<int> ready;
    Child child([&] {
        sut.second.send(this->make(1));
        *ready = 1;
        pause_for_ever();
        return true;
    });
    wait_until_true([&] { return *ready == 1; });
    EXPECT_EQ(sut.first.recv(), this->make(1));
    EXPECT_FALSE(sut.first.poll());
    child.kill_and_wait();
    wait_until_true([&] { return sut.first.poll(); });
    EXPECT_TRUE(throws_closed([&] { static_cast<void>(sut.first.try_recv()); }));
}

TYPED_TEST(PipeEndOf, OfAChildThatDiedBeforeItAdoptedCloses) {
    using T = TypeParam;
    for (int round = 0; round < 20; ++round) {
        const Pipe<T> sut;
        Process child([](const Connection<T>&) { pause_for_ever(); }, sut.second);
        child.start();
        child.kill();  // mostly before it has got so far
        EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
        child.join();
    }
}

TYPED_TEST(PipeEndOf, OfAChildThatCannotRunAtAllCloses) {
    using T = TypeParam;
    // Bound to a CPU that there is not, the child ends before it adopts its arguments.
    const sluice::ProcessOptions nowhere{.binding = {.cpus = {4095}}};
    {
        const Pipe<T> sut;
        Process child(
            nowhere, [](const Connection<T>&) {}, sut.second);
        child.start();
        child.join();
        ASSERT_EQ(child.exitcode(), 1);
        EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
    }
    {
        const Pipe<T> sut;
        Process child(
            nowhere, [](const Connection<T>&) {}, sut.second);
        child.start();
        child.join();
        wait_until_true([&] { return sut.first.poll(); });
        EXPECT_TRUE(throws_closed([&] { static_cast<void>(sut.first.try_recv()); }));
    }
    {
        const Pipe<T> sut;
        Process child(
            nowhere, [](const Connection<T>&) {}, sut.second);
        child.start();
        child.join();
        EXPECT_TRUE(throws_closed([&] {
            for (;;) {
                sut.first.send(this->make(1));
            }
        }));
    }
}

TYPED_TEST(PipeEndOf, NeverAdoptedClosesWhenItsLastHolderIsKilled) {
    using T = TypeParam;
    Pipe<T> sut;
    const Shared<int> ready;
    Child holder([&] {  // has a copy of the second end and never uses it
        *ready = 1;
        pause_for_ever();
        return true;
    });
    wait_until_true([&] { return *ready == 1; });
    sut.second.close();
    EXPECT_FALSE(sut.first.poll_for(2ms));
    EXPECT_EQ(sut.first.try_recv(), std::nullopt);
    holder.kill_and_wait();
    EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
}

TYPED_TEST(PipeEndOf, NeverAdoptedOfAKilledHolderIsNoticedByPolling) {
    using T = TypeParam;
    const Pipe<T> sut;
    const Shared<int> ready;
    Child holder([&] {
        *ready = 1;
        pause_for_ever();
        return true;
    });
    wait_until_true([&] { return *ready == 1; });
    sut.second.close();
    EXPECT_FALSE(sut.first.poll());
    holder.kill_and_wait();
    wait_until_true(
        [&] { return throws_closed([&] { static_cast<void>(sut.first.try_recv_for(0s)); }); });
}

TYPED_TEST(PipeEndOf, OfADeadParentCloses) {
    using T = TypeParam;
    const Pipe<T> sut;
    const Shared<int> result;
    EXPECT_EQ(in_child([&] {
                  Process child(
                      [&result](const Connection<T>& end) {
                          const bool same = end.recv() == PipeEndOf<T>::make(1);
                          const bool closed = throws_closed([&] { end.recv(); });
                          *result = same && closed ? 1 : 2;
                      },
                      sut.second);
                  child.start();
                  sut.first.send(this->make(1));
                  ::kill(::getpid(), SIGKILL);
                  return true;
              }),
              -SIGKILL);
    wait_until_true([&] { return *result != 0; });
    EXPECT_EQ(*result, 1);
}

TYPED_TEST(PipeEndOf, SenderAsleepInAFullPipeIsToldOfTheReceiversDeath) {
    using T = TypeParam;
    const Pipe<T> sut(PipeOptions{.capacity = 2});
    const Shared<int> ready;
    Child receiver([&] {
        static_cast<void>(sut.second.recv());
        *ready = 1;
        pause_for_ever();
        return true;
    });
    const pid_t parent = ::getpid();
    Child killer([&] {
        wait_until_true([&] { return *ready == 1; });
        wait_until_asleep(parent);
        receiver.signal(SIGKILL);
        return true;
    });
    EXPECT_TRUE(throws_closed([&] {
        for (;;) {
            sut.first.send(this->make(1));
        }
    }));
    killer.wait();
}

TYPED_TEST(PipeEndOf, OfAProcessWhoseUsingThreadEndedIsStillWatched) {
    using T = TypeParam;
    const Pipe<T> sut;
    const Shared<int> ready;
    const pid_t parent = ::getpid();
    Child child([&] {
        std::thread([&] { sut.second.send(this->make(1)); }).join();
        *ready = 1;
        pause_for_ever();
        return true;
    });
    EXPECT_EQ(sut.first.recv(), this->make(1));
    wait_until_true([&] { return *ready == 1; });
    EXPECT_EQ(sut.first.try_recv_for(5ms),
              std::nullopt);  // it lives, though no thread of it has a bell
    Child killer([&] {
        wait_until_asleep(parent);
        child.signal(SIGKILL);
        return true;
    });
    EXPECT_TRUE(throws_closed([&] { sut.first.recv(); }));
    killer.wait();
}

TYPED_TEST(PipeEndOf, KilledAtRandomMomentsLosesOnlyTheEnd) {
    using T = TypeParam;
    std::mt19937_64 random(sluice::testing::test_seed());
    for (int round = 0; round < 40; ++round) {
        const Pipe<T> sut(PipeOptions{.capacity = 8});
        Child sender([&] {
            for (int i = 0;; ++i) {
                sut.second.send(this->make(i));
            }
            return true;
        });
        const int enough = static_cast<int>(random() % 300);
        int next = 0;
        EXPECT_TRUE(throws_closed([&] {
            for (;;) {
                ASSERT_EQ(sut.first.recv(), this->make(next));
                if (next++ == enough) {
                    sender.signal(SIGKILL);
                }
            }
        }));
        EXPECT_GT(next, enough);
    }
}

TYPED_TEST(PipeEndOf, OpenedByNameInAnotherProcess) {
    using T = TypeParam;
    const UniqueName name("ends");
    const auto mine = Pipe<T>::create(name).first;
    Child child([&] {
        const auto theirs = Pipe<T>::open(name).second;
        theirs.send(theirs.recv());
        return true;
    });
    mine.send(this->make(3));
    EXPECT_EQ(mine.recv(), this->make(3));
    EXPECT_EQ(child.wait(), 0);
    EXPECT_TRUE(throws_closed([&] { mine.recv(); }));
    // The end had its owner: a later opener finds it taken.
    const auto late = Pipe<T>::open(name).second;
    EXPECT_FALSE(!thrown<sluice::Error>([&] { late.send(this->make(1)); }));
}

TYPED_TEST(PipeEndOf, AStoppedPeerIsNotADeadOne) {
    using T = TypeParam;
    const Pipe<T> sut;
    Child peer([&] {
        sut.second.send(this->make(1));
        sut.second.send(sut.second.recv());
        return true;
    });
    EXPECT_EQ(sut.first.recv(), this->make(1));
    peer.signal(SIGSTOP);
    peer.wait_stopped();
    sut.first.send(this->make(2));
    EXPECT_EQ(sut.first.try_recv_for(100ms), std::nullopt);
    peer.signal(SIGCONT);
    EXPECT_EQ(sut.first.recv(), this->make(2));
    EXPECT_EQ(peer.wait(), 0);
}

TEST(Pipe, SeveralEndsInAVectorAreAllHandedOver) {
    std::vector<Connection<int>> mine;
    std::vector<Connection<int>> theirs;
    for (int i = 0; i < 5; ++i) {
        const Pipe<int> pipe(PipeOptions{.capacity = 2});
        mine.push_back(pipe.first);
        theirs.push_back(pipe.second);
    }
    Process child(
        [](const std::vector<Connection<int>>& ends) {
            for (const auto& end : ends) {
                end.send(end.recv() * 10);
            }
        },
        theirs);
    child.start();
    theirs.clear();
    for (int i = 0; i < 5; ++i) {
        mine[static_cast<std::size_t>(i)].send(i);
    }
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(mine[static_cast<std::size_t>(i)].recv(), 10 * i);
    }
    child.join();
}

TEST(Pipe, AnEndWhoseChildCouldNotBeStartedIsStillOurs) {
    const Pipe<int> one;
    const Pipe<int> other;
    other.second.close();
    // The second argument refuses to be handed over, so the first one is given back.
    Process child([](const Connection<int>&, const Connection<int>&) {}, one.second, other.second);
    EXPECT_THROW(child.start(), sluice::Closed);
    one.second.send(4);
    EXPECT_EQ(one.first.recv(), 4);
}

TEST(Pipe, AnEndIsPassedToOneChildOnly) {
    const Pipe<int> sut;
    const auto wait_for_one = [](const Connection<int>& end) { static_cast<void>(end.recv()); };
    Process first(wait_for_one, sut.second);
    Process second(wait_for_one, sut.second);
    first.start();
    const auto text = thrown<sluice::NotPermitted>([&] { second.start(); });
    ASSERT_TRUE(text.has_value());
    EXPECT_NE(text->find(std::to_string(first.pid())), std::string::npos) << *text;
    sut.first.send(1);
    first.join();
    EXPECT_EQ(first.exitcode(), 0);
}

TEST(Pipe, BetweenProcessesLeavesNoDescriptor) {
    const auto descriptors = [] {
        int count = 0;
        for (int fd = 0; fd < 4096; ++fd) {
            count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
        }
        return count;
    };
    const auto once = [] {
        const Pipe<int> sut(PipeOptions{.capacity = 2});
        Process child([](const Connection<int>& end) { end.send(1); }, sut.second);
        child.start();
        EXPECT_EQ(sut.first.recv(), 1);
        child.join();
    };
    once();
    const int before = descriptors();
    for (int i = 0; i < 20; ++i) {
        once();
    }
    EXPECT_EQ(descriptors(), before);
}

}  // namespace
