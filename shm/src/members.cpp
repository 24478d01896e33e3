// Joining and leaving a segment, and the thread-local table of ids.
#include "sluice/shm/members.hpp"

#include <pthread.h>

#include <cerrno>
#include <new>
#include <unordered_map>

#include "sluice/shm/fence.hpp"

namespace sluice::shm {

namespace detail {
constinit thread_local IdCache id_cache{};
}  // namespace detail

namespace {

// Serial number of a view -> this thread's id in it. Serials are never used twice in a process, so
// an entry of a view that has gone is dead weight, nothing worse. Cleared in a child: it is a
// member of nothing yet. A bare pointer beside its janitor: objects that outlive the thread's
// storage (a static Queue) find null.
using Memberships = std::unordered_map<std::uint64_t, MemberId>;
constinit thread_local Memberships* memberships = nullptr;
struct Janitor {
    bool armed{false};
    ~Janitor() {
        delete memberships;
        memberships = nullptr;
        detail::id_cache = {};
    }
};
thread_local Janitor janitor;

std::atomic<std::uint64_t> next_serial{1};

void forget_ids_in_child() noexcept {
    detail::id_cache = {};
    if (memberships != nullptr) {
        memberships->clear();
    }
}

const bool registered = pthread_atfork(nullptr, nullptr, forget_ids_in_child) == 0;

}  // namespace

void Members::attach(MembersLayout* layout, std::uint32_t capacity, Registry* registry) noexcept {
    static_cast<void>(registered);
    layout_ = layout;
    capacity_ = capacity;
    registry_ = registry;
    serial_ =
        next_serial.fetch_add(1, std::memory_order_relaxed);  // a unique number, orders nothing
    number_ = static_cast<std::uint32_t>(serial_ % detail::IdCache::kEntries);
}

MemberId Members::join(Failure& failure) noexcept {
    std::uint64_t& tagged = detail::id_cache.tagged[number_];
    if (memberships == nullptr) {
        memberships = new (std::nothrow) Memberships;
        if (memberships == nullptr) {
            errno = ENOMEM;
            failure.environment("joining an object");
            return kNobody;
        }
        janitor.armed = true;  // touches it, so that its destructor runs at the thread's end
    }
    if (const auto known = memberships->find(serial_); known != memberships->end()) {
        tagged = (serial_ << 16U) | known->second;
        return known->second;
    }
    BellReference bell;
    if (!registry_->arm_this_thread(bell, failure)) {
        return kNobody;
    }
    // Before the first operation: a lock is given back by a plain store (fence.hpp).
    static_cast<void>(register_for_heavy_fence());
    const std::uint64_t mine = word_of(bell);
    // Free cells first, then, after a rescue, once more.
    for (int round = 0; round < 2; ++round) {
        // relaxed: a hint for round robin
        const std::uint32_t start = layout_->next.fetch_add(1, std::memory_order_relaxed);
        for (std::uint32_t step = 0; step < capacity_; ++step) {
            const auto id = static_cast<MemberId>((start + step) % capacity_ + 1U);
            std::uint64_t free_cell = 0;
            if (cell(id).load(std::memory_order_relaxed) == 0 &&  // checked by the exchange
                cell(id).compare_exchange_strong(free_cell, mine, std::memory_order_acq_rel,
                                                 std::memory_order_relaxed)) {  // R1 A2
                if (step != 0) {
                    layout_->next.store(start + step + 1U, std::memory_order_relaxed);  // a hint
                }
                memberships->emplace(serial_, id);
                tagged = (serial_ << 16U) | id;
                return id;
            }
        }
        if (rescue() == 0) {
            break;
        }
    }
    errno = EAGAIN;
    failure.environment("all " + std::to_string(capacity_) +
                        " places of this object are taken by living threads");
    return kNobody;
}

MemberId Members::id_if_any() const noexcept {
    if (memberships == nullptr) {
        return kNobody;
    }
    const auto known = memberships->find(serial_);
    return known != memberships->end() ? known->second : kNobody;
}

bool Members::is_this_threads(MemberId id) const noexcept {
    BellReference bell;
    Failure ignored;
    // relaxed: a thread's cells change only by itself while it lives
    return id != kNobody && id <= capacity_ && registry_->arm_this_thread(bell, ignored) &&
           cell(id).load(std::memory_order_relaxed) == word_of(bell);
}

bool Members::has_ended(MemberId id) const noexcept {
    if (id == kNobody || id > capacity_) {
        return false;
    }
    const std::uint64_t word = cell(id).load(std::memory_order_acquire);  // A1
    return word != 0 && registry_->has_ended(reference_of(word));
}

FutexWatch Members::watch(MemberId id) const noexcept {
    if (id == kNobody || id > capacity_) {
        return {};
    }
    const std::uint64_t word = cell(id).load(std::memory_order_acquire);  // A1
    return word == 0 ? FutexWatch{} : registry_->watch(reference_of(word));
}

bool Members::retire(MemberId id, std::uint64_t word) noexcept {
    if (sweeper_.sweep != nullptr) {
        sweeper_.sweep(sweeper_.object, id, DeadTenant(cell(id), word));
    }
    registry_->pass_on(reference_of(word));
    // Last: until here everybody may repeat the rescue from the top. R2
    return cell(id).compare_exchange_strong(word, 0, std::memory_order_acq_rel,
                                            std::memory_order_relaxed);
}

bool Members::rescue(MemberId id) noexcept {
    if (id == kNobody || id > capacity_) {
        return false;
    }
    const std::uint64_t word = cell(id).load(std::memory_order_acquire);  // A1
    return word != 0 && registry_->has_ended(reference_of(word)) && retire(id, word);
}

bool Members::sweep_vacant(MemberId id) noexcept {
    // relaxed: checked by the exchange
    if (id == kNobody || id > capacity_ || sweeper_.sweep == nullptr ||
        cell(id).load(std::memory_order_relaxed) != 0) {
        return false;
    }
    BellReference bell;
    Failure ignored;
    if (!registry_->arm_this_thread(bell, ignored)) {
        return false;
    }
    std::uint64_t free_cell = 0;
    const std::uint64_t mine = word_of(bell);
    if (!cell(id).compare_exchange_strong(free_cell, mine, std::memory_order_acq_rel,
                                          std::memory_order_relaxed)) {  // R1 A2
        return false;
    }
    return retire(id, mine);
}

unsigned Members::rescue() noexcept {
    unsigned rescued = 0;
    for (std::uint32_t index = 0; index < capacity_; ++index) {
        const auto id = static_cast<MemberId>(index + 1U);
        rescued += rescue(id) ? 1U : 0U;
    }
    return rescued;
}

void Members::leave() noexcept {
    if (layout_ == nullptr || memberships == nullptr) {
        return;
    }
    // Only this thread's own id: other threads' bells tell of their end, and the sweep frees
    // theirs.
    if (const auto known = memberships->find(serial_); known != memberships->end()) {
        const MemberId id = known->second;
        std::uint64_t word = cell(id).load(std::memory_order_relaxed);  // our own cell
        memberships->erase(known);
        detail::id_cache.tagged[number_] = 0;
        // No sweep: handles keep the view alive, so no claim of ours is left. R2
        cell(id).compare_exchange_strong(word, 0, std::memory_order_acq_rel,
                                         std::memory_order_relaxed);
    }
}

}  // namespace sluice::shm
