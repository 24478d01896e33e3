// Operations on a bare lock word; the rescue, and a newcomer with the dead one's id.
#include "crash/lock_sweep.hpp"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "support/bare_lock.hpp"
#include "support/processes.hpp"

namespace sluice::crash {
namespace {

using shm::LockControl;
using shm::LockResult;
using test::BareLock;
using test::Child;

enum class LockState : std::uint8_t {
    free,
    dead_owner,
    wrapping,   // held by one who died, and the tags are at their last
    living,     // held by the survivor, who gives it back when the victim sleeps
    sleeper,    // held by the victim; another sleeps before it
    heir,       // held by the victim; another sleeps, and is the heir
    stubborn,   // held by another, who wakes the victim until it is the heir, then gives it back
    dead_heir,  // reserved for one who died
    nobodys,    // damaged: the owner is an id that nobody has
};
const char* name_of(LockState state) {
    constexpr const char* kNames[] = {
        "free",       "a dead owner's",  "a dead owner's, wrapping", "a living owner's",
        "a sleeper",  "a sleeping heir", "becomes the heir",         "reserved for a dead heir",
        "nobody's id"};
    return kNames[static_cast<int>(state)];
}

constexpr shm::MemberId kNobodys = 6;  // the last that would be given out

/// What processes tell the survivor. Apart from the memory under test.
struct LockNotes {
    std::atomic<int> victim_id;
    std::atomic<int> got;     // the victim's operation gave it the lock
    std::atomic<int> failed;  // somebody saw what must not be
    std::atomic<int> ready;
    std::atomic<int> go_on;
    std::atomic<pid_t> inside;  // who is in the section
};

class LockScene : public Scene {
 public:
    using Operation = void (*)(LockScene&);
    struct Plan {
        Operation act{};
        bool holds_before{};         // it is an unlock
        bool may_take{};             // it may end with the lock
        bool newcomer_takes_over{};  // the rival rescues first, and a newcomer gets the free id
    };

