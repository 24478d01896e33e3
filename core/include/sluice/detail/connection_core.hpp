// The untyped body of a Connection: who owns which end, closing, the death of the other side,
// waiting. Connection<T> and ByteConnection add the ring and the values.
//
// The body of a pipe's segment: PipeLayout, then the ring first->second, then the ring
// second->first.
//
// An end belongs to one process. EndLayout::owner goes
//   nobody -> a process's nonce          the first that uses the end
//   nobody or mine -> handed_over        Process::start() with the end among its arguments
//   handed_over -> the child's nonce     the child, before its target runs
// Ends of dead owners are closed by whoever waits for them, on proof (shm/registry.hpp), never on a
// time-out.
//
// Ordering ledger
//   R1 owner, identity_known -> A1 : who sees them sees the identity of an adopted end
//   R2 peer_bell_.word -> A2       : who follows it finds the value that it had
//   R3 generation_ -> A3           : the thread of the other direction finds the end taken up
//   R4 ForkSafeLock: released -> A4 : who takes it sees what was done under it
//   The rings' own orders are in shm/spsc_ring.hpp and shm/byte_ring.hpp.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/detail/object_core.hpp"
#include "sluice/shm/fork.hpp"
#include "sluice/shm/pipe_ends.hpp"
#include "sluice/shm/segment.hpp"
#include "sluice/shm/spsc_ring.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

using shm::EndLayout;
using shm::PipeLayout;

enum class Side : std::uint8_t { first = 0, second = 1 };
constexpr Side other(Side side) noexcept {
    return side == Side::first ? Side::second : Side::first;
}

class Parcel;
class Unparcel;

/// A pipe's memory and what all its handles in this process share.
class PipeSegment {
 public:
    static constexpr std::uint32_t kWaitMask = shm::SegmentOptions::kWaitMask;
    static constexpr std::uint32_t kSimplexOption = shm::SegmentOptions::kPipeSimplex;

    explicit PipeSegment(std::shared_ptr<shm::Segment> segment, std::string object)
        : segment_(std::move(segment)), object_(std::move(object)) {}

    shm::Segment& segment() const noexcept { return *segment_; }
    EndLayout& end(Side side) const noexcept {
        return reinterpret_cast<PipeLayout*>(segment_->body())->ends[static_cast<int>(side)];
    }
    const std::string& object() const noexcept { return object_; }
    bool duplex() const noexcept { return (segment_->options() & kSimplexOption) == 0; }
    Wait wait() const noexcept { return static_cast<Wait>(segment_->options() & kWaitMask); }

 private:
    std::shared_ptr<shm::Segment> segment_;
    std::string object_;
};

/// A lock between the threads of one process, for rare and short work. A child made by fork while
/// another thread held it finds it free: the holder is not there.
class ForkSafeLock {
 public:
    void lock() noexcept {
        const std::uint32_t mine = shm::fork_generation;
        for (;;) {
            // checked by the exchange
            std::uint32_t seen = holder_.load(std::memory_order_relaxed);
            if (seen != mine &&
                holder_.compare_exchange_weak(seen, mine, std::memory_order_acquire,  // A4
                                              std::memory_order_relaxed)) {
                return;
            }
            sched_yield();
        }
    }
    void unlock() noexcept { holder_.store(0, std::memory_order_release); }  // R4

 private:
    // the fork_generation of the process whose thread holds it; 0: free
    std::atomic<std::uint32_t> holder_{};
};

/// One end, as this process sees it. Copies of a Connection share it.
class ConnectionCore {
 public:
    /// `send` and `receive`: the gates of the two rings, seen from this end; null where the pipe is
    /// one-way.
    ConnectionCore(std::shared_ptr<PipeSegment> pipe, Side side, shm::GateLayout* send,
                   shm::GateLayout* receive);
    ConnectionCore(const ConnectionCore&) = delete;
    ConnectionCore& operator=(const ConnectionCore&) = delete;
    virtual ~ConnectionCore();

    /// Before each operation: this process owns the end, or takes it now. Two loads when it does.
    void own() {
        // A3: the thread of the other direction may have taken the end, and its positions.
        if (generation_.load(std::memory_order_acquire) != shm::fork_generation) [[unlikely]] {
            take();
        }
    }
    /// As own(), for an operation of one direction. Throws NotPermitted where the pipe is one-way.
    shm::GateLayout& own_sender() {
        own();
        if (send_ == nullptr) [[unlikely]] {
            refuse_direction("receives", "send");
        }
        return *send_;
    }
    shm::GateLayout& own_receiver() {
        own();
        if (receive_ == nullptr) [[unlikely]] {
            refuse_direction("sends", "receive");
        }
        return *receive_;
    }

    /// Throws Closed when this end, or for a sender the other one, has ended. Call before each
    /// send.
    void check_sendable() {
        if (send_->closed.load(std::memory_order_acquire) != 0 ||  // closed: see the ring
            peer_may_be_dead()) [[unlikely]] {
            check_sendable_slowly();
        }
    }
    /// Whether the sender of what we receive has closed or died. Read it before looking at the
    /// ring: then an empty ring is drained for good.
    bool sender_ended() noexcept {
        if (receive_->sender_closed()) [[unlikely]] {
            return true;
        }
        return (peer_may_be_dead() || is_time_to_look()) && close_dead_peer(Ask::sparingly);
    }
    [[noreturn]] void throw_closed() const;
    [[noreturn]] void throw_damaged() const;

