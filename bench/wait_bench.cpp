// Waiting: the round trip where both sides sleep in the kernel, beside two bare futexes.
#include <cstddef>

#include "baselines/unix_pipe.hpp"
#include "support/bare_futex.hpp"
#include "support/blocks.hpp"
#include "support/our_pipe.hpp"
#include "support/our_queue.hpp"
#include "support/program.hpp"

int main(int argc, char** argv) {
    using namespace sluice::bench;
    using sluice::Wait;
    using Value = Payload<8>;
    Program program("wait", argc, argv);
    const char* const base = "two bare futexes";
    // A wake-up takes tens of microseconds on a virtual machine: a block must hold hundreds.
    if (auto race = program.race({.name = "Wait_ParkedRoundTrip/payload_bytes:8",
                                  .unit = Unit::round_trip,
                                  .block_ms = 20.0,
                                  .base = base})) {
        race->add<TwoBareFutexes>(base, Kind::limit, "");
        program.add<TwoBareFutexes>(*race, "two bare futexes again", Kind::peer, "expect 1.0");
        program.add<RoundTrip<OurPipe<Value, Wait::park>>>(*race, "sluice Pipe, park", Kind::ours);
        program.add<RoundTrip<TwoLines<OurQueue<Value, Wait::park>>>>(*race, "sluice Queue, park",
                                                                      Kind::ours);
        program.add<RoundTrip<TwoLines<UnixPipe<Value>>>>(*race, "pipe(2)", Kind::peer);
        race->expect(at_most_base("sluice Pipe, park", 1.1, "<= 1.1 x two bare futexes"));
        race->expect(at_most_base("sluice Queue, park", 1.1, "<= 1.1 x two bare futexes"));
        program.run(*race);
    }
    return program.finish();
}
