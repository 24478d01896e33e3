// Scenes of what is no channel: the lock family, guarded values, arrays, containers, a Manager.
//
// An operation 15 opens the object a second time; an argument from 128 on is of that handle. What
// waits without a time limit is here, too: the only living owner that a lock can be given to is
// this thread, which is told that it would deadlock.
#include <array>
#include <csignal>
#include <mutex>
#include <optional>
#include <utility>

#include "fuzz/scene.hpp"
#include "sluice/array.hpp"
#include "sluice/barrier.hpp"
#include "sluice/condition.hpp"
#include "sluice/dict.hpp"
#include "sluice/event.hpp"
#include "sluice/guarded.hpp"
#include "sluice/list.hpp"
#include "sluice/lock.hpp"
#include "sluice/manager.hpp"
#include "sluice/msgpack.hpp"
#include "sluice/rw_lock.hpp"
#include "sluice/semaphore.hpp"
#include "sluice/value.hpp"

namespace sluice::fuzz {
namespace {

constexpr std::size_t kBytesMax = 256U << 10U;

/// `fill` brings the object to its state, `use` does one operation.
template <class Object>
class ObjectScene final : public Scene {
 public:
    using Use = void (*)(const Object& object, std::uint8_t operation, std::uint8_t argument);

    template <class Make, class Fill>
    ObjectScene(std::string title, Use use, Make&& make, Fill&& fill)
        : Scene(std::move(title)), use_(use) {
        {
            const Object made = make(name());
            fill(made);
        }
        capture(std::is_same_v<Object, Manager>);  // the windows of its objects
    }

    bool is_open() const noexcept override { return object_.has_value(); }
    void close() override {
        second_.reset();
        object_.reset();
    }
    void operate(std::uint8_t operation, std::uint8_t argument) override {
        if (operation % 16U == 15) {
            second_.reset();
            expect_mapping_end();
            second_.emplace(Object::open(name()));
        } else {
            use_(second_ && argument >= 128 ? *second_ : *object_, operation % 16U, argument);
        }
    }

 protected:
    void open_handle() override { object_.emplace(Object::open(name())); }

