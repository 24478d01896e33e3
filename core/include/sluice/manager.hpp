// Manager: many objects in one file, found by their names.
//
//     sluice::Manager manager;                    // or Manager::create("house"), open("house")
//     auto door = manager.lock("door");           // makes it; whoever asks next opens it
//     auto ticks = manager.queue<Tick>("ticks", {.capacity = 4096});
//     sluice::Process p([manager] { manager.queue<Tick>("ticks").put({}); });
//
// Python's Manager is a server, and each call on what it manages a message to it. Here it is
// memory only: its objects are those that their classes make by themselves, as fast and as safe,
// and only finding them by name takes a look at a table (shm/directory.hpp). Objects that are made
// after a fork are found by all who have the Manager.
//
// For Python's Namespace take a Dict of strings, or a Value or Guarded of a struct.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/array.hpp"
#include "sluice/barrier.hpp"
#include "sluice/byte_pipe.hpp"
#include "sluice/condition.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/dict.hpp"
#include "sluice/event.hpp"
#include "sluice/guarded.hpp"
#include "sluice/list.hpp"
#include "sluice/lock.hpp"
#include "sluice/pipe.hpp"
#include "sluice/placement.hpp"
#include "sluice/queue.hpp"
#include "sluice/rw_lock.hpp"
#include "sluice/semaphore.hpp"
#include "sluice/shm/directory.hpp"
#include "sluice/value.hpp"

namespace sluice {

/// How a Manager is made. memory: of its table; each object has its own, but for huge pages: the
/// file has none of its own (HugePages::require throws, prefer works). permissions: of a named
/// one's file, and so of all that is in it.
struct ManagerOptions {
    MemoryOptions memory{};
    unsigned permissions{0600};
};

/// What a Manager holds under a name. type: of the values, where there are any.
struct ManagerEntry {
    std::string name{};  ///< what it was made under
    std::string kind{};  ///< "lock", "queue", ...
    std::string type{};
};

/// A handle: copies lead to the same Manager, also in children made by fork; a spawned child, and a
/// Pool's task, get it as an argument, anybody else by its name.
///
/// Objects: with a name each call makes the object, or opens it where it exists; its options (and
/// first value, capacity, parties) count only for the maker. Two who ask at once get the same one.
/// A name is 1 to 200 letters, digits, '.', '_' or '-'. Without a name the object is a new one that
/// nobody finds: it is passed on, and goes with its last handle. At most 1,024 objects.
/// Errors: BadSegment: the name is that of another kind, or of values of another type, both of
/// which are named; std::system_error: ENOSPC: it is full, EFBIG: the object is too large for its
/// part of the file (a queue of packed values: 32,768 messages), or a process without room for
/// another participant (512 threads) or descriptor; each object that is open takes one.
/// Lifetime: a named object stays as long as its name, or whoever uses it. An anonymous Manager
/// goes with the last handle on it or on any of its objects; those outlive its own handles.
/// Blocks: finding, making and removing wait for whoever does the same, a few microseconds.
/// Crash: killed at any instruction, its maker leaves the object complete or nothing, its remover
/// the name or not; whoever comes by next clears the memory that was left.
/// Limits: a process that closes descriptors it did not open lets go of its objects' memory.
class Manager {
 public:
    /// Makes an anonymous one. Errors: std::system_error: no memory.
    Manager() : Manager(ManagerOptions{}) {}
    explicit Manager(ManagerOptions options) : Manager({}, detail::Open::anonymous, options) {}

    /// Makes a named one. Errors: std::system_error with EEXIST when the name is taken.
    static Manager create(std::string_view name, ManagerOptions options = {}) {
        return Manager(name, detail::Open::create, options);
    }
    /// Opens a named one. Errors: std::system_error with ENOENT; BadSegment when it is no Manager.
    static Manager open(std::string_view name) { return Manager(name, detail::Open::open, {}); }
    /// Opens it, or makes it where it does not exist; options count only for the maker.
    static Manager open_or_create(std::string_view name, ManagerOptions options = {}) {
        return Manager(name, detail::Open::open_or_create, options);
    }
    /// Removes the Manager's name; who has it or its objects open goes on.
    /// Errors: std::system_error with ENOENT.
    static void unlink(std::string_view name);

