// BytePipe: two connected ends for messages of any length, as bytes, with zero-copy claim and peek.
//
//     auto [parent, child] = sluice::BytePipe();
//     child.send(bytes);                                  // copied into the ring, in fragments
//     where it is long std::vector<std::byte> message = parent.recv();
//
//     std::span<std::byte> room = child.claim(4096);      // zero copy, up to the ring's size
//     fill(room);  child.commit();
//     use(parent.peek());  parent.consume();
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sluice/detail/byte_channel.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/hand_over.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a BytePipe is made. Units: capacity_bytes of each direction's ring, rounded up to a power of
/// two of whole pages. One-way (duplex = false): the first end receives, the second sends.
struct BytePipeOptions {
    bool duplex{true};
    std::size_t capacity_bytes{1U << 20U};
    Wait wait{};                 ///< how its users wait
    MemoryOptions memory{};      ///< where its memory lies
    unsigned permissions{0600};  ///< of a named one's file
};

/// One end of a BytePipe. Owners, closing, deaths and errors are those of Connection<T>.
/// Callers: one thread a direction.
class ByteConnection {
 public:
    /// A message that is sent.
    using Bytes = std::span<const std::byte>;

    /// Sends one message of any length. Blocks: until there is room. A message longer than 128 KiB,
    /// or than half the ring, travels in fragments; the sender's death discards a half-sent one.
    void send(Bytes message) const;
    /// Blocks: never for a message that is one fragment; a longer one, once begun, is finished.
    [[nodiscard]] bool try_send(Bytes message) const;
    template <class Rep, class Period>
    [[nodiscard]] bool try_send_for(Bytes message,
                                    std::chrono::duration<Rep, Period> timeout) const {
        return send_until(message, detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_send_until(Bytes message,
                                      std::chrono::time_point<Clock, Duration> time) const {
        return send_until(message, detail::Deadline::at(time));
    }

    /// Receives one message. Blocks: until there is one.
    std::vector<std::byte> recv() const;
    [[nodiscard]] std::optional<std::vector<std::byte>> try_recv() const;
    template <class Rep, class Period>
    [[nodiscard]] std::optional<std::vector<std::byte>> try_recv_for(
        std::chrono::duration<Rep, Period> timeout) const {
        return recv_until(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] std::optional<std::vector<std::byte>> try_recv_until(
        std::chrono::time_point<Clock, Duration> time) const {
        return recv_until(detail::Deadline::at(time));
    }
    /// Receives one message into `buffer` and returns its length. Errors: std::length_error when
    /// the buffer is too short: it names both lengths, and the message stays. Blocks: until there
    /// is one.
    std::size_t recv_into(std::span<std::byte> buffer) const;
    [[nodiscard]] std::optional<std::size_t> try_recv_into(std::span<std::byte> buffer) const;
    template <class Rep, class Period>
    [[nodiscard]] std::optional<std::size_t> try_recv_into_for(
        std::span<std::byte> buffer, std::chrono::duration<Rep, Period> timeout) const {
        return recv_into_until(buffer, detail::Deadline::after(timeout));
    }

    /// Room in the ring for a message of that many bytes, at most claim_max(). Blocks: until there
    /// is room. Nothing is sent until commit(); a second claim() without it forgets the first.
    std::span<std::byte> claim(std::size_t bytes) const;
    [[nodiscard]] std::optional<std::span<std::byte>> try_claim(std::size_t bytes) const;
    template <class Rep, class Period>
    [[nodiscard]] std::optional<std::span<std::byte>> try_claim_for(
        std::size_t bytes, std::chrono::duration<Rep, Period> timeout) const {
        return claim_until(bytes, detail::Deadline::after(timeout));
    }
    /// Sends what was claimed, or its first `bytes`. Errors: Error without a claim, or for more
    /// than it.
    void commit() const;
    void commit(std::size_t bytes) const;
    std::size_t claim_max() const;

    /// The oldest message in place (a fragmented one is gathered first). Valid until consume().
    /// Blocks: until there is one. A second peek() gives the same message.
    Bytes peek() const;
    [[nodiscard]] std::optional<Bytes> try_peek() const;
    template <class Rep, class Period>
    [[nodiscard]] std::optional<Bytes> try_peek_for(
        std::chrono::duration<Rep, Period> timeout) const {
        return peek_until(detail::Deadline::after(timeout));
    }
    /// Takes the message that was peeked at. Until then the end cannot be passed to a child.
    /// Errors: Error without a peek.
    void consume() const;

    /// Whether recv() would not block: a message is there, or the other end has ended (then recv
    /// throws).
    bool poll() const;
    template <class Rep, class Period>
    bool poll_for(std::chrono::duration<Rep, Period> timeout) const {
        return poll_until(detail::Deadline::after(timeout));
    }

    /// By the owner: closes the end. By any other process: drops that process's copy.
    void close() const;
    bool closed() const;

 private:
    friend struct BytePipe;
    template <class>
    friend struct detail::HandOver;
    template <class>
    friend struct detail::Passing;
    struct Body;

    explicit ByteConnection(std::shared_ptr<Body> body) : body_(std::move(body)) {}
    static ByteConnection wrap(std::shared_ptr<detail::ByteChannel> channel);
    detail::ConnectionCore& core() const;
    void prepare_hand_over() const;
    void pack(detail::Parcel& parcel) const;
    static ByteConnection unpack(detail::Unparcel& parcel);

    bool send_until(Bytes message, detail::Deadline deadline) const;
    std::optional<std::vector<std::byte>> recv_until(detail::Deadline deadline) const;
    std::optional<std::size_t> recv_into_until(std::span<std::byte> buffer,
                                               detail::Deadline deadline) const;
    std::optional<std::span<std::byte>> claim_until(std::size_t bytes,
                                                    detail::Deadline deadline) const;
    std::optional<Bytes> peek_until(detail::Deadline deadline) const;
    bool poll_until(detail::Deadline deadline) const;

    std::shared_ptr<Body> body_;
};

/// Two connected ends: `auto [parent, child] = sluice::BytePipe();`
struct BytePipe {
    /// Makes an anonymous duplex pipe with a ring of 1 MiB each way. Errors: std::system_error: no
    /// memory.
    BytePipe();
    explicit BytePipe(std::size_t capacity_bytes);
    explicit BytePipe(BytePipeOptions options);

    /// Named pipes, as Pipe<T>'s.
    static BytePipe create(std::string_view name, BytePipeOptions options = {});
    static BytePipe open(std::string_view name);
    static BytePipe open_or_create(std::string_view name, BytePipeOptions options = {});
    static void unlink(std::string_view name);

    ByteConnection first;   ///< one end
    ByteConnection second;  ///< the other

 private:
    BytePipe(ByteConnection one, ByteConnection two);
    friend class Manager;
    static BytePipe make(const shm::SegmentPlace& place, detail::Open how,
                         const BytePipeOptions& options);
};

template <>
struct detail::HandOver<ByteConnection> {
    static void prepare(ByteConnection& connection) { connection.prepare_hand_over(); }
    static void cancel(ByteConnection& connection) noexcept {
        connection.core().cancel_hand_over();
    }
    static void finish(ByteConnection& connection, pid_t child) noexcept {
        connection.core().finish_hand_over(child);
    }
    static void adopt(ByteConnection& connection) { connection.core().adopt(); }
};

template <>
struct detail::Passing<ByteConnection> {
    static void pack(const ByteConnection& connection, Parcel& parcel) { connection.pack(parcel); }
    static ByteConnection unpack(Unparcel& parcel) { return ByteConnection::unpack(parcel); }
};

}  // namespace sluice
