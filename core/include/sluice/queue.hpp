// Queue<T>: many producers, many consumers, any processes and threads; bounded, FIFO by claim.
//
//     sluice::Queue<int> q;                       // or Queue<int>::create("ticks"), open("ticks")
//     sluice::Process p([q] { q.put(42); });
//     p.start();
//     int answer = q.get();
//
// A handle is shallow-const and cheap to copy; copies lead to the same queue, also in children made
// by fork. Commit store of a put: the slot's change to FULL; of a get: its change to EMPTY
// (shm/mpmc_ring.hpp). Plain values are copied straight into the slot; packable ones are packed,
// and travel beside the slot where they do not fit it.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "sluice/codec.hpp"
#include "sluice/detail/handle.hpp"
#include "sluice/detail/queue_core.hpp"
#include "sluice/error.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a queue is made. Units: capacity in messages, rounded up to a power of two; slot_bytes: the
/// part of a packed value that lies in its slot (0: 232), no matter for plain values; permissions:
/// of a named queue's file.
struct QueueOptions {
    std::size_t capacity{1024};
    Wait wait{};             ///< how its users wait
    MemoryOptions memory{};  ///< where its memory lies
    std::size_t slot_bytes{};
    unsigned permissions{0600};
};

template <class T>
class Slot;
template <class T>
class Lease;

namespace detail {

/// How values of type T lie in a slot.
template <class T>
struct SlotCodec {
    static constexpr bool kPlain = Plain<T>;
    // In place: the bytes of the slot are the object, so it can be built and read there.
    static constexpr bool kInPlace = kPlain && std::is_trivially_copyable_v<T>;
    static constexpr std::size_t kAlign = plain_align<T> > 8 ? plain_align<T> : 8;
    static constexpr std::size_t kOffset = shm::round_up(sizeof(shm::SlotLayout), kAlign);
    // Small enough to be copied before it is known whether the message will be ours: see
    // MpmcRing::take().
    static constexpr std::size_t kWordBytes = shm::round_up(plain_bytes<T>, sizeof(std::uint64_t));
    static constexpr bool kTaken = kPlain && kWordBytes <= 512;

    static std::uint64_t slot_bytes(std::size_t wanted_inline) noexcept {
        constexpr std::size_t kInlineDefault = 232;  // with its header, four lines
        const std::size_t needed = kPlain
                                       ? kOffset + plain_bytes<T>
                                       : offsetof(shm::ValueSlotLayout, inline_bytes) +
                                             (wanted_inline != 0 ? wanted_inline : kInlineDefault);
        // A slot has its lines to itself: neighbours are claimed by different processes.
        return shm::round_up(needed, shm::kCacheLineBytes);
    }

    static void write(QueueCore& core, const shm::ClaimedSlot& claimed, const T& value,
                      [[maybe_unused]] PackBuffer* packed) {
        if constexpr (kTaken) {
            alignas(std::uint64_t) std::byte words[kWordBytes]{};
            store_plain(words, value);
            shm::store_words<kWordBytes>(claimed.payload(kOffset), words);
        } else if constexpr (kPlain) {
            store_plain(claimed.payload(kOffset), value);
        } else {
            core.write_value(claimed, packed->bytes());
        }
    }

    static T read(QueueCore& core, const shm::ClaimedSlot& claimed) {
        if constexpr (kPlain) {
            return load_plain<T>(claimed.payload(kOffset));
        } else {
            thread_local std::vector<std::byte> buffer;
            const auto room = [](void* context, std::size_t bytes) -> std::span<std::byte> {
                auto& memory = *static_cast<std::vector<std::byte>*>(context);
                memory.resize(bytes);
                return memory;
            };
            const std::span<const std::byte> value = core.read_value(claimed, room, &buffer);
            // A large buffer is not kept for the thread's life.
            struct Shrink {
                ~Shrink() {
                    if (buffer.capacity() > kKeptBytes) {
                        std::vector<std::byte>().swap(buffer);
                    }
                }
            } shrink;
            return Packer<T>::unpack(value);
        }
    }

