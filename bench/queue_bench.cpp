// queue.hpp: Queue beside the limit and the bounded MPMC rings. None of the peers survives the
// death of one of its users; Queue does, in every line printed here.
#include <fmt/format.h>

#include <cstddef>

#include "baselines/atomic_queue.hpp"
#include "baselines/unix_pipe.hpp"
#include "baselines/xenium_vyukov.hpp"
#include "support/blocks.hpp"
#include "support/our_queue.hpp"
#include "support/program.hpp"

namespace {

using namespace sluice::bench;

constexpr Sharing kMany = Sharing::many_each_side;

template <std::size_t Bytes>
void round_trip(Program& program) {
    using Value = Payload<Bytes>;
    auto race = program.race(
        {.name = fmt::format("Queue_RoundTrip/payload_bytes:{}", Bytes), .unit = Unit::round_trip});
    if (!race) {
        return;
    }
    program.add<RoundTrip<TwoLines<OurQueue<Value>>>>(*race, "sluice Queue", Kind::ours);
    program.add<RoundTrip<TwoLines<AtomicQueueAny<Value, kMany>>>>(*race, "atomic_queue MPMC",
                                                                   Kind::peer);
    program.add<RoundTrip<TwoLines<AtomicQueueOptimist<Value, kMany>>>>(
        *race, "atomic_queue MPMC, optimist", Kind::peer);
    program.add<RoundTrip<TwoLines<XeniumVyukov<Value>>>>(*race, "xenium vyukov", Kind::peer);
    program.add<RoundTrip<TwoLines<UnixPipe<Value>>>>(*race, "pipe(2)", Kind::scale, "sleeps");
    race->expect(within_limit("sluice Queue", 1.20, 40));
    race->expect(below_every_peer("sluice Queue"));
    program.run(*race);
}

template <std::size_t Bytes>
void stream(Program& program, unsigned pairs) {
    using Value = Payload<Bytes>;
    auto race = program.race(
        {.name = fmt::format("Queue_Stream/payload_bytes:{}/producers:{}/consumers:{}", Bytes,
                             pairs, pairs),
         .unit = Unit::message,
         .roles = 2 * pairs,
         // In a crowd the scheduler's turns are milliseconds long: a block must hold several.
         .block_ms = pairs == 1 ? 1.0 : 15.0});
    if (!race) {
        return;
    }
    program.add<Stream<OurQueue<Value>>>(*race, "sluice Queue", Kind::ours);
    program.add<Stream<AtomicQueueAny<Value, kMany>>>(*race, "atomic_queue MPMC", Kind::peer);
    if constexpr (Bytes == 8) {
        program.add<Stream<AtomicQueueWord<Value, kMany>>>(*race, "atomic_queue MPMC, words",
                                                           Kind::peer);
    }
    if (pairs == 1) {
        // Its claims are blind and its waits spin: in a crowd each waits for a process that has no
        // CPU.
        program.add<Stream<AtomicQueueOptimist<Value, kMany>>>(*race, "atomic_queue MPMC, optimist",
                                                               Kind::peer);
    }
    program.add<Stream<XeniumVyukov<Value>>>(*race, "xenium vyukov", Kind::peer);
    race->expect(rate_at_least("sluice Queue", 1.3));
    if (pairs == 1) {
        program.add<Stream<OurQueue<Value>, 32>>(*race, "sluice Queue, batches", Kind::ours, "32");
        program.add<Stream<UnixPipe<Value>>>(*race, "pipe(2)", Kind::scale, "sleeps");
    }
    program.run(*race);
}

}  // namespace

int main(int argc, char** argv) {
    Program program("queue", argc, argv);
    round_trip<8>(program);
    round_trip<48>(program);
    for (const unsigned pairs : {1U, 2U, 4U}) {
        stream<8>(program, pairs);
        stream<48>(program, pairs);
    }
    return program.finish();
}
