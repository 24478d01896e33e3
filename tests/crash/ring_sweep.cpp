// Operations on a bare ring; the rescue, and a newcomer with the dead one's id.
#include "crash/ring_sweep.hpp"

#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crash/ledger.hpp"
#include "support/processes.hpp"
#include "support/ring.hpp"

namespace sluice::crash {
namespace {

using shm::ClaimedSlot;
using shm::RingResult;
using test::Child;
using test::Ring;
using test::RingOptions;

enum class RingState : std::uint8_t {
    empty,
    one,
    full,
    wrapping,     // the next position is 2^64 - 1, and the lap's 40 bits end with it
    dead_writer,  // the oldest place was claimed by one who died; a message follows
    dead_reader,  // the oldest message is being read by one who died
};
const char* name_of(RingState state) {
    constexpr const char* kNames[] = {
        "empty", "one", "full", "wrapping", "a dead writer's claim", "a dead reader's claim"};
    return kNames[static_cast<int>(state)];
}

class RingScene : public Scene {
 public:
    using Operation = void (*)(RingScene&);
    struct Plan {
        Operation act{};
        std::uint32_t puts{};
        std::uint32_t gets{};
        std::uint32_t loans{};
        bool may_sleep{};
        bool newcomer_takes_over{};  // the rival rescues first, and a newcomer gets the free id
    };
    static constexpr std::uint64_t kCapacity = 2;
    static constexpr std::uint64_t kVictimValue = 100;

    RingScene(RingState state, const Plan& plan)
        : ring_(RingOptions{.capacity = kCapacity,
                            .first_position = state == RingState::wrapping ? ~0ULL : 0,
                            // The survivor, the dead, the victim: a newcomer gets the dead one's.
                            .member_capacity = 3}),
          state_(state),
          plan_(plan) {
        static_cast<void>(ring_.segment().members().id());
        switch (state) {
            case RingState::empty:
                break;
            case RingState::one:
            case RingState::wrapping:
                fill(1);
                break;
            case RingState::full:
                fill(kCapacity);
                break;
            case RingState::dead_writer:
                die_holding([this](ClaimedSlot& claimed) { return ring_->claim(claimed); });
                fill(1);
                break;
            case RingState::dead_reader:
                fill(1);
                die_holding([this](ClaimedSlot& claimed) { return ring_->claim_read(claimed); });
                break;
        }
    }
    ~RingScene() override { go_on_->store(true); }

    void prepare() override { static_cast<void>(ring_.segment().members().id()); }
    void act() override {
        plan_.act(*this);
        notes_->ended.store(1);
    }
    bool may_sleep() const override { return plan_.may_sleep; }
    void wake() override {
        if (plan_.gets != 0) {
            require(ring_.try_put(next_) == RingResult::done, "no room to wake the getter");
            ledger_.put(next_++);
        } else {
            get_by_survivor();
        }
    }

    void rival() override {
        disturbed_ = true;
        static_cast<void>(ring_.segment().members().rescue());
        if (plan_.newcomer_takes_over) {
            take_over();
            return;
        }
        for (std::uint64_t round = 0; round < 2 * kCapacity; ++round) {
            static_cast<void>(ring_->stuck_getting(0));
            get_by_survivor();
            if (ring_.try_put(next_) == RingResult::done) {
                ledger_.put(next_++);
            }
        }
    }

    int check(bool returned) override {
        if (newcomer_.pid() > 0) {
            // Others must have left its message alone.
            if (state_ == RingState::dead_reader) {
                get_by_survivor();
            }
            go_on_->store(true);
            require(newcomer_.join() == 0, "the newcomer failed");
            ledger_.got_by(*newcomer_notes_);
            ledger_.settle_puts({kNewcomerValue}, newcomer_notes_->put.load());
        }
        drain();
        std::vector<std::uint64_t> putting;
        for (std::uint32_t index = 0; index < plan_.puts; ++index) {
            putting.push_back(kVictimValue + index);
        }
        ledger_.got_by(*notes_);
        const int put = ledger_.settle_puts(putting, notes_->put.load());
        const std::uint32_t noted = notes_->got_count.load();
        const int gone =
            ledger_.settle_gets(returned ? 0 : plan_.gets - noted) + static_cast<int>(noted);
        std::vector<std::uint64_t> redelivered;
        if (plan_.gets + plan_.loans != 0 || state_ == RingState::dead_reader) {
            for (std::uint64_t value = 0; value < 700; ++value) {
                redelivered.push_back(value);
            }
        }
        ledger_.settle(redelivered);
        everything_is_back();
        return plan_.puts != 0 ? put : gone;
    }

    Ring& ring() noexcept { return ring_; }
    Notes& notes() noexcept { return *notes_; }

 private:
    static constexpr std::uint64_t kNewcomerValue = 200;
    static constexpr std::uint64_t kSentinel = 600;

    void fill(std::uint64_t count) {
        for (std::uint64_t value = 1; value <= count; ++value) {
            require(ring_.try_put(value) == RingResult::done, "the scene cannot be set: no room");
            ledger_.put(value);
        }
    }

    template <class Claim>
    void die_holding(Claim&& claim) {
        const test::Shared<std::atomic<int>> claimed;
        Child holder([&] {
            ClaimedSlot slot;
            claimed->store(claim(slot) == RingResult::done ? 1 : 2);
            for (;;) {
                pause();
            }
        });
        test::await([&] { return claimed->load() != 0; });
        require(claimed->load() == 1, "the scene cannot be set: no claim");
        holder.kill_and_join();
    }

