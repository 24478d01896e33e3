// Identity of processes: start time, namespace and pidfd inode beside the pid.
#include "sluice/shm/identity.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace sluice::shm {
namespace {

// The same number on every architecture.
#ifndef SYS_pidfd_open
constexpr long SYS_pidfd_open = 434;
#endif

int pidfd_open(pid_t pid) noexcept {
    return static_cast<int>(syscall(SYS_pidfd_open, pid, 0U));
}

// Field 22 of /proc/PID/stat; the command in parentheses may itself hold spaces and parentheses.
struct StatFacts {
    std::uint64_t start_time{};
    char state{};
};

bool read_stat(pid_t pid, StatFacts& facts) noexcept {
    char path[32];
    std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    char text[1024];
    const ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) {
        return false;
    }
    text[length] = '\0';
    const char* at = std::strrchr(text, ')');
    if (at == nullptr || at[1] == '\0') {
        return false;
    }
    facts.state = at[2];
    for (int field = 2; field < 22 && at != nullptr; ++field) {
        at = std::strchr(at + 1, ' ');
    }
    if (at == nullptr) {
        return false;
    }
    facts.start_time = std::strtoull(at + 1, nullptr, 10);
    return true;
}

std::uint64_t namespace_inode() noexcept {
    struct stat info {};
    return stat("/proc/self/ns/pid", &info) == 0 ? static_cast<std::uint64_t>(info.st_ino) : 0;
}

// Before Linux 6.9 every pidfd shared the inode of anon_inodefs, which tells nothing.
std::uint64_t pidfd_inode(int pidfd) noexcept {
    constexpr long kPidFsMagic = 0x50494446;
    struct statfs filesystem {};
    struct stat info {};
    if (fstatfs(pidfd, &filesystem) != 0 || filesystem.f_type != kPidFsMagic ||
        fstat(pidfd, &info) != 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(info.st_ino);
}

ProcessIdentity describe(pid_t pid) noexcept {
    ProcessIdentity identity;
    identity.pid = pid;
    identity.pid_namespace = namespace_inode();
    StatFacts facts;
    if (read_stat(pid, facts)) {
        identity.start_time = facts.start_time;
    }
    if (const int pidfd = pidfd_open(pid); pidfd >= 0) {
        identity.pidfd_inode = pidfd_inode(pidfd);
        close(pidfd);
    }
    return identity;
}

ProcessIdentity self;
std::atomic<bool> self_known{false};
pthread_mutex_t self_lock = PTHREAD_MUTEX_INITIALIZER;

// A child is another process. Only the forking thread lives in it, so relaxed is
// enough; the lock may have been held by a thread that is not here.
void forget_in_child() noexcept {
    pthread_mutex_init(&self_lock, nullptr);
    self_known.store(false, std::memory_order_relaxed);
}
// Before main, not at the first use: a thread's fork between another's taking of the lock and its
// registration would leave a child with a lock that nobody frees.
const bool at_fork = pthread_atfork(nullptr, nullptr, forget_in_child) == 0;

}  // namespace

std::uint64_t random_nonce() noexcept {
    std::uint64_t nonce = 0;
    while (nonce == 0) {
        if (getrandom(&nonce, sizeof nonce, 0) != static_cast<ssize_t>(sizeof nonce) &&
            errno != EINTR) {
            // No getrandom (a filter forbids it): time and address space layout must do.
            timespec now{};
            clock_gettime(CLOCK_MONOTONIC, &now);
            nonce = static_cast<std::uint64_t>(now.tv_nsec) ^
                    (static_cast<std::uint64_t>(getpid()) << 32U) ^
                    reinterpret_cast<std::uintptr_t>(&now);
        }
    }
    return nonce;
}

const ProcessIdentity& this_process() noexcept {
    static_cast<void>(at_fork);
    // acquire: the fields are seen complete. Pairs with the release below.
    if (!self_known.load(std::memory_order_acquire)) {
        pthread_mutex_lock(&self_lock);
        if (!self_known.load(std::memory_order_relaxed)) {  // under the lock
            self = describe(getpid());
            self.nonce = random_nonce();
            self_known.store(true, std::memory_order_release);  // pairs with the acquire above
        }
        pthread_mutex_unlock(&self_lock);
    }
    return self;
}

ProcessIdentity identify(pid_t pid) noexcept {
    return describe(pid);
}

Liveness process_liveness(const ProcessIdentity& identity) noexcept {
    const ProcessIdentity& me = this_process();
    if (identity.pid_namespace != me.pid_namespace) {
        return Liveness::unknown;
    }
    if (identity.nonce == me.nonce) {
        return Liveness::alive;
    }
    if (identity.pid <= 0) {
        return Liveness::unknown;  // nobody said who it is
    }
    const int pidfd = pidfd_open(identity.pid);
    if (pidfd < 0) {
        if (errno == ESRCH) {
            return Liveness::dead;
        }
        // No pidfd_open here (or the limit of descriptors is reached): ask /proc.
        StatFacts facts;
        if (!read_stat(identity.pid, facts)) {
            const bool gone = errno == ENOENT && access("/proc/self/stat", R_OK) == 0;
            return gone ? Liveness::dead : Liveness::unknown;
        }
        const bool same = facts.start_time == identity.start_time;
        return same && facts.state != 'Z' && facts.state != 'X' ? Liveness::alive : Liveness::dead;
    }
    pollfd request{pidfd, POLLIN, 0};
    const bool ended = poll(&request, 1, 0) == 1;
    const std::uint64_t inode = pidfd_inode(pidfd);
    close(pidfd);
    if (ended) {
        return Liveness::dead;
    }
    if (inode != 0 && identity.pidfd_inode != 0) {
        return inode == identity.pidfd_inode ? Liveness::alive : Liveness::dead;
    }
    StatFacts facts;
    if (!read_stat(identity.pid, facts)) {
        return Liveness::unknown;
    }
    return facts.start_time == identity.start_time ? Liveness::alive : Liveness::dead;
}

}  // namespace sluice::shm
