// The bodies of Lock and RLock: the word in the segment, waiting, errors. What the words of locks
// answer, here, in an RWLock and in what has writers, is put in words once.
#pragma once

#include <cstdint>
#include <string_view>

#include "sluice/detail/object_core.hpp"
#include "sluice/shm/lock_word.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// What a lock's answers are in words.
struct LockTexts {
    std::string_view deadlock{};
    std::string_view abandoned{};
};
/// True: it is ours; false: it timed out. Throws what else it came to, in the object's name.
bool settle(const ObjectCore& core, shm::LockResult result, const LockTexts& texts);
[[noreturn]] void throw_not_held(const ObjectCore& core);
/// The end of an object in this process: what this thread holds is as if it had died with it, for
/// nobody could give it back any more.
template <class Word>
void abandon_held(const ObjectCore& core, Word& word) noexcept {
    // Without becoming a member for it: who is none holds nothing.
    if (const shm::MemberId me = core.members().id_if_any(); me != shm::kNobody) {
        word.abandon(me);
    }
}
/// OnAbandoned, as it is noted in a segment's options.
std::uint32_t option_of(shm::IfAbandoned if_abandoned) noexcept;
shm::IfAbandoned if_abandoned_of(const ObjectCore& core) noexcept;

/// Lock's: not to be taken again by its owner.
class LockCore : public ObjectCore {
 public:
    static constexpr std::string_view kNoun = "Lock";

    explicit LockCore(const Origin& origin, Wait wait = {}, shm::IfAbandoned if_abandoned = {});
    ~LockCore() { abandon_held(*this, word_); }

    void lock() {
        if (!word_.try_lock_now(me())) [[unlikely]] {
            static_cast<void>(lock_slowly(Deadline::never()));
        }
    }
    bool try_lock() { return word_.try_lock_now(me()) || try_lock_slowly(); }
    bool lock_until(Deadline deadline) { return word_.try_lock_now(me()) || lock_slowly(deadline); }
    void unlock() { give_back(me()); }

    // For Condition: all of it, however often it is held, and back.
    std::uint32_t release_all();
    void reacquire(std::uint32_t depth);

    /// Changes with each death of an owner that is noticed; this looks for one. (A count that wraps
    /// round after 16,384.)
    std::uint32_t rescues() noexcept { return word_.rescues(); }

    bool is_held() { return word_.is_held_by(me()); }
    bool is_locked() const noexcept { return word_.is_locked(); }
    bool is_abandoned() const noexcept { return word_.is_abandoned(); }
    void repair();

 protected:
    LockCore(const Origin& origin, const ObjectShape& shape);
    /// True: it is ours; false: the deadline passed.
    bool take(shm::MemberId me, Deadline deadline) {
        return word_.try_lock_now(me) || settle(attempt(deadline, me));
    }
    void give_back(shm::MemberId me) {
        if (!word_.unlock_now(me)) [[unlikely]] {
            unlock_slowly();
        }
    }
    bool settle(shm::LockResult result) const;
    shm::LockWord& word() noexcept { return word_; }
    std::uint32_t depth() const noexcept;
    void set_depth(std::uint32_t depth) noexcept;

 private:
    bool lock_slowly(Deadline deadline);
    bool try_lock_slowly();
    void unlock_slowly();
    shm::LockResult attempt(Deadline deadline, shm::MemberId me) noexcept {
        return word_.lock(me, how_to_wait(), spin_, deadline, if_abandoned_);
    }

    shm::LockWord word_;
    shm::IfAbandoned if_abandoned_;
    shm::SpinBudget spin_{};
};

/// RLock's: its owner counts. (What Condition does with a LockCore is the same of both.)
class RLockCore : public LockCore {
 public:
    static constexpr std::string_view kNoun = "RLock";

    explicit RLockCore(const Origin& origin, Wait wait = {}, shm::IfAbandoned if_abandoned = {});

    void lock() { static_cast<void>(lock_until(Deadline::never())); }
    bool try_lock() { return lock_until(Deadline::passed()); }
    bool lock_until(Deadline deadline);
    void unlock();
};

}  // namespace sluice::detail
