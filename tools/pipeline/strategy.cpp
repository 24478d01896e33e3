// A strategy: sees every event of the books and sends orders. The signal is simple on purpose, but
// it is one: where one side of the top of the book is several times the other, the price tends
// to move away from the heavy side.
#include <cstdlib>

#include "stages.hpp"

namespace sluice::pipeline {
namespace {

constexpr std::int64_t kLotsMax = 20;    // its own limit, far inside the gateway's
constexpr Decimal kOrderQuantity{1, 3};  // a lot: 0.001

/// What it knows of one input.
struct Instrument {
    std::int64_t position_lots{};  // with the orders that wait for their acknowledgement
    std::int64_t last_order_ns{};  // by receive time, so that a run's speed changes no decision
};

class Strategy {
 public:
    explicit Strategy(const StrategyJob& job)
        : job_(job),
          instruments_(job.inputs),
          heavy_factor_(4 + job.strategy % 4),
          pause_ns_(20'000'000 + 5'000'000 * std::int64_t{job.strategy % 8}) {}

    /// Whether the event makes an order, and which.
    [[nodiscard]] bool decide(const BookEvent& event, Order& order) {
        if (event.what == BookEvent::What::trade || !event.has_bid || !event.has_ask) {
            return false;
        }
        Instrument& instrument = instruments_[event.input];
        if (event.receive_ns - instrument.last_order_ns < pause_ns_) {
            return false;
        }
        const Wide bid = at_common_scale(event.bid.quantity());
        const Wide ask = at_common_scale(event.ask.quantity());
        if (bid > ask * heavy_factor_ && instrument.position_lots < kLotsMax) {
            order.side = Side::buy;
            order.price = event.ask.price();
            ++instrument.position_lots;
        } else if (ask > bid * heavy_factor_ && instrument.position_lots > -kLotsMax) {
            order.side = Side::sell;
            order.price = event.bid.price();
            --instrument.position_lots;
        } else {
            return false;
        }
        instrument.last_order_ns = event.receive_ns;
        order.what = Order::What::order;
        order.id = ++last_id_;
        order.strategy = job_.strategy;
        order.input = event.input;
        order.quantity = kOrderQuantity;
        order.reference = event.reference;
        order.receive_ns = event.receive_ns;
        order.intended_ns = event.intended_ns;
        return true;
    }

    void take(const Acknowledgement& acknowledgement) {
        if (acknowledgement.verdict != Verdict::accepted) {
            instruments_[acknowledgement.input].position_lots +=
                acknowledgement.side == Side::buy ? -1 : 1;
        }
    }

 private:
    StrategyJob job_;
    std::vector<Instrument> instruments_;
    std::int64_t heavy_factor_;
    std::int64_t pause_ns_;
    std::uint64_t last_id_{};
};

}  // namespace

void run_strategy(const StrategyJob& job, Connection<BookEvent>& events, const Queue<Order>& orders,
                  Connection<Acknowledgement>& acknowledgements, const Reports& reports) {
    Strategy strategy(job);
    StrategyReport report{.strategy = job.strategy};
    Hop from_book{"book", "strategy"};
    Hop from_feed{"feed", "strategy"};
    const auto take = [&](const Acknowledgement& acknowledgement) {
        strategy.take(acknowledgement);
        ++report.acknowledged;
    };

    for (;;) {
        const BookEvent event = events.recv();
        if (event.what == BookEvent::What::end) {
            break;
        }
        const std::int64_t now = now_ns();
        from_book.durations.record(now - event.published_ns);
        from_feed.durations.record(now - event.intended_ns);
        ++report.events;
        while (const auto acknowledgement = acknowledgements.try_recv()) {
            take(*acknowledgement);
        }
        Order order;
        if (!strategy.decide(event, order)) {
            continue;
        }
        while (report.orders - report.acknowledged >= kOutstandingMax) {
            take(acknowledgements.recv());
        }
        ++report.orders;
        order.sent_ns = now_ns();
        orders.put(order);
    }
    while (report.acknowledged < report.orders) {
        take(acknowledgements.recv());
    }
    orders.put(Order{.strategy = job.strategy});
    report.hops = {from_book.report(), from_feed.report()};
    reports.put(report);
}

}  // namespace sluice::pipeline
