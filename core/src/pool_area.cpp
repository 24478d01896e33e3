// Making a Pool's shared memory; moving arguments, results and reports.
//
// Orders: shm/task_word.hpp
//   R3 a report, A3: as there
#include "pool_area.hpp"

#include <sched.h>

#include <cstring>
#include <new>
#include <stdexcept>

#include "sluice/detail/failure.hpp"
#include "sluice/error.hpp"
#include "sluice/queue.hpp"

namespace sluice::detail {
namespace {

constexpr std::size_t kSlotPayload = sizeof(shm::SlotLayout);

std::shared_ptr<QueueCore> make_queue(Wait wait, const MemoryOptions& memory) {
    QueueShape shape;
    shape.capacity = PoolArea::kQueueCapacity;
    shape.slot_bytes = shm::kCacheLineBytes;
    shape.type_signature = shm::fnv1a("sluice: a pool's tasks");
    shape.type_text = "a pool's tasks";
    shape.wait = wait;
    const Origin origin({}, Open::anonymous, QueueOptions{.memory = memory});
    return std::make_shared<QueueCore>(origin, shape);
}

bool owner_has_several_cpus() noexcept {
    cpu_set_t set;
    CPU_ZERO(&set);
    // EINVAL: more CPUs than fit
    return ::sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) > 1;
}

std::shared_ptr<shm::Segment> make_segment(std::uint32_t workers, const MemoryOptions& memory) {
    const shm::PoolShape shape{workers};
    shm::SegmentSpec spec;
    spec.kind = shm::SegmentKind::pool;
    spec.layout_signature = shm::PoolShape::layout_signature();
    spec.type_text = "a pool's table";
    spec.capacity = PoolArea::kTasks;
    spec.element_bytes = sizeof(shm::TaskLayout);
    spec.member_capacity = 1;
    spec.body_bytes = shape.bytes();
    shm::Failure failure;
    auto segment =
        shm::Segment::create({}, spec, memory, 0600, failure, [&shape](shm::Segment& made) {
            // Fresh memory is zero: tasks are FREE(0), the rings hold no report of any lap.
            (new (made.body()) shm::PoolLayout{})->workers = shape.workers;
            std::byte* const lines = made.body() + shape.lines_offset();
            for (std::uint32_t index = 0; index < shape.workers; ++index) {
                auto* line = new (lines + index * sizeof(shm::WorkerLayout)) shm::WorkerLayout{};
                // relaxed: nobody else is there yet
                line->current.store(shm::WorkerLayout::kNoTask, std::memory_order_relaxed);
                line->node.store(-1, std::memory_order_relaxed);  // as above
            }
        });
    if (!segment) {
        throw_failure("Pool", failure);
    }
    return segment;
}

}  // namespace

PoolArea::PoolArea(std::uint32_t workers, Wait wait, const MemoryOptions& memory)
    : workers_(workers),
      may_spin_(owner_has_several_cpus()),
      queue_(make_queue(wait, memory)),
      segment_(make_segment(workers, memory)) {
    const shm::PoolShape shape{workers};
    std::byte* const body = segment_->body();
    pool_ = reinterpret_cast<shm::PoolLayout*>(body);
    lines_ = reinterpret_cast<shm::WorkerLayout*>(body + shape.lines_offset());
    reports_ = reinterpret_cast<shm::ReportEntry*>(body + shape.reports_offset());
    tasks_ = reinterpret_cast<shm::TaskLayout*>(body + shape.tasks_offset());
}

void PoolArea::put(std::uint64_t number) const {
    shm::ClaimedSlot claimed;
    queue_->claim_now(claimed);
    std::byte word[sizeof number];
    std::memcpy(word, &number, sizeof number);
    shm::store_words<sizeof number>(claimed.payload(kSlotPayload), word);
    queue_->publish(claimed);
}

