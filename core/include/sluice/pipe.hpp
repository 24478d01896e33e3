// Pipe<T>: two connected ends, each with one owner process.
//
//     auto [parent, child] = sluice::Pipe<std::string>();
//     sluice::Process p([](sluice::Connection<std::string> c) { c.send("hello"); }, child);
//     p.start();
//     child.close();                     // our copy; the end is the child's now
//     std::string text = parent.recv();
//
// An end belongs to the process it was passed to (Process hands over the ends among its arguments),
// else to the first that uses it. One thread a direction. Plain values travel in numbered slots
// (shm/spsc_ring.hpp), packed ones as records (shm/byte_ring.hpp). Commit stores: of a send the
// slot's number or the write position, of a recv the read position.
#pragma once

#include <bit>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/codec.hpp"
#include "sluice/detail/byte_channel.hpp"
#include "sluice/detail/connection_core.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/error.hpp"
#include "sluice/hand_over.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a pipe is made. Units: capacity in messages of each direction, rounded up to a power of two;
/// for packed values the ring has 256 bytes a message, at least 64 KiB, and longer messages are no
/// error. One-way (duplex = false): the first end receives, the second sends.
struct PipeOptions {
    bool duplex{true};
    std::size_t capacity{1024};
    Wait wait{};                 ///< how its users wait
    MemoryOptions memory{};      ///< where its memory lies
    unsigned permissions{0600};  ///< of a named one's file
};

namespace detail {

inline constexpr std::string_view kPipeNoun = "Pipe";
inline constexpr std::uint64_t kPipeCapacityMax = 1ULL << 26U;

inline void require_capacity(std::size_t capacity, const Origin& origin) {
    if (capacity == 0 || capacity > kPipeCapacityMax) {
        throw std::invalid_argument(origin.object(kPipeNoun) + ": a capacity is 1 to " +
                                    std::to_string(kPipeCapacityMax) + " messages, not " +
                                    std::to_string(capacity));
    }
}

/// Both directions of a pipe of plain values, seen from one end.
template <class T>
class SlotChannel final : public ConnectionCore {
 public:
    static constexpr std::size_t kAlign = plain_align<T> > 8 ? plain_align<T> : 8;
    static constexpr std::size_t kOffset = shm::round_up(sizeof(std::uint64_t), kAlign);
    using Ring = shm::SpscRing<shm::spsc_slot_bytes(plain_bytes<T>, kAlign), kOffset>;
    struct Ends {
        std::shared_ptr<SlotChannel> first{};
        std::shared_ptr<SlotChannel> second{};
    };

    static Ends make(const Origin& origin, const PipeOptions& options);
    static std::shared_ptr<SlotChannel> unpack(Unparcel& parcel);

    SlotChannel(const std::shared_ptr<PipeSegment>& pipe, Side side)
        : ConnectionCore(pipe, side, gate(*pipe, sends(*pipe, side)),
                         gate(*pipe, receives(*pipe, side))),
          sending_(ring(*pipe, sends(*pipe, side))),
          receiving_(ring(*pipe, receives(*pipe, side))) {}
    ~SlotChannel() override { close(); }

    bool send(const T& value, Deadline deadline) {
        shm::GateLayout& room = own_sender();
        check_sendable();
        std::byte* payload = sending_.try_begin_write();
        if (payload == nullptr) [[unlikely]] {
            payload = wait_room(room, deadline);
            if (payload == nullptr) {
                return false;
            }
        }
        store_plain(payload, value);
        sending_.publish();
        sending_.notify_reader();
        return true;
    }

    std::optional<T> recv(Deadline deadline) {
        shm::GateLayout& items = own_receiver();
        const std::byte* payload = receiving_.try_begin_read();
        if (payload == nullptr) [[unlikely]] {
            payload = wait_item(items, deadline);
            if (payload == nullptr) {
                return std::nullopt;
            }
        }
        std::optional<T> value(load_plain<T>(payload));
        receiving_.consume();
        receiving_.notify_writer();
        return value;
    }

