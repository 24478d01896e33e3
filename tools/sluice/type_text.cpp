#include "type_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <sluice/detail/type_signature.hpp>

namespace sluice::tool {
namespace {

using Form = Type::Form;

std::size_t round_up(std::size_t value, std::size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

struct Scalar {
    std::string_view name;
    Form form;
    std::size_t bytes;
};
constexpr std::array<Scalar, 16> kScalars{{
    {"bool", Form::boolean, 1},
    {"char", Form::character, 1},
    {"byte", Form::unsigned_integer, 1},
    {"char8", Form::unsigned_integer, 1},
    {"char16", Form::unsigned_integer, 2},
    {"char32", Form::unsigned_integer, 4},
    {"int8", Form::signed_integer, 1},
    {"int16", Form::signed_integer, 2},
    {"int32", Form::signed_integer, 4},
    {"int64", Form::signed_integer, 8},
    {"uint8", Form::unsigned_integer, 1},
    {"uint16", Form::unsigned_integer, 2},
    {"uint32", Form::unsigned_integer, 4},
    {"uint64", Form::unsigned_integer, 8},
    {"float32", Form::real, 4},
    {"float64", Form::real, 8},
}};

/// Reads the text from left to right. What is not understood makes the whole opaque.
class Parser {
 public:
    explicit Parser(std::string_view text) : rest_(text) {}

    /// As type_signature<T>() of the type that was read.
    std::uint64_t signature() const { return signature_.value(); }

    Type all() {
        Type type = one();
        return understood_ && rest_.empty() ? type : Type{};
    }

 private:
    bool take(std::string_view word) {
        if (!rest_.starts_with(word)) {
            return false;
        }
        rest_.remove_prefix(word.size());
        return true;
    }
    // What is required is part of the signature.
    void require(std::string_view word) {
        understood_ = take(word) && understood_;
        signature_.add(word);
    }
    std::size_t number() {
        std::size_t value = 0;
        const auto result = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
        understood_ = understood_ && result.ec == std::errc{} && value <= kElementsMax;
        rest_.remove_prefix(static_cast<std::size_t>(result.ptr - rest_.data()));
        signature_.add(std::uint64_t{value});
        return value;
    }
    std::string_view until(std::string_view ends) {
        const std::string_view word =
            rest_.substr(0, std::min(rest_.find_first_of(ends), rest_.size()));
        rest_.remove_prefix(word.size());
        return word;
    }

    Type one() {
        if (!understood_ || ++depth_ > kDepthMax) {
            understood_ = false;
            return {};
        }
        Type type = base();
        std::vector<std::size_t> extents;
        while (take("[")) {
            signature_.add("[");
            extents.push_back(number());
            require("]");
        }
        for (auto extent = extents.rbegin(); extent != extents.rend(); ++extent) {
            type = array_of(std::move(type), *extent);
        }
        --depth_;
        return type;
    }

    Type base() {
        if (take("enum ")) {
            signature_.add("enum ");
            until(" ");  // "my::Side:"
            understood_ = take(" ") && understood_;
            return scalar(until(",>}[ "));
        }
        if (take("array<")) {
            signature_.add("array<");
            Type element = one();
            require(", ");
            const std::size_t count = number();
            require(">");
            return array_of(std::move(element), count);
        }
        for (const std::string_view kind : {"pair", "tuple"}) {
            if (rest_.starts_with(kind) && rest_.substr(kind.size()).starts_with("<")) {
                require(kind);
                require("<");
                Type type = record(">");
                signature_.add(">");
                return type;
            }
        }
        if (rest_.starts_with("optional<")) {
            require("optional");
            require("<");
            Type type;
            type.form = Form::optional;
            type.parts.push_back(one());
            require(">");
            const Type& value = type.parts.front();
            // Pairs and tuples inside are laid out by Sluice, not by the ABI: not told.
            if (value.is_plain() && value.form != Form::record) {
                type.align = value.align;
                type.bytes = round_up(value.bytes + 1, value.align);
            }
            return type;
        }
        if (take("duration<")) {
            signature_.add("duration<");
            Type type = one();
            require(", ");
            number();
            require("/");
            number();
            require(">");
            return type;
        }
        for (const std::string_view list : {"vector<", "deque<", "list<", "set<", "multiset<",
                                            "unordered_set<", "forward_list<"}) {
            if (take(list)) {
                Type type;
                type.form = Form::list;
                type.parts.push_back(one());
                require(">");
                return type;
            }
        }
        for (const std::string_view map : {"map<", "unordered_map<"}) {
            if (take(map)) {
                Type type;
                type.form = Form::map;
                type.parts.push_back(one());
                require(", ");
                type.parts.push_back(one());
                require(">");
                return type;
            }
        }
        const std::string_view word = until("{<>,[} ");
        if (word == "string" && !rest_.starts_with("<")) {
            Type type;
            type.form = Form::string;
            return type;
        }
        constexpr std::string_view kTimePoint = "::time_point";
        if (word.ends_with(kTimePoint) && take("<")) {
            signature_.add(word.substr(0, word.size() - kTimePoint.size()));
            signature_.add("::time_point<");
            Type type = one();
            require(">");
            return type;
        }
        if (take("{")) {
            signature_.add("{");
            Type type = record("}");
            signature_.add("}");
            signature_.add(std::uint64_t{type.bytes});
            signature_.add(std::uint64_t{type.align});
            return type;
        }
        return scalar(word);
    }

    Type record(std::string_view end) {
        Type type;
        type.form = Form::record;
        bool plain = true;
        std::size_t bytes = 0;
        while (understood_ && !take(end)) {
            if (!type.parts.empty()) {
                require(", ");
            }
            // A name is an identifier and ": "; a type of one word is followed by something else.
            const std::size_t word = std::min(rest_.find_first_of(" ,<>{}[:"), rest_.size());
            if (rest_.substr(word).starts_with(": ")) {
                type.names.emplace_back(rest_.substr(0, word));
                rest_.remove_prefix(word + 2);
            }
            type.parts.push_back(one());
            const Type& part = type.parts.back();
            plain = plain && part.is_plain();
            bytes = round_up(bytes, part.align) + part.bytes;
            type.align = std::max(type.align, part.align);
        }
        type.bytes = plain ? std::max<std::size_t>(round_up(bytes, type.align), 1) : 0;
        understood_ = understood_ && (type.names.empty() || type.names.size() == type.parts.size());
        return type;
    }

    Type scalar(std::string_view word) {
        for (const Scalar& known : kScalars) {
            if (known.name == word) {
                signature_.add(word);
                Type type;
                type.form = known.form;
                type.bytes = known.bytes;
                type.align = known.bytes;
                return type;
            }
        }
        understood_ = false;
        return {};
    }

    static Type array_of(Type element, std::size_t count) {
        Type type;
        type.form = Form::array;
        type.count = count;
        type.align = element.align;
        type.bytes = element.bytes * count;
        type.parts.push_back(std::move(element));
        return type;
    }

    static constexpr std::size_t kElementsMax = 1'000'000'000;  // also a clock's ticks a second
    static constexpr int kDepthMax = 32;

    std::string_view rest_;
    detail::Fnv signature_{};
    bool understood_{true};
    int depth_{};
};

template <class T>
T load(std::span<const std::byte> bytes) {
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

std::uint64_t load_unsigned(std::span<const std::byte> bytes, std::size_t count) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), count);  // little-endian, as all our machines
    return value;
}

std::int64_t load_signed(std::span<const std::byte> bytes, std::size_t count) {
    const auto shift = static_cast<unsigned>(64 - 8 * count);
    return static_cast<std::int64_t>(load_unsigned(bytes, count) << shift) >>
           static_cast<int>(shift);
}

Json real_json(double value) {
    if (std::isfinite(value)) {
        return value;
    }
    return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

[[noreturn]] void refuse(const Type& type, const Json& json) {
    static constexpr std::array<const char*, 12> kWords{
        "true or false",
        "a text of one letter",
        "an integer in range",
        "an integer in range",
        "a number",
        "an array, or an object with the fields' names",
        "an array of the right length",
        "a value or null",
        "a text",
        "an array",
        "an object",
        "a value"};
    throw CommandError(kUsage, fmt::format("{} is not {}", json.dump(),
                                           kWords[static_cast<std::size_t>(type.form)]));
}

bool fits_integer(const Type& type, const Json& json) {
    if (!json.is_number_integer()) {
        return false;
    }
    if (type.form == Form::unsigned_integer) {
        return (json.is_number_unsigned() || json.get<std::int64_t>() >= 0) &&
               (type.bytes == 8 || json.get<std::uint64_t>() >> (8 * type.bytes) == 0);
    }
    if (json.is_number_unsigned() &&
        json.get<std::uint64_t>() >
            static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return false;
    }
    const auto value = json.get<std::int64_t>();
    const auto bits = static_cast<int>(8 * type.bytes - 1);
    return bits == 63 || (value >= -(1LL << bits) && value < (1LL << bits));
}

const Json* part_of(const Type& type, const Json& json, std::size_t index) {
    if (json.is_array()) {
        return &json[index];
    }
    const auto found = json.find(type.names[index]);
    return found != json.end() ? &*found : nullptr;
}

bool has_parts(const Type& type, const Json& json) {
    return (json.is_array() && json.size() == type.parts.size()) ||
           (json.is_object() && !type.names.empty() && json.size() == type.parts.size());
}

}  // namespace

Type parse_type(std::string_view text) {
    return Parser(text).all();
}

Type parse_plain_type(std::string_view text, std::uint64_t signature) {
    Parser parser(text);
    Type type = parser.all();
    return parser.signature() == signature ? type : Type{};
}

Json hexadecimal(std::span<const std::byte> bytes) {
    Json words = Json::array();
    for (std::size_t at = 0; at < bytes.size(); at += 8) {
        const std::size_t count = std::min<std::size_t>(8, bytes.size() - at);
        words.push_back(
            fmt::format("0x{:0{}x}", load_unsigned(bytes.subspan(at), count), 2 * count));
    }
    return words;
}

Json unpack(std::span<const std::byte> bytes) {
    const auto* const begin = reinterpret_cast<const char*>(bytes.data());
    Json json = Json::from_msgpack(begin, begin + bytes.size(), true, false);
    return json.is_discarded() ? hexadecimal(bytes) : json;
}

Json decode(const Type& type, std::span<const std::byte> bytes) {
    if (!type.is_plain() || bytes.size() < type.bytes) {
        return hexadecimal(bytes);
    }
    switch (type.form) {
        case Form::boolean:
            return load_unsigned(bytes, 1) != 0;
        case Form::character:
            return std::string(1, load<char>(bytes));
        case Form::signed_integer:
            return load_signed(bytes, type.bytes);
        case Form::unsigned_integer:
            return load_unsigned(bytes, type.bytes);
        case Form::real:
            return real_json(type.bytes == 4 ? static_cast<double>(load<float>(bytes))
                                             : load<double>(bytes));
        case Form::optional:
            return load_unsigned(bytes.subspan(type.parts[0].bytes), 1) != 0
                       ? decode(type.parts[0], bytes)
                       : Json();
        case Form::array: {
            const Type& element = type.parts[0];
            if (element.form == Form::character) {
                const auto* const text = reinterpret_cast<const char*>(bytes.data());
                return std::string(text, strnlen(text, type.count));
            }
            Json all = Json::array();
            for (std::size_t index = 0; index < type.count; ++index) {
                all.push_back(decode(element, bytes.subspan(index * element.bytes)));
            }
            return all;
        }
        case Form::record: {
            Json all = type.names.empty() ? Json::array() : Json::object();
            std::size_t at = 0;
            for (std::size_t index = 0; index < type.parts.size(); ++index) {
                const Type& part = type.parts[index];
                at = round_up(at, part.align);
                Json value = decode(part, bytes.subspan(at));
                if (type.names.empty()) {
                    all.push_back(std::move(value));
                } else {
                    all[type.names[index]] = std::move(value);
                }
                at += part.bytes;
            }
            return all;
        }
        default:
            return hexadecimal(bytes);
    }
}

void encode(const Type& type, const Json& json, std::span<std::byte> bytes) {
    if (!type.is_plain() || bytes.size() < type.bytes || !accepts(type, json)) {
        refuse(type, json);
    }
    switch (type.form) {
        case Form::boolean:
            bytes[0] = static_cast<std::byte>(json.get<bool>());
            return;
        case Form::character:
            bytes[0] = static_cast<std::byte>(json.get<std::string>()[0]);
            return;
        case Form::signed_integer: {
            const auto value = json.get<std::int64_t>();
            std::memcpy(bytes.data(), &value, type.bytes);
            return;
        }
        case Form::unsigned_integer: {
            const auto value = json.get<std::uint64_t>();
            std::memcpy(bytes.data(), &value, type.bytes);
            return;
        }
        case Form::real:
            if (type.bytes == 4) {
                const auto value = json.get<float>();
                std::memcpy(bytes.data(), &value, sizeof value);
            } else {
                const auto value = json.get<double>();
                std::memcpy(bytes.data(), &value, sizeof value);
            }
            return;
        case Form::optional:
            bytes[type.parts[0].bytes] = static_cast<std::byte>(!json.is_null());
            if (!json.is_null()) {
                encode(type.parts[0], json, bytes);
            }
            return;
        case Form::array: {
            const Type& element = type.parts[0];
            if (element.form == Form::character) {
                const auto text = json.get<std::string>();
                std::memcpy(bytes.data(), text.data(), text.size());
                return;
            }
            for (std::size_t index = 0; index < type.count; ++index) {
                encode(element, json[index], bytes.subspan(index * element.bytes));
            }
            return;
        }
        case Form::record: {
            std::size_t at = 0;
            for (std::size_t index = 0; index < type.parts.size(); ++index) {
                at = round_up(at, type.parts[index].align);
                encode(type.parts[index], *part_of(type, json, index), bytes.subspan(at));
                at += type.parts[index].bytes;
            }
            return;
        }
        default:
            refuse(type, json);
    }
}

bool accepts(const Type& type, const Json& json) {
    const auto all_of = [&](const Type& element) {
        return std::all_of(json.begin(), json.end(),
                           [&](const Json& value) { return accepts(element, value); });
    };
    switch (type.form) {
        case Form::boolean:
            return json.is_boolean();
        case Form::character:
            return json.is_string() && json.get_ref<const std::string&>().size() == 1;
        case Form::signed_integer:
        case Form::unsigned_integer:
            return fits_integer(type, json);
        case Form::real:
            return json.is_number();
        case Form::string:
            return json.is_string();
        case Form::optional:
            return json.is_null() || accepts(type.parts[0], json);
        case Form::list:
            return json.is_array() && all_of(type.parts[0]);
        case Form::map:
            return json.is_object() && all_of(type.parts[1]);
        case Form::array:
            return type.parts[0].form == Form::character && json.is_string()
                       ? json.get_ref<const std::string&>().size() <= type.count
                       : json.is_array() && json.size() == type.count && all_of(type.parts[0]);
        case Form::record:
            if (!has_parts(type, json)) {
                return false;
            }
            for (std::size_t index = 0; index < type.parts.size(); ++index) {
                const Json* const part = part_of(type, json, index);
                if (part == nullptr || !accepts(type.parts[index], *part)) {
                    return false;
                }
            }
            return true;
        case Form::opaque:
            break;
    }
    return true;
}

}  // namespace sluice::tool
