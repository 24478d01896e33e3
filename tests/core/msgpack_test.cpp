// Values that become messages and come back; messages that other languages wrote; messages that are
// broken or hostile.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <sluice/msgpack.hpp>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace msgpack_test {

enum class Side : std::uint8_t { buy, sell };
enum class Venue { london, tokyo };

struct Leg {
    std::string symbol;
    std::int64_t quantity{0};
    bool operator==(const Leg&) const = default;
    MSGPACK_DEFINE(symbol, quantity)
};

// One of each kind of member, itself among them.
struct Order {
    std::string name{};
    Side side{};
    Venue venue{};
    std::variant<std::monostate, int, std::string> note{};
    std::chrono::nanoseconds delay{};
    std::chrono::system_clock::time_point sent{};
    std::optional<std::pair<int, std::string>> fill{};
    std::map<std::string, Leg> legs{};
    std::vector<Order> children{};
    std::tuple<int, std::string> tuple{};
    std::array<int, 2> array{};
    std::vector<std::byte> blob{};
    int row[3]{};
    char tag[8]{};
    bool operator==(const Order& other) const {
        return name == other.name && side == other.side && venue == other.venue &&
               note == other.note && delay == other.delay && sent == other.sent &&
               fill == other.fill && legs == other.legs && children == other.children &&
               tuple == other.tuple && array == other.array && blob == other.blob &&
               std::equal(std::begin(row), std::end(row), std::begin(other.row)) &&
               std::string_view(tag) == other.tag;
    }
    MSGPACK_DEFINE(name, side, venue, note, delay, sent, fill, legs, children, tuple, array, blob,
                   row, tag)
};

struct ByKey {
    std::string name{};
    int count{3};
    bool operator==(const ByKey&) const = default;
    MSGPACK_DEFINE_MAP(name, count)
};

// No aggregate: its members can be seen by way of MSGPACK_DEFINE only.
class Account {
 public:
    Account() = default;
    explicit Account(std::string owner) : owner_{std::move(owner)} {}
    [[nodiscard]] const std::string& owner() const { return owner_; }
    MSGPACK_DEFINE(owner_)

 private:
    std::string owner_;
};

// On its author's word: an adaptor instead of MSGPACK_DEFINE.
class Celsius {
 public:
    Celsius() = default;
    explicit Celsius(double degrees) : degrees_{degrees} {}
    [[nodiscard]] double degrees() const { return degrees_; }

 private:
    double degrees_{0};
};

struct NoDefine {
    std::string text;
};
struct View {
    std::string_view text;
    MSGPACK_DEFINE(text)
};
struct Node {
    std::vector<Node> children{};
    MSGPACK_DEFINE(children)
};

}  // namespace msgpack_test

MSGPACK_ADD_ENUM(msgpack_test::Venue)

// clang-format off
namespace msgpack { MSGPACK_API_VERSION_NAMESPACE(MSGPACK_DEFAULT_API_NS) { namespace adaptor {
template <>
struct pack<msgpack_test::Celsius> {
    template <class Stream>
    packer<Stream>& operator()(packer<Stream>& out, const msgpack_test::Celsius& value) const {
        return out.pack(value.degrees());
    }
};
template <>
struct convert<msgpack_test::Celsius> {
    const msgpack::object& operator()(const msgpack::object& in,
                                      msgpack_test::Celsius& value) const {
        value = msgpack_test::Celsius{in.as<double>()};
        return in;
    }
};
}}}
// clang-format on

template <>
inline constexpr bool sluice::is_packable<msgpack_test::Celsius> = true;

