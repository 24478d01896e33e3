// Arming, retiring and reclaiming of bells; the registry's file.
#include "sluice/shm/registry.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <mutex>
#include <new>

#include "sluice/shm/mapping.hpp"

namespace sluice::shm {
namespace {

constexpr std::size_t kRegistryBytes =
    RegistryLayout::kHeaderBytes + Registry::kEntries * sizeof(BellLayout);

// pid:32 | pid namespace (low bits):12 | incarnation (low bits):12 | BellState:8. The incarnation
// is there for whoever saw a dead tenant and was stopped: another thread of that process may have
// taken the entry meanwhile, and only this tells the two apart.
constexpr std::uint64_t kStateNamespaceMask = 0xfff0'0000U;
std::uint64_t state_word(BellState state, std::uint64_t incarnation) noexcept {
    const ProcessIdentity& self = this_process();
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(self.pid)) << 32U) |
           ((self.pid_namespace & 0xfffU) << 20U) | ((incarnation & 0xfffU) << 8U) |
           static_cast<std::uint64_t>(state);
}

BellState state_of(std::uint64_t word) noexcept {
    return static_cast<BellState>(word & 0xffU);
}

pthread_mutex_t* mutex_of(BellLayout& entry) noexcept {
    return reinterpret_cast<pthread_mutex_t*>(entry.bell);
}

// This thread's bell. A child forgets it without ringing.
// Destructors of other thread-local (and, in the main thread, static) objects may operate
// after the janitor has given the bell back. They get a late bell, which nobody gives
// back: the kernel rings it. It names no process, as its ringing says nothing about the
// rest of the process.
struct ThreadBell {
    BellReference reference;
    bool armed;
    bool leaving;
};
constinit thread_local ThreadBell thread_bell{};
struct Janitor {
    bool armed{false};
    ~Janitor() {
        thread_bell.leaving = true;
        if (thread_bell.armed) {
            thread_bell.armed = false;
            Failure ignored;
            if (Registry* registry = Registry::instance(ignored)) {
                registry->retire(thread_bell.reference);
            }
        }
    }
};
thread_local Janitor janitor;

std::atomic<Registry*> the_registry{nullptr};
pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;

void forget_bell_in_child() noexcept {
    thread_bell.armed = false;  // the C library has emptied the child's robust list
    pthread_mutex_init(&registry_lock, nullptr);
}
// Before main, as in identity.cpp: else a child could be made with the lock held and no handler.
const bool at_fork = pthread_atfork(nullptr, nullptr, forget_bell_in_child) == 0;

bool describe(Mapping& mapping, Failure& failure, const std::string& path, std::uint64_t& nonce) {
    RegistryLayout header{};
    std::memcpy(&header, mapping.data(), sizeof header);
    if (!header.is_ours()) {
        failure.set(FailureKind::bad_segment,
                    path +
                        " is not a registry of this version of sluice: end the programs that use "
                        "the other version, then remove it");
        return false;
    }
    nonce = header.nonce;
    return true;
}

// Whoever may write to it may say of anybody that he is dead.
bool is_private(const Mapping& mapping, Failure& failure, const std::string& path) {
    struct stat info {};
    if (fstat(mapping.descriptor(), &info) != 0 || (info.st_mode & 0077U) == 0) {
        return true;
    }
    failure.set(FailureKind::not_permitted,
                path +
                    " is open to other users: refused; give it mode 0600, or end the programs "
                    "that use it and remove it");
    return false;
}

void initialise(Mapping& mapping) {
    const RegistryLayout header{RegistryLayout::kMagic, RegistryLayout::kVersion,
                                Registry::kEntries, RegistryLayout::signature(), random_nonce()};
    std::memcpy(mapping.data(), &header, sizeof header);
}

