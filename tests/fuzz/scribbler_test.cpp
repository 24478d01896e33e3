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
}  // namespace sluice::fuzz
