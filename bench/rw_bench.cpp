// rw_lock.hpp, condition.hpp, guarded.hpp: beside what systems and Boost ship. None of the peers
// survives the death of one of its users; ours do, in every line printed here.
#include <fmt/format.h>

#include <mutex>
#include <sluice/condition.hpp>
#include <sluice/guarded.hpp>
#include <sluice/rw_lock.hpp>

#include "baselines/locks.hpp"
#include "baselines/shared_locks.hpp"
#include "support/blocks.hpp"
#include "support/lock_blocks.hpp"
#include "support/program.hpp"

namespace {

using namespace sluice::bench;

class OurRwLock {
 public:
    explicit OurRwLock(SharedArena&) {}
    void lock() { lock_.lock(); }
    void unlock() { lock_.unlock(); }
    void lock_shared() { lock_.lock_shared(); }
    void unlock_shared() { lock_.unlock_shared(); }

 private:
    sluice::RWLock lock_;
};

template <sluice::Wait kWait>
class OurCondition {
 public:
    explicit OurCondition(SharedArena&) {}
    void lock() { lock_.lock(); }
    void unlock() { lock_.unlock(); }
    void wait() { condition_.wait(lock_); }
    void notify_one() { condition_.notify_one(); }

 private:
    sluice::Lock lock_{sluice::LockOptions{.wait = kWait}};
    sluice::Condition condition_{sluice::ConditionOptions{.wait = kWait}};
};

template <class Value>
class OurGuarded {
 public:
    explicit OurGuarded(SharedArena&) {}
    Value read() const { return guarded_.read(); }
    void store(const Value& value) { guarded_.store(value); }

 private:
    sluice::Guarded<Value> guarded_{numbered<Value>(0)};
};

/// All roles read, count times together; of `WriteEvery` times one is a write (0: none).
template <class L, unsigned WriteEvery>
class Readers final : public Contestant {
 public:
    explicit Readers(SharedArena& arena) : lock_(arena), pair_(arena.make<Pair>()) {}
    void run(const Block& block) override {
        const std::uint64_t share = block.count / block.roles;
        for (std::uint64_t i = 1; i <= share; ++i) {
            if (WriteEvery != 0 && i % WriteEvery == 0) {
                lock_.lock();
                pair_.one = pair_.one + 1;
                pair_.other = pair_.other + 1;
                lock_.unlock();
            } else {
                lock_.lock_shared();
                const bool whole = pair_.one == pair_.other;
                lock_.unlock_shared();
                if (!whole) {
                    fail("a reader was let in beside a writer");
                }
            }
        }
    }

 private:
    struct alignas(kFarApartBytes) Pair {
        volatile std::uint64_t one;
        volatile std::uint64_t other;
    };
    L lock_;
    Pair& pair_;
};

/// Two roles wait for their turn, under one lock and with one condition.
template <class C>
class HandOver final : public Contestant {
 public:
    explicit HandOver(SharedArena& arena) : condition_(arena), turn_(arena.make<Turn>()) {}
    void run(const Block& block) override {
        for (std::uint64_t i = 0; i < block.count; ++i) {
            condition_.lock();
            while (turn_.whose != block.role) {
                condition_.wait();
            }
            turn_.whose = 1 - block.role;
            condition_.notify_one();
            condition_.unlock();
        }
    }