    LockScene(LockState state, const Plan& plan)
        : lock_(plan.newcomer_takes_over ? 3 : 6,
                state == LockState::wrapping  ? ~(LockControl::kTagStep - 1)
                : state == LockState::nobodys ? kNobodys
                                              : 0,
                state == LockState::wrapping ? 0xffff'0000U : 0),
          state_(state),
          plan_(plan) {
        static_cast<void>(lock_.id());
        if (state == LockState::dead_owner || state == LockState::wrapping) {
            die_holding();
        } else if (state == LockState::living) {
            require(lock_.lock() == LockResult::done, "the scene cannot be set");
        } else if (state == LockState::dead_heir) {
            die_as_the_heir();
        } else if (state == LockState::stubborn) {
            hold_stubbornly();
        }
    }
    ~LockScene() override { notes_->go_on.store(1); }

    void prepare() override {
        if (notes_->victim_id.load() != 0) {
            static_cast<void>(lock_.id());
            return;  // the second of two victims
        }
        notes_->victim_id.store(lock_.id());
        if (plan_.holds_before && lock_.lock() != LockResult::done) {
            _exit(4);
        }
        if (plan_.holds_before) {
            enter();
        }
    }
    void started() override {
        if (state_ == LockState::sleeper || state_ == LockState::heir) {
            waiter_ = Child([this] { pass_through(); });
            test::await([this] { return test::sleeps_in_futex(waiter_.pid()); });
        }
        if (state_ == LockState::heir) {
            make_heir(waiter_);
        }
    }
    void act() override { plan_.act(*this); }
    bool may_sleep() const override {
        return state_ == LockState::living || state_ == LockState::stubborn;
    }
    bool depends_on_others() const override {
        return state_ == LockState::heir || state_ == LockState::sleeper ||
               state_ == LockState::stubborn;
    }
    // How often it is woken before it has had enough is chance.
    bool is_steady() const override { return state_ != LockState::stubborn; }
    void wake() override {
        if (state_ == LockState::living) {
            release();
        }
    }

    void rival() override {
        static_cast<void>(lock_.members().rescue());
        if (plan_.newcomer_takes_over) {
            take_over();
            return;
        }
        release();
        for (int round = 0; round < 3; ++round) {
            if (lock_.try_lock() == LockResult::done) {
                inside();
                require(lock_.unlock(), "the survivor's lock was taken away");
            }
        }
    }
    void rival_act() override {
        if (lock_.try_lock() == LockResult::done) {
            inside();
            if (!lock_.unlock()) {
                notes_->failed.store(1);
            }
        }
    }

    int check(bool returned) override {
        const bool before = state_ == LockState::dead_owner || state_ == LockState::wrapping ||
                            state_ == LockState::nobodys;
        if (newcomer_.pid() > 0) {
            require(newcomer_held(), "a late rescue took the lock from a newcomer");
            notes_->go_on.store(1);
            require(newcomer_.join() == 0, "the newcomer failed");
        }
        const bool held = lock_.control().owner() == notes_->victim_id.load();
        release();
        if (waiter_.pid() > 0) {
            require(waiter_.join() == 0, "the waiter failed");
        }
        if (holder_.pid() > 0) {
            notes_->go_on.store(1);
            require(holder_.join() == 0, "the holder failed");
        }
        require(lock_.lock() == LockResult::done, "the survivor does not get the lock");
        inside();
        const bool abandoned = lock_->is_abandoned();
        require(!before || abandoned || newcomer_id_->load() != 0,
                "a dead owner's lock is not marked");
        require(notes_->failed.load() == 0, "two were inside, or one was robbed");
        int happened = 0;
        if (plan_.holds_before) {
            require(!(returned && abandoned), "given back, and yet abandoned");
            happened = abandoned ? 0 : 1;
        } else if (before) {
            happened = held ? 1 : 0;
        } else {
            require(!abandoned || plan_.may_take, "marked though nobody died holding it");
            require(!(returned && notes_->got.load() != 0) || abandoned,
                    "its owner has died, and it is not marked");
            happened = abandoned ? 1 : 0;
        }
        lock_->repair(lock_.id());
        require(lock_.unlock(), "the survivor's lock was taken away");
        everything_is_back();
        return happened;
    }

    BareLock& lock() noexcept { return lock_; }
    LockNotes& notes() noexcept { return *notes_; }

    /// A section in which two living must never meet. Who died in it cannot step out: his process
    /// is asked for.
    void enter() {
        const pid_t other = notes_->inside.exchange(getpid());
        // Its bell has rung before it is gone for kill(). A living one steps out by and by.
        while (other != 0 && other != getpid() && kill(other, 0) == 0) {
            if (notes_->inside.load() != getpid()) {
                notes_->failed.store(2);
                return;
            }
            usleep(50);
        }
    }
    void leave() { notes_->inside.store(0); }
    void inside() {
        enter();
        sched_yield();
        leave();
    }

 private:
    void release() {
        if (lock_.is_held()) {
            require(lock_.unlock(), "the survivor's lock was taken away");
        }
    }
    // A child's whole visit.
    void pass_through() {
        if (lock_.lock() != LockResult::done) {
            _exit(5);
        }
        inside();
        if (!lock_.unlock()) {
            _exit(6);
        }
    }
    void die_holding() {
        Child owner([this] {
            notes_->ready.store(lock_.lock() == LockResult::done ? 1 : 2);
            for (;;) {
                pause();
            }
        });
        test::await([this] { return notes_->ready.load() != 0; });
        require(notes_->ready.load() == 1, "the scene cannot be set");
        owner.kill_and_join();
    }
    void make_heir(const Child& child) {
        // Woken in vain until it has had enough, then asleep again.
        test::await([this] {
            lock_.layout().sleepers.wake_all();
            return lock_.heir() != shm::kNobody;
        });
        test::await([&child] { return test::sleeps_in_futex(child.pid()); });
    }
    void die_as_the_heir() {
        require(lock_.lock() == LockResult::done, "the scene cannot be set");
        Child heir([this] { pass_through(); });
        test::await([&heir] { return test::sleeps_in_futex(heir.pid()); });
        make_heir(heir);
        heir.stop();
        require(lock_.unlock() && lock_.control().is_reserved(), "the scene cannot be set");
        heir.kill_and_join();
    }
    // In a process of its own: the survivor stands still while the victim is taken along.
    void hold_stubbornly() {
        holder_ = Child([this] {
            if (lock_.lock() != LockResult::done) {
                _exit(5);
            }
            notes_->ready.store(1);
            while (lock_.heir() == shm::kNobody && notes_->go_on.load() == 0) {
                lock_.layout().sleepers.wake_all();
                usleep(100);
            }
            if (!lock_.unlock()) {
                _exit(6);
            }
        });
        test::await([this] { return notes_->ready.load() != 0; });
    }

    // A newcomer becomes a member, with the id that the rescue has freed, and takes the lock; it
    // holds it until check().
    void take_over() {
        notes_->ready.store(0);
        newcomer_ = Child([this] {
            const bool got = lock_.try_lock() == LockResult::done;
            if (got) {
                lock_->repair(
                    lock_.id());  // so that nothing but the tag tells it from the dead one's
            }
            newcomer_id_->store(got ? lock_.id() : shm::kNobody);
            notes_->ready.store(1);
            test::await([this] { return notes_->go_on.load() != 0; });
            if (got && !lock_.unlock()) {
                _exit(6);
            }
        });
        test::await([this] { return notes_->ready.load() != 0; });
    }
    bool newcomer_held() const {
        const int id = newcomer_id_->load();
        return id == shm::kNobody || lock_.control().owner() == id;
    }

    void everything_is_back() {
        static_cast<void>(lock_.members().rescue());
        const LockControl left = lock_.control();
        require(left.owner() == shm::kNobody && !left.is_reserved() && !left.is_abandoned(),
                "something is left in the word");
        require(lock_.heir() == shm::kNobody, "an heir is left");
        // The places of the dead, and the lock, for two more, one by one.
        for (int round = 0; round < 2; ++round) {
            Child newcomer([this] {
                shm::Failure failure;
                if (lock_.members().join(failure) == shm::kNobody) {
                    _exit(7);
                }
                pass_through();
            });
            require(newcomer.join() == 0, "a newcomer does not get its turn");
        }
    }

    BareLock lock_;
    LockState state_;
    Plan plan_;
    test::Shared<LockNotes> notes_;
    test::Shared<std::atomic<int>> newcomer_id_;
    Child waiter_;
    Child holder_;
    Child newcomer_;
};

void lock(LockScene& scene) {
    if (scene.lock().lock() == LockResult::done) {
        scene.enter();
        scene.notes().got.store(1);
    }
}
void try_lock(LockScene& scene) {
    if (scene.lock().try_lock() == LockResult::done) {
        scene.enter();
        scene.notes().got.store(1);
    }
}
// The rescue as a stranger does it, who does not want the lock.
void rescue(LockScene& scene) {
    static_cast<void>(scene.lock().members().rescue());
}
void unlock(LockScene& scene) {
    scene.leave();
    if (!scene.lock().unlock()) {
        scene.notes().failed.store(3);
    }
}
}  // namespace

SweepCounts sweep_lock() {
    using State = LockState;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, const LockScene::Plan& plan,
                            const std::vector<State>& states, const SweepOptions& options = {}) {
        for (const State state : states) {
            sum += sweep(
                "lock: " + operation, name_of(state),
                [&] { return std::make_unique<LockScene>(state, plan); }, options);
        }
    };
    // First what few faults are found by: mutants are run until one is.
    run("rescue, id reused", {.act = rescue, .newcomer_takes_over = true}, {State::dead_owner});
    run("try_lock, id reused", {.act = try_lock, .may_take = true, .newcomer_takes_over = true},
        {State::dead_owner});
    run("lock, asleep", {.act = lock, .may_take = true}, {State::living});
    run("lock", {.act = lock, .may_take = true}, {State::free}, {.two = true});
    run("lock", {.act = lock, .may_take = true}, {State::dead_owner, State::dead_heir},
        {.two = is_thorough()});
    run("lock", {.act = lock, .may_take = true}, {State::wrapping, State::nobodys},
        {.pairs = is_thorough()});
    run("unlock", {.act = unlock, .holds_before = true}, {State::free}, {.two = true});
    run("unlock", {.act = unlock, .holds_before = true}, {State::sleeper, State::heir});
    run("try_lock", {.act = try_lock, .may_take = true}, {State::free});
    run("rescue", {.act = rescue}, {State::dead_owner, State::dead_heir});
    run("rescue", {.act = rescue}, {State::wrapping}, {.pairs = is_thorough()});
    run("lock, asleep", {.act = lock, .may_take = true}, {State::stubborn},
        {.pause = false, .pairs = false});
    return sum;
}

}  // namespace sluice::crash
