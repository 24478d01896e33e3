// The book stage: merges the feeds by receive time, keeps a book for each input, and tells every
// strategy what is new.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "book.hpp"
#include "stages.hpp"

namespace sluice::pipeline {
namespace {

/// The feeds in the order of the receive times of their next messages; of equal ones the first
/// feed's comes first. The times are known before the messages come, so only the feed whose turn it
/// is is ever waited for, and the order is the same in every run.
class Merge {
 public:
    explicit Merge(std::vector<Connection<FeedRecord>>& feeds) : feeds_(feeds) {
        for (Connection<FeedRecord>& feed : feeds_) {
            next_ns_.push_back(feed.recv().next_receive_ns);
        }
    }

    /// The next message of all feeds, and the feed it came from; false at the end of all of them.
    [[nodiscard]] bool next(std::size_t& feed, FeedRecord& record, Message& message) {
        const auto first = std::min_element(next_ns_.begin(), next_ns_.end());
        if (*first == kNever) {
            return false;
        }
        feed = static_cast<std::size_t>(first - next_ns_.begin());
        message.bids.clear();
        message.asks.clear();
        do {
            record = feeds_[feed].recv();
            const auto bids = record.rows.begin() + record.bids;
            message.bids.insert(message.bids.end(), record.rows.begin(), bids);
            message.asks.insert(message.asks.end(), bids, bids + record.asks);
        } while (!record.last);
        message.kind = record.kind;
        message.chained = record.chained;
        message.buyer_is_maker = record.buyer_is_maker;
        message.first_id = record.first_id;
        message.last_id = record.last_id;
        message.previous_id = record.previous_id;
        *first = record.next_receive_ns;
        return true;
    }

 private:
    std::vector<Connection<FeedRecord>>& feeds_;
    std::vector<std::int64_t> next_ns_{};
};

void set_top(BookEvent& event, const Top& top) {
    event.has_bid = top.bid.has_value();
    event.has_ask = top.ask.has_value();
    event.bid = top.bid.value_or(Level{});
    event.ask = top.ask.value_or(Level{});
}

/// One input's book with what has been published of it.
struct Published {
    Book book{};
    Top top{};
    Decimal last_price{};
};

/// Whether the message makes an event: every trade and every bookTicker does, and each delta or
/// snapshot that changes the best levels.
bool make_event(const Message& message, Book::Outcome outcome, Published& input, BookEvent& event) {
    switch (message.kind) {
        case Kind::book_ticker:
            event.what = BookEvent::What::ticker;
            set_top(event, {message.bids.front(), message.asks.front()});
            return true;
        case Kind::trade:
            event.what = BookEvent::What::trade;
            event.has_ask = true;
            event.ask = message.asks.front();
            event.buyer_is_maker = message.buyer_is_maker;
            input.last_price = event.ask.price();
            return true;
        case Kind::depth:
        case Kind::snapshot: {
            if (outcome != Book::Outcome::applied && outcome != Book::Outcome::gap) {
                return false;
            }
            Top top = input.book.top();
            if (top == input.top) {
                return false;
            }
            input.top = std::move(top);
            event.what = BookEvent::What::book;
            set_top(event, input.top);
            return true;
        }
        case Kind::other:
        case Kind::malformed:
            break;
    }
    return false;
}

}  // namespace

void run_book(const BookJob& job, std::vector<Connection<FeedRecord>>& feeds,
              const std::vector<Queue<BookEvent>>& strategies, const Reports& reports) {
    Merge merge(feeds);
    std::vector<Published> inputs(feeds.size());
    Hop from_feed{"feed", "book"};
    ProblemTeller problems(reports);
    BookReport report;
    const auto publish = [&strategies](const BookEvent& event) {
        for (const Queue<BookEvent>& strategy : strategies) {
            strategy.put(event);
        }
    };

    std::size_t feed = 0;
    FeedRecord record;
    Message message;
    while (merge.next(feed, record, message)) {
        if (message.kind == Kind::other || message.kind == Kind::malformed) {
            continue;
        }
        from_feed.durations.record(now_ns() - record.intended_ns);
        Published& input = inputs[feed];
        const Book::Outcome outcome = input.book.apply(message);
        BookEvent event;
        if (make_event(message, outcome, input, event)) {
            event.sequence = ++report.events;
            event.receive_ns = record.receive_ns;
            event.intended_ns = record.intended_ns;
            event.input = static_cast<std::uint32_t>(feed);
            event.reference = input.last_price;
            event.published_ns = now_ns();
            publish(event);
        }
        if (outcome == Book::Outcome::gap) {
            problems.tell(fmt::format("{}: a gap in the sequence before u = {}", job.inputs[feed],
                                      message.last_id));
        }
    }
    publish(BookEvent{});

    problems.finish("gaps in the sequence");
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        report.books.push_back(inputs[i].book.figures());
        if (!inputs[i].book.built() && report.books.back().held != 0) {
            reports.put(Problem{fmt::format(
                "{}: there is no snapshot: {} deltas wait for one, and no book is built",
                job.inputs[i], report.books.back().held)});
        }
    }
    report.hops.push_back(from_feed.report());
    reports.put(report);
}

}  // namespace sluice::pipeline
