// Histories of a dictionary's keys: each key must have been a register that changes at one instant
// (linearizability, key by key), also where its writers were killed.
//
// Every value is written once. Then a history is one of a register if and only if (Gibbons, Korach:
// Testing shared memories, SIAM J. Comput. 26, 1997), for each value, with f the first end and s
// the last beginning among its write and the reads that gave it:
//   - no read of it ended before its write began;
//   - where f < s, nothing else was the value between them: no two such intervals overlap, and none
//     holds the whole [s, f] of a value for which s <= f.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sluice/dict.hpp"
#include "support/processes.hpp"
#include "support/recorder.hpp"

namespace sluice {
namespace {

using test::Child;
using test::fenced_now_ns;
using test::Shared;
using test::Watchdog;

struct Access {
    std::uint64_t key;
    std::uint64_t value;
    std::int64_t begun;
    std::int64_t ended;  // of the dead: never
    bool is_write;
};
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

/// What is wrong with the history of one key; "" where it is one of a register.
std::string fault_of(const std::vector<Access>& history) {
    struct Zone {
        std::int64_t first_end{kNever};
        std::int64_t last_begin{std::numeric_limits<std::int64_t>::min()};
        std::int64_t written{kNever};
        std::int64_t first_read_end{kNever};
        bool has_write{};
    };
    std::map<std::uint64_t, Zone> zones;
    for (const Access& access : history) {
        Zone& zone = zones[access.value];
        zone.first_end = std::min(zone.first_end, access.ended);
        zone.last_begin = std::max(zone.last_begin, access.begun);
        if (access.is_write) {
            if (zone.has_write) {
                return "a value was written twice: " + std::to_string(access.value);
            }
            zone.has_write = true;
            zone.written = access.begun;
        } else {
            zone.first_read_end = std::min(zone.first_read_end, access.ended);
        }
    }
    std::vector<Zone> forward;
    std::vector<Zone> backward;
    for (const auto& [value, zone] : zones) {
        if (!zone.has_write) {
            return "a value was read that nobody wrote: " + std::to_string(value);
        }
        if (zone.first_read_end < zone.written) {
            return "a value was read before it was written: " + std::to_string(value);
        }
        // Who died over his write, and nobody read it: it never was, or not for long.
        if (zone.first_end != kNever) {
            (zone.first_end < zone.last_begin ? forward : backward).push_back(zone);
        }
    }
    std::sort(forward.begin(), forward.end(),
              [](const Zone& one, const Zone& other) { return one.first_end < other.first_end; });
    for (std::size_t at = 1; at < forward.size(); ++at) {
        if (forward[at].first_end < forward[at - 1].last_begin) {
            return "an older value came back";
        }
    }
    for (const Zone& zone : backward) {
        const auto after = std::upper_bound(
            forward.begin(), forward.end(), zone.last_begin,
            [](std::int64_t time, const Zone& other) { return time < other.first_end; });
        if (after != forward.begin() && std::prev(after)->first_end < zone.last_begin &&
            zone.first_end < std::prev(after)->last_begin) {
            return "a value was lost in the middle of another's time";
        }
    }
    return "";
}

Access write_of(std::uint64_t value, std::int64_t begun, std::int64_t ended) {
    return {0, value, begun, ended, true};
}
Access read_of(std::uint64_t value, std::int64_t begun, std::int64_t ended) {
    return {0, value, begun, ended, false};
}

TEST(RegisterHistory, SoundOnesPass) {
    EXPECT_EQ(fault_of({write_of(1, 0, 10), read_of(1, 5, 6), write_of(2, 20, 30),
                        read_of(1, 21, 22), read_of(2, 23, 24)}),
              "");
    EXPECT_EQ(
        fault_of({write_of(1, 0, 1), write_of(2, 5, kNever), read_of(1, 6, 7), read_of(2, 8, 9)}),
        "")
        << "the dead one's write happened late";
    EXPECT_EQ(fault_of({write_of(1, 0, 1), write_of(2, 5, kNever), read_of(1, 8, 9)}), "");
}
TEST(RegisterHistory, FaultsAreFound) {
    EXPECT_NE(fault_of({write_of(1, 0, 1), write_of(2, 2, 3), read_of(1, 4, 5)}), "") << "stale";
    EXPECT_NE(fault_of({write_of(1, 0, 1), read_of(2, 4, 5), write_of(2, 6, 7)}), "") << "early";
    EXPECT_NE(fault_of({write_of(1, 0, 1), read_of(7, 4, 5)}), "") << "invented";
    EXPECT_NE(fault_of({write_of(1, 0, 1), write_of(2, 2, 9), read_of(2, 3, 4), read_of(1, 5, 6),
                        read_of(2, 7, 8)}),
              "")
        << "there and back";
}

/// One process's accesses, written by it alone; read when it has ended, however it ended.
class AccessLog {
 public:
    static constexpr std::size_t kCapacity = 200'000;
    AccessLog() {
        memory_ = static_cast<Memory*>(mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE,
                                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    }
    AccessLog(const AccessLog&) = delete;
    AccessLog& operator=(const AccessLog&) = delete;
    ~AccessLog() { munmap(memory_, sizeof(Memory)); }

    bool has_room() const noexcept { return memory_->count.load() < kCapacity; }
    /// The access counts from here on, as one that never ends.
    Access& begin(const Access& access) noexcept {
        const std::size_t at = memory_->count.load();
        memory_->accesses[at] = access;
        memory_->count.store(at + 1);
        return memory_->accesses[at];
    }
    void append_to(std::map<std::uint64_t, std::vector<Access>>& histories) const {
        for (std::size_t at = 0; at < memory_->count.load(); ++at) {
            const Access& access = memory_->accesses[at];
            // A read that did not end gave nothing.
            if (access.is_write || access.ended != kNever) {
                histories[access.key].push_back(access);
            }
        }
    }

 private:
    struct Memory {
        std::atomic<std::size_t> count;
        std::array<Access, kCapacity> accesses;
    };
    Memory* memory_;
};

std::chrono::milliseconds time_to_run() {
    const char* soak = std::getenv("SLUICE_SOAK");
    return soak != nullptr ? std::chrono::seconds(std::strtol(soak, nullptr, 10))
                           : std::chrono::milliseconds(1500);
}

// Few keys in one stripe, so that nodes are used again at once, and the table grows and is cleaned
// beside them.
template <class V>
void record(V (*value_of)(std::uint64_t), std::uint64_t (*number_of)(const V&)) {
    const Watchdog watchdog(3600);
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    const Dict<std::uint64_t, V> sut(DictOptions{.max_bytes = 1U << 24U, .stripes = 1});
    constexpr std::uint64_t kKeys = 3;
    const auto deadline = std::chrono::steady_clock::now() + time_to_run();
    std::uint64_t accesses = 0;
    for (std::uint64_t round = 1; std::chrono::steady_clock::now() < deadline; ++round) {
        std::vector<std::unique_ptr<AccessLog>> logs;
        std::vector<Child> children;
        AccessLog first;
        for (std::uint64_t key = 0; key < kKeys; ++key) {
            const std::uint64_t number = round << 40U | 0xffU << 8U | key;
            Access& access = first.begin({key, number, fenced_now_ns(), kNever, true});
            sut.set(key, value_of(number));
            access.ended = fenced_now_ns();
        }
        const auto start = [&](std::uint64_t process) {
            AccessLog& log = *logs.emplace_back(std::make_unique<AccessLog>());
            const auto seed = static_cast<std::uint32_t>(random());
            children.emplace_back([&sut, &log, round, process, seed, value_of, number_of] {
                std::minstd_rand mine(seed);
                for (std::uint64_t count = 1; log.has_room(); ++count) {
                    const std::uint64_t key = mine() % kKeys;
                    const std::uint64_t number = round << 40U | process << 32U | count;
                    if (mine() % 4 != 0) {
                        Access& access = log.begin({key, 0, fenced_now_ns(), kNever, false});
                        const auto value = sut.get(key);
                        access.value = value ? number_of(*value) : 1;
                        access.ended = fenced_now_ns();
                    } else if (mine() % 8 == 0) {
                        sut.set(10 + mine() % 40, value_of(number));
                        sut.erase(10 + mine() % 40);
                    } else {
                        Access& access = log.begin({key, number, fenced_now_ns(), kNever, true});
                        sut.set(key, value_of(number));
                        access.ended = fenced_now_ns();
                    }
                }
            });
        };
        for (std::uint64_t process = 1; process <= 3; ++process) {
            start(process);
        }
        for (std::uint64_t killed = 0; killed < 8; ++killed) {
            usleep(static_cast<useconds_t>(random() % 8000));
            children[random() % children.size()] = Child();  // kills it
            start(4 + killed);
        }
        children.clear();
        std::map<std::uint64_t, std::vector<Access>> histories;
        first.append_to(histories);
        for (const auto& log : logs) {
            log->append_to(histories);
        }
        for (const auto& [key, history] : histories) {
            accesses += history.size();
            ASSERT_EQ(fault_of(history), "") << "key " << key << ", round " << round;
        }
    }
    std::printf("%llu accesses\n", static_cast<unsigned long long>(accesses));
    EXPECT_GT(accesses, 0U);
}

TEST(DictHistory, EachKeyOfWordsIsARegister) {
    record<std::uint64_t>([](std::uint64_t number) { return number; },
                          [](const std::uint64_t& value) { return value; });
}
TEST(DictHistory, EachKeyOfWideValuesIsARegister) {
    using Wide = std::array<std::uint64_t, 6>;
    record<Wide>(
        [](std::uint64_t number) {
            Wide value;
            value.fill(number);
            return value;
        },
        [](const Wide& value) {
            const bool is_whole = std::count(value.begin(), value.end(), value[0]) ==
                                  static_cast<std::ptrdiff_t>(value.size());
            return is_whole ? value[0] : std::uint64_t{1};
        });
}

// 10^8 updates where it soaks, 3 * 10^6 else: the memory stays what it was after a tenth of them.
TEST(DictFootprint, StaysWhatItWasThroughUpdates) {
    const Watchdog watchdog(3600);
    const bool soaks = std::getenv("SLUICE_SOAK") != nullptr;
    const std::uint64_t updates = soaks ? 100'000'000 : 3'000'000;
    std::minstd_rand random(static_cast<std::uint32_t>(test::announce_seed()));
    const Dict<std::uint64_t, std::array<std::uint64_t, 3>> sut;
    std::uint64_t early = 0;
    for (std::uint64_t update = 0; update < updates; ++update) {
        const std::uint64_t key = random() % 50'000;
        if (random() % 6 == 0) {
            sut.erase(key);
        } else {
            sut.set(key, {update, key, update});
        }
        if (update == updates / 10) {
            early = sut.memory_bytes();
        }
    }
    EXPECT_LE(sut.memory_bytes(), early + early / 100);
}

}  // namespace
}  // namespace sluice
