// sluice put, sluice get: scripts take part in a queue like any program, with JSON lines.
#include <chrono>
#include <iostream>
#include <sluice/detail/queue_core.hpp>
#include <sluice/error.hpp>
#include <sluice/queue.hpp>
#include <sluice/shm/inspect.hpp>

#include "command.hpp"
#include "type_text.hpp"

namespace sluice::tool {
namespace {

struct Options {
    std::string name{};
    std::vector<std::string> values{};
    std::uint64_t count{1};
    double timeout_s{-1};
    bool drain{};
    bool json{};
};

/// A queue of whatever type its segment says.
class AnyQueue {
 public:
    explicit AnyQueue(const std::string& name) {
        shm::Failure failure;
        const auto inspector = shm::Inspector::open(path_of(name), failure);
        if (!inspector) {
            throw_failure(failure);
        }
        const shm::SegmentFacts& facts = inspector->facts();
        if (facts.kind != shm::SegmentKind::queue) {
            throw CommandError(kNotOurs, fmt::format("{} is a {}: put and get work on queues", name,
                                                     to_string(facts.kind)));
        }
        text_ = facts.type_text;
        packed_ = (facts.options & shm::SegmentOptions::kQueueExtents) != 0;
        type_ = packed_ ? parse_type(text_) : parse_plain_type(text_, facts.type_signature);
        payload_offset_ = std::max(sizeof(shm::SlotLayout), type_.align);
        detail::QueueShape shape;
        shape.capacity = facts.capacity;
        shape.slot_bytes = facts.element_bytes;
        shape.values_have_extents = packed_;
        shape.type_signature = facts.type_signature;
        shape.type_text = facts.type_text;
        const std::string plain_name = name_of(path_of(name));
        const detail::Origin origin({plain_name}, detail::Open::open, QueueOptions{});
        core_ = std::make_shared<detail::QueueCore>(origin, shape);
        if (!packed_ && type_.is_plain() && payload_offset_ + type_.bytes > facts.element_bytes) {
            type_ = Type{};  // the text is not what lies there
        }
        payload_bytes_ = facts.element_bytes - std::min(payload_offset_, facts.element_bytes);
    }

    /// False when the time has passed first.
    bool put(const Json& value, shm::Deadline deadline) {
        if (!packed_ && !type_.is_plain()) {
            throw CommandError(kNotOurs, "values of type " + text_ + " cannot be made of JSON");
        }
        if (!accepts(type_, value)) {
            throw CommandError(kUsage,
                               fmt::format("{} is no value of type {}", value.dump(), text_));
        }
        std::vector<std::byte> bytes;
        if (packed_) {
            const std::vector<std::uint8_t> message = Json::to_msgpack(value);
            const auto* const begin = reinterpret_cast<const std::byte*>(message.data());
            bytes.assign(begin, begin + message.size());
        } else {
            bytes.resize(type_.bytes);
            encode(type_, value, bytes);
        }
        shm::ClaimedSlot claimed;
        if (!core_->claim(claimed, deadline)) {
            return false;
        }
        try {
            if (packed_) {
                core_->write_value(claimed, bytes);
            } else {
                std::copy(bytes.begin(), bytes.end(), claimed.payload(payload_offset_));
            }
        } catch (...) {
            core_->ring().abandon(claimed);
            throw;
        }
        core_->publish(claimed);
        return true;
    }

    std::optional<Json> get(shm::Deadline deadline) {
        shm::ClaimedSlot claimed;
        if (!core_->claim_read(claimed, deadline)) {
            return std::nullopt;
        }
        Json value;
        if (packed_) {
            std::vector<std::byte> buffer;
            const auto room = [](void* context, std::size_t bytes) -> std::span<std::byte> {
                auto& memory = *static_cast<std::vector<std::byte>*>(context);
                memory.resize(bytes);
                return memory;
            };
            value = unpack(core_->read_value(claimed, room, &buffer));
        } else {
            value = decode(type_, {claimed.payload(payload_offset_), payload_bytes_});
        }
        core_->commit(claimed);
        core_->task_done();
        return value;
    }

