// Ends of pipes: adoption, hand-over, closing, and closing on behalf of the dead.
#include "sluice/detail/connection_core.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>

#include "sluice/detail/failure.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

// The byte of the segment's file whose lock says that somebody holds a copy of that end. Byte 0 is
// the mapping's own lock.
off_t hold_byte(Side side) noexcept {
    return 16 + static_cast<off_t>(side);
}

bool set_hold_lock(int descriptor, off_t byte) noexcept {
    struct flock request {};
    request.l_type = F_RDLCK;
    request.l_whence = SEEK_SET;
    request.l_start = byte;
    request.l_len = 1;
    return fcntl(descriptor, F_OFD_SETLK, &request) == 0;
}

shm::ProcessIdentity identity_of(const EndLayout& end) noexcept {
    shm::ProcessIdentity identity;
    identity.nonce = end.owner.load(std::memory_order_acquire);     // A1
    if (end.identity_known.load(std::memory_order_acquire) != 0) {  // A1
        // relaxed: published by identity_known
        identity.pid = end.pid.load(std::memory_order_relaxed);
        identity.start_time = end.start_time.load(std::memory_order_relaxed);
        identity.pid_namespace = end.pid_namespace.load(std::memory_order_relaxed);
        identity.pidfd_inode = end.pidfd_inode.load(std::memory_order_relaxed);
    }
    return identity;
}

void store_identity(EndLayout& end, const shm::ProcessIdentity& identity) noexcept {
    // relaxed: published by identity_known
    end.pid.store(identity.pid, std::memory_order_relaxed);
    end.start_time.store(identity.start_time, std::memory_order_relaxed);
    end.pid_namespace.store(identity.pid_namespace, std::memory_order_relaxed);
    end.pidfd_inode.store(identity.pidfd_inode, std::memory_order_relaxed);
    end.identity_known.store(1, std::memory_order_release);  // R1
}

}  // namespace

ConnectionCore::ConnectionCore(std::shared_ptr<PipeSegment> pipe, Side side, shm::GateLayout* send,
                               shm::GateLayout* receive)
    : pipe_(std::move(pipe)),
      mine_(pipe_->end(side)),
      peer_(pipe_->end(other(side))),
      send_(send),
      receive_(receive),
      side_(side),
      wait_(pipe_->wait()) {
    hold();
}

ConnectionCore::~ConnectionCore() {
    close();
}

void ConnectionCore::hold() noexcept {
    // A description of its own: inherited by children together with this handle, released with its
    // last copy.
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", pipe_->segment().mapping().descriptor());
    hold_descriptor_ = open(path, O_RDWR | O_CLOEXEC);
    if (hold_descriptor_ >= 0) {
        static_cast<void>(set_hold_lock(hold_descriptor_,
                                        pipe_->segment().mapping().lock_byte(hold_byte(side_))));
    }
}

void ConnectionCore::pack(Parcel& parcel) const {
    parcel.put(side_);
    parcel.put_descriptor(hold_descriptor_);
    parcel.put_segment(pipe_->segment(), "pipe");
}

void ConnectionCore::take_hold(int descriptor) noexcept {
    const int own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (own >= 0) {
        let_go();
        hold_descriptor_ = own;
    }
}

void ConnectionCore::let_go() noexcept {
    if (hold_descriptor_ >= 0) {
        ::close(hold_descriptor_);
        hold_descriptor_ = -1;
    }
}

