// The untyped body of List<T>: the segment, the table in it, turns at it, errors. List adds what
// elements look like.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/detail/growing.hpp"
#include "sluice/shm/fork.hpp"
#include "sluice/shm/list_table.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

class Unparcel;

/// How a List of some T is laid out. The last two count only for the maker.
struct ListShape {
    shm::ListShape element{};
    std::uint64_t type_signature{};
    std::string type_text{};
    Wait wait{};
    std::uint64_t max_bytes{};
    std::uint64_t first_number{};  // tests start near the wrap
};

class ListCore {
 public:
    static std::shared_ptr<ListCore> make(const shm::SegmentPlace& place, SyncOpen how,
                                          const ListShape& shape, const shm::MemoryOptions& memory,
                                          unsigned permissions);
    /// The one that a parent passed to this process: see detail/parcel.hpp.
    static std::shared_ptr<ListCore> unpack(Unparcel& parcel, const ListShape& shape);
    static void unlink(std::string_view name);
    /// For who makes or opens the segment himself.
    static shm::SegmentSpec spec_of(const ListShape& shape);
    static void initialise(shm::Segment& made, const ListShape& shape) noexcept;
    /// Errors: BadSegment: what the header says does not fit.
    ListCore(std::shared_ptr<shm::Segment> segment, const ListShape& wanted);
    ListCore(const ListCore&) = delete;
    ListCore& operator=(const ListCore&) = delete;

    shm::ListTable& table() noexcept { return table_; }
    const shm::Segment& segment() const noexcept { return *segment_; }
    const std::string& object() const noexcept { return object_; }

    std::uint64_t size() const;
    /// All elements: of each its length (u64) and its bytes, padded.
    std::vector<std::byte> snapshot(std::uint64_t& count);

    /// True: done; false: there is no such element. Throws all else.
    bool check(shm::ListResult result, const shm::Shortage& shortage = {}) const;
    [[noreturn]] void throw_outside(std::int64_t index, std::uint64_t size) const;

 private:
    friend class ListTurn;

    shm::MemberId me() {
        const shm::MemberId id = segment_->members().id();
        return id != shm::kNobody ? id : join_segment(*segment_, object_);
    }

    std::shared_ptr<shm::Segment> segment_;
    std::string object_;
    shm::ListTable table_;
    Wait wait_{};
    shm::SpinBudget spin_{};
};

/// One thread's turn at the list.
class ListTurn {
 public:
    /// Errors: Error: this thread is changing an element of the same List.
    explicit ListTurn(ListCore& core) : core_(core), me_(core.me()) {
        UpdateFrame::refuse(core_.segment_->nonce(), core_.object_);
        static_cast<void>(core_.check(core_.table_.lock(me_, core_.wait_, core_.spin_)));
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