    /// The object of that name, or a new one without a name: see above.
    Lock lock(std::string_view name = {}, LockOptions options = {}) const {
        return Lock(place(name), how(name), options);
    }
    RLock rlock(std::string_view name = {}, LockOptions options = {}) const {
        return RLock(place(name), how(name), options);
    }
    RWLock rw_lock(std::string_view name = {}, LockOptions options = {}) const {
        return RWLock(place(name), how(name), options);
    }
    Semaphore semaphore(std::string_view name, unsigned value = 1,
                        SemaphoreOptions options = {}) const {
        return Semaphore(Semaphore::kKind, place(name), how(name), value, options);
    }
    Semaphore semaphore(unsigned value = 1, SemaphoreOptions options = {}) const {
        return semaphore(std::string_view{}, value, options);
    }
    BoundedSemaphore bounded_semaphore(std::string_view name, unsigned value = 1,
                                       SemaphoreOptions options = {}) const {
        return BoundedSemaphore(BoundedSemaphore::kKind, place(name), how(name), value, options);
    }
    BoundedSemaphore bounded_semaphore(unsigned value = 1, SemaphoreOptions options = {}) const {
        return bounded_semaphore(std::string_view{}, value, options);
    }
    Event event(std::string_view name = {}, EventOptions options = {}) const {
        return Event(place(name), how(name), options);
    }
    /// It has no lock of its own: each wait names the one it is used with.
    Condition condition(std::string_view name = {}, ConditionOptions options = {}) const {
        return Condition(place(name), how(name), options);
    }
    Barrier barrier(std::string_view name, unsigned parties, BarrierOptions options = {}) const {
        return Barrier(place(name), how(name), parties, options);
    }
    Barrier barrier(unsigned parties, BarrierOptions options = {}) const {
        return barrier(std::string_view{}, parties, options);
    }
    template <class T>
    Guarded<T> guarded(std::string_view name = {}, const T& initial = T{},
                       GuardedOptions options = {}) const {
        return Guarded<T>(place(name), how(name), initial, options);
    }
    template <class T>
    Value<T> value(std::string_view name = {}, const T& initial = T{},
                   ValueOptions options = {}) const {
        return Value<T>(place(name), how(name), Value<T>::Codec::encode(initial), options);
    }
    template <class T>
    Array<T> array(std::string_view name, std::size_t size, ArrayOptions options = {}) const {
        return Array<T>(place(name), how(name), size, options);
    }
    template <class T>
    Array<T> array(std::size_t size, ArrayOptions options = {}) const {
        return array<T>(std::string_view{}, size, options);
    }
    template <class K, class V>
    Dict<K, V> dict(std::string_view name = {}, const DictOptions& options = {}) const {
        return Dict<K, V>(place(name), how(name), options);
    }
    template <class T>
    List<T> list(std::string_view name = {}, const ListOptions& options = {}) const {
        return List<T>(place(name), how(name), options);
    }
    template <class T>
    Queue<T> queue(std::string_view name = {}, QueueOptions options = {}) const {
        return Queue<T>(place(name), how(name), options);
    }
    /// As Pipe::open(): who opens it uses `first` or `second` as the two sides have agreed.
    template <class T>
    Pipe<T> pipe(std::string_view name = {}, PipeOptions options = {}) const {
        return Pipe<T>::make(place(name), how(name), options);
    }
    BytePipe byte_pipe(std::string_view name = {}, BytePipeOptions options = {}) const {
        return BytePipe::make(place(name), how(name), options);
    }

    /// What has a name now, in alphabetical order.
    std::vector<std::string> names() const;
    /// The same, with what each is.
    std::vector<ManagerEntry> entries() const;
    bool contains(std::string_view name) const;
    /// Takes the name away, which is free again; who has the object open goes on, and its memory
    /// goes with the last of them. False: there is no such name.
    /// Commit store: the entry's state.
    bool remove(std::string_view name) const;

    /// "" for an anonymous one.
    std::string_view name() const { return directory_->segment().name(); }
    /// Memory that the kernel holds for all of it. Units: bytes.
    std::uint64_t memory_bytes() const { return directory_->segment().mapping().bytes_allocated(); }

 private:
    template <class>
    friend struct detail::Passing;

    Manager(std::string_view name, detail::Open how, const ManagerOptions& options);
    explicit Manager(std::shared_ptr<shm::Directory> directory)
        : directory_(std::move(directory)) {}
    static std::shared_ptr<shm::Directory> received(detail::Unparcel& parcel);

    shm::SegmentPlace place(std::string_view name) const { return {name, directory_}; }
    static detail::Open how(std::string_view name) noexcept {
        return name.empty() ? detail::Open::anonymous : detail::Open::open_or_create;
    }

    std::shared_ptr<shm::Directory> directory_;
};

template <>
struct detail::Passing<Manager> {
    static constexpr bool kIsShared = true;
    static void pack(const Manager& manager, Parcel& parcel) {
        parcel.put_segment(manager.directory_->segment(), "Manager");
    }
    static Manager unpack(Unparcel& parcel) { return Manager(Manager::received(parcel)); }
};

}  // namespace sluice
