// Several feeds, one book: many producers and one consumer on one Queue, taken in batches.
#include <array>
#include <iostream>
#include <sluice/process.hpp>
#include <sluice/queue.hpp>
#include <span>
#include <vector>

struct Trade {
    int feed;
    long quantity;
};

static void feed(int number, const sluice::Queue<Trade>& trades) {
    for (long quantity = 1; quantity <= 1000; ++quantity) {
        trades.put({number, quantity});
    }
}

int main() {
    const sluice::Queue<Trade> trades(1024);
    std::vector<sluice::Process> feeds;
    for (int number = 0; number < 3; ++number) {
        feeds.emplace_back(feed, number, trades).start();
    }
    std::array<long, 3> volume{};
    std::array<Trade, 64> batch{};
    for (std::size_t taken = 0, count = 0; taken < 3000; taken += count) {
        count = trades.get_many(batch);  // at least one, as many as are there
        for (const Trade& trade : std::span(batch).first(count)) {
            volume.at(static_cast<std::size_t>(trade.feed)) += trade.quantity;
        }
    }
    for (std::size_t number = 0; number < volume.size(); ++number) {
        std::cout << "feed " << number << ": " << volume.at(number) << '\n';
    }
}
