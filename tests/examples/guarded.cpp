// A value that a writer's death leaves whole: Guarded keeps the last committed one.
#include <signal.h>

#include <iostream>
#include <sluice/guarded.hpp>
#include <sluice/process.hpp>

struct Position {
    long shares;
    double average_price;
};

static void trade(const sluice::Guarded<Position>& position, bool dies) {
    auto now = position.write();  // others read the last committed one meanwhile, without waiting
    now->shares += 100;
    if (dies) {
        raise(SIGKILL);  // with the shares changed, and not the price
    }
    now->average_price = 12.5;
    now.commit();
}

int main() {
    const sluice::Guarded<Position> position(Position{100, 10.0});
    for (const bool dies : {true, false}) {
        sluice::Process trader(trade, position, dies);
        trader.start();
        trader.join();
        const Position seen = position.read();
        std::cout << seen.shares << " shares at " << seen.average_price << '\n';
    }
}
