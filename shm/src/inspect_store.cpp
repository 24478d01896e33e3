// What lies in the bodies of those that store values (arrays, dictionaries, lists) and of those
// that have others under them (pools, managers).
//
// Locks of these mend themselves: that one was abandoned is of no account to who looks.
#include <algorithm>

#include "inspect_body.hpp"
#include "sluice/shm/array_word.hpp"
#include "sluice/shm/dict_table.hpp"
#include "sluice/shm/directory.hpp"
#include "sluice/shm/list_table.hpp"
#include "sluice/shm/task_word.hpp"

namespace sluice::shm::inspection {
namespace {

constexpr std::uint32_t kWorkersMax = 65'535;

std::size_t head_bytes_of(const SegmentFacts& facts) noexcept {
    return facts.kind == SegmentKind::dict
               ? DictTable::head_bytes(static_cast<std::uint32_t>(facts.capacity))
               : ListTable::head_bytes();
}

/// What a look needs to know of an arena.
struct ArenaLook {
    std::uint64_t units_max{};
    std::uint64_t bytes_grown{};
    std::uint64_t data_offset{};  // in the file

    bool holds(Granule place, std::uint64_t bytes) const noexcept {
        const std::uint64_t offset = std::uint64_t{place} * kGranuleBytes;
        return bytes <= bytes_grown && offset <= bytes_grown - bytes;
    }
};

// After whatever is to be held against it: an arena only grows.
ArenaLook look_at_arena(const Inspector& inspector) {
    const SegmentFacts& facts = inspector.facts();
    const Bytes layout(inspector, facts.body_offset, sizeof(ArenaLayout));
    ArenaLook arena;
    arena.units_max = layout.u64(offsetof(ArenaLayout, units_max));
    const std::uint64_t grown = layout.u64(offsetof(ArenaLayout, grown));
    arena.bytes_grown = std::min(grown, arena.units_max) * kUnitBytes;
    arena.data_offset = facts.body_offset + round_up(head_bytes_of(facts), kPageBytesMin) +
                        Arena::room_bytes(arena.units_max) - arena.units_max * kUnitBytes;
    return arena;
}

void gauge_memory(std::uint64_t held, std::uint64_t free, const ArenaLook& arena,
                  Inspection& seen) {
    const std::uint64_t limit = arena.units_max * kUnitBytes;
    seen.gauges.push_back(
        {"memory used", std::min(held - std::min(free, held), limit), limit, true});
    seen.gauges.push_back({"memory taken", arena.bytes_grown, limit, true});
}

std::string text_of(const char* name, std::uint64_t number) {
    return std::string(name) + " " + std::to_string(number);
}

}  // namespace

bool arena_fits(const Inspector& inspector) noexcept {
    const SegmentFacts& facts = inspector.facts();
    if (facts.kind == SegmentKind::dict &&
        (facts.capacity == 0 || facts.capacity > DictTable::kStripesMax)) {
        return false;
    }
    const std::size_t head = round_up(head_bytes_of(facts), kPageBytesMin);
    const std::uint64_t units = inspector.word(facts.body_offset);
    static_assert(offsetof(ArenaLayout, units_max) == 0);
    return units > 1 && units <= Arena::kUnitsMax && head <= facts.body_bytes &&
           Arena::room_bytes(units) <= facts.body_bytes - head;
}

void decode_array(const Inspector& inspector, Inspection& seen) {
    const Bytes body(inspector, seen.facts.body_offset, offsetof(ArrayLayout, cells));
    decode_lock(body, {.sleepers = "writers"}, seen);
    seen.marks.clear();
    seen.gauges.push_back({"elements", seen.facts.capacity, 0, false});
    seen.counters.emplace_back("changes", body.u64(offsetof(ArrayLayout, changes)));
    seen.counters.emplace_back("assigned", body.u64(offsetof(ArrayLayout, epoch)));
}

void decode_dict(const Inspector& inspector, Inspection& seen) {
    const std::uint64_t stripes = seen.facts.capacity;
    const Bytes body(inspector, seen.facts.body_offset,
                     DictTable::head_bytes(static_cast<std::uint32_t>(stripes)));
    const ArenaLook arena = look_at_arena(inspector);
    decode_lock(body, {offsetof(DictLayout, steps), HoldKind::steps, 0, "writers"}, seen);
    std::uint64_t entries = 0;
    std::uint64_t links = 0;
    std::uint64_t held = 0;
    std::uint64_t free = 0;
    bool changing =
        body.u64(offsetof(DictLayout, committed)) != body.u64(offsetof(DictLayout, applied));
    for (std::uint64_t index = 0; index < stripes; ++index) {
        const std::size_t at = sizeof(DictLayout) + index * sizeof(DictStripeLayout);
        const auto heap = at + offsetof(DictStripeLayout, heap);
        entries += body.u32(at + offsetof(DictStripeLayout, live));
        held += body.u64(heap + offsetof(HeapLayout, held_bytes));
        free += body.u64(heap + offsetof(HeapLayout, free_bytes));
        changing = changing || (body.u64(at + offsetof(DictStripeLayout, version)) & 1U) != 0;
        const DictTableWord table{body.u64(at + offsetof(DictStripeLayout, table))};
        if (table.has_links()) {
            if (table.log2() > DictTableWord::kLog2Max ||
                !arena.holds(table.place(), table.bytes())) {
                seen.damages.push_back(text_of("the table of stripe", index) +
                                       " lies outside its memory");
            } else {
                links += table.count();
            }
        }
        decode_lock(body,
                    {at + offsetof(DictStripeLayout, lock), HoldKind::stripe, index, "writers"},
                    seen);
    }
    seen.marks.clear();
    if (changing) {
        seen.marks.push_back("a change is under way");
    }
    std::sort(seen.sleepers.begin(), seen.sleepers.end());
    seen.sleepers.erase(std::unique(seen.sleepers.begin(), seen.sleepers.end()),
                        seen.sleepers.end());
    seen.gauges.push_back({"entries", entries, 0, false});
    gauge_memory(held, free, arena, seen);
    seen.counters.emplace_back("stripes", stripes);
    seen.counters.emplace_back("places for entries", links);
    seen.counters.emplace_back("steps", body.u64(offsetof(DictLayout, committed)));
}

void decode_list(const Inspector& inspector, Inspection& seen) {
    constexpr int kAttempts = 100;
    const std::uint64_t offset = seen.facts.body_offset;
    const Bytes body(inspector, offset, ListTable::head_bytes());
    std::uint64_t size = 0;
    std::uint64_t capacity = 0;
    // The block is another's as soon as the root is another: then neither number counts.
    ListRoot root{inspector.word(offset + offsetof(ListLayout, root))};
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const ArenaLook arena = look_at_arena(inspector);
        const bool is_there = arena.holds(root.place(), sizeof(ListBlockLayout));
        if (root.place() != 0 && is_there) {
            const Bytes block(inspector,
                              arena.data_offset + std::uint64_t{root.place()} * kGranuleBytes,
                              sizeof(ListBlockLayout));
            size = block.u64(offsetof(ListBlockLayout, size));
            capacity = block.u64(offsetof(ListBlockLayout, capacity));
        }
        const ListRoot again{inspector.word(offset + offsetof(ListLayout, root))};
        if (again.word != root.word) {
            root = again;
            size = capacity = 0;
            continue;
        }
        if (root.place() != 0 && !is_there) {
            seen.damages.emplace_back("its elements lie outside its memory");
        } else if (size > capacity || capacity > arena.bytes_grown / sizeof(std::uint64_t)) {
            seen.damages.push_back(text_of("it says that it has", size) + " elements, with room " +
                                   text_of("for", capacity));
        }
        break;
    }
    decode_lock(body, {offsetof(ListLayout, lock), HoldKind::lock, 0, "writers"}, seen);
    seen.marks.clear();
    if ((body.u64(offsetof(ListLayout, version)) & 1U) != 0) {
        seen.marks.push_back("a change is under way");
    }
    seen.gauges.push_back({"elements", size, 0, false});
    const std::size_t heap = offsetof(ListLayout, heap);
    gauge_memory(body.u64(heap + offsetof(HeapLayout, held_bytes)),
                 body.u64(heap + offsetof(HeapLayout, free_bytes)), look_at_arena(inspector), seen);
    seen.counters.emplace_back("places for elements", capacity);
}

