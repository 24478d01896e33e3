// The untyped body of Guarded<T> and Value<T>: the segment, the lock, the two buffers. They add
// what a T looks like.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/detail/object_core.hpp"
#include "sluice/detail/writer_lock.hpp"
#include "sluice/shm/fork.hpp"
#include "sluice/shm/guarded_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// How a guarded value of some T is laid out.
struct GuardedShape {
    std::span<const std::byte> initial{};  // whole words, but where bytes_max is given
    std::uint64_t type_signature{};
    std::string type_text{};
    Wait wait{};
    std::size_t bytes_max{};  // 0: all values have the first one's length
    shm::SegmentKind kind{shm::SegmentKind::guarded};
    std::string_view noun{"Guarded"};
};

class GuardedCore : public ObjectCore {
 public:
    GuardedCore(const Origin& origin, const GuardedShape& shape);

    // As WriterLock's.
    bool begin(Deadline deadline) { return writer_.begin(deadline); }
    bool try_begin() { return writer_.try_begin(); }
    void end() noexcept { writer_.end(); }
    bool is_writer() noexcept { return writer_.is_writer(); }
    [[noreturn]] void throw_not_writer() const;
    WriterLock& writer() noexcept { return writer_; }

    // Of values that differ in length (bytes_max was given).
    std::vector<std::byte> read_sized() const;
    /// Throws std::length_error, which names the sizes: nothing has happened then.
    void commit_sized(std::span<const std::byte> value);

    shm::GuardedWord& word() noexcept { return word_; }

 private:
    shm::GuardedWord word_;
    WriterLock writer_;
};

}  // namespace sluice::detail
