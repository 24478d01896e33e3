// Operations on a bare guarded value. The victim adds 1, whoever else writes adds 10.
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "crash/words_sweep.hpp"
#include "support/processes.hpp"
#include "support/words.hpp"

namespace sluice::crash {
namespace {

using shm::Deadline;
using shm::LockResult;
using test::Child;

enum class GuardedState : std::uint8_t {
    free,
    wrapping,     // the version is about to wrap
    dead_writer,  // the lock is that of one who died, and its spare is half written
    living,       // the survivor writes, until the victim sleeps
    sleeper,      // the victim writes, and another sleeps to do so, too
};
const char* name_of(GuardedState state) {
    constexpr const char* kNames[] = {"free", "wrapping", "a dead writer's", "a living writer's",
                                      "a sleeping writer"};
    return kNames[static_cast<int>(state)];
}

class GuardedScene : public Scene {
 public:
    using Value = test::Guarded<2>;
    using Operation = void (*)(GuardedScene&);
    struct Plan {
        Operation act{};
        bool writes_before{};  // it is the second half of a write
        bool commits{};
    };

    GuardedScene(GuardedState state, const Plan& plan)
        : value_(1, state == GuardedState::wrapping ? ~0ULL : 0, 8), state_(state), plan_(plan) {
        static_cast<void>(value_.me());
        if (state == GuardedState::dead_writer) {
            Child writer([this] {
                ready_->store(value_.begin() == LockResult::done ? 1 : 2);
                value_->buffer(value_->version() + 1)[0] = std::byte{0xee};
                ready_->store(3);
                for (;;) {
                    pause();
                }
            });
            test::await([this] { return ready_->load() >= 2; });
            require(ready_->load() == 3, "the scene cannot be set");
            writer.kill_and_join();
        } else if (state == GuardedState::living) {
            require(value_.begin() == LockResult::done, "the scene cannot be set");
            holds_ = true;
        }
    }

    void prepare() override {
        static_cast<void>(value_.me());
        if (plan_.writes_before && value_.begin() != LockResult::done) {
            _exit(4);
        }
    }
    void started() override {
        if (state_ == GuardedState::sleeper) {
            sleeper_ = Child([this] {
                if (value_.begin() != LockResult::done || !add(10)) {
                    _exit(5);
                }
            });
            test::await([this] { return test::sleeps_in_futex(sleeper_.pid()); });
        }
    }
    void act() override { plan_.act(*this); }
    bool may_sleep() const override { return state_ == GuardedState::living; }
    bool depends_on_others() const override { return state_ == GuardedState::sleeper; }
    void wake() override { let_go(); }

    void rival() override {
        require(value_.read() != kTorn, "a mixture was read");
        let_go();
        if (value_.begin(Deadline::passed()) == LockResult::done) {
            require(add(10), "the survivor's lock was taken away");
            tens_ += 1;
        }
    }

    int check(bool returned) override {
        let_go();
        if (sleeper_.pid() > 0) {
            require(sleeper_.join() == 0, "the sleeping writer failed");
            tens_ += 1;
        }
        const std::uint64_t value = value_.read();
        require(value != kTorn, "a mixture is the value");
        const std::uint64_t happened = value - 1 - 10 * tens_;
        require(happened <= 1, "commits are lost, or never were");
        require(!returned || happened == (plan_.commits ? 1U : 0U),
                "an acknowledged commit is lost");
        require(torn_->load() == 0, "the victim read a mixture");
        require(value_.begin() == LockResult::done, "the survivor cannot write");
        require(value_.read() == value, "the value changed by itself");
        require(add(100), "the survivor's lock was taken away");
        require(value_.read() == value + 100, "the survivor's commit is lost");
        static_cast<void>(value_.members().rescue());
        Child newcomer([this] {
            if (value_.begin() != LockResult::done || !add(1)) {
                _exit(6);
            }
        });
        require(newcomer.join() == 0, "a newcomer cannot write");
        return static_cast<int>(happened);
    }

    /// Adds to the value by whoever holds the lock, and gives it back.
    bool add(std::uint64_t number) {
        value_.commit(value_.read() + number);
        return value_.end();
    }
    Value& value() noexcept { return value_; }
    void note_torn() { torn_->store(1); }
    static constexpr std::uint64_t kTorn = ~0ULL;

 private:
    void let_go() {
        if (holds_) {
            holds_ = false;
            require(value_.end(), "the survivor's lock was taken away");
        }
    }

    Value value_;
    GuardedState state_;
    Plan plan_;
    test::Shared<std::atomic<int>> ready_;
    test::Shared<std::atomic<int>> torn_;
    Child sleeper_;
    std::uint64_t tens_{};
    bool holds_{};
};

void write(GuardedScene& scene) {
    if (scene.value().begin() == LockResult::done) {
        static_cast<void>(scene.add(1));
    }
}
void commit(GuardedScene& scene) {
    static_cast<void>(scene.add(1));
}
void drop(GuardedScene& scene) {
    if (scene.value().begin() == LockResult::done) {
        static_cast<void>(scene.value().end());
    }
}
void read(GuardedScene& scene) {
    if (scene.value().read() == GuardedScene::kTorn) {
        scene.note_torn();
    }
}

}  // namespace

SweepCounts sweep_guarded() {
    using State = GuardedState;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, const GuardedScene::Plan& plan,
                            const std::vector<State>& states) {
        for (const State state : states) {
            sum += sweep("guarded: " + operation, name_of(state),
                         [&] { return std::make_unique<GuardedScene>(state, plan); });
        }
    };
    run("write", {.act = write, .commits = true},
        {State::free, State::wrapping, State::dead_writer, State::living});
    run("commit", {.act = commit, .writes_before = true, .commits = true}, {State::sleeper});
    run("write, drop", {.act = drop}, {State::free});
    run("read", {.act = read}, {State::free, State::dead_writer});
    return sum;
}

}  // namespace sluice::crash
