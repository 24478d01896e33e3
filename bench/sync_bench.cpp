// semaphore.hpp, event.hpp, barrier.hpp: beside what POSIX and pthread have for processes, and an
// event made of a bare futex. None of the peers notices the death of a process.
#include <fmt/format.h>

#include "baselines/meetings.hpp"
#include "support/lock_blocks.hpp"
#include "support/meeting_blocks.hpp"
#include "support/our_meetings.hpp"
#include "support/program.hpp"

namespace {

using namespace sluice::bench;
using sluice::Wait;

template <class Permits>
using Alone = Uncontended<PermitLock<Permits>>;
template <class Permits>
using Wanted = Contended<PermitLock<Permits>, 20>;

// Blocks in which processes sleep must hold hundreds of wake-ups.
constexpr double kParkedBlockMs = 20.0;

template <template <class> class Blocks>
void semaphores(Program& program, const Race::Options& options) {
    auto race = program.race(options);
    if (!race) {
        return;
    }
    program.add<Blocks<OurPermits<>>>(*race, "sluice Semaphore", Kind::ours);
    program.add<Blocks<OurPermits<true>>>(*race, "sluice Semaphore, owned", Kind::ours);
    program.add<Blocks<PosixPermits>>(*race, "sem_t", Kind::peer);
    race->expect(at_most_peer("sluice Semaphore", 1.0, "sem_t"));
    program.run(*race);
}

// A permit is handed over: who releases holds none, so there are no owners.
void hand_over(Program& program, const Race::Options& options) {
    auto race = program.race(options);
    if (!race) {
        return;
    }
    using Spinning = OurPermits<>;
    using Parked = OurPermits<false, Wait::park>;
    program.add<PermitRoundTrip<Spinning>>(*race, "sluice Semaphore", Kind::ours);
    program.add<PermitRoundTrip<Parked>>(*race, "sluice Semaphore, park", Kind::ours);
    program.add<PermitRoundTrip<PosixPermits>>(*race, "sem_t", Kind::peer);
    race->expect(at_most_peer("sluice Semaphore", 1.0, "sem_t"));
    race->expect(at_most_peer("sluice Semaphore, park", 1.0, "sem_t"));
    program.run(*race);
}

template <template <class> class Blocks>
void events(Program& program, const Race::Options& options) {
    auto race = program.race(options);
    if (!race) {
        return;
    }
    program.add<Blocks<OurEvent<>>>(*race, "sluice Event", Kind::ours);
    program.add<Blocks<OurEvent<Wait::park>>>(*race, "sluice Event, park", Kind::ours);
    program.add<Blocks<FutexEvent>>(*race, "bare futex", Kind::peer);
    program.add<Blocks<PthreadEvent>>(*race, "pthread cond, broadcast", Kind::peer);
    race->expect(at_most_peer("sluice Event", 1.0, "pthread cond, broadcast"));
    race->expect(at_most_peer("sluice Event, park", 1.0, "pthread cond, broadcast"));
    program.run(*race);
}

template <unsigned Parties>
void barriers(Program& program, double block_ms) {
    auto race = program.race({.name = fmt::format("Barrier_Meeting/parties:{}", Parties),
                              .unit = Unit::message,
                              .roles = Parties,
                              .block_ms = block_ms});
    if (!race) {
        return;
    }
    program.add<Meeting<OurBarrier<>, Parties>>(*race, "sluice Barrier", Kind::ours);
    program.add<Meeting<OurBarrier<Wait::park>, Parties>>(*race, "sluice Barrier, park",
                                                          Kind::ours);
    program.add<Meeting<PthreadBarrier, Parties>>(*race, "pthread barrier", Kind::peer);
    race->expect(at_most_peer("sluice Barrier", 1.0, "pthread barrier"));
    program.run(*race);
}

}  // namespace

int main(int argc, char** argv) {
    Program program("sync", argc, argv);
    semaphores<Alone>(program, {.name = "Semaphore_Uncontended", .unit = Unit::message});
    for (const unsigned processes : {2U, 4U}) {
        semaphores<Wanted>(program,
                           {.name = fmt::format("Semaphore_Contended/processes:{}", processes),
                            .unit = Unit::message,
                            .roles = processes,
                            .block_ms = processes == 2 ? 2.0 : 15.0});
    }
    hand_over(
        program,
        {.name = "Semaphore_RoundTrip", .unit = Unit::round_trip, .block_ms = kParkedBlockMs});
    events<EventAlone>(program, {.name = "Event_SetWaitClear", .unit = Unit::message});
    events<EventRoundTrip>(
        program, {.name = "Event_RoundTrip", .unit = Unit::round_trip, .block_ms = kParkedBlockMs});
    barriers<2>(program, kParkedBlockMs);
    barriers<4>(program, kParkedBlockMs);
    return program.finish();
}
