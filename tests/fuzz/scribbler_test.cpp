// A process that writes anything anywhere into a live segment, while others operate on it. They may
// get errors, or values that nobody sent; they must not crash, hang, or read out of bounds (the
// sanitizers' to see).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "sluice/array.hpp"
#include "sluice/byte_pipe.hpp"
#include "sluice/dict.hpp"
#include "sluice/list.hpp"
#include "sluice/manager.hpp"
#include "sluice/msgpack.hpp"
#include "sluice/pipe.hpp"
#include "sluice/queue.hpp"
#include "sluice/value.hpp"
#include "support/processes.hpp"

namespace sluice {
namespace {

using test::Child;
using test::FreshName;
using test::Shared;
using test::Watchdog;
using namespace std::chrono_literals;

constexpr unsigned kUsers = 3;
constexpr unsigned kOperations = 100;  // with one handle
constexpr auto kTime = 1s;
constexpr auto kMoment = 200us;

struct Progress {
    std::atomic<bool> stop{};
    std::atomic<std::uint64_t> scribbles{};
    std::array<std::atomic<std::uint64_t>, kUsers> done{};
    std::array<std::atomic<std::uint64_t>, kUsers> refused{};
};

/// The whole mapped segment, to be written to.
class Target {
 public:
    explicit Target(const std::string& path) {
        descriptor_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
        shm::SegmentLayout header{};
        if (descriptor_ < 0 || pread(descriptor_, &header, sizeof header, 0) != sizeof header) {
            throw std::system_error(errno, std::generic_category(), path);
        }
        bytes_ = header.total_bytes;
        void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
        if (memory == MAP_FAILED) {
            throw std::system_error(errno, std::generic_category(), "mmap");
        }
        words_ = static_cast<std::atomic<std::uint64_t>*>(memory);
        for (std::size_t word = 0; word < count(); ++word) {
            image_.push_back(words_[word].load(std::memory_order_relaxed));
        }
        body_word_ = header.body_offset / 8;
    }
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;
    ~Target() {
        munmap(words_, bytes_);
        close(descriptor_);
    }

    std::size_t count() const noexcept { return bytes_ / 8; }
    // All of it relaxed: it is damage, and orders nothing.
    void scribble(std::mt19937_64& random) noexcept {
        // Mostly where all the words matter: the first kilobytes of the body, and the header.
        std::size_t word = 0;
        switch (random() % 8) {
            case 0:
                word = random() % count();  // now and then the header
                break;
            case 1:
                word = 32 + random() % 64;  // members
                break;
            default:
                word = body_word_ + random() % 256;
        }
        if (word >= count()) {
            return;
        }
        const std::uint64_t now = words_[word].load(std::memory_order_relaxed);
        const std::array<std::uint64_t, 8> values{random(),
                                                  0,
                                                  ~0ULL,
                                                  now + 1,
                                                  now - 1,
                                                  now ^ (1ULL << (random() % 64)),
                                                  now + (1ULL << 38U),
                                                  random() % 100'000};
        words_[word].store(values[random() % values.size()], std::memory_order_relaxed);
    }
    /// Puts everything back, so that there is something to use again.
    void mend() noexcept {
        for (std::size_t word = 0; word < count(); ++word) {
            words_[word].store(image_[word], std::memory_order_relaxed);
        }
    }

 private:
    int descriptor_{-1};
    std::size_t bytes_{};
    std::size_t body_word_{};
    std::atomic<std::uint64_t>* words_{};
    std::vector<std::uint64_t> image_{};
};

/// One user's operations, each of which may throw what damage explains.
class User {
 public:
    User(Progress& progress, unsigned index, std::uint64_t seed)
        : random_(seed), done_(progress.done[index]), refused_(progress.refused[index]) {}

    std::mt19937_64& random() noexcept { return random_; }

    template <class Operation>
    void tries(Operation&& operation) {
        try {
            operation();
            done_.fetch_add(1, std::memory_order_relaxed);
            return;
        } catch (const Error&) {
        } catch (const std::system_error&) {
        }
        refused_.fetch_add(1, std::memory_order_relaxed);
    }

