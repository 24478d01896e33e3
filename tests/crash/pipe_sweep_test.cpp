// The kill sweep over Pipe and BytePipe: each operation of an end's owner, from each starting state
// that makes a difference to it.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "crash/pipe_scene.hpp"
#include "crash/report.hpp"
#include "crash/sweep.hpp"
#include "sluice/byte_pipe.hpp"
#include "sluice/msgpack.hpp"
#include "sluice/pipe.hpp"

namespace sluice::crash {
namespace {

/// Plain values: the ring of numbered slots.
struct PlainEnds {
    using Pipe = sluice::Pipe<std::uint64_t>;
    using Connection = sluice::Connection<std::uint64_t>;
    static constexpr std::uint64_t kCapacity = 4;
    static constexpr bool kPairs = true;

    static Pipe make() { return Pipe(PipeOptions{.capacity = kCapacity, .wait = Wait::park}); }
    static void send(Connection& end, std::uint64_t number) { end.send(number); }
    static bool try_send(Connection& end, std::uint64_t number) { return end.try_send(number); }
    static std::uint64_t recv(Connection& end) { return end.recv(); }
    static std::uint64_t try_recv(Connection& end) { return end.try_recv().value_or(0); }
};

/// Packed values: records of bytes.
struct PackedEnds {
    using Pipe = sluice::Pipe<std::string>;
    using Connection = sluice::Connection<std::string>;
    // Three of these fill the ring of 64 KiB.
    static constexpr std::uint64_t kCapacity = 3;
    static constexpr std::size_t kBytes = 20'000;
    static constexpr bool kPairs = false;  // the same ring as BytePipe's

    static std::string text(std::uint64_t number) {
        std::string made = std::to_string(number) + ' ';
        made.resize(kBytes, static_cast<char>('a' + number % 26));
        return made;
    }
    static std::uint64_t number(const std::string& text_received) {
        const std::uint64_t found = std::stoull(text_received);
        require(text_received == text(found), "a torn message");
        return found;
    }
    static Pipe make() { return Pipe(PipeOptions{.capacity = 4, .wait = Wait::park}); }
    static void send(Connection& end, std::uint64_t number) { end.send(text(number)); }
    static bool try_send(Connection& end, std::uint64_t number) {
        return end.try_send(text(number));
    }
    static std::uint64_t recv(Connection& end) { return number(end.recv()); }
    static std::uint64_t try_recv(Connection& end) {
        const auto got = end.try_recv();
        return got ? number(*got) : 0;
    }
};

/// Bytes: claim and commit, peek and consume.
template <std::size_t kMessageBytes>
struct ByteEnds {
    using Pipe = sluice::BytePipe;
    using Connection = sluice::ByteConnection;
    static constexpr std::size_t kRingBytes = 4096;
    static constexpr bool kPairs = true;
    static constexpr std::uint64_t kCapacity = kRingBytes / (kMessageBytes + 8);

    using Message = std::vector<std::byte>;
    static Message message(std::uint64_t number) {
        Message made(kMessageBytes, static_cast<std::byte>(number));
        std::memcpy(made.data(), &number, sizeof number);
        return made;
    }
    static std::uint64_t number(std::span<const std::byte> bytes) {
        std::uint64_t found = 0;
        require(bytes.size() == kMessageBytes, "a message of another length");
        std::memcpy(&found, bytes.data(), sizeof found);
        const Message whole = message(found);
        require(std::memcmp(whole.data(), bytes.data(), bytes.size()) == 0, "a torn message");
        return found;
    }
    static Pipe make() {
        return Pipe(BytePipeOptions{.capacity_bytes = kRingBytes, .wait = Wait::park});
    }
    static void send(Connection& end, std::uint64_t number) { end.send(message(number)); }
    static bool try_send(Connection& end, std::uint64_t number) {
        return end.try_send(message(number));
    }
    static std::uint64_t recv(Connection& end) { return number(end.recv()); }
    static std::uint64_t try_recv(Connection& end) {
        const auto got = end.try_recv();
        return got ? number(*got) : 0;
    }
};

template <class Ends>
struct PipeOperations {
    using Scene = PipeScene<Ends>;

