// A Pool whose workers have CPUs of their own, each with its memory on its node.
#include <iostream>
#include <set>
#include <sluice/pool.hpp>

static double price(int strike) {
    return 100.0 / strike;
}

int main() {
    // One worker a core, with all the threads of that core; of the CPUs that this process may use.
    const sluice::Placement placement{.policy = sluice::Policy::per_core};
    const auto plan = sluice::plan(sluice::Topology::system(), placement, 2);
    sluice::Pool pool({.workers = 2, .placement = placement});
    for (const double value : pool.map(price, std::vector{1, 2, 4, 5})) {
        std::cout << value << '\n';
    }
    bool as_planned = true;
    std::size_t number = 0;
    for (const sluice::WorkerInfo& worker : pool.workers()) {
        as_planned = as_planned && worker.binding.cpus == plan.at(number++).cpus;
    }
    std::cout << pool.workers().size() << " workers, bound as planned: " << std::boolalpha
              << as_planned << '\n';
}