    /// Several at once: one look at the sleepers for all.
    std::size_t send_many(std::span<const T> values, Deadline deadline) {
        shm::GateLayout& room = own_sender();
        check_sendable();
        if (values.empty() ||
            (sending_.try_begin_write() == nullptr && wait_room(room, deadline) == nullptr)) {
            return 0;
        }
        // The first is published last: until then the reader polls the first slot's line only, and
        // does not take the others from under our hands.
        const std::size_t count = sending_.room_for(values.size());
        for (std::size_t index = count; index-- > 1;) {
            store_plain(sending_.payload_ahead(index), values[index]);
            sending_.number_ahead(index);
        }
        store_plain(sending_.payload_ahead(0), values[0]);
        sending_.publish_all(count);
        sending_.notify_reader();
        return count;
    }
    std::size_t recv_many(std::span<T> values, Deadline deadline) {
        if (values.empty()) {
            return 0;
        }
        std::optional<T> value = recv(deadline);
        if (!value) {
            return 0;
        }
        values[0] = std::move(*value);
        std::size_t count = 1;
        for (; count < values.size(); ++count) {
            const std::byte* payload = receiving_.try_begin_read();
            if (payload == nullptr) {
                break;
            }
            values[count] = load_plain<T>(payload);
            receiving_.consume();
        }
        receiving_.notify_writer();
        return count;
    }

    bool poll(Deadline deadline) {
        shm::GateLayout& items = own_receiver();
        if (receiving_.try_begin_read() != nullptr) {
            return true;
        }
        if (deadline.at_ns() == 0) {
            return sender_ended() || receiving_.try_begin_read() != nullptr;
        }
        return wait(items.items, receive_spin(), deadline, [&] {
            return receiving_.try_begin_read() != nullptr || items.sender_closed();
        });
    }

 protected:
    void resume() override {
        if (sending_.valid()) {
            sending_.resume();
        }
        if (receiving_.valid()) {
            receiving_.resume();
        }
    }

 private:
    static shm::SegmentSpec spec() {
        shm::SegmentSpec spec;
        spec.kind = shm::SegmentKind::pipe;
        spec.layout_signature = shm::fnv1a(sizeof(EndLayout), Ring::layout_signature());
        spec.type_signature = type_signature<T>();
        spec.type_text = type_description<T>();
        spec.element_bytes = plain_bytes<T>;
        spec.member_capacity = 1;  // ends have owners; nobody claims
        return spec;
    }
    static void check_header(const PipeSegment& pipe) {
        const shm::Segment& segment = pipe.segment();
        if (!std::has_single_bit(segment.capacity()) || segment.capacity() > kPipeCapacityMax ||
            sizeof(PipeLayout) + 2 * ring_bytes(segment.capacity()) > segment.body_bytes() ||
            (segment.options() & PipeSegment::kWaitMask) > static_cast<std::uint32_t>(Wait::park)) {
            throw BadSegment(pipe.object() +
                             ": has a damaged header: its rings do not fit into it; remove it");
        }
    }
    static int sends(const PipeSegment& pipe, Side side) noexcept {
        return pipe.duplex() ? static_cast<int>(side) : (side == Side::second ? 0 : -1);
    }
    static int receives(const PipeSegment& pipe, Side side) noexcept {
        return pipe.duplex() ? static_cast<int>(other(side)) : (side == Side::first ? 0 : -1);
    }
    static std::size_t ring_bytes(std::uint64_t capacity) noexcept {
        return shm::round_up(Ring::bytes(capacity), shm::kIsolationBytes);
    }
    static std::byte* ring_memory(shm::Segment& segment, int direction) noexcept {
        return segment.body() + sizeof(PipeLayout) +
               static_cast<std::size_t>(direction) * ring_bytes(segment.capacity());
    }
    static shm::GateLayout* gate(const PipeSegment& pipe, int direction) noexcept {
        return direction < 0
                   ? nullptr
                   : &reinterpret_cast<shm::SpscRingLayout*>(ring_memory(pipe.segment(), direction))
                          ->gate;
    }
    static Ring ring(const PipeSegment& pipe, int direction) noexcept {
        return direction < 0
                   ? Ring{}
                   : Ring(ring_memory(pipe.segment(), direction), pipe.segment().capacity());
    }

