// Taking units, giving them back, growing; making a heap's free lists anew.
#include "sluice/shm/arena.hpp"

#include <algorithm>

namespace sluice::shm {

std::uint64_t Arena::layout_signature() noexcept {
    std::uint64_t hash = fnv1a("arena: units of 4096; run32 heap16 kind8; unit 0 is nobody's");
    hash = fnv1a(sizeof(ArenaLayout), hash);
    hash = fnv1a(sizeof(HeapLayout), hash);
    return fnv1a(SizeClass::kCount, hash);
}

namespace {

std::size_t table_bytes(std::uint64_t units_max) noexcept {
    return round_up(units_max * sizeof(std::uint64_t), kPageBytesMin);
}

}  // namespace

std::size_t Arena::room_bytes(std::uint64_t units_max) noexcept {
    return table_bytes(units_max) + units_max * kUnitBytes;
}

void Arena::initialise(ArenaLayout& layout, std::uint64_t units_max) noexcept {
    layout.units_max = units_max;
}

std::uint64_t Arena::checked_units_max(const ArenaLayout& layout, const Segment& segment,
                                       std::size_t head_bytes) noexcept {
    // Once, and the compiler must not look again: what is shared is input. relaxed: a constant
    const std::uint64_t units_max =
        reinterpret_cast<const std::atomic<std::uint64_t>&>(layout.units_max)
            .load(std::memory_order_relaxed);
    const std::size_t head = round_up(head_bytes, kPageBytesMin);
    return units_max > 1 && units_max <= kUnitsMax &&
                   head + room_bytes(units_max) <= segment.body_bytes()
               ? units_max
               : 0;
}

Arena::Arena(ArenaLayout& layout, const Segment& segment, std::size_t head_bytes,
             std::uint64_t units_max) noexcept
    : layout_(&layout),
      segment_(&segment),
      table_offset_(static_cast<std::size_t>(segment.body() - segment.mapping().data()) +
                    round_up(head_bytes, kPageBytesMin)),
      units_(reinterpret_cast<Word*>(segment.mapping().data() + table_offset_)),
      data_offset_(table_offset_ + table_bytes(units_max)),
      data_(segment.mapping().data() + data_offset_),
      units_max_(units_max) {}

std::uint64_t Arena::learn_bytes() const noexcept {
    const std::uint64_t bytes = grown() * kUnitBytes;
    known_bytes_.store(bytes, std::memory_order_relaxed);  // this process's own note
    return bytes;
}

std::uint64_t Arena::bytes_in_use() const noexcept {
    std::uint64_t units = 0;
    for (std::uint64_t at = 1; at < grown(); ++at) {
        units += unit(at).load(std::memory_order_relaxed) != 0 ? 1U : 0U;  // for people
    }
    return units * kUnitBytes;
}

bool Arena::grow(std::uint64_t seen, std::uint64_t count, Shortage& shortage) noexcept {
    constexpr std::uint64_t kStepMin = 16;
    constexpr std::uint64_t kStepMax = 4096;
    if (seen + count > units_max_) {
        return false;
    }
    // Several may do this at once, or again after a death: what is allocated stays so.
    const auto allocate = [&](std::uint64_t step) {
        const std::size_t table = table_offset_ + seen * sizeof(std::uint64_t);
        const int error = segment_->mapping().allocate_pages(table, step * sizeof(std::uint64_t));
        return error != 0 ? error
                          : segment_->mapping().allocate_pages(data_offset_ + seen * kUnitBytes,
                                                               step * kUnitBytes);
    };
    const std::uint64_t needed = std::min(count + 1, units_max_ - seen);
    std::uint64_t step =
        std::min(std::max(std::clamp(seen, kStepMin, kStepMax), needed), units_max_ - seen);
    int error = allocate(step);
    if (error != 0 && step > needed) {
        step = needed;  // where the file system is nearly full
        error = allocate(step);
    }
    if (error != 0) {
        shortage.error = error;
        return false;
    }
    std::uint64_t expected = seen;
    layout_->grown.compare_exchange_strong(expected, seen + step, std::memory_order_acq_rel,
                                           std::memory_order_relaxed);  // R2
    return true;
}

std::uint64_t Arena::claim_between(std::uint64_t first, std::uint64_t last, std::uint32_t heap,
                                   std::uint64_t count) noexcept {
    const std::uint64_t mine = UnitWord::make(heap, UnitWord::kPart, 0).word;
    std::uint64_t claimed = 0;
    for (std::uint64_t at = std::max<std::uint64_t>(first, 1); at < last; ++at) {
        std::uint64_t free = 0;
        // relaxed: checked by the exchange
        if (unit(at).load(std::memory_order_relaxed) == 0 &&
            unit(at).compare_exchange_strong(free, mine, std::memory_order_acquire,
                                             std::memory_order_relaxed)) {  // A1
            if (++claimed == count) {
                return at + 1 - count;
            }
        } else if (claimed != 0) {
            give_back(at - claimed, claimed);
            claimed = 0;
        }
    }
    if (claimed != 0) {
        give_back(last - claimed, claimed);
    }
    return 0;
}

std::uint64_t Arena::claim(std::uint32_t heap, std::uint64_t count, Shortage& shortage) noexcept {
    for (;;) {
        const std::uint64_t grown = this->grown();
        // relaxed: a hint. What lies before it was mostly taken; it is looked at before growing.
        const std::uint64_t next = std::min(layout_->next.load(std::memory_order_relaxed), grown);
        std::uint64_t first = claim_between(next, grown, heap, count);
        if (first == 0 && next > 1) {
            first = claim_between(1, grown, heap, count);
        }
        if (first != 0) {
            if (count == 1) {
                layout_->next.store(first + 1, std::memory_order_relaxed);  // a hint
            }
            return first;
        }
        if (!grow(grown, count, shortage)) {
            return 0;
        }
    }
}

void Arena::give_back(std::uint64_t first, std::uint64_t count) noexcept {
    for (std::uint64_t at = first; at < first + count; ++at) {
        unit(at).store(0, std::memory_order_release);  // R1
    }
    // relaxed: a hint
    if (first < layout_->next.load(std::memory_order_relaxed)) {
        layout_->next.store(first, std::memory_order_relaxed);
    }
}

Granule Heap::allocate_slowly(std::size_t bytes, Shortage& shortage) noexcept {
    const bool is_run = bytes > SizeClass::kBytesMax;
    const std::uint32_t index = is_run ? UnitWord::kRun : SizeClass::of(bytes);
    const std::uint64_t count =
        is_run ? (bytes + kUnitBytes - 1) / kUnitBytes : SizeClass::chunk_units(index);
    shortage = {bytes, 0};
    if (count >= arena_->units_max_) {
        return 0;
    }
    const std::uint64_t first = arena_->claim(index_, count, shortage);
    if (first == 0) {
        return 0;
    }
    // Now it is a chunk; until here its units were parts of nothing. relaxed: I2
    arena_->unit(first).store(UnitWord::make(index_, index, count).word, std::memory_order_relaxed);
    add_held(count * kUnitBytes);
    const auto start = static_cast<Granule>(first * kUnitGranules);
    if (is_run) {
        return start;
    }
    // The last first, so that they are handed out from the front.
    const std::size_t block_bytes = SizeClass::bytes(index);
    for (std::size_t block = count * kUnitBytes / block_bytes - 1; block > 0; --block) {
        const auto place = static_cast<Granule>(start + block * block_bytes / kGranuleBytes);
        if (std::byte* memory = arena_->at(place, block_bytes); memory != nullptr) {
            push(index, place, memory);
        }
    }
    return start;
}

void Heap::release_run(Granule block) noexcept {
    const std::uint64_t first = block / kUnitGranules;
    if (first == 0 || first >= arena_->grown()) {
        return;
    }
    const UnitWord head{arena_->unit(first).load(std::memory_order_relaxed)};  // I2
    if (head.is_of(index_) && head.kind() == UnitWord::kRun) {
        free_units(first, head.units());
    }
}

void Heap::free_units(std::uint64_t first, std::uint64_t count) noexcept {
    const std::uint64_t grown = arena_->grown();
    count = std::min(count, grown - first);
    // The head first: of what is half given back only parts are left. relaxed: I2
    arena_->unit(first).store(UnitWord::make(index_, UnitWord::kPart, 0).word,
                              std::memory_order_relaxed);
    arena_->give_back(first, count);
    add_held(0 - count * kUnitBytes);
}

void Heap::rebuild(std::span<const Granule> living) noexcept {
    // relaxed, all of it: under the lock (I2)
    for (auto& list : layout_->free) {
        list.store(0, std::memory_order_relaxed);
    }
    layout_->free_bytes.store(0, std::memory_order_relaxed);
    std::uint64_t held = 0;
    const std::uint64_t grown = arena_->grown();
    auto alive = living.begin();
    for (std::uint64_t at = 1; at < grown;) {
        const UnitWord head{arena_->unit(at).load(std::memory_order_relaxed)};
        if (!head.is_of(index_)) {
            ++at;
            continue;
        }
        const bool is_run = head.kind() == UnitWord::kRun;
        const bool is_chunk = head.kind() < SizeClass::kCount;
        const std::uint64_t count = is_run || is_chunk ? head.units() : 1;
        const auto begin = static_cast<Granule>(at * kUnitGranules);
        const std::uint64_t end = std::uint64_t{begin} + count * kUnitGranules;
        while (alive != living.end() && *alive < begin) {
            ++alive;
        }
        if (count == 0 || count > grown - at || alive == living.end() || *alive >= end ||
            !(is_run || is_chunk)) {
            free_units(at, count == 0 || count > grown - at ? 1 : count);
            at += count == 0 || count > grown - at ? 1 : count;
            continue;
        }
        held += count * kUnitBytes;
        const std::size_t block_bytes =
            is_chunk ? SizeClass::bytes(head.kind()) : count * kUnitBytes;
        for (std::size_t block = 0; is_chunk && block < count * kUnitBytes / block_bytes; ++block) {
            const auto place = static_cast<Granule>(begin + block * block_bytes / kGranuleBytes);
            while (alive != living.end() && *alive < place) {
                ++alive;
            }
            if (alive != living.end() && *alive == place) {
                continue;
            }
            if (std::byte* memory = arena_->at(place, block_bytes); memory != nullptr) {
                push(head.kind(), place, memory);
            }
        }
        at += count;
    }
    layout_->held_bytes.store(held, std::memory_order_relaxed);
    // What is scattered stays so: not again before twice as much is free.
    layout_->trim_at.store(2 * layout_->free_bytes.load(std::memory_order_relaxed),
                           std::memory_order_relaxed);
}

}  // namespace sluice::shm