void PoolArea::report(std::uint32_t worker, std::uint32_t task) const noexcept {
    shm::WorkerLayout& line = lines_[worker];
    shm::ReportEntry* const ring = reports_of(worker);
    // relaxed: only this process writes the line and the ring, as long as it lives
    std::uint64_t position = line.reported.load(std::memory_order_relaxed);
    // The one before us may have died between its report and the count.
    while (ring[position % kReports].load(std::memory_order_relaxed) >> 32U == lap_of(position)) {
        ++position;  // relaxed: as above
    }
    // R3. seq_cst: before the look at the sleepers.
    ring[position % kReports].exchange((lap_of(position) << 32U) | task, std::memory_order_seq_cst);
    line.reported.store(position + 1, std::memory_order_relaxed);  // as above
    pool_->results.notify_all();
}

std::span<const std::byte> PoolArea::arguments(std::uint32_t task,
                                               std::vector<std::byte>& buffer) const {
    const shm::TaskLayout& layout = tasks_[task];
    const std::uint32_t bytes = layout.argument_bytes;
    if (bytes <= shm::TaskLayout::kInlineBytes) [[likely]] {
        return {layout.inline_bytes, bytes};
    }
    buffer.resize(bytes);
    shm::Failure failure;
    if (!segment_->mapping().read_beyond(argument_extent(task), buffer, failure)) {
        throw_failure("Pool: a task's arguments", failure);
    }
    return buffer;
}

std::span<const std::byte> PoolArea::result(std::uint32_t task,
                                            std::vector<std::byte>& buffer) const {
    const std::uint32_t bytes = tasks_[task].result_bytes;
    if (bytes <= result_room(task)) [[likely]] {
        return {result_place(task), bytes};
    }
    buffer.resize(bytes);
    shm::Failure failure;
    if (!segment_->mapping().read_beyond(result_extent(task), buffer, failure)) {
        throw_failure("Pool: a task's result", failure);
    }
    return buffer;
}

void PoolArea::write_arguments(std::uint32_t task, std::span<const std::byte> bytes) const {
    if (bytes.size() > shm::TaskLayout::kBytesMax) {
        throw std::length_error("Pool: a task's arguments have more than 4 GiB");
    }
    shm::TaskLayout& layout = tasks_[task];
    if (bytes.size() > shm::TaskLayout::kInlineBytes) {
        shm::Failure failure;
        if (!segment_->mapping().write_beyond(argument_extent(task), bytes, failure)) {
            throw_failure("Pool: a task's arguments", failure);
        }
    } else if (!bytes.empty()) {
        std::memcpy(layout.inline_bytes, bytes.data(), bytes.size());
    }
    layout.argument_bytes = static_cast<std::uint32_t>(bytes.size());
    layout.result_bytes = 0;
}

void PoolArea::write_result(std::uint32_t task, std::span<const std::byte> bytes) const {
    if (bytes.size() > shm::TaskLayout::kBytesMax) {
        throw std::length_error("Pool: a task's result has more than 4 GiB");
    }
    // First: whoever finds the task after our death gives so much back.
    tasks_[task].result_bytes = static_cast<std::uint32_t>(bytes.size());
    if (bytes.size() > result_room(task)) {
        shm::Failure failure;
        if (!segment_->mapping().write_beyond(result_extent(task), bytes, failure)) {
            throw_failure("Pool: a task's result", failure);
        }
    } else if (!bytes.empty()) {
        std::memcpy(result_place(task), bytes.data(), bytes.size());
    }
}

void PoolArea::release_extents(std::uint32_t task) const noexcept {
    const shm::TaskLayout& layout = tasks_[task];
    if (layout.argument_bytes > shm::TaskLayout::kInlineBytes) {
        segment_->mapping().release_beyond(argument_extent(task), layout.argument_bytes);
    }
    release_result(task);
}

void PoolArea::release_result(std::uint32_t task) const noexcept {
    const std::uint32_t bytes = tasks_[task].result_bytes;
    if (bytes > result_room(task)) {
        segment_->mapping().release_beyond(result_extent(task), bytes);
    }
}

}  // namespace sluice::detail