// Open, or make and name; whoever names first wins and the others open his.
bool obtain(Mapping& mapping, std::uint64_t& nonce, Failure& failure) {
    const std::string path = RegistryLayout::path_of(geteuid());
    constexpr int kAttempts = 100;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        failure = {};
        if (auto opened = Mapping::open_file(path, sizeof(RegistryLayout), failure)) {
            mapping = std::move(*opened);
            return is_private(mapping, failure, path) && describe(mapping, failure, path, nonce) &&
                   mapping.extend_to(round_up(kRegistryBytes, mapping.page_bytes()), path, failure);
        }
        if (failure.kind != FailureKind::environment || failure.error != ENOENT) {
            return false;
        }
        failure = {};
        auto made = Mapping::create_unnamed_file(kRegistryBytes, 0600, {}, failure);
        if (!made) {
            break;
        }
        initialise(*made);
        if (made->publish_as(path, failure)) {
            mapping = std::move(*made);
            return describe(mapping, failure, path, nonce);
        }
        if (failure.error != EEXIST) {
            break;
        }
    }
    // No usable /dev/shm: share with our children at least. They inherit the mapping.
    failure = {};
    auto anonymous = Mapping::create_anonymous("registry", kRegistryBytes, {}, failure);
    if (!anonymous) {
        return false;
    }
    initialise(*anonymous);
    mapping = std::move(*anonymous);
    return describe(mapping, failure, path, nonce);
}

}  // namespace

// What two builds must agree on to share bells. The mutex is the C library's.
std::uint64_t RegistryLayout::signature() noexcept {
    std::uint64_t hash = fnv1a("sluice registry: bell 48, incarnation, state, process, identity");
    hash = fnv1a(sizeof(BellLayout), hash);
    hash = fnv1a(sizeof(pthread_mutex_t), hash);
    return fnv1a(Registry::kEntries, hash);
}

bool RegistryLayout::is_ours() const noexcept {
    return magic == kMagic && version == kVersion && layout_signature == signature() &&
           entries == Registry::kEntries;
}

std::string RegistryLayout::path_of(uid_t user) {
    return "/dev/shm/sluice-registry-" + std::to_string(user) + "-" + std::to_string(kVersion);
}

Registry* Registry::instance(Failure& failure) noexcept {
    static_cast<void>(at_fork);
    // acquire: sees the object complete. Pairs with the release below.
    if (Registry* known = the_registry.load(std::memory_order_acquire)) {
        return known;
    }
    pthread_mutex_lock(&registry_lock);
    Registry* registry = the_registry.load(std::memory_order_relaxed);  // under the lock
    if (registry == nullptr) {
        Mapping mapping;
        std::uint64_t nonce = 0;
        if (obtain(mapping, nonce, failure)) {
            // Never unmapped (no destructor is called): the kernel must find every bell at the end
            // of every thread.
            alignas(Mapping) static std::byte kept[sizeof(Mapping)];
            const auto* mapped = new (kept) Mapping(std::move(mapping));
            auto* entries =
                reinterpret_cast<BellLayout*>(mapped->data() + RegistryLayout::kHeaderBytes);
            registry = new (std::nothrow) Registry(entries, nonce);
            the_registry.store(registry,
                               std::memory_order_release);  // pairs with the acquire above
        }
    }
    pthread_mutex_unlock(&registry_lock);
    return registry;
}

bool Registry::try_take(BellLayout& entry, std::uint64_t seen, BellReference& reference,
                        std::uint32_t index) noexcept {
    // relaxed: it grows only under a state of another incarnation, which fails the exchange
    const std::uint64_t arming =
        state_word(BellState::arming, entry.incarnation.load(std::memory_order_relaxed));
    if (seen == arming ||
        !entry.state.compare_exchange_strong(seen, arming, std::memory_order_acq_rel,  // A2
                                             std::memory_order_relaxed)) {
        return false;  // another took it first
    }
    // R1: from here on references to the former tenant are dead, whatever the bell says.
    const std::uint64_t incarnation = entry.incarnation.fetch_add(1, std::memory_order_acq_rel) + 1;
    const ProcessIdentity& self = this_process();
    entry.start_time = self.start_time;
    entry.pid_namespace = self.pid_namespace;
    entry.pidfd_inode = self.pidfd_inode;
    entry.pid = self.pid;
    entry.thread = static_cast<std::int32_t>(syscall(SYS_gettid));
    entry.process.store(thread_bell.leaving ? 0 : self.nonce,
                        std::memory_order_relaxed);  // published by R2

    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex_of(entry), &attributes);
    pthread_mutexattr_destroy(&attributes);
    if (pthread_mutex_lock(mutex_of(entry)) != 0) {
        return false;
    }
    // The kernel wakes a sleeper at our death only where this bit is set. Relaxed:
    // only this thread and the kernel write a locked bell.
    reinterpret_cast<FutexWord*>(entry.bell)->fetch_or(FUTEX_WAITERS, std::memory_order_relaxed);
    entry.state.store(state_word(BellState::live, incarnation),
                      std::memory_order_release);  // R2
    reference = {index, incarnation & kIncarnationMask};
    return true;
}

