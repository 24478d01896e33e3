// A queue in a chosen state, an operation on it by the victim, and the promise: what was put and
// acknowledged is delivered once, in order, to somebody; slots, places and memory are all back.
#pragma once

#include <sched.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crash/ledger.hpp"
#include "crash/sweep.hpp"
#include "sluice/msgpack.hpp"
#include "sluice/queue.hpp"
#include "support/processes.hpp"

namespace sluice::crash {

/// Values that carry a number and can tell whether they are whole.
template <class T>
struct Numbered;

template <>
struct Numbered<std::uint64_t> {
    static std::uint64_t make(std::uint64_t number) { return number; }
    static std::uint64_t number(std::uint64_t value) { return value; }
};

/// Too long to be taken by one exchange: a get claims, reads and commits.
struct Wide {
    std::array<std::uint64_t, 80> words;
};
template <>
struct Numbered<Wide> {
    static Wide make(std::uint64_t number) {
        Wide wide;
        wide.words.fill(number);
        return wide;
    }
    static std::uint64_t number(const Wide& wide) {
        for (const std::uint64_t word : wide.words) {
            require(word == wide.words[0], "a torn value");
        }
        return wide.words[0];
    }
};

/// Packed; kBytes says whether they fit into their slot.
template <std::size_t kBytes>
struct NumberedText {
    static std::string make(std::uint64_t number) {
        std::string text = std::to_string(number) + ' ';
        text.resize(kBytes, static_cast<char>('a' + number % 26));
        return text;
    }
    static std::uint64_t number(const std::string& text) {
        const std::uint64_t number = std::stoull(text);
        require(text == make(number), "a torn value");
        return number;
    }
};

enum class QueueState : std::uint8_t {
    empty,
    one,
    nearly_full,
    full,
    wrapping,       // the next put goes to the last slot, the next get begins a lap
    dead_writer,    // the oldest place was claimed by one who died; a message follows
    dead_reader,    // the oldest message was on loan to one who died
    getter_asleep,  // empty, and another process sleeps in get()
    putter_asleep,  // full, and another process sleeps in put()
    closed,         // closed, with one message in it
};
inline const char* name_of(QueueState state) {
    constexpr const char* kNames[] = {"empty",
                                      "one",
                                      "nearly full",
                                      "full",
                                      "wrapping",
                                      "a dead writer's claim",
                                      "a dead reader's claim",
                                      "a getter asleep",
                                      "a putter asleep",
                                      "closed"};
    return kNames[static_cast<int>(state)];
}

template <class T, class Values = Numbered<T>>
class QueueScene : public Scene {
 public:
    using Operation = void (*)(QueueScene&);
    struct Plan {
        Operation act{};
        std::uint32_t puts{};   // how many values the victim puts
        std::uint32_t gets{};   // how many it may get
        std::uint32_t loans{};  // how many it may hold and give back
        bool may_sleep{};       // in this state
        bool newcomer{};        // the victim's first operation on anything
    };
    static constexpr std::uint64_t kCapacity = 4;

    QueueScene(QueueState state, const Plan& plan)
        : queue_({.capacity = kCapacity, .wait = Wait::park}), plan_(plan), state_(state) {
        base_bytes_ = queue_.memory_bytes();
        bring_about(state);
    }

    void prepare() override {
        if (!plan_.newcomer) {
            // Become a member, and touch what is loaded on first use.
            try {
                queue_.task_done();
            } catch (const Error&) {
            }
            static_cast<void>(queue_.size());
        }
    }
    void act() override {
        try {
            plan_.act(*this);
        } catch (const Closed&) {
            notes_->ended.store(1);
        }
    }
    bool may_sleep() const override { return plan_.may_sleep; }
    bool depends_on_others() const override {
        // A newcomer looks for a free entry in the registry of all processes.
        return sleeper_.pid() > 0 || plan_.newcomer;
    }
    void wake() override {
        if (plan_.gets != 0) {
            put_by_survivor();
        } else {
            get_by_survivor();
        }
    }