 private:
    std::shared_ptr<detail::QueueCore> core_{};
    Type type_{};
    std::string text_{};
    bool packed_{};
    std::size_t payload_offset_{};
    std::size_t payload_bytes_{};
};

shm::Deadline deadline_of(const Options& options) {
    return options.timeout_s < 0
               ? shm::Deadline::never()
               : shm::Deadline::after(std::chrono::duration<double>(options.timeout_s));
}

bool put_line(AnyQueue& queue, const std::string& line, const Options& options) {
    const Json value = Json::parse(line, nullptr, false);
    if (value.is_discarded()) {
        throw CommandError(
            kUsage, fmt::format("{} is not JSON; a text needs quotes: '\"{}\"'", line, line));
    }
    return queue.put(value, deadline_of(options));
}

int run_put(const Options& options) {
    AnyQueue queue(options.name);
    std::uint64_t count = 0;
    const auto tell = [&](int code) {
        if (options.json) {
            print_json({{"put", count}});
        }
        if (code != kGood) {
            fmt::print(stderr, "sluice: {} stayed full; {} messages were put\n", options.name,
                       count);
        }
        return code;
    };
    for (const std::string& value : options.values) {
        if (!put_line(queue, value, options)) {
            return tell(kFound);
        }
        ++count;
    }
    if (options.values.empty()) {
        for (std::string line; std::getline(std::cin, line);) {
            if (line.find_first_not_of(" \t\r") == std::string::npos) {
                continue;
            }
            if (!put_line(queue, line, options)) {
                return tell(kFound);
            }
            ++count;
        }
    }
    return tell(kGood);
}

int run_get(const Options& options) {
    AnyQueue queue(options.name);
    std::uint64_t count = 0;
    while (options.drain || count < options.count) {
        std::optional<Json> value;
        try {
            value = queue.get(options.drain ? shm::Deadline::passed() : deadline_of(options));
        } catch (const Closed&) {
            fmt::print(stderr, "sluice: {} is closed, and empty\n", options.name);
            return options.drain && count != 0 ? kGood : kFound;
        }
        if (!value) {
            return options.drain && count != 0 ? kGood : kFound;
        }
        fmt::print("{}\n", value->dump(-1, ' ', false, Json::error_handler_t::replace));
        std::fflush(stdout);
        ++count;
    }
    return kGood;
}

}  // namespace

void add_put(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command = add_command(
        app, "put", "Puts JSON values into a queue: those given, else the lines of standard input",
        "sluice put jobs '{\"task\":7}'");
    command.add_option("name", options->name, "The queue's name").required();
    command.add_option("value", options->values, "The values, as JSON");
    command
        .add_option("--timeout", options->timeout_s,
                    "Wait so long while it is full [for ever]; then exit code 1")
        .type_name("SECONDS")
        .between(0.0, 1e9);
    command.add_flag("--json", options->json, "Tell as JSON how many were put");
    command.callback([options, &exit_code] { exit_code = run_put(*options); });
}

void add_get(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command =
        add_command(app, "get", "Takes messages out of a queue and writes them as JSON lines",
                    "sluice get jobs --timeout 5 | jq .task");
    command.add_option("name", options->name, "The queue's name").required();
    const Option count = command.add_option("-n,--count", options->count, "How many to take")
                             .type_name("N")
                             .capture_default_str();
    command
        .add_option("--timeout", options->timeout_s,
                    "Wait so long for each [for ever]; then exit code 1")
        .type_name("SECONDS")
        .between(0.0, 1e9);
    command.add_flag("--drain", options->drain, "Take all that are there, and wait for none")
        .excludes(count);
    command.add_flag("--json", options->json, "The messages are JSON lines with or without");
    command.callback([options, &exit_code] { exit_code = run_get(*options); });
}

}  // namespace sluice::tool
