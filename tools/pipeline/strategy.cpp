// A strategy: sees every event of the books and sends orders. The signal is simple on purpose, but
// it is one: where one side of the top of the book is several times the other, the price tends
// to move away from the heavy side.
#include <chrono>
#include <cstdlib>
#include <optional>
#include <span>
#include <unordered_set>

#include "stages.hpp"

namespace sluice::pipeline {
namespace {

constexpr std::int64_t kLotsMax = 20;    // its own limit, far inside the gateway's
constexpr Decimal kOrderQuantity{1, 3};  // a lot: 0.001

class Strategy {
 public:
    explicit Strategy(const StrategyJob& job)
        : job_(job),
          instruments_(job.notes->instruments()),
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
        order.id = job_.notes->note_order();
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
    std::span<Instrument> instruments_;
    std::int64_t heavy_factor_;
    std::int64_t pause_ns_;
};

}  // namespace

void run_strategy(const StrategyJob& job, const Queue<BookEvent>& events,
                  const Queue<Order>& orders, const Queue<Acknowledgement>& acknowledgements,
                  const Reports& reports) {
    job.notes->begin_life(job.life);
    Strategy strategy(job);
    StrategyReport report{.strategy = job.strategy, .restarts = job.life};
    Hop from_book{"book", "strategy"};
    Hop from_feed{"feed", "strategy"};
    // Of the orders of this life: those of a former one may have been acknowledged to that one.
    std::unordered_set<std::uint64_t> outstanding;
    const auto take = [&](const Acknowledgement& acknowledgement) {
        strategy.take(acknowledgement);
        report.acknowledged += outstanding.erase(acknowledgement.id);
    };
    const auto take_all = [&] {
        while (const auto acknowledgement = acknowledgements.try_get()) {
            take(*acknowledgement);
        }
    };
    const auto handle = [&](const BookEvent& event) {
        const std::int64_t now = now_ns();
        if (!job.notes->note_event(event.sequence)) {
            return;  // a former life has dealt with it
        }
        from_book.durations.record(now - event.published_ns);
        from_feed.durations.record(now - event.intended_ns);
        take_all();
        Order order;
        if (!strategy.decide(event, order)) {
            return;
        }
        while (outstanding.size() >= kOutstandingMax) {
            take(acknowledgements.get());
        }
        outstanding.insert(order.id);
        ++report.orders;
        order.sent_ns = now_ns();
        orders.put(order);
    };

    take_all();  // what a former life left there: risk must never wait for room
    // On loan until it has been dealt with: a strategy that dies gives its event back.
    std::optional<Lease<BookEvent>> event;
    for (;;) {
        event.emplace(events.lease());
        if ((*event)->what == BookEvent::What::end) {
            break;
        }
        handle(**event);
        event->commit();
        event.reset();
    }
    if (job.life > 0) {
        // What the former life gave back may come after younger events, even after the last.
        while (auto late = events.try_lease_for(std::chrono::milliseconds(10))) {
            handle(**late);
            late->commit();
        }
    }
    while (!outstanding.empty()) {
        take(acknowledgements.get());
    }
    orders.put(Order{.strategy = job.strategy});
    report.events = job.notes->events();
    report.hops = {from_book.report(), from_feed.report()};
    reports.put(report);
    event->commit();  // last: who dies before it is started again, and says the same once more
}

}  // namespace sluice::pipeline
