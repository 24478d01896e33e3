// sluice top: all objects, live. It only reads; the programs notice nothing.
#include <unistd.h>

#include <chrono>
#include <map>
#include <sluice/shm/inspect.hpp>
#include <thread>

#include "command.hpp"
#include "objects.hpp"
#include "screen.hpp"

namespace sluice::tool {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
    double interval_s{1};
    bool once{};
    bool anonymous{};
    bool json{};
};

/// One object, from look to look.
struct Watched {
    explicit Watched(shm::Inspector opened) : inspector(std::move(opened)) {}

    shm::Inspector inspector;
    shm::Inspection before{};
    shm::Inspection now{};
    Clock::time_point before_at{};
    Clock::time_point now_at{};
    std::uint64_t deaths{};  // that were seen since this began to look
    bool seen_twice{};

    void look() {
        before = std::move(now);
        before_at = now_at;
        now = inspector.look();
        now_at = Clock::now();
        for (const shm::Participant& who : now.participants) {
            const shm::Participant* const then = before.find(who.id);
            const bool was_dead = then != nullptr && then->thread == who.thread &&
                                  then->vitality == shm::Vitality::dead;
            deaths += seen_twice && who.vitality == shm::Vitality::dead && !was_dead ? 1U : 0U;
        }
    }
    double seconds() const { return std::chrono::duration<double>(now_at - before_at).count(); }
};

struct Rates {
    double in{};
    double out{};
};
Rates rates_of(const Watched& watched) {
    Rates rates;
    if (!watched.seen_twice || watched.seconds() <= 0) {
        return rates;
    }
    for (std::size_t index = 0; index < watched.now.flows.size(); ++index) {
        const shm::Flow& now = watched.now.flows[index];
        const shm::Flow& then = watched.before.flows[index];
        rates.in += static_cast<double>(now.put_since(then)) / watched.seconds();
        rates.out += static_cast<double>(now.taken_since(then)) / watched.seconds();
    }
    return rates;
}

class Objects {
 public:
    explicit Objects(bool anonymous) : anonymous_(anonymous) {}

    /// Looks at all that there are now. An object that was made anew under its name is another.
    void look() {
        std::vector<std::string> paths = shm::list_named_segments();
        if (anonymous_) {
            const auto more = shm::list_anonymous_segments();
            paths.insert(paths.end(), more.begin(), more.end());
        }
        std::map<std::string, Watched> still;
        damaged_.clear();
        for (const std::string& path : paths) {
            shm::Failure failure;
            auto opened = shm::Inspector::open(path, failure);
            if (!opened) {
                if (shm::begins_as_segment(path)) {
                    damaged_.emplace(path, failure.text);
                }
                continue;
            }
            const auto known = watched_.find(path);
            const bool same = known != watched_.end() &&
                              known->second.inspector.facts().nonce == opened->facts().nonce;
            Watched watched = same ? std::move(known->second) : Watched(std::move(*opened));
            watched.seen_twice = same;
            watched.look();
            still.emplace(path, std::move(watched));
        }
        watched_ = std::move(still);
    }
    const std::map<std::string, Watched>& all() const { return watched_; }
    /// What cannot even be opened, and why.
    const std::map<std::string, std::string>& damaged() const { return damaged_; }

 private:
    bool anonymous_;
    std::map<std::string, Watched> watched_{};
    std::map<std::string, std::string> damaged_{};
};

std::string bar(double share, std::size_t cells) {
    const auto filled = static_cast<std::size_t>(
        std::min(1.0, std::max(0.0, share)) * static_cast<double>(cells) + 0.5);
    std::string text;
    for (std::size_t cell = 0; cell < cells; ++cell) {
        text += cell < filled ? "█" : "░";
    }
    return share > 0.9 ? red(text) : share > 0.5 ? yellow(text) : green(text);
}

std::string holders_text(const shm::Inspection& seen) {
    std::string text;
    for (const shm::Holding& holding : seen.holdings) {
        if (holding.kind == shm::HoldKind::party) {
            continue;
        }
        if (!text.empty()) {
            return text + ", ...";
        }
        text = holding_text(seen, holding);
    }
    return text;
}

std::string pad(std::string text, std::size_t width) {
    text.resize(std::max(width, text.size()), ' ');
    return text.substr(0, width);
}

