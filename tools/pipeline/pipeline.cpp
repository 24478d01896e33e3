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

class Pipeline {
 public:
    explicit Pipeline(const Settings& settings)
        : settings_(settings), names_(input_names(settings)), summary_(settings) {}

    int run() {
        make_processes();
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
    [[nodiscard]] bool start_feeds();
    [[nodiscard]] bool collect_reports();
    [[nodiscard]] bool all_well();
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

    std::vector<Connection<BookEvent>> book_strategies;
    std::vector<Connection<BookEvent>> strategy_events;
    std::vector<Connection<Acknowledgement>> strategy_acknowledgements;
    std::vector<Connection<Acknowledgement>> risk_acknowledgements;
    for (std::size_t i = 0; i < strategies; ++i) {
        Pipe<BookEvent> events(one_way);
        Pipe<Acknowledgement> acknowledgements(
            PipeOptions{.duplex = false, .capacity = 2 * kOutstandingMax, .wait = settings_.wait});
        strategy_events.push_back(events.first);
        book_strategies.push_back(events.second);
        strategy_acknowledgements.push_back(acknowledgements.first);
        risk_acknowledgements.push_back(acknowledgements.second);
    }
    add_process(
        "book",
        [](const BookJob& job, std::vector<Connection<FeedRecord>>& its_feeds,
           std::vector<Connection<BookEvent>>& its_strategies, const Reports& reports) {
            run_stage([&] { run_book(job, its_feeds, its_strategies, reports); });
        },
        BookJob{names_}, std::move(book_feeds), std::move(book_strategies), reports_);

    const Queue<Order> orders(QueueOptions{.capacity = 1'024, .wait = settings_.wait});
    for (std::size_t i = 0; i < strategies; ++i) {
        add_process(
            fmt::format("strategy-{}", i),
            [](const StrategyJob& job, Connection<BookEvent>& events,
               const Queue<Order>& its_orders, Connection<Acknowledgement>& acknowledgements,
               const Reports& reports) {
                run_stage(
                    [&] { run_strategy(job, events, its_orders, acknowledgements, reports); });
            },
            StrategyJob{static_cast<std::uint32_t>(i), feeds}, strategy_events[i], orders,
            strategy_acknowledgements[i], reports_);
    }

    Pipe<JournalEntry> entries(one_way);
    add_process(
        "risk",
        [](const GatewayJob& job, const Queue<Order>& its_orders,
           std::vector<Connection<Acknowledgement>>& its_strategies,
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
    std::size_t missing = processes_.size();
    while (missing > 0) {
        if (const std::optional<Report> report = reports_.try_get_for(100ms)) {
            if (const auto* problem = std::get_if<Problem>(&*report)) {
                bar_.print("sluice-pipeline: " + problem->text);
                continue;
            }
            std::visit(
                [this](const auto& words) {
                    if constexpr (!std::is_same_v<decltype(words), const Problem&>) {
                        summary_.take(words);
                    }
                },
                *report);
            --missing;
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

/// False if the run cannot be finished any more: then all processes have been ended.
bool Pipeline::all_well() {
    const bool died = std::any_of(processes_.begin(), processes_.end(), [](const Process& process) {
        return process.exitcode().value_or(0) != 0;
    });
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
