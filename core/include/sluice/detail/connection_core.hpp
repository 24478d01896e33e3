// The untyped body of a Connection: who owns which end, closing, the death of the other side, waiting.
// Connection<T> and ByteConnection add the ring and the values.
//
// The body of a pipe's segment: PipeLayout, then the ring first->second, then the ring second->first.
//
// An end belongs to one process. EndLayout::owner goes
//   nobody -> a process's nonce          the first that uses the end
//   nobody or mine -> handed_over        Process::start() with the end among its arguments
//   handed_over -> the child's nonce     the child, before its target runs
// Ends of dead owners are closed by whoever waits for them, on proof (shm/registry.hpp), never on a time-out.
//
// Ordering ledger
//   R1 owner -> A1            : who sees the owner sees the identity of an adopted end (identity_known)
//   The rings' own orders are in shm/spsc_ring.hpp and shm/byte_ring.hpp.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/shm/fork.hpp"
#include "sluice/shm/segment.hpp"
#include "sluice/shm/spsc_ring.hpp"
#include "sluice/wait.hpp"

namespace sluice::detail {

/// One end of a pipe.
struct alignas(shm::kIsolationBytes) EndLayout {
    static constexpr std::uint64_t kNobody = 0;
    static constexpr std::uint64_t kHandedOver = 1;

    std::atomic<std::uint64_t> owner;           // kNobody, kHandedOver or a ProcessIdentity::nonce
    std::atomic<std::uint32_t> identity_known;  // 1: the fields below are the owner's
    std::atomic<std::int32_t> pid;              // of the owner, or of the child it was handed to
    std::atomic<std::uint64_t> start_time;
    std::atomic<std::uint64_t> pid_namespace;
    std::atomic<std::uint64_t> pidfd_inode;
};
static_assert(sizeof(EndLayout) == 128 && offsetof(EndLayout, start_time) == 16);

struct PipeLayout {
    EndLayout ends[2];
};

enum class Side : std::uint8_t { first = 0, second = 1 };
constexpr Side other(Side side) noexcept {
    return side == Side::first ? Side::second : Side::first;
}

/// A pipe's memory and what all its handles in this process share.
class PipeSegment {
 public:
    static constexpr std::uint32_t kWaitMask = 3;
    static constexpr std::uint32_t kSimplexOption = 4;

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

/// One end, as this process sees it. Copies of a Connection share it.
class ConnectionCore {
 public:
    /// `send` and `receive`: the gates of the two rings, seen from this end; null where the pipe is one-way.
    ConnectionCore(std::shared_ptr<PipeSegment> pipe, Side side, shm::GateLayout* send,
                   shm::GateLayout* receive);
    ConnectionCore(const ConnectionCore&) = delete;
    ConnectionCore& operator=(const ConnectionCore&) = delete;
    virtual ~ConnectionCore();

    /// Before each operation: this process owns the end, or takes it now. Two loads when it does.
    void own() {
        if (generation_ != shm::fork_generation) [[unlikely]] {
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

    /// Throws Closed when this end, or for a sender the other one, has ended. Call before each send.
    void check_sendable() {
        if (send_->closed.load(std::memory_order_acquire) != 0 || peer_may_be_dead()) [[unlikely]] {
            check_sendable_slowly();
        }
    }
    /// Whether the sender of what we receive has closed or died. Read it before looking at the ring: then an
    /// empty ring is drained for good.
    bool sender_ended() noexcept {
        if (receive_->sender_closed()) [[unlikely]] {
            return true;
        }
        return peer_may_be_dead() && close_dead_peer();
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

    void close() noexcept;
    bool is_closed() const noexcept;

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
    // One or two loads: the bell of the other end's owner, once it is known. Before the other end is adopted
    // there is nobody whose death could matter to a sender.
    bool peer_may_be_dead() const noexcept {
        return peer_bell_.word != nullptr
                   ? peer_bell_.word->load(std::memory_order_acquire) != peer_bell_.expected
                   : peer_.owner.load(std::memory_order_relaxed) > EndLayout::kHandedOver;
    }
    void take();
    void become_owner();
    bool close_dead_peer() noexcept;
    void check_sendable_slowly();
    shm::FutexWatch stuck() noexcept;
    void close_gates(shm::GateLayout* sending, shm::GateLayout* receiving) noexcept;
    bool somebody_holds_peer() const noexcept;
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
    std::uint32_t generation_{};          // shm::fork_generation in which this process took the end
    std::uint32_t dropped_generation_{};  // in which it dropped its copy
    Side side_;
    Wait wait_;
    int hold_descriptor_{-1};             // its lock says: somebody holds a copy of this end
    shm::FutexWatch peer_bell_{};
    shm::BellReference peer_reference_{};
    static constexpr std::uint32_t kUnheardOperations = 1024;
    std::uint32_t peer_unheard_{};        // operations left before a peer without a bell is asked for again
    shm::SpinBudget send_spin_{};
    shm::SpinBudget receive_spin_{};
};

/// Makes or opens the segment of a pipe; `initialise` fills the rings. Throws as the public constructors say.
std::shared_ptr<PipeSegment> make_pipe_segment(std::string_view name, bool create_if_missing,
                                               bool open_if_there, const shm::SegmentSpec& spec,
                                               const shm::MemoryOptions& memory, unsigned permissions,
                                               std::string object,
                                               void (*initialise)(shm::Segment&));
void unlink_pipe(std::string_view name, std::string_view object);

}  // namespace sluice::detail
