// A bare dictionary and a bare list in segments of their own, with numbers as keys and values, and
// an audit of all their memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sluice/shm/dict_table.hpp"
#include "sluice/shm/list_table.hpp"
#include "support/words.hpp"

namespace sluice::test {

/// Adds up what the units of an arena hold: every block must be either reachable or in one list.
class Audit {
 public:
    Audit(shm::Segment& segment, std::size_t head_bytes, const shm::ArenaLayout& arena)
        : units_(reinterpret_cast<std::uint64_t*>(segment.body() +
                                                  shm::round_up(head_bytes, shm::kPageBytesMin))),
          data_(segment.body() + shm::round_up(head_bytes, shm::kPageBytesMin) +
                shm::round_up(arena.units_max * sizeof(std::uint64_t), shm::kPageBytesMin)),
          grown_(arena.grown.load()) {}

    /// Of one heap; "" when all is as it should be.
    std::string of(const shm::HeapLayout& heap, std::uint32_t index,
                   std::set<shm::Granule> reachable) const {
        std::set<shm::Granule> free;
        std::uint64_t free_bytes = 0;
        for (std::uint32_t kind = 0; kind < shm::SizeClass::kCount; ++kind) {
            for (shm::Granule at = heap.free[kind].load(); at != 0;
                 at = static_cast<shm::Granule>(word(at, 1))) {
                if (!free.insert(at).second || reachable.contains(at)) {
                    return "a block is in use and free, or free twice";
                }
                free_bytes += shm::SizeClass::bytes(kind);
            }
        }
        if (free_bytes != heap.free_bytes.load()) {
            return "the count of free bytes is wrong";
        }
        std::uint64_t held = 0;
        for (std::uint64_t at = 1; at < grown_;) {
            const shm::UnitWord unit{units_[at]};
            if (!unit.is_of(index)) {
                ++at;
                continue;
            }
            const auto start = static_cast<shm::Granule>(at * shm::kUnitGranules);
            if (unit.kind() == shm::UnitWord::kRun) {
                if (reachable.erase(start) == 0) {
                    return "a run is leaked";
                }
            } else if (unit.kind() >= shm::SizeClass::kCount) {
                return "a unit is leaked";
            } else {
                const std::size_t bytes = shm::SizeClass::bytes(unit.kind());
                const std::size_t count = unit.units() * shm::kUnitBytes / bytes;
                for (std::size_t block = 0; block < count; ++block) {
                    const auto place =
                        static_cast<shm::Granule>(start + block * bytes / shm::kGranuleBytes);
                    if (reachable.erase(place) + free.erase(place) != 1) {
                        return "a block is leaked";
                    }
                }
            }
            held += unit.units() * shm::kUnitBytes;
            at += unit.units();
        }
        if (held != heap.held_bytes.load()) {
            return "the count of held bytes is wrong";
        }
        return reachable.empty() && free.empty() ? "" : "a block lies in no unit of its heap";
    }

    std::uint64_t word(shm::Granule place, std::size_t index) const {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, data_ + std::size_t{place} * shm::kGranuleBytes + 8 * index, 8);
        return word;
    }
    /// Torn states are written by hand.
    void store(shm::Granule place, std::size_t index, std::uint64_t word) const {
        __builtin_memcpy(data_ + std::size_t{place} * shm::kGranuleBytes + 8 * index, &word, 8);
    }
    std::uint64_t& unit(std::uint64_t index) const { return units_[index]; }
    /// Units that any heap has.
    std::uint64_t units_in_use() const {
        std::uint64_t count = 0;
        for (std::uint64_t at = 1; at < grown_; ++at) {
            count += units_[at] != 0 ? 1U : 0U;
        }
        return count;
    }

 private:
    std::uint64_t* units_;
    std::byte* data_;
    std::uint64_t grown_;
};

/// Keys are numbers; a value is its number twice, so that a mixture is seen.
class Dict {
 public:
    static constexpr std::uint64_t kTorn = ~0ULL;
    using Model = std::map<std::uint64_t, std::uint64_t>;

    explicit Dict(std::uint32_t stripes = 2, std::uint64_t first_number = 0,
                  std::uint64_t units_max = 40, std::uint32_t members = 32)
        : shape_{{8, 16}, stripes, units_max, 12345, first_number} {
        shm::SegmentSpec spec;
        spec.kind = shm::SegmentKind::dict;
        spec.capacity = stripes;
        spec.member_capacity = members;
        spec.body_bytes = shm::round_up(shm::DictTable::head_bytes(stripes), shm::kPageBytesMin);
        spec.body_alignment = shm::kPageBytesMin;
        spec.room_bytes = shm::Arena::room_bytes(units_max);
        shm::Failure failure;
        segment_ = shm::Segment::create("", spec, {}, 0600, failure, [&](shm::Segment& made) {
            shm::DictTable::initialise(made.body(), shape_);
        });
        if (!segment_) {
            throw std::runtime_error(failure.text);
        }
        table_ = std::make_unique<shm::DictTable>(*segment_, shape_);
    }

