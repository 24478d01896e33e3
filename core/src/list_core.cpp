// Making, opening and changing Lists; errors in words.
#include "sluice/detail/list_core.hpp"

#include <stdexcept>

#include "sluice/detail/failure.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::string_view kNoun = "List";
constexpr std::uint32_t kWaitMask = 3;
constexpr std::uint32_t kInlineOption = 4;

std::uint32_t options_of(const ListShape& shape) noexcept {
    return static_cast<std::uint32_t>(shape.wait) | (shape.element.is_inline ? kInlineOption : 0U);
}

// Of a segment, however it came here. What its header says is checked against what there is.
shm::ListTable::Shape table_shape(const shm::Segment& segment, const ListShape& wanted,
                                  const std::string& object) {
    shm::ListTable::Shape shape;
    shape.element = wanted.element;
    const std::size_t head = shm::ListTable::head_bytes();
    if (segment.element_bytes() == wanted.element.element_bytes &&
        (segment.options() & kWaitMask) <= static_cast<std::uint32_t>(Wait::park) &&
        (segment.options() & ~kWaitMask) == (wanted.element.is_inline ? kInlineOption : 0U) &&
        head <= segment.body_bytes()) {
        shape.units_max = shm::Arena::checked_units_max(
            reinterpret_cast<const shm::ListLayout*>(segment.body())->arena, segment, head);
    }
    if (shape.units_max == 0) {
        throw BadSegment(object +
                         ": has a damaged header: its memory does not fit into it; remove it");
    }
    return shape;
}

}  // namespace

shm::SegmentSpec ListCore::spec_of(const ListShape& shape) {
    shm::SegmentSpec spec;
    spec.kind = shm::SegmentKind::list;
    spec.layout_signature = shm::ListTable::layout_signature();
    spec.type_signature = shape.type_signature;
    spec.type_text = shape.type_text;
    spec.capacity = 1;
    spec.element_bytes = shape.element.element_bytes;
    spec.options = options_of(shape);
    spec.body_bytes = shm::round_up(shm::ListTable::head_bytes(), shm::kPageBytesMin);
    spec.body_alignment = shm::kPageBytesMin;
    spec.room_bytes = shm::Arena::room_bytes(shape.max_bytes / shm::kUnitBytes);
    return spec;
}

void ListCore::initialise(shm::Segment& made, const ListShape& shape) noexcept {
    shm::ListTable::Shape table;
    table.units_max = shape.max_bytes / shm::kUnitBytes;
    table.first_number = shape.first_number;
    shm::ListTable::initialise(made.body(), table);
}

std::shared_ptr<ListCore> ListCore::make(const shm::SegmentPlace& place, SyncOpen how,
                                         const ListShape& shape, const shm::MemoryOptions& memory,
                                         unsigned permissions) {
    GrowingShape growing;
    growing.noun = kNoun;
    growing.spec = spec_of(shape);
    growing.max_bytes = shape.max_bytes;
    growing.initialise = [](shm::Segment& made, const void* wanted) {
        initialise(made, *static_cast<const ListShape*>(wanted));
    };
    growing.shape = &shape;
    return std::make_shared<ListCore>(make_segment(place, how, growing, memory, permissions),
                                      shape);
}

std::shared_ptr<ListCore> ListCore::unpack(Unparcel& parcel, const ListShape& shape) {
    return std::make_shared<ListCore>(parcel.take_segment(spec_of(shape), kNoun), shape);
}

void ListCore::unlink(std::string_view name) {
    shm::Failure failure;
    if (!shm::Segment::unlink(name, failure)) {
        throw_failure(object_name(kNoun, name), failure);
    }
}

ListCore::ListCore(std::shared_ptr<shm::Segment> segment, const ListShape& wanted)
    : segment_(std::move(segment)),
      object_(object_name(kNoun, segment_->name())),
      table_(*segment_, table_shape(*segment_, wanted, object_)),
      wait_(static_cast<Wait>(segment_->options() & kWaitMask)) {}

bool ListCore::check(shm::ListResult result, const shm::Shortage& shortage) const {
    switch (result) {
        case shm::ListResult::done:
            return true;
        case shm::ListResult::outside:
            return false;
        case shm::ListResult::full:
            throw_out_of_memory(object_, table_.arena(), shortage);
        case shm::ListResult::would_deadlock:
            throw Error(object_ + ": would deadlock: this thread is changing it already");
        case shm::ListResult::damaged:
            break;
    }
    throw_damaged(object_);
}

void ListCore::throw_outside(std::int64_t index, std::uint64_t size) const {
    throw std::out_of_range(object_ + ": has no element " + std::to_string(index) + ", it has " +
                            std::to_string(size));
}

std::uint64_t ListCore::size() const {
    std::uint64_t size = 0;
    static_cast<void>(check(table_.size(size)));
    return size;
}

std::vector<std::byte> ListCore::snapshot(std::uint64_t& count) {
    std::vector<std::byte> elements;
    const auto id = [](void* core) { return static_cast<ListCore*>(core)->me(); };
    static_cast<void>(check(table_.snapshot(elements, count, id, this, wait_, spin_)));
    return elements;
}

std::vector<std::byte> ListTurn::element(std::uint64_t at) const {
    const shm::ListTable::ElementBytes found = core_.table_.element_now(at);
    if (found.data == nullptr) {
        throw_damaged(core_.object_);
    }
    std::vector<std::byte> words(shm::round_up(found.bytes, 8));
    shm::load_block_words(words.data(), found.data, words.size());
    words.resize(found.bytes);
    return words;
}

void ListTurn::splice(std::uint64_t at, std::uint64_t erased,
                      std::span<const shm::ListTable::Source> inserted) {
    const std::uint64_t size = this->size();
    if (at > size || erased > size - at) {  // it was not, when they were chosen
        throw_damaged(core_.object_);
    }
    std::vector<shm::ListTable::Source> sources;
    sources.reserve(size - erased + inserted.size());
    for (std::uint64_t index = 0; index <= size; ++index) {
        if (index == at) {
            sources.insert(sources.end(), inserted.begin(), inserted.end());
        }
        if (index < size && (index < at || index >= at + erased)) {
            sources.emplace_back().index = index;
        }
    }
    replace(sources);
}

}  // namespace sluice::detail
