// Guarded<T>: a value together with the lock that guards it. Readers never wait, and a writer that
// dies leaves what was committed last.
//
//     sluice::Guarded<Book> book;                 // or Guarded<Book>::create("book"), open("book")
//     auto draft = book.write();                  // here, or in any other process
//     draft->bid = 101;
//     draft.commit();                             // until here nobody sees anything of it
//     ...
//     const Book now = book.read();               // whole, of one commit
//
// The value lies there twice (shm/guarded_word.hpp): one is read while the other is written, and
// one store says which is which.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "sluice/codec.hpp"
#include "sluice/detail/guarded_core.hpp"
#include "sluice/detail/handle.hpp"
#include "sluice/error.hpp"
#include "sluice/placement.hpp"
#include "sluice/wait.hpp"

namespace sluice {

/// How a guarded value is made. Units: permissions are those of a named one's file. `wait`: how
/// writers wait for each other.
struct GuardedOptions {
    Wait wait{};
    MemoryOptions memory{};  ///< where its memory lies
    unsigned permissions{0600};
};

template <class T>
class Guarded;

/// A value in the making: a copy of the committed one, to be changed at leisure. commit() makes it
/// the value; dropping it, or dying, changes nothing.
/// Callers: the thread that called write(), which is the only one that writes as long as the draft
/// lives.
template <class T>
class Draft {
 public:
    /// Moves it; the other cannot be committed any more.
    Draft(Draft&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
        : core_(std::exchange(other.core_, nullptr)),
          generation_(other.generation_),
          value_(std::move(other.value_)) {}
    Draft& operator=(Draft&&) = delete;
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;
    ~Draft() {
        if (core_ && is_mine(*core_)) {
            core_->end();
        }
    }

    /// The copy.
    T& operator*() noexcept { return value_; }
    T* operator->() noexcept { return &value_; }
    const T& operator*() const noexcept { return value_; }
    const T* operator->() const noexcept { return &value_; }

    /// Makes this the value, and lets others write. The draft cannot be committed again.
    /// Blocks: never. Commit store: the version, after all of the value.
    /// Errors: Error: committed or moved from already, or another thread's.
    void commit() {
        const auto core = std::exchange(core_, nullptr);
        if (!core || !is_mine(*core)) {
            throw_not_writer(core);
        }
        alignas(std::uint64_t) std::byte words[Guarded<T>::kWordBytes]{};
        store_plain(words, value_);
        core->word().template commit<sizeof words>(words);
        core->end();
    }

 private:
    friend class Guarded<T>;
    Draft(std::shared_ptr<detail::GuardedCore> core, T value)
        : core_(std::move(core)), value_(std::move(value)) {}

    // In a child made by fork the draft is its parent's, also once the child writes itself.
    bool is_mine(detail::GuardedCore& core) const noexcept {
        return generation_ == shm::fork_generation && core.is_writer();
    }
    [[noreturn]] static void throw_not_writer(const std::shared_ptr<detail::GuardedCore>& core) {
        if (core) {
            core->throw_not_writer();
        }
        throw Error("Draft: it was committed or moved from already");
    }

    std::shared_ptr<detail::GuardedCore> core_;
    std::uint32_t generation_{shm::fork_generation};
    T value_;
};

/// One value of a plain type, shared by any processes and threads. A handle: copies lead to the
/// same value, also in children made by fork.
///
/// Progress: reading is lock-free and never waits, whatever writers do, and whoever has died or
/// was stopped; writing is blocking, one at a time.
/// Errors: Error: this thread writes already (which would wait for ever); std::system_error: a
/// writer finds no place among the 512 participants. Readers need none.
/// Callers: any thread of any process that holds a handle.
/// Crash: a writer's death before its commit store leaves the value as it was, and lets the next
/// one write at once; after it, the new value is there.
/// Cost: reading copies the value and looks at one word twice, no system call ever; writing copies
/// it out and in, and locks.
template <class T>
class Guarded : public detail::Handle<detail::GuardedCore> {
    static_assert(Plain<T>,
                  "sluice: Guarded<T> holds plain values (trivially copyable, without pointers or "
                  "views; see sluice::is_shareable): others have no fixed size");

 public:
    /// Makes an anonymous one. Errors: std::system_error: no memory.
    Guarded() requires std::default_initializable<T> : Guarded(T{}) {}
    explicit Guarded(const T& initial, GuardedOptions options = {})
        : Guarded({}, detail::Open::anonymous, initial, options) {}

