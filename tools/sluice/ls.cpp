// sluice ls: every named object, a line each.
#include <sluice/shm/inspect.hpp>

#include "command.hpp"
#include "objects.hpp"

namespace sluice::tool {
namespace {

struct Options {
    bool json{};
    bool anonymous{};
};

/// A type may be a whole struct: `info` tells it all.
std::string cut(std::string text) {
    constexpr std::size_t kColumns = 40;
    if (text.size() > kColumns) {
        text.resize(kColumns - 3);
        text += "...";
    }
    return text;
}

std::string users_text(const shm::Inspection& seen) {
    const std::size_t dead = count_of(seen, shm::Vitality::dead);
    const std::size_t stopped = count_of(seen, shm::Vitality::stopped);
    std::string text = std::to_string(seen.participants.size() - dead);
    if (!seen.workers.empty()) {
        text += fmt::format(" + {} workers", seen.workers.size());
    }
    if (stopped != 0) {
        text += yellow(fmt::format(" ({} stopped)", stopped));
    }
    if (dead != 0) {
        text += red(fmt::format(" + {} dead", dead));
    }
    return seen.facts.in_use ? text : text + dim(" (not in use)");
}

int run(const Options& options) {
    std::vector<std::string> paths = shm::list_named_segments();
    if (options.anonymous) {
        const auto more = shm::list_anonymous_segments();
        paths.insert(paths.end(), more.begin(), more.end());
    }
    Json all = Json::array();
    std::vector<std::vector<std::string>> rows{
        {bold("NAME"), bold("KIND"), bold("FILL"), bold("MEMBERS"), bold("MEMORY"), bold("OWNER")}};
    for (const std::string& path : paths) {
        shm::Failure failure;
        const auto inspector = shm::Inspector::open(path, failure);
        if (!inspector) {
            if (failure.error == ENOENT) {
                continue;  // removed since it was listed
            }
            const bool is_ours = shm::begins_as_segment(path);
            all.push_back({{"name", name_of(path)},
                           {"path", path},
                           {"damaged", is_ours},
                           {"error", failure.text}});
            rows.push_back({name_of(path), is_ours ? red("damaged") : dim("none of ours")});
            fmt::print(stderr, "sluice: {}\n", failure.text);
            continue;
        }
        const shm::Inspection seen = inspector->look();
        all.push_back(to_json(path, seen));
        for (const std::string& damage : seen.damages) {
            fmt::print(stderr, "sluice: {} is damaged: {}\n", path, damage);
        }
        rows.push_back({name_of(path),
                        seen.damages.empty() ? cut(kind_text(seen.facts))
                                             : red(cut(kind_text(seen.facts)) + ", damaged"),
                        fill_text(seen), users_text(seen), bytes_text(seen.facts.bytes_allocated),
                        owner_text(seen.facts)});
    }
    if (options.json) {
        print_json(all);
    } else if (rows.size() > 1) {
        print_table(rows);
    } else {
        fmt::print(stderr, "sluice: no named objects{}\n",
                   options.anonymous ? ", nor anonymous ones" : "; --anonymous shows the others");
    }
    return kGood;
}

}  // namespace

void add_ls(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command = add_command(app, "ls", "Lists the named objects, with their fill and users",
                                  "sluice ls --json | jq -r '.[].name'");
    command.add_flag("--anonymous", options->anonymous,
                     "Also objects without a name that processes of yours hold");
    add_json(command, options->json);
    command.callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace sluice::tool
