// Processes put and get, are stopped, continued and killed. Every value is unique, so that what
// was lost, doubled, invented or overtaken shows.
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <random>
#include <unordered_map>
#include <vector>

#include "sluice/shm/mpmc_ring.hpp"
#include "support/processes.hpp"
#include "support/ring.hpp"

namespace sluice::shm {
namespace {

using test::announce_seed;
using test::Child;
using test::Ring;
using test::RingOptions;
using test::Watchdog;

// A value is producer:16 | sequence:48.
constexpr std::uint64_t value_of(std::uint64_t producer, std::uint64_t sequence) {
    return producer << 48U | sequence;
}
constexpr std::uint64_t producer_of(std::uint64_t value) {
    return value >> 48U;
}
constexpr std::uint64_t sequence_of(std::uint64_t value) {
    return value & 0xffff'ffff'ffffU;
}

// Shared memory of a size known at run time.
template <class T>
class SharedArray {
 public:
    explicit SharedArray(std::size_t count) : bytes_(count * sizeof(T)) {
        void* memory =
            mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            throw std::runtime_error("mmap");
        }
        values_ = static_cast<T*>(memory);
    }
    SharedArray(const SharedArray&) = delete;
    SharedArray& operator=(const SharedArray&) = delete;
    ~SharedArray() { munmap(values_, bytes_); }

    T& operator[](std::size_t index) const noexcept { return values_[index]; }

 private:
    T* values_;
    std::size_t bytes_;
};

// What one consumer got, in its order. Written by it alone; `count` is raised after the entry, so
// that a killed consumer's log is whole.
class Log {
 public:
    explicit Log(std::size_t capacity) : values_(capacity), count_(1), capacity_(capacity) {}

    void append(std::uint64_t value) const {
        const std::uint64_t count = count_[0].load(std::memory_order_relaxed);
        ASSERT_LT(count, capacity_);
        values_[count] = value;
        count_[0].store(count + 1, std::memory_order_release);
    }
    std::uint64_t count() const { return count_[0].load(std::memory_order_acquire); }
    std::uint64_t operator[](std::size_t index) const { return values_[index]; }

 private:
    SharedArray<std::uint64_t> values_;
    SharedArray<std::atomic<std::uint64_t>> count_;
    std::size_t capacity_;
};

struct Exchange {
    std::uint64_t capacity;
    unsigned producers;
    unsigned consumers;
    std::uint64_t each;
    Wait mode;
};

std::string text_of(const Exchange& exchange) {
    return "Capacity" + std::to_string(exchange.capacity) + "Producers" +
           std::to_string(exchange.producers) + "Consumers" + std::to_string(exchange.consumers) +
           (exchange.mode == Wait::park ? "Park" : "SpinThenPark");
}
// GoogleTest would print the bytes, padding included, and CTest make them part of the name.
std::ostream& operator<<(std::ostream& out, const Exchange& exchange) {
    return out << text_of(exchange);
}

// Producers put, consumers get; the last message of each producer is counted, then the ring is
// closed.
class MpmcRingExchange : public ::testing::TestWithParam<Exchange> {
 protected:
    void run(std::uint64_t first_position, bool endless) {
        const Exchange exchange = GetParam();
        Ring ring(RingOptions{.capacity = exchange.capacity, .first_position = first_position});
        std::vector<std::unique_ptr<Log>> logs;
        std::vector<Child> producers;
        std::vector<Child> consumers;
        for (unsigned index = 0; index < exchange.consumers; ++index) {
            logs.push_back(std::make_unique<Log>(exchange.each * exchange.producers + 1));
            const Log& log = *logs.back();
            consumers.emplace_back([&, index] {
                // By turns in one exchange and in two.
                if (endless && index % 2 == 0) {
                    while (const auto value = ring.take_endlessly()) {
                        log.append(*value);
                    }
                    return;
                }
                if (endless) {
                    ClaimedSlot claimed;
                    while (ring.claim_read_endlessly(claimed) == RingResult::done) {
                        const std::uint64_t value = Ring::load(claimed);
                        ring->commit(claimed);
                        log.append(value);
                    }
                    return;
                }
                const auto get = [&] {
                    return index % 2 == 0 ? ring.take(exchange.mode, [](std::uint64_t) {})
                                          : ring.get(exchange.mode);
                };
                while (const auto value = get()) {
                    log.append(*value);
                }
            });
        }
        for (unsigned index = 0; index < exchange.producers; ++index) {
            producers.emplace_back([&, index] {
                for (std::uint64_t sequence = 0; sequence < exchange.each; ++sequence) {
                    if (endless) {
                        ClaimedSlot claimed;
                        ASSERT_EQ(ring.claim_endlessly(claimed), RingResult::done);
                        Ring::store(claimed, value_of(index, sequence));
                        ring->publish(claimed);
                    } else {
                        ASSERT_TRUE(ring.put(value_of(index, sequence), exchange.mode));
                    }
                }
            });
        }
        for (Child& producer : producers) {
            ASSERT_EQ(producer.join(), 0);
        }
        ring->close();
        for (Child& consumer : consumers) {
            ASSERT_EQ(consumer.join(), 0);
        }
        check(logs, exchange);
        ASSERT_EQ(ring->size(), 0U);
    }