std::vector<std::string> frame(const Objects& objects, const Options& options) {
    constexpr std::size_t kBar = 10;
    std::vector<std::string> lines;
    std::uint64_t deaths = 0;
    for (const auto& [path, watched] : objects.all()) {
        deaths += watched.deaths;
    }
    lines.push_back(fmt::format("{}  {} objects, {} deaths seen, every {:.3g} s{}",
                                bold("sluice top"), objects.all().size(), deaths,
                                options.interval_s, options.once ? "" : "; q quits"));
    lines.emplace_back();
    lines.push_back(
        bold(fmt::format("{:<20} {:<10} {:<{}} {:<22} {:>9} {:>9} {:>5} {:>4}  {}", "NAME", "KIND",
                         "FILL", kBar, "", "IN/s", "OUT/s", "LIVE", "DEAD", "HELD; ASLEEP")));
    for (const auto& [path, watched] : objects.all()) {
        const shm::Inspection& seen = watched.now;
        const std::optional<double> share = fill_share(seen);
        const Rates rates = rates_of(watched);
        const std::size_t dead = count_of(seen, shm::Vitality::dead);
        const bool passes = !seen.flows.empty();
        std::string rest = holders_text(seen);
        if (!seen.sleepers.empty()) {
            rest += fmt::format("{}{}", rest.empty() ? "; " : "; ", fmt::join(seen.sleepers, ", "));
        }
        if (seen.closed) {
            rest += " [closed]";
        }
        if (!seen.damages.empty()) {
            rest = red("damaged: " + seen.damages.front());
        }
        const std::string dead_text = fmt::format("{:>4}", dead);
        lines.push_back(fmt::format(
            "{} {} {} {} {:>9} {:>9} {:>5} {}  {}", pad(name_of(path), 20),
            pad(std::string(to_string(seen.facts.kind)), 10),
            share ? bar(*share, kBar) : std::string(kBar, ' '), pad(fill_text(seen), 22),
            passes ? count_text(rates.in) : "", passes ? count_text(rates.out) : "",
            seen.participants.size() - dead, dead != 0 ? red(dead_text) : dead_text, rest));
    }
    for (const auto& [path, why] : objects.damaged()) {
        lines.push_back(pad(name_of(path), 20) + " " + red("damaged: " + why));
    }
    if (objects.all().empty() && objects.damaged().empty()) {
        lines.emplace_back("no objects");
    }
    return lines;
}

Json frame_json(const Objects& objects) {
    Json all = Json::array();
    for (const auto& [path, watched] : objects.all()) {
        Json json = to_json(path, watched.now);
        const Rates rates = rates_of(watched);
        json["put_a_second"] = rates.in;
        json["taken_a_second"] = rates.out;
        json["deaths_seen"] = watched.deaths;
        all.push_back(std::move(json));
    }
    for (const auto& [path, why] : objects.damaged()) {
        all.push_back({{"name", name_of(path)}, {"path", path}, {"damaged", true}, {"error", why}});
    }
    return all;
}

int run(const Options& options) {
    Objects objects(options.anonymous);
    const auto interval =
        std::chrono::milliseconds(static_cast<std::int64_t>(options.interval_s * 1000));
    objects.look();
    if (options.once) {
        std::this_thread::sleep_for(interval);
        objects.look();
        if (options.json) {
            print_json(frame_json(objects));
            return kGood;
        }
        for (const std::string& line : frame(objects, options)) {
            fmt::print("{}\n", line);
        }
        return kGood;
    }
    if (::isatty(STDOUT_FILENO) != 1 || ::isatty(STDIN_FILENO) != 1) {
        throw CommandError(kUsage, "top needs a terminal; --once writes one look anywhere");
    }
    const Screen screen;
    Screen::Event event{};
    auto next = Clock::now();
    while (event != Screen::Event::quit) {
        screen.show(frame(objects, options));
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(next + interval - Clock::now());
        event = screen.wait(std::max(left, std::chrono::milliseconds(0)));
        if (Clock::now() >= next + interval) {
            next = Clock::now();
            objects.look();
        }
    }
    return kGood;
}

}  // namespace

void add_top(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command = add_command(
        app, "top", "Shows all objects live: rates, fill, who holds what, deaths. q quits",
        "sluice top --interval 0.5");
    command.add_option("--interval", options->interval_s, "Seconds between two looks")
        .type_name("SECONDS")
        .between(0.05, 3600.0)
        .capture_default_str();
    const Option once = command.add_flag("--once", options->once,
                                         "One look, after one interval; needs no terminal");
    command.add_flag("--anonymous", options->anonymous,
                     "Also objects without a name that processes of yours hold");
    command.add_flag("--json", options->json, "Write JSON; with --once").needs(once);
    command.callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace sluice::tool