    void rival() override {
        // Enough for a lap or two to go by where nobody stands in the way.
        disturbed_ = true;
        for (std::uint64_t round = 0; round < 2 * kCapacity; ++round) {
            try {
                get_by_survivor();
                if (queue_.try_put(value(next_))) {
                    ledger_.put(next_++);
                }
            } catch (const Closed&) {
                return;
            }
        }
    }
    void rival_act() override {
        rival_notes_->begun.store(1);
        try {
            if (const auto got = queue_.try_get()) {
                rival_notes_->note_got(number(*got));
            }
            if (queue_.try_put(value(kRivalValue))) {
                rival_notes_->note_put();
            }
        } catch (const Closed&) {
        }
        rival_notes_->ended.store(1);
    }

    int check(bool returned) override {
        satisfy_sleeper();
        drain();
        std::vector<std::uint64_t> putting;
        for (std::uint32_t index = 0; index < plan_.puts; ++index) {
            putting.push_back(kVictimValue + index);
        }
        ledger_.got_by(*notes_);
        ledger_.got_by(*rival_notes_);
        const int put = ledger_.settle_puts(putting, notes_->put.load());
        ledger_.settle_puts({kRivalValue}, rival_notes_->put.load());
        ledger_.settle_puts({kSleeperValue}, sleepers_put_);
        const std::uint32_t noted = notes_->got_count.load();
        std::uint32_t in_doubt = returned ? 0 : plan_.gets - noted;
        if (rival_notes_->begun.load() != 0 && rival_notes_->ended.load() == 0) {
            in_doubt += 1 - rival_notes_->got_count.load();
        }
        const int gone = ledger_.settle_gets(in_doubt) + static_cast<int>(noted);
        ledger_.settle(redelivered());
        if (!queue_.closed()) {
            everything_is_back();
        }
        return plan_.puts != 0 ? put : gone;
    }

    // For operations.
    Queue<T>& queue() noexcept { return queue_; }
    Notes& notes() noexcept { return *notes_; }
    static T value(std::uint64_t number) { return Values::make(number); }
    static std::uint64_t number(const T& value) { return Values::number(value); }
    static constexpr std::uint64_t kVictimValue = 100;

 private:
    static constexpr std::uint64_t kRivalValue = 200;
    static constexpr std::uint64_t kSurvivorValue = 300;
    static constexpr std::uint64_t kSleeperValue = 500;
    static constexpr std::uint64_t kSentinel = 600;

    void fill(std::uint64_t count) {
        for (; count != 0; --count) {
            require(queue_.try_put(value(next_initial_)), "the scene cannot be set: no room");
            ledger_.put(next_initial_++);
        }
    }

    void bring_about(QueueState state) {
        switch (state) {
            case QueueState::empty:
                break;
            case QueueState::one:
                fill(1);
                break;
            case QueueState::nearly_full:
                fill(kCapacity - 1);
                break;
            case QueueState::full:
            case QueueState::putter_asleep:
                fill(kCapacity);
                break;
            case QueueState::wrapping:
                fill(kCapacity - 1);
                for (std::uint64_t index = 0; index + 2 < kCapacity; ++index) {
                    get_by_survivor();
                    ++oldest_;
                }
                break;
            case QueueState::dead_writer: {
                end_with_a_claim([this] { new auto(queue_.claim()); });
                fill(1);
                break;
            }
            case QueueState::dead_reader:
                fill(2);
                end_with_a_claim([this] { new auto(queue_.lease()); });
                break;
            case QueueState::getter_asleep:
                break;
            case QueueState::closed:
                fill(1);
                queue_.close();
                break;
        }
        if (state == QueueState::getter_asleep || state == QueueState::putter_asleep) {
            sleeper_ = test::Child([this, state] {
                try {
                    if (state == QueueState::getter_asleep) {
                        sleeper_notes_->note_got(number(queue_.get()));
                    } else {
                        queue_.put(value(kSleeperValue));
                        sleeper_notes_->note_put();
                    }
                } catch (const Closed&) {
                    sleeper_notes_->ended.store(1);
                }
            });
            test::await([this] { return test::sleeps_in_futex(sleeper_.pid()); });
        }
    }

    // A claim that nobody gives back: its holder is killed with it.
    template <class Claim>
    void end_with_a_claim(Claim&& claim) {
        const test::Shared<std::atomic<int>> claimed;
        test::Child holder([&] {
            claim();
            claimed->store(1);
            for (;;) {
                pause();
            }
        });
        test::await([&] { return claimed->load() == 1; });
        holder.kill_and_join();
    }

