// ByteConnection: the message in hand, and the typed shells over ByteChannel.
#include "sluice/byte_pipe.hpp"

#include <cstring>
#include <stdexcept>
#include <string>

#include "sluice/error.hpp"

namespace sluice {

using detail::Deadline;

/// What the copies of one handle share: the channel, the claim and the message that are in hand.
struct ByteConnection::Body {
    std::shared_ptr<detail::ByteChannel> channel{};
    std::optional<std::size_t> claimed_bytes{};
    std::optional<Bytes> peeked{};
    std::vector<std::byte> gathered{};
};

ByteConnection ByteConnection::wrap(std::shared_ptr<detail::ByteChannel> channel) {
    auto body = std::make_shared<Body>();
    body->channel = std::move(channel);
    return ByteConnection(std::move(body));
}

detail::ConnectionCore& ByteConnection::core() const {
    return *body_->channel;
}

void ByteConnection::prepare_hand_over() const {
    // Of a fragmented message parts are out of the ring already: the next owner would find only the
    // rest.
    if (body_->peeked) {
        throw Error("BytePipe: a message is in hand: consume() it before the end is passed on");
    }
    core().prepare_hand_over();
    body_->claimed_bytes.reset();
}

void ByteConnection::pack(detail::Parcel& parcel) const {
    body_->channel->require_whole();
    core().pack(parcel);
}

namespace {

/// What is the same in every BytePipe.
detail::ByteChannelShape common_shape() {
    detail::ByteChannelShape shape;
    shape.noun = "BytePipe";
    shape.kind = shm::SegmentKind::byte_pipe;
    shape.type_signature = shm::fnv1a("bytes");
    shape.type_text = "bytes";
    return shape;
}

}  // namespace

ByteConnection ByteConnection::unpack(detail::Unparcel& parcel) {
    return wrap(detail::ByteChannel::unpack(parcel, common_shape()));
}

bool ByteConnection::send_until(Bytes message, Deadline deadline) const {
    return body_->channel->send(message, deadline);
}
void ByteConnection::send(Bytes message) const {
    static_cast<void>(send_until(message, Deadline::never()));
}
bool ByteConnection::try_send(Bytes message) const {
    return send_until(message, Deadline::passed());
}

std::optional<ByteConnection::Bytes> ByteConnection::peek_until(Deadline deadline) const {
    if (body_->peeked) {
        // in hand, but not for a process that does not own the end, nor after close()
        core().own();
    } else {
        Bytes message;
        if (!body_->channel->receive(message, body_->gathered, deadline)) {
            return std::nullopt;
        }
        body_->peeked = message;
    }
    return body_->peeked;
}
ByteConnection::Bytes ByteConnection::peek() const {
    return *peek_until(Deadline::never());
}
std::optional<ByteConnection::Bytes> ByteConnection::try_peek() const {
    return peek_until(Deadline::passed());
}
void ByteConnection::consume() const {
    if (!body_->peeked) {
        throw Error("BytePipe: consume() without peek(): there is no message in hand");
    }
    core().own();
    body_->peeked.reset();
    body_->channel->finish();
}

std::optional<std::vector<std::byte>> ByteConnection::recv_until(Deadline deadline) const {
    const std::optional<Bytes> message = peek_until(deadline);
    if (!message) {
        return std::nullopt;
    }
    std::vector<std::byte> result;
    if (message->data() == body_->gathered.data() && !message->empty()) {
        result.swap(body_->gathered);
    } else {
        result.assign(message->begin(), message->end());
    }
    consume();
    return result;
}
std::vector<std::byte> ByteConnection::recv() const {
    return *recv_until(Deadline::never());
}
std::optional<std::vector<std::byte>> ByteConnection::try_recv() const {
    return recv_until(Deadline::passed());
}

std::optional<std::size_t> ByteConnection::recv_into_until(std::span<std::byte> buffer,
                                                           Deadline deadline) const {
    const std::optional<Bytes> message = peek_until(deadline);
    if (!message) {
        return std::nullopt;
    }
    const std::size_t bytes = message->size();
    if (bytes > buffer.size()) {
        throw std::length_error("BytePipe: recv_into(): the message has " + std::to_string(bytes) +
                                " bytes, the buffer " + std::to_string(buffer.size()) +
                                "; the message stays in the pipe");
    }
    if (bytes != 0) {
        std::memcpy(buffer.data(), message->data(), bytes);
    }
    consume();
    return bytes;
}
std::size_t ByteConnection::recv_into(std::span<std::byte> buffer) const {
    return *recv_into_until(buffer, Deadline::never());
}
std::optional<std::size_t> ByteConnection::try_recv_into(std::span<std::byte> buffer) const {
    return recv_into_until(buffer, Deadline::passed());
}

std::optional<std::span<std::byte>> ByteConnection::claim_until(std::size_t bytes,
                                                                Deadline deadline) const {
    std::byte* room = body_->channel->claim(bytes, deadline);
    if (room == nullptr) {
        return std::nullopt;
    }
    body_->claimed_bytes = bytes;
    return std::span<std::byte>(room, bytes);
}
std::span<std::byte> ByteConnection::claim(std::size_t bytes) const {
    return *claim_until(bytes, Deadline::never());
}
std::optional<std::span<std::byte>> ByteConnection::try_claim(std::size_t bytes) const {
    return claim_until(bytes, Deadline::passed());
}
void ByteConnection::commit() const {
    if (!body_->claimed_bytes) {
        throw Error("BytePipe: commit() without claim(): there is nothing to send");
    }
    commit(*body_->claimed_bytes);
}
void ByteConnection::commit(std::size_t bytes) const {
    if (!body_->claimed_bytes || bytes > *body_->claimed_bytes) {
        throw Error("BytePipe: commit(" + std::to_string(bytes) + ") of more than was claimed");
    }
    core().own();
    body_->claimed_bytes.reset();
    body_->channel->commit(bytes);
}
std::size_t ByteConnection::claim_max() const {
    return body_->channel->claim_max();
}

bool ByteConnection::poll_until(Deadline deadline) const {
    core().own();
    return body_->peeked.has_value() || body_->channel->poll(deadline);
}
bool ByteConnection::poll() const {
    return poll_until(Deadline::passed());
}

void ByteConnection::close() const {
    core().close();
}
bool ByteConnection::closed() const {
    return core().is_closed();
}

BytePipe::BytePipe(ByteConnection one, ByteConnection two)
    : first(std::move(one)), second(std::move(two)) {}
BytePipe::BytePipe() : BytePipe(BytePipeOptions{}) {}
BytePipe::BytePipe(std::size_t capacity_bytes)
    : BytePipe(BytePipeOptions{.capacity_bytes = capacity_bytes}) {}
BytePipe::BytePipe(BytePipeOptions options)
    : BytePipe(make({}, detail::Open::anonymous, options)) {}

BytePipe BytePipe::make(const shm::SegmentPlace& place, detail::Open how,
                        const BytePipeOptions& options) {
    detail::ByteChannelShape shape = common_shape();
    shape.ring_bytes = options.capacity_bytes;
    shape.duplex = options.duplex;
    shape.wait = options.wait;
    auto ends = detail::ByteChannel::make({place, how, options}, shape);
    return BytePipe(ByteConnection::wrap(std::move(ends.first)),
                    ByteConnection::wrap(std::move(ends.second)));
}
BytePipe BytePipe::create(std::string_view name, BytePipeOptions options) {
    return make(name, detail::Open::create, options);
}
BytePipe BytePipe::open(std::string_view name) {
    return make(name, detail::Open::open, {});
}
BytePipe BytePipe::open_or_create(std::string_view name, BytePipeOptions options) {
    return make(name, detail::Open::open_or_create, options);
}
void BytePipe::unlink(std::string_view name) {
    detail::unlink_object("BytePipe", name);
}

}  // namespace sluice
