// sluice clean: removes names that nobody uses, on proof.
//
// Whoever has a named object mapped holds a shared kernel lock on its file, for life (mapping.cpp).
// So a granted exclusive lock is the proof that nobody has it, and keeps it true: who opens the
// name meanwhile is refused the shared lock, and looks again. Under the lock the name is compared
// once more with the file, the content is looked at, and the name is removed. Age proves nothing,
// and a stopped process holds its lock like any other.
//
// Without --yes the kernel is only asked whether the lock would be granted; nobody is disturbed.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <sluice/shm/inspect.hpp>

#include "command.hpp"
#include "objects.hpp"

namespace sluice::tool {
namespace {

struct Options {
    std::vector<std::string> names{};
    bool yes{};
    bool discard{};
    bool json{};
};

/// What becomes of one file, and why.
struct Verdict {
    std::string path{};
    bool removable{};
    bool removed{};
    std::string reason{};
};

class Descriptor {
 public:
    explicit Descriptor(int value) : value_(value) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (value_ >= 0) {
            ::close(value_);
        }
    }
    int get() const { return value_; }

 private:
    int value_;
};

bool leads_here(const std::string& path, int descriptor) {
    struct stat named {};
    struct stat opened {};
    return ::lstat(path.c_str(), &named) == 0 && ::fstat(descriptor, &opened) == 0 &&
           named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

// Takes the exclusive lock, or only asks whether it would be granted. Of a Manager's file on all of
// it: who has one of its objects holds a byte of that one's part.
bool is_unused(int descriptor, shm::SegmentKind kind, bool take) {
    struct flock request {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    request.l_len = kind == shm::SegmentKind::manager ? 0 : 1;
    return take ? ::fcntl(descriptor, F_OFD_SETLK, &request) == 0
                : ::fcntl(descriptor, F_OFD_GETLK, &request) == 0 && request.l_type == F_UNLCK;
}

std::string users_text(const shm::Inspection& seen) {
    std::vector<std::string> users;
    for (const shm::Participant& who : seen.participants) {
        if (who.vitality != shm::Vitality::dead) {
            users.push_back(who_text(who));
        }
    }
    return users.empty() ? "somebody has it open"
                         : fmt::format("in use by {}", fmt::join(users, ", "));
}

std::string content_text(const shm::Inspection& seen) {
    if (!seen.damages.empty()) {
        return "is damaged (" + seen.damages.front() + ")";
    }
    if (seen.flows.empty()) {
        const bool is_counted = !seen.gauges.empty() && !seen.gauges.front().in_bytes;
        return is_counted ? "holds " + fill_text(seen) : "holds what its users have put into it";
    }
    const bool in_bytes = seen.flows.front().in_bytes;
    return in_bytes
               ? fmt::format("holds {} of messages", bytes_text(seen.unread()))
               : fmt::format("holds {} message{}", seen.unread(), seen.unread() == 1 ? "" : "s");
}

Verdict judge(const std::string& path, const Options& options) {
    Verdict verdict{path, false, false, {}};
    const auto leave = [&](std::string why) {
        verdict.reason = std::move(why);
        return verdict;
    };
    const Descriptor file(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) {
        return leave(errno == ENOENT ? std::string("is gone already")
                     : errno == ELOOP
                         ? std::string("is a symbolic link: none of ours")
                         : "cannot be opened: " + std::generic_category().message(errno));
    }
    struct stat info {};
    if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
        return leave("is not a plain file: none of ours");
    }
    if (info.st_uid != ::geteuid()) {
        return leave(fmt::format("belongs to user {}", info.st_uid));
    }
    if (info.st_nlink != 1) {
        return leave("has another name, too: none of ours");
    }
    // The file that is open here, whatever its name leads to by now.
    shm::Failure failure;
    const auto inspector =
        shm::Inspector::open(fmt::format("/proc/self/fd/{}", file.get()), failure);
    if (!inspector) {
        return leave(shm::begins_as_segment(path)
                         ? "is damaged, half-made or of another version: remove it by hand"
                         : "is none of ours");
    }
    if (!is_unused(file.get(), inspector->facts().kind, options.yes)) {
        return leave(users_text(inspector->look()));
    }
    if (!leads_here(path, file.get())) {
        return leave("was made anew meanwhile");
    }
    const shm::Inspection seen = inspector->look();
    if (seen.holds_content() && !options.discard) {
        return leave(content_text(seen) + ": --discard removes it all the same");
    }
    verdict.removable = true;
    verdict.reason = "nobody has it open: the kernel grants an exclusive lock on it";
    if (options.yes) {
        if (::unlink(path.c_str()) != 0) {
            verdict.removable = false;
            return leave("unlink: " + std::generic_category().message(errno));
        }
        verdict.removed = true;
    }
    return verdict;
}

int run(const Options& options) {
    std::vector<std::string> paths;
    for (const std::string& name : options.names) {
        paths.push_back(path_of(name));
        if (::access(paths.back().c_str(), F_OK) != 0) {
            throw CommandError(kMissing,
                               paths.back() + " does not exist; `sluice ls` shows what does");
        }
    }
    if (options.names.empty()) {
        paths = shm::list_named_segments();
    }
    Json all = Json::array();
    bool left = false;
    bool waits = false;
    for (const std::string& path : paths) {
        const Verdict verdict = judge(path, options);
        left = left || !verdict.removable;
        waits = waits || (verdict.removable && !verdict.removed);
        const char* const action = verdict.removed     ? "removed"
                                   : verdict.removable ? "would remove"
                                                       : "left";
        all.push_back({{"name", name_of(path)},
                       {"path", path},
                       {"action", action},
                       {"reason", verdict.reason}});
        if (!options.json) {
            fmt::print("{} {}: {}\n", verdict.removable ? green(action) : yellow(action),
                       name_of(path), verdict.reason);
        }
    }
    if (options.json) {
        print_json(all);
    }
    if (waits) {
        fmt::print(stderr, "sluice: nothing was removed; --yes does it\n");
    }
    return left ? kFound : kGood;
}

}  // namespace

void add_clean(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command = add_command(
        app, "clean",
        "Tells which named objects nobody uses, on the kernel's proof; --yes removes them. Exit "
        "code 1: something was left",
        "sluice clean --yes");
    command.add_option("name", options->names, "Only these objects");
    command.add_flag("--yes", options->yes, "Remove them");
    command.add_flag("--discard", options->discard,
                     "Also those that still hold messages, or values");
    add_json(command, options->json);
    command.callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace sluice::tool
