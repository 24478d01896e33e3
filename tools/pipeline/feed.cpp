// A feed: reads one input, waits for each message's time, parses it, and passes it on to the book.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "capture.hpp"
#include "stages.hpp"

namespace sluice::pipeline {
namespace {

constexpr std::int64_t kProgressEveryNs = 50'000'000;
// A sleep ends some 50 us late on a busy or virtual machine; the rest of the wait is spent awake.
constexpr std::int64_t kSleepUntilBeforeNs = 100'000;
constexpr std::int64_t kSleepMaxNs = 50'000'000;  // between two looks at the progress

/// Says when each message is due, and waits until then.
class Pacer {
 public:
    Pacer(const FeedJob& job, Connection<Control>& control) : job_(job), control_(control) {}

    void start(const Control& start) { start_ = start; }

    /// True once the main process has asked for the end.
    [[nodiscard]] bool stopped() {
        while (!stopped_) {
            const std::optional<Control> message = control_.try_recv();
            if (!message) {
                break;
            }
            stopped_ = message->what == Control::What::stop;
        }
        return stopped_;
    }

    /// Waits for the message's time and returns it: the time when it was *meant* to arrive, so that
    /// a stall of anybody counts against all the messages it delays. Without a pace, that is now.
    std::int64_t wait_for(std::int64_t receive_ns) {
        if (job_.speed <= 0) {
            return now_ns();
        }
        const double offset = static_cast<double>(receive_ns - start_.receive_ns) / job_.speed;
        const std::int64_t due_ns = start_.start_ns + static_cast<std::int64_t>(offset);
        for (std::int64_t left = due_ns - now_ns(); left > 0 && !stopped();
             left = due_ns - now_ns()) {
            const std::int64_t awake_ns = job_.wait == Wait::park ? 0 : kSleepUntilBeforeNs;
            if (job_.wait == Wait::spin || left <= awake_ns) {
                std::this_thread::yield();
                continue;
            }
            (void)control_.poll_for(
                std::chrono::nanoseconds(std::min(left - awake_ns, kSleepMaxNs)));
        }
        return due_ns;
    }

 private:
    const FeedJob& job_;
    Connection<Control>& control_;
    Control start_{};
    bool stopped_{};
};

/// Cuts a message into records and sends them.
class RecordSender {
 public:
    explicit RecordSender(Connection<FeedRecord>& book) : book_(book) {}

    void send(const Message& message, std::int64_t receive_ns, std::int64_t intended_ns,
              std::int64_t next_receive_ns) {
        FeedRecord record;
        record.receive_ns = receive_ns;
        record.intended_ns = intended_ns;
        record.next_receive_ns = next_receive_ns;
        record.first_id = message.first_id;
        record.last_id = message.last_id;
        record.previous_id = message.previous_id;
        record.kind = message.kind;
        record.chained = message.chained;
        record.buyer_is_maker = message.buyer_is_maker;
        const bool keeps_rows = message.kind != Kind::other && message.kind != Kind::malformed;
        std::size_t bids_left = keeps_rows ? message.bids.size() : 0;
        std::size_t asks_left = keeps_rows ? message.asks.size() : 0;
        do {
            const std::size_t bids = std::min(bids_left, FeedRecord::kRows);
            const std::size_t asks = std::min(asks_left, FeedRecord::kRows - bids);
            const Level* bid = message.bids.data() + (message.bids.size() - bids_left);
            const Level* ask = message.asks.data() + (message.asks.size() - asks_left);
            std::copy(ask, ask + asks, std::copy(bid, bid + bids, record.rows.begin()));
            record.bids = static_cast<std::uint8_t>(bids);
            record.asks = static_cast<std::uint8_t>(asks);
            bids_left -= bids;
            asks_left -= asks;
            record.last = bids_left + asks_left == 0;
            book_.send(record);
        } while (!record.last);
    }

    /// No message, but the time of the next one.
    void send_time(std::int64_t next_receive_ns) {
        FeedRecord record;
        record.next_receive_ns = next_receive_ns;
        book_.send(record);
    }

 private:
    Connection<FeedRecord>& book_;
};

std::unique_ptr<LineSource> open_source(const FeedJob& job, ProblemTeller& problems) {
    if (job.path.empty()) {
        return std::make_unique<SyntheticExchange>(job.exchange);
    }
    return std::make_unique<CaptureReader>(job.path, [&problems](const CaptureProblem& problem) {
        problem.line == 0 ? problems.tell_always(problem.text) : problems.tell(problem.text);
    });
}

}  // namespace

void run_feed(const FeedJob& job, Connection<Control>& control, Connection<FeedRecord>& book,
              const Reports& reports) {
    ProblemTeller problems(reports);
    const std::unique_ptr<LineSource> source = open_source(job, problems);
    const std::string name = job.path.empty() ? "synthetic" : job.path;
    std::optional<CapturedLine> line = source->next();

    const std::int64_t first_ns = line ? line->receive_ns : kNever;
    control.send({.what = Control::What::ready, .receive_ns = first_ns});
    RecordSender sender(book);
    sender.send_time(first_ns);
    const Control start = control.recv();
    bool stopped = start.what == Control::What::stop;
    Pacer pacer(job, control);
    pacer.start(start);

    MessageParser parser;
    Message message;
    FeedReport report{.input = job.input};
    std::uint64_t messages = 0;
    std::int64_t told_ns = now_ns();
    const auto tell_progress = [&] {
        const SourceProgress progress = source->progress();
        // Nobody waits for it: where the main process is behind, the next one will do.
        (void)control.try_send({.what = Control::What::progress,
                                .done = progress.done,
                                .total = progress.total,
                                .messages = messages});
    };
    while (line && !stopped) {
        // One line ahead is read, so that the book learns when the next message is due.
        const std::optional<CapturedLine> next = source->next();
        const std::int64_t intended_ns = pacer.wait_for(line->receive_ns);
        stopped = pacer.stopped();
        if (stopped) {
            break;
        }
        parser.parse(line->json, message);
        sender.send(message, line->receive_ns, intended_ns, next ? next->receive_ns : kNever);
        ++report.counts[static_cast<std::size_t>(message.kind)];
        ++messages;
        if (message.kind == Kind::malformed) {
            problems.tell(name + ", line " + std::to_string(line->number) + ": " + message.problem);
        }
        if (intended_ns - told_ns > kProgressEveryNs) {
            told_ns = intended_ns;
            tell_progress();
        }
        line = next;
    }
    if (stopped) {
        sender.send_time(kNever);
    }
    tell_progress();
    problems.finish(name);
    report.counts[static_cast<std::size_t>(Kind::malformed)] += source->bad_lines();
    report.readable = source->readable();
    report.cut_short = source->cut_short();
    reports.put(report);
}

}  // namespace sluice::pipeline
