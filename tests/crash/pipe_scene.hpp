// A pipe in a chosen state, an operation on it by the victim, who owns the second end, and the
// promise: what it sent and was told so arrives, in order, each once; then the other side is told
// Closed, whatever it was waiting for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "crash/ledger.hpp"
#include "crash/sweep.hpp"
#include "sluice/error.hpp"
#include "support/processes.hpp"

namespace sluice::crash {

enum class PipeState : std::uint8_t {
    empty,
    one,
    nearly_full,
    full,
    wrapping,     // the next message goes to, or comes from, the last slot
    peer_asleep,  // the other side sleeps: in recv() on nothing, or in send() on a full ring
};
inline const char* name_of(PipeState state) {
    constexpr const char* kNames[] = {"empty", "one",      "nearly full",
                                      "full",  "wrapping", "the peer asleep"};
    return kNames[static_cast<int>(state)];
}

enum class Direction : std::uint8_t { victim_sends, victim_receives };

/// kEnds: how to make a pipe, send, receive and close: see pipe_sweep_test.cpp.
template <class Ends>
class PipeScene : public Scene {
 public:
    using Connection = typename Ends::Connection;
    using Operation = void (*)(PipeScene&);
    struct Plan {
        Operation act{};
        Direction direction{};
        std::uint32_t messages{};  // how many the victim sends or receives
        bool may_sleep{};
        bool newcomer{};  // the victim takes its end with the operation
    };

    PipeScene(PipeState state, const Plan& plan) : ends_(Ends::make()), state_(state), plan_(plan) {
        if (state == PipeState::peer_asleep) {
            peer_ = test::Child([this] { run_peer(); });
        } else {
            static_cast<void>(mine().poll());  // the end is the survivor's
            if (plan.direction == Direction::victim_receives) {
                fill([this](std::uint64_t number) { return Ends::try_send(mine(), number); });
            }
        }
    }

    void prepare() override {
        if (!plan_.newcomer) {
            static_cast<void>(victims().poll());  // the end is the victim's
        }
        if (plan_.direction == Direction::victim_sends) {
            fill([this](std::uint64_t number) { return Ends::try_send(victims(), number); });
        } else {
            if (state_ == PipeState::wrapping) {
                for (std::uint64_t count = Ends::kCapacity - 1; count != 0; --count) {
                    static_cast<void>(Ends::try_recv(victims()));
                }
            }
        }
        if (state_ == PipeState::peer_asleep) {
            test::await([this] { return test::sleeps_in_futex(peer_.pid()); });
        }
    }
    void started() override {
        victims().close();  // this process's copy of it
        if (plan_.direction == Direction::victim_receives && state_ == PipeState::wrapping) {
            require(Ends::try_send(mine(), next_++), "the scene cannot be set: no room");
        }
    }
    void act() override {
        try {
            plan_.act(*this);
        } catch (const Closed&) {
        }
        notes_->ended.store(1);
    }
    bool may_sleep() const override { return plan_.may_sleep; }
    bool depends_on_others() const override {
        return state_ == PipeState::peer_asleep || plan_.newcomer;
    }
    // A message longer than the ring goes as far as the peer lets it.
    bool is_steady() const override { return Ends::kCapacity != 0; }
    void wake() override {
        if (plan_.direction == Direction::victim_sends) {
            take(Ends::try_recv(mine()));
        } else {
            static_cast<void>(Ends::try_send(mine(), next_++));
        }
    }
    void rival() override {
        if (state_ == PipeState::peer_asleep) {
            return;  // the peer works on by itself
        }
        for (std::uint64_t round = 0; round < 2 * Ends::kCapacity; ++round) {
            try {
                if (plan_.direction == Direction::victim_sends) {
                    take(Ends::try_recv(mine()));
                } else if (Ends::try_send(mine(), next_)) {
                    ++next_;
                }
            } catch (const Closed&) {
                return;
            }
        }
    }

    int check(bool) override {
        if (state_ == PipeState::peer_asleep) {
            const int code = peer_.join();
            require(code == 0, "the peer ended with " + std::to_string(code));
            const std::uint32_t count = peer_notes_->got_count.load();
            for (std::uint32_t index = 0; index < count; ++index) {
                take(peer_notes_->got[index % Notes::kGotMax].load());
            }
        } else {
            be_told();
        }
        return plan_.direction == Direction::victim_sends ? settle_sent() : settle_received();
    }

    // For operations.
    Connection& victims() noexcept { return ends_.second; }
    Notes& notes() noexcept { return *notes_; }
    std::uint64_t first_number() const noexcept { return filled() + 1; }
    void note_sent() noexcept { notes_->note_put(); }
    void note_received(std::uint64_t number) noexcept { notes_->note_got(number); }

 private:
    Connection& mine() noexcept { return ends_.first; }

    // Messages are numbered 1, 2, ...; so many lie in the ring before the operation. (In the state
    // "wrapping" they have been sent and taken again.)
    std::uint64_t filled() const noexcept {
        switch (state_) {
            case PipeState::one:
                return 1;
            case PipeState::nearly_full:
            case PipeState::wrapping:
                return Ends::kCapacity - 1;
            case PipeState::full:
                return Ends::kCapacity;
            case PipeState::empty:
            case PipeState::peer_asleep:
                return 0;
        }
        return 0;
    }
    template <class Send>
    void fill(Send&& send) {
        for (; next_ <= filled(); ++next_) {
            require(send(next_), "the scene cannot be set: no room");
        }
    }
    void take(std::uint64_t number) {
        if (number == 0) {
            return;
        }
        require(number == taken_ + 1,
                "message " + std::to_string(number) + " came after " + std::to_string(taken_));
        taken_ = number;
    }

    // The peer of the state "asleep": receives until Closed, or sends until Closed.
    void run_peer() {
        try {
            victims().close();  // this process's copy
            for (std::uint64_t number = 1;; ++number) {
                if (plan_.direction == Direction::victim_sends) {
                    peer_notes_->note_got(Ends::recv(mine()));
                } else {
                    Ends::send(mine(), number);
                }
            }
        } catch (const Closed&) {
        }
    }

    // Blocking operations of the survivor come to an end: with what was sent, then with Closed.
    void be_told() {
        try {
            for (;;) {
                if (plan_.direction == Direction::victim_sends) {
                    take(Ends::recv(mine()));
                } else {
                    Ends::send(mine(), next_++);
                }
            }
        } catch (const Closed&) {
        }
        bool closed = false;
        try {
            static_cast<void>(Ends::try_recv(mine()));
        } catch (const Closed&) {
            closed = true;
        }
        require(closed, "the other end is not closed");
    }

    int settle_sent() {
        const std::uint64_t acknowledged = filled() + notes_->put.load();
        require(taken_ >= acknowledged,
                "message " + std::to_string(taken_ + 1) + " was acknowledged and is lost");
        require(taken_ <= filled() + plan_.messages, "a message was invented");
        return static_cast<int>(taken_ - filled());
    }
    int settle_received() {
        const std::uint32_t count = notes_->got_count.load();
        const std::uint64_t before = state_ == PipeState::wrapping ? filled() : 0;
        for (std::uint32_t index = 0; index < count; ++index) {
            require(notes_->got[index].load() == before + index + 1,
                    "the victim received out of order");
        }
        return static_cast<int>(count);
    }

    typename Ends::Pipe ends_;
    PipeState state_;
    Plan plan_;
    std::uint64_t next_{1};
    std::uint64_t taken_{};
    test::Shared<Notes> notes_;
    test::Shared<Notes> peer_notes_;
    test::Child peer_;
};

}  // namespace sluice::crash