    /// Makes a named one. Errors: std::system_error with EEXIST when the name is taken.
    static Guarded create(std::string_view name, const T& initial, GuardedOptions options = {}) {
        return Guarded(name, detail::Open::create, initial, options);
    }
    static Guarded create(std::string_view name) requires std::default_initializable<T> {
        return create(name, T{});
    }
    /// Opens a named one. Errors: std::system_error with ENOENT; BadSegment when it is no
    /// Guarded<T>.
    static Guarded open(std::string_view name) {
        return Guarded({name, detail::Open::open, GuardedOptions{}}, shape(Words{}, {}));
    }
    /// Opens it, or makes it where it does not exist; the value and the options count only for the
    /// maker.
    static Guarded open_or_create(std::string_view name, const T& initial,
                                  GuardedOptions options = {}) {
        return Guarded(name, detail::Open::open_or_create, initial, options);
    }
    static Guarded open_or_create(std::string_view name) requires std::default_initializable<T> {
        return open_or_create(name, T{});
    }
    /// Removes the name; who has it open goes on. Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name) { detail::unlink_object("Guarded", name); }

    /// The committed value. Blocks: never.
    T read() const {
        Words words;
        core_->word().template read<kWordBytes>(words.bytes);
        return load_plain<T>(words.bytes);
    }

    /// Begins to write. Blocks: while another writes.
    [[nodiscard]] Draft<T> write() const {
        static_cast<void>(core_->begin(detail::Deadline::never()));
        return draft();
    }
    /// The same if nobody else writes; nothing too where this thread does. Blocks: never.
    [[nodiscard]] std::optional<Draft<T>> try_write() const {
        return core_->try_begin() ? std::optional<Draft<T>>(draft()) : std::nullopt;
    }
    template <class Rep, class Period>
    [[nodiscard]] std::optional<Draft<T>> try_write_for(
        std::chrono::duration<Rep, Period> timeout) const {
        return write_until(detail::Deadline::after(timeout));
    }
    template <class Clock, class Duration>
    [[nodiscard]] std::optional<Draft<T>> try_write_until(
        std::chrono::time_point<Clock, Duration> time) const {
        return write_until(detail::Deadline::at(time));
    }

    /// Replaces the value. Blocks: while another writes.
    void store(const T& value) const {
        update([&](T& old) { old = value; });
    }
    /// Changes the value by `change(T&)`; if that throws, nothing has happened. Blocks: while
    /// another writes.
    template <class Change>
    void update(Change&& change) const {
        Draft<T> changed = write();
        change(*changed);
        changed.commit();
    }

    /// How often it was committed: tells a reader cheaply whether there is anything new.
    std::uint64_t version() const { return core_->word().version(); }
    /// "" for an anonymous one.
    std::string_view name() const { return core_->segment().name(); }

 private:
    friend class Draft<T>;
    friend class Manager;
    static constexpr std::size_t kWordBytes =
        shm::round_up(plain_bytes<T> == 0 ? 1 : plain_bytes<T>, sizeof(std::uint64_t));
    struct Words {
        alignas(std::uint64_t) std::byte bytes[kWordBytes];
    };

    friend struct detail::Passing<Guarded<T>>;
    using Handle::Handle;
    Guarded(const shm::SegmentPlace& place, detail::Open how, const T& initial,
            const GuardedOptions& options)
        : Handle({place, how, options}, shape(words_of(initial), options.wait)) {}
    static std::shared_ptr<detail::GuardedCore> received(detail::Unparcel& parcel) {
        return Handle::received(parcel, shape(Words{}, {}));
    }
    static Words words_of(const T& value) noexcept {
        Words words{};
        store_plain(words.bytes, value);
        return words;
    }
    // It refers to the words.
    static detail::GuardedShape shape(const Words& initial, Wait wait) {
        return {initial.bytes, type_signature<T>(), type_description<T>(), wait};
    }
    // Of the committed value: nobody else writes.
    Draft<T> draft() const { return Draft<T>(core_, read()); }
    std::optional<Draft<T>> write_until(detail::Deadline deadline) const {
        return core_->begin(deadline) ? std::optional<Draft<T>>(draft()) : std::nullopt;
    }
};

}  // namespace sluice
