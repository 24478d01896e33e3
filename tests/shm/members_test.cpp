#include "sluice/shm/members.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "sluice/shm/segment.hpp"
#include "support/processes.hpp"

namespace sluice::shm {
namespace {

using test::await;
using test::Child;
using test::Shared;
using test::Watchdog;

std::shared_ptr<Segment> make_segment(std::uint32_t members) {
    SegmentSpec spec;
    spec.kind = SegmentKind::queue;
    spec.member_capacity = members;
    spec.body_bytes = 4096;
    Failure failure;
    auto segment = Segment::create("", spec, {}, 0600, failure, [](Segment&) {});
    if (!segment) {
        throw std::runtime_error(failure.text);
    }
    return segment;
}

struct Told {
    std::atomic<std::uint32_t> id{};
};

Child member_child(const std::shared_ptr<Segment>& segment, const Shared<Told>& told) {
    told->id.store(0, std::memory_order_seq_cst);
    Child child([&] {
        told->id.store(segment->members().id(), std::memory_order_seq_cst);
        pause();
    });
    await([&] { return told->id.load(std::memory_order_seq_cst) != 0; });
    return child;
}

// Who has the tag 0 is nobody: so a barrier took a party for one that never attached.
TEST(Members, NoTenantHasTheTagOfAFreeId) {
    EXPECT_EQ(Members::tag_of(0), 0U);
    for (const std::uint64_t number : {256ULL, 512ULL, 768ULL, 4096ULL}) {
        const std::uint64_t incarnation_and_entry = number << 24U | number;
        EXPECT_NE(Members::tag_of(incarnation_and_entry), 0U) << number;
    }
}

TEST(Members, AThreadKeepsItsId) {
    const auto segment = make_segment(8);
    Members& sut = segment->members();
    const MemberId id = sut.id();
    EXPECT_NE(id, kNobody);
    EXPECT_EQ(sut.id(), id);
    EXPECT_FALSE(sut.has_ended(id));
    EXPECT_FALSE(sut.has_ended(kNobody));
    EXPECT_FALSE(sut.has_ended(9)) << "beyond the table";
    EXPECT_EQ(sut.watch(kNobody).word, nullptr);
    EXPECT_EQ(sut.watch(9).word, nullptr);
}

TEST(Members, MoreSegmentsThanCacheEntriesKeepTheirIds) {
    std::vector<std::shared_ptr<Segment>> segments;
    std::vector<MemberId> ids;
    for (std::size_t index = 0; index < 2 * detail::IdCache::kEntries + 1; ++index) {
        segments.push_back(make_segment(4));
        ids.push_back(segments.back()->members().id());
    }
    for (std::size_t index = 0; index < segments.size(); ++index) {
        EXPECT_EQ(segments[index]->members().id(), ids[index]);
    }
}

TEST(Members, ThreadsHaveDistinctIds) {
    const Watchdog watchdog(60);
    const auto segment = make_segment(32);
    std::vector<MemberId> ids(16);
    std::atomic<unsigned> joined{0};
    std::vector<std::thread> threads;
    for (MemberId& id : ids) {
        threads.emplace_back([&] {
            id = segment->members().id();
            joined.fetch_add(1, std::memory_order_seq_cst);
            await([&] { return joined.load(std::memory_order_seq_cst) == ids.size(); });
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(std::set<MemberId>(ids.begin(), ids.end()).size(), ids.size());
    EXPECT_EQ(std::count(ids.begin(), ids.end(), kNobody), 0);
}

TEST(Members, AChildIsANewMember) {
    const auto segment = make_segment(8);
    const MemberId mine = segment->members().id();
    const Shared<Told> told;
    Child child = member_child(segment, told);
    EXPECT_NE(told->id.load(std::memory_order_seq_cst), mine);
    EXPECT_EQ(segment->members().id(), mine);
}

TEST(Members, AFullTableIsAnErrorThatSaysSo) {
    const auto segment = make_segment(1);
    ASSERT_EQ(segment->members().id(), 1);
    std::thread([&] {
        Failure failure;
        EXPECT_EQ(segment->members().join(failure), kNobody);
        EXPECT_EQ(failure.kind, FailureKind::environment);
        EXPECT_EQ(failure.error, EAGAIN);
        EXPECT_NE(failure.text.find("all 1 places"), std::string::npos) << failure.text;
    }).join();
}

TEST(Members, AnIdIsUsedAgainOnlyAfterItsClaimsWereSwept) {
    const Watchdog watchdog(60);
    const auto segment = make_segment(2);
    static std::vector<MemberId> swept;
    swept.clear();
    segment->members().set_sweeper(
        {[](void*, MemberId id, const DeadTenant&) { swept.push_back(id); }, nullptr});
    ASSERT_NE(segment->members().id(), kNobody);
    const Shared<Told> told;
    Child child = member_child(segment, told);
    const auto id = static_cast<MemberId>(told->id.load(std::memory_order_seq_cst));
    EXPECT_EQ(segment->members().rescue(), 0U) << "all live";
    child.kill_and_join();
    EXPECT_TRUE(segment->members().has_ended(id));
    EXPECT_TRUE(swept.empty());
    std::thread([&] {
        // The table is full of the dead: joining sweeps, then takes the place.
        EXPECT_EQ(segment->members().id(), id);
        EXPECT_EQ(swept, std::vector<MemberId>{id});
        EXPECT_FALSE(segment->members().has_ended(id)) << "it is another's now";
    }).join();
}

TEST(Members, RescueIsIdempotent) {
    const auto segment = make_segment(4);
    static unsigned sweeps;
    sweeps = 0;
    segment->members().set_sweeper({[](void*, MemberId, const DeadTenant&) { ++sweeps; }, nullptr});
    const Shared<Told> told;
    Child child = member_child(segment, told);
    const auto id = static_cast<MemberId>(told->id.load(std::memory_order_seq_cst));
    EXPECT_FALSE(segment->members().rescue(id)) << "alive";
    child.kill_and_join();
    EXPECT_TRUE(segment->members().rescue(id));
    EXPECT_FALSE(segment->members().rescue(id));
    EXPECT_EQ(segment->members().rescue(), 0U);
    EXPECT_EQ(sweeps, 1U);
    EXPECT_FALSE(segment->members().rescue(kNobody));
    EXPECT_FALSE(segment->members().rescue(60'000));
}

TEST(Members, AStoppedMemberIsNotRescued) {
    const Watchdog watchdog(60);
    const auto segment = make_segment(4);
    const Shared<Told> told;
    Child child = member_child(segment, told);
    child.stop();
    EXPECT_EQ(segment->members().rescue(), 0U);
    EXPECT_FALSE(segment->members().has_ended(
        static_cast<MemberId>(told->id.load(std::memory_order_seq_cst))));
}

TEST(Members, AKilledRescuerIsNoHindrance) {
    // Killed in the middle of the sweep: the next rescuer does it from the top.
    const Watchdog watchdog(60);
    const auto segment = make_segment(4);
    const Shared<Told> told;
    Child dead = member_child(segment, told);
    const auto id = static_cast<MemberId>(told->id.load(std::memory_order_seq_cst));
    dead.kill_and_join();
    Child rescuer([&] {
        segment->members().set_sweeper(
            {[](void*, MemberId, const DeadTenant&) { raise(SIGKILL); }, nullptr});
        segment->members().rescue();
    });
    EXPECT_EQ(rescuer.join(), -SIGKILL);
    EXPECT_TRUE(segment->members().has_ended(id));
    EXPECT_TRUE(segment->members().rescue(id));
}

TEST(Members, ARescuerThatWasStoppedKnowsThatTheIdIsAnothers) {
    const Watchdog watchdog(60);
    const auto segment = make_segment(1);
    const Shared<Told> told;
    Child dead = member_child(segment, told);
    dead.kill_and_join();
    // While "we" stand between the proof of death and the sweep, another rescues and a newcomer
    // takes the id.
    struct Scene {
        Segment* segment;
        bool still_before{};
        bool still_after{};
        std::uint32_t depth{};
    } scene{segment.get()};
    segment->members().set_sweeper({[](void* object, MemberId id, const DeadTenant& dead_one) {
                                        auto& view = *static_cast<Scene*>(object);
                                        if (view.depth++ != 0) {
                                            return;
                                        }
                                        view.still_before = dead_one.is_still_there();
                                        view.segment->members().rescue(id);
                                        EXPECT_EQ(view.segment->members().id(), id);
                                        view.still_after = dead_one.is_still_there();
                                    },
                                    &scene});
    EXPECT_FALSE(segment->members().rescue(1)) << "the other did it";
    EXPECT_TRUE(scene.still_before);
    EXPECT_FALSE(scene.still_after);
    EXPECT_EQ(segment->members().id(), 1) << "the newcomer keeps its place";
}

// Whoever finds a claim in the name of a free id has no proof: meanwhile it may be a newcomer's.
TEST(Members, AVacantIdIsSweptWhileItIsTheSweepersOwn) {
    const auto segment = make_segment(8);
    Members& sut = segment->members();
    struct Seen {
        Members* members;
        unsigned sweeps;
    } seen{&sut, 0};
    sut.set_sweeper({[](void* context, MemberId id, const DeadTenant& dead) {
                         auto& saw = *static_cast<Seen*>(context);
                         ++saw.sweeps;
                         EXPECT_TRUE(dead.is_still_there());
                         EXPECT_TRUE(saw.members->is_this_threads(id));
                     },
                     &seen});
    const MemberId me = sut.id();
    const auto vacant = static_cast<MemberId>(me % 8 + 1);
    EXPECT_TRUE(sut.sweep_vacant(vacant));
    EXPECT_EQ(seen.sweeps, 1U);
    EXPECT_EQ(sut.tenant_tag(vacant), 0U) << "it is free again";
    EXPECT_FALSE(sut.sweep_vacant(me)) << "somebody has it";
    EXPECT_FALSE(sut.sweep_vacant(kNobody));
    EXPECT_FALSE(sut.sweep_vacant(9));
    EXPECT_EQ(seen.sweeps, 1U);
    EXPECT_EQ(sut.id(), me);
}

TEST(Members, LeavingFreesTheIdAtOnce) {
    auto segment = make_segment(2);
    Members& sut = segment->members();
    const MemberId id = sut.id();
    sut.leave();
    EXPECT_FALSE(sut.has_ended(id));
    EXPECT_EQ(sut.tenant_tag(id), 0U);
    sut.leave();
    EXPECT_NE(sut.id(), kNobody) << "and one may join again";
}

TEST(Members, AThreadsEndFreesItsIdForOthers) {
    const Watchdog watchdog(60);
    const auto segment = make_segment(2);
    for (int life = 0; life < 200; ++life) {
        std::thread([&] { EXPECT_NE(segment->members().id(), kNobody); }).join();
    }
}

TEST(Members, TenantsOfOneIdAreToldApart) {
    const auto segment = make_segment(1);
    std::set<std::uint32_t> tags;
    for (int life = 0; life < 50; ++life) {
        std::thread([&] {
            const MemberId id = segment->members().id();
            EXPECT_TRUE(tags.insert(segment->members().tenant_tag(id)).second);
        }).join();
    }
}

TEST(Members, EverySleeperOnABellHearsOfARescue) {
    // The kernel wakes one sleeper of a bell. They may wait for different objects, so who repairs
    // wakes the others.
    const Watchdog watchdog(60);
    const auto segment = make_segment(8);
    static_cast<void>(segment->members().id());
    const Shared<Told> told;
    Child dead = member_child(segment, told);
    const auto id = static_cast<MemberId>(told->id.load(std::memory_order_seq_cst));
    const FutexWatch bell = segment->members().watch(id);
    ASSERT_NE(bell.word, nullptr);
    std::vector<Child> sleepers;
    for (int index = 0; index < 3; ++index) {
        sleepers.emplace_back(
            [&] { static_cast<void>(futex_wait(*bell.word, bell.expected, Deadline::never())); });
        await([&] { return test::sleeps_in_futex(sleepers.back().pid()); });
    }
    dead.kill_and_join();
    EXPECT_TRUE(segment->members().rescue(id));
    for (Child& sleeper : sleepers) {
        EXPECT_EQ(sleeper.join(), 0);
    }
}

TEST(Members, NobodySleepsOnTheBellOfTheDead) {
    // It has rung already: whoever took up the watch too late would not be woken.
    const Watchdog watchdog(60);
    const auto segment = make_segment(8);
    const Shared<Told> told;
    Child dead = member_child(segment, told);
    const auto id = static_cast<MemberId>(told->id.load(std::memory_order_seq_cst));
    dead.kill_and_join();
    const FutexWatch sut = segment->members().watch(id);
    ASSERT_NE(sut.word, nullptr);
    EXPECT_EQ(futex_wait(*sut.word, sut.expected, Deadline::never()), FutexResult::value_changed);
}

}  // namespace
}  // namespace sluice::shm
