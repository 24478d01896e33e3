// Recording, killing, pausing, pairing.
#include "crash/sweep.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numeric>
#include <sstream>
#include <unordered_map>

#include "sluice/shm/facts.hpp"

namespace sluice::crash {
namespace {

// One scene may take this long. A watchdog, no speed limit: mutants that hang are given less.
unsigned watchdog_seconds() {
    constexpr unsigned kSeconds = 60;
    const char* given = std::getenv("SLUICE_SWEEP_WATCHDOG");
    return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : kSeconds;
}

// Where the sweep is, for the watchdog's last words.
char whereabouts[512];
void tell_and_end(int) {
    static constexpr char kText[] = "\nviolation: hangs at ";
    // Async-signal-safe only.
    static_cast<void>(!write(STDOUT_FILENO, kText, sizeof kText - 1));
    static_cast<void>(!write(STDOUT_FILENO, whereabouts, strnlen(whereabouts, sizeof whereabouts)));
    static_cast<void>(!write(STDOUT_FILENO, "\n", 1));
    _exit(1);
}

class Whereabouts {
 public:
    Whereabouts(const std::string& operation, const std::string& state)
        : name_(operation + ", " + state) {
        struct sigaction action {};
        action.sa_handler = tell_and_end;
        sigaction(SIGALRM, &action, nullptr);
    }
    Whereabouts(const Whereabouts&) = delete;
    Whereabouts& operator=(const Whereabouts&) = delete;
    ~Whereabouts() { alarm(0); }

    void at(const char* what, std::size_t index, const Point& point) const {
        std::snprintf(whereabouts, sizeof whereabouts, "%s: %s at point %zu (%#zx, hit %u)",
                      name_.c_str(), what, index, static_cast<std::size_t>(point.pc), point.hit);
        alarm(watchdog_seconds());
    }
    [[noreturn]] void rethrow(const std::exception& error) const {
        throw Violation(std::string(whereabouts) + ": " + error.what());
    }

 private:
    std::string name_;
};

// Shared memory of Sluice's objects in this process; not the registry, which changes all the time.
std::vector<std::pair<const std::byte*, std::size_t>> shared_memory() {
    std::vector<std::pair<const std::byte*, std::size_t>> regions;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        if (line.find("sluice") == std::string::npos || line.find(" rw-s ") == std::string::npos ||
            line.find("registry") != std::string::npos) {
            continue;
        }
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        if (std::sscanf(line.c_str(), "%zx-%zx", &begin, &end) == 2) {
            regions.emplace_back(reinterpret_cast<const std::byte*>(begin), end - begin);
        }
    }
    return regions;
}

std::uint64_t hash_of(const std::vector<std::pair<const std::byte*, std::size_t>>& regions) {
    std::uint64_t hash = 0;
    for (const auto& [memory, bytes] : regions) {
        for (std::size_t at = 0; at + 8 <= bytes; at += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, memory + at, sizeof word);
            hash = (hash ^ word) * 0x9e37'79b9'7f4a'7c15ULL;
            hash ^= hash >> 29U;
        }
    }
    return hash;
}

struct Recording {
    std::vector<Point> points;
    std::vector<std::size_t> states;  // the index of the first point of each distinct state
    bool slept{};   // the victim slept: how often, and when it was served, is chance
    bool varies{};  // its way depends on others
};

class Sweep {
 public:
    Sweep(const std::string& operation, const std::string& state, const MakeScene& make,
          const SweepOptions& options)
        : where_(operation, state), make_(make), options_(options) {}

    SweepCounts run() {
        const Recording mine = record(&Scene::act);
        counts_.states = mine.states.size();
        kill_everywhere(mine);
        counts_.points = counts_.kills;
        if (options_.pause) {
            pause(mine);
        }
        if (options_.pairs) {
            pair(mine);
        }
        if (options_.two) {
            pair_two(mine, record(&Scene::rival_act));
        }
        return counts_;
    }

 private:
    using Act = void (Scene::*)();

    static Sleep waking(Scene& scene) {
        return {scene.may_sleep(), [&scene] { scene.wake(); }};
    }
    static std::unique_ptr<Tracee> start(Scene& scene, Act act) {
        auto victim = std::make_unique<Tracee>([&scene] { scene.prepare(); },
                                               [&scene, act] { (scene.*act)(); });
        scene.started();
        return victim;
    }

