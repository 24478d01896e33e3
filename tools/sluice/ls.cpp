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

std::string users_text(const shm::Inspection& seen) {
    const std::size_t dead = count_of(seen, shm::Vitality::dead);
    const std::size_t stopped = count_of(seen, shm::Vitality::stopped);
    std::string text = std::to_string(seen.participants.size() - dead);
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
    std::vector<std::vector<std::string>> rows{{bold("NAME"), bold("KIND"), bold("DEPTH"),
                                                bold("MEMBERS"), bold("MEMORY"), bold("OWNER")}};
    for (const std::string& path : paths) {
        shm::Failure failure;
        const auto inspector = shm::Inspector::open(path, failure);
        if (!inspector) {
            if (failure.error == ENOENT) {
                continue;  // removed since it was listed
            }
            all.push_back({{"name", name_of(path)}, {"path", path}, {"error", failure.text}});
            rows.push_back({name_of(path), dim("none of ours")});
            fmt::print(stderr, "sluice: {}\n", failure.text);
            continue;
        }
        const shm::Inspection seen = inspector->look();
        all.push_back(to_json(path, seen));
        rows.push_back({name_of(path), kind_text(seen.facts), depth_text(seen), users_text(seen),
                        bytes_text(seen.facts.bytes_allocated), owner_text(seen.facts)});
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
