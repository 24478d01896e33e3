// Operations on a bare dictionary of two stripes. What the victim does to a key is to set it to
// 1000 more, to erase it, or to make it; whoever else writes, writes other keys, or adds 10.
#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crash/table_sweep.hpp"
#include "support/processes.hpp"
#include "support/tables.hpp"

namespace sluice::crash {
namespace {

using shm::Deadline;
using shm::DictResult;
using shm::DictTable;
using shm::IfAbandoned;
using shm::LockResult;
using test::Child;

enum class DictState : std::uint8_t {
    empty,      // nothing was ever set: there is no memory yet
    filled,     // some keys in each stripe
    wrapping,   // versions, births, steps are about to wrap
    growing,    // the next new key is one too many for its table
    fallen,     // a dead one's stripe, in the middle of a change
    stepping,   // a dead one's step: committed, and nothing of it done
    preparing,  // the same, not committed
    living,     // the survivor holds a stripe, until the victim sleeps
};
const char* name_of(DictState state) {
    constexpr const char* kNames[] = {"empty",          "filled",          "wrapping",
                                      "about to grow",  "a dead owner's",  "a dead one's step",
                                      "an unborn step", "a living owner's"};
    return kNames[static_cast<int>(state)];
}

class DictScene : public Scene {
 public:
    using Model = test::Dict::Model;
    struct Plan {
        void (*act)(DictScene&){};
        /// What it does to the entries, when it has happened; nothing: it changes none.
        void (*change)(DictScene&, Model&){};
        bool rival_adds{};  // the rival changes the victim's key, too
    };

    DictScene(DictState state, const Plan& plan)
        : dict_(2, state == DictState::wrapping ? ~0ULL - 1 : 0), state_(state), plan_(plan) {
        static_cast<void>(dict_.me());
        for (unsigned number = 0; number < 4; ++number) {
            keys_[number] = dict_.key_in(0, number);
            others_[number] = dict_.key_in(1, number);
        }
        for (unsigned number = 0; number < 12; ++number) {
            fillers_[number] = dict_.key_in(0, 50 + number);
        }
        if (state != DictState::empty) {
            fill();
        }
        switch (state) {
            case DictState::growing:
                while (dict_->stripe(0).used.load() < 12) {
                    put(fillers_[used_fillers_], used_fillers_);
                    ++used_fillers_;
                }
                break;
            case DictState::fallen:
                leave_fallen();
                break;
            case DictState::stepping:
            case DictState::preparing:
                leave_step();
                break;
            case DictState::living:
                require(
                    dict_->lock_of(0).lock(dict_.me(), shm::Wait::park, spin_, Deadline::never(),
                                           IfAbandoned::take) == LockResult::done,
                    "the scene cannot be set");
                holds_ = true;
                break;
            case DictState::empty:
            case DictState::filled:
            case DictState::wrapping:
                break;
        }
    }

    void prepare() override { static_cast<void>(dict_.me()); }
    void act() override { plan_.act(*this); }
    bool may_sleep() const override { return state_ == DictState::living; }
    void wake() override { let_go(); }

    void rival() override {
        let_go();
        for (const std::uint64_t key : {keys_[0], keys_[1], keys_[2], others_[0], others_[1]}) {
            require(dict_.get(key) != test::Dict::kTorn, "a mixture was read");
        }
        // Both stripes, unless the victim holds them.
        for (std::uint32_t stripe = 0; stripe < 2; ++stripe) {
            shm::LockWord& lock = dict_->lock_of(stripe);
            if (lock.lock(dict_.me(), shm::Wait::park, spin_, Deadline::passed(),
                          IfAbandoned::take) != LockResult::done) {
                continue;
            }
            require(lock.unlock(dict_.me()), "the survivor's lock was taken away");
            // After that the lock was free, and nobody takes it but us.
            const std::uint64_t mine = dict_.key_in(stripe, 20);
            put(mine, 7);
            put(mine, 8);
            require(dict_.erase(dict_.key_in(stripe, 3)) == base_.contains(dict_.key_in(stripe, 3)),
                    "a key is missing, or came back");
            base_.erase(dict_.key_in(stripe, 3));
            if (stripe == 0 && plan_.rival_adds) {
                require(dict_.add(keys_[0], 10), "the rival cannot add");
                base_[keys_[0]] += 10;
            }
        }
    }

