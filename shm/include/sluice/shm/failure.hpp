// How the cold paths of shm/ (create, open, attach) say what went wrong. The hot paths
// return enums; core/ turns a Failure into the exception that design and docs promise.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

namespace sluice::shm {

enum class FailureKind : std::uint8_t {
    none,
    environment,    // the kernel refused: `error` is errno, `text` names the object and the call
    bad_segment,    // the memory is not ours, of another layout or type, truncated
    not_permitted,  // of another user, or a mode that forbids it
    bad_argument,   // a name or a number that cannot work
};

/// What went wrong, for people: `text` names the thing, the failing call and the mend.
struct Failure {
    FailureKind kind{};
    int error{};
    std::string text{};

    explicit operator bool() const noexcept { return kind != FailureKind::none; }

    void environment(std::string what) {
        error = errno;
        kind = FailureKind::environment;
        text = std::move(what);
    }
    void set(FailureKind which, std::string what) {
        kind = which;
        text = std::move(what);
    }
};

}  // namespace sluice::shm
