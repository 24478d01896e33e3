// Is a history of a queue one that a FIFO could have had? For histories with unique values this is
// decided aspect by aspect, in O(n log n), without trying out orders.
//
// An operation took effect at one instant between `begun` and `ended`. What is allowed beyond a
// plain FIFO:
//   - who was killed in put did it before its death, or never;
//   - who was killed in get or with a lease took the message, or gave it back: then it is got
//     again, perhaps after younger ones; so is the message of a dropped lease;
//   - "empty" may be said while an older put is unfinished; that of a dead one ends, at the latest,
//     when a message that was put after its death is got;
//   - "full" may be said while the slot at the tail is not free: one lap ago it was claimed for a
//     message that is still there, or taken by a get that is unfinished, or came back and was not
//     got again.
// Nothing else is.
// Source: Henzinger, Sezgin, Vafeiadis: Aspect-oriented linearizability proofs (CONCUR 2013), for a
// total queue; capacity and crashes are ours.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <ostream>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sluice::test {

/// What was called, and what it said.
enum class Act : std::uint8_t { put, take, full, empty };
/// How it ended. Given up: of a put, its claim was dropped; of a take, the lease was.
enum class End : std::uint8_t { done, given_up, died };

inline constexpr std::uint64_t kUnknownValue = ~0ULL;
inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

/// Units: nanoseconds on one clock. `held`: a take had its value; `released`: its commit or drop
/// was begun; of one step: both as `ended`. Died: `released` is a time before the death (or as
/// above), `ended` one after it.
struct Operation {
    Act act{};
    End end{};
    std::uint64_t value{kUnknownValue};
    std::int64_t begun{};
    std::int64_t held{};
    std::int64_t released{};
    std::int64_t ended{};
};

enum class Aspect : std::uint8_t { invented, repeated, overtaken, falsely_empty, falsely_full };

struct Fault {
    Aspect aspect;
    std::string text;
};
inline std::ostream& operator<<(std::ostream& out, const Fault& fault) {
    return out << fault.text;
}

/// Checks one history, from a queue's making on.
class HistoryChecker {
 public:
    HistoryChecker(const std::vector<Operation>& history, std::uint64_t capacity)
        : capacity_(capacity) {
        collect(history);
        check_takes();
        index_puts();
        check_order();
        check_empty();
        check_full();
    }

    const std::vector<Fault>& faults() const noexcept { return faults_; }

 private:
    // A value's life: its put, and who took it, in the order in which they had it.
    struct Life {
        Operation put{};
        std::vector<Operation> takes{};

        bool was_taken() const noexcept { return !takes.empty(); }
        std::int64_t first_begun() const noexcept {  // a lower bound of its first taking
            std::int64_t begun = kNever;
            for (const Operation& take : takes) {
                begun = std::min(begun, take.begun);
            }
            return begun;
        }
        std::int64_t first_held() const noexcept {  // an upper bound
            return takes.empty() ? kNever : takes.front().held;
        }
        // Whether the value certainly was in the queue: a dead one's put shows in its being taken.
        bool surely_put() const noexcept {
            return put.end == End::done || (put.end == End::died && was_taken());
        }
    };

    void fault(Aspect aspect, std::string text) {
        constexpr std::size_t kFaultsMax = 20;
        if (faults_.size() < kFaultsMax) {
            faults_.push_back({aspect, std::move(text)});
        }
    }

