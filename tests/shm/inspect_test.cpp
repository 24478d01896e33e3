// Looking into segments from outside: what is told of healthy ones, and that damaged ones are
// refused or told wrongly, but never crash who looks.
#include "sluice/shm/inspect.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include "sluice/shm/array_word.hpp"
#include "sluice/shm/barrier_word.hpp"
#include "sluice/shm/byte_ring.hpp"
#include "sluice/shm/condition_word.hpp"
#include "sluice/shm/dict_table.hpp"
#include "sluice/shm/directory.hpp"
#include "sluice/shm/event_word.hpp"
#include "sluice/shm/guarded_word.hpp"
#include "sluice/shm/list_table.hpp"
#include "sluice/shm/mpmc_ring.hpp"
#include "sluice/shm/pipe_ends.hpp"
#include "sluice/shm/rw_lock_word.hpp"
#include "sluice/shm/semaphore_word.hpp"
#include "sluice/shm/spsc_ring.hpp"
#include "support/processes.hpp"

namespace sluice::shm {
namespace {

using test::Child;
using test::FreshName;
using test::Watchdog;

constexpr std::uint64_t kSlots = 256;
// Near the wrap of the slots' laps.
constexpr MpmcRing::Shape kShape{kSlots, 64, false, ((1ULL << 40U) - 1) * kSlots};

std::shared_ptr<Segment> make_queue(const std::string& name) {
    SegmentSpec spec;
    spec.kind = SegmentKind::queue;
    spec.layout_signature = MpmcRing::layout_signature();
    spec.type_signature = 7;
    spec.type_text = "int64";
    spec.capacity = kShape.capacity;
    spec.element_bytes = kShape.slot_bytes;
    spec.member_capacity = 8;
    spec.body_bytes = MpmcRing::bytes(kShape);
    Failure failure;
    auto made = Segment::create(name, spec, {}, 0600, failure, [](Segment& segment) {
        MpmcRing::initialise(segment.body(), kShape);
    });
    EXPECT_TRUE(made) << failure.text;
    return made;
}

void put(MpmcRing& ring) {
    ClaimedSlot claimed;
    ASSERT_EQ(ring.claim(claimed), RingResult::done);
    ASSERT_TRUE(ring.publish(claimed));
}
void take(MpmcRing& ring) {
    ClaimedSlot claimed;
    ASSERT_EQ(ring.claim_read(claimed), RingResult::done);
    ASSERT_TRUE(ring.commit(claimed));
}

Inspector open_good(const std::string& path) {
    Failure failure;
    auto opened = Inspector::open(path, failure);
    EXPECT_TRUE(opened) << failure.text;
    return std::move(*opened);
}

std::vector<char> contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}
void write_file(const std::string& path, const std::vector<char>& bytes) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

TEST(Inspector, TellsWhatTheHeaderSays) {
    const FreshName name("inspect");
    const auto segment = make_queue(name.name());
    const Inspector sut = open_good(name.path());
    EXPECT_EQ(sut.facts().kind, SegmentKind::queue);
    EXPECT_EQ(sut.facts().type_text, "int64");
    EXPECT_EQ(sut.facts().capacity, kSlots);
    EXPECT_EQ(sut.facts().owner, geteuid());
    EXPECT_EQ(sut.facts().mode, 0600U);
    EXPECT_TRUE(sut.facts().body_known);
}

TEST(Inspector, CountsWhatWasPutAndTakenAcrossTheWrapOfTheLaps) {
    const FreshName name("inspect");
    const auto segment = make_queue(name.name());
    MpmcRing ring(*segment, kShape);
    const Inspector sut = open_good(name.path());
    const Inspection before = sut.look();
    ASSERT_EQ(before.flows.size(), 1U);
    constexpr std::uint64_t kTaken = 5 * kSlots;
    for (std::uint64_t message = 0; message < kTaken; ++message) {
        put(ring);
        take(ring);
    }
    put(ring);
    put(ring);
    const Inspection after = sut.look();
    EXPECT_EQ(after.flows[0].put_since(before.flows[0]), kTaken + 2);
    EXPECT_EQ(after.flows[0].taken_since(before.flows[0]), kTaken);
    EXPECT_EQ(after.flows[0].depth, 2U);
    EXPECT_EQ(after.unread(), 2U);
}

TEST(Inspector, NamesWhoHoldsASlotAlsoWhenHeIsStoppedAndWhenHeIsDead) {
    const Watchdog watchdog(60);
    const FreshName name("inspect");
    const auto segment = make_queue(name.name());
    test::Shared<std::atomic<int>> claims;
    Child child([&] {
        MpmcRing ring(*segment, kShape);
        ClaimedSlot claimed;
        claims->store(ring.claim(claimed) == RingResult::done ? 1 : -1);
        pause();
    });
    test::await([&] { return claims->load() != 0; });
    ASSERT_EQ(claims->load(), 1);
    const Inspector sut = open_good(name.path());
    const auto vitality = [&] {
        const Inspection seen = sut.look();
        EXPECT_EQ(seen.holdings.size(), 1U);
        EXPECT_EQ(to_string(seen.holdings.at(0)), "is writing slot 0");
        const Participant* who = seen.find(seen.holdings.at(0).member);
        EXPECT_NE(who, nullptr);
        EXPECT_EQ(who->pid, child.pid());
        EXPECT_FALSE(who->vitality == Vitality::alive && who->name.empty());
        return who->vitality;
    };
    EXPECT_EQ(vitality(), Vitality::alive);
    child.stop();
    EXPECT_EQ(vitality(), Vitality::stopped);
    // vitality() names the pid, so not kill_and_join(), which forgets it.
    child.signal(SIGKILL);
    test::await([&] { return sut.look().participants.at(0).vitality == Vitality::dead; });
    EXPECT_EQ(vitality(), Vitality::dead);
}

TEST(Inspector, TakesNoLockAndBecomesNoMember) {
    const FreshName name("inspect");
    auto segment = make_queue(name.name());
    const Inspector sut = open_good(name.path());
    EXPECT_TRUE(sut.look().participants.empty());
    EXPECT_TRUE(sut.look().facts.in_use);
    segment.reset();
    EXPECT_FALSE(sut.look().facts.in_use);
    // A cleaner gets its exclusive lock while somebody looks.
    const int descriptor = open(name.path().c_str(), O_RDWR | O_CLOEXEC);
    struct flock request {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    request.l_len = 1;
    EXPECT_EQ(fcntl(descriptor, F_OFD_SETLK, &request), 0);
    close(descriptor);
}

TEST(Inspector, AllocatesNothingInASparseFile) {
    const FreshName name("inspect");
    make_queue(name.name());
    // A hole in the slots, as after a release.
    std::vector<char> bytes = contents(name.path());
    unlink(name.path().c_str());
    const std::size_t header = 4096;
    const int descriptor = open(name.path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_EQ(pwrite(descriptor, bytes.data(), header, 0), static_cast<ssize_t>(header));
    ASSERT_EQ(ftruncate(descriptor, static_cast<off_t>(bytes.size())), 0);
    const Inspector sut = open_good(name.path());
    const std::uint64_t before = sut.look().facts.bytes_allocated;
    static_cast<void>(sut.pages());
    EXPECT_EQ(sut.look().facts.bytes_allocated, before);
    close(descriptor);
}

TEST(Inspector, RefusesWhatIsNoSegmentAndSaysWhy) {
    const FreshName name("inspect");
    make_queue(name.name());
    const std::vector<char> good = contents(name.path());
    const auto refusal = [&](const std::vector<char>& bytes) {
        write_file(name.path(), bytes);
        Failure failure;
        EXPECT_FALSE(Inspector::open(name.path(), failure));
        EXPECT_EQ(failure.kind, FailureKind::bad_segment);
        EXPECT_NE(failure.text.find(name.path()), std::string::npos) << failure.text;
        return failure.text;
    };
    EXPECT_NE(refusal({'h', 'i'}).find("too few"), std::string::npos);
    EXPECT_NE(refusal(std::vector<char>(4096, 'x')).find("magic"), std::string::npos);
    std::vector<char> cut(good.begin(), good.begin() + 4096);
    EXPECT_NE(refusal(cut).find("truncated"), std::string::npos);
    std::vector<char> half = good;
    half[offsetof(SegmentLayout, ready)] = 0;
    EXPECT_NE(refusal(half).find("never completed"), std::string::npos);
    std::vector<char> older = good;
    older[offsetof(SegmentLayout, version)] = 9;
    EXPECT_NE(refusal(older).find("version 9"), std::string::npos);
}

TEST(Inspector, RefusesLinksAndWhatIsMissing) {
    const FreshName name("inspect");
    Failure failure;
    EXPECT_FALSE(Inspector::open(name.path(), failure));
    EXPECT_EQ(failure.error, ENOENT);
    ASSERT_EQ(symlink("/etc/hostname", name.path().c_str()), 0);
    failure = {};
    EXPECT_FALSE(Inspector::open(name.path(), failure));
    EXPECT_EQ(failure.kind, FailureKind::not_permitted);
}

void look_at_all_of_it(const std::string& path) {
    Failure failure;
    if (const auto sut = Inspector::open(path, failure)) {
        const Inspection seen = sut->look();
        for (const Holding& holding : seen.holdings) {
            EXPECT_FALSE(to_string(holding).empty());
        }
        static_cast<void>(sut->rings());
        static_cast<void>(seen.holds_content());
    } else {
        EXPECT_FALSE(failure.text.empty());
    }
}

TEST(Inspector, SurvivesEveryBitOfTheHeaderFlipped) {
    const FreshName name("inspect");
    make_queue(name.name());
    std::vector<char> bytes = contents(name.path());
    for (std::size_t at = 0; at < sizeof(SegmentLayout); ++at) {
        for (const int flip : {1, 0x80, 0xff}) {
            const char kept = bytes[at];
            bytes[at] = static_cast<char>(kept ^ flip);
            write_file(name.path(), bytes);
            look_at_all_of_it(name.path());
            bytes[at] = kept;
        }
    }
}

TEST(Inspector, SurvivesRandomBytesBehindEveryKindOfHeader) {
    const FreshName name("inspect");
    make_queue(name.name());
    const std::vector<char> good = contents(name.path());
    std::mt19937_64 random(test::announce_seed());
    struct Layout {
        SegmentKind kind;
        std::uint64_t signature;
    };
    const Layout layouts[]{
        {SegmentKind::queue, MpmcRing::layout_signature()},
        {SegmentKind::pipe, fnv1a(sizeof(EndLayout), spsc_layout_signature(64, 8))},
        {SegmentKind::byte_pipe, fnv1a(sizeof(EndLayout), ByteRing::layout_signature())},
        {SegmentKind::rlock, LockWord::layout_signature()},
        {SegmentKind::rw_lock, RwLockWord::layout_signature()},
        {SegmentKind::semaphore, SemaphoreWord::layout_signature()},
        {SegmentKind::event, EventWord::layout_signature()},
        {SegmentKind::condition, ConditionWord::layout_signature()},
        {SegmentKind::barrier, BarrierWord::layout_signature()},
        {SegmentKind::guarded, GuardedWord::layout_signature()},
        {SegmentKind::pool, random()},
        {static_cast<SegmentKind>(99), random()},
    };
    unsigned decoded = 0;
    for (std::uint32_t round = 0; round < 1200; ++round) {
        std::vector<char> bytes = good;
        for (std::size_t at = sizeof(SegmentLayout); at < bytes.size(); ++at) {
            bytes[at] = static_cast<char>(random());
        }
        const Layout& layout = layouts[round % std::size(layouts)];
        const auto kind = static_cast<std::uint32_t>(layout.kind);
        const std::uint64_t signature = segment_layout_signature(layout.signature);
        std::memcpy(bytes.data() + offsetof(SegmentLayout, kind), &kind, sizeof kind);
        std::memcpy(bytes.data() + offsetof(SegmentLayout, layout_signature), &signature,
                    sizeof signature);
        const std::uint64_t capacity = 1ULL << (random() % 12);
        // 48 bytes make slots of 64 of a pipe, and are slots of a queue.
        const std::uint64_t element_bytes = layout.kind == SegmentKind::pipe ? 48 : 16;
        const std::uint32_t options = static_cast<std::uint32_t>(random() % 8);
        std::memcpy(bytes.data() + offsetof(SegmentLayout, element_bytes), &element_bytes,
                    sizeof element_bytes);
        std::memcpy(bytes.data() + offsetof(SegmentLayout, options), &options, sizeof options);
        std::memcpy(bytes.data() + offsetof(SegmentLayout, capacity), &capacity, sizeof capacity);
        write_file(name.path(), bytes);
        look_at_all_of_it(name.path());
        decoded += open_good(name.path()).facts().body_known ? 1U : 0U;
    }
    EXPECT_GT(decoded, 600U) << "few were taken for what they say";
}

TEST(Inspector, SurvivesRandomBytesInWhatStoresValues) {
    const FreshName name("inspect");
    make_queue(name.name());
    std::vector<char> good = contents(name.path());
    good.resize(512U << 10U);
    std::mt19937_64 random(test::announce_seed());
    struct Layout {
        SegmentKind kind;
        std::uint64_t signature;
    };
    const Layout layouts[]{
        {SegmentKind::dict, DictTable::layout_signature()},
        {SegmentKind::list, ListTable::layout_signature()},
        {SegmentKind::array, ArrayWord::layout_signature()},
        {SegmentKind::value, GuardedWord::layout_signature()},
        {SegmentKind::manager, Directory::layout_signature()},
    };
    const auto write = [&](std::vector<char>& bytes, std::size_t at, std::uint64_t word) {
        std::memcpy(bytes.data() + at, &word, sizeof word);
    };
    std::size_t damaged = 0;
    constexpr unsigned kRounds = 100;
    for (unsigned round = 0; round < kRounds; ++round) {
        std::vector<char> bytes = good;
        for (std::size_t at = sizeof(SegmentLayout); at < bytes.size();
             at += sizeof(std::uint64_t)) {
            write(bytes, at, random() & random());
        }
        const Layout& layout = layouts[round % std::size(layouts)];
        const auto kind = static_cast<std::uint32_t>(layout.kind);
        std::memcpy(bytes.data() + offsetof(SegmentLayout, kind), &kind, sizeof kind);
        write(bytes, offsetof(SegmentLayout, layout_signature),
              segment_layout_signature(layout.signature));
        write(bytes, offsetof(SegmentLayout, total_bytes), bytes.size());
        write(bytes, offsetof(SegmentLayout, capacity), 64);
        write(bytes, offsetof(SegmentLayout, element_bytes), 8);
        std::uint64_t body = 0;
        std::memcpy(&body, good.data() + offsetof(SegmentLayout, body_offset), sizeof body);
        if (layout.kind == SegmentKind::dict || layout.kind == SegmentKind::list) {
            write(bytes, body + offsetof(ArenaLayout, units_max), 16);
        }
        write_file(name.path(), bytes);
        look_at_all_of_it(name.path());
        const Inspector sut = open_good(name.path());
        EXPECT_TRUE(sut.facts().body_known) << to_string(layout.kind);
        damaged += sut.look().damages.empty() ? 0U : 1U;
    }
    EXPECT_GE(damaged, 3 * kRounds / std::size(layouts)) << "random bytes were taken for sound";
}

TEST(Inspector, AsksTheKernelOnlyAboutPagesThatAreThere) {
    const FreshName name("inspect");
    make_queue(name.name());
    std::vector<char> bytes = contents(name.path());
    const std::uint64_t huge = 1ULL << 40U;
    std::memcpy(bytes.data() + offsetof(SegmentLayout, total_bytes), &huge, sizeof huge);
    write_file(name.path(), bytes);
    ASSERT_EQ(truncate(name.path().c_str(), static_cast<off_t>(huge)), 0);
    // A look at each of its pages would take minutes.
    const PageReport pages = open_good(name.path()).pages();
    const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    std::size_t found = pages.nodes.pages_absent;
    for (const std::size_t count : pages.nodes.pages_on_node) {
        found += count;
    }
    EXPECT_EQ(found, huge / page);
}

TEST(Inspector, SurvivesAFileThatIsCutWhileItIsLookedAt) {
    const Watchdog watchdog(60);
    const FreshName name("inspect");
    make_queue(name.name());
    const Inspector sut = open_good(name.path());
    ASSERT_EQ(truncate(name.path().c_str(), 100), 0);
    static_cast<void>(sut.look());
    static_cast<void>(sut.pages());
    SUCCEED();
}

TEST(Inspector, TellsOnWhichNodeThePagesLie) {
    const FreshName name("inspect");
    make_queue(name.name());
    const PageReport pages = open_good(name.path()).pages();
    EXPECT_EQ(pages.page_bytes, static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
    std::size_t found = pages.nodes.pages_absent;
    for (const std::size_t count : pages.nodes.pages_on_node) {
        found += count;
    }
    if (found == 0) {
        GTEST_SKIP() << "the kernel does not tell";
    }
    EXPECT_GT(found, pages.nodes.pages_absent) << "none of its pages was found";
}

TEST(ListAnonymousSegments, FindsThoseOfThisProcessOnce) {
    const auto segment = make_queue("");
    const std::string own = "/proc/" + std::to_string(getpid()) + "/fd/" +
                            std::to_string(segment->mapping().descriptor());
    const std::vector<std::string> found = list_anonymous_segments();
    EXPECT_EQ(std::count(found.begin(), found.end(), own), 1);
    EXPECT_EQ(open_good(own).facts().nonce, segment->nonce());
}

}  // namespace
}  // namespace sluice::shm
