// Work that survives its worker: a lease gives the order back when its holder is killed.
#include <signal.h>

#include <iostream>
#include <sluice/process.hpp>
#include <sluice/queue.hpp>

static void work(int number, const sluice::Queue<int>& orders, const sluice::Queue<int>& done) {
    for (;;) {
        auto order = orders.lease();
        if (number == 1) {
            raise(SIGKILL);  // in the middle of its first order
        }
        done.put(*order);
        order.commit();  // only now is it taken
    }
}

int main() {
    const sluice::Queue<int> orders, done;
    for (int order = 1; order <= 3; ++order) {
        orders.put(order);
    }
    sluice::Process first({.daemon = true}, work, 1, orders, done);
    first.start();
    first.join();
    std::cout << "worker 1 ended with " << *first.exitcode() << '\n';
    sluice::Process second({.daemon = true}, work, 2, orders, done);
    second.start();
    for (int count = 0; count < 3; ++count) {
        std::cout << "done: order " << done.get() << '\n';
    }
}