    std::byte* wait_room(shm::GateLayout& room, Deadline deadline) {
        if (deadline.at_ns() == 0) {
            return nullptr;
        }
        pause_room();
        std::byte* payload = nullptr;
        static_cast<void>(wait(room.room, send_spin(), deadline, [&] {
            payload = sending_.try_begin_write();
            return payload != nullptr ||
                   room.closed.load(std::memory_order_acquire) != 0;  // closed: see the ring
        }));
        // Room that appears because the reader is gone is no room.
        check_sendable();
        return payload;
    }
    const std::byte* wait_item(shm::GateLayout& items, Deadline deadline) {
        const std::byte* payload = nullptr;
        bool ended = false;
        if (deadline.at_ns() == 0) {
            ended = sender_ended();  // before the look at the ring
            payload = receiving_.try_begin_read();
        } else {
            const bool slipped = slip();
            static_cast<void>(wait(items.items, receive_spin(), deadline, [&] {
                ended = items.sender_closed();  // before the look at the ring
                payload = receiving_.try_begin_read();
                return payload != nullptr || ended;
            }));
            if (slipped) {
                judge_slip(payload != nullptr && receiving_.more());
            }
        }
        if (payload == nullptr && ended) {
            throw_closed();
        }
        return payload;
    }

    Ring sending_;
    Ring receiving_;
};

template <class T>
typename SlotChannel<T>::Ends SlotChannel<T>::make(const Origin& origin,
                                                   const PipeOptions& options) {
    require_capacity(options.capacity, origin);
    shm::SegmentSpec spec = SlotChannel::spec();
    spec.capacity = std::bit_ceil(std::uint64_t{options.capacity});
    spec.options = static_cast<std::uint32_t>(options.wait) |
                   (options.duplex ? 0U : PipeSegment::kSimplexOption);
    spec.body_bytes = sizeof(PipeLayout) + 2 * ring_bytes(spec.capacity);
    auto pipe = pipe_segment(origin, kPipeNoun, spec, [](shm::Segment& made) {
        new (made.body()) PipeLayout{};
        Ring::initialise(ring_memory(made, 0), made.capacity());
        Ring::initialise(ring_memory(made, 1), made.capacity());
    });
    check_header(*pipe);
    return {std::make_shared<SlotChannel>(pipe, Side::first),
            std::make_shared<SlotChannel>(pipe, Side::second)};
}

template <class T>
std::shared_ptr<SlotChannel<T>> SlotChannel<T>::unpack(Unparcel& parcel) {
    const PassedEnd passed = unpack_end(parcel, kPipeNoun, spec());
    check_header(*passed.pipe);
    auto channel = std::make_shared<SlotChannel>(passed.pipe, passed.side);
    channel->take_hold(passed.hold);
    return channel;
}

/// The same operations over byte records, for packed values.
template <class T>
class PackedChannel {
 public:
    explicit PackedChannel(std::shared_ptr<ByteChannel> channel) : channel_(std::move(channel)) {}

    bool send(const T& value, Deadline deadline) {
        buffer_.clear();
        Packer<T>::pack(value, buffer_);
        return channel_->send(buffer_.bytes(), deadline);
    }
    std::optional<T> recv(Deadline deadline) {
        std::span<const std::byte> message;
        if (!channel_->receive(message, gathered_, deadline)) {
            return std::nullopt;
        }
        // Taken also when it cannot be unpacked: else it would block the pipe for ever.
        struct Finish {
            PackedChannel& self;
            ~Finish() {
                self.channel_->finish();
                if (self.gathered_.capacity() > kKeptBytes) {
                    std::vector<std::byte>().swap(self.gathered_);
                }
            }
        } finish{*this};
        return Packer<T>::unpack(message);
    }
    std::size_t send_many(std::span<const T> values, Deadline deadline) {
        std::size_t count = 0;
        while (count < values.size() &&
               send(values[count], count == 0 ? deadline : Deadline::passed())) {
            ++count;
        }
        return count;
    }
    std::size_t recv_many(std::span<T> values, Deadline deadline) {
        std::size_t count = 0;
        while (count < values.size()) {
            if (count != 0 && !channel_->poll(Deadline::passed())) {
                break;
            }
            std::optional<T> value = recv(count == 0 ? deadline : Deadline::passed());
            if (!value) {
                break;
            }
            values[count++] = std::move(*value);
        }
        return count;
    }
    bool poll(Deadline deadline) { return channel_->poll(deadline); }
    ConnectionCore& core() noexcept { return *channel_; }
    ByteChannel& bytes() noexcept { return *channel_; }

