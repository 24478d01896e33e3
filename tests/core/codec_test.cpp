// Which types are plain, how they lie in a slot, and what their signature says.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <bitset>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sluice/codec.hpp>
#include <sluice/schema.hpp>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace codec_test {

enum class Side : std::uint8_t { buy, sell };
enum Unscoped { first, second };

struct Order {
    std::int64_t id;
    double price;
    std::array<char, 8> symbol;
    Side side;
    bool operator==(const Order&) const = default;
};

struct Quote {
    std::int64_t price;
    float size;
};
struct NamelessQuote {
    std::int64_t price;
    float size;
};

struct Arrays {
    int row[3];
    double matrix[2][2];
    Order orders[2];
    char name[5];
};

// Many elements in one field: what brace elision would count one by one.
struct Payload {
    std::uint64_t sequence;
    std::byte bytes[4096];
};

struct Thirty {
    int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16;
    int b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16;
};

struct ThirtyThree {
    int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16;
    int b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16, b17;
};

struct Bits {
    unsigned low : 3;
    unsigned high : 9;
};

struct Empty {};

struct WithEmpty {
    Empty empty;
    int value;
};

struct Derived : Order {
    int extra;
};

struct ConstField {
    const int id;
    int value;
};

union Either {
    int i;
    float f;
};

struct HoldsUnion {
    Either either;
};

// Trivially copyable, without default constructor, and not an aggregate.
class Price {
 public:
    explicit Price(std::int64_t ticks) : ticks_{ticks} {}
    [[nodiscard]] std::int64_t ticks() const { return ticks_; }

 private:
    std::int64_t ticks_;
};

class Opaque {
 public:
    explicit Opaque(int value) : value_{value} {}
    [[nodiscard]] int value() const { return value_; }

 private:
    int value_;
};

// Cannot be initialised by {}, so the fields are counted by values; arrays must not confuse that.
struct HoldsPrice {
    Price price;
    int row[3];
    int matrix[2][2];
    Order order;
};

struct HoldsOpaque {
    Opaque opaque;
};

// Not trivially copyable, because std::pair and std::tuple are not.
struct HoldsPairs {
    std::pair<std::int32_t, Order> pair;
    std::optional<std::tuple<std::int32_t, char>> maybe;
    int row[3];
    std::pair<std::int16_t, char> pairs[2];
    std::array<std::pair<std::int32_t, char>, 2> array;
};

struct HoldsPointer {
    int id;
    int* pointer;
};
struct HoldsView {
    std::string_view view;
};
struct HoldsReference {
    int id;
    int& reference;
};
struct HoldsDefaultedReference {
    static int target;
    int id{1};
    int& reference = target;
    int other{2};
};
struct HoldsFunction {
    void (*function)();
};
struct HoldsMemberPointer {
    int Order::*member;
};
struct HoldsSpanArray {
    std::array<std::span<int>, 2> spans;
};
struct HoldsString {
    std::string text;
};
struct Node {
    std::vector<Node> children;
};

template <class T, int Size>
struct Box {
    T value[std::size_t{Size}];
};

template <class T>
class Tagged {
 public:
    [[nodiscard]] int value() const { return value_; }

 private:
    int value_{0};
};
struct NeverDefined;

}  // namespace codec_test

template <>
inline constexpr bool sluice::is_shareable<codec_test::Price> = true;
template <>
inline constexpr auto sluice::schema<codec_test::Quote> = sluice::fields("price", "size");