    Recording record(Act act) {
        where_.at("recording", 0, {});
        const auto scene = make_();
        const auto victim = start(*scene, act);
        const auto memory = shared_memory();
        Recording recording;
        std::unordered_map<std::uint64_t, std::size_t> seen;
        std::unordered_map<std::uintptr_t, std::uint64_t> last_round;
        std::vector<std::uint64_t> hashes;
        const std::vector<Point> all =
            victim->record([&](std::size_t) { hashes.push_back(hash_of(memory)); }, waking(*scene));
        for (std::size_t index = 0; index < all.size(); ++index) {
            // A loop that has come round several times and has changed nothing that is shared: who
            // dies here leaves what he left a round earlier. (Of system calls none is left out.)
            constexpr std::uint32_t kRounds = 4;
            std::uint64_t& before = last_round[all[index].pc];
            const bool idle = before == hashes[index] && all[index].hit > kRounds &&
                              is_own_code(all[index].pc) && index + 1 != all.size();
            before = hashes[index];
            if (idle) {
                ++counts_.idle;
                continue;
            }
            // What the kernel holds of it changes with its calls.
            if (seen.emplace(hashes[index], index).second || !is_own_code(all[index].pc)) {
                recording.states.push_back(recording.points.size());
            }
            recording.points.push_back(all[index]);
        }
        recording.slept = victim->slept();
        recording.varies = recording.slept || scene->depends_on_others();
        victim->kill();
        if (recording.slept) {
            // How often it slept and looked again is chance, and the rounds are alike.
            constexpr std::uint32_t kRounds = 2;
            const auto is_repetition = [](const Point& point) { return point.hit > kRounds; };
            recording.points.erase(
                std::remove_if(recording.points.begin(), recording.points.end() - 1, is_repetition),
                recording.points.end() - 1);
            recording.states.clear();
        }
        return recording;
    }

    /// Of what slept the states say nothing.
    static bool at_all(bool wanted, const Recording& recording) {
        return wanted || recording.slept || is_thorough();
    }
    /// All points; or the first of each distinct state, and the system calls: who stands at another
    /// shows the same to others.
    static std::vector<std::size_t> places(const Recording& recording, bool at_each_point) {
        std::vector<std::size_t> indices = recording.states;
        if (at_each_point) {
            indices.resize(recording.points.size());
            std::iota(indices.begin(), indices.end(), std::size_t{0});
        }
        return indices;
    }

    /// A scene whose victim stands at the point; null when it did not come by in several attempts.
    struct Staged {
        std::unique_ptr<Scene> scene;
        std::unique_ptr<Tracee> victim;
        bool returned{};
    };
    Staged stage(const char* what, const Recording& recording, std::size_t index, Act act) {
        const int attempts = recording.varies ? 1 : 3;
        const Point point = recording.points[index];
        const bool last = index + 1 == recording.points.size();
        for (int attempt = 0; attempt < attempts; ++attempt) {
            where_.at(what, index, point);
            Staged staged;
            staged.scene = make_();
            staged.victim = start(*staged.scene, act);
            const Stop stop = last ? staged.victim->finish(waking(*staged.scene))
                                   : staged.victim->run_to(point, waking(*staged.scene));
            staged.returned = stop == Stop::finished;
            require(stop == Stop::at_point || stop == Stop::finished, "the victim ended by itself");
            if (last == staged.returned) {
                return staged;
            }
        }
        if (!recording.varies) {
            ++counts_.missed;
        }
        return {};
    }

    template <class Body>
    void guarded(Body&& body) {
        try {
            body();
        } catch (const std::exception& error) {
            where_.rethrow(error);
        }
    }

    void kill_everywhere(const Recording& recording) {
        int before = 0;
        for (const std::size_t index :
             places(recording, at_all(options_.kills_at_each_point, recording))) {
            guarded([&] {
                Staged staged = stage("killed", recording, index, &Scene::act);
                if (!staged.scene) {
                    return;
                }
                staged.victim->kill();
                ++counts_.kills;
                const int happened = staged.scene->check(staged.returned);
                if (!recording.slept && staged.scene->is_steady()) {
                    require(happened >= before,
                            "what had happened when killed earlier has not happened now");
                    before = happened;
                }
            });
        }
        if (recording.slept) {
            guarded([&] {
                where_.at("killed asleep", 0, {});
                const auto scene = make_();
                const auto victim = start(*scene, &Scene::act);
                if (victim->finish({.possible = true, .wake = {}}) == Stop::asleep) {
                    victim->kill();
                    ++counts_.kills;
                    static_cast<void>(scene->check(false));
                }
            });
        }
    }