 private:
    std::mt19937_64 random_;
    std::atomic<std::uint64_t>& done_;
    std::atomic<std::uint64_t>& refused_;
};

/// `use(user)` opens the segment and operates on it a while.
void run(const FreshName& name, const std::function<void(User&)>& use) {
    const Watchdog watchdog(100);
    const std::uint64_t seed = test::announce_seed();
    const Shared<Progress> progress;
    // Relaxed throughout: counters, and a flag that is looked at again and again.
    Child scribbler([&] {
        std::mt19937_64 random(seed);
        Target target(name.path());
        while (!progress->stop.load(std::memory_order_relaxed)) {
            target.mend();
            usleep(200);
            for (unsigned left = static_cast<unsigned>(random() % 2000); left != 0; --left) {
                target.scribble(random);
                if (left % 16 == 0) {
                    usleep(1);
                }
                progress->scribbles.fetch_add(1, std::memory_order_relaxed);
            }
        }
        target.mend();  // a lock that was given to nobody would be waited for
    });
    std::vector<Child> users;
    for (unsigned user = 0; user < kUsers; ++user) {
        users.emplace_back([&, user] {
            User self(*progress, user, seed + 1 + user);
            while (!progress->stop.load(std::memory_order_relaxed)) {
                self.tries([&] { use(self); });
            }
        });
    }
    std::this_thread::sleep_for(kTime);
    progress->stop.store(true, std::memory_order_relaxed);
    for (Child& user : users) {
        EXPECT_EQ(user.join(), 0);
    }
    EXPECT_EQ(scribbler.join(), 0);
    std::uint64_t done = 0;
    std::uint64_t refused = 0;
    for (unsigned user = 0; user < kUsers; ++user) {
        done += progress->done[user].load(std::memory_order_relaxed);
        refused += progress->refused[user].load(std::memory_order_relaxed);
    }
    const std::uint64_t scribbles = progress->scribbles.load(std::memory_order_relaxed);
    std::printf("%llu words written, %llu operations went through, %llu were refused\n",
                static_cast<unsigned long long>(scribbles), static_cast<unsigned long long>(done),
                static_cast<unsigned long long>(refused));
    EXPECT_GT(scribbles, 0U);
    EXPECT_GT(done + refused, 0U);
}

template <class T>
void use_queue(const Queue<T>& queue, User& user, const std::vector<T>& values) {
    std::optional<Lease<T>> lease;
    std::optional<Slot<T>> slot;
    std::vector<T> several(3);
    std::mt19937_64& random = user.random();
    const auto operate = [&] {
        const T& value = values[random() % values.size()];
        switch (random() % 11) {
            case 0:
                static_cast<void>(queue.try_put(value));
                break;
            case 1:
                static_cast<void>(queue.try_get());
                break;
            case 2:
                static_cast<void>(queue.try_put_for(value, kMoment));
                break;
            case 3:
                static_cast<void>(queue.try_get_for(kMoment));
                break;
            case 4:
                lease.reset();
                if (auto taken = queue.try_lease()) {
                    lease.emplace(std::move(*taken));
                }
                break;
            case 5:
                if (lease) {
                    lease->commit();
                    lease.reset();
                }
                break;
            case 6:
                slot.reset();
                if (auto claimed = queue.try_claim()) {
                    **claimed = value;
                    claimed->publish();
                }
                break;
            case 7:
                static_cast<void>(queue.try_put_many(several));
                break;
            case 8:
                static_cast<void>(queue.try_get_many(several));
                break;
            case 9:
                static_cast<void>(queue.try_join_for(kMoment));
                break;
            default:
                static_cast<void>(queue.size() + queue.full() + queue.empty());
        }
    };
    for (unsigned left = kOperations; left != 0; --left) {
        user.tries(operate);
    }
}

TEST(Scribbler, AQueueOfNumbersNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Queue<std::uint64_t>::create(name.name(), {.capacity = 8});
    run(name, [&](User& user) {
        use_queue(Queue<std::uint64_t>::open(name.name()), user, {1, 2, 3});
    });
}

TEST(Scribbler, AQueueOfStringsNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Queue<std::string>::create(name.name(), {.capacity = 8});
    run(name, [&](User& user) {
        use_queue(Queue<std::string>::open(name.name()), user,
                  {"short", std::string(300, 'm'), std::string(70'000, 'l')});
    });
}

// An end has one owner: whoever is refused tries again after the next mending.
template <class T>
void use_pipe(const Pipe<T>& pipe, User& user, const std::vector<T>& values) {
    std::vector<T> several(3);
    std::mt19937_64& random = user.random();
    const auto operate = [&] {
        const Connection<T>& end = random() % 2 == 0 ? pipe.first : pipe.second;
        const T& value = values[random() % values.size()];
        switch (random() % 7) {
            case 0:
                static_cast<void>(end.try_send(value));
                break;
            case 1:
                static_cast<void>(end.try_recv());
                break;
            case 2:
                static_cast<void>(end.try_send_for(value, kMoment));
                break;
            case 3:
                static_cast<void>(end.try_recv_for(kMoment));
                break;
            case 4:
                static_cast<void>(end.try_send_many(several));
                break;
            case 5:
                static_cast<void>(end.try_recv_many(several));
                break;
            default:
                static_cast<void>(end.poll_for(kMoment));
        }
    };
    for (unsigned left = kOperations; left != 0; --left) {
        user.tries(operate);
    }
}

TEST(Scribbler, APipeOfNumbersNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Pipe<std::uint64_t>::create(name.name(), {.capacity = 8});
    run(name, [&](User& user) {
        use_pipe(Pipe<std::uint64_t>::open(name.name()), user, {1, 2, 3});
    });
}

TEST(Scribbler, APipeOfStringsNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Pipe<std::string>::create(name.name(), {.capacity = 8});
    run(name, [&](User& user) {
        use_pipe(Pipe<std::string>::open(name.name()), user,
                 {"short", std::string(300, 'm'), std::string(20'000, 'l')});
    });
}

TEST(Scribbler, ABytePipeNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = BytePipe::create(name.name(), {.capacity_bytes = 4096});
    static const std::array<std::byte, 2000> kBytes{};
    run(name, [&](User& user) {
        const auto pipe = BytePipe::open(name.name());
        std::array<std::byte, 4096> buffer{};
        std::mt19937_64& random = user.random();
        const auto operate = [&] {
            const ByteConnection& end = random() % 2 == 0 ? pipe.first : pipe.second;
            const auto bytes = std::span(kBytes).first(random() % kBytes.size());
            switch (random() % 6) {
                case 0:
                    static_cast<void>(end.try_send(bytes));
                    break;
                case 1:
                    static_cast<void>(end.try_recv());
                    break;
                case 2:
                    if (auto room = end.try_claim(random() % end.claim_max())) {
                        std::fill(room->begin(), room->end(), std::byte{1});
                        end.commit(room->size() / 2);
                    }
                    break;
                case 3:
                    if (const auto message = end.try_peek_for(kMoment)) {
                        std::copy_n(message->begin(), std::min(message->size(), buffer.size()),
                                    buffer.begin());
                        end.consume();
                    }
                    break;
                case 4:
                    static_cast<void>(end.try_send_for(bytes, kMoment));
                    break;
                default:
                    static_cast<void>(end.try_recv_for(kMoment));
            }
        };
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries(operate);
        }
    });
}

// Locks are words that the scribbler gives to anybody: who waits for one is served by the next
// mending.
TEST(Scribbler, AValueOfStringsNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made =
        Value<std::string>::create(name.name(), std::string(300, 'v'), {.bytes_max = 600});
    run(name, [&](User& user) {
        const auto value = Value<std::string>::open(name.name());
        const auto operate = [&] {
            if (user.random()() % 4 == 0) {
                value.store(std::string(user.random()() % 500, 'w'));
            } else {
                static_cast<void>(value.load().size() + value.version());
            }
        };
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries(operate);
        }
    });
}

TEST(Scribbler, AnArrayNeitherCrashesNorHangs) {
    using Element = std::array<std::uint64_t, 3>;
    const FreshName name("scribble");
    const auto made = Array<Element>::create(name.name(), 50);
    run(name, [&](User& user) {
        const auto array = Array<Element>::open(name.name());
        const auto operate = [&] {
            const auto index = static_cast<std::int64_t>(user.random()() % array.size());
            switch (user.random()() % 8) {
                case 0:
                    array.store(index, {1, 2, 3});
                    break;
                case 1:
                    array.fill({4, 5, 6});
                    break;
                case 2:
                    static_cast<void>(array.snapshot());
                    break;
                default:
                    static_cast<void>(array.load(index));
            }
        };
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries(operate);
        }
    });
}

TEST(Scribbler, AManagersTableNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = Manager::create(name.name());
    run(name, [&](User& user) {
        const auto manager = Manager::open(name.name());
        const auto operate = [&] {
            const std::string object = "o" + std::to_string(user.random()() % 3);
            switch (user.random()() % 6) {
                case 0:
                    static_cast<void>(manager.remove(object));
                    break;
                case 1:
                    static_cast<void>(manager.entries());
                    break;
                case 2:
                    manager.event().set();
                    break;
                default:
                    manager.event(object).set();
            }
        };
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries(operate);
        }
    });
}

template <class K, class V>
void use_dict(const Dict<K, V>& dict, User& user, const std::vector<K>& keys,
              const std::vector<V>& values) {
    std::mt19937_64& random = user.random();
    const auto operate = [&] {
        const K& key = keys[random() % keys.size()];
        const V& value = values[random() % values.size()];
        switch (random() % 9) {
            case 0:
            case 1:
                dict.set(key, value);
                break;
            case 2:
                static_cast<void>(dict.get(key));
                break;
            case 3:
                static_cast<void>(dict.erase(key));
                break;
            case 4:
                dict.update(key, [&](std::optional<V>& now) { now = value; });
                break;
            case 5:
                static_cast<void>(dict.items());
                break;
            case 6:
                dict.insert_or_assign({{keys[0], value}, {key, value}});
                break;
            case 7:
                static_cast<void>(dict.keys().size() + dict.size() + dict.contains(key));
                break;
            default:
                random() % 16 == 0 ? dict.clear() : static_cast<void>(dict.setdefault(key, value));
        }
    };
    for (unsigned left = kOperations; left != 0; --left) {
        user.tries(operate);
    }
}

TEST(Scribbler, ADictOfNumbersNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    using Sut = Dict<std::uint64_t, std::uint64_t>;
    const auto made = Sut::create(name.name(), {.max_bytes = 1U << 20U, .stripes = 1});
    made.insert_or_assign({{1, 1}, {2, 2}, {3, 3}});
    run(name, [&](User& user) {
        use_dict<std::uint64_t, std::uint64_t>(Sut::open(name.name()), user, {1, 2, 3, 4, 5},
                                               {1, 2, 3});
    });
}

TEST(Scribbler, ADictOfStringsNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    using Sut = Dict<std::string, std::string>;
    const auto made = Sut::create(name.name(), {.max_bytes = 1U << 20U, .stripes = 1});
    made["a"] = "1";
    run(name, [&](User& user) {
        use_dict<std::string, std::string>(
            Sut::open(name.name()), user, {"a", "b", "a long key, beyond a few words"},
            {"short", std::string(300, 'm'), std::string(20'000, 'l')});
    });
}

template <class T>
void use_list(const List<T>& list, User& user, const std::vector<T>& values) {
    std::mt19937_64& random = user.random();
    const auto operate = [&] {
        const T& value = values[random() % values.size()];
        const auto index = static_cast<std::int64_t>(random() % 6) - 3;
        try {
            switch (random() % 10) {
                case 0:
                case 1:
                    list.append(value);
                    break;
                case 2:
                    static_cast<void>(list.get(index));
                    break;
                case 3:
                    static_cast<void>(list.pop());
                    break;
                case 4:
                    list.set(index, value);
                    break;
                case 5:
                    static_cast<void>(list.snapshot());
                    break;
                case 6:
                    list.insert(index, value);
                    break;
                case 7:
                    list.sort();
                    break;
                case 8:
                    list.extend({value, value});
                    break;
                default:
                    random() % 16 == 0 ? list.clear() : list.erase(index);
            }
        } catch (const std::out_of_range&) {
        }
    };
    for (unsigned left = kOperations; left != 0; --left) {
        user.tries(operate);
    }
}

TEST(Scribbler, AListOfNumbersNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = List<std::uint64_t>::create(name.name(), {.max_bytes = 1U << 20U});
    made.extend({1, 2, 3});
    run(name, [&](User& user) {
        use_list<std::uint64_t>(List<std::uint64_t>::open(name.name()), user, {1, 2, 3});
    });
}

TEST(Scribbler, AListOfStringsNeitherCrashesNorHangs) {
    const FreshName name("scribble");
    const auto made = List<std::string>::create(name.name(), {.max_bytes = 1U << 20U});
    made.extend({"a", "b", "c"});
    run(name, [&](User& user) {
        use_list<std::string>(List<std::string>::open(name.name()), user,
                              {"short", std::string(300, 'm'), std::string(20'000, 'l')});
    });
}

}  // namespace
}  // namespace sluice
