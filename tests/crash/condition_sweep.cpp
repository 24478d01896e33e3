// Operations on a Condition with a Lock; the rescue of a notified waiter, and a newcomer with its
// id. What consumers wait for is counted in memory that the lock guards.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "crash/words_sweep.hpp"
#include "sluice/condition.hpp"
#include "support/processes.hpp"
#include "support/words.hpp"

namespace sluice::crash {
namespace {

using test::Child;

enum class ConditionScenery : std::uint8_t {
    nobody,
    waiter,         // another waits
    dead_waiter,    // one who waited has died, another waits
    dead_notified,  // one was told and died, another waits
};
const char* name_of(ConditionScenery state) {
    constexpr const char* kNames[] = {"nobody waits", "another waits", "a dead one, another waits",
                                      "a dead one was told"};
    return kNames[static_cast<int>(state)];
}

class ConditionScene : public Scene {
 public:
    using Operation = void (*)(ConditionScene&);
    struct Plan {
        Operation act{};
        bool waits{};
        bool tells_all{};
        bool unlocked{};  // who dies before its commit store has told nobody
    };
    struct Notes {
        std::atomic<int> things;  // changed under the lock only
        std::atomic<int> waiting;
        std::atomic<int> go;
    };

    ConditionScene(ConditionScenery state, const Plan& plan) : plan_(plan) {
        if (state == ConditionScenery::dead_waiter || state == ConditionScenery::dead_notified) {
            Child dead([this] { consume(lock_, 1); });
            wait_until_asleep(dead);
            dead.stop();
            start_other();
            if (state == ConditionScenery::dead_notified) {
                add_and_notify(1);  // the stopped one, for it is the oldest
            }
            dead.kill_and_join();
        } else if (state == ConditionScenery::waiter) {
            start_other();
        }
    }

    void prepare() override {
        // A member of both, so that only the operation itself is swept.
        const std::scoped_lock held(lock_);
        static_cast<void>(condition_.wait_for(lock_, std::chrono::nanoseconds(1)));
    }
    void act() override { plan_.act(*this); }
    bool may_sleep() const override { return plan_.waits; }
    bool depends_on_others() const override { return true; }
    bool is_steady() const override { return false; }
    void wake() override {
        // A younger one waits, too; the victim is told.
        if (other_.pid() <= 0) {
            start_other();
        }
        add_and_notify(1);
    }

    void rival() override {
        if (lock_.try_lock()) {
            notes_->things.fetch_add(1);
            condition_.notify_one();
            lock_.unlock();
        }
    }

    int check(bool) override {
        // Whoever else waits gets what is there without being told again: by the dead one's
        // notification, or by its death with the lock.
        if (other_.pid() <= 0) {
            {
                const std::scoped_lock held(lock_);
                notes_->things.store(0);  // nobody waited when it was told of
            }
            start_other();
        }
        bool there = false;
        {
            const std::scoped_lock held(lock_);
            there = notes_->things.load() > 0;
        }
        if (!there) {
            add_and_notify(1);
        } else if (plan_.unlocked) {
            condition_.notify_one();
        }
        require(other_.join() == 0, "the other waiter failed");
        // And the next one, with the places of the dead.
        {
            const std::scoped_lock held(lock_);
            notes_->things.store(0);
            lock_.repair();
        }
        start_other();
        add_and_notify(1);
        require(other_.join() == 0, "a newcomer failed");
        require(notes_->things.load() == 0, "things are taken twice, or never");
        return 0;
    }

    void consume(const Lock& lock, int number) {
        std::unique_lock held(lock);
        notes_->waiting.store(number);
        condition_.wait(held, [this] { return notes_->things.load() > 0; });
        notes_->things.fetch_sub(1);
    }
    void add_and_notify(int count) {
        const std::scoped_lock held(lock_);
        notes_->things.fetch_add(count);
        count == 1 ? condition_.notify_one() : condition_.notify_all();
    }
    const Lock& lock() const { return lock_; }
    const Condition& condition() const { return condition_; }
    Notes& notes() { return *notes_; }

