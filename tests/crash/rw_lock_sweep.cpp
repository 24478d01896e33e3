// Operations on a bare reader-writer lock; the rescue, and a newcomer with the dead one's id.
#include <signal.h>
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

enum class RwState : std::uint8_t {
    free,
    wrapping,         // cells' tags are at their last
    reader,           // the survivor reads, until the victim sleeps
    writer,           // the survivor writes, until the victim sleeps
    dead_reader,      // one who died reads
    dead_writer,      // one who died writes
    sleeping_writer,  // the victim holds it, and another sleeps to write
    sleeping_reader,  // the victim holds it, and another sleeps to read
};
const char* name_of(RwState state) {
    constexpr const char* kNames[] = {"free",
                                      "wrapping",
                                      "a living reader's",
                                      "a living writer's",
                                      "a dead reader's",
                                      "a dead writer's",
                                      "a sleeping writer",
                                      "a sleeping reader"};
    return kNames[static_cast<int>(state)];
}

enum class Side : std::uint8_t { neither, reads, writes };

class RwScene : public Scene {
 public:
    using Operation = void (*)(RwScene&);
    struct Plan {
        Operation act{};
        Side before{};               // it is an unlock of what is held so before
        bool newcomer_takes_over{};  // the rival rescues first, and a newcomer gets the free id
    };

    RwScene(RwState state, const Plan& plan)
        : lock_(plan.newcomer_takes_over ? 3 : 8, state == RwState::wrapping ? 0x7fff : 0),
          state_(state),
          plan_(plan) {
        static_cast<void>(lock_.me());
        if (state == RwState::dead_reader || state == RwState::dead_writer) {
            Child holder([this] {
                const bool reads = state_ == RwState::dead_reader;
                ready_->store((reads ? lock_.lock_shared() : lock_.lock()) == LockResult::done ? 1
                                                                                               : 2);
                for (;;) {
                    pause();
                }
            });
            test::await([this] { return ready_->load() != 0; });
            require(ready_->load() == 1, "the scene cannot be set");
            holder.kill_and_join();
        } else if (state == RwState::reader) {
            require(lock_.lock_shared() == LockResult::done, "the scene cannot be set");
            holds_ = Side::reads;
        } else if (state == RwState::writer) {
            require(lock_.lock() == LockResult::done, "the scene cannot be set");
            holds_ = Side::writes;
        }
    }
    ~RwScene() override { go_on_->store(1); }

    void prepare() override {
        static_cast<void>(lock_.me());
        if ((plan_.before == Side::reads && lock_.lock_shared() != LockResult::done) ||
            (plan_.before == Side::writes && lock_.lock() != LockResult::done)) {
            _exit(4);
        }
    }
    void started() override {
        if (state_ == RwState::sleeping_writer || state_ == RwState::sleeping_reader) {
            sleeper_ = Child([this] { pass_through(state_ == RwState::sleeping_reader); });
            test::await([this] { return test::sleeps_in_futex(sleeper_.pid()); });
        }
    }
    void act() override { plan_.act(*this); }
    bool may_sleep() const override {
        return state_ == RwState::writer || state_ == RwState::reader;
    }
    bool depends_on_others() const override {
        return state_ == RwState::sleeping_writer || state_ == RwState::sleeping_reader;
    }
    // Who meets a writer counts, and takes it back.
    bool is_steady() const override {
        return state_ != RwState::writer && state_ != RwState::dead_writer &&
               state_ != RwState::dead_reader;
    }
    void wake() override { let_go(); }

    void rival() override {
        static_cast<void>(lock_.members().rescue());
        if (plan_.newcomer_takes_over) {
            take_over();
            return;
        }
        let_go();
        if (lock_.lock(Deadline::passed()) == LockResult::done) {
            write();
            require(lock_->unlock(lock_.me()), "the survivor's lock was taken away");
        }
        if (lock_.lock_shared(Deadline::passed()) == LockResult::done) {
            read();
            require(lock_->unlock_shared(lock_.me()), "the survivor's reading was ended");
        }
    }

