// lock.hpp: Lock beside the fastest lock that a futex allows, and those that systems ship. None of
// the peers but the robust mutex survives the death of its owner; Lock does, in every line.
#include <fmt/format.h>

#include "baselines/locks.hpp"
#include "support/lock_blocks.hpp"
#include "support/our_lock.hpp"
#include "support/program.hpp"

namespace {

using namespace sluice::bench;

constexpr unsigned kLooks = 1000;
using Robust = PthreadMutex<PthreadKind::robust>;
using Plain = PthreadMutex<PthreadKind::plain>;
using Inheriting = PthreadMutex<PthreadKind::priority_inheriting>;

template <template <class> class Blocks>
void add_all(Program& program, Race& race) {
    program.add<Blocks<OurLock<>>>(race, "sluice Lock", Kind::ours);
    program.add<Blocks<OurLock<sluice::RLock>>>(race, "sluice RLock", Kind::ours);
    program.add<Blocks<DrepperFutex<0>>>(race, "Drepper's futex", Kind::peer);
    program.add<Blocks<DrepperFutex<kLooks>>>(race, "Drepper's futex, spinning", Kind::peer);
    program.add<Blocks<Plain>>(race, "pthread mutex", Kind::peer);
    program.add<Blocks<Robust>>(race, "pthread mutex, robust", Kind::peer);
    program.add<Blocks<Inheriting>>(race, "pthread mutex, PI", Kind::peer);
    program.add<Blocks<PosixSemaphore>>(race, "sem_t", Kind::peer);
    program.add<Blocks<BoostInterprocessMutex>>(race, "boost interprocess_mutex", Kind::peer);
}

template <class L>
using Short = Contended<L, 20>;
template <class L>
using Long = Contended<L, 1000>;

void uncontended(Program& program) {
    auto race = program.race({.name = "Lock_Uncontended", .unit = Unit::message});
    if (!race) {
        return;
    }
    add_all<Uncontended>(program, *race);
    race->expect(at_most_peer("sluice Lock", 1.1, "Drepper's futex"));
    race->expect(at_most_peer("sluice Lock", 0.5, "pthread mutex, robust"));
    program.run(*race);
}

template <template <class> class Blocks>
void contended(Program& program, const char* section, unsigned processes) {
    auto race = program.race(
        {.name = fmt::format("Lock_Contended/section:{}/processes:{}", section, processes),
         .unit = Unit::message,
         .roles = processes,
         .block_ms = processes == 2 ? 2.0 : 15.0});
    if (!race) {
        return;
    }
    add_all<Blocks>(program, *race);
    if (processes == 2) {
        race->expect(at_most_peer("sluice Lock", 1.0, "Drepper's futex, spinning"));
        race->expect(at_most_peer("sluice Lock", 1.0, "Drepper's futex"));
    }
    program.run(*race);
}

}  // namespace

int main(int argc, char** argv) {
    Program program("lock", argc, argv);
    uncontended(program);
    for (const unsigned processes : {2U, 4U}) {
        contended<Short>(program, "short", processes);
        contended<Long>(program, "long", processes);
    }
    return program.finish();
}
