// Who is alive: the table of bells that all processes of a user share.
//
// Each thread that operates on shared objects holds one robust futex, its bell, locked
// from its first operation to its end. When the thread dies, however it dies, the
// kernel sets FUTEX_OWNER_DIED in the bell and wakes a sleeper, 0.1 to 0.4 ms after
// SIGKILL and before the process's memory is torn down. So a bell that has rung is
// proof of death, one load to test, and can itself be slept on.
//
// One bell a thread and not one an object: the kernel walks at most 2,048 robust entries,
// and stops at the first that is unmapped. The table is mapped once and never unmapped.
//
// Ordering ledger
//   R1 entry.incarnation raised -> A1 : who sees the new tenant's bell sees that the old
//      incarnation has ended
//   R2 entry.state becomes live  -> A2 : who sees `live` sees incarnation, identity and
//      the locked bell
//   The kernel's own cmpxchg of the bell comes after every user store of the dying thread: who
//   loads FUTEX_OWNER_DIED with acquire (A3) sees all that it wrote.
//
// Source: the kernel's robust-futexes.rst and handle_futex_death(); research on the
// collisions of thread ids across PID namespaces is why a bell is linked only after
// its entry was claimed by compare-and-swap.
#pragma once

#include <linux/futex.h>
#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "sluice/shm/facts.hpp"
#include "sluice/shm/failure.hpp"
#include "sluice/shm/futex.hpp"
#include "sluice/shm/identity.hpp"

namespace sluice::shm {

/// One thread's line in the table.
/// I1 state is free, arming or live, with the pid of who changed it last and low bits of the
///    incarnation; only compare-and-swap takes an entry.
/// I2 the bell is locked by the entry's thread whenever state is live.
/// I3 incarnation only grows, and grows before a new tenant's bell can be seen.
struct BellLayout {
    static constexpr std::size_t kBellBytes = 48;  // pthread_mutex_t: 40 on x86-64, 48 on aarch64

    alignas(8) std::byte bell[kBellBytes];  // a PTHREAD_MUTEX_ROBUST; its first word is the futex
    std::atomic<std::uint64_t> incarnation;
    std::atomic<std::uint64_t> state;    // pid:32 | pid namespace:12 | incarnation:12 | BellState:8
    std::atomic<std::uint64_t> process;  // ProcessIdentity::nonce of the tenant
    std::uint64_t start_time;            // the rest of its identity, for people and cold starts
    std::uint64_t pid_namespace;
    std::uint64_t pidfd_inode;
    std::int32_t pid;
    std::int32_t thread;
    std::uint8_t reserved[24];
};
static_assert(sizeof(BellLayout) == 128 && offsetof(BellLayout, incarnation) == 48);
static_assert(sizeof(pthread_mutex_t) <= BellLayout::kBellBytes);

enum class BellState : std::uint8_t { free, arming, live };

/// One life of one entry: what a claim in shared memory refers to.
struct BellReference {
    std::uint32_t entry{};
    std::uint64_t incarnation{};  // 40 bits are used
};

/// The table's file: this header, padded to a page, then the entries. Complete before it is named.
struct RegistryLayout {
    static constexpr std::uint64_t kMagic = 0x5245'4749'5354'5259ULL;  // "REGISTRY"
    static constexpr std::uint32_t kVersion = 1;
    static constexpr std::size_t kHeaderBytes = kPageBytesMin;

    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t entries;
    std::uint64_t layout_signature;
    std::uint64_t nonce;

    /// What two builds must agree on to share bells.
    static std::uint64_t signature() noexcept;
    /// Where a user's table lies.
    static std::string path_of(uid_t user);
    bool is_ours() const noexcept;
};
static_assert(sizeof(RegistryLayout) == 32);

/// This process's view of the table. One for the life of the process; children inherit the mapping.
class Registry {
 public:
    static constexpr std::uint32_t kEntries = 4096;

    /// The table of this user: /dev/shm/sluice-registry-UID, made where it does not
    /// exist; where /dev/shm cannot be used, an anonymous one that only this process
    /// and its children share. Returns null and fills `failure` when neither works.
    static Registry* instance(Failure& failure) noexcept;

    /// Gives this thread a bell, once; later calls return the same.
    /// Errors: environment, when all entries are taken by the living.
    /// Crash: before the entry is live it is reclaimed by pid, afterwards its bell has rung.
    bool arm_this_thread(BellReference& reference, Failure& failure) noexcept;

    /// Whether that thread has ended. One or two loads. False for a thread that is merely stopped.
    bool has_ended(const BellReference& reference) const noexcept {
        const BellLayout& entry = entries_[reference.entry % kEntries];
        const std::uint32_t bell = bell_word(entry).load(std::memory_order_acquire);  // A3
        // A1: after the bell, so that a new tenant's silent bell is not taken for the old one's.
        return (entry.incarnation.load(std::memory_order_acquire) & kIncarnationMask) !=
                   reference.incarnation ||
               (bell & FUTEX_OWNER_DIED) != 0;
    }

    /// What to sleep on together with something else, so that this thread's death
    /// wakes the sleeper. Of a thread that has ended: a watch that is over already. (The
    /// death may come between a look and a watch: then the bell has rung, and nobody
    /// would be woken.)
    FutexWatch watch(const BellReference& reference) const noexcept {
        const FutexWord& word = bell_word(entries_[reference.entry % kEntries]);
        const std::uint32_t seen = word.load(std::memory_order_acquire);  // A3
        return {&word, has_ended(reference) ? ~seen : seen};
    }

    /// Wakes all who sleep on the bell of a thread that has ended. The kernel wakes one;
    /// they may wait for different objects, so who acts on a death passes it on.
    void pass_on(const BellReference& reference) const noexcept;

    /// Whether a process has ended: all its bells rang, or, where it has none, the
    /// kernel says so of its pid.
    /// Cost: a walk over the table; slow paths only.
    Liveness liveness(const ProcessIdentity& identity) const noexcept;

    /// The bell of a living thread of that process, to sleep on; false where it has none.
    bool find_bell(std::uint64_t process_nonce, BellReference& reference) const noexcept;

    /// Tells this table from another: objects can be shared only by processes that share it.
    std::uint64_t nonce() const noexcept { return nonce_; }

    /// Gives the bell back; called at the thread's end.
    void retire(const BellReference& reference) noexcept;

    static constexpr std::uint64_t kIncarnationMask = (1ULL << 40U) - 1;

    Registry(BellLayout* entries, std::uint64_t nonce) noexcept
        : entries_(entries), nonce_(nonce) {}

 private:
    static const FutexWord& bell_word(const BellLayout& entry) noexcept {
        return *reinterpret_cast<const FutexWord*>(entry.bell);
    }
    bool is_takeable(const BellLayout& entry, std::uint64_t seen, bool take_dead) const noexcept;
    bool try_take(BellLayout& entry, std::uint64_t seen, BellReference& reference,
                  std::uint32_t index) noexcept;

    BellLayout* entries_;
    std::uint64_t nonce_;
};

}  // namespace sluice::shm
