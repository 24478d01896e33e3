// The untyped body of Dict<K, V>: the segment, the table in it, turns at its stripes, errors. Dict
// adds what keys and values look like.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sluice/detail/growing.hpp"
#include "sluice/shm/dict_table.hpp"
#include "sluice/shm/fork.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// How a Dict of some K and V is laid out. The last three count only for the maker.
struct DictShape {
    shm::NodeShape node{};
    std::uint64_t type_signature{};
    std::string type_text{};
    Wait wait{};
    std::uint32_t stripes{};
    std::uint64_t max_bytes{};
    std::uint64_t first_number{};  // tests start near the wrap
};

class DictCore : public ObjectCore {
 public:
    /// Errors: as ObjectCore's; std::invalid_argument: a max_bytes that cannot be.
    DictCore(const Origin& origin, const DictShape& wanted);

    shm::DictTable& table() noexcept { return table_; }

    /// After each read: what a dead one's step has left is finished.
    void settle(shm::DictResult result) {
        if (result == shm::DictResult::damaged) [[unlikely]] {
            throw_damaged();
        }
        if (table_.step_is_open()) [[unlikely]] {
            // Who finds no place among the participants leaves it to others.
            table_.mend_step(members().id());
        }
    }

    void step(shm::DictTable::StepKind kind, std::span<const shm::DictChange> changes);
    std::vector<shm::StripeCopy> snapshot(shm::DictTable::CopyWhat what);
    std::uint64_t size();

 private:
    friend class DictTurn;

    void check(shm::DictResult result, const shm::Shortage& shortage) const;

    shm::DictTable table_;
    shm::SpinBudget spin_{};
};

/// One thread's turn at the stripe of a key.
class DictTurn {
 public:
    /// Errors: Error: this thread is changing a value of the same Dict.
    DictTurn(DictCore& core, std::uint64_t hash, shm::PaddedBytes key)
        : core_(core), me_(core.me()), hash_(hash), key_(key) {
        UpdateFrame::refuse(core_.segment().nonce(), core_.object());
        core_.check(core_.table_.lock(stripe(), me_, core_.how_to_wait(), core_.spin_), {});
        try {
            found_ = core_.table_.find(hash_, key_, place_);
            core_.check(found_, {});
        } catch (...) {
            end();
            throw;
        }
    }
    DictTurn(const DictTurn&) = delete;
    DictTurn& operator=(const DictTurn&) = delete;
    ~DictTurn() { end(); }

    bool found() const noexcept { return found_ == shm::DictResult::done; }
    /// The value that was found. It stands still: this thread alone writes here.
    std::vector<std::byte> value() const;
    void put(shm::PaddedBytes value) {
        shm::Shortage shortage;
        core_.check(core_.table_.put(hash_, key_, value, place_, shortage), shortage);
    }
    void erase() noexcept { core_.table_.erase(hash_, place_); }

 private:
    std::uint32_t stripe() const noexcept { return core_.table_.stripe_of(hash_); }
    void end() noexcept {
        // A child made by fork in the middle of it holds nothing.
        if (generation_ == shm::fork_generation) {
            core_.table_.unlock(stripe(), me_);
        }
    }

    DictCore& core_;
    shm::MemberId me_;
    std::uint32_t generation_{shm::fork_generation};
    std::uint64_t hash_;
    shm::PaddedBytes key_;
    shm::DictTable::Place place_{};
    shm::DictResult found_{};
};

}  // namespace sluice::detail
