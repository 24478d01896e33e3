// The stages of the pipeline: what runs in each process, and through what it is joined to the
// others. None of them can wait for ever: the waits go one way only, feed -> book -> strategies ->
// risk -> journal, and the one channel back, the acknowledgements, has room for all that a strategy
// may have outstanding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <sluice/pipe.hpp>
#include <sluice/queue.hpp>
#include <string>
#include <vector>

#include "figures.hpp"
#include "records.hpp"
#include "settings.hpp"
#include "strategy_notes.hpp"

namespace sluice::pipeline {

using Reports = Queue<Report>;

/// Orders of one strategy that wait for their acknowledgement: with more of them it waits itself.
/// Its queue of acknowledgements has room for those of a former life, too, so that risk never waits
/// for a strategy.
inline constexpr std::size_t kOutstandingMax = 256;

struct FeedJob {
    std::size_t input{};
    std::string path{};  // empty: the synthetic exchange
    ExchangeOptions exchange{};
    double speed{};
    Wait wait{};
};
void run_feed(const FeedJob& job, Connection<Control>& control, Connection<FeedRecord>& book,
              const Reports& reports);

struct BookJob {
    std::vector<std::string> inputs{};
};
void run_book(const BookJob& job, std::vector<Connection<FeedRecord>>& feeds,
              const std::vector<Queue<BookEvent>>& strategies, const Reports& reports);

/// A strategy may be killed and started again. So its channels are queues, not pipes: an end of a
/// pipe closes with its owner, while a queue's next consumer goes on.
struct StrategyJob {
    std::uint32_t strategy{};
    std::uint32_t life{};  // 0: the first
    std::shared_ptr<StrategyNotes> notes{};
};
void run_strategy(const StrategyJob& job, const Queue<BookEvent>& events,
                  const Queue<Order>& orders, const Queue<Acknowledgement>& acknowledgements,
                  const Reports& reports);

struct GatewayJob {
    std::size_t strategies{};
    std::size_t inputs{};
    RiskLimits limits{};
};
void run_gateway(const GatewayJob& job, const Queue<Order>& orders,
                 const std::vector<Queue<Acknowledgement>>& strategies,
                 Connection<JournalEntry>& journal, const Reports& reports);

struct JournalJob {
    std::string path{};  // empty: the lines are made and counted, and kept nowhere
    std::vector<std::string> inputs{};
};
void run_journal(const JournalJob& job, Connection<JournalEntry>& entries, const Reports& reports);

/// How a stage's process ends when the channel to another one was closed: the other one's end is
/// the cause, and is what is reported.
inline constexpr int kExitPeerGone = 3;

/// Runs a stage in its process: Ctrl-C is left to the main process, which stops the feeds, so that
/// all that is under way is still finished; and the stage does not outlive the main process.
void run_stage(const std::function<void()>& stage);

/// The durations of one hop.
struct Hop {
    std::string from{};
    std::string to{};
    Histogram durations{};

    [[nodiscard]] HopReport report() const {
        return {from, to, durations.sparse(), durations.max()};
    }
};

/// Passes on the first few problems of a stage, and counts the rest.
class ProblemTeller {
 public:
    explicit ProblemTeller(const Reports& reports) : reports_(reports) {}
    void tell(const std::string& text);
    /// For what is too important to be one of many.
    void tell_always(const std::string& text);
    /// Says how many were not passed on, if any.
    void finish(const std::string& about);

 private:
    static constexpr std::uint64_t kToldMax = 10;
    const Reports& reports_;
    std::uint64_t count_{};
};

}  // namespace sluice::pipeline
