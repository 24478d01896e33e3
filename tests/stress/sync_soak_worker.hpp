// What the soak's workers do with the lock family, by the public API, until they are killed; and
// what they note of it, outside of all objects under test.
//
// A claim of a worker's (who is inside, who reads) is a word that names its incarnation. Who comes
// in and finds another's word there has been let in beside him, unless that one is doomed: the
// parent says so before it kills.
#pragma once

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <optional>
#include <random>
#include <shared_mutex>

#include "sluice/barrier.hpp"
#include "sluice/condition.hpp"
#include "sluice/event.hpp"
#include "sluice/guarded.hpp"
#include "sluice/lock.hpp"
#include "sluice/rw_lock.hpp"
#include "sluice/semaphore.hpp"

namespace sluice::soak {

inline constexpr unsigned kWorkers = 8;
inline constexpr unsigned kOwnedPermits = 2;
inline constexpr unsigned kCountedPermits = 16;
inline constexpr unsigned kParties = 2;

/// What a worker is at: for the report of a hang, and for what its death leaves in doubt.
enum class At : std::uint32_t {
    rest,
    lock,
    rlock,
    writing,
    reading,
    taking,   // a counted permit, perhaps
    holding,  // one for sure
    giving,   // it back, perhaps
    owned,
    event,
    condition,
    barrier,
    guarded
};
inline const char* text_of(At at) noexcept {
    constexpr const char* kTexts[] = {"rest",      "lock",    "rlock",  "writing", "reading",
                                      "taking",    "holding", "giving", "owned",   "event",
                                      "condition", "barrier", "guarded"};
    return kTexts[static_cast<std::uint32_t>(at)];
}

/// Whose claim: worker:8 | incarnation:56, never 0.
using Claim = std::uint64_t;

struct alignas(128) WorkerNote {
    std::atomic<std::uint64_t> operations{};  // by all incarnations
    std::atomic<std::uint64_t> doomed{};      // the last incarnation that the parent will kill
    std::atomic<std::uint64_t> incarnation{};
    std::atomic<std::uint32_t> round_done{};
    std::atomic<At> at{};
    std::atomic<Claim> reading{};
};

struct SyncLedger {
    std::atomic<std::uint32_t> round{};
    std::atomic<std::uint32_t> serving{};  // the round while workers are to operate, else 0
    std::atomic<std::uint64_t> double_owners{};
    std::atomic<std::uint64_t> torn{};
    std::atomic<std::uint64_t> opened{};  // waits at the barrier, by their end
    std::atomic<std::uint64_t> broken{};
    std::atomic<std::uint64_t> mended{};
    std::atomic<std::uint64_t> abandoned{};
    std::atomic<Claim> in_lock{};
    std::atomic<Claim> in_rlock{};
    std::atomic<Claim> in_writing{};
    std::array<std::atomic<Claim>, kOwnedPermits> in_owned{};
    std::atomic<std::uint64_t> items{};  // what the condition tells of; its lock guards it
    std::array<WorkerNote, kWorkers> workers{};

    bool is_doomed(Claim claim) const noexcept {
        return workers[claim >> 56U].doomed.load() >= (claim & ((1ULL << 56U) - 1));
    }
    /// Notes a claim of which there may be one; the one before it must be over, or of the doomed.
    void enter(std::atomic<Claim>& place, Claim mine, const char* where) noexcept {
        const Claim before = place.exchange(mine);
        if (before != 0 && !is_doomed(before)) {
            std::fprintf(stderr, "soak: %s: worker %u was let in beside worker %u\n", where,
                         static_cast<unsigned>(mine >> 56U), static_cast<unsigned>(before >> 56U));
            double_owners.fetch_add(1);
        }
    }
    static void leave(std::atomic<Claim>& place) noexcept { place.store(0); }
};

/// What Guarded guards: a commit is a whole one.
struct Balance {
    std::uint64_t number;
    std::array<std::uint64_t, 12> copies;

