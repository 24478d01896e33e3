// One of two programs that know nothing of each other but a name: this one makes quotes. The other:
// named_queue_view.cpp.
#include <iostream>
#include <sluice/queue.hpp>

struct Quote {
    int instrument;
    double price;
};

int main() {
    // Whoever comes first makes it. The other finds what was put before it came.
    const auto quotes = sluice::Queue<Quote>::open_or_create("example-quotes");
    for (int number = 0; number < 3; ++number) {
        quotes.put({number, 100.0 + number});
    }
    quotes.close();
}