namespace msgpack_test {
namespace {

using sluice::BadSegment;
using sluice::Packable;
using sluice::PackBuffer;
using sluice::Packer;
using sluice::Plain;
using namespace std::chrono_literals;

using Job = std::tuple<int, std::string, std::string>;
using OptionalJob = std::tuple<int, std::optional<std::string>, std::string>;
using Note = std::variant<std::monostate, int, std::string, std::vector<std::string>>;

static_assert(Packable<std::string> && Packable<std::vector<int>> && Packable<Job>);
static_assert(Packable<OptionalJob> && Packable<Note> && Packable<Order> && Packable<Account>);
static_assert(Packable<std::map<std::string, std::vector<std::optional<Order>>>>);
static_assert(Packable<Celsius> && Packable<Node> && Packable<std::vector<bool>>);
static_assert(!Plain<Job> && !Plain<Order>);
static_assert(!Packable<std::string_view> && !Packable<const char*> && !Packable<View>);
static_assert(!Packable<std::vector<std::string_view>> && !Packable<std::vector<View>>);
static_assert(!Packable<std::unique_ptr<int>> && !Packable<std::vector<std::shared_ptr<int>>>);
static_assert(!Packable<std::span<int>> && !Packable<std::map<int, int*>>);
static_assert(!Packable<NoDefine> && !Packable<std::vector<NoDefine>>);
static_assert(!Packable<std::string&> && !Packable<const std::string> && !Packable<void>);
static_assert(!Packable<std::wstring> && !Packable<long double>);
static_assert(!Packable<std::function<void()>>);

template <class T>
std::vector<std::byte> packed(const T& value) {
    PackBuffer buffer;
    Packer<T>::pack(value, buffer);
    return {buffer.bytes().begin(), buffer.bytes().end()};
}

template <class T>
T round_trip(const T& value) {
    return Packer<T>::unpack(packed(value));
}

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values) {
    std::vector<std::byte> bytes;
    for (const unsigned value : values) {
        bytes.push_back(static_cast<std::byte>(value));
    }
    return bytes;
}

template <class T>
T unpacked(std::initializer_list<unsigned> message) {
    return Packer<T>::unpack(bytes_of(message));
}

Order an_order() {
    Order order{.name = "root",
                .side = Side::sell,
                .venue = Venue::tokyo,
                .note = "a note",
                .delay = 5ns,
                .sent = std::chrono::system_clock::time_point{1234567890123456789ns},
                .fill = std::pair{7, std::string("filled")},
                .legs = {{"a", {"ACME", 10}}, {"b", {"BOLT", -20}}},
                .children = {},
                .tuple = {1, "one"},
                .array = {3, 4},
                .blob = {std::byte{0}, std::byte{0xff}},
                .row = {1, 2, 3},
                .tag = "tag"};
    order.children = {order, Order{}};
    return order;
}

TEST(Packer, TutorialTuplesComeBack) {
    const Job job{42, "name", "hello"};
    EXPECT_EQ(round_trip(job), job);
    const OptionalJob none{42, std::nullopt, "hello"};
    EXPECT_EQ(round_trip(none), none);
    const OptionalJob some{42, "name", "hello"};
    EXPECT_EQ(round_trip(some), some);
}

TEST(Packer, NumbersComeBackToTheirExtremes) {
    const auto check = []<class T>(T) {
        const std::vector<T> values{std::numeric_limits<T>::lowest(), T{0}, T{1},
                                    std::numeric_limits<T>::max(), std::numeric_limits<T>::min()};
        EXPECT_EQ(round_trip(std::list<T>(values.begin(), values.end())),
                  std::list<T>(values.begin(), values.end()));
    };
    check(std::int8_t{});
    check(std::uint8_t{});
    check(char{});
    check(std::int16_t{});
    check(std::uint16_t{});
    check(std::int32_t{});
    check(std::uint32_t{});
    check(std::int64_t{});
    check(std::uint64_t{});
    check(0LL);
    check(0.0F);
    check(0.0);
    const std::uint64_t bits = 0x7ff4dead0000beefU;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(round_trip(std::bit_cast<double>(bits))), bits);
}

TEST(Packer, StringsOfEveryHeaderSizeComeBack) {
    for (const std::size_t size : {0U, 1U, 31U, 32U, 255U, 256U, 65535U, 65536U, 1000000U}) {
        const std::string text(size, 'x');
        EXPECT_EQ(round_trip(text), text) << size;
    }
    const std::string zeros{"a\0b\0", 4};
    EXPECT_EQ(round_trip(zeros), zeros);
}

