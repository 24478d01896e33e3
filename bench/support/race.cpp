#include "race.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <utility>

#include "crew.hpp"

namespace sluice::bench {

namespace {

constexpr double kTornFactor = 1.2;       // measuring.md's rule: limits that differ by over 20 %
constexpr unsigned kTimedCycleEvery = 8;  // every eighth cycle stamps each round trip
constexpr std::uint64_t kStampsMax = 1U << 14U;
constexpr std::size_t kLatenciesMax = 4U << 20U;
constexpr unsigned kWarmUpCycles = 3;
constexpr unsigned kFirstWarmUpCycles = 9;  // a block's size grows at most fourfold a cycle
constexpr unsigned kCyclesMin = 8;
constexpr unsigned kScaleCycleEvery = 8;  // divides the cycles of a timed one and of a round
constexpr std::size_t kBlocksToJudge = 20;
constexpr auto kRoundLength = std::chrono::milliseconds(500);
constexpr std::uint64_t kCountStep = 16;  // divisible among the producers of any race

using Clock = std::chrono::steady_clock;

double ticks_per_ns() {
    static const double value = [] {
        const auto start = Clock::now();
        const std::uint64_t first = stamp();
        while (Clock::now() - start < std::chrono::milliseconds(20)) {
        }
        const std::uint64_t last = stamp();
        const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
        return static_cast<double>(last - first) / ns;
    }();
    return value;
}

// How many operations fill a block, learnt from the last block: the machine's speed changes under
// us.
class BlockSize {
 public:
    explicit BlockSize(double block_ns, bool quick) : block_ns_(block_ns), quick_(quick) {}
    std::uint64_t next() const { return count_; }
    void learn(double ns_per_operation) {
        if (quick_) {
            return;
        }
        const double wanted = block_ns_ / std::max(ns_per_operation, 0.5);
        // At most fourfold: the first block is slow for other reasons than its operations.
        const double bounded = std::clamp(wanted, 16.0, static_cast<double>(count_) * 4);
        count_ = static_cast<std::uint64_t>(bounded) / kCountStep * kCountStep;
    }

 private:
    double block_ns_;
    bool quick_;
    std::uint64_t count_ = 64;
};

bool differ(double a, double b) {
    return std::max(a, b) > kTornFactor * std::min(a, b);
}

}  // namespace

bool Sample::torn() const {
    return differ(limit_before_ns, limit_after_ns);
}

std::vector<Sample> Entry::kept() const {
    std::vector<Sample> result;
    std::copy_if(samples.begin(), samples.end(), std::back_inserter(result),
                 [](const Sample& sample) { return sample.kept(); });
    return result;
}

const Entry* Race::find(const std::string& name) const {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.name == name; });
    return found == entries_.end() ? nullptr : &*found;
}

std::vector<Verdict> Race::verdicts() const {
    std::vector<Verdict> result;
    for (const auto& judge : judges_) {
        result.push_back(judge(*this));
    }
    return result;
}

namespace {

// One placement of the contestants in memory, and the processes that run them.
class Round {
 public:
    using Makers = std::vector<std::function<std::unique_ptr<Contestant>(SharedArena&)>>;

    Round(const Race::Options& options, const Makers& makers, const Pace& pace,
          std::vector<BlockSize>& sizes)
        : options_(options),
          arena_(options.arena_bytes),
          contestants_(make(makers)),
          crew_(arena_, contestants_, cpus(options, pace)),
          sizes_(sizes) {}

    struct Figure {
        double ns{};
        bool preempted{};
    };

    Figure block(std::size_t i) {
        const std::uint64_t count = sizes_[i].next();
        const auto outcome = crew_.run(i, count, participants(i));
        const double ns = outcome.ns / static_cast<double>(count);
        sizes_[i].learn(ns);
        // In a crowd the roles take the CPUs from each other: that is what is measured.
        return {ns, participants(i) == 2 && outcome.preemptions > 0};
    }

    // Each round trip by itself. The stamps cost a few per cent, so these blocks give no ratios.
    void latencies(std::size_t i, std::vector<double>& latencies_ns) {
        if (!contestants_[i]->can_stamp()) {
            return;
        }
        const double tick_ns = 1.0 / ticks_per_ns();
        const std::uint64_t count = std::min(sizes_[i].next(), kStampsMax);
        crew_.run(i, count, participants(i), stamps_.data());
        for (std::size_t k = 0; k < count && latencies_ns.size() < kLatenciesMax; ++k) {
            latencies_ns.push_back(static_cast<double>(stamps_[k + 1] - stamps_[k]) * tick_ns);
        }
    }

 private:
    // The base is a matter of two processes, also where the contestants have more.
    unsigned participants(std::size_t i) const { return i == 0 ? 2 : options_.roles; }

