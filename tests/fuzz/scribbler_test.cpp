// A hostile writer beside the users of queues and pipes.
#include "fuzz/scribbler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
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

namespace sluice::fuzz {
namespace {

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

// Readers only, from here on: a lock that is scribbled on may have an owner who never had it, and
// lives; who waits for that one may wait long after the segment is put back.
TEST(Scribbler, ReadersOfAValueNeitherCrashNorHang) {
    const FreshName name("scribble");
    const auto made =
        Value<std::string>::create(name.name(), std::string(300, 'v'), {.bytes_max = 600});
    run(name, [&](User& user) {
        const auto value = Value<std::string>::open(name.name());
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries([&] { static_cast<void>(value.load().size() + value.version()); });
        }
    });
}

TEST(Scribbler, ReadersOfAnArrayNeitherCrashNorHang) {
    using Element = std::array<std::uint64_t, 3>;
    const FreshName name("scribble");
    const auto made = Array<Element>::create(name.name(), 50);
    run(name, [&](User& user) {
        const auto array = Array<Element>::open(name.name());
        for (unsigned left = kOperations; left != 0; --left) {
            user.tries([&] {
                static_cast<void>(array.load(static_cast<std::int64_t>(left % array.size())));
            });
        }
    });
}

template <class K, class V>
void read_dict(const Dict<K, V>& dict, User& user, const std::vector<K>& keys) {
    for (unsigned left = kOperations; left != 0; --left) {
        user.tries([&] {
            const K& key = keys[user.random()() % keys.size()];
            static_cast<void>(dict.get(key).has_value() || dict.contains(key) || dict.size() != 0);
        });
    }
}

TEST(Scribbler, ReadersOfADictOfNumbersNeitherCrashNorHang) {
    const FreshName name("scribble");
    using Sut = Dict<std::uint64_t, std::uint64_t>;
    const auto made = Sut::create(name.name(), {.max_bytes = 1U << 20U, .stripes = 1});
    made.insert_or_assign({{1, 1}, {2, 2}, {3, 3}});
    run(name, [&](User& user) {
        read_dict<std::uint64_t, std::uint64_t>(Sut::open(name.name()), user, {1, 2, 3, 4, 5});
    });
}

TEST(Scribbler, ReadersOfADictOfStringsNeitherCrashNorHang) {
    const FreshName name("scribble");
    using Sut = Dict<std::string, std::string>;
    const auto made = Sut::create(name.name(), {.max_bytes = 1U << 20U, .stripes = 1});
    made["a"] = "1";
    run(name, [&](User& user) {
        read_dict<std::string, std::string>(Sut::open(name.name()), user,
                                            {"a", "b", "a long key, beyond a few words"});
    });
}

template <class T>
void read_list(const List<T>& list, User& user) {
    for (unsigned left = kOperations; left != 0; --left) {
        user.tries([&] {
            const auto index = static_cast<std::int64_t>(user.random()() % 6) - 3;
            static_cast<void>(list.get(index).has_value() || list.size() != 0);
        });
    }
}

TEST(Scribbler, ReadersOfAListOfNumbersNeitherCrashNorHang) {
    const FreshName name("scribble");
    const auto made = List<std::uint64_t>::create(name.name(), {.max_bytes = 1U << 20U});
    made.extend({1, 2, 3});
    run(name, [&](User& user) { read_list(List<std::uint64_t>::open(name.name()), user); });
}

TEST(Scribbler, ReadersOfAListOfStringsNeitherCrashNorHang) {
    const FreshName name("scribble");
    const auto made = List<std::string>::create(name.name(), {.max_bytes = 1U << 20U});
    made.extend({"a", "b", "c"});
    run(name, [&](User& user) { read_list(List<std::string>::open(name.name()), user); });
}

}  // namespace
}  // namespace sluice::fuzz