bool pool_fits(const Inspector& inspector) noexcept {
    const SegmentFacts& facts = inspector.facts();
    const Bytes body(inspector, facts.body_offset, sizeof(PoolLayout));
    const PoolShape shape{body.u32(offsetof(PoolLayout, workers))};
    return shape.workers != 0 && shape.workers <= kWorkersMax && shape.bytes() <= facts.body_bytes;
}

namespace {

std::string_view phase_text(std::uint32_t phase) noexcept {
    switch (static_cast<WorkerPhase>(phase)) {
        case WorkerPhase::none:
            return "none";
        case WorkerPhase::forked:
        case WorkerPhase::bound:
            return "starting";
        case WorkerPhase::working:
            return "working";
        case WorkerPhase::retiring:
            return "retiring";
        case WorkerPhase::refused:
            return "could not start";
    }
    return "?";
}

PoolWorker worker_of(const Bytes& lines, std::size_t at) {
    PoolWorker worker;
    worker.pid = lines.at<std::int32_t>(at + offsetof(WorkerLayout, pid));
    worker.node = lines.at<std::int32_t>(at + offsetof(WorkerLayout, node));
    worker.phase = phase_text(lines.u32(at + offsetof(WorkerLayout, phase)));
    worker.tasks_done = lines.u64(at + offsetof(WorkerLayout, tasks_done));
    const std::uint64_t current = lines.u64(at + offsetof(WorkerLayout, current));
    worker.busy = current != WorkerLayout::kNoTask;
    worker.task = static_cast<std::uint32_t>(current) % PoolShape::kTasks;
    constexpr std::size_t kBits = 64;
    for (std::size_t cpu = 0; cpu < WorkerLayout::kCpuWords * kBits; ++cpu) {
        const std::uint64_t word =
            lines.u64(at + offsetof(WorkerLayout, cpus) + cpu / kBits * sizeof(std::uint64_t));
        if ((word >> (cpu % kBits) & 1U) != 0) {
            worker.cpus.push_back(static_cast<unsigned>(cpu));
        }
    }
    worker.vitality = Vitality::dead;
    if (worker.pid > 0) {
        const char state = state_of(worker.pid, 0);
        worker.name = name_of(worker.pid);
        worker.vitality = state == '\0' || state == 'Z' || state == 'X' ? Vitality::dead
                          : state == 'T' || state == 't'                ? Vitality::stopped
                                                                        : Vitality::alive;
    }
    return worker;
}

}  // namespace

