// Making, opening and changing Lists; errors in words.
#include "sluice/detail/list_core.hpp"

#include <stdexcept>

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::string_view kNoun = "List";
constexpr std::uint32_t kInlineOption = 4;

// What the head of a new table tells, which ObjectShape does not know.
struct Shape : ObjectShape {
    shm::ListTable::Shape table{};
};

std::uint32_t option_of(const ListShape& list) noexcept {
    return list.element.is_inline ? kInlineOption : 0;
}

Shape object_shape(const Origin& origin, const ListShape& list) {
    require_max_bytes(origin, kNoun, list.max_bytes);
    Shape shape;
    shape.table.units_max = list.max_bytes / shm::kUnitBytes;
    shape.table.first_number = list.first_number;
    shape.kind = shm::SegmentKind::list;
    shape.noun = kNoun;
    shape.layout_signature = shm::ListTable::layout_signature();
    shape.type_signature = list.type_signature;
    shape.type_text = list.type_text;
    shape.element_bytes = list.element.element_bytes;
    shape.options = option_of(list);
    shape.body_bytes = [](std::uint64_t, std::uint32_t) {
        return shm::round_up(shm::ListTable::head_bytes(), shm::kPageBytesMin);
    };
    shape.body_alignment = shm::kPageBytesMin;
    shape.room_bytes = shm::Arena::room_bytes(shape.table.units_max);
    shape.initialise = [](std::byte* body, const ObjectShape& made, std::uint32_t) {
        shm::ListTable::initialise(body, static_cast<const Shape&>(made).table);
    };
    shape.wait = list.wait;
    return shape;
}

shm::ListTable::Shape found_shape(const ObjectCore& core, const ListShape& wanted) {
    shm::ListTable::Shape shape;
    shape.element = wanted.element;
    shape.units_max =
        shm::Arena::checked_units_max(reinterpret_cast<const shm::ListLayout*>(core.body())->arena,
                                      core.segment(), shm::ListTable::head_bytes());
    if (core.options() != option_of(wanted) || shape.units_max == 0) {
        core.throw_damaged_header();
    }
    return shape;
}

}  // namespace

ListCore::ListCore(const Origin& origin, const ListShape& wanted)
    : ObjectCore(origin, object_shape(origin, wanted)),
      table_(segment(), found_shape(*this, wanted)) {}

bool ListCore::check(shm::ListResult result, const shm::Shortage& shortage) const {
    switch (result) {
        case shm::ListResult::done:
            return true;
        case shm::ListResult::outside:
            return false;
        case shm::ListResult::full:
            throw_out_of_memory(object(), table_.arena(), shortage);
        case shm::ListResult::would_deadlock:
            throw Error(object() + ": would deadlock: this thread is changing it already");
        case shm::ListResult::damaged:
            break;
    }
    throw_damaged();
}

void ListCore::throw_outside(std::int64_t index, std::uint64_t size) const {
    throw std::out_of_range(object() + ": has no element " + std::to_string(index) + ", it has " +
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
    static_cast<void>(check(table_.snapshot(elements, count, id, this, how_to_wait(), spin_)));
    return elements;
}

std::vector<std::byte> ListTurn::element(std::uint64_t at) const {
    const shm::ListTable::ElementBytes found = core_.table_.element_now(at);
    if (found.data == nullptr) {
        core_.throw_damaged();
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
        core_.throw_damaged();
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
