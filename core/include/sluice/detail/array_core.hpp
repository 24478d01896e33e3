// The untyped body of Array<T>: the segment, the lock, what of an index is out of range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "sluice/detail/object_core.hpp"
#include "sluice/detail/writer_lock.hpp"
#include "sluice/shm/array_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// How an array of some T is laid out.
struct ArrayShape {
    std::uint64_t count{};
    std::span<const std::byte> first{};  // what each element is at first
    std::uint64_t type_signature{};
    std::string type_text{};
    Wait wait{};
};

class ArrayCore : public ObjectCore {
 public:
    /// Throws as Array's makers say.
    ArrayCore(const Origin& origin, const ArrayShape& shape);

    /// From Python's: -1 is the last. Throws std::out_of_range.
    std::uint64_t index(std::int64_t given) const {
        const auto count = static_cast<std::int64_t>(word_.count());
        const std::int64_t index = given < 0 ? given + count : given;
        if (index < 0 || index >= count) [[unlikely]] {
            throw_out_of_range(given);
        }
        return static_cast<std::uint64_t>(index);
    }
    [[noreturn]] void throw_length(std::size_t given) const;

    shm::ArrayWord& word() noexcept { return word_; }
    WriterLock& writer() noexcept { return writer_; }

 private:
    [[noreturn]] void throw_out_of_range(std::int64_t given) const;

    shm::ArrayWord word_;
    WriterLock writer_;
};

}  // namespace sluice::detail
