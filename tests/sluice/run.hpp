// Runs `sluice` as its users do, and keeps what it wrote.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace sluice::tool::test {

/// What one run came to.
struct Ran {
    int code{};
    std::string out{};
    std::string err{};

    nlohmann::json json() const { return nlohmann::json::parse(out); }
    std::vector<std::string> lines() const {
        std::vector<std::string> all;
        std::istringstream text(out);
        for (std::string line; std::getline(text, line);) {
            all.push_back(line);
        }
        return all;
    }
};

/// A file without a name, to catch what a child writes.
class Catch {
 public:
    Catch() : file_(std::tmpfile()) {
        if (file_ == nullptr) {
            throw std::runtime_error("tmpfile");
        }
    }
    explicit Catch(const std::string& text) : Catch() {
        std::fwrite(text.data(), 1, text.size(), file_);
        std::rewind(file_);
    }
    Catch(const Catch&) = delete;
    Catch& operator=(const Catch&) = delete;
    ~Catch() { std::fclose(file_); }

    int descriptor() const { return fileno(file_); }
    std::string text() const {
        std::string all;
        char chunk[4096];
        std::rewind(file_);
        for (std::size_t count = 0; (count = std::fread(chunk, 1, sizeof chunk, file_)) > 0;) {
            all.append(chunk, count);
        }
        return all;
    }

 private:
    std::FILE* file_;
};

/// A program that runs beside the test. Destroyed: killed, if it still runs.
class Running {
 public:
    Running(const std::vector<std::string>& words, const std::string& input = {}) : in_(input) {
        std::vector<char*> arguments;
        std::vector<std::string> copies = words;
        for (std::string& word : copies) {
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        pid_ = fork();
        if (pid_ == 0) {
            dup2(in_.descriptor(), STDIN_FILENO);
            dup2(out_.descriptor(), STDOUT_FILENO);
            dup2(err_.descriptor(), STDERR_FILENO);
            execvp(arguments[0], arguments.data());
            _exit(127);
        }
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() {
        if (pid_ > 0) {
            kill(pid_, SIGKILL);
            static_cast<void>(end());
        }
    }

    Ran end() {
        int status = 0;
        while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), out_.text(),
                err_.text()};
    }
    pid_t pid() const { return pid_; }

 private:
    Catch in_;
    Catch out_{};
    Catch err_{};
    pid_t pid_{-1};
};

inline Ran run(const std::vector<std::string>& words, const std::string& input = {}) {
    return Running(words, input).end();
}

/// `sluice` with these words.
inline Ran sluice_command(std::vector<std::string> words, const std::string& input = {}) {
    words.insert(words.begin(), SLUICE_TOOL);
    return run(words, input);
}

inline std::string read_file(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// The entry of that name in what `--json` of ls, top or clean wrote.
inline nlohmann::json entry_of(const nlohmann::json& all, const std::string& name) {
    for (const auto& entry : all) {
        if (entry.at("name") == name) {
            return entry;
        }
    }
    ADD_FAILURE() << name << " is missing";
    return {};
}

}  // namespace sluice::tool::test