    int check(bool returned) override {
        let_go();
        if (state_ == DictState::stepping) {
            finish_step();
        }
        Model after = base_;
        if (plan_.change != nullptr) {
            plan_.change(*this, after);
        }
        // Single keys first: each is as before or as after.
        std::map<std::uint64_t, std::optional<std::uint64_t>> seen;
        for (const Model* model : {&base_, &after}) {
            for (const auto& [key, value] : *model) {
                const auto is = dict_.get(key);
                require(is == value_in(base_, key) || is == value_in(after, key),
                        "a key is neither as before nor as after");
                seen[key] = is;
            }
        }
        const Model now = dict_.snapshot();
        require(now == base_ || now == after, "the entries are neither as before nor as after");
        const bool happened = plan_.change != nullptr && now == after && after != base_;
        require(!returned || plan_.change == nullptr || now == after,
                "an acknowledged change is lost");
        for (const auto& [key, value] : seen) {
            const bool was_new = value == value_in(after, key) && value != value_in(base_, key);
            require(!was_new || happened, "what was read is gone");
            require(dict_.get(key) == value_in(now, key), "a key is not what the snapshot said");
        }
        require(dict_->size() == now.size(), "the count is wrong");
        require(torn_->load() == 0, "the victim read a mixture, or what was never there");
        audit("after the death");

        // And all of it goes on.
        Model model = now;
        const Model step{{keys_[0], 21}, {others_[0], 22}, {dict_.key_in(1, 30), 23}};
        require(dict_.step(DictTable::StepKind::assign, step) == DictResult::done,
                "the survivor cannot make a step");
        for (const auto& [key, value] : step) {
            model[key] = value;
        }
        Child newcomer([this] {
            for (unsigned number = 40; number < 44; ++number) {
                if (dict_.set(dict_.key_in(0, number), number) != DictResult::done) {
                    _exit(6);
                }
            }
        });
        require(newcomer.join() == 0, "a newcomer cannot write");
        for (unsigned number = 40; number < 44; ++number) {
            model[dict_.key_in(0, number)] = number;
        }
        require(dict_.snapshot() == model, "later changes are lost");
        static_cast<void>(dict_.members().rescue());
        audit("in the end");
        return happened ? 1 : 0;
    }

    test::Dict& dict() noexcept { return dict_; }
    std::uint64_t key(unsigned number) const { return keys_[number]; }
    std::uint64_t other(unsigned number) const { return others_[number]; }
    /// One that is not there.
    std::uint64_t missing() const { return fillers_[11]; }
    void note_torn() { torn_->store(1); }
    /// Whether the victim may see that: the rival adds 10 meanwhile.
    bool is_known(std::uint64_t key, std::optional<std::uint64_t> value) const {
        const auto before = value_in(base_, key);
        return value == before || (before && value && *value == *before + 10) ||
               state_ == DictState::stepping;
    }
    void finish_step() {
        if (dict_->step_is_open()) {
            dict_->mend_step(dict_.me());
        }
    }
    Model step() const { return {{keys_[0], 1001}, {missing(), 5}, {others_[0], 1100}}; }

 private:
    static std::optional<std::uint64_t> value_in(const Model& model, std::uint64_t key) {
        const auto there = model.find(key);
        return there == model.end() ? std::nullopt : std::optional(there->second);
    }
    void put(std::uint64_t key, std::uint64_t value) {
        require(dict_.set(key, value) == DictResult::done, "the survivor cannot write");
        base_[key] = value;
    }
    void fill() {
        for (unsigned number = 0; number < 4; ++number) {
            put(keys_[number], number);
            put(others_[number], 100 + number);
        }
        require(dict_.erase(keys_[2]), "a key is missing");  // its tombstone
        base_.erase(keys_[2]);
    }
    void audit(const std::string& when) {
        const std::string found = dict_.audit();
        require(found.empty(), when + ": " + found);
    }
    void let_go() {
        if (holds_) {
            holds_ = false;
            require(dict_->lock_of(0).unlock(dict_.me()), "the survivor's lock was taken away");
        }
    }
    /// Runs it in a child, which is killed when it says so.
    template <class Body>
    void die_in(Body&& body) {
        Child dead([&] {
            body();
            ready_->store(1);
            for (;;) {
                pause();
            }
        });
        test::await([&] { return ready_->load() != 0; });
        dead.kill_and_join();
    }
    // In the middle of a change: a node that nothing reaches, counts and the version changed.
    void leave_fallen() {
        die_in([this] {
            new test::Dict::Turn(dict_, keys_[0]);
            shm::DictStripeLayout& stripe = dict_->stripe(0);
            stripe.version.fetch_add(1);
            stripe.live.fetch_add(1);
            stripe.used.fetch_add(2);
            // The head of a list is gone: a block that nobody has.
            stripe.heap.free[shm::SizeClass::of(32)].store(0);
        });
    }
    // A step over both stripes, as far as its commit or just before it.
    void leave_step() {
        const bool committed = state_ == DictState::stepping;
        die_in([this, committed] {
            shm::SpinBudget budget;
            static_cast<void>(test::lock_steps(dict_, budget));
            const std::uint64_t number = dict_.layout().begun.load() + 1;
            dict_.layout().begun.store(number);
            for (std::uint32_t index = 0; index < 2; ++index) {
                static_cast<void>(dict_->lock(index, dict_.me(), shm::Wait::park, budget));
                // Empty tables are what clear() prepares.
                shm::DictStripeLayout& stripe = dict_->stripe(index);
                stripe.pending_step.store(number);
                stripe.pending.store(shm::DictTableWord{stripe.table.load()}.next(0, 0).word);
                stripe.version.fetch_add(1);
            }
            if (committed) {
                dict_.layout().committed.store(number);
            }
        });
        if (committed) {
            base_.clear();
        }
    }

