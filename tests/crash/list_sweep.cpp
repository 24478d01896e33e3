// Operations on a bare list. Whoever else writes appends a number and pops it again, and adds 10 to
// the first.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "crash/table_sweep.hpp"
#include "support/processes.hpp"
#include "support/tables.hpp"

namespace sluice::crash {
namespace {

using shm::Deadline;
using shm::IfAbandoned;
using shm::ListResult;
using shm::LockResult;
using test::Child;

enum class ListState : std::uint8_t {
    empty,     // nothing was ever appended: there is no memory yet
    filled,    // three elements
    wrapping,  // versions, births and the root's tag are about to wrap
    crowded,   // as many as their block holds
    popped,    // a word behind the last is that of a former one
    fallen,    // a dead one's, in the middle of a change
    living,    // the survivor holds it, until the victim sleeps
};
const char* name_of(ListState state) {
    constexpr const char* kNames[] = {"empty",  "filled",         "wrapping",        "crowded",
                                      "popped", "a dead owner's", "a living owner's"};
    return kNames[static_cast<int>(state)];
}

template <std::size_t kWords>
class ListScene : public Scene {
 public:
    using Sut = test::List<kWords>;
    using Model = typename Sut::Model;
    struct Plan {
        void (*act)(ListScene&){};
        void (*change)(Model&){};  // what it does, when it has happened
        // The rival pops the last, and its place is written by one who dies before he commits that.
        bool forges{};
    };

    ListScene(ListState state, const Plan& plan)
        : list_(state == ListState::wrapping ? ~0ULL - 1 : 0), state_(state), plan_(plan) {
        static_cast<void>(list_.me());
        if (state != ListState::empty) {
            append(101);
            append(103);
            append(102);
        }
        switch (state) {
            case ListState::crowded:
                append(104);
                break;
            case ListState::popped:
                append(666);
                list_.pop();
                base_.pop_back();
                break;
            case ListState::fallen:
                leave_fallen();
                break;
            case ListState::living:
                require(
                    list_->lock_word().lock(list_.me(), shm::Wait::park, spin_, Deadline::never(),
                                            IfAbandoned::take) == LockResult::done,
                    "the scene cannot be set");
                holds_ = true;
                break;
            case ListState::empty:
            case ListState::filled:
            case ListState::wrapping:
                break;
        }
    }

    void prepare() override { static_cast<void>(list_.me()); }
    void act() override { plan_.act(*this); }
    bool may_sleep() const override { return state_ == ListState::living; }
    void wake() override { let_go(); }

    void rival() override {
        let_go();
        for (const std::int64_t index : {0, 1, -1}) {
            require(list_.get(index) != Sut::kTorn, "a mixture was read");
        }
        if (list_->lock_word().lock(list_.me(), shm::Wait::park, spin_, Deadline::passed(),
                                    IfAbandoned::take) != LockResult::done) {
            return;
        }
        require(list_->lock_word().unlock(list_.me()), "the survivor's lock was taken away");
        // After that the lock was free, and nobody takes it but us.
        rivalled_ = true;
        if (plan_.forges) {
            list_.pop();
            const test::Audit audit(list_.segment(), shm::ListTable::head_bytes(),
                                    list_.layout().arena);
            const shm::ListRoot root{list_.layout().root.load()};
            audit.store(root.place(), 4 + base_.size() - 1, 666);
            return;
        }
        require(list_.append(7), "the rival cannot append");
        list_.pop();
        if (!list_.snapshot().empty()) {
            require(list_.add(0, 10), "the rival cannot add");
        }
    }

    int check(bool returned) override {
        let_go();
        Model before = base_;
        if (rivalled_) {
            plan_.forges ? before.pop_back() : add_as_rival(before);
        }
        // The rival came first, or last.
        Model after = before;
        Model otherwise = base_;
        if (plan_.change != nullptr) {
            plan_.change(after);
            plan_.change(otherwise);
            if (rivalled_) {
                add_as_rival(otherwise);
            }
        }
        const auto first = list_.get(0);
        const auto last = list_.get(-1);
        Model now = list_.snapshot();
        require(now == before || now == after || now == otherwise,
                "the list is neither as before nor as after");
        require(first == (now.empty() ? std::nullopt : std::optional(now.front())) &&
                    last == (now.empty() ? std::nullopt : std::optional(now.back())),
                "an element is not what the snapshot said");
        const bool happened = plan_.change != nullptr && now != before;
        require(!returned || plan_.change == nullptr || happened || after == before,
                "an acknowledged change is lost");
        require(torn_->load() == 0, "the victim read a mixture, or what was never there");
        audit("after the death");

        // And all of it goes on.
        require(list_.append(21) && list_.extend({22, 23}), "the survivor cannot append");
        now.insert(now.end(), {21, 22, 23});
        Child newcomer([this] {
            if (!list_.append(24)) {
                _exit(6);
            }
        });
        require(newcomer.join() == 0, "a newcomer cannot write");
        list_.pop();
        std::vector<std::uint64_t> order(now.size());
        std::iota(order.rbegin(), order.rend(), std::uint64_t{0});
        require(list_.replace(order, {25}), "the survivor cannot reverse");
        std::reverse(now.begin(), now.end());
        now.push_back(25);
        require(list_.snapshot() == now, "later changes are lost");
        static_cast<void>(list_.members().rescue());
        audit("in the end");
        return happened ? 1 : 0;
    }

