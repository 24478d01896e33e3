// The harness measures itself: contestants whose ratio is known beforehand. If these lines are
// wrong, no other line of any benchmark here is worth reading.
#include "support/limit.hpp"
#include "support/program.hpp"

int main(int argc, char** argv) {
    using namespace sluice::bench;
    Program program("harness", argc, argv);
    if (auto race = program.race({.name = "Harness_KnownRatios", .unit = Unit::round_trip})) {
        program.add<Limit<1>>(*race, "the limit again", Kind::peer, "expect 1.0");
        program.add<Limit<2>>(*race, "two bounces", Kind::peer, "expect 2.0");
        program.add<Limit<3>>(*race, "three bounces", Kind::peer, "expect 3.0");
        program.add<FlagAndData>(*race, "flag and data", Kind::peer, "1.0 to 2");
        for (const auto& [name, expected] :
             {std::pair{"the limit again", 1.0}, {"two bounces", 2.0}, {"three bounces", 3.0}}) {
            race->expect(ratio_is(name, expected, 0.05));
        }
        program.run(*race);
    }
    return program.finish();
}