    static constexpr std::size_t kKeptBytes = 1U << 20U;
};

/// This thread's buffer for packing, empty.
inline PackBuffer& pack_buffer() {
    thread_local PackBuffer buffer;
    buffer.clear();
    return buffer;
}

/// Gives the buffer back after a large value: its memory is not kept for the thread's life.
inline void shrink(PackBuffer& buffer) {
    constexpr std::size_t kKeptBytes = 1U << 20U;
    if (buffer.size() > kKeptBytes) {
        buffer = PackBuffer{};
    }
}

}  // namespace detail

/// A bounded FIFO between any processes and threads.
///
/// Outcomes: `try_` forms return false or nullopt when the queue is full or empty. Empty means *not
/// yet*; it is also the answer while the oldest message has been claimed by a producer and is not
/// published yet.
/// Errors: Closed, from every form; std::system_error when this thread finds no place among the
/// queue's 512 participants; BadSegment when a message's bytes are damaged (the message is taken).
/// Callers: any thread of any process that holds a handle.
/// Crash: a producer killed before its commit store never put; a consumer killed before its own
/// gives the message back. A stopped process is waited for, never robbed.
/// Cost: no system call unless somebody sleeps.
template <class T>
class Queue : public detail::Handle<detail::QueueCore> {
    static_assert(check_shareable<T>());
    using Codec = detail::SlotCodec<T>;

 public:
    /// Makes an anonymous queue for 1024 messages.
    Queue() : Queue(QueueOptions{}) {}
    /// Makes an anonymous queue. Errors: std::invalid_argument: capacity 0 or above 2^26;
    /// std::system_error: no memory.
    explicit Queue(std::size_t capacity) : Queue(QueueOptions{.capacity = capacity}) {}
    explicit Queue(QueueOptions options) : Queue({}, detail::Open::anonymous, options) {}

    /// Makes a named queue. Errors: std::system_error with EEXIST when the name is taken.
    static Queue create(std::string_view name, QueueOptions options = {}) {
        return Queue(name, detail::Open::create, options);
    }
    /// Opens a named queue. Errors: std::system_error with ENOENT; BadSegment when it is not a
    /// queue of T.
    static Queue open(std::string_view name) { return Queue(name, detail::Open::open, {}); }
    /// Opens the queue, or makes it where it does not exist; options count only for the maker.
    static Queue open_or_create(std::string_view name, QueueOptions options = {}) {
        return Queue(name, detail::Open::open_or_create, options);
    }
    /// Removes the name; who has the queue open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("Queue", name); }

