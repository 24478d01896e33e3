// A race: contestants in interleaved blocks, the limit before and after each. What is kept are
// blocks; what is reported are ratios, block by block.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "contestant.hpp"
#include "shared_arena.hpp"
#include "statistics.hpp"

namespace sluice::bench {

/// How a race runs, from the command line.
struct Pace {
    double seconds{3.0};
    bool quick{};
    unsigned leader_cpu{};
    unsigned peer_cpu{};
};

enum class Unit { round_trip, message };

/// One block of one contestant, with the limit's round trip just before and just after it.
struct Sample {
    unsigned cycle{};
    double ns{};  // a round trip or a message
    double limit_before_ns{};
    double limit_after_ns{};
    bool preempted{};  // something that is no part of the race took a CPU during the block or its
                       // limits

    double limit_ns() const { return (limit_before_ns + limit_after_ns) / 2; }
    double ratio() const { return ns / limit_ns(); }
    /// The host moved a CPU while this block ran: neither limit describes it.
    bool torn() const;
    bool kept() const { return !torn() && !preempted; }
};

struct Entry {
    std::string name;
    Kind kind{};
    std::string note;                // "sleeps", or what else must be known to read the number
    std::vector<Sample> samples;     // first to last, those not kept included
    std::vector<double> latency_ns;  // single round trips, from blocks of their own

    std::vector<Sample> kept() const;
};

/// What was promised, judged on the samples. Without a value: not judged (a contestant is missing,
/// or the run was quick).
struct Verdict {
    std::string target;
    std::string measured;
    std::optional<bool> met;
};

class Race {
 public:
    struct Options {
        std::string name;  // as in Pipe_RoundTrip/payload_bytes:8
        Unit unit{};
        unsigned roles{2};
        double block_ms{1.0};
        std::string base{"limit"};  // what the ratios are to
        std::size_t arena_bytes{64U << 20U};
    };
    using Judge = std::function<Verdict(const Race&)>;

    explicit Race(Options options) : options_(std::move(options)) {}

    /// C is made anew for every round, as C(arena, args...).
    template <class C, class... Args>
    void add(std::string name, Kind kind, std::string note, Args... args) {
        entries_.push_back({std::move(name), kind, std::move(note), {}, {}});
        makers_.push_back([=](SharedArena& arena) -> std::unique_ptr<Contestant> {
            return std::make_unique<C>(arena, args...);
        });
    }
    void expect(Judge judge) { judges_.push_back(std::move(judge)); }

    /// In rounds of about half a second, each with new processes and new memory: where a page lies
    /// in the machine moves the cost of its lines, by a sixth in one case seen here.
    void run(const Pace& pace);

    const Options& options() const { return options_; }
    const std::vector<Entry>& entries() const { return entries_; }  // the base is the first
    const Entry* find(const std::string& name) const;
    std::vector<Verdict> verdicts() const;

 private:
    using Maker = std::function<std::unique_ptr<Contestant>(SharedArena&)>;

    Options options_;
    std::vector<Entry> entries_;
    std::vector<Maker> makers_;
    std::vector<Judge> judges_;
};

/// The states this machine was in, by the limit's value: ratios differ between them.
struct LimitState {
    std::string name;
    double from_ns{};
    double to_ns{};
    bool holds(const Sample& sample) const {
        return sample.limit_ns() >= from_ns && sample.limit_ns() < to_ns;
    }
};
const std::vector<LimitState>& limit_states();

/// One contestant's time over another's, from the blocks of the same cycle in the same limit state.
std::vector<double> paired_ratios(const Entry& numerator, const Entry& denominator);

// Judges
// -----------------------------------------------------------------------------------------------

/// In each limit state: median time <= the larger of factor x limit and limit + extra_ns.
using Judge = Race::Judge;
Judge within_limit(std::string contestant, double factor, double extra_ns);
/// Median ratio of time to every peer's below 1.
Judge below_every_peer(std::string contestant);
/// Rate at least factor times that of the best of the peers (all of them if none is named).
Judge rate_at_least(std::string contestant, double factor, std::vector<std::string> peers = {});
/// Median time at most factor x that peer's, in the blocks of the same cycle and state.
Judge at_most_peer(std::string contestant, double factor, std::string peer);
/// Median time at most factor x the base's.
Judge at_most_base(std::string contestant, double factor, std::string text);
/// Median ratio to the base within this share of the expected: for the harness's own check.
Judge ratio_is(std::string contestant, double expected, double tolerance);

}  // namespace sluice::bench
