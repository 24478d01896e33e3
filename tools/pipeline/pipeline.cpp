#include "pipeline.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <sluice/placement.hpp>
#include <sluice/process.hpp>
#include <sluice/topology.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "progress.hpp"
#include "stages.hpp"
#include "summary.hpp"

namespace sluice::pipeline {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kRecordsMax = 4'096;  // between two stages: a burst or two
constexpr std::int64_t kStartDelayNs = 5'000'000;

volatile std::sig_atomic_t interrupts = 0;

/// Counts Ctrl-C and SIGTERM instead of dying of them, while it lives.
class InterruptGuard {
 public:
    InterruptGuard() {
        interrupts = 0;
        struct sigaction action {};
        action.sa_handler = [](int) { interrupts = interrupts + 1; };
        sigemptyset(&action.sa_mask);
        sigaction(SIGINT, &action, &before_[0]);
        sigaction(SIGTERM, &action, &before_[1]);
    }
    InterruptGuard(const InterruptGuard&) = delete;
    InterruptGuard& operator=(const InterruptGuard&) = delete;
    ~InterruptGuard() {
        sigaction(SIGINT, &before_[0], nullptr);
        sigaction(SIGTERM, &before_[1], nullptr);
    }

 private:
    struct sigaction before_[2]{};
};

/// What a strategy's every life is made of.
struct StrategyPlace {
    std::size_t process{};  // which of the processes
    StrategyJob job{};
    Queue<BookEvent> events;
    Queue<Order> orders;
    Queue<Acknowledgement> acknowledgements;
    bool reported{};
};

class Pipeline {
 public:
    explicit Pipeline(const Settings& settings)
        : settings_(settings), names_(input_names(settings)), summary_(settings) {}

    int run() {
        make_processes();
        if (settings_.print_plan) {
            print_plan();
        }
        const InterruptGuard guard;
        for (Process& process : processes_) {
            process.start();
        }
        const bool whole = start_feeds() && collect_reports();
        bar_.finish();
        if (!whole) {
            return interrupts > 1 ? kExitInterrupted : kExitFailure;
        }
        for (Process& process : processes_) {
            process.join();
        }
        return publish();
    }

 private:
    void make_processes();
    template <class... Parts>
    void add_process(std::string name, Parts... parts) {
        processes_.emplace_back(
            ProcessOptions{.name = std::move(name), .binding = bindings_[processes_.size()]},
            std::move(parts)...);
    }
    [[nodiscard]] Process strategy_process(std::size_t strategy) const;
    void print_plan() const;
    [[nodiscard]] bool start_feeds();
    [[nodiscard]] bool collect_reports();
    void take_report(const Report& report);
    void take_waiting_reports();
    [[nodiscard]] bool all_well();
    [[nodiscard]] bool restart_strategies();
    void report_deaths();
    void stop_feeds();
    void show_progress();
    int publish();

