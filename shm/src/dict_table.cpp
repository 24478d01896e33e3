// Writing, growing, recovery, steps, snapshots. Reading is in the header.
#include "sluice/shm/dict_table.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <type_traits>

namespace sluice::shm {

static_assert(std::is_trivially_destructible_v<LockWord>);

std::uint64_t DictTable::layout_signature() noexcept {
    std::uint64_t hash = fnv1a(
        "dict: node32 hash32; place32 log2:6 tag26; nodes birth, lengths32+32, key, value; wyhash");
    hash = fnv1a(Arena::layout_signature(), hash);
    hash = fnv1a(LockWord::layout_signature(), hash);
    hash = fnv1a(sizeof(DictStripeLayout), hash);
    hash = fnv1a(offsetof(DictStripeLayout, heap), hash);
    return fnv1a(sizeof(DictLayout), hash);
}

void DictTable::initialise(std::byte* body, const Shape& shape) noexcept {
    auto* layout = new (body) DictLayout{};
    Arena::initialise(layout->arena, shape.units_max);
    // Nobody sees it before its segment is ready: relaxed.
    for (auto* number : {&layout->committed, &layout->applied, &layout->begun}) {
        number->store(shape.first_number, std::memory_order_relaxed);
    }
    auto* stripes = reinterpret_cast<DictStripeLayout*>(body + sizeof(DictLayout));
    for (std::uint32_t index = 0; index < shape.stripes; ++index) {
        auto* stripe = new (stripes + index) DictStripeLayout{};
        stripe->version.store(shape.first_number & ~1ULL, std::memory_order_relaxed);
        stripe->births.store(shape.first_number, std::memory_order_relaxed);
        stripe->table.store(shape.first_number & 0x3ff'ffffU, std::memory_order_relaxed);
    }
}

DictTable::DictTable(Segment& segment, const Shape& shape)
    : segment_(&segment),
      layout_(reinterpret_cast<DictLayout*>(segment.body())),
      stripes_(reinterpret_cast<DictStripeLayout*>(segment.body() + sizeof(DictLayout))),
      stripes_count_(shape.stripes),
      seed_(shape.seed),
      shape_(shape.node),
      arena_(layout_->arena, segment, head_bytes(shape.stripes), shape.units_max),
      lock_memory_(new std::byte[shape.stripes * sizeof(LockWord)]),
      locks_(reinterpret_cast<LockWord*>(lock_memory_.get())),
      steps_lock_(layout_->steps, segment.members()) {
    for (std::uint32_t index = 0; index < shape.stripes; ++index) {
        new (lock_memory_.get() + index * sizeof(LockWord))
            LockWord(stripes_[index].lock, segment.members());
    }
    segment.members().set_sweeper({[](void* table, MemberId id, const DeadTenant& dead) {
                                       static_cast<DictTable*>(table)->sweep(id, dead);
                                   },
                                   this});
}

// What the dead held is only unlocked here, and marked: who locks it next mends it.
void DictTable::sweep(MemberId id, const DeadTenant& dead) noexcept {
    steps_lock_.sweep(id, dead);
    for (std::uint32_t index = 0; index < stripes_count_; ++index) {
        // Most were neither the dead one's, nor does anybody sleep there who must hear of it.
        // acquire, as in LockWord::sweep(): before the question whether the id is still his. A1
        const LockWordLayout& lock = stripes_[index].lock;
        const bool is_his =
            LockControl{lock.word.load(std::memory_order_acquire)}.owner() == id ||
            static_cast<MemberId>(lock.heir.load(std::memory_order_acquire)) == id;  // A2
        if (is_his || lock.sleepers.has_sleepers()) {
            locks_[index].sweep(id, dead);
        }
    }
}

// Nodes ------------------------------------------------------------------------------------------

DictTable::NodeView DictTable::view(const std::byte* node) const noexcept {
    NodeView view;
    const std::byte* key = node + shape_.header_bytes();
    std::size_t key_bytes = shape_.key_bytes;
    std::size_t value_bytes = shape_.value_bytes;
    if (!shape_.is_fixed()) {
        const std::uint64_t lengths = load_block_word(node + 8);
        key_bytes = lengths & 0xffff'ffffU;
        value_bytes = lengths >> 32U;
    }
    view.key = {key, key_bytes};
    view.value = {key + view.key.padded(), value_bytes};
    const std::size_t bytes = shape_.header_bytes() + view.key.padded() + view.value.padded();
    const bool fits = (shape_.key_bytes == 0 || shape_.key_bytes == key_bytes) &&
                      (shape_.value_bytes == 0 || shape_.value_bytes == value_bytes);
    view.bytes = fits && arena_.holds(node, bytes) ? bytes : 0;
    return view;
}

Granule DictTable::make_node(std::uint32_t stripe, PaddedBytes key, PaddedBytes value,
                             Shortage& shortage) noexcept {
    const std::size_t header = shape_.header_bytes();
    const std::size_t bytes = header + key.padded() + value.padded();
    constexpr std::size_t kLengthMax = 0xffff'fff8U;
    if (key.bytes > kLengthMax || value.bytes > kLengthMax) {
        shortage = {bytes, 0};
        return 0;
    }
    const Granule place = heap_of(stripe).allocate(bytes, shortage);
    std::byte* node = place != 0 ? arena_.at(place, bytes) : nullptr;
    if (node == nullptr) {
        return 0;
    }
    constexpr std::uint64_t kStripeBits = 8;
    // relaxed: under the lock
    const std::uint64_t seen = stripes_[stripe].births.load(std::memory_order_relaxed);
    std::uint64_t number = seen + 1;
    if ((number << kStripeBits) == 0) {
        number = seen + 2;  // no birth is 0
    }
    stripes_[stripe].births.store(number, std::memory_order_relaxed);  // as above
    // A reader that still looks at the block's former life finds no birth, or another (I2).
    store_block_word(node, 0);
    if (!shape_.is_fixed()) {
        store_block_word(node + 8, key.bytes | (std::uint64_t{value.bytes} << 32U));
    }
    store_block_words(node + header, key.data, key.padded());
    store_block_words(node + header + key.padded(), value.data, value.padded());
    store_block_word(node, (number << kStripeBits) | stripe);
    return place;
}

void DictTable::release_node(std::uint32_t stripe, Granule node) noexcept {
    if (const std::byte* memory = node_at(node); memory != nullptr) {
        if (const NodeView seen = view(memory); seen.bytes != 0) {
            heap_of(stripe).release(node, seen.bytes);
        }
    }
}

void DictTable::release_table(std::uint32_t stripe, DictTableWord table) noexcept {
    if (table.has_links() && table.log2() <= DictTableWord::kLog2Max) {
        heap_of(stripe).release(table.place(), table.bytes());
    }
}

DictResult DictTable::read(std::uint64_t hash, PaddedBytes key, std::vector<std::byte>* value,
                           std::size_t* value_bytes) const {
    return search(
        hash,
        [&](const std::byte* node) {
            const std::uint64_t birth = load_block_word(node);
            const NodeView seen = view(node);
            if (seen.bytes == 0 || seen.key.bytes != key.bytes ||
                !equals_block_words(seen.key.data, key.data, key.padded())) {
                return false;
            }
            // Before a buffer is made of the length: it may be that of no node.
            if (value != nullptr && load_block_word(node) == birth) {
                value->resize(seen.value.padded());
                load_block_words(value->data(), seen.value.data, seen.value.padded());
                *value_bytes = seen.value.bytes;
            }
            return true;
        },
        shape_.least());
}

// Under a stripe's lock --------------------------------------------------------------------------

void DictTable::begin_change(DictStripeLayout& stripe) noexcept {
    // relaxed: before R2, which a snapshot that copies the change has read
    stripe.version.store(stripe.version.load(std::memory_order_relaxed) | 1U,
                         std::memory_order_relaxed);
}

void DictTable::end_change(DictStripeLayout& stripe) noexcept {
    // relaxed: only the lock's holder writes it
    stripe.version.store((stripe.version.load(std::memory_order_relaxed) + 1U) & ~1ULL,
                         std::memory_order_release);  // R4
}

namespace {

// relaxed: under the lock
void add(std::atomic<std::uint32_t>& count, std::uint32_t number) noexcept {
    count.store(count.load(std::memory_order_relaxed) + number, std::memory_order_relaxed);
}

}  // namespace

DictResult DictTable::probe(Links links, DictTableWord table, std::uint64_t hash, PaddedBytes key,
                            Place& place) const noexcept {
    place = {};
    const std::uint64_t mask = table.count() - 1;
    std::uint64_t index = hash & mask & 0xffff'ffffU;
    for (std::uint64_t probes = 0; probes <= mask; ++probes, index = (index + 1) & mask) {
        // relaxed: under the lock
        const DictLink link{links[index].load(std::memory_order_relaxed)};
        if (link.node() == 0 && place.link == nullptr) {
            place.link = &links[index];
            place.seen = link;
        }
        if (link.is_empty()) {
            break;
        }
        if (!link.has_hash(hash)) {
            continue;
        }
        std::byte* node = node_at(link.node());
        const NodeView seen = node != nullptr ? view(node) : NodeView{};
        if (seen.bytes == 0) {
            return DictResult::damaged;
        }
        if (seen.key.bytes == key.bytes &&
            equals_block_words(seen.key.data, key.data, key.padded())) {
            place = {&links[index], link, node, seen.value};
            return DictResult::done;
        }
    }
    return DictResult::missing;
}

DictResult DictTable::find(std::uint64_t hash, PaddedBytes key, Place& place) noexcept {
    const DictTableWord table{
        stripes_[stripe_of(hash)].table.load(std::memory_order_relaxed)};  // under the lock
    place = {};
    if (!table.has_links()) {
        return DictResult::missing;
    }
    const Links links = links_of(table);
    return links == nullptr ? DictResult::damaged : probe(links, table, hash, key, place);
}

DictResult DictTable::put(std::uint64_t hash, PaddedBytes key, PaddedBytes value, Place place,
                          Shortage& shortage) noexcept {
    const std::uint32_t index = stripe_of(hash);
    DictStripeLayout& stripe = stripes_[index];
    const bool is_new = place.node == nullptr;
    if (is_new) {
        // relaxed: under the lock
        const DictTableWord table{stripe.table.load(std::memory_order_relaxed)};
        const std::uint64_t used = stripe.used.load(std::memory_order_relaxed);
        if (place.link == nullptr ||
            (place.seen.is_empty() && 4 * (used + 1) > 3 * table.count())) {
            DictResult result = grow(index, 1, shortage);
            if (result == DictResult::done) {
                result = find(hash, key, place);
            }
            if (result != DictResult::missing) {
                return result == DictResult::done ? DictResult::damaged : result;
            }
            if (place.link == nullptr) {
                return DictResult::damaged;
            }
        }
    }
    const Granule node = make_node(index, key, value, shortage);
    if (node == 0) {
        return DictResult::full;
    }
    begin_change(stripe);
    if (is_new) {
        add(stripe.live, 1);
        add(stripe.used, place.seen.is_empty() ? 1U : 0U);
    }
    place.link->store(DictLink::make(node, hash).word, std::memory_order_release);  // R2
    end_change(stripe);
    if (!is_new) {
        release_node(index, place.seen.node());
        if (heap_of(index).is_worth_a_trim()) [[unlikely]] {
            trim(index);
        }
    }
    return DictResult::done;
}

void DictTable::erase(std::uint64_t hash, const Place& place) noexcept {
    const std::uint32_t index = stripe_of(hash);
    DictStripeLayout& stripe = stripes_[index];
    const DictTableWord table{stripe.table.load(std::memory_order_relaxed)};  // under the lock
    const Links links = links_of(table);
    if (links == nullptr) {
        return;
    }
    const std::uint64_t mask = table.count() - 1;
    auto at = static_cast<std::uint64_t>(place.link - links);
    // Nothing lies behind the last of a row: then it needs no tombstone, and those before it are no
    // longer needed either. relaxed: under the lock
    const bool is_last = links[(at + 1) & mask].load(std::memory_order_relaxed) == 0;
    begin_change(stripe);
    add(stripe.live, 0U - 1U);
    add(stripe.used, is_last ? 0U - 1U : 0U);
    place.link->store(is_last ? 0 : DictLink::kTombstone, std::memory_order_release);  // R2
    for (at = (at - 1) & mask;  // relaxed: as above
         is_last && links[at].load(std::memory_order_relaxed) == DictLink::kTombstone;
         at = (at - 1) & mask) {
        add(stripe.used, 0U - 1U);
        links[at].store(0, std::memory_order_release);  // R2
    }
    end_change(stripe);
    release_node(index, place.seen.node());
    if (heap_of(index).is_worth_a_trim()) [[unlikely]] {
        trim(index);
    }
}

// A stripe of a step, or of a growth: the table that is to be.
struct DictTable::Part {
    std::uint32_t stripe{};
    DictTableWord old{};
    DictTableWord fresh{};
    Links links{};
    std::uint32_t live{};
};

DictResult DictTable::copy_table(std::uint32_t index, DictTableWord from, std::size_t additional,
                                 Shortage& shortage, Part& part) noexcept {
    const Links old = from.has_links() ? links_of(from) : nullptr;
    const std::uint64_t old_count = from.has_links() ? from.count() : 0;
    if (old_count != 0 && old == nullptr) {
        return DictResult::damaged;
    }
    std::uint32_t live = 0;
    for (std::uint64_t at = 0; at < old_count; ++at) {
        // relaxed, here and below: under the lock
        live += DictLink{old[at].load(std::memory_order_relaxed)}.node() != 0 ? 1U : 0U;
    }
    constexpr std::uint32_t kLog2Min = 4;
    const auto log2 =
        std::max(kLog2Min, static_cast<std::uint32_t>(std::bit_width(2 * (live + additional) - 1)));
    const DictTableWord now{stripes_[index].table.load(std::memory_order_relaxed)};
    if (log2 > DictTableWord::kLog2Max) {
        shortage = {sizeof(std::uint64_t) << log2, 0};
        return DictResult::full;
    }
    const Granule place = heap_of(index).allocate(sizeof(std::uint64_t) << log2, shortage);
    if (place == 0) {
        return DictResult::full;
    }
    part.stripe = index;
    part.old = now;
    part.fresh = now.next(place, log2);
    part.live = live;
    part.links = links_of(part.fresh);
    if (part.links == nullptr) {
        return DictResult::damaged;
    }
    const std::uint64_t mask = part.fresh.count() - 1;
    // release, of each: readers may still look at what this memory was: arena.hpp, R3
    for (std::uint64_t at = 0; at <= mask; ++at) {
        part.links[at].store(0, std::memory_order_release);
    }
    for (std::uint64_t at = 0; at < old_count; ++at) {
        const DictLink link{old[at].load(std::memory_order_relaxed)};
        if (link.node() == 0) {
            continue;
        }
        std::uint64_t to = link.hash() & mask;
        std::uint64_t probes = 0;
        while (part.links[to].load(std::memory_order_relaxed) != 0) {
            to = (to + 1) & mask;
            if (++probes > mask) {
                return DictResult::damaged;  // somebody writes to the old table beside us
            }
        }
        part.links[to].store(link.word, std::memory_order_release);  // R2
    }
    return DictResult::done;
}

DictResult DictTable::grow(std::uint32_t index, std::size_t additional,
                           Shortage& shortage) noexcept {
    DictStripeLayout& stripe = stripes_[index];
    const DictTableWord old{stripe.table.load(std::memory_order_relaxed)};  // under the lock
    Part part;
    const DictResult result = copy_table(index, old, additional, shortage, part);
    if (result != DictResult::done) {
        return result;
    }
    // A change for those who copy the stripe: the old links are about to be used for other things.
    begin_change(stripe);
    stripe.live.store(part.live, std::memory_order_relaxed);  // under the lock
    stripe.used.store(part.live, std::memory_order_relaxed);
    stripe.table.store(part.fresh.word, std::memory_order_release);  // R1
    end_change(stripe);
    release_table(index, old);
    return DictResult::done;
}

// Recovery ---------------------------------------------------------------------------------------

// Counts what the table holds, and frees all that it does not reach.
DictResult DictTable::rebuild(std::uint32_t index) {
    DictStripeLayout& stripe = stripes_[index];
    // relaxed, here and below: under the lock
    const DictTableWord table{stripe.table.load(std::memory_order_relaxed)};
    std::vector<Granule> living;
    std::uint32_t live = 0;
    std::uint32_t used = 0;
    if (table.has_links()) {
        const Links links = links_of(table);
        if (links == nullptr) {
            return DictResult::damaged;
        }
        living.push_back(table.place());
        for (std::uint64_t at = 0; at < table.count(); ++at) {
            const DictLink link{links[at].load(std::memory_order_relaxed)};
            used += link.is_empty() ? 0U : 1U;
            if (link.node() != 0) {
                living.push_back(link.node());
                ++live;
            }
        }
        std::sort(living.begin(), living.end());
    }
    heap_of(index).rebuild(living);
    stripe.live.store(live, std::memory_order_relaxed);
    stripe.used.store(used, std::memory_order_relaxed);
    return DictResult::done;
}

DictResult DictTable::recover(std::uint32_t index) {
    DictStripeLayout& stripe = stripes_[index];
    const std::uint64_t pending = stripe.pending.load(std::memory_order_acquire);  // A7
    if (pending != 0) {
        // relaxed: before it, by A7
        if (stripe.pending_step.load(std::memory_order_relaxed) ==
            layout_->committed.load(std::memory_order_acquire)) {    // A6
            stripe.table.store(pending, std::memory_order_release);  // R1
        }
        // Once it was done, it must not be done again: others may have changed the stripe. R7
        stripe.pending.store(0, std::memory_order_release);
    }
    const DictResult result = rebuild(index);
    if (result == DictResult::done &&
        (stripe.version.load(std::memory_order_relaxed) & 1U) != 0) {  // under the lock
        end_change(stripe);
    }
    return result;
}

void DictTable::trim(std::uint32_t index) noexcept {
    DictStripeLayout& stripe = stripes_[index];
    // relaxed: under the lock
    const DictTableWord table{stripe.table.load(std::memory_order_relaxed)};
    const std::uint64_t live = stripe.live.load(std::memory_order_relaxed);
    constexpr std::uint64_t kSparse = 8;
    if (table.has_links() && kSparse * (live + 1) < table.count()) {
        Shortage ignored;
        static_cast<void>(grow(index, 1, ignored));  // to fewer
    }
    try {
        static_cast<void>(rebuild(index));
    } catch (const std::bad_alloc&) {  // another time
    }
}

DictResult DictTable::lock_slowly(std::uint32_t index, MemberId me, Wait mode, SpinBudget& budget) {
    LockWord& lock = locks_[index];
    const LockResult locked = lock.lock(me, mode, budget, Deadline::never(), IfAbandoned::take);
    if (locked != LockResult::done) {
        return locked == LockResult::would_deadlock ? DictResult::would_deadlock
                                                    : DictResult::damaged;
    }
    if (!lock.is_abandoned()) [[likely]] {
        return DictResult::done;
    }
    DictResult result = DictResult::damaged;
    try {
        result = recover(index);
    } catch (...) {
        unlock(index, me);  // the mark stays: the next one mends it
        throw;
    }
    if (result == DictResult::done) {
        lock.repair(me);
    } else {
        unlock(index, me);
    }
    return result;
}

bool DictTable::mend(std::uint32_t index, MemberId me) {
    LockWord& lock = locks_[index];
    const LockControl seen{lock.layout().word.load(std::memory_order_acquire)};  // A1
    if (!lock.is_abandoned() || me == kNobody) {
        return false;
    }
    static_cast<void>(segment_->members().rescue(seen.owner()));
    SpinBudget budget;
    if (lock.lock(me, Wait::park, budget, Deadline::passed(), IfAbandoned::take) !=
        LockResult::done) {
        return false;
    }
    bool mended = false;
    try {
        mended = !lock.is_abandoned() || recover(index) == DictResult::done;
    } catch (...) {
        unlock(index, me);
        throw;
    }
    if (mended) {
        lock.repair(me);
    }
    unlock(index, me);
    return mended;
}

// Steps ------------------------------------------------------------------------------------------

DictResult DictTable::lock_steps(MemberId me, Wait mode, SpinBudget& budget) {
    if (steps_lock_.try_lock_now(me)) {
        return DictResult::done;
    }
    const LockResult locked =
        steps_lock_.lock(me, mode, budget, Deadline::never(), IfAbandoned::take);
    if (locked != LockResult::done) {
        return locked == LockResult::would_deadlock ? DictResult::would_deadlock
                                                    : DictResult::damaged;
    }
    if (!steps_lock_.is_abandoned()) {
        return DictResult::done;
    }
    const DictResult result = finish_steps(me, mode, budget);
    if (result == DictResult::done) {
        steps_lock_.repair(me);
    } else {
        static_cast<void>(steps_lock_.unlock(me));
    }
    return result;
}

// All that is pending belongs to the dead: their locks are marked, and locking mends.
DictResult DictTable::finish_steps(MemberId me, Wait mode, SpinBudget& budget) {
    for (std::uint32_t index = 0; index < stripes_count_; ++index) {
        if (stripes_[index].pending.load(std::memory_order_acquire) != 0) {  // A7
            const DictResult result = lock(index, me, mode, budget);
            if (result != DictResult::done) {
                return result;
            }
            unlock(index, me);
        }
    }
    // relaxed: a hint, and nobody else is in a step
    layout_->applied.store(layout_->committed.load(std::memory_order_relaxed),
                           std::memory_order_relaxed);
    return DictResult::done;
}

void DictTable::mend_step(MemberId me) {
    if (!steps_lock_.is_abandoned() || me == kNobody) {
        return;
    }
    const LockControl seen{layout_->steps.word.load(std::memory_order_acquire)};  // A1
    static_cast<void>(segment_->members().rescue(seen.owner()));
    SpinBudget budget;
    if (steps_lock_.lock(me, Wait::park, budget, Deadline::passed(), IfAbandoned::take) !=
        LockResult::done) {
        return;
    }
    bool done = true;
    for (std::uint32_t index = 0; index < stripes_count_ && steps_lock_.is_abandoned(); ++index) {
        if (stripes_[index].pending.load(std::memory_order_acquire) != 0) {  // A7
            done = mend(index, me) && done;
        }
    }
    if (done) {
        layout_->applied.store(layout_->committed.load(std::memory_order_relaxed),
                               std::memory_order_relaxed);  // as in finish_steps()
        steps_lock_.repair(me);
    }
    static_cast<void>(steps_lock_.unlock(me));
}

// Under the stripe's lock: the table that it is to have, with all its nodes, lies ready.
DictResult DictTable::prepare(Part& part, StepKind kind, std::span<const DictChange> changes,
                              std::vector<Granule>& replaced, Shortage& shortage) {
    DictStripeLayout& stripe = stripes_[part.stripe];
    const DictTableWord now{stripe.table.load(std::memory_order_relaxed)};  // under the lock
    if (changes.empty()) {
        part.old = now;
        part.fresh = now.next(0, 0);
        return DictResult::done;
    }
    DictResult result = copy_table(part.stripe, kind == StepKind::clear ? DictTableWord{} : now,
                                   changes.size(), shortage, part);
    for (const DictChange& change : changes) {
        if (result != DictResult::done) {
            return result;
        }
        Place place;
        result = probe(part.links, part.fresh, change.hash, change.key, place);
        if (result == DictResult::damaged || place.link == nullptr) {
            return DictResult::damaged;
        }
        if (result == DictResult::done) {
            replaced.push_back(place.seen.node());
        } else {
            ++part.live;
        }
        const Granule node = make_node(part.stripe, change.key, change.value, shortage);
        if (node == 0) {
            return DictResult::full;
        }
        place.link->store(DictLink::make(node, change.hash).word,
                          std::memory_order_release);  // R2
        result = DictResult::done;
    }
    return result;
}

DictResult DictTable::step(StepKind kind, std::span<const DictChange> changes, MemberId me,
                           Wait mode, SpinBudget& budget, Shortage& shortage) {
    struct Prepared : Part {
        std::vector<Granule> replaced{};
    };
    std::vector<Prepared> parts;
    parts.reserve(stripes_count_);
    DictResult result = lock_steps(me, mode, budget);
    if (result != DictResult::done) {
        return result;
    }
    // relaxed: under the steps' lock
    const std::uint64_t number = layout_->begun.load(std::memory_order_relaxed) + 1;
    layout_->begun.store(number, std::memory_order_relaxed);

    // What is only prepared is left to whoever locks the stripes next: as if we had died.
    const auto give_up = [&] {
        for (const Prepared& part : parts) {
            locks_[part.stripe].abandon(me);
        }
        static_cast<void>(steps_lock_.unlock(me));
    };
    try {
        std::size_t next = 0;
        for (std::uint32_t index = 0; index < stripes_count_ && result == DictResult::done;
             ++index) {
            const std::size_t first = next;
            while (next < changes.size() && stripe_of(changes[next].hash) == index) {
                ++next;
            }
            if (first == next && kind == StepKind::assign) {
                continue;
            }
            result = lock(index, me, mode, budget);
            if (result == DictResult::done) {
                Prepared& part = parts.emplace_back();
                part.stripe = index;
                result = prepare(part, kind, changes.subspan(first, next - first), part.replaced,
                                 shortage);
            }
        }
    } catch (...) {
        give_up();
        throw;
    }
    if (result != DictResult::done) {
        give_up();
        return result;
    }
    for (const Prepared& part : parts) {
        DictStripeLayout& stripe = stripes_[part.stripe];
        stripe.pending_step.store(number, std::memory_order_relaxed);      // before R7
        stripe.pending.store(part.fresh.word, std::memory_order_release);  // R7
        begin_change(stripe);
    }
    layout_->committed.store(number, std::memory_order_release);  // R6
    for (const Prepared& part : parts) {
        DictStripeLayout& stripe = stripes_[part.stripe];
        stripe.table.store(part.fresh.word, std::memory_order_release);  // R1
        stripe.pending.store(0, std::memory_order_release);              // R7
        stripe.live.store(part.live, std::memory_order_relaxed);         // under the lock
        stripe.used.store(part.live, std::memory_order_relaxed);
        end_change(stripe);
    }
    layout_->applied.store(number, std::memory_order_relaxed);  // a hint
    for (const Prepared& part : parts) {
        if (kind == StepKind::clear) {
            trim(part.stripe);
        } else {
            for (const Granule node : part.replaced) {
                release_node(part.stripe, node);
            }
            release_table(part.stripe, part.old);
        }
        unlock(part.stripe, me);
    }
    if (!steps_lock_.unlock_now(me)) {
        static_cast<void>(steps_lock_.unlock(me));
    }
    return DictResult::done;
}

// Snapshots --------------------------------------------------------------------------------------

DictTable::Copied DictTable::copy_stripe(std::uint32_t index, CopyWhat what,
                                         StripeCopy& copy) const {
    const DictStripeLayout& stripe = stripes_[index];
    copy.is_there = false;
    copy.entries = 0;
    copy.bytes.clear();
    copy.version = stripe.version.load(std::memory_order_acquire);  // A4
    if ((copy.version & 1U) != 0) {
        return Copied::disturbed;
    }
    // What cannot be is either read beside a writer, or damaged.
    const auto give_up = [&] {
        return stripe.version.load(std::memory_order_acquire) == copy.version  // A4
                   ? Copied::damaged
                   : Copied::disturbed;
    };
    const DictTableWord table{stripe.table.load(std::memory_order_acquire)};  // A1
    const Links links = table.has_links() ? links_of(table) : nullptr;
    if (table.has_links() && links == nullptr) {
        return give_up();
    }
    const std::uint64_t bytes_max = 2 * arena_.bytes_grown();
    for (std::uint64_t at = 0; links != nullptr && at < table.count(); ++at) {
        const DictLink link{links[at].load(std::memory_order_acquire)};  // A2
        if (link.node() == 0) {
            continue;
        }
        const std::byte* node = node_at(link.node());
        const NodeView seen = node != nullptr ? view(node) : NodeView{};
        const std::size_t value_bytes = what == CopyWhat::items ? seen.value.padded() : 0;
        const std::size_t entry = 16 + seen.key.padded() + value_bytes;
        // No node is there twice: so no copy is much larger than all that there is.
        if (seen.bytes == 0 || copy.bytes.size() + entry > bytes_max) {
            return give_up();
        }
        const std::uint64_t lengths[2] = {seen.key.bytes, seen.value.bytes};
        const std::size_t to = copy.bytes.size();
        copy.bytes.resize(to + entry);
        std::byte* out = copy.bytes.data() + to;
        __builtin_memcpy(out, lengths, sizeof lengths);
        load_block_words(out + sizeof lengths, seen.key.data, seen.key.padded());
        load_block_words(out + sizeof lengths + seen.key.padded(), seen.value.data, value_bytes);
        ++copy.entries;
    }
    if (stripe.version.load(std::memory_order_acquire) != copy.version) {  // A4
        return Copied::disturbed;
    }
    copy.is_there = true;
    return Copied::done;
}

DictResult DictTable::snapshot_locked(CopyWhat what, std::vector<StripeCopy>& copies, MemberId me,
                                      Wait mode, SpinBudget& budget) {
    std::uint32_t locked = 0;
    DictResult result = DictResult::done;
    const auto unlock_all = [&] {
        while (locked > 0) {
            unlock(--locked, me);
        }
    };
    try {
        for (; locked < stripes_count_; ++locked) {
            result = lock(locked, me, mode, budget);
            if (result != DictResult::done) {
                break;
            }
        }
        for (std::uint32_t index = 0; result == DictResult::done && index < locked; ++index) {
            if (copy_stripe(index, what, copies[index]) != Copied::done) {
                result = DictResult::damaged;
            }
        }
    } catch (...) {
        unlock_all();
        throw;
    }
    unlock_all();
    return result;
}

// In its own stripe this thread is not in the middle of a commit; in one that it can lock nobody
// is. Without waiting: others may wait for the stripe that it has.
bool DictTable::is_stuck(MemberId me) {
    SpinBudget budget;
    for (std::uint32_t index = 0; index < stripes_count_; ++index) {
        LockWord& lock = locks_[index];
        if (!is_changing(index)) {
            continue;
        }
        if (lock.is_held_by(me)) {
            return true;
        }
        if (lock.lock(me, Wait::park, budget, Deadline::passed(), IfAbandoned::take) !=
            LockResult::done) {
            continue;
        }
        bool is_stuck = false;
        try {
            is_stuck =
                lock.is_abandoned() ? recover(index) != DictResult::done : is_changing(index);
        } catch (...) {
            unlock(index, me);
            throw;
        }
        if (!is_stuck) {
            lock.repair(me);
        }
        unlock(index, me);
        if (is_stuck) {
            return true;
        }
    }
    return false;
}

DictResult DictTable::snapshot(CopyWhat what, std::vector<StripeCopy>& copies,
                               MemberId (*me)(void*), void* context, Wait mode,
                               SpinBudget& budget) {
    constexpr unsigned kRoundsMax = 8;
    copies.resize(stripes_count_);
    for (unsigned round = 0;; ++round) {
        bool complete = true;
        for (std::uint32_t index = 0; index < stripes_count_; ++index) {
            if (copies[index].is_there) {
                continue;
            }
            const Copied copied = copy_stripe(index, what, copies[index]);
            if (copied == Copied::damaged) {
                return DictResult::damaged;
            }
            complete = complete && copied == Copied::done;
        }
        // All of them were so at the instant before the first of these looks.
        for (std::uint32_t index = 0; index < stripes_count_; ++index) {
            StripeCopy& copy = copies[index];
            copy.is_there = copy.is_there && stripes_[index].version.load(
                                                 std::memory_order_acquire) == copy.version;  // A4
            complete = complete && copy.is_there;
        }
        if (complete) {
            return DictResult::done;
        }
        for (std::uint32_t index = 0; index < stripes_count_; ++index) {
            if (is_changing(index) && lock_of(index).is_abandoned()) {
                mend(index, segment_->members().id());
            }
        }
        if (round >= kRoundsMax) {
            const DictResult result = snapshot_locked(what, copies, me(context), mode, budget);
            // Who changes a value copies on without locks: a stripe is his. But not for ever.
            if (result != DictResult::would_deadlock) {
                return result;
            }
            if (is_stuck(me(context))) {
                return DictResult::damaged;
            }
        }
        spin_pause();
    }
}

std::uint64_t DictTable::size() const noexcept {
    std::uint64_t size = 0;
    for (std::uint32_t index = 0; index < stripes_count_; ++index) {
        size += stripes_[index].live.load(std::memory_order_relaxed);  // some number it had
    }
    return size;
}

}  // namespace sluice::shm