    static void try_send(Scene& scene) {
        if (Ends::try_send(scene.victims(), scene.first_number())) {
            scene.note_sent();
        }
    }
    static void send(Scene& scene) {
        Ends::send(scene.victims(), scene.first_number());
        scene.note_sent();
    }
    static void send_many(Scene& scene) {
        const std::uint64_t first = scene.first_number();
        const std::vector<std::uint64_t> values = {first, first + 1, first + 2};
        for (std::size_t done = scene.victims().try_send_many(values); done != 0; --done) {
            scene.note_sent();
        }
    }
    static void claim_and_commit(Scene& scene) {
        const auto bytes = Ends::message(scene.first_number());
        const std::span<std::byte> room = scene.victims().claim(bytes.size());
        std::memcpy(room.data(), bytes.data(), bytes.size());
        scene.victims().commit();
        scene.note_sent();
    }
    static void try_recv(Scene& scene) {
        if (const std::uint64_t number = Ends::try_recv(scene.victims())) {
            scene.note_received(number);
        }
    }
    static void recv(Scene& scene) { scene.note_received(Ends::recv(scene.victims())); }
    static void recv_many(Scene& scene) {
        std::vector<std::uint64_t> values(3);
        const std::size_t count = scene.victims().try_recv_many(values);
        for (std::size_t index = 0; index < count; ++index) {
            scene.note_received(values[index]);
        }
    }
    static void peek_and_consume(Scene& scene) {
        const std::uint64_t number = Ends::number(scene.victims().peek());
        scene.victims().consume();
        scene.note_received(number);
    }
    static void close(Scene& scene) { scene.victims().close(); }
};

template <class Ends>
void sweep_one(const std::string& name, const typename PipeScene<Ends>::Plan& plan,
               const std::vector<PipeState>& states) {
    for (const PipeState state : states) {
        typename PipeScene<Ends>::Plan planned = plan;
        planned.may_sleep =
            plan.may_sleep && (state == PipeState::full || state == PipeState::empty);
        Report::add(sweep(name, name_of(state),
                          [&] { return std::make_unique<PipeScene<Ends>>(state, planned); },
                          {.pairs = Ends::kPairs}));
    }
}

using State = PipeState;
const std::vector<State> kSending = {State::empty, State::nearly_full, State::full, State::wrapping,
                                     State::peer_asleep};
const std::vector<State> kReceiving = {State::empty, State::one, State::full, State::wrapping,
                                       State::peer_asleep};

template <class Ends>
void sweep_common(const std::string& type, bool brief = false) {
    using Operations = PipeOperations<Ends>;
    constexpr auto kSends = Direction::victim_sends;
    constexpr auto kReceives = Direction::victim_receives;
    using States = std::vector<State>;
    sweep_one<Ends>(type + "::try_send",
                    {.act = &Operations::try_send, .direction = kSends, .messages = 1},
                    brief ? States{State::empty, State::peer_asleep} : kSending);
    sweep_one<Ends>(
        type + "::send",
        {.act = &Operations::send, .direction = kSends, .messages = 1, .may_sleep = true},
        {State::one, State::full});
    sweep_one<Ends>(type + "::try_recv",
                    {.act = &Operations::try_recv, .direction = kReceives, .messages = 1},
                    brief ? States{State::one, State::peer_asleep} : kReceiving);
    if (brief) {
        return;
    }
    sweep_one<Ends>(
        type + "::recv",
        {.act = &Operations::recv, .direction = kReceives, .messages = 1, .may_sleep = true},
        {State::empty, State::one});
    sweep_one<Ends>(
        type + "::recv, first of all",
        {.act = &Operations::recv, .direction = kReceives, .messages = 1, .newcomer = true},
        {State::one});
    sweep_one<Ends>(type + "::close", {.act = &Operations::close, .direction = kSends},
                    {State::one, State::peer_asleep});
    sweep_one<Ends>(type + "::close", {.act = &Operations::close, .direction = kReceives},
                    {State::full, State::peer_asleep});
}

TEST(KillSweep, PipeOfPlainValues) {
    Report::run([] {
        sweep_common<PlainEnds>("Pipe<u64>");
        using Operations = PipeOperations<PlainEnds>;
        sweep_one<PlainEnds>(
            "Pipe<u64>::send_many",
            {.act = &Operations::send_many, .direction = Direction::victim_sends, .messages = 3},
            {State::empty, State::nearly_full, State::wrapping, State::peer_asleep});
        sweep_one<PlainEnds>(
            "Pipe<u64>::recv_many",
            {.act = &Operations::recv_many, .direction = Direction::victim_receives, .messages = 3},
            {State::one, State::full});
    });
}

TEST(KillSweep, PipeOfPackedValues) {
    Report::run([] { sweep_common<PackedEnds>("Pipe<string>", !is_thorough()); });
}

TEST(KillSweep, BytePipe) {
    Report::run([] {
        using Ends = ByteEnds<1000>;
        using Operations = PipeOperations<Ends>;
        sweep_common<Ends>("BytePipe");
        sweep_one<Ends>("BytePipe::claim, commit",
                        {.act = &Operations::claim_and_commit,
                         .direction = Direction::victim_sends,
                         .messages = 1},
                        {State::empty, State::wrapping, State::peer_asleep});
        sweep_one<Ends>("BytePipe::peek, consume",
                        {.act = &Operations::peek_and_consume,
                         .direction = Direction::victim_receives,
                         .messages = 1},
                        {State::one, State::full, State::wrapping, State::peer_asleep});
    });
}

TEST(KillSweep, BytePipeInFragments) {
    // Longer than the ring: the peer has to take what was sent while the rest is being sent.
    Report::run([] {
        using Ends = ByteEnds<10'000>;
        using Operations = PipeOperations<Ends>;
        sweep_one<Ends>("BytePipe::send, in fragments",
                        {.act = &Operations::send,
                         .direction = Direction::victim_sends,
                         .messages = 1,
                         .may_sleep = false},
                        {State::peer_asleep});
    });
}

}  // namespace
}  // namespace sluice::crash