TEST(Packer, ContainersComeBack) {
    const auto check = [](const auto& value) { EXPECT_EQ(round_trip(value), value); };
    check(std::vector<int>{});
    check(std::vector<int>{1, -1, 1000000});
    check(std::vector<bool>{true, false, true});
    check(std::vector<std::vector<std::string>>{{}, {"a", "b"}, {""}});
    check(std::vector<std::byte>{std::byte{1}, std::byte{0xff}});
    check(std::vector<unsigned char>{});
    check(std::vector<char>{'a', '\0'});
    check(std::array<std::string, 2>{"a", "b"});
    check(std::array<unsigned char, 3>{1, 2, 3});
    check(std::array<std::string, 0>{});
    check(std::deque<std::string>{"a", "b"});
    check(std::list<std::string>{"a", "b"});
    check(std::set<std::string>{"a", "b"});
    check(std::multiset<int>{1, 1, 2});
    check(std::unordered_set<std::string>{"a", "b"});
    check(std::map<std::string, int>{{"a", 1}, {"b", 2}});
    check(std::multimap<int, std::string>{{1, "a"}, {1, "b"}});
    check(std::unordered_map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}});
    check(std::map<std::pair<int, std::string>, std::set<int>>{{{1, "x"}, {1, 2}}});
    check(std::vector<std::tuple<std::string, std::chrono::system_clock::time_point>>{
        {"a", std::chrono::system_clock::time_point{7ns}}});
    check(std::tuple<std::tuple<std::string>>{std::tuple<std::string>{"x"}});
    check(std::tuple<>{});
    check(std::pair<std::string, double>{"a", 0.5});
    check(std::complex<double>{1, -2});
}

TEST(Packer, OptionalsAndVariantsComeBack) {
    const auto check = [](const auto& value) { EXPECT_EQ(round_trip(value), value); };
    check(std::optional<std::string>{});
    check(std::optional<std::string>{""});
    check(std::vector<std::optional<int>>{1, std::nullopt, 3});
    check(Note{});
    check(Note{5});
    check(Note{"text"});
    check(Note{std::vector<std::string>{"a", "b"}});
    check(std::variant<int, long>{std::in_place_index<1>, 5});
    check(std::monostate{});
}

TEST(Packer, EnumsAndTimesComeBack) {
    const auto check = [](const auto& value) { EXPECT_EQ(round_trip(value), value); };
    using std::chrono::system_clock;
    check(std::vector<Side>{Side::sell, Side::buy});
    check(std::vector<Venue>{Venue::tokyo});
    check(std::chrono::nanoseconds{-1});
    check(std::chrono::hours{std::numeric_limits<std::chrono::hours::rep>::max()});
    check(std::chrono::duration<double>{0.25});
    check(system_clock::time_point{});
    check(system_clock::time_point::max() - 1s);
    check(system_clock::time_point{-1ns});
    check(system_clock::time_point{-1s});
    check(system_clock::time_point{-1500ms});
    check(system_clock::time_point{1ns});
    check(system_clock::time_point{4294967295s});
    check(system_clock::time_point{4294967296s});
    check(std::chrono::steady_clock::now());
    check(std::chrono::time_point_cast<std::chrono::minutes>(system_clock::now()));
    check(std::chrono::sys_days{std::chrono::days{19000}});
    PackBuffer buffer;
    EXPECT_THROW(Packer<std::chrono::sys_days>::pack(
                     std::chrono::sys_days{std::chrono::days{1000000}}, buffer),
                 std::out_of_range);
}

TEST(Packer, UserClassesComeBack) {
    EXPECT_EQ(round_trip(an_order()), an_order());
    EXPECT_EQ(round_trip(Order{}), Order{});
    const std::vector<Leg> legs{{"a", 1}, {"b", 2}};
    EXPECT_EQ(round_trip(legs), legs);
    EXPECT_EQ(round_trip(ByKey{"x", 9}), (ByKey{"x", 9}));
    EXPECT_EQ(round_trip(Account{"me"}).owner(), "me");
    EXPECT_EQ(round_trip(std::vector<Celsius>{Celsius{21.5}}).at(0).degrees(), 21.5);
}