    test::Dict dict_;
    DictState state_;
    Plan plan_;
    Model base_{};
    std::uint64_t keys_[4]{};
    std::uint64_t others_[4]{};
    std::uint64_t fillers_[12]{};
    unsigned used_fillers_{};
    bool holds_{};
    shm::SpinBudget spin_{};
    test::Shared<std::atomic<int>> ready_{};
    test::Shared<std::atomic<int>> torn_{};
};

void set_new(DictScene& scene) {
    static_cast<void>(scene.dict().set(scene.missing(), 5));
}
void has_set_new(DictScene& scene, DictScene::Model& model) {
    model[scene.missing()] = 5;
}
void set_old(DictScene& scene) {
    static_cast<void>(scene.dict().set(scene.key(1), 1001));
}
void has_set_old(DictScene& scene, DictScene::Model& model) {
    model[scene.key(1)] = 1001;
}
void add(DictScene& scene) {
    static_cast<void>(scene.dict().add(scene.key(0), 1000));
}
void has_added(DictScene& scene, DictScene::Model& model) {
    if (model.contains(scene.key(0))) {
        model[scene.key(0)] += 1000;
    }
}
void erase(DictScene& scene) {
    static_cast<void>(scene.dict().erase(scene.key(1)));
}
void has_erased(DictScene& scene, DictScene::Model& model) {
    model.erase(scene.key(1));
}
void step(DictScene& scene) {
    static_cast<void>(scene.dict().step(DictTable::StepKind::assign, scene.step()));
}
void has_stepped(DictScene& scene, DictScene::Model& model) {
    for (const auto& [key, value] : scene.step()) {
        model[key] = value;
    }
}
// One that does not come by the other stripe.
void small_step(DictScene& scene) {
    static_cast<void>(scene.dict().step(DictTable::StepKind::assign, {{scene.key(0), 1001}}));
}
void has_stepped_small(DictScene& scene, DictScene::Model& model) {
    model[scene.key(0)] = 1001;
}
void clear(DictScene& scene) {
    static_cast<void>(scene.dict().step(DictTable::StepKind::clear, {}));
}
void has_cleared(DictScene&, DictScene::Model& model) {
    model.clear();
}
void read(DictScene& scene) {
    for (const std::uint64_t key : {scene.key(0), scene.missing()}) {
        if (!scene.is_known(key, scene.dict().get(key))) {
            scene.note_torn();
        }
    }
}
void finish_step(DictScene& scene) {
    scene.finish_step();
}
void snapshot(DictScene& scene) {
    static_cast<void>(scene.dict().snapshot());
}
// From within a change of the other stripe, which goes on without locks: what a dead one left in
// the middle is finished nevertheless.
void snapshot_within(DictScene& scene) {
    const test::Dict::Turn turn(scene.dict(), scene.other(0));
    for (const auto& [key, value] : scene.dict().snapshot()) {
        if (!scene.is_known(key, value)) {
            scene.note_torn();
        }
    }
}

}  // namespace

SweepCounts sweep_dict() {
    using State = DictState;
    SweepCounts sum;
    // Those of thousands of points: carving up a unit, copying a table, walking over a stripe.
    const SweepOptions long_kills{.pause = is_thorough(),
                                  .pairs = is_thorough(),
                                  .kills_at_each_point = false,
                                  .pairs_at_each_point = false};
    const SweepOptions long_ones{.pairs_at_each_point = false};
    const auto run = [&sum](const std::string& operation, const DictScene::Plan& plan, State state,
                            const SweepOptions& options = {}) {
        sum += sweep(
            "dict: " + operation, name_of(state),
            [&] { return std::make_unique<DictScene>(state, plan); }, options);
    };
    run("set, a new key", {set_new, has_set_new}, State::filled);
    run("set, a new key", {set_new, has_set_new}, State::wrapping, long_ones);
    run("set, a new key", {set_new, has_set_new}, State::growing, long_ones);
    run("set, a new key", {set_new, has_set_new}, State::empty, long_kills);
    run("set, a known key", {set_old, has_set_old}, State::filled, long_ones);
    run("set, a known key", {set_old, has_set_old}, State::living, long_ones);
    run("set, a known key", {set_old, has_set_old}, State::fallen, long_kills);
    run("add", {add, has_added, true}, State::filled, long_ones);
    run("erase", {erase, has_erased}, State::filled);
    run("step", {step, has_stepped}, State::filled, long_ones);
    run("step", {step, has_stepped}, State::wrapping, long_kills);
    run("step, of one key", {small_step, has_stepped_small}, State::stepping, long_kills);
    run("add", {add, has_added}, State::preparing, long_kills);
    run("clear", {clear, has_cleared}, State::filled, long_kills);
    run("finish a step", {finish_step}, State::stepping, long_kills);
    run("read", {read, nullptr, true}, State::filled);
    run("read", {read}, State::fallen, long_ones);
    run("read", {read}, State::stepping, long_ones);
    run("snapshot", {snapshot}, State::filled, long_ones);
    run("snapshot", {snapshot}, State::fallen, long_kills);
    run("snapshot, within a change", {snapshot_within}, State::fallen, long_kills);
    return sum;
}

}  // namespace sluice::crash
