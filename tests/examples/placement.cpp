// A process where a plan says, and a queue whose memory lies on a node of one's choice.
#include <iostream>
#include <sluice/placement.hpp>
#include <sluice/process.hpp>
#include <sluice/queue.hpp>
#include <sluice/topology.hpp>

struct Tick {
    int instrument;
    double price;
};

static void run_feed(const sluice::Queue<Tick>& queue) {
    queue.put({7, 12.5});
}

int main() {
    const sluice::Queue<Tick> queue({
        .capacity = 4096,
        .memory = {.numa = sluice::Numa::node, .node = 0, .huge_pages = sluice::HugePages::prefer},
    });
    const auto topology = sluice::Topology::system();
    const auto bindings = sluice::plan(topology, {.policy = sluice::Policy::compact}, 3);
    sluice::Process feed({.name = "feed", .binding = bindings[0]}, run_feed, queue);
    feed.start();
    std::cout << "instrument " << queue.get().instrument << '\n';
    feed.join();
    std::cout << "the feed ended with " << *feed.exitcode() << '\n';
}
