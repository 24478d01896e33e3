// What the soak's processes note, outside of all objects under test: who began and finished what,
// and what arrived. A value is (round, producer, sequence). Sequences begin anew with each round,
// so that a soak of hours does not run out of ledger.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>

namespace sluice::soak {

inline constexpr unsigned kWorkers = 8;
inline constexpr unsigned kTalkers = 2;  // the last workers: mostly the two ends of a pipe
inline constexpr unsigned kQueues = 3;
inline constexpr std::uint64_t kSequencesMax = 1ULL << 22U;
inline constexpr std::uint64_t kBatchMax = 8;

/// Whose value it says it is when it tells its consumer to end, or the pipe's receiver.
inline constexpr std::uint32_t kFarewell = 1000;

constexpr std::uint64_t mix(std::uint64_t value) noexcept {
    value += 0x9e37'79b9'7f4a'7c15U;
    value = (value ^ (value >> 30U)) * 0xbf58'476d'1ce4'e5b9U;
    value = (value ^ (value >> 27U)) * 0x94d0'49bb'1331'11ebU;
    return value ^ (value >> 31U);
}

/// What travels as a plain value, and at the beginning of every text.
struct Item {
    std::uint32_t round;
    std::uint32_t producer;
    std::uint64_t sequence;
    std::uint64_t proof;  // of the fields before: a torn value does not have it

    static Item make(std::uint32_t round, std::uint32_t producer, std::uint64_t sequence) noexcept {
        Item item{round, producer, sequence, 0};
        item.proof = item.expected_proof();
        return item;
    }
    std::uint64_t expected_proof() const noexcept {
        return mix(mix(std::uint64_t{round} << 32U | producer) ^ sequence);
    }
};

/// An item as the value of a queue or pipe of T: itself, or a text that is mostly short, sometimes
/// longer than its slot, and sometimes 100 KB.
template <class T>
T value_of(const Item& item);
template <>
inline Item value_of<Item>(const Item& item) {
    return item;
}
inline std::size_t filler_bytes(const Item& item) noexcept {
    const std::uint64_t dice = mix(item.proof);
    if (dice % 16 == 0) {
        return 100'000;
    }
    return dice % 8 == 1 ? 500 + (dice >> 32U) % 8000 : (dice >> 32U) % 150;
}
template <>
inline std::string value_of<std::string>(const Item& item) {
    std::string text(sizeof item + filler_bytes(item), static_cast<char>(item.proof));
    std::memcpy(text.data(), &item, sizeof item);
    return text;
}

/// The item of a value; nullopt when the value is damaged.
inline std::optional<Item> item_of(const Item& item) noexcept {
    return item.proof == item.expected_proof() ? std::optional(item) : std::nullopt;
}
inline std::optional<Item> item_of(const char* bytes, std::size_t count) noexcept {
    Item item{};
    if (count < sizeof item) {
        return std::nullopt;
    }
    std::memcpy(&item, bytes, sizeof item);
    if (item.proof != item.expected_proof() || count != sizeof item + filler_bytes(item)) {
        return std::nullopt;
    }
    for (std::size_t index = sizeof item; index < count; ++index) {
        if (bytes[index] != static_cast<char>(item.proof)) {
            return std::nullopt;
        }
    }
    return item;
}
inline std::optional<Item> item_of(const std::string& text) noexcept {
    return item_of(text.data(), text.size());
}

/// What one worker puts into one queue in a round. All but `arrived` is written by that worker
/// alone, and by the parent after its death.
struct Lane {
    std::atomic<std::uint64_t> begun{};     // sequences below were begun
    std::atomic<std::uint64_t> finished{};  // sequences below were put, but for those in doubt
    std::array<std::atomic<std::uint64_t>, kSequencesMax / 64> arrived{};  // a bit each
};

/// What a worker does: for the report of a hang.
enum class Doing : std::uint32_t {
    starting,
    resting,
    putting,
    getting,
    leasing,
    sending,
    receiving
};
inline const char* text_of(Doing doing) noexcept {
    constexpr const char* kTexts[] = {"starting", "resting", "putting",  "getting",
                                      "leasing",  "sending", "receiving"};
    return kTexts[static_cast<std::uint32_t>(doing)];
}

struct alignas(128) WorkerNote {
    static constexpr std::uint64_t word(std::uint64_t producer, std::uint64_t sequence) noexcept {
        return producer << 48U | sequence;
    }