    shm::DictTable& operator*() noexcept { return *table_; }
    shm::DictTable* operator->() noexcept { return table_.get(); }
    shm::Segment& segment() noexcept { return *segment_; }
    shm::Members& members() noexcept { return segment_->members(); }
    shm::MemberId me() noexcept { return members().id(); }
    shm::DictLayout& layout() noexcept { return table_->layout(); }

    std::uint64_t hash(std::uint64_t key) const {
        return table_->hash_of<8>(reinterpret_cast<const std::byte*>(&key));
    }
    std::uint32_t stripe_of(std::uint64_t key) const { return table_->stripe_of(hash(key)); }
    /// The number-th key, from 0, that falls into that stripe.
    std::uint64_t key_in(std::uint32_t stripe, unsigned number) const {
        for (std::uint64_t key = 1;; ++key) {
            if (stripe_of(key) == stripe && number-- == 0) {
                return key;
            }
        }
    }

    /// The value; nothing: it is missing; kTorn: a mixture.
    std::optional<std::uint64_t> get(std::uint64_t key) const {
        Value value{};
        const shm::DictResult result =
            table_->read<8, 16>(hash(key), reinterpret_cast<const std::byte*>(&key),
                                reinterpret_cast<std::byte*>(value.data()));
        if (result == shm::DictResult::missing) {
            return std::nullopt;
        }
        return result == shm::DictResult::done && value[0] == value[1] ? value[0] : kTorn;
    }

    /// Under the lock of the key's stripe.
    class Turn {
     public:
        Turn(Dict& dict, std::uint64_t key) : dict_(dict), key_(key), hash_(dict.hash(key)) {
            shm::SpinBudget budget;
            result = dict.table_->lock(dict.stripe_of(key), dict.me(), shm::Wait::park, budget);
            if (result == shm::DictResult::done) {
                holds_ = true;
                result = dict.table_->find(hash_, padded(&key_, 8), place);
            }
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() {
            if (holds_) {
                dict_.table_->unlock(dict_.stripe_of(key_), dict_.me());
            }
        }
        shm::DictResult put(std::uint64_t number) {
            const Value value{number, number};
            shm::Shortage shortage;
            return dict_.table_->put(hash_, padded(&key_, 8), padded(value.data(), 16), place,
                                     shortage);
        }
        void erase() { dict_.table_->erase(hash_, place); }
        std::uint64_t value() const {
            std::uint64_t number = 0;
            __builtin_memcpy(&number, place.value.data, sizeof number);
            return number;
        }
        bool found() const { return result == shm::DictResult::done; }

        shm::DictResult result{};
        shm::DictTable::Place place{};

     private:
        Dict& dict_;
        std::uint64_t key_;
        std::uint64_t hash_;
        bool holds_{};
    };

    shm::DictResult set(std::uint64_t key, std::uint64_t number) {
        Turn turn(*this, key);
        return turn.result == shm::DictResult::damaged ? turn.result : turn.put(number);
    }
    bool add(std::uint64_t key, std::uint64_t number) {
        Turn turn(*this, key);
        return turn.found() && turn.put(turn.value() + number) == shm::DictResult::done;
    }
    bool erase(std::uint64_t key) {
        Turn turn(*this, key);
        if (turn.found()) {
            turn.erase();
        }
        return turn.found();
    }
    shm::DictResult step(shm::DictTable::StepKind kind, const Model& changes) {
        std::vector<std::pair<std::uint64_t, Value>> kept;
        for (const auto& [key, number] : changes) {
            kept.emplace_back(key, Value{number, number});
        }
        std::vector<shm::DictChange> list;
        for (auto& [key, value] : kept) {
            list.push_back({hash(key), padded(&key, 8), padded(value.data(), 16)});
        }
        std::sort(list.begin(), list.end(), [&](const auto& one, const auto& other) {
            return table_->stripe_of(one.hash) < table_->stripe_of(other.hash);
        });
        shm::SpinBudget budget;
        shm::Shortage shortage;
        return table_->step(kind, list, me(), shm::Wait::park, budget, shortage);
    }
    /// All entries at one instant; throws where it is no table.
    Model snapshot() {
        std::vector<shm::StripeCopy> copies;
        shm::SpinBudget budget;
        const auto id = [](void* dict) { return static_cast<Dict*>(dict)->me(); };
        if (table_->snapshot(shm::DictTable::CopyWhat::items, copies, id, this, shm::Wait::park,
                             budget) != shm::DictResult::done) {
            throw std::runtime_error("a snapshot found the table damaged");
        }
        Model model;
        for (const shm::StripeCopy& copy : copies) {
            for (std::uint64_t entry = 0; entry < copy.entries; ++entry) {
                std::uint64_t words[5];
                __builtin_memcpy(words, copy.bytes.data() + entry * sizeof words, sizeof words);
                if (!model.emplace(words[2], words[3] == words[4] ? words[3] : kTorn).second) {
                    throw std::runtime_error("a key is there twice");
                }
            }
        }
        return model;
    }

