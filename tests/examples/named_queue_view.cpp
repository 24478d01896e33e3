// The other of two programs that know nothing of each other but a name: this one prints quotes.
#include <iostream>
#include <sluice/queue.hpp>

struct Quote {
    int instrument;
    double price;
};

int main() {
    const auto quotes = sluice::Queue<Quote>::open_or_create("example-quotes");
    try {
        for (;;) {
            const Quote quote = quotes.get();
            std::cout << "instrument " << quote.instrument << " at " << quote.price << '\n';
        }
    } catch (const sluice::Closed&) {  // it was closed, and everything has been taken
        std::cout << "no more quotes\n";
    }
    sluice::Queue<Quote>::unlink("example-quotes");
}
