// A semaphore in a chosen state, an operation on it by the victim, and the promise: permits are
// conserved. Counted ones stay taken, or are released, exactly as far as the victim came; owned
// ones are all back. Who sleeps gets the permit that is there.
#pragma once

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "crash/sweep.hpp"
#include "support/processes.hpp"
#include "support/sync_words.hpp"

namespace sluice::crash {

enum class SemaphoreState : std::uint8_t {
    free,           // nobody holds any
    taken,          // the survivor holds all
    victim_holds,   // one is the victim's, the rest is the survivor's
    waiter_asleep,  // as before, and another process sleeps in acquire()
    dead_holder,    // one died holding all (owned only)
    beside_dead,    // the survivor holds all but one, which a dead one held (owned only)
};
inline const char* name_of(SemaphoreState state) {
    constexpr const char* kNames[] = {"free",
                                      "taken",
                                      "held by the victim",
                                      "a waiter asleep",
                                      "held by the dead",
                                      "one held by the dead"};
    return kNames[static_cast<int>(state)];
}

/// The bare words; `acquire_endlessly` hangs where a wake-up is lost without a death.
struct BareSemaphoreSubject : test::BareSemaphore {
    BareSemaphoreSubject(std::uint32_t permits, shm::Permits kind, std::uint32_t members)
        : BareSemaphore(kind == shm::Permits::owned ? permits : shm::SemaphoreWord::kLimitMax, kind,
                        permits, {.member_capacity = members}) {}
    void acquire_endlessly() const { acquire(test::Asleep::endless); }
    void become_member() const { static_cast<void>(members().id()); }
    void rescue() const { static_cast<void>(members().rescue()); }
};

template <class Subject>
class SemaphoreScene : public Scene {
 public:
    using Operation = void (*)(SemaphoreScene&);
    struct Plan {
        Operation act{};
        int takes{};                 // how many permits the victim takes, at most
        int releases{};              // how many it gives back afterwards, or of those that it held
        bool may_sleep{};            // in this state
        bool newcomer{};             // the victim's first operation on anything
        bool newcomer_takes_over{};  // the rival rescues first, and a newcomer gets the free id
    };
    static constexpr std::uint32_t kPermits = 2;

    SemaphoreScene(SemaphoreState state, shm::Permits kind, const Plan& plan)
        :  // The survivor, the dead, the victim: a newcomer gets the dead one's id. Else one more.
          sut_(kPermits, kind, plan.newcomer_takes_over ? 3 : 4),
          kind_(kind),
          state_(state),
          plan_(plan) {
        sut_.become_member();
        switch (state) {
            case SemaphoreState::free:
                break;
            case SemaphoreState::taken:
                take_by_survivor(kPermits);
                break;
            case SemaphoreState::victim_holds:
            case SemaphoreState::waiter_asleep:
                take_by_survivor(kPermits - 1);
                break;
            case SemaphoreState::dead_holder:
                die_holding(kPermits);
                break;
            case SemaphoreState::beside_dead:
                take_by_survivor(kPermits - 1);
                die_holding(1);
                break;
        }
    }
    ~SemaphoreScene() override { go_on_->store(true); }

    void prepare() override {
        if (victim_holds()) {
            require(sut_.try_acquire(), "the scene cannot be set: no permit for the victim");
        } else if (!plan_.newcomer) {
            sut_.become_member();
        }
    }
    void started() override {
        if (state_ == SemaphoreState::waiter_asleep) {
            sleeper_ = test::Child([this] {
                sut_.acquire();
                sleeper_got_->store(1);
            });
            test::await([this] { return test::sleeps_in_futex(sleeper_.pid()); });
        }
    }
    void act() override { plan_.act(*this); }
    bool may_sleep() const override { return plan_.may_sleep; }
    bool depends_on_others() const override { return sleeper_.pid() > 0 || plan_.newcomer; }
    bool is_steady() const override { return plan_.takes == 0 || plan_.releases == 0; }
    void wake() override { release_by_survivor(); }

    void rival() override {
        if constexpr (requires { sut_.rescue(); }) {
            sut_.rescue();
        }
        if (plan_.newcomer_takes_over) {
            take_over();
            return;
        }
        for (int round = 0; round < 4; ++round) {
            if (sut_.try_acquire()) {
                sut_.release();
            }
        }
    }
    void rival_act() override {
        rival_begun_->store(1);
        if (sut_.try_acquire()) {
            sut_.release();
        }
        rival_ended_->store(1);
    }