    /// Waits on one side of a gate until `attempt` is true. False when the deadline passed.
    template <class Attempt>
    bool wait(shm::EventCountLayout& events, shm::SpinBudget& budget, Deadline deadline,
              Attempt&& attempt) {
        return shm::wait_until(
                   events, wait_, budget, deadline, attempt, [] { shm::heavy_fence(); },
                   [this] { return stuck(); }) == shm::Waited::done;
    }

    /// See shm::Slip: whether the receiver paused before it polls.
    bool slip() noexcept { return wait_ != Wait::park && slip_.pause(); }
    void pause_room() noexcept { shm::pause_when_full(wait_); }
    void judge_slip(bool more) noexcept { slip_.judge(more); }

    void close() noexcept;
    bool is_closed() const noexcept;

    // Passing: see parcel.hpp. The descriptor that says "somebody holds a copy of this end" goes
    // along, so that there is no moment at which nobody does.
    void pack(Parcel& parcel) const;
    void take_hold(int descriptor) noexcept;

    // HandOver: see hand_over.hpp.
    void prepare_hand_over();
    void cancel_hand_over() noexcept;
    void finish_hand_over(pid_t child) noexcept;
    void adopt();

    PipeSegment& pipe() const noexcept { return *pipe_; }
    shm::SpinBudget& send_spin() noexcept { return send_spin_; }
    shm::SpinBudget& receive_spin() noexcept { return receive_spin_; }

 protected:
    /// Called when this process has become the owner: take up the rings' positions.
    virtual void resume() = 0;

 private:
    /// What asking costs: a peer without a bell means system calls, too dear for every operation,
    /// not for one that is about to sleep.
    enum class Ask : std::uint8_t { sparingly, now };

    // The bell of the other end's owner, once it is known. The two words are stored one after the
    // other, so a reader may see them apart: then it asks in vain, or once too late.
    struct PeerBell {
        std::atomic<const shm::FutexWord*> word{};
        std::atomic<std::uint32_t> expected{};
    };

    // Two or three loads. Before the other end is adopted there is nobody whose death could matter
    // to a sender; a receiver looks now and then.
    bool peer_may_be_dead() const noexcept {
        // A2
        const shm::FutexWord* word = peer_bell_.word.load(std::memory_order_acquire);
        if (word == nullptr) {
            // relaxed: a stale owner is asked after once more
            return peer_.owner.load(std::memory_order_relaxed) > EndLayout::kHandedOver;
        }
        // acquire: the dead one's last stores, as shm/registry.hpp says. relaxed: published by the
        // word
        return word->load(std::memory_order_acquire) !=
               peer_bell_.expected.load(std::memory_order_relaxed);
    }
    // Whether a poll that found nothing should ask after the peer though no bell rings: it may not
    // have adopted its end, or passed it on. Each time would be dear. Only the receiving thread
    // counts.
    bool is_time_to_look() noexcept {
        constexpr std::uint32_t kLookEvery = 256;
        return ++idle_polls_ % kLookEvery == 0;
    }
    void take();
    void become_owner();
    bool close_dead_peer(Ask ask) noexcept;
    bool ask_after_peer(std::uint64_t owner, Ask ask) noexcept;
    void set_peer_bell(const shm::FutexWatch& bell) noexcept;
    bool is_last_copy(Side side) const noexcept;
    void check_sendable_slowly();
    shm::FutexWatch stuck() noexcept;
    void close_gates(shm::GateLayout* sending, shm::GateLayout* receiving) noexcept;
    void hold() noexcept;
    void let_go() noexcept;
    void drop_copy() noexcept;
    [[noreturn]] void refuse_direction(std::string_view does, std::string_view asked) const;
    [[noreturn]] void refuse_owner(std::uint64_t owner) const;

    std::shared_ptr<PipeSegment> pipe_;
    EndLayout& mine_;
    EndLayout& peer_;
    shm::GateLayout* send_;
    shm::GateLayout* receive_;
    // shm::fork_generation in which this process took the end
    std::atomic<std::uint32_t> generation_{};
    std::atomic<std::uint32_t> dropped_generation_{};  // in which it dropped its copy
    ForkSafeLock lock_{};  // taking the end; the fields of the peer below
    Side side_;
    Wait wait_;
    int hold_descriptor_{-1};  // its lock says: somebody holds a copy of this end
    PeerBell peer_bell_{};
    shm::BellReference peer_reference_{};
    std::uint64_t peer_owner_{};  // whose bell that is
    static constexpr std::uint32_t kUnheardOperations = 1024;
    // operations left before a peer without a bell is asked for again
    std::uint32_t peer_unheard_{};
    std::uint32_t idle_polls_{};
    shm::Slip slip_{};
    shm::SpinBudget send_spin_{};
    shm::SpinBudget receive_spin_{};
};

/// The segment of a pipe; `initialise` fills the rings. Throws as the public constructors say.
std::shared_ptr<PipeSegment> pipe_segment(const Origin& origin, std::string_view noun,
                                          const shm::SegmentSpec& spec,
                                          void (*initialise)(shm::Segment&));

/// One end of a pipe, as ConnectionCore::pack() packed it; then `hold` is to be given to
/// take_hold().
struct PassedEnd {
    std::shared_ptr<PipeSegment> pipe{};
    Side side{};
    int hold{-1};
};
PassedEnd unpack_end(Unparcel& parcel, std::string_view noun, const shm::SegmentSpec& spec);

}  // namespace sluice::detail
