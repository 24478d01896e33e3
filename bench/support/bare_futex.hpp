// The floor of a parked round trip: two words, each side sleeps on its own in the kernel. Nothing
// is carried and nothing is checked, so whatever wakes a process pays at least this.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "contestant.hpp"
#include "shared_arena.hpp"

namespace sluice::bench {

// Ordering ledger
//   R1 store of the other's word -> A1 : it continues after whatever was written before
class TwoBareFutexes final : public Contestant {
 public:
    explicit TwoBareFutexes(SharedArena& arena)
        : there_(arena.make<Word>()), back_(arena.make<Word>()) {}

    void run(const Block& block) override {
        Word& mine = block.role == 0 ? back_ : there_;
        Word& theirs = block.role == 0 ? there_ : back_;
        std::uint32_t number =
            theirs.number.load(std::memory_order_relaxed);  // only this role writes it
        for (std::uint64_t i = 0; i < block.count; ++i) {
            if (block.stamps != nullptr) {
                block.stamps[i] = stamp();
            }
            ++number;
            if (block.role == 0) {
                post(theirs, number);
            }
            wait_for(mine, number);
            if (block.role == 1) {
                post(theirs, number);
            }
        }
        if (block.stamps != nullptr) {
            block.stamps[block.count] = stamp();
        }
    }
    bool can_stamp() const override { return true; }

 private:
    struct alignas(kFarApartBytes) Word {
        std::atomic<std::uint32_t> number{0};
    };
    static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

    static void post(Word& word, std::uint32_t number) {
        word.number.store(number, std::memory_order_release);  // R1
        syscall(SYS_futex, &word.number, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    }
    static void wait_for(Word& word, std::uint32_t number) {
        while (word.number.load(std::memory_order_acquire) != number) {  // A1
            syscall(SYS_futex, &word.number, FUTEX_WAIT, number - 1, nullptr, nullptr, 0);
        }
    }

    Word& there_;
    Word& back_;
};

}  // namespace sluice::bench