    void collect(const std::vector<Operation>& history) {
        std::unordered_map<std::uint64_t, std::size_t> by_value;
        for (const Operation& operation : history) {
            if (operation.act == Act::put) {
                if (operation.end != End::given_up) {
                    by_value[operation.value] = lives_.size();
                }
                lives_.push_back({operation, {}});
            }
        }
        for (const Operation& operation : history) {
            if (operation.act == Act::empty) {
                empties_.push_back(operation);
            } else if (operation.act == Act::full) {
                fulls_.push_back(operation);
            } else if (operation.act == Act::take && operation.value == kUnknownValue) {
                robberies_.push_back(operation);
            } else if (operation.act == Act::take) {
                const auto found = by_value.find(operation.value);
                if (found == by_value.end()) {
                    fault(Aspect::invented, text_of(operation) + ": nobody put it");
                } else {
                    lives_[found->second].takes.push_back(operation);
                }
            }
        }
        for (Life& life : lives_) {
            std::ranges::sort(life.takes, {}, &Operation::held);
        }
        std::ranges::sort(lives_, {}, [](const Life& life) { return life.put.begun; });
    }

    // Fresh, and no repeat: the holders of a message follow each other, and none follows a commit.
    void check_takes() {
        for (const Life& life : lives_) {
            if (life.was_taken() && life.takes.front().held < life.put.begun) {
                fault(Aspect::invented,
                      text_of(life.takes.front()) + ": before " + text_of(life.put));
            }
            for (std::size_t index = 1; index < life.takes.size(); ++index) {
                const Operation& before = life.takes[index - 1];
                const Operation& after = life.takes[index];
                if (before.end == End::done || after.held < before.released) {
                    fault(Aspect::repeated, text_of(after) + ": after " + text_of(before));
                }
            }
        }
    }

    void index_puts() {
        std::int64_t held = kNever;
        held_from_.resize(lives_.size() + 1, kNever);
        for (std::size_t index = lives_.size(); index-- > 0;) {
            held = std::min(held, lives_[index].first_held());
            held_from_[index] = held;
        }
        for (const Life& life : lives_) {
            // A dead one's claim is not certain.
            if (life.put.end != End::died) {
                put_ends_.push_back(life.put.ended);
            }
        }
        std::ranges::sort(put_ends_);
    }

    // When some message whose put began after that time was first seen taken: then all claims made
    // before that time have been passed by.
    std::int64_t passed_by(std::int64_t time) const {
        const auto after = std::ranges::upper_bound(
            lives_, time, {}, [](const Life& life) { return life.put.begun; });
        return held_from_[static_cast<std::size_t>(after - lives_.begin())];
    }

    // Order: a message that was put wholly before another is not taken wholly after it. The first
    // taking counts; afterwards the message has lost its place. If somebody died taking we know not
    // what, that was the first taking of one late message.
    void check_order() {
        struct Late {
            const Life* life;
            std::int64_t overtaken;
        };
        std::vector<Late> late;
        for (const Life& life : lives_) {
            const std::int64_t overtaken = passed_by(life.put.ended);
            if (life.surely_put() && overtaken < life.first_begun()) {
                late.push_back({&life, overtaken});
            }
        }
        // Who robbed it had begun when it was overtaken, and was dead when it was taken again. A
        // matching of pairs under two bounds: the tightest first bound takes the largest second.
        std::ranges::sort(late, {}, &Late::overtaken);
        std::vector<Operation> robbers = robberies_;
        std::ranges::sort(robbers, {}, &Operation::begun);
        std::multiset<std::int64_t> deaths;
        std::size_t next = 0;
        for (const Late& one : late) {
            for (; next < robbers.size() && robbers[next].begun <= one.overtaken; ++next) {
                deaths.insert(robbers[next].released);
            }
            const auto after = deaths.upper_bound(one.life->first_held());
            if (after == deaths.begin()) {
                fault(Aspect::overtaken,
                      text_of(one.life->put) + ": a younger one was taken by " +
                          std::to_string(one.overtaken) + ", this one " +
                          (one.life->was_taken() ? "by " + text_of(one.life->takes.front())
                                                 : std::string("never")));
            } else {
                deaths.erase(std::prev(after));
            }
        }
    }
    // Whether an answer could have been right: before the first instant at which something changes,
    // at it, between it and the next, and so on.
    class Timeline {
     public:
        explicit Timeline(bool before_all) : sums_{0, before_all ? 1U : 0U} {}

