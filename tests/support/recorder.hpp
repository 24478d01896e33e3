// Records what processes do with a queue, in memory that outlives them, as the history that
// history.hpp checks.
//
// The clock is CLOCK_MONOTONIC: one for all processes and processors. Of two readings of which one
// happened before the other, the kernel promises that the second is not smaller. The fences keep
// the operation's own loads and stores between its two readings.
#pragma once

#include <sys/mman.h>
#include <time.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/history.hpp"
#include "support/processes.hpp"

namespace sluice::test {

inline std::int64_t fenced_now_ns() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// One process's operations, written by it alone; read when it has ended, however it ended.
class Log {
 public:
    explicit Log(std::size_t capacity)
        : bytes_(sizeof(Counts) + capacity * sizeof(Operation)), capacity_(capacity) {
        void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            throw std::runtime_error("mmap");
        }
        counts_ = static_cast<Counts*>(memory);
    }
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;
    ~Log() { munmap(counts_, bytes_); }

    bool has_room(std::size_t count) const noexcept {
        return counts_->finished.load(std::memory_order_relaxed) + count <= capacity_;
    }
    /// The next operations: noted as begun until finish() says how many of them were.
    std::span<Operation> next(std::size_t count) const {
        if (!has_room(count)) {
            throw std::runtime_error("the log is full");
        }
        return {entries() + counts_->finished.load(std::memory_order_relaxed), count};
    }
    void begin(std::size_t count) const noexcept {
        counts_->begun.store(count, std::memory_order_release);
    }
    void finish(std::size_t count) const noexcept {
        // In this order: who is killed between the two leaves operations that are noted as finished
        // and others as begun, of which nothing is filled in.
        counts_->finished.fetch_add(count, std::memory_order_release);
        counts_->begun.store(0, std::memory_order_release);
    }

    /// Appends them to a history. Of a killed process: `killed` is a time before it died, `ended`
    /// one after it.
    void append_to(std::vector<Operation>& history, std::int64_t killed = 0,
                   std::int64_t ended = 0) const {
        const std::size_t finished = counts_->finished.load(std::memory_order_acquire);
        history.insert(history.end(), entries(), entries() + finished);
        const std::size_t begun = counts_->begun.load(std::memory_order_acquire);
        for (std::size_t index = finished; index < finished + begun; ++index) {
            Operation operation = entries()[index];
            if (operation.begun == 0) {
                continue;  // see finish()
            }
            operation.end = End::died;
            operation.ended = ended;
            if (operation.act == Act::take && operation.held == 0) {
                operation.value = kUnknownValue;
            }
            if (operation.released == 0) {
                operation.released = killed;
            }
            history.push_back(operation);
        }
    }

 private:
    struct alignas(64) Counts {
        std::atomic<std::size_t> finished;
        std::atomic<std::size_t> begun;
    };
    Operation* entries() const noexcept { return reinterpret_cast<Operation*>(counts_ + 1); }

    std::size_t bytes_;
    std::size_t capacity_;
    Counts* counts_;
};

/// Calls operations and writes them down. The callables answer how many they put or took, at most
/// what they were asked for; none: it was closed. Fewer than asked for means that within the call
/// the queue was found full, or empty; so does "closed" when nothing is to be had any more.
class Recorder {
 public:
    explicit Recorder(const Log& log) : log_(log) {}
    bool has_room() const noexcept { return log_.has_room(64); }

    template <class Put>
    std::optional<std::size_t> put(std::span<const std::uint64_t> values, Put&& put) {
        const std::span<Operation> entries = log_.next(values.size());
        const std::int64_t begun = fenced_now_ns();
        for (std::size_t index = 0; index < values.size(); ++index) {
            entries[index] = {.act = Act::put, .value = values[index], .begun = begun};
        }
        log_.begin(values.size());
        const std::optional<std::size_t> count = put(values);
        finish(entries, Act::full, count.value_or(0), count.has_value());
        return count;
    }

    /// A claim that is dropped. `drop` answers as above.
    template <class Drop>
    std::optional<std::size_t> give_up(std::uint64_t value, Drop&& drop) {
        const std::span<Operation> entries = log_.next(1);
        entries[0] = {.act = Act::put, .value = value, .begun = fenced_now_ns()};
        log_.begin(1);
        const std::optional<std::size_t> count = drop();
        entries[0].end = End::given_up;
        finish(entries, Act::full, count.value_or(0), count.has_value());
        return count;
    }

    /// `take` fills values in.
    template <class Take>
    std::optional<std::size_t> take(std::span<std::uint64_t> values, Take&& take) {
        const std::span<Operation> entries = log_.next(values.size());
        const std::int64_t begun = fenced_now_ns();
        for (Operation& entry : entries) {
            entry = {.act = Act::take, .begun = begun};
        }
        log_.begin(values.size());
        const std::optional<std::size_t> count = take(values);
        for (std::size_t index = 0; index < count.value_or(0); ++index) {
            entries[index].value = values[index];
        }
        finish(entries, Act::empty, count.value_or(0), true);
        return count;
    }

