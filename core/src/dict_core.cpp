// Making, opening and filling Dicts; errors in words.
#include "sluice/detail/dict_core.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "sluice/detail/failure.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::uint32_t kWaitMask = 3;

std::string object_name(std::string_view name) {
    return name.empty() ? std::string("Dict") : "Dict \"" + std::string(name) + '"';
}

std::uint32_t stripes_of(const DictShape& shape) noexcept {
    return std::bit_ceil(std::clamp(shape.stripes, 1U, shm::DictTable::kStripesMax));
}

// Of a segment, however it came here. What its header says is checked against what there is.
shm::DictTable::Shape table_shape(const shm::Segment& segment, const DictShape& wanted,
                                  const std::string& object) {
    shm::DictTable::Shape shape;
    shape.node = wanted.node;
    // No two Dicts alike: nobody can know which keys fall together.
    shape.seed = segment.nonce();
    const std::uint64_t stripes = segment.capacity();
    if (std::has_single_bit(stripes) && stripes <= shm::DictTable::kStripesMax &&
        (segment.options() & kWaitMask) <= static_cast<std::uint32_t>(Wait::park) &&
        segment.element_bytes() == (wanted.node.is_fixed() ? wanted.node.least() : 0)) {
        shape.stripes = static_cast<std::uint32_t>(stripes);
        const std::size_t head = shm::DictTable::head_bytes(shape.stripes);
        if (head <= segment.body_bytes()) {
            shape.units_max = shm::Arena::checked_units_max(
                reinterpret_cast<const shm::DictLayout*>(segment.body())->arena, segment, head);
        }
    }
    if (shape.units_max == 0) {
        throw BadSegment(object +
                         ": has a damaged header: its table does not fit into it; remove it");
    }
    return shape;
}

}  // namespace

constinit thread_local UpdateFrame* UpdateFrame::innermost = nullptr;

void throw_out_of_memory(std::string_view object, const shm::Arena& arena,
                         const shm::Shortage& shortage) {
    const int error = shortage.error != 0 ? shortage.error : ENOSPC;
    const std::string why = shortage.error != 0
                                ? "fallocate failed (is /dev/shm full? containers: --shm-size)"
                                : "it has reached its max_bytes";
    throw std::system_error(
        error, std::generic_category(),
        std::string(object) + ": no room for " + std::to_string(shortage.asked_bytes) +
            " bytes more: " + why + "; " + std::to_string(arena.bytes_in_use()) +
            " bytes are in use, " + std::to_string(arena.bytes_max()) + " are the most");
}

shm::SegmentSpec DictCore::spec_of(const DictShape& shape) {
    shm::SegmentSpec spec;
    spec.kind = shm::SegmentKind::dict;
    spec.layout_signature = shm::DictTable::layout_signature();
    spec.type_signature = shape.type_signature;
    spec.type_text = shape.type_text;
    spec.capacity = stripes_of(shape);
    spec.element_bytes = shape.node.is_fixed() ? shape.node.least() : 0;
    spec.options = static_cast<std::uint32_t>(shape.wait);
    spec.body_bytes =
        shm::round_up(shm::DictTable::head_bytes(stripes_of(shape)), shm::kPageBytesMin);
    spec.body_alignment = shm::kPageBytesMin;
    spec.room_bytes = shm::Arena::room_bytes(shape.max_bytes / shm::kUnitBytes);
    return spec;
}

void DictCore::initialise(shm::Segment& made, const DictShape& shape) noexcept {
    shm::DictTable::Shape table;
    table.stripes = stripes_of(shape);
    table.units_max = shape.max_bytes / shm::kUnitBytes;
    table.first_number = shape.first_number;
    shm::DictTable::initialise(made.body(), table);
}

