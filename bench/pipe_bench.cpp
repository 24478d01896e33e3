// pipe.hpp: Pipe beside the limit, Boost's and atomic_queue's SPSC rings and pipe(2).
#include <fmt/format.h>

#include <cstddef>

#include "baselines/atomic_queue.hpp"
#include "baselines/boost_spsc.hpp"
#include "baselines/unix_pipe.hpp"
#include "support/blocks.hpp"
#include "support/our_pipe.hpp"
#include "support/program.hpp"

namespace {

using namespace sluice::bench;

constexpr std::size_t kBatch = 32;

template <std::size_t Bytes>
void round_trip(Program& program) {
    using Value = Payload<Bytes>;
    auto race = program.race(
        {.name = fmt::format("Pipe_RoundTrip/payload_bytes:{}", Bytes), .unit = Unit::round_trip});
    if (!race) {
        return;
    }
    program.add<RoundTrip<OurPipe<Value>>>(*race, "sluice Pipe", Kind::ours);
    program.add<RoundTrip<TwoLines<BoostSpsc<Value>>>>(*race, "boost spsc_queue", Kind::peer);
    program.add<RoundTrip<TwoLines<AtomicQueueAny<Value, Sharing::one_each_side>>>>(
        *race, "atomic_queue SPSC", Kind::peer);
    program.add<RoundTrip<TwoLines<UnixPipe<Value>>>>(*race, "pipe(2)", Kind::scale, "sleeps");
    if (Bytes <= 48) {
        race->expect(within_limit("sluice Pipe", 1.10, 40));
    }
    race->expect(below_every_peer("sluice Pipe"));
    program.run(*race);
}

template <std::size_t Bytes>
void stream(Program& program) {
    using Value = Payload<Bytes>;
    auto race = program.race(
        {.name = fmt::format("Pipe_Stream/payload_bytes:{}", Bytes), .unit = Unit::message});
    if (!race) {
        return;
    }
    program.add<Stream<OurPipeLine<Value>>>(*race, "sluice Pipe", Kind::ours);
    program.add<Stream<BoostSpsc<Value>>>(*race, "boost spsc_queue", Kind::peer);
    program.add<Stream<OurPipeLine<Value>, kBatch>>(*race, "sluice Pipe, batches", Kind::ours,
                                                    fmt::format("{}", kBatch));
    program.add<Stream<BoostSpsc<Value>, kBatch>>(*race, "boost spsc_queue, batches", Kind::peer,
                                                  fmt::format("{}", kBatch));
    program.add<Stream<AtomicQueueAny<Value, Sharing::one_each_side>>>(*race, "atomic_queue SPSC",
                                                                       Kind::peer);
    program.add<Stream<AtomicQueueOptimist<Value, Sharing::one_each_side>>>(
        *race, "atomic_queue SPSC, optimist", Kind::peer);
    program.add<Stream<UnixPipe<Value>>>(*race, "pipe(2)", Kind::scale, "sleeps");
    race->expect(rate_at_least("sluice Pipe", 1.0, {"boost spsc_queue"}));
    race->expect(rate_at_least("sluice Pipe, batches", 2.0, {"boost spsc_queue"}));
    program.run(*race);
}

}  // namespace

int main(int argc, char** argv) {
    Program program("pipe", argc, argv);
    round_trip<8>(program);
    round_trip<48>(program);
    round_trip<64>(program);
    stream<8>(program);
    stream<64>(program);
    return program.finish();
}
