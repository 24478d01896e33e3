// Writing, moving, recovery, snapshots. Reading one element is in the header.
#include "sluice/shm/list_table.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace sluice::shm {

std::uint64_t ListTable::layout_signature() noexcept {
    std::uint64_t hash = fnv1a(
        "list: place32 tag32; size capacity pops; words, or node32 number32; nodes birth, length, "
        "value");
    hash = fnv1a(Arena::layout_signature(), hash);
    hash = fnv1a(LockWord::layout_signature(), hash);
    hash = fnv1a(sizeof(ListBlockLayout), hash);
    hash = fnv1a(offsetof(ListLayout, heap), hash);
    return fnv1a(sizeof(ListLayout), hash);
}

void ListTable::initialise(std::byte* body, const Shape& shape) noexcept {
    auto* layout = new (body) ListLayout{};
    Arena::initialise(layout->arena, shape.units_max);
    // Nobody sees it before its segment is ready: relaxed.
    layout->version.store(shape.first_number & ~1ULL, std::memory_order_relaxed);
    layout->births.store(shape.first_number, std::memory_order_relaxed);
    layout->root.store(shape.first_number & 0xffff'ffffU, std::memory_order_relaxed);
}

ListTable::ListTable(Segment& segment, const Shape& shape) noexcept
    : segment_(&segment),
      layout_(reinterpret_cast<ListLayout*>(segment.body())),
      shape_(shape.element),
      arena_(layout_->arena, segment, head_bytes(), shape.units_max),
      lock_(layout_->lock, segment.members()) {
    segment.members().set_sweeper({[](void* table, MemberId id, const DeadTenant& dead) {
                                       static_cast<ListTable*>(table)->lock_.sweep(id, dead);
                                   },
                                   this});
}

// Elements ---------------------------------------------------------------------------------------

ListTable::NodeView ListTable::view(const std::byte* node) const noexcept {
    NodeView view;
    view.value = node + shape_.header_bytes();
    view.value_bytes = shape_.element_bytes != 0 ? shape_.element_bytes : load_block_word(node + 8);
    if (view.value_bytes <= arena_.bytes_max()) {
        const std::size_t bytes = shape_.header_bytes() + round_up(view.value_bytes, 8);
        view.bytes = arena_.holds(node, bytes) ? bytes : 0;
    }
    return view;
}

std::uint64_t ListTable::make_word(const std::byte* padded, std::size_t bytes,
                                   Shortage& shortage) noexcept {
    if (shape_.is_inline) {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, padded, sizeof word);
        return word;
    }
    const std::size_t header = shape_.header_bytes();
    const std::size_t node_bytes = header + round_up(bytes, 8);
    const Granule place = heap().allocate(node_bytes, shortage);
    std::byte* node = place != 0 ? arena_.at(place, node_bytes) : nullptr;
    if (node == nullptr) {
        return 0;
    }
    // relaxed: under the lock
    const std::uint64_t seen = layout_->births.load(std::memory_order_relaxed);
    const std::uint64_t birth = seen + 1 == 0 ? 1 : seen + 1;  // no birth is 0
    layout_->births.store(birth, std::memory_order_relaxed);
    // A reader that still looks at the block's former life finds no birth, or another (I3).
    store_block_word(node, 0);
    if (shape_.element_bytes == 0) {
        store_block_word(node + 8, bytes);
    }
    store_block_words(node + header, padded, round_up(bytes, 8));
    store_block_word(node, birth);
    return (std::uint64_t{place} << 32U) | (birth & 0xffff'ffffU);
}

void ListTable::release_word(std::uint64_t word) noexcept {
    if (shape_.is_inline) {
        return;
    }
    if (const std::byte* node = node_at(word); node != nullptr) {
        if (const NodeView seen = view(node); seen.bytes != 0) {
            heap().release(static_cast<Granule>(word >> 32U), seen.bytes);
        }
    }
}

ListResult ListTable::read(std::int64_t index, std::vector<std::byte>& value,
                           std::size_t& value_bytes, std::uint64_t& size) const {
    return read_element(index, size, [&](const std::atomic<std::uint64_t>& slot) {
        const std::uint64_t word = slot.load(std::memory_order_acquire);  // A3
        const std::byte* node = node_at(word);
        if (node == nullptr) {
            return Element{word, nullptr, 0};
        }
        const std::uint64_t birth = load_block_word(node);
        const NodeView seen = view(node);
        // Before a buffer is made of the length: it may be that of no node.
        if (seen.bytes == 0 || load_block_word(node) != birth) {
            return Element{word, node, load_block_word(node) == birth ? 0 : birth};
        }
        value.resize(round_up(seen.value_bytes, 8));
        load_block_words(value.data(), seen.value, value.size());
        value_bytes = seen.value_bytes;
        return Element{word, node, birth};
    });
}

// Under the lock ---------------------------------------------------------------------------------

void ListTable::begin_change() noexcept {
    // relaxed: before R2 or R3, which a snapshot that copies the change has read
    layout_->version.store(layout_->version.load(std::memory_order_relaxed) | 1U,
                           std::memory_order_relaxed);
}

void ListTable::end_change() noexcept {
    // relaxed: only the lock's holder writes it
    layout_->version.store((layout_->version.load(std::memory_order_relaxed) + 1U) & ~1ULL,
                           std::memory_order_release);  // R4
}

ListResult ListTable::size_now(std::uint64_t& size) const noexcept {
    // relaxed, both: under the lock
    Block block;
    if (!find_block({layout_->root.load(std::memory_order_relaxed)}, block)) {
        return ListResult::damaged;
    }
    size = block.layout != nullptr ? block.layout->size.load(std::memory_order_relaxed) : 0;
    return size <= block.capacity ? ListResult::done : ListResult::damaged;
}

ListTable::ElementBytes ListTable::element_now(std::uint64_t index) const noexcept {
    Block block;
    if (!find_block({layout_->root.load(std::memory_order_relaxed)}, block) ||  // under the lock
        index >= block.capacity) {
        return {};
    }
    if (shape_.is_inline) {
        return {reinterpret_cast<const std::byte*>(&block.words[index]), shape_.element_bytes};
    }
    // relaxed: as above
    const std::byte* node = node_at(block.words[index].load(std::memory_order_relaxed));
    const NodeView seen = node != nullptr ? view(node) : NodeView{};
    return seen.bytes != 0 ? ElementBytes{seen.value, seen.value_bytes} : ElementBytes{};
}

ListResult ListTable::make_block(std::uint64_t count, Granule& place, Block& block,
                                 Shortage& shortage) noexcept {
    // As much as a block of a power of two holds.
    constexpr std::uint64_t kBytesMin = 64;
    const std::uint64_t bytes = std::max(kBytesMin, std::bit_ceil(block_bytes(count)));
    place = heap().allocate(bytes, shortage);
    if (place == 0) {
        return ListResult::full;
    }
    std::byte* memory = arena_.at(place, bytes);
    if (memory == nullptr) {
        return ListResult::damaged;
    }
    block.layout = reinterpret_cast<ListBlockLayout*>(memory);
    block.words = reinterpret_cast<Words>(memory + sizeof(ListBlockLayout));
    block.capacity = (bytes - sizeof(ListBlockLayout)) / sizeof(std::uint64_t);
    // As words of a block: readers may still look at what this memory was.
    store_block_word(memory, 0);
    store_block_word(memory + 8, block.capacity);
    store_block_word(memory + 16, 0);
    return ListResult::done;
}

void ListTable::publish(Granule place) noexcept {
    // relaxed: under the lock
    const ListRoot old{layout_->root.load(std::memory_order_relaxed)};
    begin_change();
    layout_->root.store(old.next(place).word, std::memory_order_release);  // R1
    end_change();
}

void ListTable::release_block(ListRoot root, const Block& block) noexcept {
    if (block.layout != nullptr) {
        heap().release(root.place(), block_bytes(block.capacity));
    }
}

ListResult ListTable::append(const std::byte* padded, std::size_t bytes,
                             Shortage& shortage) noexcept {
    // relaxed, here and below: under the lock
    const ListRoot root{layout_->root.load(std::memory_order_relaxed)};
    Block block;
    std::uint64_t size = 0;
    if (!find_block(root, block) || size_now(size) != ListResult::done) {
        return ListResult::damaged;
    }
    const std::uint64_t word = make_word(padded, bytes, shortage);
    if (word == 0 && !shape_.is_inline) {
        return ListResult::full;
    }
    if (size < block.capacity) [[likely]] {
        block.words[size].store(word, std::memory_order_release);  // R3
        begin_change();
        block.layout->size.store(size + 1, std::memory_order_release);  // R2
        end_change();
        return ListResult::done;
    }
    Granule place = 0;
    Block larger;
    const ListResult made = make_block(size + 1, place, larger, shortage);
    if (made != ListResult::done) {
        release_word(word);
        return made;
    }
    for (std::uint64_t at = 0; at < size; ++at) {
        larger.words[at].store(block.words[at].load(std::memory_order_relaxed),
                               std::memory_order_release);  // R3
    }
    larger.words[size].store(word, std::memory_order_release);       // R3
    larger.layout->size.store(size + 1, std::memory_order_release);  // R2
    publish(place);
    release_block(root, block);
    return ListResult::done;
}

void ListTable::pop_last() noexcept {
    // relaxed, here and below: under the lock
    const ListRoot root{layout_->root.load(std::memory_order_relaxed)};
    Block block;
    std::uint64_t size = 0;
    if (!find_block(root, block) || size_now(size) != ListResult::done || size == 0) {
        return;
    }
    const std::uint64_t word = block.words[size - 1].load(std::memory_order_relaxed);
    begin_change();
    block.layout->size.store(size - 1, std::memory_order_release);  // R2
    // Before the word is written again (I2).
    block.layout->pops.store(block.layout->pops.load(std::memory_order_relaxed) + 1,
                             std::memory_order_release);  // R5
    end_change();
    release_word(word);
    constexpr std::uint64_t kLarge = 500;
    constexpr std::uint64_t kSparse = 8;
    if (block.capacity > kLarge && kSparse * size < block.capacity) [[unlikely]] {
        Granule place = 0;
        Block smaller;
        Shortage ignored;
        if (make_block(size, place, smaller, ignored) == ListResult::done) {
            for (std::uint64_t at = 0; at + 1 < size; ++at) {
                smaller.words[at].store(block.words[at].load(std::memory_order_relaxed),
                                        std::memory_order_release);  // R3
            }
            smaller.layout->size.store(size - 1, std::memory_order_release);  // R2
            publish(place);
            release_block(root, block);
        }
    }
    trim();
}

ListResult ListTable::assign(std::uint64_t index, const std::byte* padded, std::size_t bytes,
                             Shortage& shortage) noexcept {
    // relaxed, here and below: under the lock
    Block block;
    if (!find_block({layout_->root.load(std::memory_order_relaxed)}, block) ||
        index >= block.capacity) {
        return ListResult::damaged;
    }
    const std::uint64_t old = block.words[index].load(std::memory_order_relaxed);
    const std::uint64_t word = make_word(padded, bytes, shortage);
    if (word == 0 && !shape_.is_inline) {
        return ListResult::full;
    }
    begin_change();
    block.words[index].store(word, std::memory_order_release);  // R3
    end_change();
    release_word(old);
    trim();
    return ListResult::done;
}

ListResult ListTable::replace(std::span<const Source> sources, Shortage& shortage) {
    // relaxed, here and below: under the lock
    const ListRoot root{layout_->root.load(std::memory_order_relaxed)};
    Block block;
    std::uint64_t size = 0;
    if (!find_block(root, block) || size_now(size) != ListResult::done) {
        return ListResult::damaged;
    }
    // The caller's size may be another, where something else writes to the list.
    if (std::any_of(sources.begin(), sources.end(), [size](const Source& source) {
            return source.padded == nullptr && source.index >= size;
        })) {
        return ListResult::damaged;
    }
    std::vector<bool> stays(size);
    Granule place = 0;
    Block fresh;
    if (!sources.empty()) {
        const ListResult made = make_block(sources.size(), place, fresh, shortage);
        if (made != ListResult::done) {
            return made;
        }
    }
    for (std::uint64_t at = 0; at < sources.size(); ++at) {
        const Source& source = sources[at];
        std::uint64_t word = 0;
        if (source.padded != nullptr) {
            word = make_word(source.padded, source.bytes, shortage);
        } else {
            word = block.words[source.index].load(std::memory_order_relaxed);
            stays[source.index] = true;
        }
        if (source.padded != nullptr && word == 0 && !shape_.is_inline) {
            for (std::uint64_t made = 0; made < at; ++made) {
                if (sources[made].padded != nullptr) {
                    release_word(fresh.words[made].load(std::memory_order_relaxed));
                }
            }
            heap().release(place, block_bytes(fresh.capacity));
            return ListResult::full;
        }
        fresh.words[at].store(word, std::memory_order_release);  // R3
    }
    if (fresh.layout != nullptr) {
        fresh.layout->size.store(sources.size(), std::memory_order_release);  // R2
    }
    publish(place);
    for (std::uint64_t at = 0; at < size; ++at) {
        if (!stays[at]) {
            release_word(block.words[at].load(std::memory_order_relaxed));
        }
    }
    release_block(root, block);
    trim();
    return ListResult::done;
}

ListResult ListTable::extend(std::span<const Source> sources, Shortage& shortage) {
    // relaxed, here and below: under the lock
    Block block;
    std::uint64_t size = 0;
    if (!find_block({layout_->root.load(std::memory_order_relaxed)}, block) ||
        size_now(size) != ListResult::done) {
        return ListResult::damaged;
    }
    if (size + sources.size() > block.capacity) {
        std::vector<Source> all(size);
        for (std::uint64_t at = 0; at < size; ++at) {
            all[at].index = at;
        }
        all.insert(all.end(), sources.begin(), sources.end());
        return replace(all, shortage);
    }
    for (std::uint64_t at = 0; at < sources.size(); ++at) {
        const std::uint64_t word = make_word(sources[at].padded, sources[at].bytes, shortage);
        if (word == 0 && !shape_.is_inline) {
            while (at > 0) {
                release_word(block.words[size + --at].load(std::memory_order_relaxed));
            }
            return ListResult::full;
        }
        block.words[size + at].store(word, std::memory_order_release);  // R3
    }
    if (!sources.empty()) {
        begin_change();
        block.layout->size.store(size + sources.size(), std::memory_order_release);  // R2
        end_change();
    }
    return ListResult::done;
}

// Recovery ---------------------------------------------------------------------------------------

// Frees all that the root does not reach.
ListResult ListTable::rebuild() {
    // relaxed, here and below: under the lock
    const ListRoot root{layout_->root.load(std::memory_order_relaxed)};
    Block block;
    std::uint64_t size = 0;
    if (!find_block(root, block) || size_now(size) != ListResult::done) {
        return ListResult::damaged;
    }
    std::vector<Granule> living;
    if (block.layout != nullptr) {
        living.push_back(root.place());
        for (std::uint64_t at = 0; !shape_.is_inline && at < size; ++at) {
            living.push_back(
                static_cast<Granule>(block.words[at].load(std::memory_order_relaxed) >> 32U));
        }
        std::sort(living.begin(), living.end());
    }
    heap().rebuild(living);
    return ListResult::done;
}

ListResult ListTable::recover() {
    const ListResult result = rebuild();
    if (result != ListResult::done) {
        return result;
    }
    // relaxed: under the lock
    Block block;
    if (find_block({layout_->root.load(std::memory_order_relaxed)}, block) &&
        block.layout != nullptr) {
        // He may have died between a pop and its mark.
        block.layout->pops.store(block.layout->pops.load(std::memory_order_relaxed) + 1,
                                 std::memory_order_release);  // R5
    }
    if ((layout_->version.load(std::memory_order_relaxed) & 1U) != 0) {
        end_change();
    }
    return ListResult::done;
}

void ListTable::trim() noexcept {
    if (!heap().is_worth_a_trim()) [[likely]] {
        return;
    }
    try {
        static_cast<void>(rebuild());
    } catch (const std::bad_alloc&) {  // another time
    }
}

ListResult ListTable::lock_slowly(MemberId me, Wait mode, SpinBudget& budget) {
    const LockResult locked = lock_.lock(me, mode, budget, Deadline::never(), IfAbandoned::take);
    if (locked != LockResult::done) {
        return locked == LockResult::would_deadlock ? ListResult::would_deadlock
                                                    : ListResult::damaged;
    }
    if (!lock_.is_abandoned()) [[likely]] {
        return ListResult::done;
    }
    ListResult result = ListResult::damaged;
    try {
        result = recover();
    } catch (...) {
        unlock(me);  // the mark stays: the next one mends it
        throw;
    }
    if (result == ListResult::done) {
        lock_.repair(me);
    } else {
        unlock(me);
    }
    return result;
}

bool ListTable::mend(MemberId me) {
    const LockControl seen{layout_->lock.word.load(std::memory_order_acquire)};  // A1
    if (!lock_.is_abandoned() || me == kNobody) {
        return false;
    }
    static_cast<void>(segment_->members().rescue(seen.owner()));
    SpinBudget budget;
    if (lock_.lock(me, Wait::park, budget, Deadline::passed(), IfAbandoned::take) !=
        LockResult::done) {
        return false;
    }
    bool mended = false;
    try {
        mended = !lock_.is_abandoned() || recover() == ListResult::done;
    } catch (...) {
        unlock(me);
        throw;
    }
    if (mended) {
        lock_.repair(me);
    }
    unlock(me);
    return mended;
}

// Snapshots --------------------------------------------------------------------------------------

ListTable::Copied ListTable::copy(std::vector<std::byte>& elements, std::uint64_t& count) const {
    elements.clear();
    count = 0;
    const std::uint64_t version = layout_->version.load(std::memory_order_acquire);  // A4
    if ((version & 1U) != 0) {
        return Copied::disturbed;
    }
    // What cannot be is either read beside a writer, or damaged.
    const auto is_same = [&] {
        return layout_->version.load(std::memory_order_acquire) == version;  // A4
    };
    const ListRoot root{layout_->root.load(std::memory_order_acquire)};  // A1
    Block block;
    if (!find_block(root, block)) {
        return is_same() ? Copied::damaged : Copied::disturbed;
    }
    const std::uint64_t size =
        block.layout != nullptr ? block.layout->size.load(std::memory_order_acquire) : 0;  // A2
    if (size > block.capacity) {
        return is_same() ? Copied::damaged : Copied::disturbed;
    }
    const std::uint64_t bytes_max = 2 * arena_.bytes_grown() + 2 * block_bytes(block.capacity);
    for (std::uint64_t at = 0; at < size; ++at) {
        const std::uint64_t word = block.words[at].load(std::memory_order_acquire);  // A3
        NodeView seen;
        if (!shape_.is_inline) {
            const std::byte* node = node_at(word);
            seen = node != nullptr ? view(node) : NodeView{};
        } else {
            seen = {reinterpret_cast<const std::byte*>(&word), shape_.element_bytes, sizeof word};
        }
        const std::size_t padded = round_up(seen.value_bytes, 8);
        const std::size_t to = elements.size();
        // No node is there twice: so no copy is much larger than all that there is.
        if (seen.bytes == 0 || to + 8 + padded > bytes_max) {
            return is_same() ? Copied::damaged : Copied::disturbed;
        }
        elements.resize(to + 8 + padded);
        const std::uint64_t length = seen.value_bytes;
        __builtin_memcpy(elements.data() + to, &length, sizeof length);
        if (shape_.is_inline) {
            __builtin_memcpy(elements.data() + to + 8, &word, sizeof word);
        } else {
            load_block_words(elements.data() + to + 8, seen.value, padded);
        }
        ++count;
    }
    return is_same() ? Copied::done : Copied::disturbed;
}

ListResult ListTable::snapshot(std::vector<std::byte>& elements, std::uint64_t& count,
                               MemberId (*me)(void*), void* context, Wait mode,
                               SpinBudget& budget) {
    constexpr unsigned kRoundsMax = 8;
    for (unsigned round = 0;; ++round) {
        const Copied copied = copy(elements, count);
        if (copied != Copied::disturbed) {
            return copied == Copied::done ? ListResult::done : ListResult::damaged;
        }
        if (lock_.is_abandoned()) {
            mend(segment_->members().id());
        }
        if (round >= kRoundsMax) {
            const MemberId id = me(context);
            const ListResult locked = lock(id, mode, budget);
            if (locked == ListResult::done) {
                Copied again{};
                try {
                    again = copy(elements, count);
                } catch (...) {
                    unlock(id);
                    throw;
                }
                unlock(id);
                return again == Copied::done ? ListResult::done : ListResult::damaged;
            }
            // This thread changes an element just now, so nobody else writes; and it is not in the
            // middle of a commit: what it finds changing is damage.
            return locked == ListResult::would_deadlock ? ListResult::damaged : locked;
        }
        spin_pause();
    }
}

}  // namespace sluice::shm