    /// Nobody may write meanwhile. Every stripe is locked once first, which mends it.
    std::string audit() {
        shm::SpinBudget budget;
        const Audit audit(*segment_, shm::DictTable::head_bytes(shape_.stripes), layout().arena);
        for (std::uint32_t index = 0; index < shape_.stripes; ++index) {
            if (table_->lock(index, me(), shm::Wait::park, budget) != shm::DictResult::done) {
                return "a stripe cannot be locked";
            }
            table_->unlock(index, me());
            shm::DictStripeLayout& stripe = table_->stripe(index);
            const shm::DictTableWord table{stripe.table.load()};
            std::set<shm::Granule> reachable;
            std::uint32_t live = 0;
            std::uint32_t used = 0;
            if (table.has_links()) {
                reachable.insert(table.place());
                for (std::uint64_t at = 0; at < table.count(); ++at) {
                    const shm::DictLink link{audit.word(table.place(), at)};
                    used += link.is_empty() ? 0U : 1U;
                    if (link.node() != 0) {
                        ++live;
                        if (!reachable.insert(link.node()).second) {
                            return "two links lead to one node";
                        }
                    }
                }
            }
            if (live != stripe.live.load() || used != stripe.used.load()) {
                return "the counts of a stripe are wrong";
            }
            if ((stripe.version.load() & 1U) != 0 || stripe.pending.load() != 0) {
                return "a stripe is in the middle of a change";
            }
            const std::string found = audit.of(stripe.heap, index, std::move(reachable));
            if (!found.empty()) {
                return found;
            }
        }
        return "";
    }

 private:
    using Value = std::array<std::uint64_t, 2>;
    static shm::PaddedBytes padded(const std::uint64_t* words, std::size_t bytes) {
        return {reinterpret_cast<const std::byte*>(words), bytes};
    }

    shm::DictTable::Shape shape_;
    std::shared_ptr<shm::Segment> segment_{};
    std::unique_ptr<shm::DictTable> table_{};
};

/// As step() begins.
inline shm::LockResult lock_steps(Dict& dict, shm::SpinBudget& budget) {
    shm::LockWord lock(dict.layout().steps, dict.members());
    return lock.lock(dict.me(), shm::Wait::park, budget, shm::Deadline::never(),
                     shm::IfAbandoned::take);
}

/// A list of numbers: each is in its word, or (kWords > 1) a node of kWords words, all the same.
template <std::size_t kWords>
class List {
 public:
    static constexpr std::uint64_t kTorn = ~0ULL;
    static constexpr std::size_t kBytes = 8 * kWords;
    using Model = std::vector<std::uint64_t>;

    explicit List(std::uint64_t first_number = 0, std::uint64_t units_max = 40,
                  std::uint32_t members = 32)
        : shape_{{kBytes, kWords == 1}, units_max, first_number} {
        shm::SegmentSpec spec;
        spec.kind = shm::SegmentKind::list;
        spec.capacity = 1;
        spec.member_capacity = members;
        spec.body_bytes = shm::round_up(shm::ListTable::head_bytes(), shm::kPageBytesMin);
        spec.body_alignment = shm::kPageBytesMin;
        spec.room_bytes = shm::Arena::room_bytes(units_max);
        shm::Failure failure;
        segment_ = shm::Segment::create("", spec, {}, 0600, failure, [&](shm::Segment& made) {
            shm::ListTable::initialise(made.body(), shape_);
        });
        if (!segment_) {
            throw std::runtime_error(failure.text);
        }
        table_ = std::make_unique<shm::ListTable>(*segment_, shape_);
    }

    shm::ListTable& operator*() noexcept { return *table_; }
    shm::ListTable* operator->() noexcept { return table_.get(); }
    shm::Segment& segment() noexcept { return *segment_; }
    shm::Members& members() noexcept { return segment_->members(); }
    shm::MemberId me() noexcept { return members().id(); }
    shm::ListLayout& layout() noexcept { return table_->layout(); }

    /// The element; nothing: there is none; kTorn: a mixture.
    std::optional<std::uint64_t> get(std::int64_t index) const {
        Value value{};
        std::uint64_t size = 0;
        const shm::ListResult result = table_->read<kBytes, kWords == 1>(
            index, reinterpret_cast<std::byte*>(value.data()), size);
        if (result == shm::ListResult::outside) {
            return std::nullopt;
        }
        return result == shm::ListResult::done ? number_of(value) : kTorn;
    }