    void set(std::uint64_t value) noexcept {
        number = value;
        copies.fill(~value);
    }
    bool is_whole() const noexcept {
        for (const std::uint64_t copy : copies) {
            if (copy != ~number) {
                return false;
            }
        }
        return true;
    }
};

/// The objects under test, for the whole soak the same.
struct Objects {
    Lock lock;
    RLock rlock;
    RWLock rw_lock;
    BoundedSemaphore counted;
    Semaphore owned;
    Event event;
    Condition condition;
    Lock condition_lock;
    Barrier barrier;
    Guarded<Balance> guarded;
};

class SyncWorker {
 public:
    SyncWorker(SyncLedger& ledger, unsigned self, Objects objects)
        : ledger_(ledger),
          note_(ledger.workers[self]),
          mine_(std::uint64_t{self} << 56U | note_.incarnation.load()),
          objects_(std::move(objects)),
          random_(static_cast<std::uint64_t>(getpid()) ^ (mine_ << 20U)) {}

    /// Serves round after round.
    [[noreturn]] void run() {
        for (std::uint32_t done = note_.round_done.load();;) {
            note_.at.store(At::rest);
            const std::uint32_t round = ledger_.round.load();
            if (round == done) {
                usleep(200);
                continue;
            }
            while (ledger_.serving.load() == round) {
                operate();
                note_.at.store(At::rest);
                // only this worker writes it
                note_.operations.store(note_.operations.load() + 1);
            }
            note_.round_done.store(round);
            done = round;
        }
    }

 private:
    using Milliseconds = std::chrono::milliseconds;

    void operate() {
        switch (random_() % 12) {
            case 0:
            case 1:
                use_lock(objects_.lock, ledger_.in_lock, At::lock, "Lock");
                break;
            case 2:
                use_rlock();
                break;
            case 3:
                write();
                break;
            case 4:
                read();
                break;
            case 5:
                use_counted();
                break;
            case 6:
            case 7:
                use_owned();
                break;
            case 8:
                use_event();
                break;
            case 9:
                use_condition();
                break;
            case 10:
                meet();
                break;
            default:
                use_guarded();
        }
    }

    // Mostly a moment, sometimes long enough that others fall asleep.
    void stay() {
        if (one_in(16)) {
            usleep(static_cast<useconds_t>(random_() % 300));
        }
    }

    /// Waits in one of three ways; false where it did not get it.
    template <class Lockable>
    bool acquire(const Lockable& lock) {
        switch (random_() % 3) {
            case 0:
                return lock.try_lock();
            case 1:
                return lock.try_lock_for(Milliseconds(2));
            default:
                lock.lock();
                return true;
        }
    }
    template <class Lockable>
    void mend(const Lockable& lock) {
        if (lock.abandoned()) {
            ledger_.abandoned.fetch_add(1);
            lock.repair();
        }
    }

    template <class Lockable>
    void use_lock(const Lockable& lock, std::atomic<Claim>& place, At at, const char* where) {
        note_.at.store(at);
        if (acquire(lock)) {
            ledger_.enter(place, mine_, where);
            mend(lock);
            stay();
            SyncLedger::leave(place);
            lock.unlock();
        }
    }
    void use_rlock() {
        note_.at.store(At::rlock);
        if (acquire(objects_.rlock)) {
            ledger_.enter(ledger_.in_rlock, mine_, "RLock");
            mend(objects_.rlock);
            objects_.rlock.lock();
            stay();
            objects_.rlock.unlock();
            SyncLedger::leave(ledger_.in_rlock);
            objects_.rlock.unlock();
        }
    }

    void write() {
        note_.at.store(At::writing);
        if (!acquire(objects_.rw_lock)) {
            return;
        }
        ledger_.enter(ledger_.in_writing, mine_, "RWLock");
        for (const WorkerNote& other : ledger_.workers) {
            const Claim reader = other.reading.load();
            if (reader != 0 && !ledger_.is_doomed(reader)) {
                std::fprintf(stderr, "soak: RWLock: a writer beside a reader\n");
                ledger_.double_owners.fetch_add(1);
            }
        }
        mend(objects_.rw_lock);
        stay();
        SyncLedger::leave(ledger_.in_writing);
        objects_.rw_lock.unlock();
    }
    void read() {
        note_.at.store(At::reading);
        const RWLock& lock = objects_.rw_lock;
        if (one_in(3) ? !lock.try_lock_shared_for(Milliseconds(2)) : (lock.lock_shared(), false)) {
            return;
        }
        note_.reading.store(mine_);
        const Claim writer = ledger_.in_writing.load();
        if (writer != 0 && !ledger_.is_doomed(writer)) {
            std::fprintf(stderr, "soak: RWLock: a reader beside a writer\n");
            ledger_.double_owners.fetch_add(1);
        }
        stay();
        note_.reading.store(0);
        lock.unlock_shared();
    }