    const Settings& settings_;
    std::vector<std::string> names_;
    Reports reports_{QueueOptions{.capacity = 256, .wait = Wait::park}};
    std::vector<Connection<Control>> controls_{};
    std::vector<Control> progress_{};
    std::vector<Binding> bindings_{};
    std::vector<Process> processes_{};
    std::vector<StrategyPlace> strategies_{};
    std::size_t missing_{};  // reports that have not come yet
    Summary summary_;
    ProgressBar bar_{};
    std::int64_t start_ns_{};
    bool stopping_{};
};

void Pipeline::make_processes() {
    const std::size_t feeds = names_.size();
    const std::size_t strategies = settings_.strategies;
    bindings_ = plan(Topology::system(), settings_.placement, feeds + strategies + 3);
    processes_.reserve(bindings_.size());
    missing_ = bindings_.size();
    const PipeOptions one_way{.duplex = false, .capacity = kRecordsMax, .wait = settings_.wait};

    std::vector<Connection<FeedRecord>> book_feeds;
    for (std::size_t i = 0; i < feeds; ++i) {
        Pipe<Control> control(PipeOptions{.capacity = 64, .wait = Wait::park});
        Pipe<FeedRecord> records(one_way);
        FeedJob job{i, settings_.inputs.empty() ? std::string() : settings_.inputs[i],
                    settings_.exchange, settings_.speed, settings_.wait};
        add_process(
            fmt::format("feed-{}", i),
            [](const FeedJob& its_job, Connection<Control>& its_control,
               Connection<FeedRecord>& book, const Reports& reports) {
                run_stage([&] { run_feed(its_job, its_control, book, reports); });
            },
            std::move(job), control.second, records.second, reports_);
        controls_.push_back(control.first);
        book_feeds.push_back(records.first);
    }
    progress_.resize(feeds);

    const Queue<Order> orders(QueueOptions{.capacity = 1'024, .wait = settings_.wait});
    std::vector<Queue<BookEvent>> book_strategies;
    std::vector<Queue<Acknowledgement>> risk_acknowledgements;
    for (std::size_t i = 0; i < strategies; ++i) {
        const Queue<BookEvent> events(
            QueueOptions{.capacity = kRecordsMax, .wait = settings_.wait});
        const Queue<Acknowledgement> acknowledgements(
            QueueOptions{.capacity = 2 * kOutstandingMax, .wait = settings_.wait});
        StrategyJob job{.strategy = static_cast<std::uint32_t>(i)};
        job.notes = std::make_shared<StrategyNotes>(feeds);
        strategies_.push_back(
            StrategyPlace{feeds + 1 + i, std::move(job), events, orders, acknowledgements});
        book_strategies.push_back(events);
        risk_acknowledgements.push_back(acknowledgements);
    }
    add_process(
        "book",
        [](const BookJob& job, std::vector<Connection<FeedRecord>>& its_feeds,
           const std::vector<Queue<BookEvent>>& its_strategies, const Reports& reports) {
            run_stage([&] { run_book(job, its_feeds, its_strategies, reports); });
        },
        BookJob{names_}, std::move(book_feeds), std::move(book_strategies), reports_);

    for (std::size_t i = 0; i < strategies; ++i) {
        processes_.push_back(strategy_process(i));
    }

    Pipe<JournalEntry> entries(one_way);
    add_process(
        "risk",
        [](const GatewayJob& job, const Queue<Order>& its_orders,
           const std::vector<Queue<Acknowledgement>>& its_strategies,
           Connection<JournalEntry>& journal, const Reports& reports) {
            run_stage([&] { run_gateway(job, its_orders, its_strategies, journal, reports); });
        },
        GatewayJob{strategies, feeds, settings_.limits}, orders, std::move(risk_acknowledgements),
        entries.second, reports_);
    add_process(
        "journal",
        [](const JournalJob& job, Connection<JournalEntry>& its_entries, const Reports& reports) {
            run_stage([&] { run_journal(job, its_entries, reports); });
        },
        JournalJob{settings_.journal_path, names_}, entries.first, reports_);
}

Process Pipeline::strategy_process(std::size_t strategy) const {
    const StrategyPlace& place = strategies_[strategy];
    return Process(
        ProcessOptions{.name = fmt::format("strategy-{}", strategy),
                       .binding = bindings_[place.process]},
        [](const StrategyJob& job, const Queue<BookEvent>& events, const Queue<Order>& orders,
           const Queue<Acknowledgement>& acknowledgements, const Reports& reports) {
            run_stage([&] { run_strategy(job, events, orders, acknowledgements, reports); });
        },
        place.job, place.events, place.orders, place.acknowledgements, reports_);
}

void Pipeline::print_plan() const {
    fmt::print("placement: {}\n", to_string(settings_.placement.policy));
    for (std::size_t i = 0; i < processes_.size(); ++i) {
        fmt::print("  {:<12} {}\n", processes_[i].name(), to_string(bindings_[i]));
    }
    fmt::print("\n");
    std::fflush(stdout);
}

bool Pipeline::start_feeds() {
    std::int64_t first_ns = kNever;
    for (Connection<Control>& control : controls_) {
        std::optional<Control> ready;
        while (!ready) {
            try {
                ready = control.try_recv_for(100ms);
            } catch (const Closed&) {  // its end is seen by all_well()
            }
            if (!all_well()) {
                return false;
            }
        }
        first_ns = std::min(first_ns, ready->receive_ns);
    }
    start_ns_ = now_ns() + (settings_.speed > 0 ? kStartDelayNs : 0);
    for (Connection<Control>& control : controls_) {
        control.send({.what = Control::What::start, .receive_ns = first_ns, .start_ns = start_ns_});
    }
    return true;
}

bool Pipeline::collect_reports() {
    while (missing_ > 0) {
        if (const std::optional<Report> report = reports_.try_get_for(20ms)) {
            take_report(*report);
            continue;
        }
        show_progress();
        if (!all_well()) {
            return false;
        }
        if (interrupts > 0 && !stopping_) {
            stop_feeds();
        }
    }
    summary_.set_elapsed(static_cast<double>(std::max<std::int64_t>(now_ns() - start_ns_, 1)) /
                         1e9);
    show_progress();
    return true;
}

void Pipeline::take_report(const Report& report) {
    if (const auto* problem = std::get_if<Problem>(&report)) {
        bar_.print("sluice-pipeline: " + problem->text);
        return;
    }
    if (const auto* strategy = std::get_if<StrategyReport>(&report)) {
        bool& reported = strategies_.at(strategy->strategy).reported;
        if (reported) {
            return;  // one that was killed between its report and its end
        }
        reported = true;
    }
    std::visit(
        [this](const auto& words) {
            if constexpr (!std::is_same_v<decltype(words), const Problem&>) {
                summary_.take(words);
            }
        },
        report);
    --missing_;
}

void Pipeline::take_waiting_reports() {
    while (const std::optional<Report> report = reports_.try_get()) {
        take_report(*report);
    }
}

void Pipeline::stop_feeds() {
    stopping_ = true;
    bar_.print("sluice-pipeline: interrupted; what is under way is finished (again: at once)");
    for (Connection<Control>& control : controls_) {
        try {
            (void)control.try_send({.what = Control::What::stop});
        } catch (const Closed&) {  // it has ended by itself
        }
    }
}

void Pipeline::show_progress() {
    Control all;
    for (std::size_t i = 0; i < controls_.size(); ++i) {
        try {
            while (const std::optional<Control> message = controls_[i].try_recv()) {
                progress_[i] = *message;
            }
        } catch (const Closed&) {  // it has said all it had to say
        }
        all.done += progress_[i].done;
        all.total += progress_[i].total;
        all.messages += progress_[i].messages;
    }
    const double share =
        all.total == 0 ? 0 : static_cast<double>(all.done) / static_cast<double>(all.total);
    bar_.update(share, all.messages, static_cast<double>(now_ns() - start_ns_) / 1e9);
}

/// Starts those again that were killed; false if that is no cure for what has happened.
bool Pipeline::restart_strategies() {
    for (std::size_t i = 0; i < strategies_.size(); ++i) {
        StrategyPlace& place = strategies_[i];
        Process& process = processes_[place.process];
        const int code = process.exitcode().value_or(0);
        if (code >= 0) {
            continue;  // it runs, has ended well, or has failed: then it would fail again
        }
        take_waiting_reports();  // what it said before it died is there by now
        if (place.reported) {
            continue;
        }
        if (++place.job.life >= StrategyNotes::kLivesMax) {  // it would die for ever
            return false;
        }
        bar_.print(
            fmt::format("sluice-pipeline: {} (pid {}) was killed by signal {} ({}): started again",
                        process.name(), process.pid(), -code, ::strsignal(-code)));
        process = strategy_process(i);
        process.start();
    }
    return true;
}

/// False if the run cannot be finished any more: then all processes have been ended.
bool Pipeline::all_well() {
    const bool cured = interrupts > 1 || restart_strategies();
    // One that was killed since is started again the next time.
    const auto is_curable = [this](std::size_t index, int code) {
        const std::size_t first = strategies_.front().process;
        return index >= first && index < first + strategies_.size() && code < 0;
    };
    bool died = !cured;
    for (std::size_t i = 0; i < processes_.size(); ++i) {
        const int code = processes_[i].exitcode().value_or(0);
        died = died || (code != 0 && !is_curable(i, code));
    }
    if (!died && interrupts <= 1) {
        return true;
    }
    bar_.finish();
    if (died) {
        report_deaths();
    }
    for (Process& process : processes_) {
        process.kill();
    }
    for (Process& process : processes_) {
        process.join();
    }
    return false;
}

/// Names who died, causes before effects: who was killed or failed, not who found a channel closed.
void Pipeline::report_deaths() {
    // The first to be seen dead need not be the first that died.
    for (Process& process : processes_) {
        if (process.join_for(10ms)) {
            continue;
        }
    }
    bool cause_known = false;
    for (const Process& process : processes_) {
        const int code = process.exitcode().value_or(0);
        if (code < 0) {
            bar_.print(fmt::format("sluice-pipeline: {} (pid {}) was killed by signal {} ({})",
                                   process.name(), process.pid(), -code, ::strsignal(-code)));
        } else if (code != 0 && code != kExitPeerGone) {
            bar_.print(fmt::format("sluice-pipeline: {} (pid {}) failed with exit code {}",
                                   process.name(), process.pid(), code));
        }
        cause_known = cause_known || (code != 0 && code != kExitPeerGone);
    }
    if (!cause_known) {
        bar_.print("sluice-pipeline: a channel between two processes was closed too early");
    }
}

void write_file(const std::string& path, const std::string& text, const char* mode) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), mode),
                                                               &std::fclose);
    if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() ||
        std::fflush(file.get()) != 0) {
        throw std::system_error(errno, std::generic_category(), path + ": cannot be written");
    }
}

int Pipeline::publish() {
    fmt::print("{}", summary_.table());
    std::fflush(stdout);
    if (!settings_.json_path.empty()) {
        write_file(settings_.json_path, summary_.json(), "we");
    }
    if (!settings_.hgrm_folder.empty()) {
        summary_.write_hgrm(settings_.hgrm_folder);
    }
    if (stopping_) {
        return kExitInterrupted;
    }
    return summary_.input_missing() ? kExitFailure : kExitGood;
}

}  // namespace

int run_pipeline(const Settings& settings) {
    // A long run must not end with a file that cannot be written: it is tried first.
    for (const std::string& path : {settings.json_path, settings.journal_path}) {
        if (!path.empty()) {
            write_file(path, "", "ae");
        }
    }
    return Pipeline(settings).run();
}

}  // namespace sluice::pipeline