    bool get_by_survivor() {
        try {
            if (const auto got = queue_.try_get()) {
                ledger_.got(number(*got));
                return true;
            }
        } catch (const Closed&) {
        }
        return false;
    }
    void put_by_survivor() {
        queue_.put(value(next_));
        ledger_.put(next_++);
    }

    // Whatever the victim did or did not do, the sleeper gets what it waits for, and ends.
    void satisfy_sleeper() {
        if (sleeper_.pid() < 0) {
            return;
        }
        bool offered = false;
        try {
            while (!queue_.closed() && sleeper_notes_->put.load() == 0 &&
                   sleeper_notes_->got_count.load() == 0) {
                sched_yield();
                if (state_ == QueueState::putter_asleep) {
                    get_by_survivor();
                } else if (!offered && queue_.try_put(value(next_))) {
                    ledger_.put(next_++);
                    offered = true;
                }
            }
        } catch (const Closed&) {
            // Closed just now: the sleeper ends with that.
        }
        const int code = sleeper_.join();
        require(code == 0, "the sleeper ended with " + std::to_string(code));
        ledger_.got_by(*sleeper_notes_);
        sleepers_put_ = sleeper_notes_->put.load();
    }

    void drain() {
        if (queue_.closed()) {
            try {
                for (;;) {
                    ledger_.got(number(queue_.get()));
                }
            } catch (const Closed&) {
                return;
            }
        }
        // First without waiting, until a mark of our own is in; then waiting, until it comes out.
        while (!queue_.try_put(value(kSentinel))) {
            get_by_survivor();
        }
        for (;;) {
            const std::uint64_t got = number(queue_.get());
            if (got == kSentinel) {
                break;
            }
            ledger_.got(got);
        }
        // What was given back lies behind the mark.
        get_all();
    }
    void get_all() {
        // A polling getter looks for the dead now and then: after 256 futile attempts at most.
        constexpr int kAttempts = 300;
        for (int attempt = 0; attempt < kAttempts; ++attempt) {
            if (get_by_survivor()) {
                attempt = 0;
            }
        }
    }
    // What a getter's death or a dropped lease gave back may come after younger ones. Others may
    // have gone by while the victim stood: then it may have held anything.
    std::vector<std::uint64_t> redelivered() const {
        std::vector<std::uint64_t> values;
        const std::uint64_t held = plan_.gets + plan_.loans;
        const std::uint64_t dead = state_ == QueueState::dead_reader ? 1 : 0;
        const bool anything = held != 0 && disturbed_;
        const std::uint64_t last = anything ? kSentinel : oldest_ + held + dead;
        for (std::uint64_t number = 1; number < last; ++number) {
            values.push_back(number);
        }
        return values;
    }

    void everything_is_back() {
        for (std::uint64_t count = 0; count < kCapacity; ++count) {
            queue_.put(value(kSentinel + count));
        }
        require(queue_.full() && queue_.size() == kCapacity, "slots are missing: not full");
        require(!queue_.try_put(value(1)), "more slots than there were");
        for (std::uint64_t count = 0; count < kCapacity; ++count) {
            require(number(queue_.get()) == kSentinel + count, "the order is lost afterwards");
        }
        require(queue_.empty(), "messages are left");
        require(queue_.memory_bytes() <= base_bytes_ + kKeptBytes, "memory is not given back");
    }
    // Each slot keeps up to 64 KiB of what lay beside it for the next value.
    static constexpr std::uint64_t kKeptBytes = kCapacity * (64U << 10U);

    Queue<T> queue_;
    Plan plan_;
    QueueState state_;
    Ledger ledger_;
    test::Shared<Notes> notes_;
    test::Shared<Notes> rival_notes_;
    test::Shared<Notes> sleeper_notes_;
    test::Child sleeper_;
    std::uint64_t base_bytes_{};
    std::uint64_t next_initial_{1};
    std::uint64_t next_{kSurvivorValue};
    std::uint64_t oldest_{1};
    std::uint32_t sleepers_put_{};
    bool disturbed_{};
};

}  // namespace sluice::crash
