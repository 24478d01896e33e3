// The exceptions of Sluice. Outcomes (empty, full, timed out) are never exceptions; what the
// environment refuses is std::system_error; what the API itself forbids or finds broken is one of
// these.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace sluice {

/// The root of every exception that is Sluice's own.
class Error : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// The object was closed, or the other end's process died; what was in it has been drained.
class Closed : public Error {
 public:
    using Error::Error;
};

/// The named memory is not ours, is of another layout or another type, or is truncated.
class BadSegment : public Error {
 public:
    using Error::Error;
};

/// The caller may not do this here: an end that another process owns, a Process of another process.
class NotPermitted : public Error {
 public:
    using Error::Error;
};

/// A party of the barrier died, or it was aborted.
class BrokenBarrier : public Error {
 public:
    using Error::Error;
};

/// The last owner of the lock died holding it, and OnAbandoned::raise was asked for.
class OwnerDied : public Error {
 public:
    using Error::Error;
};

/// A task in another process ended with an exception; what() carries its type and its text.
class RemoteError : public Error {
 public:
    using Error::Error;
    /// Of that type and text.
    RemoteError(std::string type_name, const std::string& message)
        : Error(type_name + ": " + message), type_name_(std::move(type_name)), message_(message) {}

    /// The exception's type, as its author wrote it: "std::out_of_range".
    [[nodiscard]] const std::string& type_name() const noexcept { return type_name_; }
    /// Its what(), alone.
    [[nodiscard]] const std::string& message() const noexcept { return message_; }

 private:
    std::string type_name_{};
    std::string message_{};
};

/// The worker that ran the task died.
class WorkerDied : public Error {
 public:
    using Error::Error;
    /// How it ended. signal, exit_code: the one that it was; the other is 0. pid: the worker's.
    /// task: which task it ran.
    struct End {
        pid_t pid{};
        int signal{};
        int exit_code{};
        std::uint64_t task{};
    };
    /// With this text.
    WorkerDied(const std::string& what, const End& end) : Error(what), end_(end) {}

    /// The worker's.
    [[nodiscard]] pid_t pid() const noexcept { return end_.pid; }
    /// The signal that killed it; 0 if it exited.
    [[nodiscard]] int signal() const noexcept { return end_.signal; }
    [[nodiscard]] int exit_code() const noexcept { return end_.exit_code; }
    /// Which task: the how-manieth that the Pool was given, from 1.
    [[nodiscard]] std::uint64_t task() const noexcept { return end_.task; }

 private:
    End end_{};
};

}  // namespace sluice