std::shared_ptr<DictCore> DictCore::make(std::string_view name, SyncOpen how,
                                         const DictShape& shape, const shm::MemoryOptions& memory,
                                         unsigned permissions) {
    const std::string object = object_name(name);
    if (name.empty() != (how == SyncOpen::anonymous)) {
        throw std::invalid_argument(object + ": a named one needs a name");
    }
    constexpr std::uint64_t kBytesMin = 64 * shm::kUnitBytes;
    constexpr std::uint64_t kBytesMax = shm::Arena::kUnitsMax * shm::kUnitBytes;
    if (shape.max_bytes < kBytesMin || shape.max_bytes > kBytesMax) {
        throw std::invalid_argument(object + ": max_bytes is " + std::to_string(kBytesMin) +
                                    " to " + std::to_string(kBytesMax) + ", not " +
                                    std::to_string(shape.max_bytes));
    }
    const shm::SegmentSpec spec = spec_of(shape);
    const auto is = [](const shm::Failure& failure, int error) {
        return failure.kind == shm::FailureKind::environment && failure.error == error;
    };
    for (;;) {
        shm::Failure failure;
        if (how == SyncOpen::open || how == SyncOpen::open_or_create) {
            if (auto segment = shm::Segment::open(name, spec, failure)) {
                return std::make_shared<DictCore>(std::move(segment), shape);
            }
            if (how == SyncOpen::open || !is(failure, ENOENT)) {
                throw_failure(object, failure);
            }
            failure = {};
        }
        auto segment = shm::Segment::create(name, spec, memory, permissions, failure,
                                            [&](shm::Segment& made) { initialise(made, shape); });
        if (segment) {
            return std::make_shared<DictCore>(std::move(segment), shape);
        }
        // Made by another since we looked: open that.
        if (how != SyncOpen::open_or_create || !is(failure, EEXIST)) {
            throw_failure(object, failure);
        }
    }
}

std::shared_ptr<DictCore> DictCore::unpack(Unparcel& parcel, const DictShape& shape) {
    return std::make_shared<DictCore>(parcel.take_segment(spec_of(shape), object_name({})), shape);
}

void DictCore::unlink(std::string_view name) {
    shm::Failure failure;
    if (!shm::Segment::unlink(name, failure)) {
        throw_failure(object_name(name), failure);
    }
}

DictCore::DictCore(std::shared_ptr<shm::Segment> segment, const DictShape& wanted)
    : segment_(std::move(segment)),
      object_(object_name(segment_->name())),
      table_(*segment_, table_shape(*segment_, wanted, object_)),
      wait_(static_cast<Wait>(segment_->options() & kWaitMask)) {}

shm::MemberId DictCore::join() {
    shm::Failure failure;
    const shm::MemberId id = segment_->members().join(failure);
    if (id == shm::kNobody) {
        throw_failure(object_, failure);
    }
    return id;
}

void DictCore::throw_damaged() const {
    throw BadSegment(
        object_ + ": is damaged, something else wrote to its memory: remove it and make it anew");
}

void DictCore::check(shm::DictResult result, const shm::Shortage& shortage) const {
    switch (result) {
        case shm::DictResult::done:
        case shm::DictResult::missing:
            return;
        case shm::DictResult::full:
            throw_out_of_memory(object_, table_.arena(), shortage);
        case shm::DictResult::would_deadlock:
            throw Error(object_ + ": would deadlock: this thread is changing it already");
        case shm::DictResult::damaged:
            break;
    }
    throw_damaged();
}

void DictCore::refuse_in_update() const {
    if (UpdateFrame::is_open(segment_->nonce())) [[unlikely]] {
        throw Error(object_ +
                    ": would deadlock: it cannot be written by the function that update() runs; "
                    "change what that was given instead");
    }
}

void DictCore::step(shm::DictTable::StepKind kind, std::span<const shm::DictChange> changes) {
    refuse_in_update();
    shm::Shortage shortage;
    check(table_.step(kind, changes, me(), wait_, spin_, shortage), shortage);
}

std::vector<shm::StripeCopy> DictCore::snapshot(shm::DictTable::CopyWhat what) {
    std::vector<shm::StripeCopy> copies;
    const auto id = [](void* core) { return static_cast<DictCore*>(core)->me(); };
    check(table_.snapshot(what, copies, id, this, wait_, spin_), {});
    return copies;
}

std::uint64_t DictCore::size() {
    // A dead writer may have changed a stripe and not yet its count.
    for (std::uint32_t index = 0; index < table_.stripes(); ++index) {
        if (table_.is_changing(index) && table_.lock_of(index).is_abandoned()) {
            table_.mend(index, me());
        }
    }
    return table_.size();
}

std::vector<std::byte> DictTurn::value() const {
    std::vector<std::byte> words(place_.value.padded());
    shm::load_block_words(words.data(), place_.value.data, words.size());
    words.resize(place_.value.bytes);
    return words;
}

}  // namespace sluice::detail
