// The text of a type taken apart gives the layout that the compiler gives the type.
#include "sluice/type_text.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <sluice/codec.hpp>
#include <sluice/schema.hpp>
#include <string>
#include <tuple>
#include <vector>

namespace type_text_test {

enum class Side : std::uint8_t { buy, sell };
struct Order {
    std::int64_t id;
    double price;
    std::array<char, 8> symbol;
    Side side;
};
struct Trade {
    Order order;
    bool aggressor;
    std::int16_t levels[2][3];
    std::optional<float> fee;
};
struct alignas(16) Wide {
    std::int64_t value;
};
struct Bits {
    unsigned low : 3;
    unsigned high : 9;
};
struct Quote {
    std::int32_t price;
    std::uint64_t size;
};

}  // namespace type_text_test

template <>
inline constexpr auto sluice::schema<type_text_test::Quote> = sluice::fields("price", "size");

namespace sluice::tool {
namespace {

using type_text_test::Bits;
using type_text_test::Order;
using type_text_test::Quote;
using type_text_test::Side;
using type_text_test::Trade;
using type_text_test::Wide;

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
    std::vector<std::byte> bytes(plain_bytes<T>);
    store_plain(bytes.data(), value);
    return bytes;
}
template <class T>
Json shown(const T& value) {
    return decode(parse_plain_type(type_description<T>(), type_signature<T>()), bytes_of(value));
}
template <class T>
T made(const Json& json) {
    std::vector<std::byte> bytes(plain_bytes<T>);
    encode(parse_plain_type(type_description<T>(), type_signature<T>()), json, bytes);
    return load_plain<T>(bytes.data());
}

TEST(TypeText, SizesAndAlignmentsAreTheCompilers) {
    const auto check = [](auto value) {
        using T = decltype(value);
        const Type sut = parse_plain_type(type_description<T>(), type_signature<T>());
        EXPECT_EQ(sut.bytes, plain_bytes<T>) << type_description<T>();
        EXPECT_EQ(sut.align, plain_align<T>) << type_description<T>();
    };
    check(true);
    check('c');
    check(std::int8_t{});
    check(std::uint16_t{});
    check(std::int32_t{});
    check(std::uint64_t{});
    check(float{});
    check(double{});
    check(Side{});
    check(Order{});
    check(Trade{});
    check(Quote{});
    check(std::array<Order, 3>{});
    check(std::tuple<char, double, std::int16_t>{});
    check(std::pair<std::int32_t, char>{});
    check(std::optional<std::int64_t>{});
    check(std::chrono::nanoseconds{});
    check(std::chrono::system_clock::time_point{});
}

TEST(TypeText, LayoutsThatTheTextDoesNotTellAreOpaque) {
    const auto form = [](const std::string& text, std::uint64_t signature) {
        return parse_plain_type(text, signature).form;
    };
    EXPECT_EQ(form(type_description<Wide>(), type_signature<Wide>()), Type::Form::opaque);
    EXPECT_EQ(form(type_description<Bits>(), type_signature<Bits>()), Type::Form::opaque);
    EXPECT_EQ(form(type_description<Quote>(), type_signature<Order>()), Type::Form::opaque);
}

TEST(TypeText, ValuesAreShownByPositionOrByName) {
    EXPECT_EQ(shown(std::int64_t{-5}), -5);
    EXPECT_EQ(shown(std::numeric_limits<std::uint64_t>::max()),
              std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(shown(std::numeric_limits<std::int8_t>::min()), -128);
    EXPECT_EQ(shown(std::nan("")), "nan");
    EXPECT_EQ(shown(Order{7, 2.5, {'A', 'B'}, Side::sell}), Json::parse(R"([7, 2.5, "AB", 1])"));
    EXPECT_EQ(shown(Quote{-3, 4}), Json::parse(R"({"price": -3, "size": 4})"));
    EXPECT_EQ(shown(std::optional<std::int32_t>{}), Json());
    EXPECT_EQ(shown(std::optional<std::int32_t>{9}), 9);
    EXPECT_EQ(shown(Trade{{1, 2, {}, Side::buy}, true, {{1, 2, 3}, {4, 5, 6}}, 0.5F}),
              Json::parse(R"([[1, 2.0, "", 0], true, [[1, 2, 3], [4, 5, 6]], 0.5])"));
}

TEST(TypeText, JsonBecomesTheValue) {
    EXPECT_EQ(made<std::int64_t>(-5), -5);
    EXPECT_EQ(made<std::uint8_t>(255), 255);
    EXPECT_EQ(made<double>(1), 1.0);
    const auto quote = made<Quote>(Json::parse(R"({"size": 4, "price": -3})"));
    EXPECT_EQ(quote.price, -3);
    EXPECT_EQ(quote.size, 4U);
    EXPECT_EQ(made<Quote>(Json::parse("[-3, 4]")).size, 4U);
    EXPECT_EQ(shown(made<Trade>(Json::parse(
                  R"([[1, 2.0, "ABCDEFGH", 1], false, [[1, 2, 3], [4, 5, 6]], null])"))),
              Json::parse(R"([[1, 2.0, "ABCDEFGH", 1], false, [[1, 2, 3], [4, 5, 6]], null])"));
}

TEST(TypeText, JsonOfAnotherTypeIsRefused) {
    EXPECT_THROW(made<std::int64_t>("5"), CommandError);
    EXPECT_THROW(made<std::int64_t>(0.5), CommandError);
    EXPECT_THROW(made<std::int8_t>(128), CommandError);
    EXPECT_THROW(made<std::uint8_t>(-1), CommandError);
    EXPECT_THROW(made<std::int64_t>(std::numeric_limits<std::uint64_t>::max()), CommandError);
    EXPECT_THROW(made<bool>(1), CommandError);
    EXPECT_THROW(made<Quote>(Json::parse(R"({"price": 1})")), CommandError);
    EXPECT_THROW(made<Quote>(Json::parse(R"({"price": 1, "sizes": 2})")), CommandError);
    EXPECT_THROW((made<std::array<int, 2>>(Json::parse("[1]"))), CommandError);
    EXPECT_THROW((made<std::array<char, 2>>("ABC")), CommandError);
}

TEST(TypeText, PackedTypesAreChecked) {
    const auto takes = [](const std::string& type, const Json& json) {
        return accepts(parse_type(type), json);
    };
    EXPECT_TRUE(takes("string", "text"));
    EXPECT_FALSE(takes("string", 1));
    EXPECT_TRUE(takes("vector<string>", Json::parse(R"(["a", "b"])")));
    EXPECT_FALSE(takes("vector<string>", Json::parse(R"(["a", 2])")));
    EXPECT_TRUE(takes("map<string, int64>", Json::parse(R"({"a": 1})")));
    EXPECT_FALSE(takes("map<string, int64>", Json::parse(R"({"a": "b"})")));
    EXPECT_TRUE(takes("my::Class", Json::parse("[1, 2]"))) << "not known: taken";
}

TEST(TypeText, CutAndUnknownTextsAreOpaque) {
    const std::string whole = type_description<Trade>();
    for (std::size_t length = 0; length < whole.size(); ++length) {
        EXPECT_EQ(parse_type(whole.substr(0, length)).form, Type::Form::opaque)
            << whole.substr(0, length);
    }
    for (const char* text : {"", "{", "my::Class", "array<int8, 99999999999999999999>", "pair<",
                             "variant<monostate, char>", "int64[", "a{b{c{d}}}"}) {
        EXPECT_EQ(parse_type(text).form, Type::Form::opaque) << text;
    }
    EXPECT_EQ(parse_type(std::string(100'000, '{')).form, Type::Form::opaque);
}

TEST(TypeText, RandomTextsAndBytesAreAnswered) {
    std::mt19937 random(20);
    const std::string letters = "int64,<>{}[]: 8array optional enum u";
    for (int round = 0; round < 20'000; ++round) {
        std::string text;
        for (std::size_t length = random() % 40; length > 0; --length) {
            text += letters[random() % letters.size()];
        }
        const Type type = parse_type(text);
        std::vector<std::byte> bytes(random() % 64);
        for (std::byte& byte : bytes) {
            byte = static_cast<std::byte>(random());
        }
        static_cast<void>(decode(type, bytes));
        static_cast<void>(unpack(bytes));
    }
}

TEST(TypeText, BytesOfNoKnownTypeAreShownInHexadecimal) {
    const std::array<std::byte, 10> bytes{std::byte{1}, std::byte{2},   {}, {}, {}, {}, {},
                                          {},           std::byte{0xff}};
    EXPECT_EQ(decode(Type{}, bytes), Json::parse(R"(["0x0000000000000201", "0x00ff"])"));
}

}  // namespace
}  // namespace sluice::tool
