#include "message.hpp"

#include <simdjson.h>

#include <optional>

namespace sluice::pipeline {
namespace {

namespace dom = simdjson::dom;
static_assert(kPaddingBytes >= simdjson::SIMDJSON_PADDING);

/// The fields that any of the four kinds uses, found in one walk over the object.
struct Fields {
    std::optional<dom::element> event{};
    std::optional<dom::element> first_id{}, last_id{}, previous_id{}, snapshot_id{};
    std::optional<dom::element> bid{}, ask{}, bid_quantity{}, ask_quantity{};
    std::optional<dom::element> bids{}, asks{};
    std::optional<dom::element> price{}, quantity{}, buyer_is_maker{};
};

std::optional<dom::element>* field_of(Fields& fields, std::string_view key) {
    if (key.size() == 1) {
        switch (key[0]) {
            case 'e':
                return &fields.event;
            case 'U':
                return &fields.first_id;
            case 'u':
                return &fields.last_id;
            case 'b':
                return &fields.bid;
            case 'a':
                return &fields.ask;
            case 'B':
                return &fields.bid_quantity;
            case 'A':
                return &fields.ask_quantity;
            case 'p':
                return &fields.price;
            case 'q':
                return &fields.quantity;
            case 'm':
                return &fields.buyer_is_maker;
            default:
                return nullptr;
        }
    }
    if (key == "pu") {
        return &fields.previous_id;
    }
    if (key == "lastUpdateId") {
        return &fields.snapshot_id;
    }
    if (key == "bids") {
        return &fields.bids;
    }
    return key == "asks" ? &fields.asks : nullptr;
}

/// Reads the fields of one message; the first thing amiss is kept in words, and the message is then
/// malformed.
class FieldReader {
 public:
    explicit FieldReader(std::string& problem) : problem_(problem) {}

    std::uint64_t number(const std::optional<dom::element>& field, const char* name) {
        std::uint64_t value = 0;
        if (!field || field->get_uint64().get(value) != simdjson::SUCCESS) {
            amiss(field, name, "a whole number");
        }
        return value;
    }

    Decimal decimal(const std::optional<dom::element>& field, const char* name) {
        std::string_view text;
        if (field && field->get_string().get(text) == simdjson::SUCCESS) {
            if (const std::optional<Decimal> value = parse_decimal(text)) {
                return *value;
            }
        }
        amiss(field, name, "a decimal of at most 18 digits");
        return {};
    }

    bool flag(const std::optional<dom::element>& field, const char* name) {
        bool value = false;
        if (!field || field->get_bool().get(value) != simdjson::SUCCESS) {
            amiss(field, name, "true or false");
        }
        return value;
    }

    void levels(const std::optional<dom::element>& field, const char* name,
                std::vector<Level>& rows) {
        dom::array array;
        if (!field || field->get_array().get(array) != simdjson::SUCCESS) {
            amiss(field, name, "a list of levels");
            return;
        }
        for (const dom::element row : array) {
            dom::array pair;
            if (row.get_array().get(pair) != simdjson::SUCCESS || pair.size() < 2) {
                amiss(field, name, "a list of [price, quantity]");
                return;
            }
            auto column = pair.begin();
            const Decimal price = decimal(*column, name);
            ++column;
            rows.push_back(make_level(price, decimal(*column, name)));
        }
    }

 private:
    void amiss(const std::optional<dom::element>& field, const char* name, const char* expected) {
        if (problem_.empty()) {
            problem_ = field ? std::string("\"") + name + "\" is not " + expected
                             : std::string("\"") + name + "\" is missing";
        }
    }

    std::string& problem_;
};

Kind kind_of(const Fields& fields, std::string_view event) {
    if (event == "depthUpdate") {
        return Kind::depth;
    }
    if (event == "trade") {
        return Kind::trade;
    }
    if (event == "bookTicker") {
        return Kind::book_ticker;
    }
    if (!event.empty()) {
        return Kind::other;
    }
    if (fields.snapshot_id) {
        return Kind::snapshot;
    }
    // Spot's bookTicker is the one event without a name.
    const bool ticker =
        fields.last_id && fields.bid && fields.bid_quantity && fields.ask && fields.ask_quantity;
    return ticker ? Kind::book_ticker : Kind::other;
}

void read_fields(const Fields& fields, Message& message) {
    FieldReader read(message.problem);
    switch (message.kind) {
        case Kind::depth:
            message.first_id = read.number(fields.first_id, "U");
            message.last_id = read.number(fields.last_id, "u");
            message.chained = fields.previous_id.has_value();
            if (message.chained) {
                message.previous_id = read.number(fields.previous_id, "pu");
            }
            read.levels(fields.bid, "b", message.bids);
            read.levels(fields.ask, "a", message.asks);
            break;
        case Kind::snapshot:
            message.last_id = read.number(fields.snapshot_id, "lastUpdateId");
            read.levels(fields.bids, "bids", message.bids);
            read.levels(fields.asks, "asks", message.asks);
            break;
        case Kind::book_ticker: {
            message.last_id = read.number(fields.last_id, "u");
            const Decimal bid = read.decimal(fields.bid, "b");
            message.bids.push_back(make_level(bid, read.decimal(fields.bid_quantity, "B")));
            const Decimal ask = read.decimal(fields.ask, "a");
            message.asks.push_back(make_level(ask, read.decimal(fields.ask_quantity, "A")));
            break;
        }
        case Kind::trade: {
            const Decimal price = read.decimal(fields.price, "p");
            message.asks.push_back(make_level(price, read.decimal(fields.quantity, "q")));
            message.buyer_is_maker = read.flag(fields.buyer_is_maker, "m");
            break;
        }
        case Kind::other:
        case Kind::malformed:
            break;
    }
    if (!message.problem.empty()) {
        message.kind = Kind::malformed;
    }
}

}  // namespace

struct MessageParser::State {
    dom::parser parser{};
};

MessageParser::MessageParser() : state_(std::make_unique<State>()) {}
MessageParser::~MessageParser() = default;

void MessageParser::parse(std::string_view json, Message& message) {
    message.kind = Kind::malformed;
    message.chained = false;
    message.buyer_is_maker = false;
    message.first_id = message.last_id = message.previous_id = 0;
    message.bids.clear();
    message.asks.clear();
    message.problem.clear();

    // The whole line is checked before a field is believed, so a line that was cut is never half of
    // a message.
    dom::element root;
    if (const auto error = state_->parser.parse(json.data(), json.size(), false).get(root)) {
        message.problem = std::string("no JSON: ") + simdjson::error_message(error);
        return;
    }
    dom::object object;
    if (root.get_object().get(object) != simdjson::SUCCESS) {
        message.problem = "no JSON object";
        return;
    }
    dom::object data;
    if (object["data"].get_object().get(data) == simdjson::SUCCESS) {
        object = data;
    }
    Fields fields;
    for (const dom::key_value_pair pair : object) {
        if (std::optional<dom::element>* field = field_of(fields, pair.key)) {
            *field = pair.value;
        }
    }
    std::string_view event;
    if (fields.event && fields.event->get_string().get(event) != simdjson::SUCCESS) {
        message.problem = "\"e\" is no string";
        return;
    }
    message.kind = kind_of(fields, event);
    read_fields(fields, message);
}

}  // namespace sluice::pipeline