    void use_counted() {
        note_.at.store(At::taking);
        if (one_in(2)) {
            objects_.counted.acquire();
        } else if (!objects_.counted.try_acquire_for(Milliseconds(2))) {
            return;
        }
        note_.at.store(At::holding);
        stay();
        note_.at.store(At::giving);
        objects_.counted.release();
    }

    // Who holds one of the permits finds one of as many places free, or left by the doomed.
    void use_owned() {
        note_.at.store(At::owned);
        if (one_in(3)) {
            if (!objects_.owned.try_acquire_for(Milliseconds(2))) {
                return;
            }
        } else {
            objects_.owned.acquire();
        }
        std::atomic<Claim>* place = nullptr;
        // A holder leaves its place before it gives back; so one look finds one, unless somebody
        // takes it meanwhile, who left another: look again.
        for (int look = 0; look < 1000 && place == nullptr; ++look) {
            for (std::atomic<Claim>& candidate : ledger_.in_owned) {
                Claim seen = candidate.load();
                if ((seen == 0 || ledger_.is_doomed(seen)) &&
                    candidate.compare_exchange_strong(seen, mine_)) {
                    place = &candidate;
                    break;
                }
            }
        }
        if (place == nullptr) {
            std::fprintf(stderr, "soak: Semaphore: more inside than permits\n");
            ledger_.double_owners.fetch_add(1);
        } else {
            stay();
            SyncLedger::leave(*place);
        }
        objects_.owned.release();
    }

    void use_event() {
        note_.at.store(At::event);
        switch (random_() % 4) {
            case 0:
                objects_.event.set();
                break;
            case 1:
                objects_.event.clear();
                break;
            case 2:
                static_cast<void>(objects_.event.wait_for(Milliseconds(2)));
                break;
            default:
                objects_.event.wait();
        }
    }

    // Puts an item, or takes one.
    void use_condition() {
        note_.at.store(At::condition);
        if (one_in(2)) {
            {
                const std::scoped_lock guard(objects_.condition_lock);
                ledger_.items.fetch_add(1);
            }
            objects_.condition.notify_one();
            return;
        }
        std::unique_lock guard(objects_.condition_lock);
        const auto any = [this] { return ledger_.items.load() != 0; };
        if (one_in(3) ? objects_.condition.wait_for(guard, Milliseconds(2), any)
                      : (objects_.condition.wait(guard, any), true)) {
            ledger_.items.fetch_sub(1);
        }
    }

    void meet() {
        note_.at.store(At::barrier);
        try {
            const std::optional<unsigned> index = one_in(4)
                                                      ? objects_.barrier.wait_for(Milliseconds(5))
                                                      : std::optional(objects_.barrier.wait());
            if (index && *index >= kParties) {
                std::fprintf(stderr, "soak: Barrier: index %u\n", *index);
                ledger_.torn.fetch_add(1);
            }
            (index ? ledger_.opened : ledger_.broken).fetch_add(1);
        } catch (const BrokenBarrier&) {
            ledger_.broken.fetch_add(1);
            if (objects_.barrier.broken()) {
                objects_.barrier.reset();
                ledger_.mended.fetch_add(1);
            }
        }
    }

    void use_guarded() {
        note_.at.store(At::guarded);
        const Balance seen = objects_.guarded.read();
        if (!seen.is_whole() || seen.number < last_number_) {
            std::fprintf(stderr, "soak: Guarded: torn, or older than before\n");
            ledger_.torn.fetch_add(1);
        }
        last_number_ = seen.number;
        if (one_in(2)) {
            auto draft = objects_.guarded.write();
            if (draft->number < last_number_) {
                ledger_.torn.fetch_add(1);
            }
            draft->set(draft->number + 1);
            stay();
            if (!one_in(8)) {
                draft.commit();
            }
        }
    }

    bool one_in(std::uint64_t count) { return random_() % count == 0; }

    SyncLedger& ledger_;
    WorkerNote& note_;
    Claim mine_;
    Objects objects_;
    std::mt19937_64 random_;
    std::uint64_t last_number_{};
};

}  // namespace sluice::soak
