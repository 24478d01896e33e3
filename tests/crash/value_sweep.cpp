// Operations on a bare value whose length varies. The victim makes it longer, or shorter; whoever
// else writes makes it of another letter.
#include <unistd.h>

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

enum class ValueState : std::uint8_t {
    free,
    wrapping,     // the version is about to wrap
    dead_writer,  // the lock is that of one who died, and its spare is half written
};
const char* name_of(ValueState state) {
    constexpr const char* kNames[] = {"free", "wrapping", "a dead writer's"};
    return kNames[static_cast<int>(state)];
}

const std::string kOld(20, 'o');
const std::string kLonger(37, 'l');
const std::string kShorter(3, 's');
const std::string kRivals(30, 'r');

class ValueScene : public Scene {
 public:
    using Operation = void (*)(ValueScene&);
    struct Plan {
        Operation act{};
        const std::string* becomes{};  // null: it only reads
    };

    ValueScene(ValueState state, const Plan& plan)
        : value_(40, kOld, state == ValueState::wrapping ? ~0ULL : 0), plan_(plan) {
        if (state == ValueState::dead_writer) {
            Child writer([this] {
                ready_->store(value_.begin() == LockResult::done ? 1 : 2);
                value_.spoil_spare();
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

    void prepare() override { static_cast<void>(value_.me()); }
    void act() override { plan_.act(*this); }

    void rival() override {
        const std::string seen = value_.read();
        require(seen == kOld || (plan_.becomes != nullptr && seen == *plan_.becomes),
                "a mixture was read");
        for (int count = 0; count < 2; ++count) {
            if (value_.begin(Deadline::passed()) == LockResult::done) {
                value_.commit(kRivals);
                require(value_.end(), "the survivor's lock was taken away");
                rivalled_ = true;
            }
        }
    }

    int check(bool returned) override {
        require(torn_->load() == 0, "the victim read a mixture");
        const std::string seen = value_.read();
        const bool happened = plan_.becomes != nullptr && seen == *plan_.becomes;
        require(happened || seen == kOld || (rivalled_ && seen == kRivals),
                "a mixture is the value, or what nobody wrote");
        require(!returned || plan_.becomes == nullptr || happened || rivalled_,
                "an acknowledged commit is lost");
        require(value_.begin() == LockResult::done, "the survivor cannot write");
        value_.commit("next");
        require(value_.end() && value_.read() == "next", "the survivor's commit is lost");
        return happened ? 1 : 0;
    }

    test::SizedValue& value() noexcept { return value_; }
    void note(const std::string& seen) {
        if (seen != kOld && seen != kRivals) {
            torn_->store(1);
        }
    }
    const Plan& plan() const noexcept { return plan_; }

 private:
    test::SizedValue value_;
    Plan plan_;
    test::Shared<std::atomic<int>> ready_;
    test::Shared<std::atomic<int>> torn_;
    bool rivalled_{};
};

void write(ValueScene& scene) {
    if (scene.value().begin() == LockResult::done) {
        scene.value().commit(*scene.plan().becomes);
        static_cast<void>(scene.value().end());
    }
}
void read(ValueScene& scene) {
    scene.note(scene.value().read());
}

}  // namespace

SweepCounts sweep_value() {
    using State = ValueState;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, const ValueScene::Plan& plan) {
        for (const State state : {State::free, State::wrapping, State::dead_writer}) {
            sum += sweep("value: " + operation, name_of(state),
                         [&] { return std::make_unique<ValueScene>(state, plan); });
        }
    };
    run("store, longer", {.act = write, .becomes = &kLonger});
    run("store, shorter", {.act = write, .becomes = &kShorter});
    run("load", {.act = read});
    return sum;
}

}  // namespace sluice::crash
