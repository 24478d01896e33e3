// Operations on a bare array of four elements. The survivor knows what they were; the victim makes
// an element, or all of them, 100.
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "crash/manager_sweep.hpp"
#include "support/processes.hpp"
#include "support/words.hpp"

namespace sluice::crash {
namespace {

using shm::Deadline;
using shm::LockResult;
using test::Child;

enum class ArrayState : std::uint8_t {
    free,
    wrapping,     // epoch, versions and changes are about to wrap
    dead_writer,  // the lock is that of one who died in the middle of assigning
    living,       // the survivor writes, until the victim sleeps
};
const char* name_of(ArrayState state) {
    constexpr const char* kNames[] = {"free", "wrapping", "a dead writer's", "a living writer's"};
    return kNames[static_cast<int>(state)];
}

/// kWords: of an element; one is changed in place.
template <std::size_t kWords>
class ArrayScene : public Scene {
 public:
    using Array = test::Array<kWords>;
    using Numbers = typename Array::Numbers;
    using Operation = void (*)(ArrayScene&);
    enum class Effect : std::uint8_t { none, one, all };
    struct Plan {
        Operation act{};
        Effect effect{};
    };
    static constexpr Numbers kOld{10, 11, 12, 13};
    static constexpr Numbers kNew{100, 101, 102, 103};
    static constexpr std::size_t kChanged = 2;

    ArrayScene(ArrayState state, const Plan& plan)
        : array_(state == ArrayState::wrapping ? ~0ULL : 0), state_(state), plan_(plan) {
        require(array_.begin() == LockResult::done, "the scene cannot be set");
        array_.assign(kOld);
        if (state == ArrayState::living) {
            holds_ = true;
            return;
        }
        require(array_.end(), "the scene cannot be set");
        if (state == ArrayState::dead_writer) {
            Child writer([this] {
                ready_->store(array_.begin() == LockResult::done ? 1 : 2);
                array_.spoil_spare();
                ready_->store(3);
                for (;;) {
                    pause();
                }
            });
            test::await([this] { return ready_->load() >= 2; });
            require(ready_->load() == 3, "the scene cannot be set");
            writer.kill_and_join();
        }
    }

    void prepare() override { static_cast<void>(array_.me()); }
    void act() override { plan_.act(*this); }
    bool may_sleep() const override { return state_ == ArrayState::living; }
    void wake() override { let_go(); }

    void rival() override {
        const Numbers seen = array_.snapshot();
        require(seen == kOld || seen == expected(), "a mixture is there");
        let_go();
        if (array_.begin(Deadline::passed()) != LockResult::done) {
            return;
        }
        // Whoever reads meanwhile may find the first changed, or both, and never the second alone.
        array_.store(0, kRivals);
        array_.store(3, kRivals);
        require(array_.end(), "the survivor's lock was taken away");
        rivalled_ = true;
    }

    int check(bool returned) override {
        let_go();
        require(torn_->load() == 0, "the victim read a mixture");
        Numbers before = kOld;
        Numbers after = expected();
        if (rivalled_) {
            before[0] = before[3] = kRivals;
            if (plan_.effect != Effect::all) {
                after[0] = after[3] = kRivals;
            }
        }
        const Numbers seen = array_.snapshot();
        Numbers both = expected();  // the victim's was first, the rival's came after
        if (rivalled_) {
            both[0] = both[3] = kRivals;
        }
        const bool happened =
            plan_.effect != Effect::none && (seen == after || (rivalled_ && seen == both));
        require(happened || seen == before, "a mixture is there, or what nobody wrote");
        require(!returned || plan_.effect == Effect::none || happened,
                "an acknowledged change is lost");
        for (std::size_t index = 0; index < seen.size(); ++index) {
            require(array_.load(index) == seen[index], "an element is not what the snapshot has");
        }
        // Who comes next can write, one and all.
        require(array_.begin() == LockResult::done, "the survivor cannot write");
        array_.store(1, 7);
        Numbers next = seen;
        next[1] = 7;
        require(array_.snapshot() == next, "the survivor's element is lost");
        array_.assign(kOld);
        require(array_.snapshot() == kOld, "the survivor's elements are lost");
        array_.store(3, 8);
        require(array_.load(3) == 8 && array_.load(2) == kOld[2], "the survivor's is lost");
        require(array_.end(), "the survivor's lock was taken away");
        return happened ? 1 : 0;
    }

    Array& array() noexcept { return array_; }
    void note(const Numbers& seen) {
        Numbers first = kOld;
        first[0] = kRivals;
        Numbers both = first;
        both[3] = kRivals;
        if (seen != kOld && seen != first && seen != both) {
            torn_->store(1);
        }
    }

 private:
    static constexpr std::uint64_t kRivals = 50;

    Numbers expected() const {
        if (plan_.effect == Effect::all) {
            return kNew;
        }
        Numbers numbers = kOld;
        if (plan_.effect == Effect::one) {
            numbers[kChanged] = kNew[kChanged];
        }
        return numbers;
    }
    void let_go() {
        if (holds_) {
            holds_ = false;
            require(array_.end(), "the survivor's lock was taken away");
        }
    }

    Array array_;
    ArrayState state_;
    Plan plan_;
    test::Shared<std::atomic<int>> ready_;
    test::Shared<std::atomic<int>> torn_;
    bool holds_{};
    bool rivalled_{};
};

template <std::size_t kWords>
void store(ArrayScene<kWords>& scene) {
    using Its = ArrayScene<kWords>;
    if (scene.array().begin() == LockResult::done) {
        scene.array().store(Its::kChanged, Its::kNew[Its::kChanged]);
        static_cast<void>(scene.array().end());
    }
}
template <std::size_t kWords>
void assign(ArrayScene<kWords>& scene) {
    if (scene.array().begin() == LockResult::done) {
        scene.array().assign(ArrayScene<kWords>::kNew);
        static_cast<void>(scene.array().end());
    }
}
template <std::size_t kWords>
void snapshot(ArrayScene<kWords>& scene) {
    scene.note(scene.array().snapshot());
}
template <std::size_t kWords>
void load(ArrayScene<kWords>& scene) {
    auto seen = ArrayScene<kWords>::kOld;
    seen[0] = scene.array().load(0);
    scene.note(seen);
}

template <std::size_t kWords>
void sweep_elements(SweepCounts& sum) {
    using State = ArrayState;
    using Its = ArrayScene<kWords>;
    const std::string of = kWords == 1 ? "" : ", large";
    const auto run = [&](const std::string& operation, const typename Its::Plan& plan,
                         const std::vector<State>& states) {
        for (const State state : states) {
            sum += sweep("array: " + operation + of, name_of(state),
                         [&] { return std::make_unique<Its>(state, plan); });
        }
    };
    run("store", {.act = store<kWords>, .effect = Its::Effect::one},
        {State::free, State::wrapping, State::dead_writer, State::living});
    run("assign", {.act = assign<kWords>, .effect = Its::Effect::all},
        {State::free, State::wrapping, State::dead_writer});
    run("snapshot", {.act = snapshot<kWords>}, {State::free, State::wrapping, State::dead_writer});
    run("load", {.act = load<kWords>}, {State::free, State::wrapping});
}

}  // namespace

SweepCounts sweep_array() {
    SweepCounts sum;
    sweep_elements<1>(sum);
    sweep_elements<2>(sum);
    return sum;
}

}  // namespace sluice::crash
