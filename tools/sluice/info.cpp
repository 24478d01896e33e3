// sluice info: everything about one object; --watch tells which holdings stay.
#include <algorithm>
#include <chrono>
#include <sluice/shm/inspect.hpp>
#include <thread>

#include "command.hpp"
#include "objects.hpp"

namespace sluice::tool {
namespace {

struct Options {
    std::string name{};
    double watch_s{};
    bool json{};
};

bool same(const shm::Holding& one, const shm::Holding& other) {
    return one.kind == other.kind && one.member == other.member && one.index == other.index &&
           one.word == other.word;
}

/// What was seen first and at the end, and what did not change in all the looks between.
struct Watched {
    shm::Inspection first{};
    shm::Inspection last{};
    std::vector<shm::Holding> unchanged{};
    double seconds{};
};

Watched watch(const shm::Inspector& inspector, double seconds) {
    using Clock = std::chrono::steady_clock;
    constexpr auto kPause = std::chrono::milliseconds(20);
    Watched watched;
    watched.first = inspector.look();
    watched.last = watched.first;
    if (seconds <= 0) {
        return watched;
    }
    const auto began = Clock::now();
    watched.unchanged = watched.first.holdings;
    while (watched.seconds < seconds) {
        const double left = seconds - watched.seconds;
        std::this_thread::sleep_for(
            std::min<std::chrono::duration<double>>(kPause, std::chrono::duration<double>(left)));
        watched.last = inspector.look();
        std::erase_if(watched.unchanged, [&](const shm::Holding& holding) {
            return std::none_of(watched.last.holdings.begin(), watched.last.holdings.end(),
                                [&](const shm::Holding& now) { return same(now, holding); });
        });
        watched.seconds = std::chrono::duration<double>(Clock::now() - began).count();
    }
    return watched;
}

bool is_unchanged(const Watched& watched, const shm::Holding& holding) {
    return std::any_of(watched.unchanged.begin(), watched.unchanged.end(),
                       [&](const shm::Holding& kept) { return same(kept, holding); });
}

std::string node_text(const shm::PageReport& pages) {
    std::string text = bytes_text(pages.page_bytes) + " pages";
    if (pages.huge_bytes != 0) {
        text += fmt::format(", {} by huge pages", bytes_text(pages.huge_bytes));
    }
    for (std::size_t node = 0; node < pages.nodes.pages_on_node.size(); ++node) {
        if (pages.nodes.pages_on_node[node] != 0) {
            text += fmt::format(", {} on node {}", pages.nodes.pages_on_node[node], node);
        }
    }
    if (pages.nodes.pages_absent != 0) {
        text += fmt::format(", {} not there yet", pages.nodes.pages_absent);
    }
    return text;
}

void print_flows(const Watched& watched) {
    for (std::size_t index = 0; index < watched.last.flows.size(); ++index) {
        const shm::Flow& flow = watched.last.flows[index];
        std::string text =
            flow.in_bytes
                ? fmt::format("{} of {}", bytes_text(flow.depth), bytes_text(flow.capacity))
                : fmt::format("{} of {} messages", flow.depth, flow.capacity);
        if (!flow.exact) {
            text += " (about)";
        }
        if (watched.seconds > 0) {
            const shm::Flow& then = watched.first.flows[index];
            const auto rate = [&](std::uint64_t count) {
                return count_text(static_cast<double>(count) / watched.seconds);
            };
            text += fmt::format(", in {}/s, out {}/s", rate(flow.put_since(then)),
                                rate(flow.taken_since(then)));
        }
        fmt::print("  {:<19} {}\n", flow.name.empty() ? "fill" : flow.name, text);
    }
}

// What a Pool or a Manager consists of.
void print_parts(const shm::Inspection& seen) {
    if (!seen.workers.empty()) {
        fmt::print("  {:<19}\n", "workers");
    }
    for (std::size_t index = 0; index < seen.workers.size(); ++index) {
        const shm::PoolWorker& worker = seen.workers[index];
        const std::string text = fmt::format("{:>4}  {}", index, worker_text(worker));
        fmt::print("  {:<19} {}\n", "",
                   worker.vitality == shm::Vitality::dead      ? red(text)
                   : worker.vitality == shm::Vitality::stopped ? yellow(text)
                                                               : text);
    }
    if (!seen.objects.empty()) {
        fmt::print("  {:<19}\n", "contents");
    }
    for (const shm::HeldObject& object : seen.objects) {
        fmt::print("  {:<19} {:<20} {}\n", "", object.name.empty() ? dim("(no name)") : object.name,
                   object_text(object));
    }
}

void print_text(const shm::Inspector& inspector, const Watched& watched) {
    const shm::Inspection& seen = watched.last;
    const shm::SegmentFacts& facts = seen.facts;
    const auto line = [](std::string_view what, const std::string& text) {
        fmt::print("  {:<19} {}\n", what, text);
    };
    fmt::print("{}  {}\n", bold(name_of(inspector.path())), kind_text(facts));
    line("file", fmt::format("{}, {}, inode {}, {}", inspector.path(), owner_text(facts),
                             facts.inode, facts.in_use ? "in use" : "not in use"));
    // A Manager's objects, and values beside their slots, lie behind what is mapped.
    line("memory", fmt::format("{} {} {}, {}", bytes_text(facts.bytes_allocated),
                               facts.bytes_allocated > facts.total_bytes ? "with" : "of",
                               bytes_text(facts.total_bytes), node_text(inspector.pages())));
    if (const std::string capacity = capacity_text(facts); !capacity.empty()) {
        line("capacity", capacity);
    }
    line("options", options_text(facts));
    print_flows(watched);
    for (const shm::Gauge& gauge : seen.gauges) {
        line(gauge.name, gauge_text(gauge));
    }
    for (const auto& [name, value] : seen.counters) {
        line(name, std::to_string(value));
    }
    if (seen.closed) {
        line("closed", "yes");
    }
    if (!seen.marks.empty()) {
        line("state", fmt::format("{}", fmt::join(seen.marks, ", ")));
    }
    if (!seen.sleepers.empty()) {
        line("asleep on it", fmt::format("{}", fmt::join(seen.sleepers, ", ")));
    }
    line("members", std::to_string(seen.participants.size()));
    for (const shm::Participant& who : seen.participants) {
        const std::string text = fmt::format(
            "{:>4}  {}{}{}", who.id, who_text(who),
            who.thread != 0 && who.thread != who.pid ? fmt::format(", thread {}", who.thread) : "",
            who.asleep ? ", asleep" : "");
        line("", who.vitality == shm::Vitality::dead      ? red(text)
                 : who.vitality == shm::Vitality::stopped ? yellow(text)
                                                          : text);
    }
    if (!seen.holdings.empty()) {
        line("held", "");
    }
    for (const shm::Holding& holding : seen.holdings) {
        std::string text = holding_text(seen, holding);
        if (is_unchanged(watched, holding)) {
            text += fmt::format(", unchanged while watched for {:.3g} s", watched.seconds);
        }
        line("", text);
    }
    print_parts(seen);
    for (const std::string& damage : seen.damages) {
        line("damaged", red(damage));
    }
    for (const std::string& doubt : seen.doubts) {
        fmt::print(stderr, "sluice: {}\n", doubt);
    }
}

int run(const Options& options) {
    shm::Failure failure;
    const auto inspector = shm::Inspector::open(path_of(options.name), failure);
    if (!inspector) {
        throw_failure(failure);
    }
    const Watched watched = watch(*inspector, options.watch_s);
    const int code = watched.last.damages.empty() ? kGood : kNotOurs;
    if (!options.json) {
        print_text(*inspector, watched);
        return code;
    }
    Json json = to_json(inspector->path(), watched.last);
    json["pages"] = to_json(inspector->pages());
    if (watched.seconds > 0) {
        json["watched_s"] = watched.seconds;
        for (std::size_t index = 0; index < watched.last.holdings.size(); ++index) {
            json["holdings"][index]["unchanged"] =
                is_unchanged(watched, watched.last.holdings[index]);
        }
        for (std::size_t index = 0; index < watched.last.flows.size(); ++index) {
            const shm::Flow& flow = watched.last.flows[index];
            const shm::Flow& then = watched.first.flows[index];
            json["flows"][index]["put_a_second"] =
                static_cast<double>(flow.put_since(then)) / watched.seconds;
            json["flows"][index]["taken_a_second"] =
                static_cast<double>(flow.taken_since(then)) / watched.seconds;
        }
    }
    print_json(json);
    return code;
}

}  // namespace

void add_info(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command =
        add_command(app, "info", "Tells all about one object: fill, memory, who holds what",
                    "sluice info ticks --watch 3");
    command
        .add_option("name", options->name,
                    "The object's name, or the path of its file (/proc/PID/fd/N of an anonymous)")
        .required();
    command
        .add_option("--watch", options->watch_s,
                    "Watch so many seconds: tells rates, and which holdings have not changed")
        .type_name("SECONDS")
        .between(0.0, 86'400.0);
    add_json(command, options->json);
    command.callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace sluice::tool