void decode_pool(const Inspector& inspector, Inspection& seen) {
    const std::uint64_t offset = seen.facts.body_offset;
    const Bytes body(inspector, offset, sizeof(PoolLayout));
    const PoolShape shape{body.u32(offsetof(PoolLayout, workers))};
    const Bytes lines(inspector, offset + shape.lines_offset(),
                      shape.workers * sizeof(WorkerLayout));
    std::uint64_t busy = 0;
    std::uint64_t done = 0;
    for (std::size_t index = 0; index < shape.workers; ++index) {
        seen.workers.push_back(worker_of(lines, index * sizeof(WorkerLayout)));
        busy += seen.workers.back().busy ? 1U : 0U;
        done += seen.workers.back().tasks_done;
    }
    const Bytes tasks(inspector, offset + shape.tasks_offset(),
                      std::size_t{PoolShape::kTasks} * sizeof(TaskLayout));
    std::uint64_t queued = 0;
    std::uint64_t running = 0;
    std::uint64_t settled = 0;
    for (std::size_t index = 0; index < PoolShape::kTasks; ++index) {
        const TaskControl task{
            tasks.u64(index * sizeof(TaskLayout) + offsetof(TaskLayout, control))};
        if (task.state() > TaskState::passed) {
            seen.damages.push_back(text_of("task", index) + " is in no state that there is");
            break;
        }
        queued += task.state() == TaskState::queued ? 1U : 0U;
        running += task.state() == TaskState::running ? 1U : 0U;
        settled += task.is_settled() ? 1U : 0U;
    }
    seen.gauges.push_back({"busy workers", busy, shape.workers, false});
    seen.counters.emplace_back("queued", queued);
    seen.counters.emplace_back("running", running);
    seen.counters.emplace_back("to be collected", settled);
    seen.counters.emplace_back("done", done);
    const auto state = static_cast<PoolState>(body.u32(offsetof(PoolLayout, state)));
    seen.marks.push_back(state == PoolState::running  ? "running"
                         : state == PoolState::broken ? "broken"
                                                      : "ended");
    note_sleepers(body, offsetof(PoolLayout, results), "collector", seen);
    note_sleepers(body, offsetof(PoolLayout, batches), "mappers", seen);
}

