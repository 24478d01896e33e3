// A barrier in a chosen state, an operation on it by the victim, and the promise: whoever waits
// goes on, as all had come or as it broke; never both in one generation; and a reset mends it.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "crash/sweep.hpp"
#include "support/processes.hpp"
#include "support/sync_words.hpp"

namespace sluice::crash {

enum class BarrierMoment : std::uint8_t {
    fresh,           // the victim is no party yet, the survivor is
    attached,        // both have met before
    waiter_asleep,   // both have met before; a third party sleeps in wait()
    waiter_unknown,  // a party sleeps in wait(), the victim is none yet
    dead_party,      // one that has met them died at its work
    broken,
};
inline const char* name_of(BarrierMoment moment) {
    constexpr const char* kNames[] = {
        "fresh", "attached", "a waiter asleep", "a waiter, no party", "a dead party", "broken"};
    return kNames[static_cast<int>(moment)];
}

/// How a wait ended. In memory that processes share.
enum class Met : int { not_yet, opened, broken };

struct BareBarrierSubject : test::BareBarrier {
    // The generation is about to wrap.
    BareBarrierSubject(std::uint32_t parties, std::uint32_t members)
        : BareBarrier(parties, {.member_capacity = members, .count = 0xffff'ffffU}) {}

    Met meet(test::Asleep asleep = test::Asleep::in_chunks) const {
        return wait(asleep) == shm::BarrierResult::opened ? Met::opened : Met::broken;
    }
    void join() const { (*this)->attach(members().id()); }
    void leave() const { (*this)->leave(); }
    void become_member() const { static_cast<void>(members().id()); }
    bool is_broken() const { return (*this)->is_broken(); }
    void abort() const { (*this)->abort(); }
    void reset() const { (*this)->reset(); }
    std::uint32_t waiting() const { return (*this)->arrived(); }
    void rescue() const { static_cast<void>(members().rescue()); }
    /// How many threads are attached, the dead included.
    int attached() const {
        int count = 0;
        for (std::uint32_t index = 0; index < members().capacity(); ++index) {
            const std::uint32_t tag = (*this)->layout().attached[index].load();
            const auto id = static_cast<shm::MemberId>(index + 1);
            count += tag != 0 && members().tenant_tag(id) == tag ? 1 : 0;
        }
        return count;
    }
};

template <class Subject>
class BarrierScene : public Scene {
 public:
    using Operation = void (*)(BarrierScene&);
    struct Plan {
        Operation act{};
        unsigned parties{2};
        bool waits{};                // the victim waits
        bool may_sleep{};            // in this state
        bool ends{};                 // it breaks or mends the barrier
        bool newcomer{};             // the victim's first operation on anything
        bool newcomer_takes_over{};  // the rival rescues first, and a newcomer gets the free id
    };

    BarrierScene(BarrierMoment moment, const Plan& plan)
        :  // The survivor and the dead: a newcomer gets the dead one's id. Else as many as come.
          sut_(plan.parties, plan.newcomer_takes_over ? 2 : 6),
          moment_(moment),
          plan_(plan) {
        switch (moment) {
            case BarrierMoment::fresh:
            case BarrierMoment::attached:
                sut_.join();
                break;
            case BarrierMoment::waiter_asleep:
            case BarrierMoment::waiter_unknown:
                break;
            case BarrierMoment::dead_party: {
                sut_.join();
                test::Child party([this] { sut_.join(); });
                require(party.join() == 0, "the scene cannot be set: no party that dies");
                break;
            }
            case BarrierMoment::broken:
                sut_.abort();
                break;
        }
    }
    void prepare() override {
        if (moment_ == BarrierMoment::attached || moment_ == BarrierMoment::waiter_asleep) {
            sut_.join();
        } else if (!plan_.newcomer && !plan_.newcomer_takes_over) {
            sut_.become_member();
        }
    }
    void started() override {
        if (moment_ == BarrierMoment::waiter_asleep || moment_ == BarrierMoment::waiter_unknown) {
            sleeper_ = test::Child([this] { meet_and_leave(*sleeper_met_); });
            test::await([this] { return test::sleeps_in_futex(sleeper_.pid()); });
        }
    }
    void act() override { plan_.act(*this); }
    bool may_sleep() const override { return plan_.may_sleep; }
    bool depends_on_others() const override { return sleeper_.pid() > 0 || plan_.newcomer; }
    // The survivor comes, too: in a process of its own, as not only the last may be waited for.
    void wake() override {
        third_ = test::Child([this] { meet_and_leave(*third_met_); });
    }

    void rival() override {
        if constexpr (requires { sut_.rescue(); }) {
            sut_.rescue();
        }
        if (plan_.newcomer_takes_over) {
            take_over();
        } else if (moment_ != BarrierMoment::dead_party && moment_ != BarrierMoment::broken &&
                   !plan_.ends) {
            require(!sut_.is_broken(), "a stopped party was taken for a dead one");
        }
    }

    int check(bool returned) override {
        int happened = 0;
        if (newcomer_.pid() > 0) {
            // Others must not have broken it for a newcomer.
            require(!sut_.is_broken() && sut_.waiting() == 1, "it was broken for a newcomer");
            require(sut_.meet() == Met::opened, "a newcomer does not count");
            require(newcomer_.join() == 0, "the newcomer found it broken");
        }
        const Met noted = met_->load();
        if (plan_.waits) {
            happened = check_wait(returned, noted);
        } else if (plan_.ends) {
            happened = check_end(returned);
        }
        join_third(noted);
        everything_works();
        return happened;
    }

    Subject& sut() noexcept { return sut_; }
    void note(Met met) noexcept { met_->store(met); }

 private:
    // So that its end is no death, which would break the barrier for the others.
    void meet_and_leave(std::atomic<Met>& met) {
        met.store(sut_.meet());
        sut_.leave();
    }

    // How far the victim's arrival came shows in what the others got.
    int check_wait(bool returned, Met noted) {
        require(!returned || noted != Met::not_yet, "the victim has not returned");
        if (moment_ == BarrierMoment::dead_party || moment_ == BarrierMoment::broken) {
            require(noted != Met::opened, "opened without its parties");
            return noted == Met::broken ? 1 : 0;
        }
        bool replaced = false;
        if constexpr (requires { sut_.attached(); }) {
            // It never became a party: the sleeper waits for one who does. (Asked in this order:
            // who sweeps a party breaks the barrier first.)
            if (moment_ == BarrierMoment::waiter_unknown && sut_.attached() < 2 &&
                !sut_.is_broken() && sut_.waiting() == 1) {
                require(sut_.meet() == Met::opened, "does not open for the survivor");
                replaced = true;
            }
        }
        if (sleeper_.pid() > 0) {
            require(sleeper_.join() == 0, "the sleeper failed");
            const Met met = sleeper_met_->load();
            require(met != Met::not_yet, "the sleeper has met nobody");
            require(noted == Met::not_yet || noted == met, "broken for one, opened for the other");
            return met == Met::opened && !replaced ? 1 : 0;
        }
        return noted == Met::opened ? 1 : 0;
    }
    int check_end(bool returned) {
        if (sleeper_.pid() > 0) {
            if (sut_.waiting() != 0) {
                require(!returned, "who waited was not sent away");
                sut_.abort();
            }
            require(sleeper_.join() == 0, "the sleeper failed");
            require(sleeper_met_->load() == Met::broken, "the sleeper found it open");
            return 0;
        }
        const bool happened = sut_.is_broken() != (moment_ == BarrierMoment::broken);
        require(happened || !returned, "neither broken nor mended");
        return happened ? 1 : 0;
    }
    void join_third(Met noted) {
        if (third_.pid() > 0) {
            require(third_.join() == 0, "the third failed");
            const Met met = third_met_->load();
            require(met != Met::not_yet && (noted != Met::opened || met == noted),
                    "opened for one, broken for the other");
        }
    }

    // A newcomer becomes a member, with the id that the rescue has freed, and waits.
    void take_over() {
        require(sut_.is_broken(), "a dead party did not break it");
        sut_.reset();
        newcomer_ = test::Child([this] { require(sut_.meet() == Met::opened, "broken"); });
        test::await([this] { return sut_.waiting() == 1; });
    }

    void everything_works() {
        sut_.reset();
        require(!sut_.is_broken() && sut_.waiting() == 0, "cannot be mended");
        std::vector<test::Child> others;
        for (unsigned count = 1; count < plan_.parties; ++count) {
            others.emplace_back([this] { require(sut_.meet() == Met::opened, "broken"); });
        }
        require(sut_.meet() == Met::opened, "broken, after it was mended");
        for (test::Child& other : others) {
            require(other.join() == 0, "broken for another, after it was mended");
        }
    }

    Subject sut_;
    BarrierMoment moment_;
    Plan plan_;
    test::Shared<std::atomic<Met>> met_;
    test::Shared<std::atomic<Met>> sleeper_met_;
    test::Shared<std::atomic<Met>> third_met_;
    test::Child sleeper_;
    test::Child third_;
    test::Child newcomer_;
};

}  // namespace sluice::crash