namespace codec_test {
namespace {

using sluice::load_plain;
using sluice::Plain;
using sluice::plain_align;
using sluice::plain_bytes;
using sluice::store_plain;
using sluice::type_description;
using sluice::type_signature;
using namespace std::chrono_literals;

static_assert(Plain<bool> && Plain<char> && Plain<std::int64_t> && Plain<double>);
static_assert(Plain<std::byte> && Plain<Side> && Plain<Unscoped> && Plain<long double>);
static_assert(Plain<Order> && Plain<Arrays> && Plain<Payload> && Plain<Bits> && Plain<Empty>);
static_assert(Plain<WithEmpty> && Plain<ConstField> && Plain<Box<int, 3>> && Plain<Thirty>);
static_assert(Plain<std::array<int, 3>> && Plain<std::array<std::array<Order, 2>, 2>>);
static_assert(Plain<std::optional<int>> && Plain<std::optional<Order>>);
static_assert(Plain<std::pair<int, double>> && Plain<std::pair<const int, double>>);
static_assert(Plain<std::tuple<>> && Plain<std::tuple<int>> && Plain<std::tuple<int, Order, bool>>);
static_assert(Plain<std::tuple<std::tuple<int>>> && Plain<std::optional<std::pair<int, int>>>);
static_assert(Plain<std::variant<int, Order>> && Plain<std::variant<std::monostate, double>>);
static_assert(Plain<std::chrono::nanoseconds> && Plain<std::chrono::steady_clock::time_point>);
static_assert(Plain<std::complex<double>> && Plain<std::bitset<100>>);
static_assert(Plain<Price> && Plain<HoldsPrice> && Plain<std::tuple<Price, int>>);
static_assert(Plain<HoldsPairs>);

static_assert(!Plain<int*> && !Plain<const char*> && !Plain<std::nullptr_t> && !Plain<int&>);
static_assert(!Plain<void> && !Plain<void (*)()> && !Plain<int Order::*> && !Plain<const int>);
static_assert(!Plain<int[3]> && !Plain<volatile int>);
static_assert(!Plain<std::string> && !Plain<std::string_view> && !Plain<std::span<int>>);
static_assert(!Plain<std::vector<int>> && !Plain<std::map<int, int>> && !Plain<HoldsString>);
static_assert(!Plain<std::unique_ptr<int>> && !Plain<std::shared_ptr<int>>);
static_assert(!Plain<std::reference_wrapper<int>> && !Plain<std::function<void()>>);
static_assert(!Plain<HoldsPointer> && !Plain<HoldsView> && !Plain<HoldsReference>);
static_assert(!Plain<HoldsDefaultedReference> && !Plain<HoldsFunction>);
static_assert(!Plain<HoldsMemberPointer> && !Plain<HoldsSpanArray>);
static_assert(!Plain<std::optional<int*>> && !Plain<std::array<HoldsPointer, 2>>);
static_assert(!Plain<std::pair<int, std::string_view>> && !Plain<std::tuple<int, int&>>);
static_assert(!Plain<std::variant<int, int*>> && !Plain<std::variant<int, std::pair<int, int>>>);
static_assert(!Plain<Opaque> && !Plain<HoldsOpaque> && !Plain<std::optional<Opaque>>);
static_assert(!Plain<Derived> && !Plain<Either> && !Plain<HoldsUnion> && !Plain<ThirtyThree>);
static_assert(!Plain<Node>);

// is_shareable is a question that can be asked, as well as a word that can be given.
static_assert(sluice::is_shareable<Order> && !sluice::is_shareable<HoldsPointer>);

// Only a pointer or a view that is there is blamed.
static_assert(sluice::detail::holds_view<HoldsPointer>());
static_assert(sluice::detail::holds_view<std::vector<std::string_view>>());
static_assert(sluice::detail::holds_view<std::map<std::string, std::vector<HoldsView>>>());
static_assert(sluice::detail::holds_view<std::deque<std::unique_ptr<int>>>());
static_assert(sluice::detail::holds_view<HoldsDefaultedReference>());
static_assert(!sluice::detail::holds_view<std::map<std::string, std::vector<Order>>>());
static_assert(!sluice::detail::holds_view<Node>() && !sluice::detail::holds_view<Opaque>());
static_assert(!sluice::detail::holds_view<Price>());

static_assert(plain_bytes<Order> == sizeof(Order) && plain_align<Order> == alignof(Order));
static_assert(plain_bytes<std::pair<char, std::int32_t>> == 8);
static_assert(plain_align<std::pair<char, std::int32_t>> == 4);
static_assert(plain_bytes<std::tuple<char, char, char>> == 3 && plain_bytes<std::tuple<>> == 1);
static_assert(plain_bytes<std::string> == 0);

static_assert(sluice::detail::field_count<HoldsPrice>() == 4);
static_assert(sluice::detail::field_count<HoldsDefaultedReference>() == 3);
static_assert(sluice::detail::field_count<Arrays>() == 4);
static_assert(sluice::detail::field_count<Payload>() == 2);
static_assert(sluice::detail::field_count<Thirty>() == 32);
static_assert(std::is_same_v<sluice::detail::FieldTypes<HoldsReference>,
                             sluice::detail::TypeList<int, int&>>);
static_assert(std::is_same_v<sluice::detail::FieldTypes<Arrays>,
                             sluice::detail::TypeList<int[3], double[2][2], Order[2], char[5]>>);

// Through bytes that are as unaligned as they can be.
template <class T>
T round_trip(const T& value) {
    std::array<std::byte, plain_bytes<T> + 1> bytes{};
    store_plain(bytes.data() + 1, value);
    return load_plain<T>(bytes.data() + 1);
}

TEST(Plain, ArithmeticExtremesComeBack) {
    EXPECT_EQ(round_trip(std::numeric_limits<std::int64_t>::min()),
              std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(round_trip(std::numeric_limits<std::uint64_t>::max()),
              std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(round_trip(true), true);
    EXPECT_EQ(round_trip(Side::sell), Side::sell);
    EXPECT_EQ(round_trip(std::byte{0xfe}), std::byte{0xfe});
    EXPECT_EQ(round_trip(-0.0), 0.0);
    EXPECT_TRUE(std::signbit(round_trip(-0.0)));
}

TEST(Plain, NotANumberKeepsItsBits) {
    const std::uint64_t bits = 0x7ff4dead0000beefU;  // signalling, with a payload
    const double nan = std::bit_cast<double>(bits);
    std::array<std::byte, plain_bytes<double>> bytes{};
    store_plain(bytes.data(), nan);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(bytes), bits);
}

TEST(Plain, TriviallyCopyableValueLiesAsInMemory) {
    const Order order{42, 1.5, {"ACME"}, Side::sell};
    std::array<std::byte, plain_bytes<Order>> bytes{};
    store_plain(bytes.data(), order);
    EXPECT_EQ(std::memcmp(bytes.data(), &order, sizeof order), 0);
    EXPECT_EQ(load_plain<Order>(bytes.data()), order);
}

TEST(Plain, ArraysComeBack) {
    const Arrays sut{{1, 2, 3}, {{1, 2}, {3, 4}}, {{1, 2, {"a"}, {}}, {3, 4, {"b"}, {}}}, "name"};
    const Arrays copy = round_trip(sut);
    EXPECT_EQ(copy.row[2], 3);
    EXPECT_EQ(copy.matrix[1][0], 3);
    EXPECT_EQ(copy.orders[1], sut.orders[1]);
    EXPECT_STREQ(copy.name, "name");
}

TEST(Plain, ValueWithoutDefaultConstructorComesBack) {
    EXPECT_EQ(round_trip(Price{-7}).ticks(), -7);
    EXPECT_EQ(std::get<0>(round_trip(std::tuple{Price{8}, 1})).ticks(), 8);
    const HoldsPrice copy = round_trip(HoldsPrice{Price{9}, {1, 2, 3}, {}, {}});
    EXPECT_EQ(copy.price.ticks(), 9);
    EXPECT_EQ(copy.row[2], 3);
    EXPECT_EQ(round_trip(ConstField{3, 4}).id, 3);
}

TEST(Plain, PairsAndTuplesComeBack) {
    const std::pair<int, double> pair{1, 2.5};
    EXPECT_EQ(round_trip(pair), pair);
    const std::pair<const int, double> keyed{1, 2.5};
    EXPECT_EQ(round_trip(keyed), keyed);
    const std::tuple<char, std::int64_t, std::pair<bool, float>, Order> tuple{
        'x', -1, {true, 0.5F}, {1, 2, {"s"}, Side::sell}};
    EXPECT_EQ(round_trip(tuple), tuple);
    const std::tuple<std::tuple<int>> nested{std::tuple<int>{5}};
    EXPECT_EQ(round_trip(nested), nested);
    EXPECT_EQ(round_trip(std::tuple<>{}), std::tuple<>{});
}

TEST(Plain, TupleIsLaidOutInOrderEachElementAligned) {
    std::array<std::byte, plain_bytes<std::tuple<char, std::int32_t, char>>> bytes{};
    static_assert(bytes.size() == 12);
    store_plain(bytes.data(), std::tuple<char, std::int32_t, char>{'a', 0x01020304, 'b'});
    const std::array<std::byte, 12> expected{
        std::byte{'a'}, {}, {}, {}, std::byte{4}, std::byte{3}, std::byte{2}, std::byte{1},
        std::byte{'b'}, {}, {}, {}};
    EXPECT_EQ(bytes, expected);
}

TEST(Plain, OptionalsComeBack) {
    EXPECT_EQ(round_trip(std::optional<int>{}), std::nullopt);
    EXPECT_EQ(round_trip(std::optional<int>{7}), 7);
    using MaybePair = std::optional<std::pair<int, char>>;
    EXPECT_EQ(round_trip(MaybePair{}), std::nullopt);
    EXPECT_EQ(round_trip(MaybePair{{3, 'c'}}), (std::pair{3, 'c'}));
    using Twice = std::optional<std::optional<std::pair<int, char>>>;
    EXPECT_EQ(round_trip(Twice{}), Twice{});
    EXPECT_EQ(round_trip(Twice{MaybePair{}}), Twice{MaybePair{}});
}

TEST(Plain, StandardClassesComeBack) {
    using Variant = std::variant<int, Order>;
    EXPECT_EQ(round_trip(Variant{5}), Variant{5});
    EXPECT_EQ(std::get<1>(round_trip(Variant{Order{1, 2, {}, {}}})).id, 1);
    EXPECT_EQ(round_trip(std::chrono::nanoseconds{-5}), -5ns);
    EXPECT_EQ(round_trip(std::complex<double>{1, 2}), (std::complex<double>{1, 2}));
    EXPECT_EQ(round_trip(std::bitset<100>{}.set(77)), std::bitset<100>{}.set(77));
}

TEST(Plain, AggregateOfPairsComesBack) {
    const HoldsPairs sut{{3, {1, 2.5, {"abc"}, Side::sell}},
                         std::tuple{7, 'x'},
                         {1, 2, 3},
                         {{1, 'a'}, {2, 'b'}},
                         {{{3, 'c'}, {4, 'd'}}}};
    const HoldsPairs copy = round_trip(sut);
    EXPECT_EQ(copy.pair, sut.pair);
    EXPECT_EQ(copy.maybe, sut.maybe);
    EXPECT_EQ(copy.row[2], 3);
    EXPECT_EQ(copy.pairs[1], sut.pairs[1]);
    EXPECT_EQ(copy.array, sut.array);
}

TEST(PackBuffer, GrowsAndIsUsedAgain) {
    sluice::PackBuffer sut;
    EXPECT_EQ(sut.size(), 0U);
    EXPECT_TRUE(sut.bytes().empty());
    const std::string text(1000, 'x');
    sut.write(text.data(), text.size());
    sut.write("", 0);
    sut.write("y", 1);
    ASSERT_EQ(sut.size(), 1001U);
    EXPECT_EQ(sut.data()[999], std::byte{'x'});
    EXPECT_EQ(sut.bytes()[1000], std::byte{'y'});
    const std::byte* const memory = sut.data();
    sut.clear();
    sut.write(text.data(), text.size());
    EXPECT_EQ(sut.size(), 1000U);
    EXPECT_EQ(sut.data(), memory);
}

// Another compiler, another build: the same program must find the same numbers.
TEST(TypeSignature, GoldenValuesHoldForEveryCompiler) {
    EXPECT_EQ((type_signature<bool>()), 0x585b01b29d333d27U);
    EXPECT_EQ((type_signature<char>()), 0xa7327c764c0b9b27U);
    EXPECT_EQ((type_signature<std::int32_t>()), 0x2c43126e1d81f2edU);
    EXPECT_EQ((type_signature<std::uint64_t>()), 0xc03ad5824a9c30c9U);
    EXPECT_EQ((type_signature<double>()), 0xdfb866e0a8b260c5U);
    EXPECT_EQ((type_signature<std::byte>()), 0x2f2f33474f1d134dU);
    EXPECT_EQ((type_signature<Side>()), 0xeebfaccfa672d498U);
    EXPECT_EQ((type_signature<std::string>()), 0x80eb68b1f909c988U);
    EXPECT_EQ((type_signature<std::vector<std::string>>()), 0x3a9542d2d57e7bbfU);
    EXPECT_EQ((type_signature<std::map<std::string, std::vector<double>>>()), 0xae62fbcf09e0e057U);
    EXPECT_EQ((type_signature<std::unordered_map<int, std::set<int>>>()), 0xed779e949cede752U);
    EXPECT_EQ((type_signature<std::tuple<int, std::string, std::string>>()), 0x5f657e335ab8b439U);
    EXPECT_EQ((type_signature<std::tuple<int, std::optional<std::string>, std::string>>()),
              0xb08f2e441b22bc31U);
    EXPECT_EQ((type_signature<std::variant<std::monostate, int, std::string>>()),
              0xbfc205faf934dafbU);
    EXPECT_EQ((type_signature<std::array<std::pair<int, char>, 2>>()), 0x3a499bdfc6d228ccU);
    EXPECT_EQ((type_signature<std::chrono::system_clock::time_point>()), 0x739f882eb1eaa671U);
    EXPECT_EQ((type_signature<Order>()), 0xd4ad6fe0ff3ab1f2U);
    EXPECT_EQ((type_signature<Arrays>()), 0x8874ae5f9aa1c376U);
    EXPECT_EQ((type_signature<Box<int, 3>>()), 0x83d1ea40e6aca6d6U);
    EXPECT_EQ((type_signature<Price>()), 0x8e30b2d4c5eb3e71U);
    EXPECT_EQ((type_signature<Tagged<NeverDefined>>()), 0x057391418a2bc954U);
    EXPECT_EQ((type_signature<HoldsString>()), 0x430fd295ea46c0abU);
}

TEST(TypeSignature, SameLayoutHasTheSameSignature) {
    EXPECT_EQ(type_signature<long>(), type_signature<long long>());
    EXPECT_EQ(type_signature<const int>(), type_signature<int>());
    struct SameAsPayload {
        std::uint64_t other_name;
        std::byte bytes[4096];
    };
    EXPECT_EQ(type_signature<SameAsPayload>(), type_signature<Payload>());
}

TEST(TypeSignature, DifferentTypesDiffer) {
    const std::set<std::uint64_t> signatures{
        type_signature<bool>(),
        type_signature<char>(),
        type_signature<std::int8_t>(),
        type_signature<std::uint8_t>(),
        type_signature<std::byte>(),
        type_signature<Side>(),
        type_signature<std::int16_t>(),
        type_signature<std::int32_t>(),
        type_signature<std::uint32_t>(),
        type_signature<std::int64_t>(),
        type_signature<float>(),
        type_signature<double>(),
        type_signature<std::string>(),
        type_signature<std::vector<int>>(),
        type_signature<std::vector<std::string>>(),
        type_signature<std::vector<std::vector<int>>>(),
        type_signature<std::set<int>>(),
        type_signature<std::map<int, int>>(),
        type_signature<std::map<int, std::string>>(),
        type_signature<std::unordered_map<int, int>>(),
        type_signature<std::array<int, 3>>(),
        type_signature<std::array<int, 4>>(),
        type_signature<std::optional<int>>(),
        type_signature<std::pair<int, int>>(),
        type_signature<std::tuple<int, int>>(),
        type_signature<std::tuple<int, int, int>>(),
        type_signature<std::variant<int, std::string>>(),
        type_signature<std::variant<std::string, int>>(),
        type_signature<std::chrono::nanoseconds>(),
        type_signature<std::chrono::milliseconds>(),
        type_signature<Order>(),
        type_signature<Arrays>(),
        type_signature<Bits>(),
        type_signature<Box<int, 3>>(),
        type_signature<Box<int, 4>>(),
        type_signature<Price>(),
        type_signature<Tagged<int>>(),
        type_signature<Tagged<long>>(),
        type_signature<Tagged<NeverDefined>>(),
        type_signature<HoldsString>(),
        type_signature<Node>(),
    };
    EXPECT_EQ(signatures.size(), 41U);
}

TEST(Schema, NamesAreInTheTextAndNotInTheSignature) {
    EXPECT_EQ(type_description<Quote>(), "codec_test::Quote{price: int64, size: float32}");
    EXPECT_EQ(type_description<std::vector<Quote>>(),
              "vector<codec_test::Quote{price: int64, size: float32}>");
    EXPECT_EQ(type_signature<Quote>(), type_signature<NamelessQuote>());
}

TEST(TypeDescription, NamesTypesInWords) {
    EXPECT_EQ(type_description<std::int64_t>(), "int64");
    EXPECT_EQ(type_description<std::vector<std::string>>(), "vector<string>");
    EXPECT_EQ((type_description<std::map<int, std::optional<double>>>()),
              "map<int32, optional<float64>>");
    EXPECT_EQ(type_description<Order>(),
              "codec_test::Order{int64, float64, array<char, 8>, enum codec_test::Side: uint8}");
    EXPECT_EQ(type_description<Arrays>().substr(0, 49),
              "codec_test::Arrays{int32[3], float64[2][2], codec");
    EXPECT_EQ((type_description<std::variant<std::monostate, char>>()), "variant<monostate, char>");
    EXPECT_EQ(type_description<HoldsString>(), "codec_test::HoldsString");
    EXPECT_EQ(type_description<Tagged<NeverDefined>>(),
              "codec_test::Tagged<codec_test::NeverDefined>");
    EXPECT_EQ(type_description<std::chrono::system_clock::time_point>(),
              "std::chrono::system_clock::time_point<duration<int64, 1/1000000000>>");
}

}  // namespace
}  // namespace codec_test
