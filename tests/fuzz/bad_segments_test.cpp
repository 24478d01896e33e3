// What is no segment of ours is refused, by an exception that names it and says what to do. The
// header's fields, one by one: see tests/shm/segment_test.cpp.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "fuzz/segment_driver.hpp"
#include "sluice/barrier.hpp"
#include "sluice/byte_pipe.hpp"
#include "sluice/condition.hpp"
#include "sluice/dict.hpp"
#include "sluice/event.hpp"
#include "sluice/guarded.hpp"
#include "sluice/list.hpp"
#include "sluice/lock.hpp"
#include "sluice/manager.hpp"
#include "sluice/msgpack.hpp"
#include "sluice/pipe.hpp"
#include "sluice/queue.hpp"
#include "sluice/rw_lock.hpp"
#include "sluice/semaphore.hpp"
#include "support/processes.hpp"

// No damaged length may become a large allocation.
namespace {

void* allocate(std::size_t bytes) noexcept {
    constexpr std::size_t kAllocationMax = 64U << 20U;
    if (bytes > kAllocationMax) {
        std::fprintf(stderr, "an allocation of %zu bytes\n", bytes);
        std::abort();
    }
    return std::malloc(bytes != 0 ? bytes : 1);
}

void* allocate_or_throw(std::size_t bytes) {
    if (void* memory = allocate(bytes)) {
        return memory;
    }
    throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) {
    return allocate_or_throw(bytes);
}
void* operator new[](std::size_t bytes) {
    return allocate_or_throw(bytes);
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
    return allocate(bytes);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
    return allocate(bytes);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    std::free(memory);
}

namespace sluice {
namespace {

using test::Child;
using test::FreshName;
using test::Watchdog;

// The programs that the fuzzer has found.

std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

TEST(SegmentDriver, UndamagedScenesAreOpened) {
    const Watchdog watchdog(60);
    fuzz::SegmentDriver sut;
    for (std::size_t scene = 0; scene < sut.scene_count(); ++scene) {
        SCOPED_TRACE(sut.scene_name(scene));
        // Each operation, by either end.
        std::vector<std::uint8_t> program{static_cast<std::uint8_t>(scene)};
        for (std::uint8_t operation = 0; operation < 20; ++operation) {
            program.insert(program.end(), {operation, 2, operation, 3});
        }
        EXPECT_NO_THROW(sut.run(program));
    }
}

TEST(SegmentDriver, FindingsOfTheFuzzerStayMended) {
    const Watchdog watchdog(60);
    fuzz::SegmentDriver sut;
    unsigned count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(SLUICE_FUZZ_REGRESSIONS)) {
        SCOPED_TRACE(entry.path().filename().string());
        const std::vector<std::uint8_t> program = read_file(entry.path());
        ASSERT_FALSE(program.empty());
        EXPECT_NO_THROW(sut.run(program));
        ++count;
    }
    EXPECT_GT(count, 0U);
}

TEST(SegmentDriver, RandomProgramsAreAnswered) {
    const Watchdog watchdog(100);
    std::mt19937_64 random(test::announce_seed());
    fuzz::SegmentDriver sut;
    for (int round = 0; round < 2000; ++round) {
        std::vector<std::uint8_t> program(1 + random() % 100);
        std::generate(program.begin(), program.end(),
                      [&] { return static_cast<std::uint8_t>(random()); });
        ASSERT_NO_THROW(sut.run(program)) << "round " << round;
    }
}

// Files that are no segments.

struct Kind {
    const char* object;  // as messages name it
    std::function<void(const std::string& name)> create;
    std::function<void(const std::string& name)> open;
};

/// A kind of the lock family, which create() and open() are enough to make.
template <class T, auto... More>
Kind sync_kind(const char* object) {
    return {object, [](const auto& name) { T::create(name, More...); },
            [](const auto& name) { T::open(name); }};
}

// Whose capacity says how long the segment is.
std::vector<Kind> channel_kinds() {
    constexpr std::size_t kCapacity = 4;
    return {
        {"Queue", [](const auto& name) { Queue<int>::create(name, {.capacity = kCapacity}); },
         [](const auto& name) { Queue<int>::open(name); }},
        {"Queue",
         [](const auto& name) { Queue<std::string>::create(name, {.capacity = kCapacity}); },
         [](const auto& name) { Queue<std::string>::open(name); }},
        {"Pipe", [](const auto& name) { Pipe<int>::create(name, {.capacity = kCapacity}); },
         [](const auto& name) { Pipe<int>::open(name); }},
        {"Pipe", [](const auto& name) { Pipe<std::string>::create(name); },
         [](const auto& name) { Pipe<std::string>::open(name); }},
        {"BytePipe", [](const auto& name) { BytePipe::create(name, {.capacity_bytes = 4096}); },
         [](const auto& name) { BytePipe::open(name); }},
    };
}

std::vector<Kind> kinds() {
    std::vector<Kind> all = channel_kinds();
    for (const Kind& kind :
         {sync_kind<Lock>("Lock"), sync_kind<RLock>("RLock"), sync_kind<RWLock>("RWLock"),
          sync_kind<Semaphore, 2U>("Semaphore"),
          sync_kind<BoundedSemaphore, 2U>("BoundedSemaphore"), sync_kind<Event>("Event"),
          sync_kind<Condition>("Condition"), sync_kind<Barrier, 2U>("Barrier"),
          sync_kind<Guarded<int>>("Guarded")}) {
        all.push_back(kind);
    }
    return all;
}

/// Those whose shape is their own affair, besides.
std::vector<Kind> all_kinds() {
    std::vector<Kind> all = kinds();
    all.push_back({"Value", [](const auto& name) { Value<int>::create(name); },
                   [](const auto& name) { Value<int>::open(name); }});
    all.push_back({"Value", [](const auto& name) { Value<std::string>::create(name, "text"); },
                   [](const auto& name) { Value<std::string>::open(name); }});
    all.push_back({"Array", [](const auto& name) { Array<int>::create(name, 100); },
                   [](const auto& name) { Array<int>::open(name); }});
    all.push_back({"Dict",
                   [](const auto& name) {
                       Dict<int, int>::create(name, {.max_bytes = 1U << 20U, .stripes = 1});
                   },
                   [](const auto& name) { Dict<int, int>::open(name); }});
    all.push_back({"List",
                   [](const auto& name) { List<int>::create(name, {.max_bytes = 1U << 20U}); },
                   [](const auto& name) { List<int>::open(name); }});
    all.push_back({"Manager", [](const auto& name) { Manager::create(name); },
                   [](const auto& name) { Manager::open(name); }});
    return all;
}

template <class Refusal>
void expect_refusal(const Kind& kind, const FreshName& name, const std::string& says,
                    const std::string& mend) {
    try {
        kind.open(name.name());
        ADD_FAILURE() << "it was opened";
    } catch (const Refusal& refusal) {
        const std::string text = refusal.what();
        EXPECT_TRUE(text.starts_with(std::string(kind.object) + " \"" + name.name() + "\": "))
            << text;
        EXPECT_NE(text.find(says), std::string::npos) << text;
        EXPECT_NE(text.find(mend), std::string::npos) << text;
    } catch (const std::exception& other) {
        ADD_FAILURE() << "another exception: " << other.what();
    }
}

void write_file(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
    ASSERT_EQ(chmod(path.c_str(), 0600), 0);
}

template <class T>
void overwrite(const std::string& path, std::size_t offset, T value) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(descriptor, 0);
    EXPECT_EQ(pwrite(descriptor, &value, sizeof value, static_cast<off_t>(offset)),
              static_cast<ssize_t>(sizeof value));
    close(descriptor);
}

TEST(BadSegment, ForeignFilesOfAnyContentAreRefused) {
    std::mt19937_64 random(test::announce_seed());
    std::string noise(20'000, '\0');
    std::generate(noise.begin(), noise.end(), [&] { return static_cast<char>(random()); });
    for (const Kind& kind : all_kinds()) {
        const FreshName name("foreign");
        for (const std::string& content :
             {std::string(), std::string("x"), std::string(247, 'x')}) {
            write_file(name.path(), content);
            expect_refusal<BadSegment>(kind, name, "is truncated", "remove it");
        }
        for (const std::string& content :
             {std::string(20'000, 'x'), std::string(20'000, '\0'), noise}) {
            write_file(name.path(), content);
            expect_refusal<BadSegment>(kind, name, "not a sluice segment", "remove it");
        }
    }
}

TEST(BadSegment, SegmentsCutAtAnyPlaceAreRefused) {
    const Watchdog watchdog(100);
    for (const Kind& kind : all_kinds()) {
        const FreshName name("cut");
        kind.create(name.name());
        const auto bytes = static_cast<off_t>(std::filesystem::file_size(name.path()));
        const int descriptor = ::open(name.path().c_str(), O_RDWR | O_CLOEXEC);
        std::vector<off_t> lengths{bytes - 1, bytes - 8, 0};
        for (off_t page = 4096; page <= bytes; page += 4096) {
            lengths.insert(lengths.begin(), {page - 4096 + 248, page - 4096 + 384, page - 4095});
            if (page < bytes) {
                lengths.push_back(page);
            }
        }
        std::sort(lengths.rbegin(), lengths.rend());  // what is cut is not needed again
        for (const off_t length : lengths) {
            ASSERT_EQ(ftruncate(descriptor, length), 0);
            expect_refusal<BadSegment>(kind, name, "is truncated", "remove it");
        }
        close(descriptor);
    }
}

TEST(BadSegment, OnesThatWereNeverCompletedAreRefused) {
    for (const Kind& kind : all_kinds()) {
        const FreshName name("half-made");
        kind.create(name.name());
        overwrite(name.path(), offsetof(shm::SegmentLayout, ready), std::uint32_t{0});
        expect_refusal<BadSegment>(kind, name, "never completed", "remove it");
    }
}

TEST(BadSegment, OfAnotherKindTypeVersionOrLayoutSayWhatToDo) {
    const std::vector<Kind> all = kinds();
    const FreshName name("another");
    Queue<int>::create(name.name());
    expect_refusal<BadSegment>(all[1], name, "values of type int", "open it with that type");
    expect_refusal<BadSegment>(all[2], name, "is a queue, not a pipe", "open it as what it is");
    expect_refusal<BadSegment>(all[4], name, "is a queue, not a byte_pipe", "another name");
    const FreshName old("old");
    Queue<int>::create(old.name());
    overwrite(old.path(), offsetof(shm::SegmentLayout, layout_signature), std::uint64_t{1});
    expect_refusal<BadSegment>(all[0], old, "another version of sluice", "end the programs");
    overwrite(old.path(), offsetof(shm::SegmentLayout, version), std::uint32_t{99});
    expect_refusal<BadSegment>(all[0], old, "version 99", "end the programs");
    overwrite(old.path(), offsetof(shm::SegmentLayout, magic), std::uint64_t{0});
    expect_refusal<BadSegment>(all[0], old, "wrong magic", "remove it");
}

TEST(BadSegment, ShapesThatDoNotFitTheFileAreRefused) {
    struct Damage {
        std::size_t offset;
        std::uint64_t value;
    };
    constexpr std::size_t kCapacity = offsetof(shm::SegmentLayout, capacity);
    constexpr std::size_t kBody = offsetof(shm::SegmentLayout, body_offset);
    std::vector<Damage> damages{{kBody, 8192 - 128}};
    for (const std::uint64_t capacity : {0ULL, 3ULL, 12'288ULL, 1ULL << 26U, 1ULL << 31U,
                                         1ULL << 32U, 1ULL << 58U, 1ULL << 63U, ~0ULL}) {
        damages.push_back({kCapacity, capacity});
    }
    for (const Kind& kind : channel_kinds()) {
        for (const Damage& damage : damages) {
            SCOPED_TRACE(std::string(kind.object) + ": " + std::to_string(damage.value) + " at " +
                         std::to_string(damage.offset));
            const FreshName name("shape");
            kind.create(name.name());
            const auto last = std::filesystem::file_size(name.path()) - 128;
            overwrite(name.path(), damage.offset, damage.offset == kBody ? last : damage.value);
            expect_refusal<BadSegment>(kind, name, "damaged header", "remove it");
        }
        const FreshName name("options");
        kind.create(name.name());
        overwrite(name.path(), offsetof(shm::SegmentLayout, options), std::uint32_t{3});
        expect_refusal<BadSegment>(kind, name, "damaged header", "remove it");
    }
    for (const Kind& kind : {kinds()[0], kinds()[1]}) {
        for (const std::uint64_t slot_bytes :
             {0ULL, 8ULL, 24ULL, 65ULL, 1ULL << 20U, 1ULL << 62U, ~0ULL, ~0ULL - 63}) {
            SCOPED_TRACE(slot_bytes);
            const FreshName name("slots");
            kind.create(name.name());
            overwrite(name.path(), offsetof(shm::SegmentLayout, element_bytes), slot_bytes);
            expect_refusal<BadSegment>(kind, name, "damaged header", "remove it");
        }
    }
}

TEST(BadSegment, NumbersThatNoLockCanHaveAreRefused) {
    std::vector<Kind> family = kinds();
    family.erase(family.begin(), family.begin() + std::ssize(channel_kinds()));
    for (const Kind& kind : family) {
        for (const std::uint64_t capacity : {0ULL, 1ULL << 31U, 1ULL << 40U, ~0ULL}) {
            SCOPED_TRACE(std::string(kind.object) + ": " + std::to_string(capacity));
            const FreshName name("numbers");
            kind.create(name.name());
            overwrite(name.path(), offsetof(shm::SegmentLayout, capacity), capacity);
            expect_refusal<BadSegment>(kind, name, "damaged header", "remove it");
        }
        SCOPED_TRACE(kind.object);
        const FreshName name("options");
        kind.create(name.name());
        overwrite(name.path(), offsetof(shm::SegmentLayout, options), std::uint32_t{3});
        expect_refusal<BadSegment>(kind, name, "damaged header", "remove it");
    }
}

TEST(BadSegment, CountsThatDoNotFitAnArrayAValueOrAManagerAreRefused) {
    for (const Kind& kind : all_kinds()) {
        const std::string object = kind.object;
        if (object != "Value" && object != "Array" && object != "Manager" && object != "Dict") {
            continue;
        }
        for (const std::uint64_t number :
             {0ULL, 1ULL << 20U, 1ULL << 32U, 1ULL << 58U, 1ULL << 63U, ~0ULL}) {
            SCOPED_TRACE(std::string(kind.object) + ": " + std::to_string(number));
            const FreshName name("count");
            kind.create(name.name());
            overwrite(name.path(), offsetof(shm::SegmentLayout, capacity), number);
            expect_refusal<BadSegment>(kind, name, "damaged", "remove it");
            const FreshName element("element");
            kind.create(element.name());
            overwrite(element.path(), offsetof(shm::SegmentLayout, element_bytes), number | 1U);
            expect_refusal<BadSegment>(kind, element, "damaged", "remove it");
        }
    }
}

TEST(BadSegment, APackedValueOfALengthThatCannotBeIsRefused) {
    const FreshName name("length");
    const auto sut = Value<std::string>::create(name.name(), "text");
    std::ifstream file(name.path(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::size_t text = bytes.find("text");
    ASSERT_NE(text, std::string::npos);
    // A word of length, then a byte that says of what, then the text.
    overwrite(name.path(), text - 9, ~std::uint64_t{0});
    EXPECT_THROW(sut.load(), BadSegment);
    overwrite(name.path(), text - 9, std::uint64_t{2});
    EXPECT_THROW(sut.load(), BadSegment) << "half of it";
    sut.store("more");
    EXPECT_EQ(sut.load(), "more");
}

TEST(BadSegment, ObjectsOfAManagerAreCheckedAsFilesAre) {
    const FreshName name("manager");
    const Manager manager = Manager::create(name.name());
    static_cast<void>(manager.queue<int>("numbers"));
    constexpr std::size_t kWindow = std::size_t{1} << shm::Directory::kWindowShift;
    const auto refuses = [&](std::size_t offset, auto value, const std::string& says) {
        decltype(value) was{};
        const int descriptor = ::open(name.path().c_str(), O_RDWR | O_CLOEXEC);
        ASSERT_EQ(pread(descriptor, &was, sizeof was, static_cast<off_t>(kWindow + offset)),
                  static_cast<ssize_t>(sizeof was));
        close(descriptor);
        overwrite(name.path(), kWindow + offset, value);
        try {
            manager.queue<int>("numbers");
            ADD_FAILURE() << "it was opened";
        } catch (const BadSegment& refusal) {
            const std::string text = refusal.what();
            EXPECT_NE(text.find("Manager \"" + name.name() + "\": \"numbers\""), std::string::npos)
                << text;
            EXPECT_NE(text.find(says), std::string::npos) << text;
        }
        overwrite(name.path(), kWindow + offset, was);
        static_cast<void>(manager.queue<int>("numbers"));
    };
    using Layout = shm::SegmentLayout;
    refuses(offsetof(Layout, magic), std::uint64_t{1}, "wrong magic");
    refuses(offsetof(Layout, ready), std::uint32_t{0}, "never completed");
    refuses(offsetof(Layout, total_bytes), std::uint64_t{kWindow} * 2, "is truncated");
    refuses(offsetof(Layout, body_offset), std::uint64_t{kWindow}, "damaged header");
    refuses(offsetof(Layout, type_signature), std::uint64_t{1}, "values of type int");
}

// Files that may not be opened.

TEST(NotPermitted, LinksAreRefused) {
    for (const Kind& kind : all_kinds()) {
        const FreshName target("target");
        const FreshName name("link");
        kind.create(target.name());
        ASSERT_EQ(symlink(target.path().c_str(), name.path().c_str()), 0);
        expect_refusal<NotPermitted>(kind, name, "symbolic link", "remove it");
        ASSERT_EQ(unlink(name.path().c_str()), 0);
        ASSERT_EQ(link(target.path().c_str(), name.path().c_str()), 0);
        expect_refusal<NotPermitted>(kind, name, "hard link", "remove it");
        ASSERT_EQ(unlink(name.path().c_str()), 0);
        EXPECT_NO_THROW(kind.open(target.name())) << "it has one name again";
    }
}

TEST(NotPermitted, WhatIsNoPlainFileIsRefused) {
    const Watchdog watchdog(60);
    for (const Kind& kind : all_kinds()) {
        const FreshName name("special");
        ASSERT_EQ(mkdir(name.path().c_str(), 0700), 0);
        expect_refusal<NotPermitted>(kind, name, "not a plain file", "remove it");
        ASSERT_EQ(rmdir(name.path().c_str()), 0);
        ASSERT_EQ(mkfifo(name.path().c_str(), 0600), 0);
        expect_refusal<NotPermitted>(kind, name, "not a plain file", "remove it");
        ASSERT_EQ(unlink(name.path().c_str()), 0);
        const int socket_descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        ASSERT_LT(name.path().size(), sizeof address.sun_path);
        name.path().copy(address.sun_path, name.path().size());
        ASSERT_EQ(
            bind(socket_descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address),
            0);
        expect_refusal<NotPermitted>(kind, name, "not a plain file", "remove it");
        close(socket_descriptor);
    }
}

TEST(NotPermitted, SegmentsOfOtherUsersAreRefused) {
    if (geteuid() != 0) {
        GTEST_SKIP() << "only root can become another user";
    }
    for (const Kind& kind : kinds()) {
        for (const unsigned mode : {0600U, 0666U}) {
            const FreshName name("others");
            kind.create(name.name());
            ASSERT_EQ(chmod(name.path().c_str(), mode), 0);
            Child other([&] {
                ASSERT_EQ(setresuid(65'534, 65'534, 65'534), 0);
                expect_refusal<NotPermitted>(kind, name, "belongs to user 0", "another name");
            });
            EXPECT_EQ(other.join(), 0);
            ASSERT_EQ(chown(name.path().c_str(), 65'534, 65'534), 0);
            expect_refusal<NotPermitted>(kind, name, "belongs to user 65534", "another name");
        }
    }
}

TEST(NotPermitted, OnesOwnFileThatMayNotBeWrittenSaysWhichModeItNeeds) {
    const FreshName name("read-only");
    Child child([&] {
        if (geteuid() == 0) {  // whom no mode stops
            ASSERT_EQ(setresuid(65'534, 65'534, 65'534), 0);
        }
        write_file(name.path(), std::string(20'000, 'x'));
        ASSERT_EQ(chmod(name.path().c_str(), 0400), 0);
        expect_refusal<NotPermitted>(kinds()[0], name, "may not be read and written", "0600");
    });
    EXPECT_EQ(child.join(), 0);
}

// A registry that is none. In a /dev/shm of its own, as the user's is in use.

template <class Damage>
void with_bad_registry(const std::string& says, Damage&& damage) {
    constexpr int kNotAllowed = 42;
    Child child([&] {
        if ((unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
            mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=4m") != 0) {
            _exit(kNotAllowed);
        }
        const std::string probe = std::string(SLUICE_REGISTRY_PROBE) + " > /dev/shm/said";
        ASSERT_EQ(std::system(probe.c_str()), 0) << "a good one works";
        damage("/dev/shm/sluice-registry-" + std::to_string(geteuid()) + "-1");
        EXPECT_NE(std::system(probe.c_str()), 0);
        const std::vector<std::uint8_t> said = read_file("/dev/shm/said");
        const std::string text(said.begin(), said.end());
        EXPECT_TRUE(text.starts_with(says)) << text;
        EXPECT_NE(text.find("sluice-registry-"), std::string::npos) << text;
        EXPECT_NE(text.find("remove it"), std::string::npos) << text;
    });
    const int code = child.join();
    if (code == kNotAllowed) {
        GTEST_SKIP() << "not allowed to mount a /dev/shm of its own";
    }
    EXPECT_EQ(code, 0);
}

TEST(BadRegistry, OfAnotherContentOrLengthIsRefused) {
    with_bad_registry("BadSegment", [](const std::string& path) { write_file(path, ""); });
    with_bad_registry("BadSegment",
                      [](const std::string& path) { write_file(path, std::string(9000, 'x')); });
    with_bad_registry("BadSegment", [](const std::string& path) {
        ASSERT_EQ(truncate(path.c_str(), 100'000), 0);
    });
    with_bad_registry("BadSegment", [](const std::string& path) {
        constexpr std::size_t kEntriesOffset = 12;
        overwrite(path, kEntriesOffset, ~std::uint32_t{0});
    });
}

TEST(BadRegistry, ThatOthersMayWriteOrHaveLinkedIsRefused) {
    with_bad_registry("NotPermitted",
                      [](const std::string& path) { ASSERT_EQ(chmod(path.c_str(), 0666), 0); });
    with_bad_registry("NotPermitted", [](const std::string& path) {
        ASSERT_EQ(link(path.c_str(), "/dev/shm/another-name"), 0);
    });
    with_bad_registry("NotPermitted", [](const std::string& path) {
        ASSERT_EQ(rename(path.c_str(), "/dev/shm/target"), 0);
        ASSERT_EQ(symlink("/dev/shm/target", path.c_str()), 0);
    });
    with_bad_registry("NotPermitted", [](const std::string& path) {
        ASSERT_EQ(unlink(path.c_str()), 0);
        ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
    });
}

// A file that is cut while it is in use.

TEST(TruncatedInUse, AValueBesideItsSlotIsMissed) {
    const FreshName name("beside");
    const auto sut = Queue<std::string>::create(name.name(), {.capacity = 4});
    const auto bytes = static_cast<off_t>(std::filesystem::file_size(name.path()));
    sut.put(std::string(100'000, 'x'));
    sut.put("short");
    ASSERT_EQ(truncate(name.path().c_str(), bytes), 0);
    EXPECT_THROW(static_cast<void>(sut.try_get()), BadSegment);
    EXPECT_EQ(sut.try_get(), "short") << "the damaged message was taken";
}

TEST(TruncatedInUse, WhoUsesWhatIsGoneGetsASignalAndDoesNotHang) {
    const Watchdog watchdog(60);
    const FreshName name("live");
    const auto queue = Queue<int>::create(name.name(), {.capacity = 4});
    for (const off_t bytes : {4096, 0}) {
        Child user([&] {
            signal(SIGBUS, SIG_DFL);  // a sanitizer would report it at length
            const auto sut = Queue<int>::open(name.name());
            static_cast<void>(sut.try_get());
            ASSERT_EQ(truncate(name.path().c_str(), bytes), 0);
            for (;;) {
                static_cast<void>(sut.try_get_for(std::chrono::milliseconds(1)));
                static_cast<void>(sut.try_put(1));
            }
        });
        EXPECT_EQ(user.join(), -SIGBUS) << bytes;
        ASSERT_EQ(truncate(name.path().c_str(), 65'536), 0);
    }
}

}  // namespace
}  // namespace sluice
