// Messages of any length over two byte rings: what ByteConnection and Connection<T> of packed
// values share. A message longer than a record carries travels in fragments; a sender's death
// discards a half-sent one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/detail/connection_core.hpp"
#include "sluice/shm/byte_ring.hpp"

namespace sluice::detail {

/// How a pipe of bytes is made.
struct ByteChannelShape {
    std::uint64_t ring_bytes{};  // of each direction; rounded up to a power of two of whole pages
    bool duplex{};
    Wait wait{};
    shm::SegmentKind kind{};
    std::uint64_t type_signature{};
    std::string type_text{};
    std::string_view noun{};  // for messages: "BytePipe"
};

class ByteChannel final : public ConnectionCore {
 public:
    struct Ends {
        std::shared_ptr<ByteChannel> first{};
        std::shared_ptr<ByteChannel> second{};
    };
    static Ends make(const Origin& origin, const ByteChannelShape& shape);

    /// An end that a parent passed to this process: see parcel.hpp. `shape`: what is the same in
    /// every pipe of the kind.
    static std::shared_ptr<ByteChannel> unpack(Unparcel& parcel, const ByteChannelShape& shape);
    /// Throws Error while a message is half received: what came of it would stay behind.
    void require_whole() const;

    ByteChannel(std::shared_ptr<PipeSegment> pipe, Side side, std::shared_ptr<std::byte> forward,
                std::shared_ptr<std::byte> backward);
    ~ByteChannel() override;

    /// False when the deadline passed before there was room for the first fragment; once begun, a
    /// message is finished. Throws Closed.
    bool send(std::span<const std::byte> message, Deadline deadline);

    /// One message, in place where it is one record, else gathered in `gathered`, which must be the
    /// same each time: false when the deadline passed first, and then the fragments that have come
    /// stay there. Throws Closed once drained, BadSegment. finish() takes it.
    bool receive(std::span<const std::byte>& message, std::vector<std::byte>& gathered,
                 Deadline deadline);
    /// Commit store of the receive: to be called once after each, before the next.
    void finish();

    bool poll(Deadline deadline);

    /// Zero copy. Null when the deadline passed. Throws std::invalid_argument above claim_max(),
    /// Closed.
    std::byte* claim(std::uint64_t bytes, Deadline deadline);
    void commit(std::uint64_t bytes);
    std::uint64_t claim_max() const noexcept { return sending_.claim_max(); }

 protected:
    void resume() override;

 private:
    // Smaller than the ring may hold, so that the receiver copies one while the sender copies the
    // next.
    static constexpr std::uint64_t kFragmentBytes = 128U << 10U;

    enum class Taken : std::uint8_t { record, nothing };
    bool wait_record(std::span<const std::byte>& payload, std::uint32_t& flags, Deadline deadline);
    /// The rest of a fragmented message: `message` is a fragment of it, not consumed yet.
    bool gather(std::span<const std::byte>& message, std::uint32_t flags,
                std::vector<std::byte>& gathered, Deadline deadline);
    std::uint64_t fragment_bytes() const noexcept;

    std::shared_ptr<std::byte> forward_;   // the mirrored data, first -> second
    std::shared_ptr<std::byte> backward_;  // second -> first
    shm::ByteRing sending_{};
    shm::ByteRing receiving_{};
    std::uint64_t in_place_bytes_{kNothing};
    bool gathering_{};  // some fragments of a message were taken, not yet the last
    static constexpr std::uint64_t kNothing = ~std::uint64_t{0};
};

}  // namespace sluice::detail