 private:
    static void wait_until_asleep(const Child& child) {
        test::await([&child] { return test::sleeps_in_futex(child.pid()); });
    }
    void start_other() {
        other_ = Child([this] { consume(lock_, 2); });
        // Asleep in the condition, not before the lock.
        test::await([this] { return notes_->waiting.load() == 2; });
        notes_->waiting.store(0);
        { const std::scoped_lock held(lock_); }
        wait_until_asleep(other_);
    }

    Lock lock_{LockOptions{.wait = Wait::park}};
    Condition condition_{ConditionOptions{.wait = Wait::park}};
    Plan plan_;
    test::Shared<Notes> notes_;
    Child other_;
};

void wait(ConditionScene& scene) {
    scene.consume(scene.lock(), 3);
}
void wait_briefly(ConditionScene& scene) {
    const std::scoped_lock held(scene.lock());
    if (scene.condition().wait_for(scene.lock(), std::chrono::microseconds(1)) &&
        scene.notes().things.load() > 0) {
        scene.notes().things.fetch_sub(1);
    }
}
void notify_one(ConditionScene& scene) {
    scene.add_and_notify(1);
}
void notify_all(ConditionScene& scene) {
    scene.add_and_notify(2);
}
void notify_unlocked(ConditionScene& scene) {
    {
        const std::scoped_lock held(scene.lock());
        scene.notes().things.fetch_add(1);
    }
    scene.condition().notify_one();
}

// The rescue itself, on the bare word: one was told and died; a newcomer gets its id and waits.
class ConditionRescue : public Scene {
 public:
    explicit ConditionRescue(std::uint64_t first_ticket) : condition_(3, first_ticket) {
        static_cast<void>(condition_.me());
        Child dead([this] { sleep(1); });
        test::await([this] { return asleep_->load() == 1; });
        test::await([&] { return test::sleeps_in_futex(dead.pid()); });
        dead.stop();
        require(condition_->notify(1) == 1, "the scene cannot be set");
        dead.kill_and_join();
    }
    void prepare() override { static_cast<void>(condition_.me()); }
    void act() override { static_cast<void>(condition_.members().rescue()); }
    void rival() override {
        static_cast<void>(condition_.members().rescue());
        newcomer_ = Child([this] { sleep(2); });
        test::await([this] { return asleep_->load() == 2; });
    }
    int check(bool) override {
        if (newcomer_.pid() <= 0) {
            static_cast<void>(condition_.members().rescue());
            rival();
        }
        // A late rescuer may have told it of the dead one's notification; else it still waits.
        const bool told = condition_->notify(1) == 1;
        require(told || told_->load() == 2 || told_later(), "a newcomer's place was taken away");
        require(newcomer_.join() == 0, "the newcomer failed");
        return 0;
    }

 private:
    void sleep(int number) {
        shm::SpinBudget budget;
        const auto place = condition_->announce(condition_.me());
        asleep_->store(number);
        static_cast<void>(condition_->wait(place, Wait::park, budget, shm::Deadline::never()));
        condition_->finish(place);
        told_->store(number);
    }
    bool told_later() {
        test::await([this] { return told_->load() == 2; });
        return true;
    }

    test::Condition condition_;
    test::Shared<std::atomic<int>> asleep_;
    test::Shared<std::atomic<int>> told_;
    Child newcomer_;
};

}  // namespace

SweepCounts sweep_condition() {
    using State = ConditionScenery;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, const ConditionScene::Plan& plan,
                            const std::vector<State>& states, bool pairs = false) {
        for (const State state : states) {
            sum += sweep("condition: " + operation, name_of(state),
                         [&] { return std::make_unique<ConditionScene>(state, plan); },
                         {.pairs = pairs});
        }
    };
    run("wait", {.act = wait, .waits = true}, {State::nobody});
    run("notify_one", {.act = notify_one}, {State::waiter, State::dead_waiter}, true);
    run("notify_all", {.act = notify_all, .tells_all = true}, {State::waiter});
    run("notify_one, unlocked", {.act = notify_unlocked, .unlocked = true}, {State::waiter}, true);
    run("wait_for", {.act = wait_briefly}, {State::nobody, State::dead_notified});
    sum += sweep("condition: rescue, id reused", "a dead one was told",
                 [] { return std::make_unique<ConditionRescue>(0ULL - 2); });
    return sum;
}

}  // namespace sluice::crash
