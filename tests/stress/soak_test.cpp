// The soak: eight processes on the same queues and pipes, for as long as one likes, some of them
// killed, stopped and started again at random instants.
//
// It goes in rounds. In each, workers put and get while this process kills; then producers end,
// consumers follow, this process takes what is left, and the ledger is balanced: each value that
// was acknowledged arrived once, unless it is in doubt because somebody died between two of its
// notes. The next round has the same queues: their laps, ids and incarnations go on.
//
// Environment: SLUICE_SOAK, how many seconds (60; beside a sanitizer 10). SLUICE_TEST_SEED.
// SLUICE_SOAK_HOLD=1: a hang is not ended, so that a debugger can look at it.
#include "support/soak.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <unordered_set>
#include <vector>

#include "sluice/process.hpp"
#include "sluice/queue.hpp"
#include "stress/soak_ledger.hpp"
#include "stress/soak_pipe.hpp"
#include "stress/soak_worker.hpp"
#include "support/processes.hpp"

namespace sluice::soak {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kPlainCapacity = 64;
constexpr std::size_t kTextCapacity = 32;
constexpr std::size_t kNarrowCapacity = 4;
constexpr std::uint64_t kKeptBytes = 64U << 10U;  // beside each slot, for the next value
constexpr seconds kHang{60};
constexpr milliseconds kGapMax{100};  // between two kills, and looks at the progress

std::string first_line_of(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

/// A worker's process. Destroyed: killed.
class Victim {
 public:
    template <class F, class... Args>
    explicit Victim(F target, Args... arguments)
        : process_(
              [parent = getpid(), target](Args... handed) {
                  prctl(PR_SET_PDEATHSIG, SIGKILL);
                  if (getppid() == parent) {
                      target(std::move(handed)...);
                  }
              },
              std::move(arguments)...) {
        process_.start();
    }
    Victim(const Victim&) = delete;
    Victim& operator=(const Victim&) = delete;
    ~Victim() { kill(); }

    void kill() {
        process_.kill();
        process_.join();
    }
    void stop(Clock::duration time) {
        ::kill(process_.pid(), SIGSTOP);
        stopped_until_ = Clock::now() + time;
    }
    /// Lets it go on when its time has come, or at once.
    void resume(Clock::time_point now) {
        if (stopped_until_ != Clock::time_point() && now >= stopped_until_) {
            ::kill(process_.pid(), SIGCONT);
            stopped_until_ = {};
        }
    }
    pid_t pid() const { return process_.pid(); }
    std::optional<int> exitcode() const { return process_.exitcode(); }

 private:
    Process process_;
    Clock::time_point stopped_until_{};
};

/// What of a queue is in doubt in this round.
struct Doubt {
    std::unordered_set<std::uint64_t> puts{};
    std::unordered_set<std::uint64_t> leases{};
    std::uint64_t gets{};  // messages that killed getters may have taken
};

struct Totals {
    std::uint64_t kills{};
    std::uint64_t stops{};
    std::uint64_t in_doubt{};
    std::uint64_t lost{};
    std::uint64_t hangs{};
    std::uint64_t sessions{};
    Clock::duration standstill{};  // the longest time in which no message passed a busy queue
};

class Soak : public ::testing::Test {
 protected:
    Soak()
        : text_name_("soak-text"),
          narrow_name_("soak-narrow"),
          stem_("soak-scratch-" + std::to_string(getpid())),
          queues_{Queue<Item>(QueueOptions{.capacity = kPlainCapacity}),
                  Queue<std::string>::create(text_name_.name(), {.capacity = kTextCapacity}),
                  Queue<Item>::create(narrow_name_.name(),
                                      {.capacity = kNarrowCapacity, .wait = Wait::park})},
          random_(test::announce_seed()) {}

    std::string scratch_name(unsigned worker) const { return stem_ + "-" + std::to_string(worker); }
    std::uint64_t operations() const {
        std::uint64_t count = 0;
        for (const WorkerNote& note : ledger_->workers) {
            count += note.operations.load(std::memory_order_relaxed);
        }
        return count;
    }

    void spawn(unsigned worker) {
        ledger_->workers[worker].doing.store(Doing::starting);
        victims_[worker] = std::make_unique<Victim>([this, worker] {
            Queues queues{queues_.plain, Queue<std::string>::open(text_name_.name()),
                          Queue<Item>::open(narrow_name_.name())};
            Worker(*ledger_, worker, std::move(queues), scratch_name(worker)).run();
        });
    }

    void run_round(std::uint32_t round, Clock::duration time);
    void disturb(std::uint32_t round);
    bool may_be_killed(std::uint32_t round, unsigned worker) const;
    void note_death(std::uint32_t round, unsigned worker);
    void measure_standstill(std::uint32_t round);

    void tend_pipe(std::uint32_t round);
    void start_session();
    template <class T, class Ends>
    void start_talkers(Ends ends, bool duplex);
    void balance_session();

    void quiesce(std::uint32_t round);
    void dismiss_consumers(std::uint32_t round);
    void drain();
    void balance(unsigned queue);
    void check_flat();
    template <class Condition>
    void await(const char* what, Condition&& condition);
    void report_hang(const char* what);

    test::FreshName text_name_;
    test::FreshName narrow_name_;
    std::string stem_;
    test::Shared<Ledger> ledger_;
    Queues queues_;
    std::mt19937_64 random_;
    Totals totals_;
    std::array<Doubt, kQueues> doubts_;
    std::array<std::unique_ptr<Victim>, kWorkers> victims_;  // destroyed before what they use
    bool session_disturbed_{};                               // one of the talkers was killed
    std::array<std::uint64_t, kQueues> passed_seen_{};
    std::array<Clock::time_point, kQueues> passed_at_{};
    Clock::time_point looked_at_{};
};

bool Soak::may_be_killed(std::uint32_t round, unsigned worker) const {
    const Role role = task_of(round, worker).role;
    return accounting_of(round) != Accounting::getters_live || role == Role::produce ||
           role == Role::talk;
}

void Soak::disturb(std::uint32_t round) {
    const auto worker = static_cast<unsigned>(random_() % kWorkers);
    std::unique_ptr<Victim>& victim = victims_[worker];
    if (!victim) {
        return;
    }
    if (random_() % 8 == 0 || !may_be_killed(round, worker)) {
        victim->stop(std::chrono::microseconds(random_() % 20'000));
        ++totals_.stops;
        return;
    }
    const bool talks = task_of(round, worker).role == Role::talk;
    if (talks && victim->exitcode()) {
        return;  // its session is over
    }
    victim->kill();
    ++totals_.kills;
    if (talks) {
        session_disturbed_ = true;
    } else {
        note_death(round, worker);
        spawn(worker);
    }
}

void Soak::note_death(std::uint32_t round, unsigned worker) {
    WorkerNote& note = ledger_->workers[worker];
    for (unsigned queue = 0; queue < kQueues; ++queue) {
        Lane& lane = ledger_->lanes[queue][worker];
        const std::uint64_t begun = lane.begun.load();
        for (std::uint64_t sequence = lane.finished.load(); sequence < begun; ++sequence) {
            doubts_[queue].puts.insert(WorkerNote::word(worker, sequence));
        }
        lane.finished.store(begun);
    }
    Doubt& doubt = doubts_[note.queue.load()];
    if (const std::uint64_t word = note.committing.exchange(0)) {
        doubt.leases.insert(word - 1);
    }
    const std::uint64_t getting = note.getting.exchange(0);
    EXPECT_TRUE(getting == 0 || accounting_of(round) == Accounting::getters_die);
    doubt.gets += getting;
}

void Soak::measure_standstill(std::uint32_t round) {
    const Clock::time_point now = Clock::now();
    if (now - looked_at_ > 4 * kGapMax) {
        passed_at_.fill(now);  // this process was kept waiting for a processor: so were they
    }
    looked_at_ = now;
    for (unsigned worker = 0; worker < kWorkers - kTalkers; ++worker) {
        const unsigned queue = task_of(round, worker).queue;
        const std::uint64_t passed = ledger_->passed[queue].load(std::memory_order_relaxed);
        const bool capped = std::ranges::any_of(ledger_->lanes[queue], [](const Lane& lane) {
            return lane.begun.load(std::memory_order_relaxed) + kBatchMax > kSequencesMax;
        });
        if (passed != passed_seen_[queue] || capped) {
            passed_seen_[queue] = passed;
            passed_at_[queue] = now;
        }
        totals_.standstill = std::max(totals_.standstill, now - passed_at_[queue]);
    }
}

// ---- the pipe ---------------------------------------------------------------------------------

template <class T, class Ends>
void Soak::start_talkers(Ends ends, bool duplex) {
    const auto start = [&](unsigned worker, auto end) {
        victims_[worker] = std::make_unique<Victim>(
            [this, worker, duplex](decltype(end) mine) {
                Talker<T> talker(*ledger_, worker, Voice<T>(std::move(mine)));
                if (duplex) {
                    talker.talk();
                } else if (worker % 2 == 0) {
                    talker.listen();
                } else {
                    talker.speak();
                }
            },
            std::move(end));
    };
    start(kWorkers - 2, ends.first);
    start(kWorkers - 1, ends.second);
}

void Soak::start_session() {
    for (DirectionNote& direction : ledger_->directions) {
        direction.begun.store(0);
        direction.finished.store(0);
        direction.received.store(0);
    }
    session_disturbed_ = false;
    ++totals_.sessions;
    const bool duplex = random_() % 2 == 0;
    // Of the longest messages a duplex ring holds several: a talker may not block in sending. One
    // way they are longer than half of the ring, and travel in fragments.
    switch (random_() % 3) {
        case 0:
            start_talkers<Item>(Pipe<Item>(PipeOptions{.duplex = duplex, .capacity = 16}), duplex);
            break;
        case 1:
            start_talkers<std::string>(
                Pipe<std::string>(PipeOptions{.duplex = duplex, .capacity = duplex ? 2048U : 16U}),
                duplex);
            break;
        default:
            start_talkers<std::byte>(
                BytePipe(BytePipeOptions{.duplex = duplex,
                                         .capacity_bytes = duplex ? 512U << 10U : 64U << 10U}),
                duplex);
    }
}

void Soak::balance_session() {
    for (unsigned side = 0; side < kTalkers; ++side) {
        const DirectionNote& direction = ledger_->directions[side];
        const std::uint64_t begun = direction.begun.load();
        const std::uint64_t finished = direction.finished.load();
        const std::uint64_t received = direction.received.load();
        const int sender_code = *victims_[kWorkers - 2 + side]->exitcode();
        const bool sender_died = sender_code == -SIGKILL;
        const bool receiver_died = *victims_[kWorkers - 1 - side]->exitcode() == -SIGKILL;
        EXPECT_TRUE(sender_code == 0 || (sender_died && session_disturbed_)) << sender_code;
        if (received > begun) {
            std::printf("soak: pipe: %llu messages received, %llu sent\n",
                        static_cast<unsigned long long>(received),
                        static_cast<unsigned long long>(begun));
            ledger_->damaged.fetch_add(1);
        }
        // Who lives receives all that was acknowledged, whoever died.
        if (!receiver_died && received < finished) {
            std::printf("soak: pipe: %llu messages received, %llu acknowledged\n",
                        static_cast<unsigned long long>(received),
                        static_cast<unsigned long long>(finished));
            totals_.lost += finished - received;
        }
        totals_.in_doubt += sender_died && begun != finished ? 1U : 0U;
    }
}

void Soak::tend_pipe(std::uint32_t round) {
    if (task_of(round, kWorkers - 1).role != Role::talk) {
        return;
    }
    std::unique_ptr<Victim>& first = victims_[kWorkers - 2];
    std::unique_ptr<Victim>& second = victims_[kWorkers - 1];
    if (first && first->exitcode() && second->exitcode()) {
        balance_session();
        first.reset();
        second.reset();
    }
    if (!first && ledger_->producing.load() == round) {
        start_session();
    }
}

// ---- the end of a round -----------------------------------------------------------------------

void Soak::report_hang(const char* what) {
    ++totals_.hangs;
    std::printf("soak: HANG: %s\n", what);
    for (unsigned worker = 0; worker < kWorkers; ++worker) {
        if (!victims_[worker]) {
            continue;
        }
        const WorkerNote& note = ledger_->workers[worker];
        const std::string process = "/proc/" + std::to_string(victims_[worker]->pid());
        std::printf("  worker %u, pid %d: %s, queue %u, round done %u; %s; %s\n", worker,
                    victims_[worker]->pid(), text_of(note.doing.load()), note.queue.load(),
                    note.round_done.load(), first_line_of(process + "/wchan").c_str(),
                    first_line_of(process + "/stat").c_str());
    }
    for (unsigned queue = 0; queue < kQueues; ++queue) {
        queues_.visit(queue, [&](const auto& sut) {
            std::printf("  queue %u: size %zu of %zu, %s\n", queue, sut.size(), sut.capacity(),
                        sut.full() ? "full" : "not full");
        });
    }
    std::fflush(stdout);
    if (std::getenv("SLUICE_SOAK_HOLD") != nullptr) {
        alarm(0);
        pause();
    }
}

/// Waits until the condition holds. Kills have ended: a minute without it is a hang.
template <class Condition>
void Soak::await(const char* what, Condition&& condition) {
    const Clock::time_point end = Clock::now() + kHang;
    while (totals_.hangs == 0 && !condition()) {
        if (Clock::now() > end) {
            report_hang(what);
        }
        usleep(100);
    }
}

void Soak::dismiss_consumers(std::uint32_t round) {
    for (unsigned worker = 0; worker < kWorkers - kTalkers; ++worker) {
        const Task task = task_of(round, worker);
        if (task.role != Role::consume) {
            continue;
        }
        queues_.visit(task.queue, [&]<class T>(const Queue<T>& queue) {
            const T farewell = value_of<T>(Item::make(round, kFarewell, 0));
            await("no room to dismiss a consumer",
                  [&] { return queue.try_put_for(farewell, milliseconds(10)); });
        });
    }
}

/// Takes what consumers have left: messages that came back after younger ones, or that nobody was
/// to get.
void Soak::drain() {
    for (unsigned index = 0; index < kQueues; ++index) {
        queues_.visit(index, [&](const auto& queue) {
            await("a queue does not become empty", [&] {
                while (const auto value = queue.try_get_for(milliseconds(5))) {
                    const std::optional<Item> item = item_of(*value);
                    if (!item || item->producer != kFarewell) {
                        ledger_->deliver(index, item);
                    }
                    queue.task_done();
                }
                return queue.empty();
            });
            await("join() waits for a task that nobody has",
                  [&] { return queue.try_join_for(milliseconds(5)); });
        });
    }
}

void Soak::balance(unsigned queue) {
    Doubt& doubt = doubts_[queue];
    std::uint64_t unexplained = 0;
    for (unsigned producer = 0; producer < kWorkers; ++producer) {
        Lane& lane = ledger_->lanes[queue][producer];
        const std::uint64_t begun = lane.begun.exchange(0);
        for (std::uint64_t first = 0; first < begun; first += 64) {
            const std::uint64_t arrived = lane.arrived[first / 64].exchange(0);
            const std::uint64_t last = std::min(begun, first + 64);
            for (std::uint64_t sequence = first; ~arrived != 0 && sequence < last; ++sequence) {
                const std::uint64_t word = WorkerNote::word(producer, sequence);
                if ((arrived >> (sequence - first) & 1U) != 0 || doubt.puts.contains(word) ||
                    doubt.leases.contains(word)) {
                    continue;
                }
                if (++unexplained > doubt.gets) {
                    std::printf("soak: queue %u: value %u/%llu of round %u is missing\n", queue,
                                producer, static_cast<unsigned long long>(sequence),
                                ledger_->round.load());
                }
            }
        }
        lane.finished.store(0);
    }
    totals_.lost += unexplained > doubt.gets ? unexplained - doubt.gets : 0;
    totals_.in_doubt += doubt.puts.size() + doubt.leases.size() + unexplained;
    doubt = {};
}

void Soak::quiesce(std::uint32_t round) {
    for (const std::unique_ptr<Victim>& victim : victims_) {
        if (victim) {
            victim->resume(Clock::time_point::max());
        }
    }
    const auto rests = [&](unsigned worker) {
        return ledger_->workers[worker].round_done.load(std::memory_order_acquire) == round;
    };
    ledger_->producing.store(0);
    await("a producer does not end", [&] {
        tend_pipe(round);
        for (unsigned worker = 0; worker < kWorkers; ++worker) {
            const Role role = task_of(round, worker).role;
            if (role == Role::talk ? victims_[worker] != nullptr
                                   : role != Role::consume && !rests(worker)) {
                return false;
            }
        }
        return true;
    });
    dismiss_consumers(round);
    await("a consumer does not end", [&] {
        for (unsigned worker = 0; worker < kWorkers - kTalkers; ++worker) {
            if (!rests(worker)) {
                return false;
            }
        }
        return true;
    });
    for (unsigned worker = kWorkers - kTalkers; worker < kWorkers; ++worker) {
        if (victims_[worker]) {
            await("a process does not end",
                  [&] { return victims_[worker]->exitcode().has_value(); });
            EXPECT_EQ(victims_[worker]->exitcode().value_or(-1), 0);
            victims_[worker].reset();
        }
    }
    drain();
    for (unsigned worker = 0; worker < kWorkers; ++worker) {
        try {
            Queue<Item>::unlink(scratch_name(worker));  // of one that was killed
        } catch (const std::system_error&) {            // which is not there
        }
    }
}

void Soak::run_round(std::uint32_t round, Clock::duration time) {
    passed_at_.fill(Clock::now());
    const Clock::time_point end = Clock::now() + time;
    ledger_->producing.store(round, std::memory_order_release);
    ledger_->round.store(round, std::memory_order_release);
    for (unsigned worker = kWorkers - kTalkers; worker < kWorkers; ++worker) {
        if (task_of(round, worker).role != Role::talk) {
            spawn(worker);
        }
    }
    // Some rounds are calm, others a massacre.
    constexpr std::chrono::microseconds kGaps[] = {milliseconds(3), milliseconds(10), kGapMax};
    const auto gap = static_cast<std::uint64_t>(kGaps[random_() % 3].count());
    while (Clock::now() < end) {
        tend_pipe(round);
        usleep(static_cast<useconds_t>(random_() % gap));
        for (const std::unique_ptr<Victim>& victim : victims_) {
            if (victim) {
                victim->resume(Clock::now());
            }
        }
        measure_standstill(round);
        disturb(round);
    }
    quiesce(round);
    for (unsigned queue = 0; queue < kQueues && totals_.hangs == 0; ++queue) {
        balance(queue);
    }
}

void Soak::check_flat() {
    for (unsigned worker = 0; worker < kWorkers - kTalkers; ++worker) {
        const WorkerNote& note = ledger_->workers[worker];
        EXPECT_EQ(note.descriptors_last.load(), note.descriptors_first.load())
            << "descriptors of worker " << worker;
        EXPECT_FALSE(victims_[worker]->exitcode()) << "worker " << worker << " has ended";
    }
}

TEST_F(Soak, KilledProcessesLoseAndDoubleNothing) {
    const seconds time = soak_time(60);
    const test::Watchdog watchdog(static_cast<unsigned>(time.count()) + 170);
    const Clock::duration round_time =
        std::clamp<Clock::duration>(time / 24, milliseconds(1500), seconds(5));
    const std::uint64_t plain_bytes = queues_.plain.memory_bytes();
    const std::uint64_t text_bytes = queues_.text.memory_bytes();
    for (unsigned worker = 0; worker < kWorkers - kTalkers; ++worker) {
        spawn(worker);
    }
    const Clock::time_point start = Clock::now();
    Clock::time_point told = start;
    Growth growth;
    const auto tell = [&] {
        using FloatSeconds = std::chrono::duration<double>;
        std::printf(
            "soak: %.0f s, %llu operations, %llu kills, %llu stops, %llu pipes, %llu in doubt, "
            "%llu lost, %llu duplicated, %llu damaged, %llu hangs; %s; longest standstill %.0f "
            "ms\n",
            FloatSeconds(Clock::now() - start).count(),
            static_cast<unsigned long long>(operations()),
            static_cast<unsigned long long>(totals_.kills),
            static_cast<unsigned long long>(totals_.stops),
            static_cast<unsigned long long>(totals_.sessions),
            static_cast<unsigned long long>(totals_.in_doubt),
            static_cast<unsigned long long>(totals_.lost),
            static_cast<unsigned long long>(ledger_->duplicated.load()),
            static_cast<unsigned long long>(ledger_->damaged.load()),
            static_cast<unsigned long long>(totals_.hangs), growth.text().c_str(),
            FloatSeconds(totals_.standstill).count() * 1e3);
        std::fflush(stdout);
    };
    for (std::uint32_t round = 1; !HasFailure() && Clock::now() - start < time; ++round) {
        run_round(round, round_time);
        growth.look(round <= 5);  // warm: each plan has run once
        EXPECT_EQ(totals_.lost + totals_.hangs, 0U);
        EXPECT_EQ(ledger_->duplicated.load() + ledger_->damaged.load(), 0U);
        growth.expect_none(8U << 20U);
        EXPECT_EQ(queues_.plain.memory_bytes(), plain_bytes);
        EXPECT_LE(queues_.text.memory_bytes(), text_bytes + kTextCapacity * kKeptBytes);
        if (totals_.hangs == 0) {
            check_flat();
        }
        if (Clock::now() - told >= seconds(60) && Clock::now() - start < time) {
            told = Clock::now();
            tell();
        }
    }
    tell();
    EXPECT_GT(totals_.kills, 0U);
}

}  // namespace
}  // namespace sluice::soak