    // Producers and consumers alternate between the two CPUs, so that each CPU has both and a full
    // or an empty queue never leaves it without work. Roles 0 and 1 are always on different CPUs.
    static std::vector<unsigned> cpus(const Race::Options& options, const Pace& pace) {
        std::vector<unsigned> cpus;
        for (unsigned role = 0; role < options.roles; ++role) {
            cpus.push_back((role + role / 2) % 2 == 0 ? pace.leader_cpu : pace.peer_cpu);
        }
        return cpus;
    }

    // A ballast of another size each time, held while the pages are taken, shifts them.
    std::vector<std::unique_ptr<Contestant>> make(const Makers& makers) {
        static std::minstd_rand random;
        const std::vector<char> ballast((random() % 48U) << 20U, 1);
        std::vector<std::unique_ptr<Contestant>> made;
        for (const auto& maker : makers) {
            made.push_back(maker(arena_));
        }
        arena_.prefault();
        return made;
    }

    const Race::Options& options_;
    SharedArena arena_;
    std::vector<std::unique_ptr<Contestant>> contestants_;
    Crew crew_;
    std::vector<BlockSize>& sizes_;
    std::vector<std::uint64_t> stamps_ = std::vector<std::uint64_t>(kStampsMax + 1);
};

}  // namespace

void Race::run(const Pace& pace) {
    const bool to_limit = options_.base == "limit";
    std::vector<BlockSize> sizes;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        // The limit's own blocks can be shorter: it has no variance of its own making.
        sizes.emplace_back((i == 0 && to_limit ? 0.5 : options_.block_ms) * 1e6, pace.quick);
    }
    const auto end = Clock::now() + std::chrono::duration<double>(pace.quick ? 0.0 : pace.seconds);
    const std::size_t others = entries_.size() - 1;
    unsigned cycle = 0;
    do {
        Round round(options_, makers_, pace, sizes);
        const auto round_end = Clock::now() + kRoundLength;
        const unsigned warm_up = pace.quick ? 1 : cycle == 0 ? kFirstWarmUpCycles : kWarmUpCycles;
        const unsigned first_kept = cycle + warm_up;
        const unsigned cycles_min = first_kept + (pace.quick ? 2 : kCyclesMin);
        for (; cycle < cycles_min || (!pace.quick && Clock::now() < round_end); ++cycle) {
            const auto runs = [&](std::size_t i) {
                return entries_[i].kind != Kind::scale || pace.quick ||
                       cycle % kScaleCycleEvery == 0;
            };
            for (std::size_t i = 0; i < entries_.size(); ++i) {
                if (runs(i) && (cycle - first_kept) % kTimedCycleEvery == 0) {
                    round.latencies(i, entries_[i].latency_ns);
                }
            }
            auto before = round.block(0);
            for (std::size_t k = 0; k < others; ++k) {
                const std::size_t i =
                    1 + (k + cycle) % others;  // nobody always follows the same one
                if (!runs(i)) {
                    continue;
                }
                const auto block = round.block(i);
                const auto after = round.block(0);
                if (cycle >= first_kept) {
                    const bool preempted = before.preempted || after.preempted;
                    entries_[i].samples.push_back(
                        {cycle, block.ns, before.ns, after.ns, preempted || block.preempted});
                    entries_[0].samples.push_back(
                        {cycle, after.ns, before.ns, after.ns, preempted});
                }
                before = after;
            }
        }
    } while (Clock::now() < end);
}

const std::vector<LimitState>& limit_states() {
    static const std::vector<LimitState> states = {
        {"limit < 100 ns", 0, 100},
        {"limit 100-200 ns", 100, 200},
        {"limit > 200 ns", 200, std::numeric_limits<double>::infinity()},
    };
    return states;
}

std::vector<double> paired_ratios(const Entry& numerator, const Entry& denominator) {
    std::map<unsigned, Sample> by_cycle;
    for (const auto& sample : denominator.kept()) {
        by_cycle[sample.cycle] = sample;
    }
    std::vector<double> ratios;
    for (const auto& sample : numerator.kept()) {
        const auto other = by_cycle.find(sample.cycle);
        if (other != by_cycle.end() && !differ(sample.limit_ns(), other->second.limit_ns())) {
            ratios.push_back(sample.ns / other->second.ns);
        }
    }
    return ratios;
}

Judge within_limit(std::string contestant, double factor, double extra_ns) {
    return [=](const Race& race) {
        Verdict verdict;
        verdict.target =
            fmt::format("{}: <= {:.2f} x {}, or {} + {:.0f} ns, whichever is larger", contestant,
                        factor, race.options().base, race.options().base, extra_ns);
        const Entry* entry = race.find(contestant);
        if (entry == nullptr) {
            return verdict;
        }
        const auto kept = entry->kept();
        for (const auto& state : limit_states()) {
            std::vector<double> excess;
            std::vector<double> ratios;
            std::vector<double> extra;
            for (const auto& sample : kept) {
                if (state.holds(sample)) {
                    const double limit = sample.limit_ns();
                    excess.push_back(sample.ns - std::max(factor * limit, limit + extra_ns));
                    ratios.push_back(sample.ratio());
                    extra.push_back(sample.ns - limit);
                }
            }
            if (excess.size() * 50 < kept.size() || excess.size() < kBlocksToJudge) {
                continue;  // under 2 % of the blocks: passing through, not a state
            }
            const bool met = quantile(excess, 0.5) <= 0;
            verdict.met = verdict.met.value_or(true) && met;
            verdict.measured +=
                fmt::format("{}{}: {:.2f} x, + {:.0f} ns", verdict.measured.empty() ? "" : "; ",
                            state.name, quantile(ratios, 0.5), quantile(extra, 0.5));
        }
        return verdict;
    };
}