    Sut& list() noexcept { return list_; }
    void look() {
        const auto first = list_.get(0);
        const auto last = list_.get(-1);
        const bool first_known = first == base_.front() || first == base_.front() + 10;
        const bool last_known =
            last == base_.back() || last == 7U || (plan_.forges && last == base_[base_.size() - 2]);
        if (!first_known || !last_known) {
            torn_->store(1);
        }
    }

 private:
    static void add_as_rival(Model& model) {
        if (!model.empty()) {
            model.front() += 10;
        }
    }
    void append(std::uint64_t number) {
        require(list_.append(number), "the survivor cannot append");
        base_.push_back(number);
    }
    void audit(const std::string& when) {
        const std::string found = list_.audit();
        require(found.empty(), when + ": " + found);
    }
    void let_go() {
        if (holds_) {
            holds_ = false;
            require(list_->lock_word().unlock(list_.me()), "the survivor's lock was taken away");
        }
    }
    // In the middle of a pop that is committed and not marked; its node is not free yet, and the
    // head of a list is gone, too.
    void leave_fallen() {
        Child dead([this] {
            new typename Sut::Turn(list_);
            list_.layout().version.fetch_add(1);
            const shm::ListRoot root{list_.layout().root.load()};
            const test::Audit audit(list_.segment(), shm::ListTable::head_bytes(),
                                    list_.layout().arena);
            audit.store(root.place(), 0, base_.size() - 1);
            list_.layout().heap.free[shm::SizeClass::of(8 + Sut::kBytes)].store(0);
            ready_->store(1);
            for (;;) {
                pause();
            }
        });
        test::await([this] { return ready_->load() != 0; });
        dead.kill_and_join();
        base_.pop_back();
    }
    Sut list_;
    ListState state_;
    Plan plan_;
    Model base_{};
    bool holds_{};
    bool rivalled_{};
    shm::SpinBudget spin_{};
    test::Shared<std::atomic<int>> ready_{};
    test::Shared<std::atomic<int>> torn_{};
};

template <std::size_t kWords>
SweepCounts sweep_of(const std::string& what) {
    using State = ListState;
    using S = ListScene<kWords>;
    using Model = typename S::Model;
    using Plan = typename S::Plan;
    SweepCounts sum;
    const SweepOptions long_ones{.pairs_at_each_point = false};
    const SweepOptions long_kills{.pause = is_thorough(),
                                  .pairs = is_thorough(),
                                  .kills_at_each_point = false,
                                  .pairs_at_each_point = false};
    const auto run = [&](const std::string& operation, const Plan& plan, State state,
                         const SweepOptions& options = {}) {
        sum += sweep(
            what + operation, name_of(state), [&] { return std::make_unique<S>(state, plan); },
            options);
    };
    const Plan append{[](S& scene) { static_cast<void>(scene.list().append(5)); },
                      [](Model& model) { model.push_back(5); }};
    const Plan pop{[](S& scene) { scene.list().pop(); },
                   [](Model& model) {
                       if (!model.empty()) {
                           model.pop_back();
                       }
                   }};
    const Plan assign{[](S& scene) { static_cast<void>(scene.list().add(1, 1000)); },
                      [](Model& model) { model[1] += 1000; }};
    // Those that move elements: one of the middle goes, a new one comes, all turn round.
    const Plan move{[](S& scene) {
                        static_cast<void>(scene.list().replace({2, 0}, {9}));
                    },
                    [](Model& model) {
                        model = {model[2], model[0], 9};
                    }};
    const Plan extend{[](S& scene) {
                          static_cast<void>(scene.list().extend({5, 6}));
                      },
                      [](Model& model) {
                          model.insert(model.end(), {5, 6});
                      }};
    const Plan clear{[](S& scene) { static_cast<void>(scene.list().replace({}, {})); },
                     [](Model& model) { model.clear(); }};
    const Plan read{[](S& scene) { scene.look(); }};
    const Plan snapshot{[](S& scene) { static_cast<void>(scene.list().snapshot()); }};

    run("append", append, State::filled);
    run("append", append, State::popped, long_ones);
    run("append", append, State::wrapping, long_ones);
    run("append", append, State::crowded, long_ones);
    run("append", append, State::empty, long_kills);
    run("append", append, State::fallen, long_kills);
    run("append", append, State::living, long_ones);
    run("pop", pop, State::filled);
    run("assign", assign, State::filled, long_ones);
    run("move", move, State::filled, long_ones);
    run("move", move, State::wrapping, long_ones);
    run("extend", extend, State::filled, long_ones);
    run("extend", extend, State::popped, long_ones);
    run("clear", clear, State::filled, long_ones);
    run("read", read, State::filled);
    if (kWords == 1) {
        run("read, beside a pop", {read.act, nullptr, true}, State::filled);
    }
    run("snapshot", snapshot, State::filled, long_ones);
    if (kWords > 1 || is_thorough()) {
        run("snapshot", snapshot, State::fallen, long_kills);
    }
    return sum;
}

}  // namespace

SweepCounts sweep_list() {
    SweepCounts sum = sweep_of<2>("list of pairs: ");
    sum += sweep_of<1>("list of words: ");
    return sum;
}

}  // namespace sluice::crash