 private:
    Use use_;
    std::optional<Object> object_{};
    std::optional<Object> second_{};
};

template <class Object, class Make, class Fill>
void add(Scenes& scenes, const char* title, typename ObjectScene<Object>::Use use, Make&& make,
         Fill&& fill) {
    scenes.push_back(std::make_unique<ObjectScene<Object>>(title, use, make, fill));
}

const auto as_made = [](const auto&) {};

// Locks and the like -----------------------------------------------------------------------------

template <class L>
void use_lock(const L& lock, std::uint8_t operation, std::uint8_t) {
    switch (operation) {
        case 0:
            lock.lock();
            break;
        case 1:
            lock.unlock();
            break;
        case 2:
            static_cast<void>(lock.try_lock());
            break;
        case 3:
            static_cast<void>(lock.try_lock_for(kMoment));
            break;
        case 4:
            lock.repair();
            break;
        case 5:
            if constexpr (std::is_same_v<L, RWLock>) {
                static_cast<void>(lock.try_lock_shared_for(kMoment));
            }
            break;
        case 6:
            if constexpr (std::is_same_v<L, RWLock>) {
                static_cast<void>(lock.try_lock_shared());
            }
            break;
        case 7:
            if constexpr (std::is_same_v<L, RWLock>) {
                lock.unlock_shared();
            }
            break;
        default:
            static_cast<void>(lock.locked() || lock.abandoned());
    }
}
const auto held_by_the_dead = [](const auto& lock) { leave_a_corpse([&] { lock.lock(); }); };

template <class S>
void use_semaphore(const S& semaphore, std::uint8_t operation, std::uint8_t argument) {
    switch (operation) {
        case 0:
            static_cast<void>(semaphore.try_acquire());
            break;
        case 1:
            static_cast<void>(semaphore.try_acquire_for(kMoment));
            break;
        case 2:
            semaphore.release();
            break;
        case 3:
            semaphore.release(argument);
            break;
        default:
            static_cast<void>(semaphore.value());
    }
}

void use_event(const Event& event, std::uint8_t operation, std::uint8_t) {
    switch (operation) {
        case 0:
            event.set();
            break;
        case 1:
            event.clear();
            break;
        case 2:
            static_cast<void>(event.wait_for(kMoment));
            break;
        default:
            static_cast<void>(event.is_set());
    }
}

void use_barrier(const Barrier& barrier, std::uint8_t operation, std::uint8_t) {
    switch (operation) {
        case 0:
            static_cast<void>(barrier.wait_for(kMoment));
            break;
        case 1:
            barrier.abort();
            break;
        case 2:
            barrier.reset();
            break;
        default:
            static_cast<void>(barrier.waiting() + barrier.parties() + barrier.broken());
    }
}

void use_condition(const Condition& condition, std::uint8_t operation, std::uint8_t argument) {
    static const Lock lock;
    switch (operation) {
        case 0: {
            const std::lock_guard held(lock);
            static_cast<void>(condition.wait_for(lock, kMoment));
            break;
        }
        case 1:
            condition.notify_one();
            break;
        case 2:
            condition.notify(argument);
            break;
        default:
            condition.notify_all();
    }
}

void add_locks(Scenes& scenes) {
    const auto lock = [](const std::string& name) { return Lock::create(name); };
    add<Lock>(scenes, "Lock", use_lock<Lock>, lock, as_made);
    add<Lock>(scenes, "Lock, held by the dead", use_lock<Lock>, lock, held_by_the_dead);
    add<RLock>(
        scenes, "RLock, held by the dead", use_lock<RLock>,
        [](const std::string& name) { return RLock::create(name); }, held_by_the_dead);
    const auto rw_lock = [](const std::string& name) { return RWLock::create(name); };
    add<RWLock>(scenes, "RWLock, read by the dead", use_lock<RWLock>, rw_lock,
                [](const RWLock& made) { leave_a_corpse([&] { made.lock_shared(); }); });
    add<RWLock>(scenes, "RWLock, held by the dead", use_lock<RWLock>, rw_lock, held_by_the_dead);
    add<Semaphore>(
        scenes, "Semaphore", use_semaphore<Semaphore>,
        [](const std::string& name) { return Semaphore::create(name, 3); },
        [](const Semaphore& made) { made.acquire(); });
    add<BoundedSemaphore>(
        scenes, "BoundedSemaphore, a permit of the dead", use_semaphore<BoundedSemaphore>,
        [](const std::string& name) { return BoundedSemaphore::create(name, 3, {.owned = true}); },
        [](const BoundedSemaphore& made) { leave_a_corpse([&] { made.acquire(); }); });
    add<Event>(
        scenes, "Event", use_event, [](const std::string& name) { return Event::create(name); },
        [](const Event& made) { made.set(); });
    add<Barrier>(
        scenes, "Barrier, a party killed", use_barrier,
        [](const std::string& name) { return Barrier::create(name, 2); },
        [](const Barrier& made) {
            leave_a_corpse([&] {
                try {
                    static_cast<void>(made.wait_for(kMoment));
                } catch (const Error&) {  // broken, by being late
                }
            });
            made.reset();
        });
    add<Condition>(
        scenes, "Condition", use_condition,
        [](const std::string& name) { return Condition::create(name); }, as_made);
}

// Values -----------------------------------------------------------------------------------------

struct Quotes {
    std::array<std::uint64_t, 5> words;
};

void use_guarded(const Guarded<Quotes>& guarded, std::uint8_t operation, std::uint8_t argument) {
    switch (operation) {
        case 0:
            guarded.store({{argument}});
            break;
        case 1:
            guarded.update([&](Quotes& value) { value.words[1] += guarded.read().words[0]; });
            break;
        case 2:
            if (auto draft = guarded.try_write()) {
                draft->commit();
            }
            break;
        case 3:
            if (auto draft = guarded.try_write_for(kMoment)) {
                static_cast<void>(draft);  // dropped
            }
            break;
        default:
            static_cast<void>(guarded.read());
    }
}

void use_value(const Value<std::string>& value, std::uint8_t operation, std::uint8_t argument) {
    switch (operation) {
        case 0:
            value.store(std::string(argument, 'v'));
            break;
        case 1:
            value.update([&](std::string& text) { text = value.load().substr(0, argument); });
            break;
        case 2:
            static_cast<void>(value.exchange(std::string(3, 'x')));
            break;
        default:
            static_cast<void>(value.load());
    }
}

template <class T>
void use_array(const Array<T>& array, std::uint8_t operation, std::uint8_t argument) {
    const auto index = static_cast<std::int64_t>(argument % 16U) - 8;
    switch (operation) {
        case 0:
            array.store(index, T{});
            break;
        case 1:
            array.update(index, [&](T& value) { value = array.load(0); });
            break;
        case 2:
            array.fill(T{});
            break;
        case 3:
            array.assign(std::vector<T>(array.size()));
            break;
        case 4:
            static_cast<void>(array.snapshot());
            break;
        default:
            static_cast<void>(array.load(index));
    }
}

template <class T>
void add_array(Scenes& scenes, const char* title) {
    add<Array<T>>(
        scenes, title, use_array<T>,
        [](const std::string& name) { return Array<T>::create(name, 7); },
        [](const Array<T>& made) {
            made.store(2, T{});
            leave_a_corpse([&] { made.update(1, [](T&) { raise(SIGKILL); }); });
        });
}

void add_values(Scenes& scenes) {
    add<Guarded<Quotes>>(
        scenes, "Guarded, written by the dead", use_guarded,
        [](const std::string& name) { return Guarded<Quotes>::create(name, Quotes{}); },
        [](const Guarded<Quotes>& made) {
            made.store({{1}});
            leave_a_corpse([&] { made.update([](Quotes&) { raise(SIGKILL); }); });
        });
    add<Value<std::string>>(
        scenes, "Value of a string", use_value,
        [](const std::string& name) {
            return Value<std::string>::create(name, std::string(30, 'v'), {.bytes_max = 300});
        },
        [](const Value<std::string>& made) { made.store("other"); });
    add_array<std::uint32_t>(scenes, "Array of numbers, written by the dead");
    add_array<std::array<std::uint64_t, 3>>(scenes, "Array of triples, written by the dead");
}

// Containers -------------------------------------------------------------------------------------

template <class T>
T make_value(std::uint8_t which) {
    if constexpr (std::is_same_v<T, std::string>) {
        constexpr std::array<std::size_t, 8> kLengths{0, 5, 31, 230, 1000, 5000, 20'000, 70'000};
        return std::string(kLengths[which % 8U], static_cast<char>(which));
    } else {
        return T{which};
    }
}

template <class K, class V>
void use_dict(const Dict<K, V>& dict, std::uint8_t operation, std::uint8_t argument) {
    const K key = make_value<K>(argument % 4U);
    const V value = make_value<V>(argument / 4U);
    switch (operation) {
        case 0:
            dict.set(key, value);
            break;
        case 1:
            static_cast<void>(dict.get(key));
            break;
        case 2:
            static_cast<void>(dict.erase(key));
            break;
        case 3:
            dict.update(key, [&](std::optional<V>& now) { now = value; });
            break;
        case 4:  // reads all of it while a stripe is its own
            dict.update(key, [&](std::optional<V>& now) {
                now = dict.get(key, value);
                static_cast<void>(dict.items());
            });
            break;
        case 5:
            dict.insert_or_assign({{key, value}, {make_value<K>(5), value}});
            break;
        case 6:
            dict.clear();
            break;
        case 7:
            static_cast<void>(dict.items());
            break;
        case 8:
            static_cast<void>(dict.keys());
            break;
        case 9:  // as many as make tables grow
            for (std::uint8_t more = 0; more < 20; ++more) {
                dict.set(make_value<K>(static_cast<std::uint8_t>(argument + more)), value);
            }
            break;
        case 10:
            static_cast<void>(dict.setdefault(key, value));
            break;
        case 11:
            static_cast<void>(dict.pop(key));
            break;
        default:
            static_cast<void>(dict.size() + dict.contains(key) + dict.memory_bytes());
    }
}

enum class Content { none, some, crashed };

template <class K, class V>
void add_dict(Scenes& scenes, const char* title, unsigned stripes, Content content) {
    add<Dict<K, V>>(
        scenes, title, use_dict<K, V>,
        [=](const std::string& name) {
            return Dict<K, V>::create(name, {.max_bytes = kBytesMax, .stripes = stripes});
        },
        [=](const Dict<K, V>& made) {
            if (content == Content::none) {
                return;
            }
            for (std::uint8_t which = 0; which < 5; ++which) {
                made.set(make_value<K>(which), make_value<V>(which));
            }
            static_cast<void>(made.erase(make_value<K>(3)));
            if (content == Content::crashed) {
                leave_a_corpse([&] {
                    made.update(make_value<K>(1), [](std::optional<V>&) { raise(SIGKILL); });
                });
            }
        });
}

template <class T>
void use_list(const List<T>& list, std::uint8_t operation, std::uint8_t argument) {
    const auto index = static_cast<std::int64_t>(argument % 8U) - 4;
    const T value = make_value<T>(argument / 8U);
    switch (operation) {
        case 0:
            list.append(value);
            break;
        case 1:
            static_cast<void>(list.get(index));
            break;
        case 2:
            static_cast<void>(list.pop());
            break;
        case 3:
            static_cast<void>(list.pop(index));
            break;
        case 4:
            list.set(index, value);
            break;
        case 5:
            list.insert(index, value);
            break;
        case 6:
            list.extend({value, value, value});
            break;
        case 7:
            list.sort();
            break;
        case 8:
            list.clear();
            break;
        case 9:
            static_cast<void>(list.snapshot());
            break;
        case 10:  // reads all of it while it is its own
            list.update(index, [&](T& now) {
                now = value;
                static_cast<void>(list.snapshot());
            });
            break;
        case 11:
            list.erase(index);
            break;
        case 12:
            static_cast<void>(list.contains(value));
            break;
        default:
            static_cast<void>(list.size() + list.memory_bytes());
    }
}

template <class T>
void add_list(Scenes& scenes, const char* title, Content content) {
    add<List<T>>(
        scenes, title, use_list<T>,
        [](const std::string& name) { return List<T>::create(name, {.max_bytes = kBytesMax}); },
        [=](const List<T>& made) {
            if (content == Content::none) {
                return;
            }
            for (std::uint8_t which = 0; which < 5; ++which) {
                made.append(make_value<T>(which));
            }
            static_cast<void>(made.pop());
            if (content == Content::crashed) {
                leave_a_corpse([&] { made.update(1, [](T&) { raise(SIGKILL); }); });
            }
        });
}

void add_containers(Scenes& scenes) {
    using Number = std::uint64_t;
    using Triple = std::array<std::uint64_t, 3>;
    add_dict<Number, Number>(scenes, "Dict of numbers, empty", 1, Content::none);
    add_dict<Number, Number>(scenes, "Dict of numbers, two stripes", 2, Content::some);
    add_dict<Number, Number>(scenes, "Dict of numbers, written by the dead", 1, Content::crashed);
    add_dict<std::string, std::string>(scenes, "Dict of strings", 1, Content::some);
    add_dict<std::string, std::string>(scenes, "Dict of strings, written by the dead", 2,
                                       Content::crashed);
    add_list<Number>(scenes, "List of numbers, empty", Content::none);
    add_list<Number>(scenes, "List of numbers, written by the dead", Content::crashed);
    add_list<Triple>(scenes, "List of triples", Content::some);
    add_list<std::string>(scenes, "List of strings", Content::some);
    add_list<std::string>(scenes, "List of strings, written by the dead", Content::crashed);
}

// A Manager --------------------------------------------------------------------------------------

void use_manager(const Manager& manager, std::uint8_t operation, std::uint8_t argument) {
    const std::string name(1U + argument / 32U, static_cast<char>('a' + argument % 4U));
    switch (operation) {
        case 0:
            static_cast<void>(manager.remove(name));
            break;
        case 1:
            static_cast<void>(manager.entries());
            break;
        case 2:
            static_cast<void>(manager.names());
            break;
        case 3:
            manager.event(name).set();
            break;
        case 4:
            manager.event().set();
            break;
        case 5:
            manager.value<std::uint64_t>(name).store(argument);
            break;
        case 6:
            static_cast<void>(manager.queue<std::uint64_t>(name, {.capacity = 2}).try_put(1));
            break;
        case 7: {  // objects in use while others go
            const Event kept = manager.event(name);
            static_cast<void>(manager.remove(name));
            kept.set();
            manager.lock().lock();
            break;
        }
        default:
            static_cast<void>(manager.contains(name) + manager.memory_bytes());
    }
}

}  // namespace

void add_object_scenes(Scenes& scenes) {
    add_locks(scenes);
    add_values(scenes);
    add_containers(scenes);
    add<Manager>(
        scenes, "Manager, empty", use_manager,
        [](const std::string& name) { return Manager::create(name); }, as_made);
    add<Manager>(
        scenes, "Manager of some objects", use_manager,
        [](const std::string& name) { return Manager::create(name); },
        [](const Manager& made) {
            made.event("a").set();
            made.value<std::uint64_t>("b").store(1);
            static_cast<void>(made.queue<std::uint64_t>("c", {.capacity = 2}).try_put(1));
        });
}

}  // namespace sluice::fuzz