    // A newcomer becomes a member, with the id that the rescue has freed, and claims the very slot;
    // it holds it until check().
    void take_over() {
        newcomer_ = Child([this] {
            ClaimedSlot claimed;
            const bool reads = state_ == RingState::dead_reader;
            const RingResult result = reads ? ring_->claim_read(claimed) : ring_->claim(claimed);
            newcomer_notes_->begun.store(1);
            if (result != RingResult::done) {
                return;
            }
            while (!go_on_->load()) {
                usleep(50);
            }
            if (reads) {
                const std::uint64_t value = Ring::load(claimed);
                ring_->commit(claimed);
                newcomer_notes_->note_got(value);
            } else {
                Ring::store(claimed, kNewcomerValue);
                ring_->publish(claimed);
                newcomer_notes_->note_put();
            }
        });
        test::await([this] { return newcomer_notes_->begun.load() != 0; });
    }

    bool get_by_survivor() {
        std::uint64_t value = 0;
        if (ring_.take(value) != RingResult::done) {
            return false;
        }
        ledger_.got(value);
        return true;
    }

    void drain() {
        while (ring_.try_put(kSentinel) != RingResult::done) {
            static_cast<void>(ring_->stuck_putting(0));
            get_by_survivor();
        }
        for (bool out = false; !out;) {
            std::uint64_t value = 0;
            static_cast<void>(ring_->stuck_getting(0));
            if (ring_.take(value) == RingResult::done) {
                out = value == kSentinel;
                if (!out) {
                    ledger_.got(value);
                }
            }
        }
        // What was given back may come behind the mark.
        static_cast<void>(ring_.segment().members().rescue());
        while (get_by_survivor()) {
        }
    }

    void everything_is_back() {
        require(ring_->unfinished() == 0, "claims are left");
        for (std::uint64_t count = 0; count < kCapacity; ++count) {
            require(ring_.try_put(kSentinel + count) == RingResult::done, "slots are missing");
        }
        require(ring_.try_put(1) == RingResult::full, "more slots than there were");
        for (std::uint64_t count = 0; count < kCapacity; ++count) {
            require(ring_.try_get() == kSentinel + count, "the order is lost afterwards");
        }
        // The places of the dead: two more can become members beside the survivor, one by one.
        static_cast<void>(ring_.segment().members().rescue());
        for (int round = 0; round < 2; ++round) {
            Child newcomer([this] {
                shm::Failure failure;
                if (ring_.segment().members().join(failure) == shm::kNobody) {
                    _exit(1);
                }
            });
            require(newcomer.join() == 0, "the places of the dead are not given back");
        }
    }

    Ring ring_;
    RingState state_;
    Plan plan_;
    Ledger ledger_;
    test::Shared<Notes> notes_;
    test::Shared<Notes> newcomer_notes_;
    test::Shared<std::atomic<bool>> go_on_;
    Child newcomer_;
    std::uint64_t next_{300};
    bool disturbed_{};
};

void put(RingScene& scene) {
    if (scene.ring().try_put(RingScene::kVictimValue) == RingResult::done) {
        scene.notes().note_put();
    }
}
// Asleep without end: a wake-up that is lost without a death hangs.
void put_endlessly(RingScene& scene) {
    ClaimedSlot claimed;
    if (scene.ring().claim_endlessly(claimed) == RingResult::done) {
        Ring::store(claimed, RingScene::kVictimValue);
        scene.ring()->publish(claimed);
        scene.notes().note_put();
    }
}
void take(RingScene& scene) {
    std::uint64_t value = 0;
    if (scene.ring().take(value) == RingResult::done) {
        scene.notes().note_got(value);
    }
}
void take_endlessly(RingScene& scene) {
    if (const std::optional<std::uint64_t> value = scene.ring().take_endlessly()) {
        scene.notes().note_got(*value);
    }
}
void read_and_commit(RingScene& scene) {
    if (const std::optional<std::uint64_t> value = scene.ring().try_get()) {
        scene.notes().note_got(*value);
    }
}
void read_and_give_back(RingScene& scene) {
    ClaimedSlot claimed;
    if (scene.ring()->claim_read(claimed) == RingResult::done) {
        scene.ring()->give_back(claimed);
    }
}
void rescue(RingScene& scene) {
    static_cast<void>(scene.ring().segment().members().rescue());
}

}  // namespace

SweepCounts sweep_ring() {
    using State = RingState;
    SweepCounts sum;
    const auto run = [&sum](const std::string& operation, const RingScene::Plan& plan,
                            const std::vector<State>& states) {
        for (const State state : states) {
            sum += sweep("ring: " + operation, name_of(state),
                         [&] { return std::make_unique<RingScene>(state, plan); });
        }
    };
    // First what few faults are found by: mutants are run until one is.
    run("rescue, id reused", {.act = rescue, .newcomer_takes_over = true},
        {State::dead_reader, State::dead_writer});
    run("put, asleep", {.act = put_endlessly, .puts = 1, .may_sleep = true}, {State::full});
    run("take, asleep", {.act = take_endlessly, .gets = 1, .may_sleep = true}, {State::empty});
    run("rescue", {.act = rescue}, {State::dead_writer, State::dead_reader});
    run("put", {.act = put, .puts = 1},
        {State::empty, State::one, State::full, State::wrapping, State::dead_writer});
    run("take", {.act = take, .gets = 1},
        {State::empty, State::one, State::wrapping, State::dead_reader});
    run("read, commit", {.act = read_and_commit, .gets = 1}, {State::one, State::wrapping});
    run("read, give back", {.act = read_and_give_back, .loans = 1}, {State::one, State::wrapping});
    return sum;
}

}  // namespace sluice::crash
