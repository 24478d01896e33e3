// Runs sluice-pipeline as its users do, and keeps what it printed and wrote.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

namespace sluice::pipeline::test {

class Program {
 public:
    /// Starts it in a process group of its own, with --json and --journal into the test's folder.
    explicit Program(const std::vector<std::string>& options) {
        std::vector<std::string> words{SLUICE_PIPELINE_PROGRAM, "--json", folder_ / "json",
                                       "--journal", folder_ / "journal"};
        words.insert(words.end(), options.begin(), options.end());
        std::vector<char*> arguments;
        for (std::string& word : words) {
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        const std::string out = folder_ / "out";
        const std::string err = folder_ / "err";
        pid_ = ::fork();
        if (pid_ == 0) {
            ::setpgid(0, 0);
            ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), STDOUT_FILENO);
            ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), STDERR_FILENO);
            ::execv(arguments[0], arguments.data());
            ::_exit(127);
        }
        ::setpgid(pid_, pid_);
    }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;
    ~Program() {
        if (!ended_) {
            ::kill(-pid_, SIGKILL);
            (void)end();
        }
    }

    /// Waits for its end; its exit code, or minus the signal that killed it.
    int end() {
        if (!ended_) {
            int status = 0;
            ::waitpid(pid_, &status, 0);
            ended_ = true;
            code_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
        }
        return code_;
    }
    void signal(int number) const { ::kill(pid_, number); }
    void signal_group(int number) const { ::kill(-pid_, number); }
    [[nodiscard]] bool group_is_empty() const { return ::kill(-pid_, 0) != 0; }

    /// The pids of its processes, in the order in which they were started.
    [[nodiscard]] std::vector<pid_t> children() const {
        const std::string pid = std::to_string(pid_);
        std::istringstream text(read_file("/proc/" + pid + "/task/" + pid + "/children"));
        std::vector<pid_t> pids;
        for (pid_t child = 0; text >> child;) {
            pids.push_back(child);
        }
        return pids;
    }
    /// Waits until so many children run.
    void wait_for_children(std::size_t count) const {
        while (children().size() < count && ::kill(pid_, 0) == 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }
    /// Waits until its journal has a line: then all of its stages are at work.
    void wait_for_journal() const {
        while (read_file(folder_ / "journal").empty() && ::kill(pid_, 0) == 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }

    [[nodiscard]] std::string out() const { return read_file(folder_ / "out"); }
    [[nodiscard]] std::string err() const { return read_file(folder_ / "err"); }
    [[nodiscard]] nlohmann::json json() const {
        return nlohmann::json::parse(read_file(folder_ / "json"));
    }
    [[nodiscard]] std::vector<nlohmann::json> journal() const {
        std::vector<nlohmann::json> entries;
        for (const std::string& line : lines_of(read_file(folder_ / "journal"))) {
            entries.push_back(nlohmann::json::parse(line));
        }
        return entries;
    }

 private:
    Folder folder_{};
    pid_t pid_{};
    int code_{};
    bool ended_{};
};

}  // namespace sluice::pipeline::test