        void append(std::int64_t time, bool at, bool after) {
            times_.push_back(time);
            sums_.push_back(sums_.back() + (at ? 1U : 0U));
            sums_.push_back(sums_.back() + (after ? 1U : 0U));
        }
        bool ever(std::int64_t first, std::int64_t last) const {
            const auto from =
                static_cast<std::size_t>(std::ranges::lower_bound(times_, first) - times_.begin());
            const auto to =
                static_cast<std::size_t>(std::ranges::upper_bound(times_, last) - times_.begin());
            const bool first_is_instant = from < times_.size() && times_[from] == first;
            const bool last_is_instant = to > 0 && times_[to - 1] == last;
            return sums_[2 * to + (last_is_instant ? 0 : 1)] !=
                   sums_[2 * from + (first_is_instant ? 1 : 0)];
        }

     private:
        std::vector<std::int64_t> times_{};
        std::vector<std::uint64_t> sums_;  // over: before all, at the first, after it, ...
    };

    // Where an interval begins or ends. At these instants themselves one that excuses is there, one
    // that accuses is not.
    struct Event {
        std::int64_t time;
        enum class Kind : std::uint8_t { begin, end, excuse_begin, excuse_end, robbery } kind;
        std::int64_t key;
    };

    // Runs through the events: `at_instant` applies what counts at the instant itself, `behind`
    // what counts only after it.
    template <class AtInstant, class Behind, class Could>
    static Timeline sweep(std::vector<Event>& events, AtInstant&& at_instant, Behind&& behind,
                          Could&& could) {
        std::ranges::sort(events, {}, &Event::time);
        Timeline timeline(could(std::numeric_limits<std::int64_t>::min()));
        for (std::size_t first = 0; first < events.size();) {
            std::size_t last = first;
            for (; last < events.size() && events[last].time == events[first].time; ++last) {
                at_instant(events[last]);
            }
            const bool at = could(events[first].time);
            for (std::size_t index = first; index < last; ++index) {
                behind(events[index]);
            }
            timeline.append(events[first].time, at, could(events[first].time));
            first = last;
        }
        return timeline;
    }

    // "Empty" is wrong if at each instant some message certainly lay there, and no put older than
    // all of these was unfinished. Who died taking we know not what hides one message.
    void check_empty() {
        using Kind = Event::Kind;
        std::vector<Event> events;
        const auto present = [&](std::int64_t from, std::int64_t to) {
            if (from < to) {
                events.push_back({from, Kind::begin, from});
                events.push_back({to, Kind::end, from});
            }
        };
        for (const Life& life : lives_) {
            const Operation& put = life.put;
            std::int64_t unfinished = put.ended;
            if (put.end == End::died) {
                unfinished = std::max(put.begun, std::min(life.first_held(), passed_by(put.ended)));
            }
            events.push_back({put.begun, Kind::excuse_begin, put.begun});
            events.push_back({unfinished, Kind::excuse_end, put.begun});
            if (life.surely_put()) {
                present(put.ended, life.first_begun());
            }
            std::int64_t next_begun = kNever;
            for (std::size_t index = life.takes.size(); index-- > 0;) {
                if (life.takes[index].end == End::given_up) {
                    present(life.takes[index].ended, next_begun);
                }
                next_begun = std::min(next_begun, life.takes[index].begun);
            }
        }
        for (const Operation& robbery : robberies_) {
            events.push_back({robbery.begun, Kind::robbery, 0});
        }
        std::multiset<std::int64_t> there;  // by the end of their puts
        std::multiset<std::int64_t> unfinished;
        std::size_t hidden = 0;
        const Timeline timeline = sweep(
            events,
            [&](const Event& event) {
                hidden += event.kind == Kind::robbery ? 1U : 0U;
                if (event.kind == Kind::excuse_begin) {
                    unfinished.insert(event.key);
                } else if (event.kind == Kind::end) {
                    there.erase(there.find(event.key));
                }
            },
            [&](const Event& event) {
                if (event.kind == Kind::excuse_end) {
                    unfinished.erase(unfinished.find(event.key));
                } else if (event.kind == Kind::begin) {
                    there.insert(event.key);
                }
            },
            [&](std::int64_t) {
                if (there.size() <= hidden) {
                    return true;
                }
                const std::int64_t oldest =
                    *std::next(there.begin(), static_cast<std::ptrdiff_t>(hidden));
                return !unfinished.empty() && *unfinished.begin() <= oldest;
            });
        judge(timeline, empties_, Aspect::falsely_empty);
    }