 private:
    static constexpr std::size_t kKeptBytes = 1U << 20U;

    std::shared_ptr<ByteChannel> channel_;
    PackBuffer buffer_{};
    std::vector<std::byte> gathered_{};
};

template <class T, bool kPlain>
struct ChannelOf {
    using type = SlotChannel<T>;
};
template <class T>
struct ChannelOf<T, false> {
    using type = PackedChannel<T>;
};

}  // namespace detail

/// One end of a Pipe<T>.
///
/// Callers: the process that owns the end, one thread a direction. Another process gets
/// NotPermitted, which names the owner's pid.
/// Errors: Closed when the other end was closed or its process died (recv drains first);
/// NotPermitted for the wrong direction of a one-way pipe; BadSegment when a message's bytes are
/// damaged (the message is taken).
/// Crash: a sender killed before its commit store never sent; a receiver killed before its own
/// leaves the message, which nobody reads any more: its end is closed.
/// Cost: no system call unless the other side sleeps.
template <class T>
class Connection {
    static_assert(check_shareable<T>());
    using Channel = typename detail::ChannelOf<T, Plain<T>>::type;

 public:
    /// Sends the value. Blocks: until there is room.
    void send(const T& value) const {
        static_cast<void>(channel_->send(value, detail::Deadline::never()));
    }
    /// Blocks: never.
    [[nodiscard]] bool try_send(const T& value) const {
        return channel_->send(value, detail::Deadline::passed());
    }
    template <class Rep, class Period>
    [[nodiscard]] bool try_send_for(const T& value,
                                    std::chrono::duration<Rep, Period> timeout) const {
        return channel_->send(value, detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_send_until(const T& value,
                                      std::chrono::time_point<Clock, Duration> time) const {
        return channel_->send(value, detail::Deadline::at(time));
    }

    /// Receives the oldest message. Blocks: until there is one.
    T recv() const { return std::move(*channel_->recv(detail::Deadline::never())); }
    /// Blocks: never.
    [[nodiscard]] std::optional<T> try_recv() const {
        return channel_->recv(detail::Deadline::passed());
    }
    template <class Rep, class Period>
    [[nodiscard]] std::optional<T> try_recv_for(std::chrono::duration<Rep, Period> timeout) const {
        return channel_->recv(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] std::optional<T> try_recv_until(
        std::chrono::time_point<Clock, Duration> time) const {
        return channel_->recv(detail::Deadline::at(time));
    }

    /// Sends the first of the values, at least one, as many as fit; returns how many. Blocks: until
    /// there is room for one.
    std::size_t send_many(std::span<const T> values) const {
        return channel_->send_many(values, detail::Deadline::never());
    }
    [[nodiscard]] std::size_t try_send_many(std::span<const T> values) const {
        return channel_->send_many(values, detail::Deadline::passed());
    }
    template <class Rep, class Period>
    [[nodiscard]] std::size_t try_send_many_for(std::span<const T> values,
                                                std::chrono::duration<Rep, Period> timeout) const {
        return channel_->send_many(values, detail::Deadline::after(timeout));
    }
    /// Receives into the span, at least one, as many as are there; returns how many. Blocks: until
    /// there is one.
    std::size_t recv_many(std::span<T> values) const {
        return channel_->recv_many(values, detail::Deadline::never());
    }
    [[nodiscard]] std::size_t try_recv_many(std::span<T> values) const {
        return channel_->recv_many(values, detail::Deadline::passed());
    }
    template <class Rep, class Period>
    [[nodiscard]] std::size_t try_recv_many_for(std::span<T> values,
                                                std::chrono::duration<Rep, Period> timeout) const {
        return channel_->recv_many(values, detail::Deadline::after(timeout));
    }

    /// Whether recv() would not block: a message is there, or the other end has ended (then recv
    /// throws).
    bool poll() const { return channel_->poll(detail::Deadline::passed()); }
    /// Blocks: until then, or the time-out.
    template <class Rep, class Period>
    bool poll_for(std::chrono::duration<Rep, Period> timeout) const {
        return channel_->poll(detail::Deadline::after(timeout));
    }

    /// By the owner: closes the end. By any other process: drops that process's copy.
    void close() const { core().close(); }
    /// Whether this process's copy was closed.
    bool closed() const { return core().is_closed(); }

 private:
    template <class>
    friend struct Pipe;
    template <class>
    friend struct detail::HandOver;
    template <class>
    friend struct detail::Passing;

    explicit Connection(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}
    detail::ConnectionCore& core() const {
        if constexpr (Plain<T>) {
            return *channel_;
        } else {
            return channel_->core();
        }
    }

    std::shared_ptr<Channel> channel_;
};

/// Two connected ends: `auto [parent, child] = sluice::Pipe<T>();`
template <class T>
struct Pipe {
    /// Makes an anonymous duplex pipe for 1024 messages each way. Errors: std::system_error: no
    /// memory.
    Pipe() : Pipe(PipeOptions{}) {}
    explicit Pipe(PipeOptions options) : Pipe(make({}, detail::Open::anonymous, options)) {}

    /// Named pipes: the two sides use `first` and `second` as they have agreed. The name holds both
    /// ends: an end that nobody has used yet does not close.
    static Pipe create(std::string_view name, PipeOptions options = {}) {
        return make(name, detail::Open::create, options);
    }
    static Pipe open(std::string_view name) { return make(name, detail::Open::open, {}); }
    static Pipe open_or_create(std::string_view name, PipeOptions options = {}) {
        return make(name, detail::Open::open_or_create, options);
    }
    static void unlink(std::string_view name) { detail::unlink_object(detail::kPipeNoun, name); }

    Connection<T> first;   ///< one end
    Connection<T> second;  ///< the other

 private:
    template <class>
    friend struct detail::Passing;
    friend class Manager;

    Pipe(Connection<T> one, Connection<T> two) : first(std::move(one)), second(std::move(two)) {}

    static detail::ByteChannelShape packed_shape() {
        detail::ByteChannelShape shape;
        shape.kind = shm::SegmentKind::pipe;
        shape.type_signature = type_signature<T>();
        shape.type_text = type_description<T>();
        shape.noun = detail::kPipeNoun;
        return shape;
    }
    static Pipe make(const shm::SegmentPlace& place, detail::Open how, const PipeOptions& options) {
        const detail::Origin origin(place, how, options);
        if constexpr (Plain<T>) {
            auto ends = detail::SlotChannel<T>::make(origin, options);
            return Pipe(Connection<T>(std::move(ends.first)),
                        Connection<T>(std::move(ends.second)));
        } else {
            constexpr std::size_t kMessageBytes = 256;
            constexpr std::size_t kRingBytesMin = 64U << 10U;
            detail::require_capacity(options.capacity, origin);
            detail::ByteChannelShape shape = packed_shape();
            shape.ring_bytes = options.capacity * kMessageBytes < kRingBytesMin
                                   ? kRingBytesMin
                                   : options.capacity * kMessageBytes;
            shape.duplex = options.duplex;
            shape.wait = options.wait;
            auto ends = detail::ByteChannel::make(origin, shape);
            using Channel = detail::PackedChannel<T>;
            return Pipe(Connection<T>(std::make_shared<Channel>(std::move(ends.first))),
                        Connection<T>(std::make_shared<Channel>(std::move(ends.second))));
        }
    }
};

template <class T>
struct detail::HandOver<Connection<T>> {
    static void prepare(Connection<T>& connection) { connection.core().prepare_hand_over(); }
    static void cancel(Connection<T>& connection) noexcept { connection.core().cancel_hand_over(); }
    static void finish(Connection<T>& connection, pid_t child) noexcept {
        connection.core().finish_hand_over(child);
    }
    static void adopt(Connection<T>& connection) { connection.core().adopt(); }
};

template <class T>
struct detail::Passing<Connection<T>> {
    static void pack(const Connection<T>& connection, Parcel& parcel) {
        if constexpr (!Plain<T>) {
            connection.channel_->bytes().require_whole();
        }
        connection.core().pack(parcel);
    }
    static Connection<T> unpack(Unparcel& parcel) {
        if constexpr (Plain<T>) {
            return Connection<T>(SlotChannel<T>::unpack(parcel));
        } else {
            return Connection<T>(std::make_shared<PackedChannel<T>>(
                ByteChannel::unpack(parcel, Pipe<T>::packed_shape())));
        }
    }
};

}  // namespace sluice