    int check(bool returned) override {
        if (newcomer_.pid() > 0) {
            // Others must have left its permit alone.
            require(sut_.value() == kPermits - survivor_holds_ - 1,
                    "a newcomer's permit was taken");
            go_on_->store(true);
            require(newcomer_.join() == 0, "the newcomer failed");
        }
        satisfy_sleeper();
        const bool owned = kind_ == shm::Permits::owned;
        const auto free = static_cast<int>(sut_.value());
        // What is missing beside the survivor's is the victim's (and the rival's).
        const int missing = static_cast<int>(kPermits - survivor_holds_) - free -
                            (owned || sleeper_got_->load() == 0 ? 0 : 1);
        const int held = victim_holds() ? 1 : 0;
        int happened = 0;
        if (owned) {
            require(missing == 0, std::to_string(missing) + " permits did not come back");
        } else {
            const int rivals = rival_begun_->load() != rival_ended_->load() ? 1 : 0;
            require(missing >= 0 && missing <= held + plan_.takes + rivals,
                    std::to_string(missing) + " permits are missing");
            happened = missing > held ? missing - held : held - missing;
            const auto noted = static_cast<int>(taken_->load()) - static_cast<int>(given_->load());
            if (returned) {
                require(missing == held + noted, "a permit was taken, and not taken");
            }
        }
        everything_is_back(static_cast<std::uint32_t>(free));
        return happened;
    }

    // For the victim's operations.
    const Subject& sut() const noexcept { return sut_; }
    void note_taken() noexcept { taken_->fetch_add(1); }
    void note_given() noexcept { given_->fetch_add(1); }

 private:
    bool victim_holds() const {
        return state_ == SemaphoreState::victim_holds || state_ == SemaphoreState::waiter_asleep;
    }
    void take_by_survivor(std::uint32_t count) {
        for (; count != 0; --count) {
            require(sut_.try_acquire(), "the scene cannot be set: no permit");
            ++survivor_holds_;
        }
    }
    void release_by_survivor() {
        sut_.release();
        --survivor_holds_;
    }

    void die_holding(std::uint32_t count) {
        const test::Shared<std::atomic<int>> held;
        test::Child holder([&] {
            for (std::uint32_t taken = 0; taken < count; ++taken) {
                require(sut_.try_acquire(), "the scene cannot be set: no permit for the dead");
            }
            held->store(1);
            for (;;) {
                pause();
            }
        });
        test::await([&] { return held->load() == 1; });
        holder.kill_and_join();
    }

    // A newcomer becomes a member, with the id that the rescue has freed, and takes the very
    // permit; it holds it until check().
    void take_over() {
        newcomer_ = test::Child([this] {
            require(sut_.try_acquire(), "no permit for the newcomer");
            newcomer_holds_->store(1);
            while (!go_on_->load()) {
                usleep(50);
            }
            sut_.release();  // throws where it is not the newcomer's any more
        });
        test::await([this] { return newcomer_holds_->load() == 1; });
    }

    // What the victim released, or held and died, is for the sleeper; else the survivor releases
    // its own.
    void satisfy_sleeper() {
        if (sleeper_.pid() < 0) {
            return;
        }
        if (kind_ == shm::Permits::counted && sut_.value() == 0 && sleeper_got_->load() == 0) {
            // Not yet released; or the sleeper is about to note that it has it: then one is left.
            release_by_survivor();
        }
        require(sleeper_.join() == 0, "the sleeper failed");
        require(sleeper_got_->load() == 1, "the sleeper has no permit");
    }

    void everything_is_back(std::uint32_t free) {
        for (std::uint32_t count = 0; count < free; ++count) {
            sut_.acquire();
        }
        require(!sut_.try_acquire(), "more permits than there were");
        for (std::uint32_t count = 0; count < free; ++count) {
            sut_.release();
        }
        require(sut_.value() == free, "permits are lost afterwards");
        while (survivor_holds_ != 0) {
            release_by_survivor();
        }
        if (kind_ == shm::Permits::owned) {
            require(sut_.value() == kPermits, "not all permits are free");
            bool refused = false;
            try {
                sut_.release();
            } catch (const std::exception&) {
                refused = true;
            }
            require(refused, "a permit that nobody held was released");
            // And the places of the dead: others can become members, one by one.
            for (int round = 0; round < 3; ++round) {
                test::Child newcomer([this] {
                    sut_.acquire();
                    sut_.release();
                });
                require(newcomer.join() == 0, "the places of the dead are not given back");
            }
        }
    }

    Subject sut_;
    shm::Permits kind_;
    SemaphoreState state_;
    Plan plan_;
    std::uint32_t survivor_holds_{};
    test::Shared<std::atomic<std::uint32_t>> taken_;
    test::Shared<std::atomic<std::uint32_t>> given_;
    test::Shared<std::atomic<int>> sleeper_got_;
    test::Shared<std::atomic<int>> rival_begun_;
    test::Shared<std::atomic<int>> rival_ended_;
    test::Shared<std::atomic<int>> newcomer_holds_;
    test::Shared<std::atomic<bool>> go_on_;
    test::Child sleeper_;
    test::Child newcomer_;
};

}  // namespace sluice::crash