    /// Appends the value. Blocks: until there is room.
    void put(const T& value) const {
        PackedValue packed(value);
        shm::ClaimedSlot claimed;
        core_->claim_now(claimed);
        finish_put(claimed, value, packed);
    }
    /// Appends the value if there is room. Blocks: never.
    [[nodiscard]] bool try_put(const T& value) const {
        PackedValue packed(value);
        shm::ClaimedSlot claimed;
        if (!core_->try_claim(claimed)) {
            return false;
        }
        finish_put(claimed, value, packed);
        return true;
    }
    /// Appends the value if there is room in time. Blocks: until room or deadline.
    template <class Rep, class Period>
    [[nodiscard]] bool try_put_for(const T& value,
                                   std::chrono::duration<Rep, Period> timeout) const {
        return put_until(value, detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] bool try_put_until(const T& value,
                                     std::chrono::time_point<Clock, Duration> time) const {
        return put_until(value, detail::Deadline::at(time));
    }

    /// Takes the oldest message. Blocks: until there is one.
    T get() const {
        if constexpr (Codec::kTaken) {
            TakenWords taken;
            if (core_->take(taken) != shm::RingResult::done) {
                core_->take(&TakenWords::copy, &taken, detail::Deadline::never());
            }
            return load_plain<T>(taken.words);
        } else {
            return std::move(*get_until(detail::Deadline::never()));
        }
    }
    /// Takes the oldest message if there is one. Blocks: never.
    [[nodiscard]] std::optional<T> try_get() const {
        if constexpr (Codec::kTaken) {
            TakenWords taken;
            return core_->try_take(taken, &TakenWords::copy, &taken)
                       ? std::optional<T>(load_plain<T>(taken.words))
                       : std::nullopt;
        } else {
            shm::ClaimedSlot claimed;
            if (!core_->try_claim_read(claimed)) {
                return std::nullopt;
            }
            return finish_get(claimed);
        }
    }
    template <class Rep, class Period>
    [[nodiscard]] std::optional<T> try_get_for(std::chrono::duration<Rep, Period> timeout) const {
        return get_until(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] std::optional<T> try_get_until(
        std::chrono::time_point<Clock, Duration> time) const {
        return get_until(detail::Deadline::at(time));
    }

    /// Appends the first of the values, at least one, as many as fit; returns how many. Repeated
    /// single operations: others' messages may come between. Blocks: until there is room for one.
    std::size_t put_many(std::span<const T> values) const {
        return put_many_until(values, detail::Deadline::never());
    }
    /// The same; 0 when there is no room (in time).
    [[nodiscard]] std::size_t try_put_many(std::span<const T> values) const {
        return put_many_until(values, detail::Deadline::passed());
    }
    template <class Rep, class Period>
    [[nodiscard]] std::size_t try_put_many_for(std::span<const T> values,
                                               std::chrono::duration<Rep, Period> timeout) const {
        return put_many_until(values, detail::Deadline::after(timeout));
    }
    /// Takes messages into the span, at least one, as many as are there; returns how many. Blocks:
    /// until there is one.
    std::size_t get_many(std::span<T> values) const {
        return get_many_until(values, detail::Deadline::never());
    }
    /// The same; 0 when there is none (in time).
    [[nodiscard]] std::size_t try_get_many(std::span<T> values) const {
        return get_many_until(values, detail::Deadline::passed());
    }
    template <class Rep, class Period>
    [[nodiscard]] std::size_t try_get_many_for(std::span<T> values,
                                               std::chrono::duration<Rep, Period> timeout) const {
        return get_many_until(values, detail::Deadline::after(timeout));
    }

    /// Claims a slot to build a value in. Blocks: until there is room. Requires: T is
    /// default-constructible.
    Slot<T> claim() const { return std::move(*claim_until(detail::Deadline::never())); }
    [[nodiscard]] std::optional<Slot<T>> try_claim() const {
        return claim_until(detail::Deadline::passed());
    }
    template <class Rep, class Period>
    [[nodiscard]] std::optional<Slot<T>> try_claim_for(
        std::chrono::duration<Rep, Period> timeout) const {
        return claim_until(detail::Deadline::after(timeout));
    }

    /// Takes the oldest message on loan: commit() takes it for good; dropping the lease, or dying,
    /// gives it back. A held lease pins its slot: at most capacity() - 1 later puts succeed.
    /// So does a message given back, until it is taken again: a put may meanwhile find the queue
    /// full with fewer than capacity() messages in it.
    /// Blocks: until there is one.
    Lease<T> lease() const { return std::move(*lease_until(detail::Deadline::never())); }
    [[nodiscard]] std::optional<Lease<T>> try_lease() const {
        return lease_until(detail::Deadline::passed());
    }
    template <class Rep, class Period>
    [[nodiscard]] std::optional<Lease<T>> try_lease_for(
        std::chrono::duration<Rep, Period> timeout) const {
        return lease_until(detail::Deadline::after(timeout));
    }

    /// Reports one message that this process got as done. Errors: Error when called too often.
    void task_done() const { core_->task_done(); }
    /// Waits until every message put so far was got and reported as done. A dead getter's open
    /// tasks count as done. Blocks: until then.
    void join() const { static_cast<void>(core_->join(detail::Deadline::never())); }
    [[nodiscard]] bool try_join() const { return core_->join(detail::Deadline::passed()); }
    template <class Rep, class Period>
    [[nodiscard]] bool try_join_for(std::chrono::duration<Rep, Period> timeout) const {
        return core_->join(detail::Deadline::after(timeout));
    }

    /// Messages in the queue. Exact when nobody operates, else some number it had meanwhile.
    std::size_t size() const { return core_->ring().size(); }
    bool empty() const { return size() == 0; }
    bool full() const { return core_->ring().full(); }
    std::size_t capacity() const { return core_->ring().capacity(); }

    /// Wakes everyone: put throws Closed from now on; get drains, then throws Closed. Cannot be
    /// undone.
    void close() const { core_->ring().close(); }
    bool closed() const { return core_->ring().closed(); }

    /// "" for an anonymous queue.
    std::string_view name() const { return core_->segment().name(); }
    /// On which nodes its pages lie, read back from the kernel.
    shm::NodeReport placement() const { return core_->segment().mapping().node_report(); }
    /// Memory that the kernel holds for it, values beside their slots included. Units: bytes.
    std::uint64_t memory_bytes() const { return core_->segment().mapping().bytes_allocated(); }

 private:
    friend class Manager;
    friend struct detail::Passing<Queue>;
    using Handle::Handle;
    Queue(const shm::SegmentPlace& place, detail::Open how, const QueueOptions& options)
        : Handle({place, how, options}, shape(options)) {}
    static std::shared_ptr<detail::QueueCore> received(detail::Unparcel& parcel) {
        return Handle::received(parcel, shape({}));
    }

    // The packed form is made before a slot is claimed: packing may throw, or be slow.
    struct PackedValue {
        PackBuffer* buffer{};
        explicit PackedValue(const T& value) {
            if constexpr (!Codec::kPlain) {
                buffer = &detail::pack_buffer();
                Packer<T>::pack(value, *buffer);
            }
        }
        PackedValue(const PackedValue&) = delete;
        PackedValue& operator=(const PackedValue&) = delete;
        ~PackedValue() {
            if constexpr (!Codec::kPlain) {
                detail::shrink(*buffer);
            }
        }
    };

    static constexpr std::size_t kSlotBytesMax = std::size_t{1} << 30U;

    // A payload copied before it is known whether the message is ours.
    struct TakenWords {
        alignas(std::uint64_t) std::byte words[Codec::kTaken ? Codec::kWordBytes : 8];

        void operator()(const std::byte* slot) noexcept {
            shm::load_words<sizeof words>(words, slot + Codec::kOffset);
        }
        static void copy(void* self, const std::byte* slot) noexcept {
            (*static_cast<TakenWords*>(self))(slot);
        }
    };

    static detail::QueueShape shape(const QueueOptions& options) {
        if (options.slot_bytes > kSlotBytesMax) {
            throw std::invalid_argument("Queue: slot_bytes is at most " +
                                        std::to_string(kSlotBytesMax) + ", not " +
                                        std::to_string(options.slot_bytes));
        }
        detail::QueueShape shape;
        shape.capacity = options.capacity;
        shape.slot_bytes = Codec::slot_bytes(options.slot_bytes);
        shape.values_have_extents = !Codec::kPlain;
        shape.type_signature = type_signature<T>();
        shape.type_text = type_description<T>();
        shape.wait = options.wait;
        return shape;
    }

    void finish_put(const shm::ClaimedSlot& claimed, const T& value, PackedValue& packed) const {
        try {
            Codec::write(*core_, claimed, value, packed.buffer);
        } catch (...) {
            core_->ring().abandon(claimed);  // no memory beside the slots: nothing was put
            throw;
        }
        core_->publish(claimed);
    }
    T finish_get(const shm::ClaimedSlot& claimed) const {
        // Whatever reading throws (a damaged message, no memory), the message counts as taken: left
        // in place it would block the queue for everybody.
        struct Commit {
            detail::QueueCore& core;
            const shm::ClaimedSlot& claimed;
            ~Commit() { core.commit(claimed); }
        } commit{*core_, claimed};
        return Codec::read(*core_, claimed);
    }

    bool put_until(const T& value, detail::Deadline deadline) const {
        PackedValue packed(value);
        shm::ClaimedSlot claimed;
        if (core_->ring().claim(claimed) != shm::RingResult::done &&
            !core_->claim(claimed, deadline)) {
            return false;
        }
        finish_put(claimed, value, packed);
        return true;
    }
    std::optional<T> get_until(detail::Deadline deadline) const {
        if constexpr (Codec::kTaken) {
            TakenWords taken;
            if (core_->take(taken) != shm::RingResult::done &&
                !core_->take(&TakenWords::copy, &taken, deadline)) {
                return std::nullopt;
            }
            return load_plain<T>(taken.words);
        } else {
            shm::ClaimedSlot claimed;
            if (!core_->claim_read(claimed, deadline)) {
                return std::nullopt;
            }
            return finish_get(claimed);
        }
    }
    std::size_t put_many_until(std::span<const T> values, detail::Deadline deadline) const {
        if (values.empty() || !put_until(values[0], deadline)) {
            return 0;
        }
        std::size_t count = 1;
        while (count < values.size() && try_put_unless_closed(values[count])) {
            ++count;
        }
        return count;
    }
    std::size_t get_many_until(std::span<T> values, detail::Deadline deadline) const {
        if (values.empty()) {
            return 0;
        }
        std::optional<T> value = get_until(deadline);
        std::size_t count = 0;
        while (value) {
            values[count++] = std::move(*value);
            if (count == values.size()) {
                break;
            }
            value = try_get_unless_closed();
        }
        return count;
    }
    // What was done before the queue was closed is reported, not thrown away.
    bool try_put_unless_closed(const T& value) const {
        try {
            return try_put(value);
        } catch (const Closed&) {
            return false;
        }
    }
    std::optional<T> try_get_unless_closed() const {
        try {
            return try_get();
        } catch (const Closed&) {
            return std::nullopt;
        }
    }
    std::optional<Slot<T>> claim_until(detail::Deadline deadline) const {
        shm::ClaimedSlot claimed;
        if (!core_->claim(claimed, deadline)) {
            return std::nullopt;
        }
        return Slot<T>(core_, claimed);
    }
    std::optional<Lease<T>> lease_until(detail::Deadline deadline) const {
        shm::ClaimedSlot claimed;
        if (!core_->claim_read(claimed, deadline)) {
            return std::nullopt;
        }
        return Lease<T>(core_, claimed);
    }
};

/// A claimed slot: build the value in it, then publish(). Dropping it gives the slot up: consumers
/// pass it by. Zero copy for trivially copyable T; other types are built here and stored by
/// publish().
/// Callers: the claim is that of the thread that made it, and ends with it. In a child made by fork
/// it is the parent's: there publish() throws NotPermitted and dropping it does nothing.
/// Crash: nothing was put until publish()'s compare-and-swap.
template <class T>
class Slot {
    using Codec = detail::SlotCodec<T>;

 public:
    /// Leaves the other one empty.
    Slot(Slot&& other) noexcept
        : core_(std::exchange(other.core_, nullptr)),
          claimed_(other.claimed_),
          claim_(other.claim_),
          value_(std::move(other.value_)) {}
    Slot& operator=(Slot&&) = delete;
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() {
        if (core_ && claim_.is_held(*core_)) {
            core_->ring().abandon(claimed_);
        }
    }

    /// The value, to be written. Value-initialised.
    T& operator*() noexcept {
        if constexpr (Codec::kInPlace) {
            return *std::launder(reinterpret_cast<T*>(claimed_.payload(Codec::kOffset)));
        } else {
            return *value_;
        }
    }
    T* operator->() noexcept { return &**this; }

    /// Commit store: the message exists. The slot must not be used afterwards.
    void publish() {
        if (!core_) {
            throw Error("Slot: it was published or moved from already");
        }
        const auto core = std::exchange(core_, nullptr);
        claim_.require(*core);
        if constexpr (!Codec::kInPlace) {
            try {
                PackBuffer* packed = nullptr;
                if constexpr (!Codec::kPlain) {
                    packed = &detail::pack_buffer();
                    Packer<T>::pack(*value_, *packed);
                }
                Codec::write(*core, claimed_, *value_, packed);
                if constexpr (!Codec::kPlain) {
                    detail::shrink(*packed);
                }
            } catch (...) {
                core->ring().abandon(claimed_);
                throw;
            }
        }
        claim_.require_done(*core, core->ring().publish(claimed_));
    }

 private:
    friend class Queue<T>;
    struct Nothing {};

    Slot(std::shared_ptr<detail::QueueCore> core, const shm::ClaimedSlot& claimed)
        : core_(std::move(core)), claimed_(claimed), claim_(claimed) {
        if constexpr (Codec::kInPlace) {
            new (claimed_.payload(Codec::kOffset)) T();
        } else {
            value_.emplace();
        }
    }

    std::shared_ptr<detail::QueueCore> core_;
    shm::ClaimedSlot claimed_;
    detail::HeldClaim claim_;
    std::optional<std::conditional_t<Codec::kInPlace, Nothing, T>> value_{};
};

/// A message on loan. commit() takes it; dropping the lease gives it back, and another consumer (or
/// this one) gets it again, perhaps after younger ones. Zero copy for trivially copyable T.
/// Callers: the lease is that of the thread that took it, and ends with it. In a child made by fork
/// it is the parent's: there commit() throws NotPermitted and dropping it does nothing.
/// Crash: the holder's death gives the message back.
template <class T>
class Lease {
    using Codec = detail::SlotCodec<T>;

 public:
    /// Leaves the other one empty.
    Lease(Lease&& other) noexcept
        : core_(std::exchange(other.core_, nullptr)),
          claimed_(other.claimed_),
          claim_(other.claim_),
          value_(std::move(other.value_)) {}
    Lease& operator=(Lease&&) = delete;
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
        if (core_ && claim_.is_held(*core_)) {
            core_->ring().give_back(claimed_);
        }
    }

    /// The value, as it lies in the queue.
    const T& operator*() const noexcept {
        if constexpr (Codec::kInPlace) {
            return *std::launder(reinterpret_cast<const T*>(claimed_.payload(Codec::kOffset)));
        } else {
            return *value_;
        }
    }
    const T* operator->() const noexcept { return &**this; }

    /// Commit store: the message is taken. The lease must not be used afterwards.
    void commit() {
        if (!core_) {
            throw Error("Lease: it was committed or moved from already");
        }
        const auto core = std::exchange(core_, nullptr);
        claim_.require(*core);
        claim_.require_done(*core, core->commit(claimed_));
    }

 private:
    friend class Queue<T>;
    struct Nothing {};

    Lease(std::shared_ptr<detail::QueueCore> core, const shm::ClaimedSlot& claimed)
        : core_(std::move(core)), claimed_(claimed), claim_(claimed) {
        if constexpr (!Codec::kInPlace) {
            try {
                value_.emplace(Codec::read(*core_, claimed_));
            } catch (const BadSegment&) {
                // it would be damaged for the next, too
                std::exchange(core_, nullptr)->commit(claimed_);
                throw;
            } catch (...) {
                std::exchange(core_, nullptr)->ring().give_back(claimed_);
                throw;
            }
        }
    }

    std::shared_ptr<detail::QueueCore> core_;
    shm::ClaimedSlot claimed_;
    detail::HeldClaim claim_;
    std::optional<std::conditional_t<Codec::kInPlace, Nothing, T>> value_{};
};

}  // namespace sluice
