// Making semaphores; waiting for a permit.
#include "sluice/detail/semaphore_core.hpp"

#include <stdexcept>
#include <string>

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::uint32_t kOwnedOption = shm::SegmentOptions::kPermitsOwned;

// What is made, with what ObjectShape does not know.
struct SemaphoreShape : ObjectShape {
    std::uint32_t value{};
};

shm::SemaphoreWord::Shape word_shape(std::uint64_t capacity, std::uint32_t options) noexcept {
    return {static_cast<std::uint32_t>(capacity),
            (options & kOwnedOption) != 0 ? shm::Permits::owned : shm::Permits::counted};
}

// Without the owners: they are looked for when it is known whether there are any.
std::size_t body_bytes(std::uint64_t capacity, std::uint32_t) {
    return shm::SemaphoreWord::bytes(word_shape(capacity, 0));
}

void initialise(std::byte* body, const ObjectShape& shape, std::uint32_t) {
    shm::SemaphoreWord::initialise(body, word_shape(shape.capacity, shape.options),
                                   static_cast<const SemaphoreShape&>(shape).value);
}

std::string_view noun_of(shm::SegmentKind kind) noexcept {
    return kind == shm::SegmentKind::bounded_semaphore ? "BoundedSemaphore" : "Semaphore";
}

SemaphoreShape shape_of(const Origin& origin, const SemaphoreCore::Wanted& wanted) {
    using shm::Permits;
    using shm::SemaphoreWord;
    const bool owned = wanted.permits == Permits::owned;
    const bool bounded = owned || wanted.kind == shm::SegmentKind::bounded_semaphore;
    const std::uint32_t max = owned ? SemaphoreWord::kOwnedMax : SemaphoreWord::kLimitMax;
    const std::uint32_t min = bounded ? 1 : 0;
    if (origin.may_make() && (wanted.value < min || wanted.value > max)) {
        throw std::invalid_argument(std::string(noun_of(wanted.kind)) + ": has " +
                                    std::to_string(min) + " to " + std::to_string(max) +
                                    " permits" + (owned ? " where they are owned" : "") + ", not " +
                                    std::to_string(wanted.value));
    }
    SemaphoreShape shape;
    shape.kind = wanted.kind;
    shape.noun = noun_of(wanted.kind);
    shape.layout_signature = SemaphoreWord::layout_signature();
    shape.body_bytes = &body_bytes;
    shape.initialise = &initialise;
    shape.capacity = bounded ? wanted.value : SemaphoreWord::kLimitMax;
    shape.capacity_max = SemaphoreWord::kLimitMax;
    shape.options = owned ? kOwnedOption : 0;
    shape.wait = wanted.wait;
    shape.value = wanted.value;
    shape.extra_bytes = SemaphoreWord::bytes(word_shape(shape.capacity, shape.options)) -
                        SemaphoreWord::bytes(word_shape(shape.capacity, 0));
    return shape;
}

shm::SemaphoreWord::Shape found_shape(const ObjectCore& core) {
    const shm::SemaphoreWord::Shape shape = word_shape(core.capacity(), core.options());
    if (!shm::SemaphoreWord::fits(shape, core.segment().body_bytes())) {
        core.throw_damaged();
    }
    return shape;
}

}  // namespace

SemaphoreCore::SemaphoreCore(const Origin& origin, const Wanted& wanted)
    : ObjectCore(origin, shape_of(origin, wanted)),
      word_(body(), members(), found_shape(*this)),
      bounded_(wanted.kind == shm::SegmentKind::bounded_semaphore) {}

bool SemaphoreCore::look_and_take() {
    if (word_.shape().permits == shm::Permits::counted) {
        return false;
    }
    static_cast<void>(me());
    static_cast<void>(word_.stuck());
    return word_.take() == shm::SemaphoreResult::done;
}

bool SemaphoreCore::acquire(Deadline deadline) {
    shm::SemaphoreResult result{};
    const auto attempt = [&] {
        result = word_.take();
        return result != shm::SemaphoreResult::none;
    };
    for (;;) {
        const shm::Waited waited = shm::wait_until(
            word_.sleepers(), how_to_wait(), spin_, deadline, attempt, [] {},
            [&] { return word_.stuck(); });
        if (waited == shm::Waited::timed_out) {
            return look_and_take();  // of somebody who died meanwhile
        }
        if (result == shm::SemaphoreResult::done) {
            return true;
        }
        static_cast<void>(me());  // throws where there is no place for this thread
    }
}

std::uint32_t SemaphoreCore::value() {
    if (word_.shape().permits == shm::Permits::owned) {
        static_cast<void>(word_.stuck());  // what the dead held is free
    }
    return word_.value();
}

void SemaphoreCore::release_or_throw(std::uint32_t count) {
    const bool owned = word_.shape().permits == shm::Permits::owned;
    if (owned) {
        static_cast<void>(me());  // throws where there is no place for this thread
        if (word_.release(count) == shm::SemaphoreResult::done) {
            return;
        }
    }
    throw Error(object() + (owned      ? ": released a permit that this thread does not hold"
                            : bounded_ ? ": released more often than it was acquired"
                                       : ": released beyond " +
                                             std::to_string(word_.shape().limit) + " permits"));
}

}  // namespace sluice::detail
