// Making and opening shared memory. Order of making: size, map, policy, allocate, fault in, lock.
#include "sluice/shm/mapping.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

#include "sluice/shm/facts.hpp"

namespace sluice::shm {
namespace {

constexpr const char* kDirectory = "/dev/shm";
constexpr std::size_t kHugePageBytes = 2U << 20U;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, Linux 5.14

std::size_t base_page_bytes() noexcept {
    return static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// The C library's posix_fallocate falls back to writing bytes, which we do not want;
// ours retries EINTR.
int allocate(int descriptor, std::uint64_t offset, std::uint64_t bytes) noexcept {
    for (;;) {
        if (fallocate(descriptor, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)) == 0) {
            return 0;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
}

std::string size_text(std::size_t bytes) {
    return std::to_string(bytes) + " bytes of shared memory";
}

}  // namespace

Mapping::~Mapping() {
    if (data_ != nullptr) {
        munmap(data_, bytes_);
    }
    if (descriptor_ >= 0) {
        close(descriptor_);
    }
    if (beyond_ >= 0) {
        close(beyond_);
    }
}

void Mapping::swap(Mapping& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(page_bytes_, other.page_bytes_);
    std::swap(page_kind_, other.page_kind_);
    std::swap(descriptor_, other.descriptor_);
    std::swap(beyond_, other.beyond_);
    std::swap(window_, other.window_);
    std::swap(options_, other.options_);
}

bool Mapping::map(std::string_view what, Failure& failure) {
    void* address = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_,
                         static_cast<off_t>(window_.begin));
    if (address == MAP_FAILED) {
        failure.environment("mmap of " + size_text(bytes_) + " for " + std::string(what));
        return false;
    }
    data_ = static_cast<std::byte*>(address);
    return true;
}

bool Mapping::finish_creation(std::string_view what, std::size_t room_bytes, Failure& failure) {
    if (ftruncate(descriptor_, static_cast<off_t>(bytes_)) != 0) {
        failure.environment("ftruncate to " + size_text(bytes_) + " for " + std::string(what));
        return false;
    }
    return fill(what, room_bytes, failure);
}

bool Mapping::fill(std::string_view what, std::size_t room_bytes, Failure& failure) {
    const std::size_t used = round_up(bytes_ - room_bytes, page_bytes_);
    if (!map(what, failure) || !place_pages(data_, bytes_, options_, failure)) {
        return false;
    }
    if (options_.huge_pages != HugePages::off && page_kind_ == PageKind::normal &&
        madvise(data_, bytes_, MADV_HUGEPAGE) == 0) {
        page_kind_ = PageKind::transparent_huge;
    }
    // After the policy: the pages are allocated where it says. A full tmpfs or memory
    // cgroup ends here.
    if (const int error = allocate_pages(0, used); error != 0) {
        errno = error;
        failure.environment("fallocate of " + size_text(used) + " for " + std::string(what) +
                            (error == ENOSPC ? " (is /dev/shm full? containers: --shm-size)" : ""));
        return false;
    }
    if (options_.prefault) {
        if (madvise(data_, used, kPopulateWrite) != 0) {
            // Before 5.14: touch each page. Nobody else has the memory yet, so a plain
            // store is safe.
            for (std::size_t at = 0; at < used; at += page_bytes_) {
                static_cast<volatile std::byte*>(data_)[at] = std::byte{0};
            }
        }
    }
    if (options_.lock && mlock(data_, used) != 0) {
        failure.environment("mlock of " + size_text(used) + " for " + std::string(what) +
                            " (raise RLIMIT_MEMLOCK: ulimit -l)");
        return false;
    }
    return true;
}

std::optional<Mapping> Mapping::create_anonymous(std::string_view label, std::size_t bytes,
                                                 const MemoryOptions& options, Failure& failure,
                                                 std::size_t room_bytes) {
    if (room_bytes != 0 && options.huge_pages == HugePages::require) {
        failure.set(FailureKind::bad_argument,
                    "HugePages::require does not work for objects that grow; use "
                    "HugePages::prefer");
        return std::nullopt;
    }
    const std::string name = "sluice:" + std::string(label);
    Mapping mapping;
    mapping.options_ = options;
    if (options.huge_pages != HugePages::off && room_bytes == 0) {
        mapping.page_bytes_ = kHugePageBytes;
        mapping.bytes_ = round_up(bytes, kHugePageBytes);
        mapping.page_kind_ = PageKind::huge;
        mapping.descriptor_ = memfd_create(name.c_str(), MFD_CLOEXEC | MFD_HUGETLB);
        mapping.beyond_ = memfd_create(name.c_str(), MFD_CLOEXEC);
        if (mapping.descriptor_ >= 0 && mapping.beyond_ >= 0 &&
            mapping.finish_creation(label, 0, failure)) {
            return mapping;
        }
        if (options.huge_pages == HugePages::require) {
            if (!failure) {
                failure.environment("memfd_create with huge pages for " + std::string(label));
            }
            failure.text += " (HugePages::require: are huge pages reserved? see vm.nr_hugepages)";
            return std::nullopt;
        }
        failure = {};
        mapping = Mapping{};
        mapping.options_ = options;
    }
    mapping.page_bytes_ = base_page_bytes();
    mapping.bytes_ = round_up(bytes, mapping.page_bytes_);
    mapping.descriptor_ = memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (mapping.descriptor_ < 0) {
        failure.environment("memfd_create for " + std::string(label));
        return std::nullopt;
    }
    if (!mapping.finish_creation(label, room_bytes, failure)) {
        return std::nullopt;
    }
    // Nobody can make the memory shrink under a mapping (SIGBUS). It may grow: large
    // values lie beyond it. Where sealing is refused the mapping still works.
    static_cast<void>(fcntl(mapping.descriptor_, F_ADD_SEALS, F_SEAL_SHRINK));
    return mapping;
}

std::optional<Mapping> Mapping::create_unnamed_file(std::size_t bytes, mode_t mode,
                                                    const MemoryOptions& options, Failure& failure,
                                                    std::size_t room_bytes) {
    if (options.huge_pages == HugePages::require) {
        failure.set(
            FailureKind::bad_argument,
            "HugePages::require works for anonymous objects only: files in /dev/shm have no "
            "reserved huge pages; use HugePages::prefer");
        return std::nullopt;
    }
    Mapping mapping;
    mapping.options_ = options;
    mapping.page_bytes_ = base_page_bytes();
    mapping.bytes_ = round_up(bytes, mapping.page_bytes_);
    mapping.descriptor_ = open(kDirectory, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
    if (mapping.descriptor_ < 0) {
        failure.environment(std::string("open of an unnamed file in ") + kDirectory);
        return std::nullopt;
    }
    // The umask has its say in open; the caller's mode is meant as it stands.
    if (fchmod(mapping.descriptor_, mode) != 0) {
        failure.environment("fchmod of an unnamed file");
        return std::nullopt;
    }
    if (!mapping.finish_creation("a named object", room_bytes, failure)) {
        return std::nullopt;
    }
    return mapping;
}

namespace {

// The lock that says "somebody has it mapped": of the open file description, so it lives as
// long as the descriptor or a copy of it that a child inherited, and dies with the last.
bool lock_shared(int descriptor, std::uint64_t byte = 0) noexcept {
    struct flock request {};
    request.l_type = F_RDLCK;
    request.l_whence = SEEK_SET;
    request.l_start = static_cast<off_t>(byte);
    request.l_len = 1;
    return fcntl(descriptor, F_OFD_SETLK, &request) == 0;
}

}  // namespace

bool Mapping::publish_as(const std::string& path, Failure& failure) const {
    if (!lock_shared(descriptor_)) {
        failure.environment("fcntl(F_OFD_SETLK) for " + path);
        return false;
    }
    char self[64];
    std::snprintf(self, sizeof self, "/proc/self/fd/%d", descriptor_);
    if (linkat(AT_FDCWD, self, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
        failure.environment("linkat of " + path);
        return false;
    }
    return true;
}

namespace {

void refuse(Failure& failure, const std::string& why) {
    failure.set(FailureKind::not_permitted, why + ": refused; remove it, or choose another name");
}

void refuse_owner(const std::string& path, uid_t owner, Failure& failure) {
    failure.set(FailureKind::not_permitted,
                path + " belongs to user " + std::to_string(owner) + ", this process runs as " +
                    std::to_string(geteuid()) + ": refused; choose another name");
}

// Of what open() said: is it that the file is none of ours?
void refuse_to_open(const std::string& path, Failure& failure) {
    struct stat info {};
    switch (failure.error) {
        case ELOOP:
            refuse(failure, path + " is a symbolic link");
            break;
        case EISDIR:
        case ENXIO:  // a socket
        case ENODEV:
            refuse(failure, path + " is not a plain file");
            break;
        case EACCES:
            if (lstat(path.c_str(), &info) == 0 && info.st_uid != geteuid()) {
                refuse_owner(path, info.st_uid, failure);
            } else {
                failure.set(FailureKind::not_permitted,
                            path +
                                " may not be read and written by this process: refused; give "
                                "it mode 0600, or remove it");
            }
            break;
        default:
            break;
    }
}

}  // namespace

std::optional<Mapping> Mapping::open_file(const std::string& path, std::size_t bytes_min,
                                          Failure& failure) {
    // Between open and lock a cleaner may remove the name: then it leads elsewhere,
    // and we try again.
    constexpr int kAttempts = 100;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        Mapping mapping;
        mapping.page_bytes_ = base_page_bytes();
        mapping.descriptor_ = open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (mapping.descriptor_ < 0) {
            failure.environment("open of " + path);
            refuse_to_open(path, failure);
            return std::nullopt;
        }
        struct stat info {};
        if (fstat(mapping.descriptor_, &info) != 0) {
            failure.environment("fstat of " + path);
            return std::nullopt;
        }
        if (!S_ISREG(info.st_mode)) {
            refuse(failure, path + " is not a plain file");
            return std::nullopt;
        }
        if (info.st_uid != geteuid()) {
            refuse_owner(path, info.st_uid, failure);
            return std::nullopt;
        }
        if (info.st_nlink > 1) {
            // Somebody else may have made it, to have one object taken for another.
            refuse(failure, path + " has another name, too (a hard link)");
            return std::nullopt;
        }
        if (!lock_shared(mapping.descriptor_)) {
            if (errno == EAGAIN || errno == EACCES) {
                // A cleaner holds it for the time of a look: then the name is gone, or free. It may
                // be preempted meanwhile, so we leave it the CPU.
                constexpr timespec kPause{0, 1'000'000};
                nanosleep(&kPause, nullptr);
                continue;
            }
            failure.environment("fcntl(F_OFD_SETLK) for " + path);
            return std::nullopt;
        }
        struct stat named {};
        if (stat(path.c_str(), &named) != 0 || named.st_ino != info.st_ino ||
            named.st_dev != info.st_dev) {
            continue;
        }
        if (static_cast<std::uint64_t>(info.st_size) < bytes_min) {
            failure.set(FailureKind::bad_segment,
                        path + " is truncated: " + std::to_string(info.st_size) +
                            " bytes, too few for a header; remove it");
            return std::nullopt;
        }
        // The header only: it says how much is to be mapped, and is checked first.
        mapping.bytes_ = round_up(bytes_min, mapping.page_bytes_);
        if (!mapping.map(path, failure)) {
            return std::nullopt;
        }
        return mapping;
    }
    errno = EBUSY;
    failure.environment("open of " + path + ": it is being removed again and again");
    return std::nullopt;
}

std::optional<Mapping> Mapping::reopen(Failure& failure) const {
    char self[64];
    std::snprintf(self, sizeof self, "/proc/self/fd/%d", descriptor_);
    Mapping mapping;
    mapping.page_bytes_ = page_bytes_;
    mapping.descriptor_ = open(self, O_RDWR | O_CLOEXEC);
    if (mapping.descriptor_ < 0) {
        failure.environment("open of " + std::string(self));
        return std::nullopt;
    }
    return mapping;
}

bool Mapping::hold_window(FileWindow window, Failure& failure) {
    window_ = window;
    // The file's first byte, too: who uses a part of it uses the file.
    if (!lock_shared(descriptor_) || !lock_shared(descriptor_, window.begin)) {
        failure.environment("fcntl(F_OFD_SETLK) for a part of a file");
        return false;
    }
    return true;
}

bool Mapping::is_window_held(FileWindow window) const noexcept {
    struct flock request {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    request.l_start = static_cast<off_t>(window.begin);
    request.l_len = static_cast<off_t>(window.bytes);
    return fcntl(descriptor_, F_OFD_GETLK, &request) != 0 || request.l_type != F_UNLCK;
}

bool Mapping::clear_window(FileWindow window) const noexcept {
    for (;;) {
        if (fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      static_cast<off_t>(window.begin), static_cast<off_t>(window.bytes)) == 0) {
            return true;
        }
        if (errno != EINTR) {
            return false;
        }
    }
}

bool Mapping::create_in_window(std::size_t bytes, const MemoryOptions& options, Failure& failure,
                               std::size_t room_bytes) {
    const std::string what = "an object of a Manager";
    if (options.huge_pages == HugePages::require) {
        failure.set(FailureKind::bad_argument,
                    "HugePages::require works for anonymous objects only, not for " + what +
                        "; use HugePages::prefer");
        return false;
    }
    options_ = options;
    bytes_ = round_up(bytes, page_bytes_);
    // Asked first: the kernel would answer with a signal, SIGXFSZ.
    struct rlimit limit {};
    if (bytes_ > window_.bytes || getrlimit(RLIMIT_FSIZE, &limit) != 0 ||
        (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < window_.begin + window_.bytes)) {
        errno = EFBIG;
        failure.environment(bytes_ > window_.bytes
                                ? size_text(bytes_) + " for " + what + ", which has room for " +
                                      std::to_string(window_.bytes)
                                : what +
                                      " lies at a large offset of its file (ulimit -f must be "
                                      "unlimited: it takes no more memory for that)");
        return false;
    }
    if (!fill(what, room_bytes, failure)) {
        return false;
    }
    // The file must be as long as the mapping, and may be longer already: so not by ftruncate.
    if (const int error = allocate_pages(bytes_ - page_bytes_, page_bytes_); error != 0) {
        errno = error;
        failure.environment("fallocate of the last page for " + what);
        return false;
    }
    return true;
}

bool Mapping::open_in_window(std::size_t bytes_min, const std::string& what, Failure& failure) {
    struct stat info {};
    if (fstat(descriptor_, &info) != 0) {
        failure.environment("fstat of " + what);
        return false;
    }
    bytes_ = round_up(bytes_min, page_bytes_);
    if (static_cast<std::uint64_t>(info.st_size) < window_.begin + bytes_) {
        failure.set(FailureKind::bad_segment, what + " is truncated: it has no header; remove it");
        return false;
    }
    return map(what, failure);
}

std::optional<Mapping> Mapping::receive(const MappingPass& passed, std::size_t bytes_min,
                                        Failure& failure) {
    const std::string what = "memory passed on by another process";
    if (passed.page_bytes != base_page_bytes() && passed.page_bytes != kHugePageBytes) {
        failure.set(FailureKind::bad_segment, what + ": it has pages of no known size");
        return std::nullopt;
    }
    Mapping mapping;
    mapping.window_ = passed.window;
    mapping.options_ = passed.options;
    mapping.page_bytes_ = passed.page_bytes;
    mapping.page_kind_ = passed.page_kind;
    mapping.descriptor_ = fcntl(passed.descriptor, F_DUPFD_CLOEXEC, 0);
    if (passed.beyond >= 0) {
        mapping.beyond_ = fcntl(passed.beyond, F_DUPFD_CLOEXEC, 0);
    }
    struct stat info {};
    if (mapping.descriptor_ < 0 || (passed.beyond >= 0 && mapping.beyond_ < 0) ||
        fstat(mapping.descriptor_, &info) != 0) {
        failure.environment("dup of " + what);
        return std::nullopt;
    }
    if (!S_ISREG(info.st_mode) ||
        static_cast<std::uint64_t>(info.st_size) < passed.window.begin + bytes_min) {
        failure.set(FailureKind::bad_segment, what + ": too short for a header");
        return std::nullopt;
    }
    mapping.bytes_ = round_up(bytes_min, mapping.page_bytes_);
    if (!mapping.map(what, failure)) {
        return std::nullopt;
    }
    return mapping;
}

bool Mapping::extend_to(std::size_t bytes, const std::string& path, Failure& failure) {
    struct stat info {};
    if (fstat(descriptor_, &info) != 0) {
        failure.environment("fstat of " + path);
        return false;
    }
    if (bytes % page_bytes_ != 0 || bytes < bytes_ ||
        (window_.bytes != 0 && bytes > window_.bytes) ||
        static_cast<std::uint64_t>(info.st_size) < window_.begin + bytes) {
        failure.set(FailureKind::bad_segment, path + " is truncated: its header says " +
                                                  std::to_string(bytes) + " bytes, the file has " +
                                                  std::to_string(info.st_size) + "; remove it");
        return false;
    }
    munmap(data_, bytes_);
    data_ = nullptr;
    bytes_ = bytes;
    if (!map(path, failure)) {
        return false;
    }
    if (page_kind_ == PageKind::transparent_huge) {
        // Advice is of the address range: it did not come along with a descriptor.
        static_cast<void>(madvise(data_, bytes_, MADV_HUGEPAGE));
    }
    return true;
}

int Mapping::allocate_pages(std::size_t offset, std::size_t bytes) const noexcept {
    return allocate(descriptor_, window_.begin + offset, bytes);
}

std::byte* Mapping::map_twice(std::size_t offset, std::size_t bytes, Failure& failure) const {
    void* reserved = mmap(nullptr, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED) {
        failure.environment("mmap of 2 x " + size_text(bytes));
        return nullptr;
    }
    auto* base = static_cast<std::byte*>(reserved);
    for (std::size_t copy = 0; copy < 2; ++copy) {
        if (mmap(base + copy * bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                 descriptor_, static_cast<off_t>(window_.begin + offset)) == MAP_FAILED) {
            failure.environment("mmap of " + size_text(bytes) + " a second time");
            munmap(reserved, 2 * bytes);
            return nullptr;
        }
    }
    return base;
}

bool Mapping::fits_beyond(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    const std::uint64_t end = window_.bytes == 0 ? 1ULL << 63U : window_.bytes;
    const std::uint64_t room = end - (beyond_ >= 0 ? 0 : bytes_);
    return offset <= room && bytes <= room - offset;
}

bool Mapping::write_beyond(std::uint64_t offset, std::span<const std::byte> bytes,
                           Failure& failure) const {
    if (!fits_beyond(offset, bytes.size())) {
        errno = EFBIG;  // what lies there is another object's
        failure.environment("a value of " + std::to_string(bytes.size()) +
                            " bytes beside its slot");
        return false;
    }
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t rc = pwrite(beyond_descriptor(), bytes.data() + done, bytes.size() - done,
                                  static_cast<off_t>(beyond_start() + offset + done));
        if (rc > 0) {
            done += static_cast<std::size_t>(rc);
        } else if (rc == 0 || errno != EINTR) {
            failure.environment("pwrite of a value of " + std::to_string(bytes.size()) +
                                " bytes beside its slot");
            return false;
        }
    }
    return true;
}

bool Mapping::read_beyond(std::uint64_t offset, std::span<std::byte> bytes,
                          Failure& failure) const {
    if (!fits_beyond(offset, bytes.size())) {
        failure.set(FailureKind::bad_segment,
                    "a value that lies beside its slot is longer than there is room");
        return false;
    }
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t rc = pread(beyond_descriptor(), bytes.data() + done, bytes.size() - done,
                                 static_cast<off_t>(beyond_start() + offset + done));
        if (rc > 0) {
            done += static_cast<std::size_t>(rc);
        } else if (rc == 0) {
            failure.set(FailureKind::bad_segment,
                        "a value that lies beside its slot is shorter than its slot says");
            return false;
        } else if (errno != EINTR) {
            failure.environment("pread of a value of " + std::to_string(bytes.size()) +
                                " bytes beside its slot");
            return false;
        }
    }
    return true;
}

void Mapping::release_beyond(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    if (!fits_beyond(offset, bytes)) {
        return;  // a damaged length: what lies there is another object's
    }
    while (fallocate(beyond_descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(beyond_start() + offset),
                     static_cast<off_t>(round_up(bytes, base_page_bytes()))) != 0 &&
           errno == EINTR) {
    }
}

std::uint64_t Mapping::bytes_allocated() const noexcept {
    constexpr std::uint64_t kBlockBytes = 512;
    std::uint64_t blocks = 0;
    for (const int descriptor : {descriptor_, beyond_}) {
        struct stat info {};
        if (descriptor >= 0 && fstat(descriptor, &info) == 0) {
            blocks += static_cast<std::uint64_t>(info.st_blocks);
        }
    }
    return blocks * kBlockBytes;
}

std::optional<std::string> path_of(std::string_view name, Failure& failure) {
    constexpr std::size_t kNameMax = 200;
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '-';
    };
    if (name.empty() || name.size() > kNameMax || name.front() == '.' ||
        !std::all_of(name.begin(), name.end(), allowed)) {
        failure.set(
            FailureKind::bad_argument,
            "\"" + std::string(name) +
                "\" is no name: use 1 to 200 letters, digits, '.', '_' or '-', not beginning "
                "with '.'");
        return std::nullopt;
    }
    return std::string(kDirectory) + "/sluice." + std::string(name);
}

}  // namespace sluice::shm