    int check(bool returned) override {
        if (newcomer_.pid() > 0) {
            require(lock_->readers() == 1, "a late rescue ended a newcomer's reading");
            require(lock_.lock(Deadline::passed()) == LockResult::timed_out,
                    "the survivor writes beside a reader");
            go_on_->store(1);
            require(newcomer_.join() == 0, "the newcomer failed");
        }
        let_go();
        if (sleeper_.pid() > 0) {
            require(sleeper_.join() == 0, "the sleeper failed");
        }
        require(lock_.lock_shared() == LockResult::done, "the survivor cannot read");
        read();
        require(lock_->unlock_shared(lock_.me()), "the survivor's reading was ended");
        require(lock_.lock() == LockResult::done, "the survivor cannot write");
        write();
        require(lock_->readers() == 0, "the dead still read");
        const bool abandoned = lock_->is_abandoned();
        const bool before = state_ == RwState::dead_reader || state_ == RwState::dead_writer;
        require(!before || abandoned, "a death is not told");
        require(!(returned && !before) || !abandoned || held_->load() != 0,
                "marked though nobody died holding it");
        require(returned || held_->load() == 0 || abandoned, "its holder died, and it is not told");
        require(lock_->repair(lock_.me()) && !lock_->is_abandoned(), "cannot be repaired");
        require(lock_->unlock(lock_.me()), "the survivor's lock was taken away");
        static_cast<void>(lock_.members().rescue());
        Child newcomer([this] {
            pass_through(false);
            pass_through(true);
        });
        require(newcomer.join() == 0, "a newcomer does not get its turn");
        require(broken_->load() == 0, "a reader beside a writer");
        return plan_.before == Side::neither ? (abandoned ? 1 : 0) : (abandoned ? 0 : 1);
    }

    test::RwLock& lock() noexcept { return lock_; }
    /// What the victim tells when it holds the lock.
    void note_held(int held) { held_->store(held); }

    // Two words that a writer makes differ for a while. Who dies in between leaves them so: the
    // next writer puts them right.
    void write() {
        one_->store(one_->load() + 1);
        other_->store(one_->load());
    }
    void read() {
        if (one_->load() != other_->load() && !lock_->is_abandoned()) {
            broken_->store(1);
        }
    }

 private:
    void let_go() {
        const Side held = std::exchange(holds_, Side::neither);
        require(held != Side::reads || lock_->unlock_shared(lock_.me()),
                "the survivor's reading was ended");
        require(held != Side::writes || lock_->unlock(lock_.me()),
                "the survivor's lock was taken away");
    }
    void pass_through(bool reads) {
        if ((reads ? lock_.lock_shared() : lock_.lock()) != LockResult::done) {
            _exit(5);
        }
        reads ? read() : write();
        if (!(reads ? lock_->unlock_shared(lock_.me()) : lock_->unlock(lock_.me()))) {
            _exit(6);
        }
    }
    // A newcomer becomes a member, with the id that the rescue has freed, and reads until check().
    void take_over() {
        newcomer_ = Child([this] {
            if (lock_.lock_shared() != LockResult::done) {
                _exit(5);
            }
            reads_->store(1);
            test::await([this] { return go_on_->load() != 0; });
            if (!lock_->unlock_shared(lock_.me())) {
                _exit(6);
            }
        });
        test::await([this] { return reads_->load() != 0; });
    }

    test::RwLock lock_;
    RwState state_;
    Plan plan_;
    test::Shared<std::atomic<int>> ready_;
    test::Shared<std::atomic<int>> reads_;
    test::Shared<std::atomic<int>> go_on_;
    test::Shared<std::atomic<int>> held_;
    test::Shared<std::atomic<int>> broken_;
    test::Shared<std::atomic<std::uint64_t>> one_;
    test::Shared<std::atomic<std::uint64_t>> other_;
    Child sleeper_;
    Child newcomer_;
    Side holds_{};
};

void lock(RwScene& scene) {
    if (scene.lock().lock() == LockResult::done) {
        scene.note_held(1);
        scene.write();
    }
}
void lock_shared(RwScene& scene) {
    if (scene.lock().lock_shared() == LockResult::done) {
        scene.note_held(1);
        scene.read();
    }
}
void unlock(RwScene& scene) {
    static_cast<void>(scene.lock()->unlock(scene.lock().me()));
}
void unlock_shared(RwScene& scene) {
    static_cast<void>(scene.lock()->unlock_shared(scene.lock().me()));
}
void rescue(RwScene& scene) {
    static_cast<void>(scene.lock().members().rescue());
}

}  // namespace

SweepCounts sweep_rw_lock() {
    using State = RwState;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, const RwScene::Plan& plan,
                            const std::vector<State>& states) {
        for (const State state : states) {
            sum += sweep("rw lock: " + operation, name_of(state),
                         [&] { return std::make_unique<RwScene>(state, plan); });
        }
    };
    run("rescue, id reused", {.act = rescue, .newcomer_takes_over = true}, {State::dead_reader});
    run("lock_shared", {.act = lock_shared},
        {State::free, State::wrapping, State::writer, State::dead_writer});
    run("lock", {.act = lock}, {State::free, State::reader, State::dead_reader});
    run("unlock_shared", {.act = unlock_shared, .before = Side::reads}, {State::sleeping_writer});
    run("unlock", {.act = unlock, .before = Side::writes}, {State::sleeping_reader});
    return sum;
}

}  // namespace sluice::crash