    /// The list's lock, for the scope.
    class Turn {
     public:
        explicit Turn(List& list) : list_(list) {
            shm::SpinBudget budget;
            result = list.table_->lock(list.me(), shm::Wait::park, budget);
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() {
            if (result == shm::ListResult::done) {
                list_.table_->unlock(list_.me());
            }
        }
        shm::ListResult result{};

     private:
        List& list_;
    };

    bool append(std::uint64_t number) {
        const Turn turn(*this);
        const Value value = value_of(number);
        shm::Shortage shortage;
        return turn.result == shm::ListResult::done &&
               table_->append(bytes_of(value), kBytes, shortage) == shm::ListResult::done;
    }
    void pop() {
        const Turn turn(*this);
        table_->pop_last();
    }
    bool add(std::uint64_t index, std::uint64_t number) {
        const Turn turn(*this);
        const auto element = table_->element_now(index);
        std::uint64_t now = 0;
        __builtin_memcpy(&now, element.data, sizeof now);
        const Value value = value_of(now + number);
        shm::Shortage shortage;
        return table_->assign(index, bytes_of(value), kBytes, shortage) == shm::ListResult::done;
    }
    /// Those at `indices`, in that order, then `fresh`.
    bool replace(const std::vector<std::uint64_t>& indices, const Model& fresh) {
        const Turn turn(*this);
        std::vector<Value> values;
        for (const std::uint64_t number : fresh) {
            values.push_back(value_of(number));
        }
        std::vector<shm::ListTable::Source> sources;
        for (const std::uint64_t index : indices) {
            sources.emplace_back().index = index;
        }
        for (const Value& value : values) {
            sources.push_back({0, bytes_of(value), kBytes});
        }
        shm::Shortage shortage;
        return table_->replace(sources, shortage) == shm::ListResult::done;
    }
    bool extend(const Model& fresh) {
        const Turn turn(*this);
        std::vector<Value> values;
        for (const std::uint64_t number : fresh) {
            values.push_back(value_of(number));
        }
        std::vector<shm::ListTable::Source> sources;
        for (const Value& value : values) {
            sources.push_back({0, bytes_of(value), kBytes});
        }
        shm::Shortage shortage;
        return table_->extend(sources, shortage) == shm::ListResult::done;
    }
    /// All elements at one instant; throws where it is no list.
    Model snapshot() {
        std::vector<std::byte> elements;
        std::uint64_t count = 0;
        shm::SpinBudget budget;
        const auto id = [](void* list) { return static_cast<List*>(list)->me(); };
        if (table_->snapshot(elements, count, id, this, shm::Wait::park, budget) !=
            shm::ListResult::done) {
            throw std::runtime_error("a snapshot found the list damaged");
        }
        Model model;
        for (std::uint64_t element = 0; element < count; ++element) {
            Value value{};
            __builtin_memcpy(value.data(), elements.data() + element * (8 + kBytes) + 8, kBytes);
            model.push_back(number_of(value));
        }
        return model;
    }

    /// Nobody may write meanwhile. The list is locked once first, which mends it.
    std::string audit() {
        if (const Turn turn(*this); turn.result != shm::ListResult::done) {
            return "the list cannot be locked";
        }
        const Audit audit(*segment_, shm::ListTable::head_bytes(), layout().arena);
        const shm::ListRoot root{layout().root.load()};
        std::set<shm::Granule> reachable;
        if (root.place() != 0) {
            reachable.insert(root.place());
            const std::uint64_t size = audit.word(root.place(), 0);
            for (std::uint64_t at = 0; kWords > 1 && at < size; ++at) {
                const auto node =
                    static_cast<shm::Granule>(audit.word(root.place(), 4 + at) >> 32U);
                if (!reachable.insert(node).second) {
                    return "two words lead to one node";
                }
            }
        }
        if ((layout().version.load() & 1U) != 0) {
            return "the list is in the middle of a change";
        }
        return audit.of(layout().heap, 0, std::move(reachable));
    }

 private:
    using Value = std::array<std::uint64_t, kWords>;
    static Value value_of(std::uint64_t number) {
        Value value;
        value.fill(number);
        return value;
    }
    static std::uint64_t number_of(const Value& value) {
        for (const std::uint64_t word : value) {
            if (word != value[0]) {
                return kTorn;
            }
        }
        return value[0];
    }
    static const std::byte* bytes_of(const Value& value) {
        return reinterpret_cast<const std::byte*>(value.data());
    }

    shm::ListTable::Shape shape_;
    std::shared_ptr<shm::Segment> segment_{};
    std::unique_ptr<shm::ListTable> table_{};
};

}  // namespace sluice::test
