// The untyped body of List<T>: the segment, the table in it, turns at it, errors. List adds what
// elements look like.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sluice/detail/growing.hpp"
#include "sluice/shm/fork.hpp"
#include "sluice/shm/list_table.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// How a List of some T is laid out. The last two count only for the maker.
struct ListShape {
    shm::ListShape element{};
    std::uint64_t type_signature{};
    std::string type_text{};
    Wait wait{};
    std::uint64_t max_bytes{};
    std::uint64_t first_number{};  // tests start near the wrap
};

class ListCore : public ObjectCore {
 public:
    /// Errors: as ObjectCore's; std::invalid_argument: a max_bytes that cannot be.
    ListCore(const Origin& origin, const ListShape& wanted);

    shm::ListTable& table() noexcept { return table_; }

    std::uint64_t size() const;
    /// All elements: of each its length (u64) and its bytes, padded.
    std::vector<std::byte> snapshot(std::uint64_t& count);

    /// True: done; false: there is no such element. Throws all else.
    bool check(shm::ListResult result, const shm::Shortage& shortage = {}) const;
    [[noreturn]] void throw_outside(std::int64_t index, std::uint64_t size) const;

 private:
    friend class ListTurn;

    shm::ListTable table_;
    shm::SpinBudget spin_{};
};

/// One thread's turn at the list.
class ListTurn {
 public:
    /// Errors: Error: this thread is changing an element of the same List.
    explicit ListTurn(ListCore& core) : core_(core), me_(core.me()) {
        UpdateFrame::refuse(core_.segment().nonce(), core_.object());
        static_cast<void>(core_.check(core_.table_.lock(me_, core_.how_to_wait(), core_.spin_)));
    }
    ListTurn(const ListTurn&) = delete;
    ListTurn& operator=(const ListTurn&) = delete;
    ~ListTurn() {
        // A child made by fork in the middle of it holds nothing.
        if (generation_ == shm::fork_generation) {
            core_.table_.unlock(me_);
        }
    }

    std::uint64_t size() const {
        std::uint64_t size = 0;
        static_cast<void>(core_.check(core_.table_.size_now(size)));
        return size;
    }
    /// Where an index leads, from the end where it is negative. Throws std::out_of_range.
    std::uint64_t place_of(std::int64_t index) const {
        const std::uint64_t size = this->size();
        const std::uint64_t at = index < 0 ? size + static_cast<std::uint64_t>(index)
                                           : static_cast<std::uint64_t>(index);
        if (at >= size) {
            core_.throw_outside(index, size);
        }
        return at;
    }
    std::vector<std::byte> element(std::uint64_t at) const;

    void append(shm::PaddedBytes element) {
        shm::Shortage shortage;
        static_cast<void>(
            core_.check(core_.table_.append(element.data, element.bytes, shortage), shortage));
    }
    void assign(std::uint64_t at, shm::PaddedBytes element) {
        shm::Shortage shortage;
        static_cast<void>(
            core_.check(core_.table_.assign(at, element.data, element.bytes, shortage), shortage));
    }
    void replace(std::span<const shm::ListTable::Source> sources) {
        shm::Shortage shortage;
        static_cast<void>(core_.check(core_.table_.replace(sources, shortage), shortage));
    }
    void extend(std::span<const shm::ListTable::Source> sources) {
        shm::Shortage shortage;
        static_cast<void>(core_.check(core_.table_.extend(sources, shortage), shortage));
    }
    /// In one step: `erased` elements from `at` on go, `inserted` come there.
    void splice(std::uint64_t at, std::uint64_t erased,
                std::span<const shm::ListTable::Source> inserted);

 private:
    ListCore& core_;
    shm::MemberId me_;
    std::uint32_t generation_{shm::fork_generation};
};

}  // namespace sluice::detail