bool ConnectionCore::is_last_copy(Side side) const noexcept {
    // A named pipe may still be opened: its name holds both ends.
    if (!pipe_->segment().name().empty()) {
        return false;
    }
    struct flock request {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    request.l_start = pipe_->segment().mapping().lock_byte(hold_byte(side));
    request.l_len = 1;
    // Asked through the mapping's descriptor, which holds no lock on that byte. Unknown counts as
    // held.
    return fcntl(pipe_->segment().mapping().descriptor(), F_OFD_GETLK, &request) == 0 &&
           request.l_type == F_UNLCK;
}

void ConnectionCore::take() {
    if (is_closed()) {
        throw_closed();
    }
    // Two threads, one a direction, may both be the first: one takes the end, the other finds it
    // taken. Taking up the positions again would move them under the first one's hands.
    const std::scoped_lock hold(lock_);
    if (generation_.load(std::memory_order_relaxed) == shm::fork_generation) {  // under the lock
        return;
    }
    const std::uint64_t owner = mine_.owner.load(std::memory_order_acquire);  // A1
    if (owner != shm::this_process().nonce) {
        if (owner != EndLayout::kNobody) {
            refuse_owner(owner);
        }
        become_owner();
        return;
    }
    resume();
    generation_.store(shm::fork_generation, std::memory_order_release);  // R3
}

void ConnectionCore::become_owner() {
    shm::Failure failure;
    shm::Registry* registry = shm::Registry::instance(failure);
    shm::BellReference bell;
    // The bell first: from the moment the end is ours, our death must be heard.
    if (registry == nullptr || !registry->arm_this_thread(bell, failure)) {
        throw_failure(pipe_->object(), failure);
    }
    const shm::ProcessIdentity& self = shm::this_process();
    std::uint64_t expected = mine_.owner.load(std::memory_order_acquire);  // A1
    if (expected != EndLayout::kNobody && expected != EndLayout::kHandedOver) {
        refuse_owner(expected);
    }
    if (!mine_.owner.compare_exchange_strong(expected, self.nonce, std::memory_order_acq_rel,
                                             std::memory_order_acquire)) {  // R1
        refuse_owner(expected);
    }
    store_identity(mine_, self);
    resume();
    generation_.store(shm::fork_generation, std::memory_order_release);  // R3
}

void ConnectionCore::refuse_owner(std::uint64_t owner) const {
    // relaxed: for people
    if (owner == EndLayout::kHandedOver) {
        throw NotPermitted(pipe_->object() + ": this end was passed to process " +
                           std::to_string(mine_.pid.load(std::memory_order_relaxed)) +
                           ", which has not started to use it yet");
    }
    throw NotPermitted(pipe_->object() + ": this end belongs to process " +
                       std::to_string(mine_.pid.load(std::memory_order_relaxed)) +
                       "; an end has one owner: pass it to the process that is to use it");
}

void ConnectionCore::refuse_direction(std::string_view does, std::string_view asked) const {
    throw NotPermitted(pipe_->object() + ": this end of a one-way pipe only " + std::string(does) +
                       "; it cannot " + std::string(asked));
}

void ConnectionCore::throw_closed() const {
    throw Closed(pipe_->object() + ": the pipe is closed");
}

void ConnectionCore::throw_damaged() const {
    throw BadSegment(pipe_->object() +
                     ": the ring holds a record whose length cannot be: something else wrote to "
                     "its memory; remove it and make it anew");
}

void ConnectionCore::check_sendable_slowly() {
    if (is_closed() ||
        send_->closed.load(std::memory_order_acquire) != 0 ||  // closed: see the ring
        close_dead_peer(Ask::sparingly)) {
        throw_closed();
    }
}

void ConnectionCore::close_gates(shm::GateLayout* sending, shm::GateLayout* receiving) noexcept {
    if (sending != nullptr) {
        sending->close(shm::GateLayout::kSenderClosed);
    }
    if (receiving != nullptr) {
        receiving->close(shm::GateLayout::kReceiverClosed);
    }
}

void ConnectionCore::set_peer_bell(const shm::FutexWatch& bell) noexcept {
    // published by the next store
    peer_bell_.expected.store(bell.expected, std::memory_order_relaxed);
    peer_bell_.word.store(bell.word, std::memory_order_release);  // R2
}

bool ConnectionCore::ask_after_peer(std::uint64_t owner, Ask ask) noexcept {
    shm::Failure ignored;
    shm::Registry* registry = shm::Registry::instance(ignored);
    if (registry == nullptr) {
        return false;
    }
    if (owner == EndLayout::kHandedOver) {
        // Not adopted yet: the pid tells, once the parent has noted it. A parent that died before
        // it could leaves the lock: whoever may still adopt the end holds a copy of it.
        const shm::ProcessIdentity child = identity_of(peer_);
        const bool gone = child.pid != 0 ? shm::process_liveness(child) == shm::Liveness::dead
                                         : is_last_copy(other(side_));
        return gone && peer_.owner.load(std::memory_order_acquire) == owner;  // A1
    }
    if (peer_owner_ != owner) {  // the bell is that of a former owner, who lives perhaps
        peer_owner_ = owner;
        peer_unheard_ = 0;
        set_peer_bell({});
    }
    if (peer_bell_.word.load(std::memory_order_relaxed) != nullptr &&  // under the lock
        !registry->has_ended(peer_reference_)) {
        set_peer_bell(registry->watch(peer_reference_));
        return false;
    }
    if (ask == Ask::sparingly && peer_unheard_ != 0) {
        --peer_unheard_;
        return false;
    }
    if (registry->liveness(identity_of(peer_)) == shm::Liveness::dead) {
        return true;
    }
    if (registry->find_bell(owner, peer_reference_)) {
        set_peer_bell(registry->watch(peer_reference_));
    } else {
        // Alive, but all its threads that had a bell have ended.
        set_peer_bell({});
        peer_unheard_ = kUnheardOperations;
    }
    return false;
}

bool ConnectionCore::close_dead_peer(Ask ask) noexcept {
    const std::scoped_lock hold(lock_);
    const std::uint64_t owner = peer_.owner.load(std::memory_order_acquire);  // A1
    const bool dead = owner == EndLayout::kNobody
                          ? is_last_copy(other(side_)) &&
                                peer_.owner.load(std::memory_order_acquire) == EndLayout::kNobody
                          : ask_after_peer(owner, ask);
    if (dead) {
        // What the dead sends to us ends, and what we send to it: its sending gate is our receiving
        // one.
        close_gates(receive_, send_);
    }
    return dead;
}

shm::FutexWatch ConnectionCore::stuck() noexcept {
    if (close_dead_peer(Ask::now)) {
        return {};
    }
    const std::scoped_lock hold(lock_);  // the two words belong together here
    return {peer_bell_.word.load(std::memory_order_relaxed),
            peer_bell_.expected.load(std::memory_order_relaxed)};
}

bool ConnectionCore::is_closed() const noexcept {
    // relaxed: who closes an end that another thread uses has to agree with it by other means
    return dropped_generation_.load(std::memory_order_relaxed) == shm::fork_generation;
}

void ConnectionCore::drop_copy() noexcept {
    dropped_generation_.store(shm::fork_generation, std::memory_order_relaxed);  // as above
    let_go();
}

void ConnectionCore::close() noexcept {
    if (is_closed()) {
        return;
    }
    const std::uint64_t owner = mine_.owner.load(std::memory_order_acquire);  // A1
    // Not by the owner's nonce: a process may have opened a named pipe twice, and then only the one
    // through which it took the end closes it. relaxed: our own, or who closes has agreed
    const bool taken_here = generation_.load(std::memory_order_relaxed) == shm::fork_generation;
    generation_.store(0, std::memory_order_relaxed);  // the next operation asks again
    drop_copy();
    if (taken_here) {
        close_gates(send_, receive_);
    } else if (owner == EndLayout::kNobody) {
        // The last copy of an end that nobody ever used.
        if (is_last_copy(side_) &&
            mine_.owner.load(std::memory_order_acquire) == EndLayout::kNobody) {
            close_gates(send_, receive_);
        }
    }
}

void ConnectionCore::prepare_hand_over() {
    if (is_closed()) {
        throw_closed();
    }
    std::uint64_t owner = mine_.owner.load(std::memory_order_acquire);  // A1
    if (owner != EndLayout::kNobody && owner != shm::this_process().nonce) {
        refuse_owner(owner);
    }
    mine_.identity_known.store(0, std::memory_order_relaxed);  // ordered by the exchange
    mine_.pid.store(0, std::memory_order_relaxed);
    if (!mine_.owner.compare_exchange_strong(owner, EndLayout::kHandedOver,
                                             std::memory_order_acq_rel,
                                             std::memory_order_acquire)) {  // R1
        refuse_owner(owner);
    }
    generation_.store(0, std::memory_order_relaxed);  // the next operation asks again
}

void ConnectionCore::cancel_hand_over() noexcept {
    std::uint64_t handed = EndLayout::kHandedOver;
    mine_.owner.compare_exchange_strong(handed, EndLayout::kNobody, std::memory_order_acq_rel,
                                        std::memory_order_relaxed);  // R1
}

void ConnectionCore::finish_hand_over(pid_t child) noexcept {
    // The child may have adopted the end already, and then the fields are its own.
    if (mine_.owner.load(std::memory_order_acquire) == EndLayout::kHandedOver) {  // A1
        // For a child that dies before it adopts. If it adopts just now, it writes the same.
        store_identity(mine_, shm::identify(child));
    }
}

void ConnectionCore::adopt() {
    const std::scoped_lock hold(lock_);
    if (mine_.owner.load(std::memory_order_acquire) == EndLayout::kHandedOver) {  // A1
        become_owner();
    }
}

std::shared_ptr<PipeSegment> pipe_segment(const Origin& origin, std::string_view noun,
                                          const shm::SegmentSpec& spec,
                                          void (*initialise)(shm::Segment&)) {
    std::shared_ptr<shm::Segment> segment = origin.segment(noun, spec, initialise);
    std::string object = object_name(noun, segment->name());
    return std::make_shared<PipeSegment>(std::move(segment), std::move(object));
}

PassedEnd unpack_end(Unparcel& parcel, std::string_view noun, const shm::SegmentSpec& spec) {
    PassedEnd passed;
    passed.side = parcel.take<Side>() == Side::first ? Side::first : Side::second;
    passed.hold = parcel.take_descriptor();
    passed.pipe = pipe_segment(Origin(parcel), noun, spec, nullptr);
    return passed;
}

}  // namespace sluice::detail
