// An event in a chosen state, an operation on it by the victim, and the promise: it is set or
// clear, as far as the victim came; and whoever waited when it was set returns.
#pragma once

#include <atomic>
#include <cstdint>

#include "crash/sweep.hpp"
#include "support/processes.hpp"
#include "support/sync_words.hpp"

namespace sluice::crash {

enum class EventState : std::uint8_t {
    clear,
    set,
    waiter_asleep,  // clear, and another process sleeps in wait()
};
inline const char* name_of(EventState state) {
    constexpr const char* kNames[] = {"clear", "set", "a waiter asleep"};
    return kNames[static_cast<int>(state)];
}

struct BareEventSubject : test::BareEvent {
    BareEventSubject() : BareEvent({.count = 0x7fff'fffeU}) {}  // about to wrap
    void wait_endlessly() { wait(test::Asleep::endless); }
    /// Whether it was ever set.
    bool has_been_set() { return (*this)->begin() >> 1U != 0x7fff'fffeU; }
};

template <class Subject>
class EventScene : public Scene {
 public:
    using Operation = void (*)(EventScene&);
    struct Plan {
        Operation act{};
        bool sets{};
        bool clears{};
        bool may_sleep{};  // in this state
    };

    EventScene(EventState state, const Plan& plan) : state_(state), plan_(plan) {
        if (state == EventState::set) {
            sut_.set();
        } else if (state == EventState::waiter_asleep) {
            sleeper_ = test::Child([this] { sut_.wait(); });
            test::await([this] { return test::sleeps_in_futex(sleeper_.pid()); });
        }
    }

    void act() override {
        plan_.act(*this);
        done_->store(1);
    }
    bool may_sleep() const override { return plan_.may_sleep; }
    bool depends_on_others() const override { return sleeper_.pid() > 0; }
    void wake() override { sut_.set(); }

    void rival() override {
        disturbed_ = true;
        // The opposite of what the victim does, there and back.
        if (plan_.sets) {
            sut_.clear();
            sut_.set();
            sut_.clear();
        } else {
            sut_.set();
            sut_.clear();
            sut_.set();
        }
    }

    int check(bool returned) override {
        const bool is_set = sut_.is_set();
        int happened = 0;
        if (!disturbed_) {
            if (plan_.sets && plan_.clears) {
                if constexpr (requires { sut_.has_been_set(); }) {
                    const bool was_set = sut_.has_been_set();
                    happened = was_set ? (is_set ? 1 : 2) : 0;
                    require(!returned || happened == 2, "set and cleared, and not");
                }
            } else if (plan_.sets) {
                happened = is_set && state_ != EventState::set ? 1 : 0;
                require(is_set || !returned, "an event that was set is not");
            } else if (plan_.clears) {
                happened = !is_set && state_ == EventState::set ? 1 : 0;
                require(!is_set || !returned, "an event that was cleared is not");
            }
        }
        require(!returned || done_->load() == 1, "the victim has not returned");
        if (sleeper_.pid() > 0) {
            bool without_help = is_set || happened != 0;
            if constexpr (requires { sut_.has_been_set(); }) {
                without_help = sut_.has_been_set();
            }
            if (!without_help) {
                sut_.set();
            }
            require(sleeper_.join() == 0, "the sleeper failed");
        }
        everything_works();
        return happened;
    }

    Subject& sut() noexcept { return sut_; }

 private:
    void everything_works() {
        sut_.clear();
        require(!sut_.is_set(), "cannot be cleared");
        test::Child waiter([this] { sut_.wait(); });
        sut_.set();
        require(waiter.join() == 0 && sut_.is_set(), "cannot be set");
        sut_.wait();
    }

    Subject sut_;
    EventState state_;
    Plan plan_;
    bool disturbed_{};
    test::Shared<std::atomic<int>> done_;
    test::Child sleeper_;
};

}  // namespace sluice::crash