    /// In two steps: `hold` answers with the value, if there is one; `release` commits, or gives it
    /// back, as `end` says. Answers whether there was one.
    template <class Hold, class Release>
    bool lease(Hold&& hold, Release&& release, End end) {
        const std::span<Operation> entries = log_.next(1);
        Operation& entry = entries[0];
        entry = {.act = Act::take, .begun = fenced_now_ns()};
        log_.begin(1);
        const std::optional<std::uint64_t> value = hold();
        if (value) {
            entry.value = *value;
            std::atomic_ref(entry.held).store(fenced_now_ns(), std::memory_order_release);
            std::atomic_ref(entry.released).store(fenced_now_ns(), std::memory_order_release);
            release();
            entry.end = end;
        }
        finish(entries, Act::empty, value ? 1 : 0, true);
        return value.has_value();
    }

 private:
    void finish(std::span<Operation> entries, Act none, std::size_t count, bool told) {
        const std::int64_t ended = fenced_now_ns();
        for (std::size_t index = 0; index < entries.size(); ++index) {
            Operation& entry = entries[index];
            if (index < count) {
                entry.ended = ended;
                entry.held = entry.held != 0 ? entry.held : ended;
                entry.released = entry.released != 0 ? entry.released : ended;
            } else if (index == count && told) {
                entry = {.act = none, .begun = entry.begun, .ended = ended};
            } else {
                entry = {};
            }
        }
        log_.finish(count + (told && count < entries.size() ? 1 : 0));
    }

    const Log& log_;
};

/// What an episode looks like. Values are put until each producer has put `puts_each`, or the last
/// kill or stop has happened.
struct EpisodeOptions {
    unsigned producers{2};
    unsigned consumers{2};
    std::uint64_t puts_each{10'000};
    unsigned kills{0};
    unsigned stops{0};
};

/// One history of several processes: they put and take, some are killed and others take their
/// place, the queue is closed and drained.
///
/// Subject: put(recorder, first_value, random) puts values from first_value on and answers how many
/// it used up (none: closed); take(recorder, random) answers whether it is to be called again;
/// close().
template <class Subject>
class Episode {
 public:
    Episode(Subject& subject, const EpisodeOptions& options, std::uint64_t seed)
        : subject_(subject), options_(options), random_(seed) {}

    std::vector<Operation> run() {
        for (unsigned index = 0; index < options_.producers; ++index) {
            spawn(Side::producer);
        }
        for (unsigned index = 0; index < options_.consumers; ++index) {
            spawn(Side::consumer);
        }
        for (unsigned index = 0; index < options_.kills + options_.stops; ++index) {
            usleep(static_cast<useconds_t>(random_() % 1500));
            Member& victim = *members_[living_[random_() % living_.size()]];
            if (index % (options_.kills + options_.stops) < options_.stops) {
                victim.child.signal(SIGSTOP);
                usleep(static_cast<useconds_t>(random_() % 20'000));
                victim.child.signal(SIGCONT);
            } else {
                kill(victim);
            }
        }
        if (options_.kills + options_.stops != 0) {
            stop_->store(true, std::memory_order_relaxed);
        }
        join(Side::producer);
        subject_.close();
        join(Side::consumer);
        // What is left lies there because the last consumers are dead.
        const Log log(kDrainedMax);
        Recorder recorder(log);
        while (subject_.take(recorder, random_)) {
        }
        log.append_to(history_);
        return std::move(history_);
    }

 private:
    enum class Side : std::uint8_t { producer, consumer };
    struct Member {
        Member(Side chosen, std::size_t log_capacity) : side(chosen), log(log_capacity) {}
        Side side;
        Log log;
        Child child{};
    };
    static constexpr std::size_t kDrainedMax = 100'000;

    void spawn(Side side) {
        // Of its own puts a producer logs each, and "full" at most as often. Consumers log all.
        const std::size_t all = 4 * (options_.producers + options_.kills) * options_.puts_each;
        members_.push_back(std::make_unique<Member>(
            side, 1000 + (side == Side::producer ? 4 * options_.puts_each : all)));
        Member& member = *members_.back();
        living_.push_back(members_.size() - 1);
        const std::uint64_t first_value = members_.size() << 32U;
        const std::uint64_t seed = random_();
        member.child = Child([&, first_value, seed] {
            std::mt19937_64 random(seed);
            Recorder recorder(member.log);
            if (side == Side::consumer) {
                while (subject_.take(recorder, random)) {
                }
                return;
            }
            std::uint64_t used = 0;
            while (used < options_.puts_each && !stop_->load(std::memory_order_relaxed)) {
                const std::optional<std::uint64_t> count =
                    subject_.put(recorder, first_value + used, random);
                if (!count) {
                    return;
                }
                used += *count;
            }
        });
    }

    void kill(Member& victim) {
        const std::int64_t killed = fenced_now_ns();
        victim.child.kill_and_join();
        victim.log.append_to(history_, killed, fenced_now_ns());
        std::erase_if(living_, [&](std::size_t index) { return members_[index].get() == &victim; });
        spawn(victim.side);
    }

    void join(Side side) {
        for (const std::size_t index : living_) {
            Member& member = *members_[index];
            if (member.side == side) {
                if (member.child.join() != 0) {
                    throw std::runtime_error("a process of the history failed");
                }
                member.log.append_to(history_);
            }
        }
    }

    Subject& subject_;
    EpisodeOptions options_;
    std::mt19937_64 random_;
    Shared<std::atomic<bool>> stop_{};
    std::vector<std::unique_ptr<Member>> members_{};
    std::vector<std::size_t> living_{};
    std::vector<Operation> history_{};
};

}  // namespace sluice::test