namespace {

// What the header in that window says; empty where there is none, or it is damaged.
HeldObject object_in(const Inspector& inspector, FileWindow window) {
    HeldObject object;
    const Bytes header(inspector, window.begin, sizeof(SegmentLayout));
    if (header.u64(offsetof(SegmentLayout, magic)) == SegmentLayout::kMagic &&
        header.u32(offsetof(SegmentLayout, ready)) == SegmentLayout::kReady) {
        object.kind =
            to_string(static_cast<SegmentKind>(header.u32(offsetof(SegmentLayout, kind))));
        object.capacity = header.u64(offsetof(SegmentLayout, capacity));
        object.type_text =
            printable(header, offsetof(SegmentLayout, type_text), SegmentLayout::kTypeTextBytes);
    }
    object.in_use = inspector.is_window_held(window);
    return object;
}

}  // namespace

void decode_manager(const Inspector& inspector, Inspection& seen) {
    const Bytes body(inspector, seen.facts.body_offset, sizeof(DirectoryLayout));
    decode_lock(body, {.sleepers = "users of the table"}, seen);
    seen.marks.clear();
    const std::uint32_t high = body.u32(offsetof(DirectoryLayout, high));
    if (high > DirectoryLayout::kObjects) {
        seen.damages.push_back(text_of("it says that it has used", high) + " places of " +
                               std::to_string(DirectoryLayout::kObjects));
    }
    std::uint64_t named = 0;
    for (std::size_t index = 0; index < DirectoryLayout::kObjects && index < high; ++index) {
        const std::uint32_t state =
            body.u32(offsetof(DirectoryLayout, states) + index * sizeof(std::uint32_t));
        if (state == static_cast<std::uint32_t>(DirectoryState::free)) {
            continue;
        }
        if (state > static_cast<std::uint32_t>(DirectoryState::named)) {
            seen.damages.push_back(text_of("place", index) + " is in no state that there is");
            continue;
        }
        HeldObject object = object_in(inspector, Directory::window_of(index));
        if (state == static_cast<std::uint32_t>(DirectoryState::named)) {
            ++named;
            object.name = printable(
                body, offsetof(DirectoryLayout, names) + index * DirectoryLayout::kNameBytes,
                DirectoryLayout::kNameBytes);
            if (object.name.empty() || object.kind.empty()) {
                // Unless it was removed, and cleared, since the table was copied.
                const Bytes now(inspector,
                                seen.facts.body_offset + offsetof(DirectoryLayout, states) +
                                    index * sizeof(std::uint32_t),
                                sizeof(std::uint32_t));
                if (now.u32(0) == state) {
                    seen.damages.push_back(text_of("place", index) +
                                           (object.name.empty() ? " has an object without a name"
                                                                : " has a name without an object"));
                }
            }
        } else if (!object.in_use) {
            continue;  // left, and to be cleared by the next who makes something
        }
        seen.objects.push_back(std::move(object));
    }
    std::sort(seen.objects.begin(), seen.objects.end(),
              [](const HeldObject& one, const HeldObject& other) { return one.name < other.name; });
    seen.gauges.push_back({"objects", named, DirectoryLayout::kObjects, false});
    seen.counters.emplace_back("without a name", seen.objects.size() - named);
}

}  // namespace sluice::shm::inspection
