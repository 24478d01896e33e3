// Operations on an RLock: what LockWord's sweep does not see, how often its owner holds it. A dead
// owner's count is nothing to the next.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "crash/words_sweep.hpp"
#include "sluice/lock.hpp"
#include "support/processes.hpp"

namespace sluice::crash {
namespace {

using test::Child;

enum class RLockState : std::uint8_t {
    free,
    dead_owner,  // held three times by one who died
    living,      // held twice by the survivor, who gives it back when the victim sleeps
};
const char* name_of(RLockState state) {
    constexpr const char* kNames[] = {"free", "three times a dead owner's", "a living owner's"};
    return kNames[static_cast<int>(state)];
}

class RLockScene : public Scene {
 public:
    using Operation = void (*)(const RLock&);
    struct Plan {
        Operation act{};
        unsigned held_before{};  // how often by the victim
        bool frees{};            // at its end nobody holds it
        bool borrows{};          // it takes the lock and gives it back: what has happened may end
    };
    struct Notes {
        std::atomic<int> ready;
        std::atomic<bool> robbed;
        std::atomic<int> victims;
    };

    RLockScene(RLockState state, const Plan& plan) : state_(state), plan_(plan) {
        if (state == RLockState::dead_owner) {
            Child owner([this] {
                hold(3);
                notes_->ready.store(1);
                for (;;) {
                    pause();
                }
            });
            test::await([this] { return notes_->ready.load() != 0; });
            owner.kill_and_join();
        } else if (state == RLockState::living) {
            hold(2);
        }
    }

    void prepare() override {
        // A participant, so that only the operation itself is swept; of this very lock not where
        // that would change what the dead one left.
        const RLock another;
        another.lock();
        another.unlock();
        if (state_ == RLockState::free && notes_->victims.fetch_add(1) == 0) {
            hold(plan_.held_before + 1);
            release(1);
        }
    }
    void act() override { plan_.act(lock_); }
    bool may_sleep() const override { return state_ == RLockState::living; }
    bool is_steady() const override { return !plan_.borrows; }
    void wake() override {
        if (state_ == RLockState::living) {
            release(2);
        }
    }

    void rival() override {
        if (state_ == RLockState::living && !given_back_) {
            release(2);
        }
        for (int round = 0; round < 2; ++round) {
            if (lock_.try_lock()) {
                require(lock_.try_lock(), "its owner does not get it again");
                release(2);
            }
        }
    }
    void rival_act() override {
        if (lock_.try_lock()) {
            notes_->robbed.store(!lock_.try_lock());
            lock_.unlock();
            lock_.unlock();
        }
    }

    int check(bool returned) override {
        if (state_ == RLockState::living && !given_back_) {
            release(2);
        }
        lock_.lock();
        const bool abandoned = lock_.abandoned();
        require(!notes_->robbed.load(), "its owner was robbed");
        require(state_ != RLockState::dead_owner || abandoned || plan_.frees,
                "a dead owner's lock is not marked");
        require(!(returned && plan_.frees && plan_.held_before != 0 && abandoned),
                "given back, and yet abandoned");
        lock_.repair();
        // Once is once, and twice is twice, whatever the dead one's count was.
        lock_.unlock();
        newcomer(true);
        lock_.lock();
        lock_.lock();
        lock_.unlock();
        newcomer(false);
        lock_.unlock();
        newcomer(true);
        if (plan_.held_before != 0) {
            return abandoned ? 0 : 1;
        }
        return abandoned && state_ != RLockState::dead_owner ? 1 : 0;
    }

 private:
    void hold(unsigned times) {
        for (unsigned time = 0; time < times; ++time) {
            lock_.lock();
        }
    }
    void release(unsigned times) {
        given_back_ = true;
        for (unsigned time = 0; time < times; ++time) {
            lock_.unlock();
        }
    }
    void newcomer(bool gets_it) {
        Child child([&] {
            if (lock_.try_lock() != gets_it) {
                _exit(5);
            }
            if (gets_it) {
                lock_.unlock();
            }
        });
        require(child.join() == 0, gets_it ? "given back as often as taken, and yet held"
                                           : "held once more, and yet free");
    }

    RLock lock_{LockOptions{.wait = Wait::park}};
    RLockState state_;
    Plan plan_;
    bool given_back_{};
    test::Shared<Notes> notes_;
};

void lock(const RLock& lock) {
    lock.lock();
}
void lock_twice_and_unlock_once(const RLock& lock) {
    lock.lock();
    lock.lock();
    lock.unlock();
}
void unlock(const RLock& lock) {
    lock.unlock();
}
void visit(const RLock& lock) {
    lock.lock();
    lock.lock();
    lock.unlock();
    lock.unlock();
}

}  // namespace

SweepCounts sweep_rlock() {
    using State = RLockState;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, const RLockScene::Plan& plan,
                            const std::vector<State>& states, const SweepOptions& options = {}) {
        for (const State state : states) {
            sum += sweep(
                "rlock: " + operation, name_of(state),
                [&] { return std::make_unique<RLockScene>(state, plan); }, options);
        }
    };
    run("lock", {.act = lock}, {State::free, State::living}, {.pairs = is_thorough()});
    run("lock", {.act = lock}, {State::dead_owner});
    run("lock, lock, unlock", {.act = lock_twice_and_unlock_once}, {State::free, State::dead_owner},
        {.pairs = is_thorough()});
    run("unlock of one", {.act = unlock, .held_before = 1, .frees = true}, {State::free},
        {.two = true});
    run("unlock of two", {.act = unlock, .held_before = 2}, {State::free});
    run("there and back", {.act = visit, .frees = true, .borrows = true},
        {State::free, State::dead_owner}, {.pairs = is_thorough()});
    return sum;
}

}  // namespace sluice::crash
