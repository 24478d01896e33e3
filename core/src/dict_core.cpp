// Making, opening and filling Dicts; errors in words.
#include "sluice/detail/dict_core.hpp"

#include <algorithm>
#include <bit>

#include "sluice/detail/failure.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::string_view kNoun = "Dict";
constexpr std::uint32_t kWaitMask = 3;

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

std::shared_ptr<DictCore> DictCore::make(const shm::SegmentPlace& place, SyncOpen how,
                                         const DictShape& shape, const shm::MemoryOptions& memory,
                                         unsigned permissions) {
    GrowingShape growing;
    growing.noun = kNoun;
    growing.spec = spec_of(shape);
    growing.max_bytes = shape.max_bytes;
    growing.initialise = [](shm::Segment& made, const void* wanted) {
        initialise(made, *static_cast<const DictShape*>(wanted));
    };
    growing.shape = &shape;
    return std::make_shared<DictCore>(make_segment(place, how, growing, memory, permissions),
                                      shape);
}

std::shared_ptr<DictCore> DictCore::unpack(Unparcel& parcel, const DictShape& shape) {
    return std::make_shared<DictCore>(parcel.take_segment(spec_of(shape), kNoun), shape);
}

void DictCore::unlink(std::string_view name) {
    shm::Failure failure;
    if (!shm::Segment::unlink(name, failure)) {
        throw_failure(object_name(kNoun, name), failure);
    }
}

DictCore::DictCore(std::shared_ptr<shm::Segment> segment, const DictShape& wanted)
    : segment_(std::move(segment)),
      object_(object_name(kNoun, segment_->name())),
      table_(*segment_, table_shape(*segment_, wanted, object_)),
      wait_(static_cast<Wait>(segment_->options() & kWaitMask)) {}

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
    throw_damaged(object_);
}

void DictCore::step(shm::DictTable::StepKind kind, std::span<const shm::DictChange> changes) {
    UpdateFrame::refuse(segment_->nonce(), object_);
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
            table_.mend(index, segment_->members().id());
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