    static void check(const std::vector<std::unique_ptr<Log>>& logs, const Exchange& exchange) {
        std::vector<std::vector<std::uint8_t>> times(exchange.producers,
                                                     std::vector<std::uint8_t>(exchange.each));
        for (const auto& log : logs) {
            std::vector<std::uint64_t> next(exchange.producers);
            for (std::uint64_t index = 0; index < log->count(); ++index) {
                const std::uint64_t value = (*log)[index];
                const std::uint64_t producer = producer_of(value);
                ASSERT_LT(producer, exchange.producers) << "an invented value";
                ASSERT_LT(sequence_of(value), exchange.each) << "an invented value";
                ASSERT_GE(sequence_of(value), next[producer]) << "a producer's order is kept";
                next[producer] = sequence_of(value) + 1;
                ++times[producer][sequence_of(value)];
            }
        }
        for (const auto& producer : times) {
            for (std::uint64_t sequence = 0; sequence < exchange.each; ++sequence) {
                ASSERT_EQ(producer[sequence], 1) << "message " << sequence;
            }
        }
    }
};

TEST_P(MpmcRingExchange, DeliversEachMessageOnceInItsProducersOrder) {
    const Watchdog watchdog(170);
    run(0, false);
}

TEST_P(MpmcRingExchange, LosesNoWakeUp) {
    // Sleeps without end.
    const Watchdog watchdog(170);
    run((1ULL << 40U) * GetParam().capacity - 1000, true);
}

INSTANTIATE_TEST_SUITE_P(Processes, MpmcRingExchange,
                         ::testing::Values(Exchange{1, 1, 1, 10'000, Wait::park},
                                           Exchange{1, 2, 2, 10'000, Wait::spin_then_park},
                                           Exchange{2, 3, 3, 10'000, Wait::park},
                                           Exchange{2, 1, 3, 20'000, Wait::spin_then_park},
                                           Exchange{4, 3, 1, 20'000, Wait::park},
                                           Exchange{4, 2, 4, 20'000, Wait::spin_then_park},
                                           Exchange{64, 2, 2, 200'000, Wait::spin_then_park},
                                           Exchange{64, 3, 3, 100'000, Wait::park}),
                         [](const auto& tested) { return text_of(tested.param); });

// Order in real time: what was put entirely before another was put is not got entirely after it.
// Each operation is recorded with the time before and after it, on one clock.
struct Record {
    std::int64_t begun;
    std::int64_t ended;
};

TEST(MpmcRingHistory, IsAFifo) {
    const Watchdog watchdog(170);
    constexpr unsigned kSide = 3;
    constexpr std::uint64_t kEach = 30'000;
    for (const std::uint64_t capacity : {1ULL, 4ULL, 64ULL}) {
        Ring ring(RingOptions{.capacity = capacity, .first_position = 0ULL - 5000});
        const SharedArray<Record> puts(kSide * kEach);
        const SharedArray<Record> gets(kSide * kEach);
        std::vector<Child> producers;
        std::vector<Child> consumers;
        for (unsigned index = 0; index < kSide; ++index) {
            producers.emplace_back([&, index] {
                for (std::uint64_t sequence = 0; sequence < kEach; ++sequence) {
                    const std::uint64_t value = index * kEach + sequence;
                    const std::int64_t begun = monotonic_now_ns();
                    ASSERT_TRUE(ring.put(value, Wait::spin_then_park));
                    puts[value] = {begun, monotonic_now_ns()};
                }
            });
            consumers.emplace_back([&, index] {
                for (;;) {
                    const std::int64_t begun = monotonic_now_ns();
                    const auto value = index == 0
                                           ? ring.get(Wait::spin_then_park)
                                           : ring.take(Wait::spin_then_park, [](std::uint64_t) {});
                    if (!value) {
                        return;
                    }
                    ASSERT_LT(*value, kSide * kEach) << "an invented value";
                    ASSERT_EQ(gets[*value].ended, 0) << "a value got twice";
                    gets[*value] = {begun, monotonic_now_ns()};
                }
            });
        }
        for (Child& child : producers) {
            ASSERT_EQ(child.join(), 0);
        }
        ring->close();
        for (Child& child : consumers) {
            ASSERT_EQ(child.join(), 0);
        }
        // Values by the beginning and by the end of their puts: whoever ended before this one
        // began must not have been got later than this one.
        std::vector<std::uint64_t> by_begin(kSide * kEach);
        for (std::uint64_t value = 0; value < by_begin.size(); ++value) {
            ASSERT_NE(gets[value].ended, 0) << "a value got never";
            by_begin[value] = value;
        }
        std::vector<std::uint64_t> by_end = by_begin;
        std::sort(by_begin.begin(), by_begin.end(), [&](std::uint64_t left, std::uint64_t right) {
            return puts[left].begun < puts[right].begun;
        });
        std::sort(by_end.begin(), by_end.end(), [&](std::uint64_t left, std::uint64_t right) {
            return puts[left].ended < puts[right].ended;
        });
        std::int64_t latest_begun = 0;
        std::size_t older = 0;
        for (const std::uint64_t value : by_begin) {
            while (older < by_end.size() && puts[by_end[older]].ended < puts[value].begun) {
                latest_begun = std::max(latest_begun, gets[by_end[older]].begun);
                ++older;
            }
            ASSERT_GE(gets[value].ended, latest_begun) << "an older one was got after " << value;
        }
    }
}

TEST(MpmcRingHistory, StoppedProcessesLoseAndDoubleNothing) {
    const Watchdog watchdog(170);
    const std::uint64_t seed = announce_seed();
    std::mt19937_64 random(seed);
    constexpr unsigned kSide = 2;
    constexpr std::uint64_t kEach = 60'000;
    for (const std::uint64_t capacity : {1ULL, 4ULL}) {
        Ring ring(RingOptions{.capacity = capacity});
        const SharedArray<std::atomic<std::uint8_t>> times(kSide * kEach);
        const SharedArray<std::atomic<std::uint64_t>> done(1);
        std::vector<Child> children;
        for (unsigned index = 0; index < kSide; ++index) {
            children.emplace_back([&, index] {
                for (std::uint64_t sequence = 0; sequence < kEach; ++sequence) {
                    ASSERT_TRUE(ring.put(index * kEach + sequence, Wait::park));
                }
            });
            children.emplace_back([&] {
                while (const auto value = ring.get(Wait::park)) {
                    times[*value].fetch_add(1, std::memory_order_relaxed);
                    if (done[0].fetch_add(1, std::memory_order_acq_rel) + 1 == kSide * kEach) {
                        ring->close();
                    }
                }
            });
        }
        std::uint64_t before = ~0ULL;
        while (done[0].load(std::memory_order_acquire) != kSide * kEach) {
            const Child& victim = children[random() % children.size()];
            victim.signal(SIGSTOP);
            usleep(static_cast<useconds_t>(random() % 2000));
            victim.signal(SIGCONT);
            usleep(static_cast<useconds_t>(random() % 1000));
            before = done[0].load(std::memory_order_acquire);
        }
        EXPECT_EQ(before, kSide * kEach);
        for (Child& child : children) {
            ASSERT_EQ(child.join(), 0);
        }
        for (std::uint64_t value = 0; value < kSide * kEach; ++value) {
            ASSERT_EQ(times[value].load(), 1) << value;
        }
    }
}

// Killed at random instants and started again.
//
// The ledger lies apart from the ring. A producer notes "about to put n" before and "put n" after;
// a consumer notes "about to take v" before its commit and "took v" after. So a value is in doubt
// only if its producer died between the two notes, or the consumer that held it died between its
// two.
struct ProducerNote {
    std::atomic<std::uint64_t> begun;     // sequences below were begun
    std::atomic<std::uint64_t> finished;  // sequences below were put, but for those of the dead
};
struct ConsumerNote {
    std::atomic<std::uint64_t> taking;  // value + 1 while a commit is on its way
};

struct Killing {
    std::uint64_t capacity;
    Wait mode;
};

std::string text_of(const Killing& killing) {
    return "Capacity" + std::to_string(killing.capacity) +
           (killing.mode == Wait::park ? "Park" : "SpinThenPark");
}
std::ostream& operator<<(std::ostream& out, const Killing& killing) {
    return out << text_of(killing);
}

class MpmcRingKilled : public ::testing::TestWithParam<Killing> {};

TEST_P(MpmcRingKilled, WhatWasAcknowledgedIsDeliveredOnce) {
    const Watchdog watchdog(170);
    const std::uint64_t seed = announce_seed();
    std::mt19937_64 random(seed);
    constexpr unsigned kSide = 3;
    constexpr std::uint64_t kValuesMax = 4'000'000;
    const Wait mode = GetParam().mode;
    Ring ring(RingOptions{.capacity = GetParam().capacity, .member_capacity = 16});
    const SharedArray<std::atomic<std::uint8_t>> taken(kSide * kValuesMax);
    const SharedArray<ProducerNote> producer_notes(kSide);
    const SharedArray<ConsumerNote> consumer_notes(kSide);
    const SharedArray<std::atomic<bool>> stop(1);

    const auto produce = [&](unsigned index) {
        ProducerNote& note = producer_notes[index];
        while (!stop[0].load(std::memory_order_relaxed)) {
            const std::uint64_t sequence = note.begun.load(std::memory_order_relaxed);
            if (sequence == kValuesMax) {
                return;
            }
            note.begun.store(sequence + 1, std::memory_order_release);
            if (!ring.put(index * kValuesMax + sequence, mode)) {
                return;
            }
            note.finished.store(sequence + 1, std::memory_order_release);
        }
    };
    const auto consume = [&](unsigned index) {
        ConsumerNote& note = consumer_notes[index];
        if (index == 0) {
            const auto copied = [&](std::uint64_t value) {
                note.taking.store(value + 1, std::memory_order_release);
            };
            while (const auto value = ring.take(mode, copied)) {
                ASSERT_LT(*value, kSide * kValuesMax) << "an invented value";
                taken[*value].fetch_add(1, std::memory_order_release);
                note.taking.store(0, std::memory_order_release);
            }
            return;
        }
        ClaimedSlot claimed;
        while (ring.claim_read(claimed, mode)) {
            const std::uint64_t value = Ring::load(claimed);
            ASSERT_LT(value, kSide * kValuesMax) << "an invented value";
            note.taking.store(value + 1, std::memory_order_release);
            ring->commit(claimed);
            taken[value].fetch_add(1, std::memory_order_release);
            note.taking.store(0, std::memory_order_release);
        }
    };
    std::vector<Child> producers(kSide);
    std::vector<Child> consumers(kSide);
    for (unsigned index = 0; index < kSide; ++index) {
        producers[index] = Child([&] { produce(index); });
        consumers[index] = Child([&] { consume(index); });
    }
    std::unordered_map<std::uint64_t, bool> in_doubt_put;
    std::unordered_map<std::uint64_t, unsigned> in_doubt_taken;
    const Deadline end = Deadline::after(std::chrono::milliseconds(2500));
    unsigned kills = 0;
    for (; !end.has_passed(); ++kills) {
        usleep(static_cast<useconds_t>(random() % 3000));
        const auto index = static_cast<unsigned>(random() % kSide);
        if (random() % 2 == 0) {
            producers[index].kill_and_join();
            ProducerNote& note = producer_notes[index];
            const std::uint64_t begun = note.begun.load(std::memory_order_acquire);
            if (begun != note.finished.load(std::memory_order_acquire) && begun != 0) {
                in_doubt_put[index * kValuesMax + begun - 1] = true;
            }
            producers[index] = Child([&] { produce(index); });
        } else {
            consumers[index].kill_and_join();
            ConsumerNote& note = consumer_notes[index];
            if (const std::uint64_t taking = note.taking.load(std::memory_order_acquire)) {
                ++in_doubt_taken[taking - 1];
                note.taking.store(0, std::memory_order_relaxed);
            }
            consumers[index] = Child([&] { consume(index); });
        }
    }
    stop[0].store(true, std::memory_order_relaxed);
    for (Child& producer : producers) {
        ASSERT_EQ(producer.join(), 0);
    }
    ring->close();
    for (Child& consumer : consumers) {
        ASSERT_EQ(consumer.join(), 0);
    }
    std::uint64_t total = 0;
    for (unsigned index = 0; index < kSide; ++index) {
        const std::uint64_t begun = producer_notes[index].begun.load();
        for (std::uint64_t sequence = 0; sequence < kValuesMax; ++sequence) {
            const std::uint64_t value = index * kValuesMax + sequence;
            const unsigned times = taken[value].load();
            if (sequence >= begun) {
                ASSERT_EQ(times, 0U) << "an invented value";
                continue;
            }
            total += times;
            // The note "took" may be missing, or made although the commit note was not yet cleared.
            const auto doubt = in_doubt_taken.find(value);
            const unsigned unsure = doubt == in_doubt_taken.end() ? 0 : doubt->second;
            ASSERT_LE(times, 1U) << "value " << value << " was delivered twice";
            if (times + unsure == 0) {
                ASSERT_TRUE(in_doubt_put.contains(value)) << "value " << value << " was lost";
            }
        }
    }
    std::printf("%u kills, %llu messages, %zu puts and %zu gets in doubt\n", kills,
                static_cast<unsigned long long>(total), in_doubt_put.size(), in_doubt_taken.size());
    EXPECT_GT(kills, 0U);
}

INSTANTIATE_TEST_SUITE_P(Modes, MpmcRingKilled,
                         ::testing::Values(Killing{1, Wait::park}, Killing{2, Wait::spin_then_park},
                                           Killing{4, Wait::park},
                                           Killing{64, Wait::spin_then_park}),
                         [](const auto& tested) { return text_of(tested.param); });

}  // namespace
}  // namespace sluice::shm
