// Many keys: how fast they are loaded, read back and removed, and what memory each takes; and
// whether the memory grows with updates. Not a race: the maps are far larger than any cache, and
// each is filled once.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <sluice/dict.hpp>
#include <string>
#include <unordered_map>

#include "baselines/boost_map.hpp"
#include "support/contestant.hpp"

namespace {

using namespace sluice::bench;

struct Sizes {
    std::uint64_t keys{10'000'000};
    std::uint64_t updates{10'000'000};
};

class OurMap {
 public:
    explicit OurMap(const Sizes&) {}
    void set(std::uint64_t key, std::uint64_t value) { dict_.set(key, value); }
    std::optional<std::uint64_t> get(std::uint64_t key) const { return dict_.get(key); }
    void erase(std::uint64_t key) { static_cast<void>(dict_.erase(key)); }
    std::uint64_t memory_bytes() const { return dict_.memory_bytes(); }

 private:
    sluice::Dict<std::uint64_t, std::uint64_t> dict_;
};

class BoostInArena {
 public:
    static constexpr std::uint64_t kBytesPerKey = 160;
    explicit BoostInArena(const Sizes& sizes)
        : bytes_(sizes.keys * kBytesPerKey + (std::uint64_t{1} << 24U)),
          arena_(bytes_ + (1U << 20U)),
          map_(arena_, bytes_) {}
    void set(std::uint64_t key, std::uint64_t value) { map_.set(key, value); }
    std::optional<std::uint64_t> get(std::uint64_t key) const { return map_.get(key); }
    void erase(std::uint64_t key) { map_.erase(key); }
    std::uint64_t memory_bytes() const { return map_.memory_bytes(); }

 private:
    std::uint64_t bytes_;
    SharedArena arena_;
    BoostMap map_;
};

/// Counts what its allocator is asked for.
class PrivateMap {
    static inline std::uint64_t allocated = 0;
    template <class T>
    struct Counting {
        using value_type = T;
        Counting() = default;
        template <class Other>
        Counting(const Counting<Other>&) noexcept {}  // NOLINT: as allocators convert
        T* allocate(std::size_t count) {
            allocated += count * sizeof(T);
            return std::allocator<T>().allocate(count);
        }
        void deallocate(T* memory, std::size_t count) {
            allocated -= count * sizeof(T);
            std::allocator<T>().deallocate(memory, count);
        }
        friend bool operator==(const Counting&, const Counting&) { return true; }
    };

 public:
    explicit PrivateMap(const Sizes&) {}
    void set(std::uint64_t key, std::uint64_t value) { map_.insert_or_assign(key, value); }
    std::optional<std::uint64_t> get(std::uint64_t key) const {
        const auto there = map_.find(key);
        return there == map_.end() ? std::nullopt : std::optional(there->second);
    }
    void erase(std::uint64_t key) { map_.erase(key); }
    static std::uint64_t memory_bytes() { return allocated; }

 private:
    std::unordered_map<std::uint64_t, std::uint64_t, std::hash<std::uint64_t>,
                       std::equal_to<std::uint64_t>,
                       Counting<std::pair<const std::uint64_t, std::uint64_t>>>
        map_;
};

/// Nanoseconds for each.
template <class Step>
double time_of(std::uint64_t count, Step&& step) {
    const auto begun = std::chrono::steady_clock::now();
    for (std::uint64_t number = 0; number < count; ++number) {
        step(number);
    }
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begun;
    return took.count() / static_cast<double>(count);
}

template <class Map>
void measure(const std::string& name, const Sizes& sizes) {
    Map map(sizes);
    const std::uint64_t empty = map.memory_bytes();
    // Keys in no order that helps anybody; a bijection, so that each comes once.
    const auto key_of = [](std::uint64_t number) { return number * 0x9e37'79b9'7f4a'7c15ULL; };
    const double load =
        time_of(sizes.keys, [&](std::uint64_t number) { map.set(key_of(number), number); });
    const std::uint64_t loaded = map.memory_bytes();
    const double read = time_of(sizes.keys, [&](std::uint64_t number) {
        if (map.get(key_of(number)) != number) {
            fail("a key was lost");
        }
    });
    const double update = time_of(sizes.updates, [&](std::uint64_t number) {
        map.set(key_of(number * 7 % sizes.keys), number);
    });
    const std::uint64_t updated = map.memory_bytes();
    const double remove = time_of(sizes.keys, [&](std::uint64_t number) {
        map.erase(key_of(number));
        if (number % 1024 == 0 && map.get(key_of(number))) {
            fail("a key was not removed");
        }
    });
    const double keys = static_cast<double>(sizes.keys);
    fmt::print("  {:28} {:>10} {:>8.1f} {:>8.1f} {:>8.1f} {:>8.1f} {:>10.1f} {:>+9.2f} %\n", name,
               empty, load, read, update, remove, static_cast<double>(loaded) / keys,
               100.0 * (static_cast<double>(updated) / static_cast<double>(loaded) - 1.0));
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Many keys: times, and memory for each"};
    Sizes sizes;
    bool quick = false;
    app.add_option("--keys", sizes.keys, "how many")->capture_default_str();
    app.add_option("--updates", sizes.updates, "of keys that are there")->capture_default_str();
    app.add_flag("--quick", quick, "a few, judging nothing");
    CLI11_PARSE(app, argc, argv);
    if (quick) {
        sizes = {20'000, 20'000};
    }
    fmt::print("{} keys, {} updates, of 8 bytes and as many of value\n", sizes.keys, sizes.updates);
    fmt::print("  {:28} {:>10} {:>8} {:>8} {:>8} {:>8} {:>10} {:>11}\n", "", "empty, B", "load",
               "read", "update", "remove", "B / entry", "updates add");
    fmt::print("  {:28} {:>10} {:>35}\n", "", "", "ns each");
    measure<OurMap>("sluice Dict", sizes);
    measure<BoostInArena>("boost unordered_map, mutex", sizes);
    measure<PrivateMap>("private unordered_map", sizes);
    return 0;
}
