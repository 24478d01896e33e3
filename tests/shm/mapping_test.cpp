#include "sluice/shm/mapping.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "support/processes.hpp"
#include "support/sanitizers.hpp"

namespace sluice::shm {
namespace {

using test::Child;
using test::FreshName;

std::vector<std::byte> pattern(std::size_t bytes) {
    std::vector<std::byte> made(bytes);
    for (std::size_t index = 0; index < bytes; ++index) {
        made[index] = static_cast<std::byte>(index * 7 + index / 251);
    }
    return made;
}

std::string smaps_line(const void* address, const std::string& key) {
    std::ifstream smaps("/proc/self/smaps");
    std::array<char, 32> wanted{};
    std::snprintf(wanted.data(), wanted.size(), "%lx-",
                  static_cast<unsigned long>(reinterpret_cast<std::uintptr_t>(address)));
    bool inside = false;
    for (std::string line; std::getline(smaps, line);) {
        inside = inside ? line.find('-') == std::string::npos || line.find(':') < line.find('-')
                        : line.starts_with(wanted.data());
        if (inside && line.starts_with(key)) {
            return line;
        }
    }
    return {};
}

TEST(Mapping, AnonymousMemoryIsZeroWholePagesAndShared) {
    Failure failure;
    const auto sut = Mapping::create_anonymous("test", 5000, {}, failure);
    ASSERT_TRUE(sut) << failure.text;
    EXPECT_EQ(sut->bytes() % sut->page_bytes(), 0U);
    EXPECT_GE(sut->bytes(), 5000U);
    EXPECT_EQ(sut->page_kind(), PageKind::normal);
    EXPECT_EQ(sut->data()[4999], std::byte{0});
    Child child([&] { sut->data()[4999] = std::byte{7}; });
    EXPECT_EQ(child.join(), 0);
    EXPECT_EQ(sut->data()[4999], std::byte{7});
}

TEST(Mapping, AnonymousMemoryCannotShrink) {
    Failure failure;
    const auto sut = Mapping::create_anonymous("test", 5000, {}, failure);
    ASSERT_TRUE(sut) << failure.text;
    EXPECT_NE(ftruncate(sut->descriptor(), 0), 0) << "a shrunk file would be SIGBUS for all";
}

TEST(Mapping, TheLabelShowsInTheMaps) {
    Failure failure;
    const auto sut = Mapping::create_anonymous("label", 4096, {}, failure);
    ASSERT_TRUE(sut) << failure.text;
    std::ifstream maps("/proc/self/maps");
    const std::string text((std::istreambuf_iterator<char>(maps)), {});
    EXPECT_NE(text.find("sluice:label"), std::string::npos);
}

TEST(Mapping, PrefaultMakesThePagesResident) {
    Failure failure;
    const auto sut = Mapping::create_anonymous("test", 1U << 20U, {}, failure);
    ASSERT_TRUE(sut) << failure.text;
    const std::string line = smaps_line(sut->data(), "Rss:");
    EXPECT_NE(line.find("1024 kB"), std::string::npos) << line;
}

TEST(Mapping, PreferredHugePagesFallBack) {
    Failure failure;
    MemoryOptions options;
    options.huge_pages = HugePages::prefer;
    const auto sut = Mapping::create_anonymous("test", 5000, options, failure);
    ASSERT_TRUE(sut) << failure.text;
    EXPECT_FALSE(failure) << failure.text;
    std::memset(sut->data(), 1, sut->bytes());
}

TEST(Mapping, RequiredHugePagesAreThereOrAClearError) {
    Failure failure;
    MemoryOptions options;
    options.huge_pages = HugePages::require;
    const auto sut = Mapping::create_anonymous("test", 5000, options, failure);
    if (sut) {
        EXPECT_EQ(sut->page_kind(), PageKind::huge);
        std::memset(sut->data(), 1, sut->bytes());
        const auto value = pattern(10'000);
        ASSERT_TRUE(sut->write_beyond(0, value, failure)) << failure.text;
        return;
    }
    EXPECT_EQ(failure.kind, FailureKind::environment);
    EXPECT_NE(failure.error, 0);
    EXPECT_NE(failure.text.find("nr_hugepages"), std::string::npos) << failure.text;
}

TEST(Mapping, RequiredHugePagesForAFileAreRefused) {
    Failure failure;
    MemoryOptions options;
    options.huge_pages = HugePages::require;
    EXPECT_FALSE(Mapping::create_unnamed_file(5000, 0600, options, failure));
    EXPECT_EQ(failure.kind, FailureKind::bad_argument);
}

// The sanitizers make mlock do nothing.
constexpr bool kLockWorks = !test::kUnderAddressSanitizer && !test::kUnderThreadSanitizer;

TEST(Mapping, LockingMoreThanTheLimitIsAnError) {
    if (!kLockWorks) {
        GTEST_SKIP() << "no mlock under a sanitizer";
    }
    Child child([] {
        const rlimit small{65'536, 65'536};
        ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &small), 0);
        if (geteuid() == 0 && setresuid(65'534, 65'534, 65'534) != 0) {
            return;  // root may lock without limit
        }
        Failure failure;
        MemoryOptions options;
        options.lock = true;
        EXPECT_FALSE(Mapping::create_anonymous("test", 1U << 20U, options, failure));
        EXPECT_EQ(failure.kind, FailureKind::environment);
        EXPECT_NE(failure.text.find("RLIMIT_MEMLOCK"), std::string::npos) << failure.text;
    });
    EXPECT_EQ(child.join(), 0);
}

TEST(Mapping, LockedMemoryIsLocked) {
    Failure failure;
    MemoryOptions options;
    options.lock = true;
    if (!kLockWorks) {
        GTEST_SKIP() << "no mlock under a sanitizer";
    }
    const auto sut = Mapping::create_anonymous("test", 65'536, options, failure);
    if (!sut) {
        GTEST_SKIP() << failure.text;
    }
    EXPECT_NE(smaps_line(sut->data(), "Locked:").find("64 kB"), std::string::npos);
}

// Runs the function in a child whose /dev/shm is a tmpfs of so many bytes. Skips where that is not
// allowed.
template <class Function>
void with_small_shm(const std::string& bytes, Function&& function) {
    constexpr int kNotAllowed = 42;
    Child child([&] {
        if (unshare(CLONE_NEWNS) != 0 ||
            mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount("tmpfs", "/dev/shm", "tmpfs", 0, ("size=" + bytes).c_str()) != 0) {
            _exit(kNotAllowed);
        }
        function();
    });
    const int code = child.join();
    if (code == kNotAllowed) {
        GTEST_SKIP() << "not allowed to mount a small /dev/shm: " << std::strerror(errno);
    }
    EXPECT_EQ(code, 0) << "-7 is SIGBUS";
}

TEST(Mapping, AFullShmIsAnErrorAndNoSignal) {
    with_small_shm("64k", [] {
        Failure failure;
        EXPECT_FALSE(Mapping::create_unnamed_file(1U << 20U, 0600, {}, failure));
        EXPECT_EQ(failure.kind, FailureKind::environment);
        EXPECT_EQ(failure.error, ENOSPC);
        EXPECT_NE(failure.text.find("/dev/shm"), std::string::npos) << failure.text;
        failure = {};
        const auto fits = Mapping::create_unnamed_file(32'768, 0600, {}, failure);
        ASSERT_TRUE(fits) << "nothing of the failed one is left behind: " << failure.text;
        std::memset(fits->data(), 1, fits->bytes());
    });
}

TEST(Mapping, AFullShmIsAnErrorForMemoryBeyondToo) {
    with_small_shm("64k", [] {
        Failure failure;
        const auto sut = Mapping::create_unnamed_file(16'384, 0600, {}, failure);
        ASSERT_TRUE(sut) << failure.text;
        EXPECT_FALSE(sut->write_beyond(0, pattern(1U << 20U), failure));
        EXPECT_EQ(failure.error, ENOSPC);
        sut->release_beyond(0, 1U << 20U);
        failure = {};
        EXPECT_TRUE(sut->write_beyond(0, pattern(20'000), failure)) << failure.text;
    });
}

TEST(Mapping, ANameAppearsOnlyWhenPublished) {
    const FreshName name("publish");
    Failure failure;
    const auto sut = Mapping::create_unnamed_file(5000, 0640, {}, failure);
    ASSERT_TRUE(sut) << failure.text;
    EXPECT_NE(access(name.path().c_str(), F_OK), 0);
    ASSERT_TRUE(sut->publish_as(name.path(), failure)) << failure.text;
    struct stat info {};
    ASSERT_EQ(stat(name.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0640U) << "the mode stands, whatever the umask";
    const auto second = Mapping::create_unnamed_file(5000, 0600, {}, failure);
    ASSERT_TRUE(second);
    EXPECT_FALSE(second->publish_as(name.path(), failure));
    EXPECT_EQ(failure.error, EEXIST);
}

TEST(Mapping, OpenedMemoryIsTheSame) {
    const FreshName name("open");
    Failure failure;
    const auto made = Mapping::create_unnamed_file(3 * 4096, 0600, {}, failure);
    ASSERT_TRUE(made && made->publish_as(name.path(), failure)) << failure.text;
    made->data()[8192] = std::byte{9};
    auto sut = Mapping::open_file(name.path(), 64, failure);
    ASSERT_TRUE(sut) << failure.text;
    ASSERT_TRUE(sut->extend_to(made->bytes(), name.path(), failure)) << failure.text;
    EXPECT_EQ(sut->data()[8192], std::byte{9});
}

TEST(Mapping, WhatIsNotThereIsENOENT) {
    Failure failure;
    EXPECT_FALSE(Mapping::open_file("/dev/shm/sluice.test-no-such", 64, failure));
    EXPECT_EQ(failure.kind, FailureKind::environment);
    EXPECT_EQ(failure.error, ENOENT);
    EXPECT_NE(failure.text.find("test-no-such"), std::string::npos);
}

TEST(Mapping, ASymbolicLinkIsRefused) {
    const FreshName target("link-target");
    const FreshName link("link");
    Failure failure;
    const auto made = Mapping::create_unnamed_file(4096, 0600, {}, failure);
    ASSERT_TRUE(made && made->publish_as(target.path(), failure));
    ASSERT_EQ(symlink(target.path().c_str(), link.path().c_str()), 0);
    EXPECT_FALSE(Mapping::open_file(link.path(), 64, failure));
    EXPECT_EQ(failure.kind, FailureKind::not_permitted);
    EXPECT_NE(failure.text.find("symbolic link"), std::string::npos) << failure.text;
}

TEST(Mapping, AFifoAndADirectoryAreRefusedWithoutBlocking) {
    const test::Watchdog watchdog(60);
    const FreshName fifo("fifo");
    ASSERT_EQ(mkfifo(fifo.path().c_str(), 0600), 0);
    Failure failure;
    EXPECT_FALSE(Mapping::open_file(fifo.path(), 64, failure));
    EXPECT_EQ(failure.kind, FailureKind::not_permitted) << failure.text;
    failure = {};
    EXPECT_FALSE(Mapping::open_file("/dev/shm", 64, failure));
    EXPECT_TRUE(failure);
}

TEST(Mapping, AnotherUsersFileIsRefused) {
    const FreshName name("foreign");
    Failure failure;
    const auto made = Mapping::create_unnamed_file(4096, 0666, {}, failure);
    ASSERT_TRUE(made && made->publish_as(name.path(), failure));
    if (chown(name.path().c_str(), 65'534, 65'534) != 0) {
        GTEST_SKIP() << "only root can give a file away";
    }
    EXPECT_FALSE(Mapping::open_file(name.path(), 64, failure));
    EXPECT_EQ(failure.kind, FailureKind::not_permitted);
    EXPECT_NE(failure.text.find("65534"), std::string::npos) << failure.text;
}

TEST(Mapping, ATruncatedFileIsRefused) {
    const FreshName name("truncated");
    {
        std::ofstream file(name.path());
        file << "short";
    }
    Failure failure;
    EXPECT_FALSE(Mapping::open_file(name.path(), 64, failure));
    EXPECT_EQ(failure.kind, FailureKind::bad_segment);
    EXPECT_NE(failure.text.find("truncated"), std::string::npos) << failure.text;
}

TEST(Mapping, ExtendingBeyondTheFileIsRefused) {
    const FreshName name("extend");
    Failure failure;
    const auto made = Mapping::create_unnamed_file(2 * 4096, 0600, {}, failure);
    ASSERT_TRUE(made && made->publish_as(name.path(), failure));
    for (const std::size_t bytes :
         {std::size_t{3 * 4096}, std::size_t{5000}, std::size_t{0}, ~std::size_t{4095}}) {
        auto sut = Mapping::open_file(name.path(), 64, failure);
        ASSERT_TRUE(sut);
        failure = {};
        EXPECT_FALSE(sut->extend_to(bytes, name.path(), failure)) << bytes;
        EXPECT_EQ(failure.kind, FailureKind::bad_segment);
    }
}

TEST(Mapping, WhoHoldsAMappingHoldsAKernelLock) {
    const FreshName name("lock");
    Failure failure;
    auto made = Mapping::create_unnamed_file(4096, 0600, {}, failure);
    ASSERT_TRUE(made && made->publish_as(name.path(), failure));
    const int fd = open(name.path().c_str(), O_RDWR | O_CLOEXEC);
    struct flock request {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    request.l_len = 1;
    EXPECT_NE(fcntl(fd, F_OFD_SETLK, &request), 0) << "a cleaner must see that it is in use";
    // A child's copy holds it still.
    Child child([] { pause(); });
    made.reset();
    EXPECT_NE(fcntl(fd, F_OFD_SETLK, &request), 0);
    child.kill_and_join();
    EXPECT_EQ(fcntl(fd, F_OFD_SETLK, &request), 0) << "nobody has it any more";
    close(fd);
}

TEST(Mapping, MappedTwiceTheEndContinuesAtTheBeginning) {
    Failure failure;
    const auto sut = Mapping::create_anonymous("test", 4 * 4096, {}, failure);
    ASSERT_TRUE(sut) << failure.text;
    std::byte* twice = sut->map_twice(4096, 8192, failure);
    ASSERT_NE(twice, nullptr) << failure.text;
    const auto value = pattern(5000);
    std::memcpy(twice + 8192 - 2500, value.data(), value.size());
    EXPECT_EQ(std::memcmp(twice, value.data() + 2500, 2500), 0);
    EXPECT_EQ(std::memcmp(sut->data() + 4096, value.data() + 2500, 2500), 0);
    munmap(twice, 2 * 8192);
}

TEST(Mapping, MemoryBeyondIsWrittenReadAndGivenBack) {
    Failure failure;
    const auto sut = Mapping::create_anonymous("test", 4096, {}, failure);
    ASSERT_TRUE(sut) << failure.text;
    const std::uint64_t before = sut->bytes_allocated();
    const auto value = pattern(1'000'000);
    constexpr std::uint64_t kFar = 1ULL << 36U;
    ASSERT_TRUE(sut->write_beyond(kFar, value, failure)) << failure.text;
    EXPECT_GE(sut->bytes_allocated(), before + value.size());
    std::vector<std::byte> read(value.size());
    ASSERT_TRUE(sut->read_beyond(kFar, read, failure)) << failure.text;
    EXPECT_EQ(read, value);
    EXPECT_EQ(sut->data()[0], std::byte{0});
    sut->release_beyond(kFar, value.size());
    EXPECT_EQ(sut->bytes_allocated(), before);
}

TEST(Mapping, ReadingBeyondTheEndIsAnError) {
    Failure failure;
    const auto sut = Mapping::create_anonymous("test", 4096, {}, failure);
    ASSERT_TRUE(sut) << failure.text;
    std::vector<std::byte> read(100);
    EXPECT_FALSE(sut->read_beyond(1U << 20U, read, failure));
    EXPECT_EQ(failure.kind, FailureKind::bad_segment);
}

TEST(Mapping, MovingLeavesNothingBehind) {
    Failure failure;
    auto first = Mapping::create_anonymous("test", 4096, {}, failure);
    ASSERT_TRUE(first);
    Mapping sut(std::move(*first));
    first.reset();
    sut.data()[0] = std::byte{1};
    Mapping other;
    other = std::move(sut);
    EXPECT_EQ(other.data()[0], std::byte{1});
}

TEST(PathOf, PlainWordsArePaths) {
    Failure failure;
    EXPECT_EQ(path_of("ticks", failure), "/dev/shm/sluice.ticks");
    EXPECT_EQ(path_of("a.b_c-9", failure), "/dev/shm/sluice.a.b_c-9");
    EXPECT_TRUE(path_of(std::string(200, 'x'), failure));
}

TEST(PathOf, OtherNamesAreRefused) {
    const std::string zero("a\0b", 3);
    for (const std::string& name :
         {std::string(), std::string("."), std::string(".hidden"), std::string("../etc/passwd"),
          std::string("a/b"), zero, std::string("a b"), std::string("\xc3\xa4"),
          std::string(201, 'x')}) {
        Failure failure;
        EXPECT_FALSE(path_of(name, failure)) << name;
        EXPECT_EQ(failure.kind, FailureKind::bad_argument);
    }
}

// Windows: parts of a file.

constexpr FileWindow kWindow{1ULL << 40U, 1ULL << 40U};
constexpr FileWindow kNext{2ULL << 40U, 1ULL << 40U};

TEST(MappingWindow, IsMemoryOfItsOwn) {
    Failure failure;
    const auto file = Mapping::create_anonymous("test", 5000, {}, failure);
    auto sut = file->reopen(failure);
    auto next = file->reopen(failure);
    ASSERT_TRUE(sut && next) << failure.text;
    ASSERT_TRUE(sut->hold_window(kWindow, failure)) << failure.text;
    ASSERT_TRUE(next->hold_window(kNext, failure)) << failure.text;
    const std::uint64_t before = file->bytes_allocated();
    ASSERT_TRUE(sut->create_in_window(10'000, {}, failure)) << failure.text;
    ASSERT_TRUE(next->create_in_window(10'000, {}, failure)) << failure.text;
    EXPECT_EQ(file->bytes_allocated(), before + sut->bytes() + next->bytes());
    std::memset(sut->data(), 1, sut->bytes());
    std::memset(next->data(), 2, next->bytes());
    EXPECT_EQ(file->data()[0], std::byte{0});
    EXPECT_EQ(sut->data()[9'999], std::byte{1});
    const auto value = pattern(30'000);
    ASSERT_TRUE(sut->write_beyond(1ULL << 36U, value, failure)) << failure.text;
    std::vector<std::byte> read(value.size());
    ASSERT_TRUE(sut->read_beyond(1ULL << 36U, read, failure)) << failure.text;
    EXPECT_EQ(read, value);
    EXPECT_TRUE(file->clear_window(kWindow));
    EXPECT_EQ(file->bytes_allocated(), before + next->bytes());
    EXPECT_EQ(sut->data()[9'999], std::byte{0});
    EXPECT_EQ(next->data()[9'999], std::byte{2});
}

TEST(MappingWindow, NothingIsWrittenOrClearedBeyondItsEnd) {
    Failure failure;
    const auto file = Mapping::create_anonymous("test", 5000, {}, failure);
    auto sut = file->reopen(failure);
    ASSERT_TRUE(sut->hold_window(kWindow, failure));
    ASSERT_TRUE(sut->create_in_window(4096, {}, failure)) << failure.text;
    auto next = file->reopen(failure);
    ASSERT_TRUE(next->hold_window(kNext, failure));
    ASSERT_TRUE(next->create_in_window(4096, {}, failure)) << failure.text;
    std::memset(next->data(), 2, next->bytes());
    const std::uint64_t room = kWindow.bytes - sut->bytes();
    std::vector<std::byte> value = pattern(100);
    EXPECT_FALSE(sut->write_beyond(room - 99, value, failure));
    EXPECT_EQ(failure.error, EFBIG);
    EXPECT_FALSE(sut->write_beyond(~0ULL - 50, value, failure));
    EXPECT_FALSE(sut->read_beyond(room, value, failure));
    EXPECT_EQ(failure.kind, FailureKind::bad_segment);
    sut->release_beyond(room, 4096);
    sut->release_beyond(0, room + 4096);
    EXPECT_EQ(next->data()[0], std::byte{2});
    failure = {};
    EXPECT_TRUE(sut->write_beyond(room - 100, value, failure)) << failure.text;
    auto large = file->reopen(failure);
    ASSERT_TRUE(large->hold_window({3ULL << 40U, 1ULL << 30U}, failure));
    EXPECT_FALSE(large->create_in_window((1ULL << 30U) + 1, {}, failure));
    EXPECT_EQ(failure.error, EFBIG);
}

TEST(MappingWindow, IsHeldUntilItsLastHolderEnds) {
    Failure failure;
    const auto file = Mapping::create_anonymous("test", 5000, {}, failure);
    EXPECT_FALSE(file->is_window_held(kWindow));
    auto sut = file->reopen(failure);
    ASSERT_TRUE(sut->hold_window(kWindow, failure));
    EXPECT_TRUE(file->is_window_held(kWindow));
    EXPECT_FALSE(file->is_window_held(kNext));
    Child child([] { pause(); });
    sut.reset();
    EXPECT_TRUE(file->is_window_held(kWindow)) << "the child has inherited it";
    child.kill_and_join();
    EXPECT_FALSE(file->is_window_held(kWindow));
}

TEST(MappingWindow, TravelsWithItsPlace) {
    Failure failure;
    const auto file = Mapping::create_anonymous("test", 5000, {}, failure);
    auto sut = file->reopen(failure);
    ASSERT_TRUE(sut->hold_window(kWindow, failure));
    ASSERT_TRUE(sut->create_in_window(8192, {}, failure)) << failure.text;
    sut->data()[8000] = std::byte{9};
    auto received = Mapping::receive(sut->pass(), 4096, failure);
    ASSERT_TRUE(received) << failure.text;
    EXPECT_EQ(received->bytes(), 4096U);
    ASSERT_TRUE(received->extend_to(8192, "it", failure)) << failure.text;
    EXPECT_EQ(received->data()[8000], std::byte{9});
    EXPECT_FALSE(received->extend_to(kWindow.bytes + 4096, "it", failure));
    EXPECT_EQ(failure.kind, FailureKind::bad_segment);
    std::byte* twice = received->map_twice(4096, 4096, failure);
    ASSERT_NE(twice, nullptr) << failure.text;
    EXPECT_EQ(twice[4096 + 8000 - 4096], std::byte{9});
    munmap(twice, 8192);
}

}  // namespace
}  // namespace sluice::shm
