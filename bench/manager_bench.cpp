// dict.hpp, list.hpp: beside what a C++ programmer would take otherwise: Boost's unordered_map in
// shared memory, under its mutex, and private containers, which are the floor. None of them
// survives the death of a writer; ours do, in every line printed here.
#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <sluice/dict.hpp>
#include <sluice/list.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "baselines/boost_map.hpp"
#include "support/blocks.hpp"
#include "support/lock_blocks.hpp"
#include "support/program.hpp"
#include "support/python.hpp"
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

class OurList {
 public:
    explicit OurList(SharedArena&) {}
    void append(std::uint64_t value) { list_.append(value); }
    std::size_t size() const { return list_.size(); }
    void clear() { list_.clear(); }

 private:
    sluice::List<std::uint64_t> list_;
};

class PrivateVector {
 public:
    explicit PrivateVector(SharedArena&) {}
    void append(std::uint64_t value) { vector_.push_back(value); }
    std::size_t size() const { return vector_.size(); }
    void clear() { vector_.clear(); }

 private:
    std::vector<std::uint64_t> vector_;
};

/// Role 0 appends, count times; now and then it begins anew.
template <class L>
class Appending final : public Contestant {
 public:
    explicit Appending(SharedArena& arena) : list_(arena) {}
    void run(const Block& block) override {
        constexpr std::uint64_t kMany = 100'000;
        for (std::uint64_t i = 0; i < block.count && block.role == 0; ++i) {
            if (++appended_ == kMany) {
                list_.clear();
                appended_ = 0;
            } else {
                list_.append(i);
            }
        }
        if (block.role == 0 && list_.size() != appended_) {
            fail("an element was lost");
        }
    }

 private:
    L list_;
    std::uint64_t appended_{};
};

/// Judges the median, in nanoseconds.
Judge at_most_ns(const char* contestant, double limit_ns) {
    return [contestant, limit_ns](const Race& run) {
        Verdict verdict{fmt::format("{}: <= {:.0f} ns", contestant, limit_ns), "not measured", {}};
        const Entry* ours = run.find(contestant);
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
    };
}

template <Act kAct>
void alone(Program& program, const char* name, double limit_ns) {
    auto race = program.race({.name = fmt::format("Dict_{}", name), .unit = Unit::message});
    if (!race) {
        return;
    }
    program.add<Looking<OurDict, kAct>>(*race, "sluice Dict", Kind::ours);
    program.add<Looking<PrivateMap, kAct>>(*race, "private unordered_map", Kind::peer);
    program.add<Looking<BoostMap, kAct>>(*race, "boost unordered_map, mutex", Kind::peer);
    race->expect(at_most_ns("sluice Dict", limit_ns));
    program.run(*race);
}

void append(Program& program) {
    auto race = program.race({.name = "List_Append", .unit = Unit::message});
    if (!race) {
        return;
    }
    program.add<Appending<OurList>>(*race, "sluice List", Kind::ours);
    program.add<Appending<PrivateVector>>(*race, "private vector", Kind::peer);
    race->expect(at_most_ns("sluice List", 150));
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

// A server process, and a message there and back for each operation.
void python() {
    run_python("its Manager", R"(
with multiprocessing.Manager() as manager:
    d = manager.dict({i: i for i in range(1000)})
    l = manager.list()
    clock("Manager().dict(), d[k]", 5000, lambda n: [d[i % 1000] for i in range(n)])
    clock("Manager().dict(), d[k] = v", 5000,
          lambda n: [d.__setitem__(i % 1000, i) for i in range(n)])
    clock("Manager().list(), append", 5000, lambda n: [l.append(i) for i in range(n)]))");
}

}  // namespace

int main(int argc, char** argv) {
    Program program("manager", argc, argv);
    alone<Act::get>(program, "Get", 100);
    alone<Act::set>(program, "Set", 200);
    append(program);
    readers(program);
    beside_a_writer(program);
    if (!program.pace().quick) {
        python();
    }
    return program.finish();
}