    void pause(const Recording& recording) {
        for (const std::size_t index : places(recording, is_thorough())) {
            guarded([&] {
                Staged staged = stage("paused", recording, index, &Scene::act);
                if (!staged.scene || staged.returned) {
                    return;
                }
                staged.victim->stop_by_signal();
                staged.scene->rival();
                ++counts_.pauses;
                require(staged.victim->continue_by_signal(waking(*staged.scene)),
                        "the victim did not return after its pause");
                static_cast<void>(staged.scene->check(true));
            });
        }
    }

    void pair(const Recording& recording) {
        for (const std::size_t index :
             places(recording, at_all(options_.pairs_at_each_point, recording))) {
            if (index + 1 == recording.points.size()) {
                continue;  // it has returned
            }
            for (const bool goes_on : {false, true}) {
                guarded([&] {
                    Staged staged = stage(goes_on ? "overtaken, goes on" : "overtaken, killed",
                                          recording, index, &Scene::act);
                    if (!staged.scene) {
                        return;
                    }
                    staged.scene->rival();
                    ++counts_.pairs;
                    if (goes_on) {
                        require(staged.victim->let_go(waking(*staged.scene)),
                                "the victim did not return");
                    } else {
                        staged.victim->kill();
                    }
                    static_cast<void>(staged.scene->check(goes_on));
                });
            }
        }
    }

    void pair_two(const Recording& recording, const Recording& other) {
        for (const std::size_t index : recording.states) {
            for (std::size_t second = 0; second < other.points.size(); ++second) {
                guarded([&] {
                    Staged staged = stage("stands beside another", recording, index, &Scene::act);
                    if (!staged.scene || staged.returned) {
                        return;
                    }
                    const auto rival = start(*staged.scene, &Scene::rival_act);
                    where_.at("beside one that stands", second, other.points[second]);
                    // The other's way depends on where the first stands: it may not come by.
                    const Stop stop = rival->run_to(other.points[second]);
                    require(stop == Stop::at_point || stop == Stop::finished,
                            "the second victim ended by itself");
                    staged.victim->kill();
                    const bool goes_on = second % 2 == 0;
                    if (stop == Stop::at_point && goes_on) {
                        require(rival->let_go(), "the second victim did not return");
                    } else if (stop == Stop::at_point) {
                        rival->kill();
                    } else {
                        require(rival->let_go(), "the second victim did not return");
                    }
                    ++counts_.pairs;
                    static_cast<void>(staged.scene->check(false));
                });
            }
        }
    }

    Whereabouts where_;
    const MakeScene& make_;
    SweepOptions options_;
    SweepCounts counts_{};
};

std::string only_these;  // see sweep_only

}  // namespace

void sweep_only(const std::string& text) {
    only_these = text;
}

bool is_thorough() {
    return std::getenv("SLUICE_SOAK") != nullptr;
}

void SweepCounts::operator+=(const SweepCounts& other) noexcept {
    points += other.points;
    kills += other.kills;
    pauses += other.pauses;
    pairs += other.pairs;
    missed += other.missed;
    idle += other.idle;
    states += other.states;
}

SweepCounts sweep(const std::string& operation, const std::string& state, const MakeScene& make,
                  const SweepOptions& options) {
    if ((operation + ", " + state).find(only_these) == std::string::npos) {
        return {};
    }
    const auto begun = std::chrono::steady_clock::now();
    const SweepCounts counts = Sweep(operation, state, make, options).run();
    const double took =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    std::printf(
        "sweep: %-34s %-26s %5llu points %3llu states %6llu kills %4llu pauses %6llu pairs"
        " %llu missed %5.1f s\n",
        operation.c_str(), state.c_str(), static_cast<unsigned long long>(counts.points),
        static_cast<unsigned long long>(counts.states),
        static_cast<unsigned long long>(counts.kills),
        static_cast<unsigned long long>(counts.pauses),
        static_cast<unsigned long long>(counts.pairs),
        static_cast<unsigned long long>(counts.missed), took);
    std::fflush(stdout);
    return counts;
}

}  // namespace sluice::crash