 private:
    struct alignas(kFarApartBytes) Turn {
        volatile unsigned whose;
    };
    C condition_;
    Turn& turn_;
};

/// Role 0 reads the value count times; role 1, where it takes part, stores a new one again and
/// again meanwhile, with a pause between.
template <class G, unsigned PauseSteps>
class Reading final : public Contestant {
 public:
    using Value = Payload<64>;
    explicit Reading(SharedArena& arena) : guarded_(arena), flag_(arena.make<Flag>()) {}
    void run(const Block& block) override {
        // Every role takes part in every block, so both count alike.
        ++blocks_;
        if (block.role == 1) {
            // relaxed: only says when to stop
            for (std::uint64_t number = 1;
                 PauseSteps != 0 && flag_.number.load(std::memory_order_relaxed) < blocks_;
                 ++number) {
                guarded_.store(numbered<Value>(number));
                work(PauseSteps);
            }
            return;
        }
        for (std::uint64_t i = 0; i < block.count; ++i) {
            const Value value = guarded_.read();
            if (!is_whole(value)) {
                fail("a mixture was read");
            }
        }
        flag_.number.store(blocks_, std::memory_order_relaxed);  // as above
    }

 private:
    G guarded_;
    Flag& flag_;
    std::uint64_t blocks_{};
};

template <template <class> class Blocks>
void readers(Program& program, const char* name, unsigned processes) {
    auto race = program.race({.name = fmt::format("RWLock_{}/processes:{}", name, processes),
                              .unit = Unit::message,
                              .roles = processes,
                              .block_ms = processes <= 2 ? 2.0 : 15.0});
    if (!race) {
        return;
    }
    program.add<Blocks<OurRwLock>>(*race, "sluice RWLock", Kind::ours);
    program.add<Blocks<PthreadRwLock>>(*race, "pthread rwlock", Kind::peer);
    program.add<Blocks<BoostSharableMutex>>(*race, "boost sharable mutex", Kind::peer);
    race->expect(at_most_peer("sluice RWLock", 1.0, "pthread rwlock"));
    race->expect(at_most_peer("sluice RWLock", 1.0, "boost sharable mutex"));
    program.run(*race);
}
template <class L>
using ReadOnly = Readers<L, 0>;
template <class L>
using ReadMostly = Readers<L, 64>;

void hand_over(Program& program) {
    auto race =
        program.race({.name = "Condition_HandOver", .unit = Unit::round_trip, .block_ms = 20.0});
    if (!race) {
        return;
    }
    program.add<HandOver<OurCondition<sluice::Wait::spin_then_park>>>(*race, "sluice Condition",
                                                                      Kind::ours);
    program.add<HandOver<OurCondition<sluice::Wait::park>>>(*race, "sluice Condition, park",
                                                            Kind::ours);
    program.add<HandOver<PthreadCondition>>(*race, "pthread cond", Kind::peer);
    race->expect(at_most_peer("sluice Condition", 1.0, "pthread cond"));
    race->expect(at_most_peer("sluice Condition, park", 1.0, "pthread cond"));
    program.run(*race);
}

template <unsigned PauseSteps>
void reading(Program& program, const char* name) {
    using Value = Payload<64>;
    using Plain = PthreadMutex<PthreadKind::plain>;
    auto race = program.race(
        {.name = fmt::format("Guarded_Read/payload_bytes:64/{}", name), .unit = Unit::message});
    if (!race) {
        return;
    }
    program.add<Reading<OurGuarded<Value>, PauseSteps>>(*race, "sluice Guarded", Kind::ours);
    program.add<Reading<SequenceLock<Value>, PauseSteps>>(*race, "sequence lock", Kind::peer);
    program.add<Reading<LockedCopy<Value, Plain>, PauseSteps>>(*race, "copy under a pthread mutex",
                                                               Kind::peer);
    race->expect(at_most_peer("sluice Guarded", 1.1, "sequence lock"));
    race->expect(at_most_peer("sluice Guarded", 1.0, "copy under a pthread mutex"));
    program.run(*race);
}

}  // namespace

int main(int argc, char** argv) {
    Program program("rw", argc, argv);
    for (const unsigned processes : {2U, 4U}) {
        readers<ReadOnly>(program, "Readers", processes);
        readers<ReadMostly>(program, "ReadersAndWriters", processes);
    }
    hand_over(program);
    reading<0>(program, "alone");
    reading<1000>(program, "beside_a_writer");
    return program.finish();
}
