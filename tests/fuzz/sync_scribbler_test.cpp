// A hostile writer beside the users of the lock family. Where an operation may wait without end it
// goes on when the segment is put back.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>

#include "fuzz/scribbler.hpp"
#include "sluice/barrier.hpp"
#include "sluice/condition.hpp"
#include "sluice/event.hpp"
#include "sluice/guarded.hpp"
#include "sluice/lock.hpp"
#include "sluice/rw_lock.hpp"
#include "sluice/semaphore.hpp"

namespace sluice::fuzz {
namespace {

template <class L>
void use_lock(const L& lock, User& user) {
    for (unsigned left = kOperations; left != 0; --left) {
        user.tries([&] {
            switch (user.random()() % 5) {
                case 0:
                    if (lock.try_lock_for(kMoment)) {
                        lock.unlock();
                    }
                    break;
                case 1:
                    static_cast<void>(lock.try_lock());
                    break;
                case 2:
                    lock.unlock();
                    break;
                case 3:
                    lock.repair();
                    break;
                default:
                    static_cast<void>(lock.locked() || lock.abandoned());
            }
        });
    }
}

TEST(Scribbler, ALockNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Lock::create(name.name());
    run(name, [&](User& user) { use_lock(Lock::open(name.name()), user); });
}

TEST(Scribbler, AnRLockNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = RLock::create(name.name());
    run(name, [&](User& user) { use_lock(RLock::open(name.name()), user); });
}

TEST(Scribbler, AnRWLockNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = RWLock::create(name.name());
    run(name, [&](User& user) {
        const auto lock = RWLock::open(name.name());
        use_lock(lock, user);
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries([&] {
                if (user.random()() % 2 == 0) {
                    static_cast<void>(lock.try_lock_shared_for(kMoment));
                } else {
                    lock.unlock_shared();
                }
            });
        }
    });
}

template <class S>
void use_semaphore(const S& semaphore, User& user) {
    for (unsigned left = kOperations; left != 0; --left) {
        user.tries([&] {
            switch (user.random()() % 4) {
                case 0:
                    static_cast<void>(semaphore.try_acquire_for(kMoment));
                    break;
                case 1:
                    static_cast<void>(semaphore.try_acquire());
                    break;
                case 2:
                    semaphore.release();
                    break;
                default:
                    static_cast<void>(semaphore.value());
            }
        });
    }
}

TEST(Scribbler, ASemaphoreNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Semaphore::create(name.name(), 2);
    run(name, [&](User& user) { use_semaphore(Semaphore::open(name.name()), user); });
}

TEST(Scribbler, OwnedPermitsNeitherCrashNorHang) {
    const FreshName name("scribble");
    const auto made = BoundedSemaphore::create(name.name(), 3, {.owned = true});
    run(name, [&](User& user) { use_semaphore(BoundedSemaphore::open(name.name()), user); });
}

TEST(Scribbler, AnEventNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Event::create(name.name());
    run(name, [&](User& user) {
        const auto event = Event::open(name.name());
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries([&] {
                switch (user.random()() % 4) {
                    case 0:
                        event.set();
                        break;
                    case 1:
                        event.clear();
                        break;
                    case 2:
                        static_cast<void>(event.is_set());
                        break;
                    default:
                        static_cast<void>(event.wait_for(kMoment));
                }
            });
        }
    });
}

TEST(Scribbler, AConditionNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Condition::create(name.name());
    run(name, [&](User& user) {
        const auto condition = Condition::open(name.name());
        const Lock lock;  // undamaged
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries([&] {
                switch (user.random()() % 4) {
                    case 0:
                        condition.notify_one();
                        break;
                    case 1:
                        condition.notify(3);
                        break;
                    case 2:
                        condition.notify_all();
                        break;
                    default: {
                        const std::scoped_lock held(lock);
                        static_cast<void>(condition.wait_for(lock, kMoment));
                    }
                }
            });
        }
    });
}

TEST(Scribbler, ABarrierNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Barrier::create(name.name(), 2);
    run(name, [&](User& user) {
        const auto barrier = Barrier::open(name.name());
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries([&] {
                switch (user.random()() % 5) {
                    case 0:
                        barrier.reset();
                        break;
                    case 1:
                        barrier.abort();
                        break;
                    case 2:
                        static_cast<void>(barrier.broken() || barrier.waiting() != 0);
                        break;
                    default:
                        static_cast<void>(barrier.wait_for(kMoment));
                }
            });
        }
    });
}

struct Quotes {
    std::uint64_t words[8];
};

TEST(Scribbler, AGuardedValueNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Guarded<Quotes>::create(name.name(), Quotes{});
    run(name, [&](User& user) {
        const auto guarded = Guarded<Quotes>::open(name.name());
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries([&] {
                switch (user.random()() % 4) {
                    case 0:
                        guarded.store({});
                        break;
                    case 1:
                        guarded.update([](Quotes& value) { ++value.words[3]; });
                        break;
                    default:
                        static_cast<void>(guarded.read());
                }
            });
        }
    });
}

}  // namespace
}  // namespace sluice::fuzz