Judge below_every_peer(std::string contestant) {
    return [=](const Race& race) {
        Verdict verdict;
        verdict.target = fmt::format("{}: below every peer", contestant);
        const Entry* entry = race.find(contestant);
        for (const auto& peer : race.entries()) {
            if (entry == nullptr || peer.kind != Kind::peer) {
                continue;
            }
            const auto ratios = paired_ratios(*entry, peer);
            if (ratios.size() < kBlocksToJudge) {
                return Verdict{verdict.target, "too few blocks", std::nullopt};
            }
            const double ratio = quantile(ratios, 0.5);
            verdict.met = verdict.met.value_or(true) && ratio < 1.0;
            verdict.measured += fmt::format("{}{:.2f} x {}", verdict.measured.empty() ? "" : ", ",
                                            ratio, peer.name);
        }
        return verdict;
    };
}

Judge rate_at_least(std::string contestant, double factor, std::vector<std::string> peers) {
    return [=](const Race& race) {
        Verdict verdict;
        verdict.target =
            fmt::format("{}: >= {:.1f} x the rate of {}", contestant, factor,
                        peers.empty() ? "every peer" : fmt::format("{}", fmt::join(peers, ", ")));
        const Entry* entry = race.find(contestant);
        for (const auto& peer : race.entries()) {
            const bool asked =
                peers.empty() ? peer.kind == Kind::peer
                              : std::find(peers.begin(), peers.end(), peer.name) != peers.end();
            if (entry == nullptr || !asked) {
                continue;
            }
            const auto ratios = paired_ratios(peer, *entry);
            if (ratios.size() < kBlocksToJudge) {
                return Verdict{verdict.target, "too few blocks", std::nullopt};
            }
            const double ratio = quantile(ratios, 0.5);
            verdict.met = verdict.met.value_or(true) && ratio >= factor;
            verdict.measured += fmt::format("{}{:.2f} x {}", verdict.measured.empty() ? "" : ", ",
                                            ratio, peer.name);
        }
        return verdict;
    };
}

Judge at_most_peer(std::string contestant, double factor, std::string peer) {
    return [=](const Race& race) {
        Verdict verdict;
        verdict.target = fmt::format("{}: <= {:.2f} x {}", contestant, factor, peer);
        const Entry* entry = race.find(contestant);
        const Entry* other = race.find(peer);
        if (entry == nullptr || other == nullptr) {
            return verdict;
        }
        const auto ratios = paired_ratios(*entry, *other);
        if (ratios.size() < kBlocksToJudge) {
            return Verdict{verdict.target, "too few blocks", std::nullopt};
        }
        const auto figures = spread(ratios);
        verdict.met = figures.p50 <= factor;
        verdict.measured =
            fmt::format("{:.2f} x [{:.2f}..{:.2f}]", figures.p50, figures.p10, figures.p90);
        return verdict;
    };
}

namespace {

template <class Holds>
Judge judge_ratio(std::string contestant, std::string text, Holds holds) {
    return [=](const Race& race) {
        Verdict verdict;
        verdict.target = fmt::format("{}: {}", contestant, text);
        const Entry* entry = race.find(contestant);
        if (entry == nullptr) {
            return verdict;
        }
        std::vector<double> values;
        for (const auto& sample : entry->kept()) {
            values.push_back(sample.ratio());
        }
        if (values.size() < kBlocksToJudge) {
            return Verdict{verdict.target, "too few blocks", std::nullopt};
        }
        const auto ratios = spread(values);
        verdict.met = holds(ratios.p50);
        verdict.measured =
            fmt::format("{:.2f} x [{:.2f}..{:.2f}]", ratios.p50, ratios.p10, ratios.p90);
        return verdict;
    };
}

}  // namespace

Judge at_most_base(std::string contestant, double factor, std::string text) {
    return judge_ratio(std::move(contestant), std::move(text),
                       [=](double ratio) { return ratio <= factor; });
}

Judge ratio_is(std::string contestant, double expected, double tolerance) {
    return judge_ratio(
        std::move(contestant), fmt::format("{:.1f} x the base", expected),
        [=](double ratio) { return std::abs(ratio - expected) <= tolerance * expected; });
}

}  // namespace sluice::bench