    // "Full" is wrong if at each instant fewer than `capacity` claims were possible from the oldest
    // slot that may be taken up on.
    void check_full() {
        using Kind = Event::Kind;
        std::vector<Event> events;
        std::vector<std::int64_t> begins;
        for (const Life& life : lives_) {
            const Operation& put = life.put;
            std::int64_t freed = kNever;
            if (life.was_taken() && life.takes.back().end == End::done) {
                freed = std::max(put.begun, life.takes.back().ended);
            } else if (put.end == End::given_up || (put.end == End::died && !life.was_taken())) {
                freed = std::max(put.ended, passed_by(put.ended));
            }
            begins.push_back(put.begun);  // sorted: lives are
            events.push_back({put.begun, Kind::excuse_begin, put.begun});
            events.push_back({freed, Kind::excuse_end, put.begun});
        }
        std::multiset<std::int64_t> taken_up;  // by the beginnings of their puts
        const Timeline timeline = sweep(
            events,
            [&](const Event& event) {
                if (event.kind == Kind::excuse_begin) {
                    taken_up.insert(event.key);
                }
            },
            [&](const Event& event) {
                if (event.kind == Kind::excuse_end) {
                    taken_up.erase(taken_up.find(event.key));
                }
            },
            [&](std::int64_t time) {
                if (taken_up.empty()) {
                    return false;
                }
                const auto claims = std::ranges::upper_bound(begins, time) - begins.begin();
                const auto older =
                    std::ranges::lower_bound(put_ends_, *taken_up.begin()) - put_ends_.begin();
                return static_cast<std::uint64_t>(claims - older) >= capacity_;
            });
        judge(timeline, fulls_, Aspect::falsely_full);
    }

    void judge(const Timeline& timeline, const std::vector<Operation>& answers, Aspect aspect) {
        for (const Operation& answer : answers) {
            if (!timeline.ever(answer.begun, answer.ended)) {
                fault(aspect, text_of(answer) + ": it was not so at any instant");
            }
        }
    }

    static std::string text_of(const Operation& operation) {
        constexpr const char* kActs[] = {"put", "take", "full", "empty"};
        constexpr const char* kEnds[] = {"", " given up", " died"};
        return std::string(kActs[static_cast<std::size_t>(operation.act)]) +
               (operation.value == kUnknownValue ? "" : " of " + std::to_string(operation.value)) +
               kEnds[static_cast<std::size_t>(operation.end)] + " in [" +
               std::to_string(operation.begun) + ", " + std::to_string(operation.ended) + "]";
    }

    std::uint64_t capacity_;
    std::vector<Life> lives_{};  // by the beginning of their puts
    std::vector<Operation> empties_{};
    std::vector<Operation> fulls_{};
    std::vector<Operation> robberies_{};     // who died taking we know not what
    std::vector<std::int64_t> held_from_{};  // by index in lives_: the earliest first_held of
                                             // those from there on
    std::vector<std::int64_t> put_ends_{};   // sorted
    std::vector<Fault> faults_{};
};

/// Empty where the history is one of a FIFO as described above.
inline std::vector<Fault> faults_of(const std::vector<Operation>& history, std::uint64_t capacity) {
    return HistoryChecker(history, capacity).faults();
}

}  // namespace sluice::test