    std::atomic<std::uint64_t> operations{};  // finished, by all incarnations
    std::atomic<std::uint64_t> committing{};  // word + 1 of the leased value in commit()
    std::atomic<std::uint32_t> getting{};     // how many messages the get on its way may take
    std::atomic<std::uint32_t> queue{};       // of the two above
    std::atomic<std::uint32_t> round_done{};
    std::atomic<std::uint64_t> descriptors_first{};
    std::atomic<std::uint64_t> descriptors_last{};
    std::atomic<Doing> doing{};
};

/// One direction of a pipe, in one session.
struct DirectionNote {
    std::atomic<std::uint64_t> begun{};
    std::atomic<std::uint64_t> finished{};
    std::atomic<std::uint64_t> received{};
    std::atomic<bool> farewell_received{};
};

struct Ledger {
    std::atomic<std::uint32_t> round{};
    std::atomic<std::uint32_t> producing{};  // the round while producers are to produce, else 0
    std::atomic<std::uint64_t> duplicated{};
    std::atomic<std::uint64_t> damaged{};  // torn, invented, of another round, out of order
    std::array<std::atomic<std::uint64_t>, kQueues> passed{};  // operations of each queue, ever
    std::array<WorkerNote, kWorkers> workers{};
    std::array<DirectionNote, 2> directions{};
    std::array<std::array<Lane, kWorkers>, kQueues> lanes{};

    /// Notes that the value arrived, and sees whether it may.
    void deliver(unsigned queue, const std::optional<Item>& item) noexcept {
        if (!item || item->round != round.load(std::memory_order_relaxed) ||
            item->producer >= kWorkers ||
            item->sequence >= lanes[queue][item->producer].begun.load(std::memory_order_acquire)) {
            if (item) {
                std::fprintf(stderr, "soak: queue %u: value %u/%u/%llu in round %u\n", queue,
                             item->round, item->producer,
                             static_cast<unsigned long long>(item->sequence), round.load());
            }
            damaged.fetch_add(1);
            return;
        }
        const std::uint64_t bit = 1ULL << (item->sequence % 64);
        std::atomic<std::uint64_t>& word =
            lanes[queue][item->producer].arrived[item->sequence / 64];
        if ((word.fetch_or(bit, std::memory_order_acq_rel) & bit) != 0) {
            std::fprintf(stderr, "soak: queue %u: value %u/%u/%llu arrived twice\n", queue,
                         item->round, item->producer,
                         static_cast<unsigned long long>(item->sequence));
            duplicated.fetch_add(1);
        }
        passed[queue].fetch_add(1, std::memory_order_relaxed);
    }
};

enum class Role : std::uint8_t { produce, consume, roam, talk };
struct Task {
    Role role;
    unsigned queue;
};

/// Who does what in a round: by turns all queues at once, all on one queue, and the two that talk
/// through a pipe otherwise go from queue to queue.
inline Task task_of(std::uint32_t round, unsigned worker) noexcept {
    const std::uint32_t plan = round % 5;
    if (worker >= kWorkers - kTalkers) {
        return {plan == 4 ? Role::roam : Role::talk, 0};
    }
    const Role role = worker % 2 == 0 ? Role::produce : Role::consume;
    return {role, plan >= 1 && plan <= 3 ? plan - 1 : worker / 2};
}

/// How a round accounts for what consumers took when they died. A lease tells its value before
/// commit(), so its doubt is one known value. A get() that was killed may have taken a value that
/// nobody knows: rounds in which getters are killed allow as many missing values as there were such
/// deaths, the other rounds allow none.
enum class Accounting : std::uint8_t { only_leases, getters_live, getters_die };
inline Accounting accounting_of(std::uint32_t round) noexcept {
    return static_cast<Accounting>(round % 3);
}

}  // namespace sluice::soak
