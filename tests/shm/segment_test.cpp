#include "sluice/shm/segment.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "support/processes.hpp"

namespace sluice::shm {
namespace {

using test::Child;
using test::FreshName;
using test::Shared;
using test::Watchdog;

SegmentSpec spec_of(std::size_t body_bytes = 10'000) {
    SegmentSpec spec;
    spec.kind = SegmentKind::queue;
    spec.layout_signature = 11;
    spec.type_signature = 22;
    spec.type_text = "test::Thing";
    spec.capacity = 33;
    spec.element_bytes = 44;
    spec.options = 55;
    spec.member_capacity = 16;
    spec.body_bytes = body_bytes;
    return spec;
}

std::shared_ptr<Segment> create(const std::string& name, Failure& failure,
                                const SegmentSpec& spec = spec_of()) {
    return Segment::create(name, spec, {}, 0600, failure,
                           [](Segment& made) { made.body()[0] = std::byte{77}; });
}

TEST(Segment, AnonymousOnesHaveABodyAndNoName) {
    Failure failure;
    const auto sut = create("", failure);
    ASSERT_TRUE(sut) << failure.text;
    EXPECT_EQ(sut->name(), "");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(sut->body()) % kIsolationBytes, 0U);
    EXPECT_GE(sut->body_bytes(), 10'000U);
    EXPECT_EQ(sut->body()[0], std::byte{77});
    std::memset(sut->body(), 1, sut->body_bytes());
}

TEST(Segment, OpenSeesWhatCreateMade) {
    const FreshName name("segment");
    Failure failure;
    const auto made = create(name.name(), failure);
    ASSERT_TRUE(made) << failure.text;
    const auto sut = Segment::open(name.name(), spec_of(), failure);
    ASSERT_TRUE(sut) << failure.text;
    EXPECT_EQ(sut->capacity(), 33U);
    EXPECT_EQ(sut->element_bytes(), 44U);
    EXPECT_EQ(sut->options(), 55U);
    EXPECT_EQ(sut->nonce(), made->nonce());
    EXPECT_EQ(sut->body_bytes(), made->body_bytes());
    EXPECT_EQ(sut->members().capacity(), 16U);
    EXPECT_EQ(sut->body()[0], std::byte{77});
    EXPECT_NE(sut->body(), made->body());
}

TEST(Segment, ANameThatIsTakenIsEEXIST) {
    const FreshName name("taken");
    Failure failure;
    const auto first = create(name.name(), failure);
    ASSERT_TRUE(first);
    EXPECT_FALSE(create(name.name(), failure));
    EXPECT_EQ(failure.kind, FailureKind::environment);
    EXPECT_EQ(failure.error, EEXIST);
}

TEST(Segment, UnlinkRemovesTheNameAndWhoHasItGoesOn) {
    const FreshName name("unlink");
    Failure failure;
    const auto sut = create(name.name(), failure);
    ASSERT_TRUE(sut);
    EXPECT_TRUE(Segment::unlink(name.name(), failure));
    sut->body()[1] = std::byte{1};
    EXPECT_FALSE(Segment::open(name.name(), spec_of(), failure));
    EXPECT_EQ(failure.error, ENOENT);
    failure = {};
    EXPECT_FALSE(Segment::unlink(name.name(), failure));
    EXPECT_EQ(failure.error, ENOENT);
    failure = {};
    EXPECT_TRUE(create(name.name(), failure)) << "and the name is free: " << failure.text;
}

TEST(Segment, NamesThatAreNoWordsAreRefused) {
    for (const char* name : {"../x", "a/b", ".x"}) {
        Failure failure;
        EXPECT_FALSE(create(name, failure));
        EXPECT_EQ(failure.kind, FailureKind::bad_argument);
        failure = {};
        EXPECT_FALSE(Segment::open(name, spec_of(), failure));
        EXPECT_EQ(failure.kind, FailureKind::bad_argument);
        failure = {};
        EXPECT_FALSE(Segment::unlink(name, failure));
        EXPECT_EQ(failure.kind, FailureKind::bad_argument);
    }
}

TEST(Segment, PlacesForNobodyOrTooManyAreRefused) {
    for (const std::uint32_t members : {0U, 65'536U}) {
        Failure failure;
        SegmentSpec spec = spec_of();
        spec.member_capacity = members;
        EXPECT_FALSE(create("", failure, spec));
        EXPECT_EQ(failure.kind, FailureKind::bad_argument);
    }
}

void expect_bad(const std::string& name, const SegmentSpec& expected, const std::string& says) {
    Failure failure;
    EXPECT_FALSE(Segment::open(name, expected, failure)) << says;
    EXPECT_EQ(failure.kind, FailureKind::bad_segment) << failure.text;
    EXPECT_NE(failure.text.find(says), std::string::npos) << failure.text;
    EXPECT_NE(failure.text.find(name), std::string::npos) << failure.text;
}

TEST(Segment, AnotherKindTypeOrLayoutIsRefusedAndSaysWhich) {
    const FreshName name("kinds");
    Failure failure;
    const auto made = create(name.name(), failure);
    ASSERT_TRUE(made);
    SegmentSpec other = spec_of();
    other.kind = SegmentKind::pipe;
    expect_bad(name.name(), other, "is a queue, not a pipe");
    other = spec_of();
    other.type_signature = 23;
    other.type_text = "test::Other";
    expect_bad(name.name(), other, "test::Thing, not test::Other");
    other = spec_of();
    other.layout_signature = 12;
    expect_bad(name.name(), other, "another memory layout");
}

// One field of a good segment's file, overwritten.
struct Damage {
    const char* field;
    std::size_t offset;
    std::size_t bytes;
    std::uint64_t value;
};

TEST(Segment, EachDamagedFieldIsAClearRefusal) {
    const Watchdog watchdog(120);
    const std::uint64_t far = ~std::uint64_t{0};
    const std::vector<Damage> damages{
        {"magic", offsetof(SegmentLayout, magic), 8, 1},
        {"version", offsetof(SegmentLayout, version), 4, 99},
        {"version", offsetof(SegmentLayout, version), 4, 0},
        {"kind", offsetof(SegmentLayout, kind), 4, 2},
        {"kind", offsetof(SegmentLayout, kind), 4, 0xffff'ffff},
        {"layout_signature", offsetof(SegmentLayout, layout_signature), 8, 5},
        {"type_signature", offsetof(SegmentLayout, type_signature), 8, 5},
        {"total_bytes", offsetof(SegmentLayout, total_bytes), 8, 0},
        {"total_bytes", offsetof(SegmentLayout, total_bytes), 8, 4097},
        {"total_bytes", offsetof(SegmentLayout, total_bytes), 8, 1ULL << 40U},
        {"total_bytes", offsetof(SegmentLayout, total_bytes), 8, far - 4095},
        {"registry_nonce", offsetof(SegmentLayout, registry_nonce), 8, 5},
        {"members_offset", offsetof(SegmentLayout, members_offset), 8, 0},
        {"members_offset", offsetof(SegmentLayout, members_offset), 8, far - 127},
        {"body_offset", offsetof(SegmentLayout, body_offset), 8, 0},
        {"body_offset", offsetof(SegmentLayout, body_offset), 8, 256},
        {"body_offset", offsetof(SegmentLayout, body_offset), 8, 1000},
        {"body_offset", offsetof(SegmentLayout, body_offset), 8, 1ULL << 40U},
        {"body_offset", offsetof(SegmentLayout, body_offset), 8, far - 127},
        {"member_capacity", offsetof(SegmentLayout, member_capacity), 4, 0},
        {"member_capacity", offsetof(SegmentLayout, member_capacity), 4, 65'535},
        {"member_capacity", offsetof(SegmentLayout, member_capacity), 4, 0xffff'ffff},
        {"ready", offsetof(SegmentLayout, ready), 4, 0},
        {"ready", offsetof(SegmentLayout, ready), 4, 1},
    };
    for (const Damage& damage : damages) {
        SCOPED_TRACE(std::string(damage.field) + " = " + std::to_string(damage.value));
        const FreshName name("damaged");
        Failure failure;
        ASSERT_TRUE(create(name.name(), failure)) << failure.text;
        const int fd = ::open(name.path().c_str(), O_RDWR | O_CLOEXEC);
        ASSERT_EQ(pwrite(fd, &damage.value, damage.bytes, static_cast<off_t>(damage.offset)),
                  static_cast<ssize_t>(damage.bytes));
        close(fd);
        // In a child, so that a crash is a failure of this test.
        Child child([&] {
            Failure refusal;
            EXPECT_FALSE(Segment::open(name.name(), spec_of(), refusal));
            EXPECT_EQ(refusal.kind, FailureKind::bad_segment) << refusal.text;
            EXPECT_GT(refusal.text.size(), name.path().size());
        });
        EXPECT_EQ(child.join(), 0);
    }
}

TEST(Segment, ASmallerTotalIsWhatIsMapped) {
    // What the body must hold is the object's to check: it is told how much there is.
    const FreshName name("smaller");
    Failure failure;
    ASSERT_TRUE(create(name.name(), failure));
    const int fd = ::open(name.path().c_str(), O_RDWR | O_CLOEXEC);
    const std::uint64_t total = 4096;
    ASSERT_EQ(pwrite(fd, &total, sizeof total, offsetof(SegmentLayout, total_bytes)), 8);
    close(fd);
    const auto sut = Segment::open(name.name(), spec_of(), failure);
    ASSERT_TRUE(sut) << failure.text;
    EXPECT_LT(sut->body_bytes(), 4096U);
    std::memset(sut->body(), 1, sut->body_bytes());
}

TEST(Segment, ATypeTextWithoutEndOrWithControlsIsShownSafely) {
    const FreshName name("text");
    Failure failure;
    ASSERT_TRUE(create(name.name(), failure));
    const int fd = ::open(name.path().c_str(), O_RDWR | O_CLOEXEC);
    const std::string text(SegmentLayout::kTypeTextBytes, '\x1b');
    ASSERT_EQ(pwrite(fd, text.data(), text.size(), offsetof(SegmentLayout, type_text)),
              static_cast<ssize_t>(text.size()));
    close(fd);
    SegmentSpec other = spec_of();
    other.type_signature = 1;
    EXPECT_FALSE(Segment::open(name.name(), other, failure));
    EXPECT_EQ(failure.text.find('\x1b'), std::string::npos);
    EXPECT_NE(failure.text.find(std::string(128, '?')), std::string::npos) << failure.text;
}

TEST(Segment, FilesCutAnywhereAreRefused) {
    const Watchdog watchdog(120);
    const FreshName name("cut");
    for (const off_t bytes : {0, 1, 64, 247, 248, 4095, 4096, 8192, 10'000}) {
        Failure failure;
        ASSERT_TRUE(create(name.name(), failure)) << failure.text;
        ASSERT_EQ(truncate(name.path().c_str(), bytes), 0);
        Child child([&] {
            Failure refusal;
            EXPECT_FALSE(Segment::open(name.name(), spec_of(), refusal)) << bytes;
            EXPECT_EQ(refusal.kind, FailureKind::bad_segment) << refusal.text;
        });
        EXPECT_EQ(child.join(), 0) << bytes;
        ASSERT_TRUE(Segment::unlink(name.name(), failure));
    }
}

TEST(Segment, AFileThatIsNoSegmentIsRefused) {
    const FreshName name("noise");
    const int fd = ::open(name.path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const std::string noise(20'000, 'x');
    ASSERT_EQ(write(fd, noise.data(), noise.size()), static_cast<ssize_t>(noise.size()));
    close(fd);
    expect_bad(name.name(), spec_of(), "not a sluice segment");
}

TEST(Segment, AMakerThatIsKilledLeavesNothing) {
    const Watchdog watchdog(60);
    const FreshName name("killed");
    Child maker([&] {
        Failure failure;
        static_cast<void>(Segment::create(name.name(), spec_of(), {}, 0600, failure,
                                          [](Segment&) { raise(SIGKILL); }));
    });
    EXPECT_EQ(maker.join(), -SIGKILL);
    EXPECT_NE(access(name.path().c_str(), F_OK), 0);
    Failure failure;
    EXPECT_TRUE(create(name.name(), failure)) << failure.text;
}

struct Race {
    std::atomic<unsigned> ready{};
    std::atomic<bool> go{};
    std::atomic<unsigned> makers{};
    std::atomic<unsigned> openers{};
    std::atomic<std::uint64_t> nonce{};
    std::atomic<unsigned> others{};
};

TEST(Segment, OfManyMakersExactlyOneWins) {
    const Watchdog watchdog(120);
    constexpr unsigned kRivals = 4;
    for (int round = 0; round < 25; ++round) {
        const FreshName name("race");
        const Shared<Race> race;
        std::vector<Child> rivals;
        for (unsigned index = 0; index < kRivals; ++index) {
            rivals.emplace_back([&] {
                race->ready.fetch_add(1, std::memory_order_seq_cst);
                while (!race->go.load(std::memory_order_seq_cst)) {
                }
                // Open, or create, or open what another created meanwhile.
                for (;;) {
                    Failure failure;
                    auto segment = Segment::open(name.name(), spec_of(), failure);
                    if (segment) {
                        EXPECT_EQ(segment->body()[0], std::byte{77}) << "complete when seen";
                        race->openers.fetch_add(1, std::memory_order_seq_cst);
                    } else {
                        ASSERT_EQ(failure.error, ENOENT) << failure.text;
                        failure = {};
                        segment = create(name.name(), failure);
                        if (!segment) {
                            ASSERT_EQ(failure.error, EEXIST) << failure.text;
                            continue;
                        }
                        race->makers.fetch_add(1, std::memory_order_seq_cst);
                    }
                    std::uint64_t none = 0;
                    if (!race->nonce.compare_exchange_strong(none, segment->nonce(),
                                                             std::memory_order_seq_cst) &&
                        none != segment->nonce()) {
                        race->others.fetch_add(1, std::memory_order_seq_cst);
                    }
                    return;
                }
            });
        }
        test::await([&] { return race->ready.load(std::memory_order_seq_cst) == kRivals; });
        race->go.store(true, std::memory_order_seq_cst);
        for (Child& rival : rivals) {
            ASSERT_EQ(rival.join(), 0);
        }
        ASSERT_EQ(race->makers.load(std::memory_order_seq_cst), 1U);
        ASSERT_EQ(race->openers.load(std::memory_order_seq_cst), kRivals - 1);
        ASSERT_EQ(race->others.load(std::memory_order_seq_cst), 0U);
    }
}

}  // namespace
}  // namespace sluice::shm