bool Registry::is_takeable(const BellLayout& entry, std::uint64_t seen,
                           bool take_dead) const noexcept {
    if (!take_dead) {
        return state_of(seen) == BellState::free;
    }
    if (state_of(seen) == BellState::live) {
        return (bell_word(entry).load(std::memory_order_acquire) & FUTEX_OWNER_DIED) != 0;  // A3
    }
    // Died while arming or retiring. Only a pid of our own namespace says anything.
    return state_of(seen) == BellState::arming &&
           ((seen ^ state_word(BellState::arming, 0)) & kStateNamespaceMask) == 0 &&
           kill(static_cast<pid_t>(seen >> 32U), 0) != 0 && errno == ESRCH;
}

bool Registry::arm_this_thread(BellReference& reference, Failure& failure) noexcept {
    if (thread_bell.armed) {
        reference = thread_bell.reference;
        return true;
    }
    if (!thread_bell.leaving) {
        janitor.armed = true;  // touches it, so that its destructor runs at the thread's end
    }
    const auto start = static_cast<std::uint32_t>(random_nonce());
    // Window by window: first what was never used or orderly given back, then what the dead left,
    // so that the evidence of deaths is kept for a while, and arming costs no walk over the table
    // when that is full of it.
    constexpr std::uint32_t kWindow = 64;
    for (std::uint32_t window = 0; window < kEntries; window += kWindow) {
        for (const bool take_dead : {false, true}) {
            for (std::uint32_t step = window; step < window + kWindow; ++step) {
                const std::uint32_t index = (start + step) % kEntries;
                BellLayout& entry = entries_[index];
                const std::uint64_t seen = entry.state.load(std::memory_order_acquire);  // A2
                if (is_takeable(entry, seen, take_dead) &&
                    try_take(entry, seen, thread_bell.reference, index)) {
                    thread_bell.armed = true;
                    reference = thread_bell.reference;
                    return true;
                }
            }
        }
    }
    errno = EAGAIN;
    failure.environment("the registry of participants is full: " + std::to_string(kEntries) +
                        " threads of this user hold a bell");
    return false;
}

void Registry::retire(const BellReference& reference) noexcept {
    BellLayout& entry = entries_[reference.entry % kEntries];
    // R1: this life has ended
    const std::uint64_t next = entry.incarnation.fetch_add(1, std::memory_order_acq_rel) + 1;
    // Nobody takes an entry in this state from a living process: it stays ours until the
    // bell is unlocked and off this thread's robust list. R2
    entry.state.store(state_word(BellState::arming, next), std::memory_order_release);
    pthread_mutex_unlock(mutex_of(entry));
    entry.state.store(state_word(BellState::free, next), std::memory_order_release);  // R2
}

void Registry::pass_on(const BellReference& reference) const noexcept {
    futex_wake(bell_word(entries_[reference.entry % kEntries]), INT_MAX);
}

Liveness Registry::liveness(const ProcessIdentity& identity) const noexcept {
    bool rang = false;
    for (std::uint32_t index = 0; index < kEntries; ++index) {
        const BellLayout& entry = entries_[index];
        if (entry.process.load(std::memory_order_relaxed) != identity.nonce ||
            state_of(entry.state.load(std::memory_order_acquire)) != BellState::live) {  // A2
            continue;
        }
        const std::uint32_t bell = bell_word(entry).load(std::memory_order_acquire);  // A3
        if ((bell & FUTEX_OWNER_DIED) == 0 && bell != 0) {
            return Liveness::alive;
        }
        rang = rang || bell != 0;
        futex_wake(bell_word(entry), INT_MAX);  // as pass_on()
    }
    return rang ? Liveness::dead : process_liveness(identity);
}

bool Registry::find_bell(std::uint64_t process_nonce, BellReference& reference) const noexcept {
    for (std::uint32_t index = 0; index < kEntries; ++index) {
        const BellLayout& entry = entries_[index];
        if (entry.process.load(std::memory_order_relaxed) == process_nonce &&
            state_of(entry.state.load(std::memory_order_acquire)) == BellState::live) {  // A2
            reference = {index,
                         entry.incarnation.load(std::memory_order_acquire) & kIncarnationMask};
            if (!has_ended(reference)) {
                return true;
            }
        }
    }
    return false;
}

}  // namespace sluice::shm
