// Making, opening and filling Dicts; errors in words.
#include "sluice/detail/dict_core.hpp"

#include <algorithm>
#include <bit>

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::string_view kNoun = "Dict";
// What the head of a new table tells, which ObjectShape does not know.
struct Shape : ObjectShape {
    shm::DictTable::Shape table{};
};

Shape object_shape(const Origin& origin, const DictShape& dict) {
    require_max_bytes(origin, kNoun, dict.max_bytes);
    Shape shape;
    shape.table.stripes = std::bit_ceil(std::clamp(dict.stripes, 1U, shm::DictTable::kStripesMax));
    shape.table.units_max = dict.max_bytes / shm::kUnitBytes;
    shape.table.first_number = dict.first_number;
    shape.kind = shm::SegmentKind::dict;
    shape.noun = kNoun;
    shape.layout_signature = shm::DictTable::layout_signature();
    shape.type_signature = dict.type_signature;
    shape.type_text = dict.type_text;
    shape.capacity = shape.table.stripes;
    shape.capacity_max = shm::DictTable::kStripesMax;
    shape.element_bytes = dict.node.is_fixed() ? dict.node.least() : 0;
    shape.body_bytes = [](std::uint64_t stripes, std::uint32_t) {
        return shm::round_up(shm::DictTable::head_bytes(static_cast<std::uint32_t>(stripes)),
                             shm::kPageBytesMin);
    };
    shape.body_alignment = shm::kPageBytesMin;
    shape.room_bytes = shm::Arena::room_bytes(shape.table.units_max);
    shape.initialise = [](std::byte* body, const ObjectShape& made, std::uint32_t) {
        shm::DictTable::initialise(body, static_cast<const Shape&>(made).table);
    };
    shape.wait = dict.wait;
    return shape;
}

shm::DictTable::Shape found_shape(const ObjectCore& core, const DictShape& wanted) {
    shm::DictTable::Shape shape;
    shape.node = wanted.node;
    // No two Dicts alike: nobody can know which keys fall together.
    shape.seed = core.segment().nonce();
    shape.stripes = static_cast<std::uint32_t>(core.capacity());
    shape.units_max =
        shm::Arena::checked_units_max(reinterpret_cast<const shm::DictLayout*>(core.body())->arena,
                                      core.segment(), shm::DictTable::head_bytes(shape.stripes));
    if (!std::has_single_bit(shape.stripes) || shape.units_max == 0) {
        core.throw_damaged_header();
    }
    return shape;
}

}  // namespace

DictCore::DictCore(const Origin& origin, const DictShape& wanted)
    : ObjectCore(origin, object_shape(origin, wanted)),
      table_(segment(), found_shape(*this, wanted)) {}

void DictCore::check(shm::DictResult result, const shm::Shortage& shortage) const {
    switch (result) {
        case shm::DictResult::done:
        case shm::DictResult::missing:
            return;
        case shm::DictResult::full:
            throw_out_of_memory(object(), table_.arena(), shortage);
        case shm::DictResult::would_deadlock:
            throw Error(object() + ": would deadlock: this thread is changing it already");
        case shm::DictResult::damaged:
            break;
    }
    throw_damaged();
}

void DictCore::step(shm::DictTable::StepKind kind, std::span<const shm::DictChange> changes) {
    UpdateFrame::refuse(segment().nonce(), object());
    shm::Shortage shortage;
    check(table_.step(kind, changes, me(), how_to_wait(), spin_, shortage), shortage);
}

std::vector<shm::StripeCopy> DictCore::snapshot(shm::DictTable::CopyWhat what) {
    std::vector<shm::StripeCopy> copies;
    const auto id = [](void* core) { return static_cast<DictCore*>(core)->me(); };
    check(table_.snapshot(what, copies, id, this, how_to_wait(), spin_), {});
    return copies;
}

std::uint64_t DictCore::size() {
    // A dead writer may have changed a stripe and not yet its count.
    for (std::uint32_t index = 0; index < table_.stripes(); ++index) {
        if (table_.is_changing(index) && table_.lock_of(index).is_abandoned()) {
            table_.mend(index, members().id());
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
