// What the soak's workers do with a Manager's objects, by the public API, until they are killed;
// and what they note of it, outside of all objects under test.
//
// Counted: cells that everybody counts up, one by one; begun and ended are noted on both sides of
// each step, so that the cell lies between them, whoever died. Kept: keys that one worker alone
// changes; its note says what is there, or what was and what is to be. Bags: items put once and
// taken once. Groups: keys that only steps of all of them change.
#pragma once

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sluice/error.hpp"
#include "sluice/manager.hpp"
#include "sluice/msgpack.hpp"

namespace sluice::soak {

inline constexpr unsigned kManagerWorkers = 6;
inline constexpr unsigned kCells = 32;
inline constexpr unsigned kKeptKeys = 48;  // of each worker
inline constexpr unsigned kGroupKeys = 8;
inline constexpr unsigned kItemsMax = 1 << 18;  // of a round, in each bag
inline constexpr unsigned kBagGoal = 200;       // items, about
inline constexpr unsigned kChurnNames = 9;

/// What counted cells hold: a change is a whole one.
struct Count {
    std::uint64_t number;
    std::array<std::uint64_t, 5> copies;

    static Count of(std::uint64_t number) noexcept {
        Count count{};
        count.number = number;
        count.copies.fill(~number);
        return count;
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

/// A text that says its number, long or short.
inline std::string text_of_number(std::uint64_t number) {
    std::string text = std::to_string(number) + ":";
    text.append((number * 37) % 150, static_cast<char>('a' + number % 26));
    return text;
}
/// None: it is not such a text.
inline std::optional<std::uint64_t> number_of_text(const std::string& text) {
    std::uint64_t number = 0;
    for (const char digit : text) {
        if (digit == ':') {
            return text == text_of_number(number) ? std::optional(number) : std::nullopt;
        }
        if (digit < '0' || digit > '9') {
            return std::nullopt;
        }
        number = number * 10 + static_cast<std::uint64_t>(digit - '0');
    }
    return std::nullopt;
}

/// Of cells that are counted up.
struct Counted {
    std::array<std::atomic<std::uint64_t>, kCells> begun{};
    std::array<std::atomic<std::uint64_t>, kCells> ended{};
};

/// One worker's own key: 0 where it is not there. before != after: a change is under way.
struct Kept {
    std::atomic<std::uint64_t> before{};
    std::atomic<std::uint64_t> after{};
};

enum class ItemState : std::uint8_t { none, putting, put, taken };

struct Bag {
    std::atomic<std::uint32_t> items{};  // numbers given out in this round
    std::array<std::atomic<ItemState>, kItemsMax> states{};
};

enum class ManagerAt : std::uint32_t {
    rest,
    dict_count,
    list_count,
    array_count,
    value_count,
    kept,
    group,
    taking,  // out of a bag: if it dies, an item may be nowhere
    bag,
    churn,
    reading
};
inline const char* text_of(ManagerAt at) noexcept {
    constexpr const char* kTexts[] = {"rest",        "dict_count", "list_count", "array_count",
                                      "value_count", "kept",       "group",      "taking",
                                      "bag",         "churn",      "reading"};
    return kTexts[static_cast<std::uint32_t>(at)];
}

struct alignas(128) ManagerNote {
    std::atomic<std::uint64_t> operations{};
    std::atomic<std::uint32_t> round_done{};
    std::atomic<ManagerAt> at{};
    std::array<Kept, kKeptKeys> kept{};
};

struct ManagerLedger {
    std::atomic<std::uint32_t> round{};
    std::atomic<std::uint32_t> serving{};  // the round while workers are to operate, else 0
    std::atomic<std::uint64_t> wrong{};
    std::atomic<std::uint64_t> stamps{};
    std::atomic<std::uint64_t> other_kinds{};  // names found to be of another kind
    Counted dict{};
    Counted list{};
    Counted array{};
    Counted value{};  // cell 0
    Bag numbers{};
    Bag texts{};
    std::array<ManagerNote, kManagerWorkers> workers{};

    void tell_wrong(const char* what, std::uint64_t seen) noexcept {
        std::fprintf(stderr, "soak: %s (%llu)\n", what, static_cast<unsigned long long>(seen));
        wrong.fetch_add(1);
    }
};

inline std::string churn_name(unsigned name) {
    return "churn-" + std::to_string(name);
}
inline std::string kept_key(unsigned worker, unsigned key) {
    return "worker " + std::to_string(worker) + ", key " + std::to_string(key);
}

/// The objects under test.
struct ManagedObjects {
    explicit ManagedObjects(const Manager& manager)
        : dict(manager.dict<std::uint64_t, Count>("dict")),
          list(manager.list<Count>("list")),
          array(manager.array<Count>("array", kCells)),
          value(manager.value<Count>("value", Count::of(0))),
          kept(manager.dict<std::string, std::string>("kept")),
          group(manager.dict<std::uint64_t, std::uint64_t>("group")),
          numbers(manager.list<std::uint64_t>("numbers")),
          texts(manager.list<std::string>("texts")) {}

    Dict<std::uint64_t, Count> dict;
    List<Count> list;
    Array<Count> array;
    Value<Count> value;
    Dict<std::string, std::string> kept;
    Dict<std::uint64_t, std::uint64_t> group;
    List<std::uint64_t> numbers;
    List<std::string> texts;
};

class ManagerWorker {
 public:
    ManagerWorker(ManagerLedger& ledger, unsigned self, const Manager& manager)
        : ledger_(ledger),
          note_(ledger.workers[self]),
          self_(self),
          manager_(manager),
          objects_(manager),
          random_(static_cast<std::uint64_t>(getpid())) {}

    void run() {
        settle_kept();
        for (;;) {
            const std::uint32_t round = ledger_.round.load();
            while (ledger_.serving.load() == round && round != 0) {
                operate();
                note_.operations.fetch_add(1);
            }
            note_.at.store(ManagerAt::rest);
            note_.round_done.store(round);
            while (ledger_.round.load() == round) {
                usleep(200);
            }
        }
    }

    static std::optional<std::uint64_t> item_of(std::uint64_t item) { return item; }
    static std::optional<std::uint64_t> item_of(const std::string& text) {
        return number_of_text(text);
    }

 private:
    void operate() {
        switch (random_() % 12) {
            case 0:
                return count_in_dict();
            case 1:
                return count_in_list();
            case 2:
                return count_in_array();
            case 3:
                return count_in_value();
            case 4:
            case 5:
                return change_kept();
            case 6:
                return change_group();
            case 7:
                return use_bag(objects_.numbers, ledger_.numbers,
                               [](std::uint64_t number) { return number; });
            case 8:
                return use_bag(objects_.texts, ledger_.texts, text_of_number);
            case 9:
                return churn();
            default:
                return look();
        }
    }

    template <class Step>
    void count_up(Counted& counted, std::uint64_t cell, ManagerAt at, Step&& step) {
        note_.at.store(at);
        counted.begun[cell].fetch_add(1);
        step();
        counted.ended[cell].fetch_add(1);
    }
    void raise(Count& count) {
        if (!count.is_whole()) {
            ledger_.tell_wrong("a torn count, within update()", count.number);
        }
        count = Count::of(count.number + 1);
    }

    void count_in_dict() {
        const std::uint64_t cell = random_() % kCells;
        count_up(ledger_.dict, cell, ManagerAt::dict_count, [&] {
            objects_.dict.update(
                cell, [this](Count& count) { raise(count); }, Count::of(0));
        });
    }
    void count_in_list() {
        const std::uint64_t cell = random_() % kCells;
        count_up(ledger_.list, cell, ManagerAt::list_count, [&] {
            objects_.list.update(static_cast<std::int64_t>(cell),
                                 [this](Count& count) { raise(count); });
        });
    }
    void count_in_array() {
        const std::uint64_t cell = random_() % kCells;
        count_up(ledger_.array, cell, ManagerAt::array_count, [&] {
            objects_.array.update(static_cast<std::int64_t>(cell),
                                  [this](Count& count) { raise(count); });
        });
    }
    void count_in_value() {
        count_up(ledger_.value, 0, ManagerAt::value_count,
                 [&] { objects_.value.update([this](Count& count) { raise(count); }); });
    }

    /// What the predecessor left: the old value or the new. Nobody else touches it.
    void settle_kept() {
        for (unsigned key = 0; key < kKeptKeys; ++key) {
            Kept& kept = note_.kept[key];
            const std::uint64_t there = kept_number(key);
            const std::uint64_t before = kept.before.load();
            const std::uint64_t after = kept.after.load();
            if (there != before && there != after) {
                ledger_.tell_wrong("a kept key is neither old nor new", there);
            }
            kept.after.store(there);
            kept.before.store(there);
        }
    }
    std::uint64_t kept_number(unsigned key) {
        const std::optional<std::string> text = objects_.kept.get(kept_key(self_, key));
        if (!text) {
            return 0;
        }
        const std::optional<std::uint64_t> number = number_of_text(*text);
        if (!number) {
            ledger_.tell_wrong("a kept text is torn", key);
        }
        return number.value_or(0);
    }
    void change_kept() {
        note_.at.store(ManagerAt::kept);
        const auto key = static_cast<unsigned>(random_() % kKeptKeys);
        Kept& kept = note_.kept[key];
        const std::string name = kept_key(self_, key);
        const std::uint64_t before = kept.before.load();
        if (kept_number(key) != before) {
            ledger_.tell_wrong("a kept key was changed by nobody", before);
        }
        const std::uint64_t after = one_in(3) ? 0 : random_() % 1'000'000 + 1;
        if (after == before) {
            return;
        }
        kept.after.store(after);
        if (after != 0) {
            objects_.kept.set(name, text_of_number(after));
        } else if (one_in(2)) {
            objects_.kept.erase(name);
        } else if (objects_.kept.pop(name) != text_of_number(before)) {
            ledger_.tell_wrong("pop of a kept key", before);
        }
        kept.before.store(after);
    }

    void change_group() {
        note_.at.store(ManagerAt::group);
        if (one_in(10)) {
            objects_.group.clear();
            return;
        }
        const std::uint64_t stamp = ledger_.stamps.fetch_add(1) + 1;
        std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
        for (std::uint64_t key = 0; key < kGroupKeys; ++key) {
            all.emplace_back(key, stamp);
        }
        objects_.group.insert_or_assign(all);
    }

    template <class T, class Make>
    void use_bag(List<T>& bag, Bag& noted, Make&& make) {
        note_.at.store(ManagerAt::bag);
        if (one_in(40)) {
            one_in(2) ? bag.reverse() : bag.sort();
            return;
        }
        if (random_() % (2 * kBagGoal) < bag.size()) {
            take(bag, noted);
            return;
        }
        const auto count = static_cast<std::uint32_t>(one_in(4) ? 3 : 1);
        const std::uint32_t first = noted.items.fetch_add(count);
        if (first + count > kItemsMax) {
            return;  // enough for this round
        }
        std::vector<T> items;
        for (std::uint32_t item = first; item < first + count; ++item) {
            noted.states[item].store(ItemState::putting);
            items.push_back(make(item));
        }
        if (count > 1) {
            bag.extend(items);
        } else if (one_in(2)) {
            bag.append(items[0]);
        } else {
            bag.insert(static_cast<std::int64_t>(random_() % (bag.size() + 1)), items[0]);
        }
        for (std::uint32_t item = first; item < first + count; ++item) {
            // It may have been taken since.
            ItemState putting = ItemState::putting;
            noted.states[item].compare_exchange_strong(putting, ItemState::put);
        }
    }
    template <class T>
    void take(List<T>& bag, Bag& noted) {
        note_.at.store(ManagerAt::taking);
        try {
            const std::int64_t index =
                one_in(2) ? -1 : static_cast<std::int64_t>(random_() % kBagGoal);
            const std::optional<std::uint64_t> item = item_of(bag.pop(index));
            if (!item || *item >= kItemsMax) {
                ledger_.tell_wrong("an item that nobody put", item.value_or(0));
            } else if (noted.states[*item].exchange(ItemState::taken) == ItemState::taken) {
                ledger_.tell_wrong("an item was taken twice", *item);
            }
        } catch (const std::out_of_range&) {
            // There are fewer.
        }
        note_.at.store(ManagerAt::bag);
    }

    /// Objects that come and go. A name is of one kind, but now and then somebody errs.
    void churn() {
        note_.at.store(ManagerAt::churn);
        const auto number = static_cast<unsigned>(random_() % kChurnNames);
        const std::string name = churn_name(number);
        try {
            switch (one_in(8) ? random_() % 3 : number % 3) {
                case 0: {
                    const Lock lock = manager_.lock(name);
                    lock.lock();
                    if (lock.abandoned()) {
                        lock.repair();
                    }
                    lock.unlock();
                    break;
                }
                case 1: {
                    const auto dict = manager_.dict<std::uint64_t, std::uint64_t>(name);
                    dict.set(random_() % 8, 1);
                    break;
                }
                default: {
                    const auto queue = manager_.queue<std::uint64_t>(name, {.capacity = 16});
                    static_cast<void>(queue.try_put(number));
                    static_cast<void>(queue.try_get());
                }
            }
        } catch (const BadSegment&) {
            ledger_.other_kinds.fetch_add(1);
        }
        if (one_in(2)) {
            manager_.remove(name);
        }
    }

    void look() {
        note_.at.store(ManagerAt::reading);
        const std::uint64_t cell = random_() % kCells;
        if (const std::optional<Count> count = objects_.dict.get(cell)) {
            expect_counted(*count, ledger_.dict, cell, "Dict");
        }
        expect_counted(objects_.list.at(static_cast<std::int64_t>(cell)), ledger_.list, cell,
                       "List");
        expect_counted(objects_.array.load(static_cast<std::int64_t>(cell)), ledger_.array, cell,
                       "Array");
        expect_counted(objects_.value.load(), ledger_.value, 0, "Value");
        if (one_in(4)) {
            for (const Count& count : objects_.array.snapshot()) {
                if (!count.is_whole()) {
                    ledger_.tell_wrong("a torn count in an Array's snapshot", count.number);
                }
            }
        }
        if (one_in(4)) {
            const auto group = objects_.group.items();
            for (const auto& [key, stamp] : group) {
                if (stamp != group.front().second) {
                    ledger_.tell_wrong("a snapshot shows half a step", stamp);
                }
            }
            if (!group.empty() && group.size() != kGroupKeys) {
                ledger_.tell_wrong("a snapshot shows part of a step", group.size());
            }
        }
        if (one_in(8)) {
            expect_distinct(objects_.numbers.snapshot());
            expect_distinct(objects_.texts.snapshot());
        }
    }
    /// At most as many as were begun, looked at afterwards.
    void expect_counted(const Count& count, const Counted& counted, std::uint64_t cell,
                        const char* what) {
        if (!count.is_whole() || count.number > counted.begun[cell].load()) {
            ledger_.tell_wrong(what, count.number);
        }
    }
    template <class T>
    void expect_distinct(const std::vector<T>& bag) {
        std::vector<bool> seen(kItemsMax);
        for (const T& entry : bag) {
            const std::optional<std::uint64_t> item = item_of(entry);
            if (!item || *item >= kItemsMax || seen[*item]) {
                ledger_.tell_wrong("a bag's snapshot: torn or twice", item.value_or(0));
                return;
            }
            seen[*item] = true;
        }
    }

    bool one_in(std::uint64_t count) { return random_() % count == 0; }

    ManagerLedger& ledger_;
    ManagerNote& note_;
    unsigned self_;
    Manager manager_;
    ManagedObjects objects_;
    std::mt19937_64 random_;
};

}  // namespace sluice::soak