TEST(Packer, PackAppends) {
    PackBuffer buffer;
    Packer<int>::pack(1, buffer);
    Packer<std::string>::pack("a", buffer);
    EXPECT_EQ(std::vector(buffer.bytes().begin(), buffer.bytes().end()), bytes_of({1, 0xa1, 'a'}));
}

// As https://github.com/msgpack/msgpack/blob/master/spec.md has them, so others can read a queue.
TEST(Packer, BytesAreThoseOfTheSpecification) {
    EXPECT_EQ(packed(Job{42, "name", "hello"}),
              bytes_of({0x93, 42, 0xa4, 'n', 'a', 'm', 'e', 0xa5, 'h', 'e', 'l', 'l', 'o'}));
    EXPECT_EQ(packed(OptionalJob{42, std::nullopt, "hello"}),
              bytes_of({0x93, 42, 0xc0, 0xa5, 'h', 'e', 'l', 'l', 'o'}));
    EXPECT_EQ(packed(-1), bytes_of({0xff}));
    EXPECT_EQ(packed(std::uint64_t{300}), bytes_of({0xcd, 0x01, 0x2c}));
    EXPECT_EQ(packed(1.5), bytes_of({0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(packed(1.5F), bytes_of({0xca, 0x3f, 0xc0, 0, 0}));
    EXPECT_EQ(packed(true), bytes_of({0xc3}));
    EXPECT_EQ(packed(std::vector<std::byte>{std::byte{9}}), bytes_of({0xc4, 1, 9}));
    EXPECT_EQ(packed(std::map<std::string, int>{{"a", 1}}), bytes_of({0x81, 0xa1, 'a', 1}));
    EXPECT_EQ(packed(Note{}), bytes_of({0x92, 0, 0xc0}));
    EXPECT_EQ(packed(Note{5}), bytes_of({0x92, 1, 5}));
    EXPECT_EQ(packed(Side::sell), bytes_of({1}));
    EXPECT_EQ(packed(5ns), bytes_of({5}));
    EXPECT_EQ(packed(std::chrono::system_clock::time_point{1s}),
              bytes_of({0xd6, 0xff, 0, 0, 0, 1}));
    EXPECT_EQ(packed(Leg{"a", 1}), bytes_of({0x92, 0xa1, 'a', 1}));
    EXPECT_EQ(packed(ByKey{"a", 1}), bytes_of({0x82, 0xa4, 'n', 'a', 'm', 'e', 0xa1, 'a', 0xa5, 'c',
                                               'o', 'u', 'n', 't', 1}));
}

TEST(Packer, ReadsWhatOthersWriteLessTightly) {
    EXPECT_EQ(unpacked<int>({0xd3, 0, 0, 0, 0, 0, 0, 0, 42}), 42);                 // int 64
    EXPECT_EQ(unpacked<std::string>({0xdb, 0, 0, 0, 1, 'a'}), "a");                // str 32
    EXPECT_EQ(unpacked<std::vector<int>>({0xdd, 0, 0, 0, 1, 5}), std::vector{5});  // array 32
    EXPECT_EQ(unpacked<double>({0xca, 0x3f, 0xc0, 0, 0}), 1.5);                    // float 32
    EXPECT_EQ(unpacked<double>({3}), 3.0);  // Python's 3 for 3.0
    EXPECT_EQ(unpacked<ByKey>({0x81, 0xa4, 'n', 'a', 'm', 'e', 0xa1, 'a'}), (ByKey{"a", 3}));
    EXPECT_EQ(unpacked<Leg>({0x91, 0xa1, 'a'}), (Leg{"a", 0}));
}

TEST(Packer, ValueOfAnotherTypeThrowsBadSegmentThatNamesTheType) {
    try {
        static_cast<void>(unpacked<std::vector<std::string>>({5}));
        FAIL() << "no exception";
    } catch (const BadSegment& error) {
        EXPECT_NE(std::string_view(error.what()).find("vector<string>"), std::string_view::npos)
            << error.what();
    }
    EXPECT_THROW(unpacked<std::int8_t>({0xcc, 200}), BadSegment);
    EXPECT_THROW(unpacked<unsigned>({0xff}), BadSegment);
    EXPECT_THROW(unpacked<bool>({1}), BadSegment);
    EXPECT_THROW(unpacked<std::string>({0xc0}), BadSegment);
    EXPECT_THROW(unpacked<Job>({0x92, 42, 0xa0}), BadSegment);
    EXPECT_THROW(unpacked<Job>({0x94, 42, 0xa0, 0xa0, 0xa0}), BadSegment);
    EXPECT_THROW((unpacked<std::pair<int, std::string>>({0x90})), BadSegment);
    EXPECT_THROW((unpacked<std::array<std::string, 2>>({0x91, 0xa0})), BadSegment);
    EXPECT_THROW((unpacked<std::array<unsigned char, 2>>({0xc4, 3, 1, 2, 3})), BadSegment);
    EXPECT_THROW(unpacked<Note>({0x92, 4, 0}), BadSegment);
    EXPECT_THROW(unpacked<Note>({0x92, 1, 0xa0}), BadSegment);
    EXPECT_THROW(unpacked<Note>({0x91, 1}), BadSegment);
    EXPECT_THROW(unpacked<Side>({0xcd, 1, 0}), BadSegment);
    EXPECT_THROW((unpacked<std::map<int, int>>({0x92, 1, 2})), BadSegment);
    EXPECT_THROW(unpacked<Order>({0x91, 1}), BadSegment);
}

TEST(Packer, BytesBeforeOrAfterTheValueThrowBadSegment) {
    EXPECT_THROW(Packer<int>::unpack({}), BadSegment);
    EXPECT_THROW(unpacked<int>({1, 2}), BadSegment);
    EXPECT_THROW(unpacked<std::string>({0xa1, 'a', 0xc0}), BadSegment);
    EXPECT_THROW(unpacked<int>({0xc1}), BadSegment);  // never used by the format
}

TEST(Packer, TimestampOutOfRangeThrowsBadSegment) {
    using Time = std::chrono::system_clock::time_point;
    EXPECT_THROW(unpacked<Time>({0xd7, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), BadSegment);
    EXPECT_THROW(unpacked<Time>({0xd7, 0xff, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff}), BadSegment);
    EXPECT_THROW(unpacked<Time>({0xc7, 12, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0}),
                 BadSegment);
    EXPECT_THROW(unpacked<Time>({0xc7, 12, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0}),
                 BadSegment);
    EXPECT_THROW(unpacked<Time>({0xd6, 5, 0, 0, 0, 1}), BadSegment);
    EXPECT_THROW(unpacked<Time>({0xd5, 0xff, 0, 1}), BadSegment);
}

// A header that claims four thousand million elements must not reserve their memory, nor may
// a row of nested headers each of which claims as many as the message is long.
TEST(Packer, HostileLengthsAllocateNothing) {
    EXPECT_THROW(unpacked<std::vector<int>>({0xdd, 0xff, 0xff, 0xff, 0xff}), BadSegment);
    EXPECT_THROW((unpacked<std::map<int, int>>({0xdf, 0xff, 0xff, 0xff, 0xff})), BadSegment);
    EXPECT_THROW(unpacked<std::string>({0xdb, 0xff, 0xff, 0xff, 0xff}), BadSegment);
    EXPECT_THROW(unpacked<std::vector<std::byte>>({0xc6, 0xff, 0xff, 0xff, 0xff}), BadSegment);
    EXPECT_THROW(unpacked<Order>({0xdd, 0xff, 0xff, 0xff, 0xff}), BadSegment);
    std::vector<std::byte> nested;
    for (int i = 0; i < 1000; ++i) {
        const std::vector<std::byte> header = bytes_of({0xdd, 0, 0, 0x13, 0x88});
        nested.insert(nested.end(), header.begin(), header.end());
    }
    EXPECT_THROW(Packer<std::vector<int>>::unpack(nested), BadSegment);
}

TEST(Packer, DeepNestingThrowsBadSegment) {
    std::vector<std::byte> message(100000, std::byte{0x91});
    message.push_back(std::byte{0x90});
    EXPECT_THROW(Packer<Node>::unpack(message), BadSegment);
    const std::vector<std::byte> shallow = bytes_of({0x91, 0x92, 0x91, 0x90, 0x91, 0x90});
    EXPECT_EQ(Packer<Node>::unpack(shallow).children.size(), 2U);
}

TEST(Packer, ValueOwnsItsData) {
    std::vector<std::byte> message = packed(Job{42, "name", "hello"});
    const Job job = Packer<Job>::unpack(message);
    std::fill(message.begin(), message.end(), std::byte{0xee});
    EXPECT_EQ(job, (Job{42, "name", "hello"}));
}

template <class T>
void expect_every_truncation_to_throw(const T& value) {
    const std::vector<std::byte> whole = packed(value);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        // A vector of its own, so that AddressSanitizer sees the first byte beyond it.
        const std::vector<std::byte> part(whole.begin(),
                                          whole.begin() + static_cast<std::ptrdiff_t>(size));
        EXPECT_THROW(Packer<T>::unpack(part), BadSegment) << size << " of " << whole.size();
    }
}

TEST(Packer, TruncationAtEveryByteThrowsBadSegment) {
    expect_every_truncation_to_throw(Job{42, "name", "hello"});
    expect_every_truncation_to_throw(an_order());
    expect_every_truncation_to_throw(std::vector<Note>{Note{5}, Note{}, Note{"text"}});
    expect_every_truncation_to_throw(
        std::map<std::string, std::vector<double>>{{"a", {1, 2}}, {"b", {}}});
    expect_every_truncation_to_throw(std::string(300, 'x'));
    expect_every_truncation_to_throw(std::tuple<std::chrono::system_clock::time_point, ByKey>{
        std::chrono::system_clock::time_point{-5ns}, {"a", 1}});
}

// The only acceptable ends are a value and BadSegment.
template <class T>
bool decodes(std::span<const std::byte> message) {
    try {
        static_cast<void>(Packer<T>::unpack(message));
        return true;
    } catch (const BadSegment&) {
        return false;
    }
}

constexpr int kRounds = 5000;

int decode_as_everything(std::span<const std::byte> message) {
    using Tree = std::map<std::string, std::vector<std::variant<int, std::string, Leg>>>;
    using Times = std::vector<std::tuple<int, std::chrono::system_clock::time_point>>;
    return decodes<Job>(message) + decodes<Order>(message) + decodes<Tree>(message) +
           decodes<Times>(message) + decodes<std::vector<Note>>(message) +
           decodes<std::array<std::optional<std::string>, 3>>(message) + decodes<Node>(message) +
           decodes<std::set<std::pair<int, double>>>(message) + decodes<ByKey>(message) +
           decodes<std::vector<std::byte>>(message);
}

TEST(Packer, RandomBytesGiveAValueOrBadSegment) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::cout << "seed " << seed << '\n';
    std::mt19937 random{seed};
    int decoded = 0;
    for (int round = 0; round < kRounds; ++round) {
        std::vector<std::byte> message(random() % 40);
        for (std::byte& byte : message) {
            byte = static_cast<std::byte>(random() & 0xff);
        }
        decoded += decode_as_everything(message);
    }
    std::cout << decoded << " decoded\n";
}

TEST(Packer, DamagedMessagesGiveAValueOrBadSegment) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::cout << "seed " << seed << '\n';
    std::mt19937 random{seed};
    const std::vector<std::byte> whole = packed(an_order());
    int decoded = 0;
    for (int round = 0; round < kRounds; ++round) {
        std::vector<std::byte> message = whole;
        for (auto flips = 1 + random() % 3; flips > 0; --flips) {
            message[random() % message.size()] = static_cast<std::byte>(random() & 0xff);
        }
        decoded += decode_as_everything(message);
    }
    EXPECT_GT(decoded, 0);
}

}  // namespace
}  // namespace msgpack_test
