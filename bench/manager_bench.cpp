// dict.hpp: beside what a C++ programmer would take otherwise: Boost's unordered_map in shared
// memory, under its mutex, and a private std::unordered_map, which is the floor. Neither survives
// the death of a writer; ours does, in every line printed here.
#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <sluice/dict.hpp>
#include <unordered_map>
#include <utility>

#include "baselines/boost_map.hpp"
#include "support/blocks.hpp"
#include "support/lock_blocks.hpp"
#include "support/program.hpp"
#include "support/statistics.hpp"

namespace {

using namespace sluice::bench;

constexpr std::uint64_t kKeys = 4096;

/// The next key of a walk that no prefetcher follows.
inline std::uint64_t next_key(std::uint64_t key) {
    return (key * 1'664'525 + 1'013'904'223) % kKeys;
}

class OurDict {
 public:
    explicit OurDict(SharedArena&) {}
    std::optional<std::uint64_t> get(std::uint64_t key) const { return dict_.get(key); }
    void set(std::uint64_t key, std::uint64_t value) { dict_.set(key, value); }

 private:
    sluice::Dict<std::uint64_t, std::uint64_t> dict_;
};

class PrivateMap {
 public:
    explicit PrivateMap(SharedArena&) {}
    std::optional<std::uint64_t> get(std::uint64_t key) const {
        const auto there = map_.find(key);
        return there == map_.end() ? std::nullopt : std::optional(there->second);
    }
    void set(std::uint64_t key, std::uint64_t value) { map_.insert_or_assign(key, value); }

 private:
    std::unordered_map<std::uint64_t, std::uint64_t> map_;
};

enum class Act { get, set, get_beside_a_writer };
enum class Whose { everybodys, one_each };

/// Roles below kRoles act, count times together; each value is its key plus a multiple of kKeys.
template <class Map, Act kAct, unsigned kRoles = 1, Whose kWhose = Whose::everybodys>
class Looking final : public Contestant {
 public:
    explicit Looking(SharedArena& arena)
        : maps_{Map(arena), Map(arena)}, flag_(arena.make<Flag>()) {
        for (Map& map : maps_) {
            for (std::uint64_t key = 0; key < kKeys; ++key) {
                map.set(key, key);
            }
        }
    }
    void run(const Block& block) override {
        ++blocks_;
        Map& map = maps_[kWhose == Whose::one_each ? block.role : 0];
        if (kAct == Act::get_beside_a_writer && block.role == 1) {
            // relaxed: only says when to stop
            while (flag_.number.load(std::memory_order_relaxed) < blocks_) {
                key_ = next_key(key_);
                map.set(key_, key_ + blocks_ * kKeys);
            }
            return;
        }
        const std::uint64_t share = block.count / kRoles;
        for (std::uint64_t i = 0; i < share && block.role < kRoles; ++i) {
            key_ = next_key(key_);
            if constexpr (kAct == Act::set) {
                map.set(key_, key_ + i * kKeys);
            } else {
                const auto value = map.get(key_);
                if (!value || *value % kKeys != key_) {
                    fail("a value was lost");
                }
            }
        }
        if (block.role == 0) {
            flag_.number.store(blocks_, std::memory_order_relaxed);  // as above
        }
    }

 private:
    Map maps_[2];
    Flag& flag_;
    std::uint64_t key_{};
    std::uint64_t blocks_{};
};

template <Act kAct>
void alone(Program& program, const char* name, double limit_ns) {
    auto race = program.race({.name = fmt::format("Dict_{}", name), .unit = Unit::message});
    if (!race) {
        return;
    }
    program.add<Looking<OurDict, kAct>>(*race, "sluice Dict", Kind::ours);
    program.add<Looking<PrivateMap, kAct>>(*race, "private unordered_map", Kind::peer);
    program.add<Looking<BoostMap, kAct>>(*race, "boost unordered_map, mutex", Kind::peer);
    race->expect([limit_ns](const Race& run) {
        Verdict verdict{fmt::format("{:.0f} ns", limit_ns), "not measured", {}};
        const Entry* ours = run.find("sluice Dict");
        if (ours != nullptr && !ours->kept().empty()) {
            std::vector<double> times;
            for (const Sample& sample : ours->kept()) {
                times.push_back(sample.ns);
            }
            const double median = quantile(times, 0.5);
            verdict.measured = fmt::format("{:.1f} ns", median);
            verdict.met = median <= limit_ns;
        }
        return verdict;
    });
    program.run(*race);
}

void readers(Program& program) {
    auto race = program.race({.name = "Dict_TwoReaders", .unit = Unit::message});
    if (!race) {
        return;
    }
    program.add<Looking<OurDict, Act::get, 2>>(*race, "sluice Dict, two readers", Kind::ours);
    program.add<Looking<OurDict, Act::get, 2, Whose::one_each>>(*race, "sluice Dict, one each",
                                                                Kind::peer);
    program.add<Looking<PrivateMap, Act::get, 2, Whose::one_each>>(
        *race, "private unordered_map, one each", Kind::peer);
    program.add<Looking<BoostMap, Act::get, 2>>(*race, "boost unordered_map, mutex", Kind::peer);
    race->expect(rate_at_least("sluice Dict, two readers", 0.9, {"sluice Dict, one each"}));
    program.run(*race);
}

void beside_a_writer(Program& program) {
    auto race = program.race({.name = "Dict_GetBesideAWriter", .unit = Unit::message});
    if (!race) {
        return;
    }
    using Beside = Looking<OurDict, Act::get_beside_a_writer>;
    program.add<Beside>(*race, "sluice Dict, beside a writer", Kind::ours);
    program.add<Looking<OurDict, Act::get_beside_a_writer, 1, Whose::one_each>>(
        *race, "sluice Dict, writer elsewhere", Kind::peer);
    program.add<Looking<BoostMap, Act::get_beside_a_writer>>(*race, "boost unordered_map, mutex",
                                                             Kind::peer);
    race->expect(
        rate_at_least("sluice Dict, beside a writer", 0.8, {"sluice Dict, writer elsewhere"}));
    program.run(*race);
}

}  // namespace

int main(int argc, char** argv) {
    Program program("manager", argc, argv);
    alone<Act::get>(program, "Get", 100);
    alone<Act::set>(program, "Set", 200);
    readers(program);
    beside_a_writer(program);
    return program.finish();
}
