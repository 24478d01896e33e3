// Byte rings in a pipe's segment, and the fragments of long messages.
#include "sluice/detail/byte_channel.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "sluice/detail/failure.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"

namespace sluice::detail {
namespace {

constexpr std::uint64_t kRingBytesMax = 1ULL << 31U;  // record lengths are 32 bits
constexpr std::uint64_t kRingBytesMin = 1ULL << 12U;

// The body: PipeLayout, two ByteRingLayouts, then at a page's boundary the data of each direction.
constexpr std::size_t kControlOffset = sizeof(PipeLayout);
std::byte* control(shm::Segment& segment, int direction) noexcept {
    return segment.body() + kControlOffset +
           static_cast<std::size_t>(direction) * sizeof(shm::ByteRingLayout);
}

// Where the data begins, from the start of the mapping: the last 2 x ring bytes of it, rounded to
// pages.
std::size_t data_offset(const shm::Segment& segment, int direction) noexcept {
    const auto body = static_cast<std::size_t>(segment.body() - segment.mapping().data());
    const std::size_t start = shm::round_up(body + kControlOffset + 2 * sizeof(shm::ByteRingLayout),
                                            segment.mapping().page_bytes());
    return start + static_cast<std::size_t>(direction) * segment.capacity();
}

std::shared_ptr<std::byte> map_data(const std::shared_ptr<PipeSegment>& pipe, int direction) {
    shm::Segment& segment = pipe->segment();
    shm::Failure failure;
    const std::size_t bytes = segment.capacity();
    std::byte* data = segment.mapping().map_twice(data_offset(segment, direction), bytes, failure);
    if (data == nullptr) {
        throw_failure(pipe->object(), failure);
    }
    return {data, [bytes](std::byte* mapped) { munmap(mapped, 2 * bytes); }};
}

shm::SegmentSpec spec_of(const ByteChannelShape& shape) {
    shm::SegmentSpec spec;
    spec.kind = shape.kind;
    spec.layout_signature = shm::fnv1a(sizeof(EndLayout), shm::ByteRing::layout_signature());
    spec.type_signature = shape.type_signature;
    spec.type_text = shape.type_text;
    spec.element_bytes = 1;
    spec.member_capacity = 1;  // ends have owners; nobody claims
    return spec;
}

void check_header(const PipeSegment& pipe) {
    const shm::Segment& segment = pipe.segment();
    if (!std::has_single_bit(segment.capacity()) || segment.capacity() > kRingBytesMax ||
        segment.capacity() % segment.mapping().page_bytes() != 0 ||
        data_offset(segment, 1) + segment.capacity() > segment.mapping().bytes() ||
        (segment.options() & PipeSegment::kWaitMask) > static_cast<std::uint32_t>(Wait::park)) {
        throw BadSegment(pipe.object() +
                         ": has a damaged header: its rings do not fit into it; remove it");
    }
}

}  // namespace

ByteChannel::Ends ByteChannel::make(const Origin& origin, const ByteChannelShape& shape) {
    if (shape.ring_bytes == 0 || shape.ring_bytes > kRingBytesMax) {
        throw std::invalid_argument(origin.object(shape.noun) +
                                    ": a ring has 1 to 2^31 bytes, not " +
                                    std::to_string(shape.ring_bytes));
    }
    // Whole pages of whatever size the mapping will have.
    const std::uint64_t page =
        origin.memory().huge_pages == shm::HugePages::off ? kRingBytesMin : 2U << 20U;
    const std::uint64_t ring = std::bit_ceil(std::max(shape.ring_bytes, page));
    shm::SegmentSpec spec = spec_of(shape);
    spec.capacity = ring;
    spec.options =
        static_cast<std::uint32_t>(shape.wait) | (shape.duplex ? 0U : PipeSegment::kSimplexOption);
    spec.body_bytes = kControlOffset + 2 * sizeof(shm::ByteRingLayout) + page + 2 * ring;
    auto pipe = pipe_segment(origin, shape.noun, spec, [](shm::Segment& made) {
        new (made.body()) PipeLayout{};
        shm::ByteRing::initialise(control(made, 0));
        shm::ByteRing::initialise(control(made, 1));
    });
    check_header(*pipe);
    auto forward = map_data(pipe, 0);
    auto backward = pipe->duplex() ? map_data(pipe, 1) : nullptr;
    return {std::make_shared<ByteChannel>(pipe, Side::first, forward, backward),
            std::make_shared<ByteChannel>(pipe, Side::second, forward, backward)};
}

std::shared_ptr<ByteChannel> ByteChannel::unpack(Unparcel& parcel, const ByteChannelShape& shape) {
    const PassedEnd passed = unpack_end(parcel, shape.noun, spec_of(shape));
    check_header(*passed.pipe);
    auto forward = map_data(passed.pipe, 0);
    auto backward = passed.pipe->duplex() ? map_data(passed.pipe, 1) : nullptr;
    auto channel = std::make_shared<ByteChannel>(passed.pipe, passed.side, std::move(forward),
                                                 std::move(backward));
    channel->take_hold(passed.hold);
    return channel;
}

void ByteChannel::require_whole() const {
    if (gathering_) {
        throw Error(pipe().object() +
                    ": a message is half received: receive the rest of it before the end is passed "
                    "to a spawned process");
    }
}

namespace {

// In a one-way pipe the second end sends and the first receives: direction 0 is what the first end
// receives there.
int sending_direction(Side side, bool duplex) noexcept {
    return duplex ? static_cast<int>(side) : (side == Side::second ? 0 : -1);
}
int receiving_direction(Side side, bool duplex) noexcept {
    return duplex ? static_cast<int>(other(side)) : (side == Side::first ? 0 : -1);
}
shm::GateLayout* gate(PipeSegment& pipe, int direction) noexcept {
    return direction < 0
               ? nullptr
               : &reinterpret_cast<shm::ByteRingLayout*>(control(pipe.segment(), direction))->gate;
}

}  // namespace

ByteChannel::ByteChannel(std::shared_ptr<PipeSegment> pipe, Side side,
                         std::shared_ptr<std::byte> forward, std::shared_ptr<std::byte> backward)
    : ConnectionCore(pipe, side, gate(*pipe, sending_direction(side, pipe->duplex())),
                     gate(*pipe, receiving_direction(side, pipe->duplex()))),
      forward_(std::move(forward)),
      backward_(std::move(backward)) {
    const auto ring = [&](int direction) {
        return direction < 0 ? shm::ByteRing{}
                             : shm::ByteRing(control(pipe->segment(), direction),
                                             direction == 0 ? forward_.get() : backward_.get(),
                                             pipe->segment().capacity());
    };
    sending_ = ring(sending_direction(side, pipe->duplex()));
    receiving_ = ring(receiving_direction(side, pipe->duplex()));
}

ByteChannel::~ByteChannel() {
    close();
}

void ByteChannel::resume() {
    if (sending_.capacity() != 0) {
        sending_.resume();
    }
    if (receiving_.capacity() != 0) {
        receiving_.resume();
    }
    in_place_bytes_ = kNothing;
}

std::uint64_t ByteChannel::fragment_bytes() const noexcept {
    return std::min(kFragmentBytes, sending_.record_payload_max());
}

std::byte* ByteChannel::claim(std::uint64_t bytes, Deadline deadline) {
    shm::GateLayout& gate = own_sender();
    if (bytes > sending_.claim_max()) {
        throw std::invalid_argument(pipe().object() + ": " + std::to_string(bytes) +
                                    " bytes cannot be claimed at once, at most " +
                                    std::to_string(sending_.claim_max()) +
                                    ": make the ring larger, or use send()");
    }
    check_sendable();
    std::byte* room = sending_.try_claim(bytes);
    if (room != nullptr || deadline.at_ns() == 0) [[likely]] {
        return room;
    }
    static_cast<void>(wait(gate.room, send_spin(), deadline, [&] {
        room = sending_.try_claim(bytes);
        // closed: see the ring
        return room != nullptr || gate.closed.load(std::memory_order_acquire) != 0;
    }));
    if (room == nullptr) {
        check_sendable();  // throws if that is why
    }
    return room;
}

void ByteChannel::commit(std::uint64_t bytes) {
    sending_.publish(bytes, 0);
}

bool ByteChannel::send(std::span<const std::byte> message, Deadline deadline) {
    static_cast<void>(own_sender());
    if (message.size() <= fragment_bytes()) [[likely]] {
        std::byte* room = claim(message.size(), deadline);
        if (room == nullptr) {
            return false;
        }
        if (!message.empty()) {
            std::memcpy(room, message.data(), message.size());
        }
        sending_.publish(message.size(), 0);
        return true;
    }
    while (!message.empty()) {
        const std::size_t bytes = std::min<std::size_t>(message.size(), fragment_bytes());
        std::byte* room = claim(bytes, deadline);
        if (room == nullptr) {
            return false;  // only possible before the first: afterwards the deadline is `never`
        }
        std::memcpy(room, message.data(), bytes);
        message = message.subspan(bytes);
        sending_.publish(bytes, message.empty() ? 0 : shm::RecordLayout::kMore);
        deadline = Deadline::never();
    }
    return true;
}

bool ByteChannel::wait_record(std::span<const std::byte>& payload, std::uint32_t& flags,
                              Deadline deadline) {
    shm::GateLayout& gate = own_receiver();
    using Peek = shm::ByteRing::Peek;
    Peek peek = receiving_.peek(payload, flags);
    bool ended = false;
    if (peek == Peek::empty) {
        const auto attempt = [&] {
            ended = gate.sender_closed();  // before the look at the ring
            peek = receiving_.peek(payload, flags);
            return peek != Peek::empty || ended;
        };
        if (deadline.at_ns() == 0) {
            ended = sender_ended();
            peek = receiving_.peek(payload, flags);
        } else if (!wait(gate.items, receive_spin(), deadline, attempt)) {
            return false;
        }
    }
    if (peek == Peek::damaged) {
        throw_damaged();
    }
    if (peek == Peek::empty && ended) {
        throw_closed();
    }
    return peek == Peek::record;
}

bool ByteChannel::receive(std::span<const std::byte>& message, std::vector<std::byte>& gathered,
                          Deadline deadline) {
    std::uint32_t flags = 0;
    if (!wait_record(message, flags, deadline)) {
        return false;
    }
    in_place_bytes_ = message.size();
    const bool whole = (flags & shm::RecordLayout::kMore) == 0 && !gathering_;
    return whole || gather(message, flags, gathered, deadline);
}

bool ByteChannel::gather(std::span<const std::byte>& message, std::uint32_t flags,
                         std::vector<std::byte>& gathered, Deadline deadline) {
    if (!gathering_) {
        gathered.clear();
        gathering_ = true;
    }
    for (;;) {
        gathered.insert(gathered.end(), message.begin(), message.end());
        if ((flags & shm::RecordLayout::kMore) == 0) {
            gathering_ = false;
            message = gathered;
            return true;
        }
        receiving_.consume(message.size());
        in_place_bytes_ = kNothing;
        // Here, too, the deadline counts: what has come stays gathered for the next call. A sender
        // that died in the middle: drained, then Closed; what came of the message is discarded.
        if (!wait_record(message, flags, deadline)) {
            return false;
        }
        in_place_bytes_ = message.size();
    }
}

void ByteChannel::finish() {
    if (in_place_bytes_ != kNothing) {
        receiving_.consume(in_place_bytes_);
        in_place_bytes_ = kNothing;
    }
}

bool ByteChannel::poll(Deadline deadline) {
    shm::GateLayout& gate = own_receiver();
    if (receiving_.readable()) {
        return true;
    }
    if (deadline.at_ns() == 0) {
        return sender_ended() || receiving_.readable();
    }
    return wait(gate.items, receive_spin(), deadline,
                [&] { return receiving_.readable() || gate.sender_closed(); });
}

}  // namespace sluice::detail
