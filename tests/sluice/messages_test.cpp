// sluice tap, put and get: messages of programs and of scripts are the same.
#include <sluice/msgpack.hpp>
#include <sluice/pipe.hpp>
#include <sluice/queue.hpp>
#include <sluice/schema.hpp>

#include "sluice/run.hpp"
#include "support/processes.hpp"

namespace messages_test {
struct Quote {
    std::int32_t price;
    double size;
};
struct Pair {
    std::int32_t first;
    double second;
};
}  // namespace messages_test

template <>
inline constexpr auto sluice::schema<messages_test::Quote> = sluice::fields("price", "size");

namespace sluice::tool::test {
namespace {

using messages_test::Pair;
using messages_test::Quote;
using sluice::test::FreshName;
using sluice::test::Watchdog;

TEST(Put, PutsIntegersThatAProgramGets) {
    const Watchdog watchdog(60);
    const FreshName name("put");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = 8});
    EXPECT_EQ(sluice_command({"put", name.name(), "41", "-1"}).code, 0);
    EXPECT_EQ(sluice_command({"put", name.name()}, "7\n\n8\n").code, 0);
    EXPECT_EQ(queue.get(), 41);
    EXPECT_EQ(queue.get(), -1);
    EXPECT_EQ(queue.get(), 7);
    EXPECT_EQ(queue.get(), 8);
}

TEST(Put, PutsPackedValuesThatAProgramGets) {
    const Watchdog watchdog(60);
    const FreshName name("put");
    using Task = std::map<std::string, std::vector<double>>;
    const auto queue = Queue<Task>::create(name.name(), {.capacity = 8});
    const Ran ran = sluice_command({"put", name.name(), R"({"a": [1, 2.5], "b": []})", "--json"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.json().at("put"), 1);
    EXPECT_EQ(queue.get(), (Task{{"a", {1, 2.5}}, {"b", {}}}));
}

TEST(Put, RefusesWhatIsNoValueOfTheQueuesType) {
    const FreshName name("put");
    const auto queue = Queue<std::string>::create(name.name(), {.capacity = 8});
    const Ran number = sluice_command({"put", name.name(), "5"});
    EXPECT_EQ(number.code, 2);
    EXPECT_TRUE(holds(number.err, "string")) << number.err;
    const Ran bare = sluice_command({"put", name.name(), "hello"});
    EXPECT_EQ(bare.code, 2);
    EXPECT_TRUE(holds(bare.err, "\"hello\"")) << bare.err;
    EXPECT_TRUE(queue.empty());
}

TEST(Put, GivesUpWhenTheQueueStaysFull) {
    const Watchdog watchdog(60);
    const FreshName name("put");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = 1});
    queue.put(1);
    EXPECT_EQ(sluice_command({"put", name.name(), "2", "--timeout", "0.05"}).code, 1);
    EXPECT_EQ(queue.size(), 1U);
}

TEST(Get, TakesMessagesAsJsonLines) {
    const Watchdog watchdog(60);
    const FreshName name("get");
    const auto queue = Queue<Quote>::create(name.name(), {.capacity = 8});
    for (std::int32_t price = 1; price < 5; ++price) {
        queue.put({price, price * 0.5});
    }
    EXPECT_EQ(sluice_command({"get", name.name()}).out, "{\"price\":1,\"size\":0.5}\n");
    EXPECT_EQ(sluice_command({"get", name.name(), "--count", "2"}).lines().size(), 2U);
    EXPECT_EQ(sluice_command({"get", name.name(), "--drain"}).out, "{\"price\":4,\"size\":2.0}\n");
    EXPECT_TRUE(queue.empty());
    const Ran none = sluice_command({"get", name.name(), "--timeout", "0.05"});
    EXPECT_EQ(none.code, 1);
    EXPECT_TRUE(none.out.empty());
    queue.join();  // what was got was reported as done
}

TEST(Get, WaitsForAMessage) {
    const Watchdog watchdog(60);
    const FreshName name("get");
    const auto queue = Queue<std::string>::create(name.name(), {.capacity = 8});
    Running getter({SLUICE_TOOL, "get", name.name()});
    sluice::test::await([&] { return sluice::test::sleeps_in_futex(getter.pid()); });
    queue.put(std::string("late"));
    const Ran ran = getter.end();
    EXPECT_EQ(ran.code, 0);
    EXPECT_EQ(ran.out, "\"late\"\n");
}

TEST(Get, SaysThatTheQueueIsClosedOrThatItIsNone) {
    const Watchdog watchdog(60);
    const FreshName name("get");
    const auto queue = Queue<std::string>::create(name.name(), {.capacity = 8});
    queue.close();
    const Ran closed = sluice_command({"get", name.name()});
    EXPECT_EQ(closed.code, 1);
    EXPECT_TRUE(holds(closed.err, "closed")) << closed.err;
    const FreshName pipe_name("get-pipe");
    const auto pipe = Pipe<int>::create(pipe_name.name());
    EXPECT_EQ(sluice_command({"get", pipe_name.name()}).code, 4);
    EXPECT_EQ(sluice_command({"get", "test-no-such-queue"}).code, 3);
}

TEST(Tap, ShowsMessagesByNameByPositionAndUnpacked) {
    const Watchdog watchdog(60);
    const FreshName named("tap-named");
    const auto quotes = Queue<Quote>::create(named.name(), {.capacity = 8});
    quotes.put({3, 0.25});
    EXPECT_EQ(sluice_command({"tap", named.name(), "--oldest", "--count", "1"}).out,
              "{\"price\":3,\"size\":0.25}\n");
    const FreshName plain("tap-plain");
    const auto pairs = Pipe<Pair>::create(plain.name());
    pairs.first.send({3, 0.25});
    EXPECT_EQ(sluice_command({"tap", plain.name(), "--oldest", "--count", "1"}).out, "[3,0.25]\n");
    const FreshName packed("tap-packed");
    const auto texts = Pipe<std::vector<std::string>>::create(packed.name());
    texts.second.send({"a", "b"});
    const auto json =
        sluice_command({"tap", packed.name(), "--oldest", "--count", "1", "--json"}).json();
    EXPECT_EQ(json.at("value"), nlohmann::json::parse(R"(["a", "b"])"));
    EXPECT_EQ(json.at("direction"), "second to first");
    EXPECT_EQ(quotes.size(), 1U) << "a tap takes nothing";
}

TEST(Tap, SeesWhatPassesBetweenTwoOthers) {
    const Watchdog watchdog(60);
    const FreshName name("tap");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = 64});
    const sluice::test::Child child([&] {
        for (std::int64_t number = 0;; ++number) {
            queue.put(number);
            static_cast<void>(queue.get());
            usleep(200);
        }
    });
    const Ran ran = sluice_command({"tap", name.name(), "--count", "20"});
    EXPECT_EQ(ran.code, 0);
    const auto lines = ran.lines();
    ASSERT_EQ(lines.size(), 20U);
    for (std::size_t index = 1; index < lines.size(); ++index) {
        EXPECT_GT(std::stoll(lines[index]), std::stoll(lines[index - 1]));
    }
}

TEST(Tap, SaysWhenNothingPassed) {
    const FreshName name("tap");
    const auto queue = Queue<int>::create(name.name());
    EXPECT_EQ(sluice_command({"tap", name.name(), "--seconds", "0.05"}).code, 1);
    const FreshName none("tap-none");
    EXPECT_EQ(sluice_command({"tap", none.name()}).code, 3);
}

}  // namespace
}  // namespace sluice::tool::test
