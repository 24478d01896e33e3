// Making barriers; meeting at one; leaving in good order.
#include "sluice/detail/barrier_core.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

ObjectShape shape_of(const Origin& origin, std::uint32_t parties, Wait wait) {
    constexpr std::uint32_t kMax = shm::BarrierWord::kPartiesMax;
    if (origin.may_make() && (parties == 0 || parties > kMax)) {
        throw std::invalid_argument("Barrier: has 1 to " + std::to_string(kMax) + " parties, not " +
                                    std::to_string(parties));
    }
    ObjectShape shape;
    shape.kind = shm::SegmentKind::barrier;
    shape.noun = "Barrier";
    shape.layout_signature = shm::BarrierWord::layout_signature();
    shape.body_bytes = [](std::uint64_t, std::uint32_t members) {
        return shm::BarrierWord::bytes(members);
    };
    shape.initialise = [](std::byte* body, const ObjectShape&, std::uint32_t) {
        shm::BarrierWord::initialise(body);
    };
    shape.capacity = parties;
    shape.capacity_max = kMax;
    shape.wait = wait;
    return shape;
}

// The barriers that this thread is a party of. Destroyed before what the ids and the bell live in:
// those are made before it. A child made by fork finds its parent's, of which it is no party: to
// leave those does nothing. A bare pointer beside its janitor, as objects may outlive the thread's
// storage: who attaches then dies at the end, as who is killed.
using Parties = std::vector<std::weak_ptr<BarrierCore>>;
constinit thread_local Parties* parties_of_this_thread = nullptr;
struct Janitor {
    bool armed{false};
    ~Janitor() {
        BarrierCore::leave_all();
        delete parties_of_this_thread;
        parties_of_this_thread = nullptr;
    }
};
thread_local Janitor janitor;

}  // namespace

BarrierCore::BarrierCore(const Origin& origin, std::uint32_t parties, Wait wait)
    : ObjectCore(origin, shape_of(origin, parties, wait)),
      word_(body(), members(), static_cast<std::uint32_t>(capacity())) {}

void BarrierCore::leave_all() noexcept {
    if (parties_of_this_thread == nullptr) {
        return;
    }
    for (const std::weak_ptr<BarrierCore>& weak : *parties_of_this_thread) {
        if (const std::shared_ptr<BarrierCore> core = weak.lock()) {
            core->word_.leave();
        }
    }
    parties_of_this_thread->clear();
}

void BarrierCore::attach() {
    const shm::MemberId id = me();  // before the janitor: see above
    if (parties_of_this_thread == nullptr) {
        parties_of_this_thread = new Parties;
        janitor.armed = true;  // touches it, so that its destructor runs at the thread's end
    }
    std::erase_if(*parties_of_this_thread, [](const auto& weak) { return weak.expired(); });
    parties_of_this_thread->push_back(weak_from_this());
    word_.attach(id);
}

void BarrierCore::throw_broken() const {
    throw BrokenBarrier(object() +
                        " is broken: a party died, a wait timed out, or it was aborted or reset");
}

std::optional<std::uint32_t> BarrierCore::wait(Deadline deadline) {
    shm::BarrierWord::Arrival arrival;
    shm::BarrierResult result = word_.arrive(arrival);
    if (result == shm::BarrierResult::no_party) {
        attach();
        result = word_.arrive(arrival);
    }
    if (result == shm::BarrierResult::waiting) {
        const shm::Waited waited = shm::wait_until(
            word_.sleepers(), how_to_wait(), spin_, deadline,
            [&] {
                result = word_.look(arrival);
                return result != shm::BarrierResult::waiting;
            },
            [] {}, [&] { return word_.stuck(); });
        if (waited == shm::Waited::timed_out) {
            if (word_.give_up(arrival)) {
                return std::nullopt;
            }
            result = word_.look(arrival);  // it ended at the last moment
        }
    }
    if (result != shm::BarrierResult::opened) {
        throw_broken();
    }
    return arrival.index;
}

}  // namespace sluice::detail
