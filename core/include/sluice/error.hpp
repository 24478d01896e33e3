// The exceptions of Sluice. Outcomes (empty, full, timed out) are never exceptions; what the
// environment refuses is std::system_error; what the API itself forbids or finds broken is one of
// these.
#pragma once

#include <stdexcept>
#include <string>

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

/// A task in another process ended with an exception; what() carries its text.
class RemoteError : public Error {
 public:
    using Error::Error;
};

/// The worker that ran the task died.
class WorkerDied : public Error {
 public:
    using Error::Error;
};

}  // namespace sluice
