// pipe(2): what a program without shared memory has. It sleeps in the kernel when it waits, so its
// round trip holds two wake-ups; it stands here for scale, not as a rival.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "support/contestant.hpp"
#include "support/shared_arena.hpp"

namespace sluice::bench {

template <class T>
class UnixPipe {
 public:
    using Value = T;
    explicit UnixPipe(SharedArena&) {
        if (pipe2(ends_, O_CLOEXEC) != 0) {
            throw std::system_error(errno, std::generic_category(), "pipe2");
        }
    }
    ~UnixPipe() {
        close(ends_[0]);
        close(ends_[1]);
    }
    UnixPipe(const UnixPipe&) = delete;
    UnixPipe& operator=(const UnixPipe&) = delete;

    // Below PIPE_BUF a write is whole, and the reads take the same sizes: no loop over parts is
    // needed.
    void put(const T& value) {
        if (write(ends_[1], &value, sizeof value) != sizeof value) {
            fail("pipe(2): short write");
        }
    }
    T get() {
        T value;
        if (read(ends_[0], &value, sizeof value) != sizeof value) {
            fail("pipe(2): short read");
        }
        return value;
    }
    // In a crowd too it waits in the kernel, which is what it is for.
    bool try_put(const T& value) {
        put(value);
        return true;
    }
    bool try_get(T& value) {
        value = get();
        return true;
    }

 private:
    int ends_[2]{};
};

}  // namespace sluice::bench
