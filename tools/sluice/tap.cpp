// sluice tap: watches messages pass.
#include <algorithm>
#include <chrono>
#include <sluice/shm/inspect.hpp>
#include <thread>

#include "command.hpp"
#include "message_tap.hpp"
#include "type_text.hpp"

namespace sluice::tool {
namespace {

struct Options {
    std::string name{};
    std::uint64_t count{};
    double seconds{};
    bool oldest{};
    bool json{};
};

Json value_of(const Type& type, const shm::RingPlace& place, bool bytes_only,
              const std::vector<std::byte>& message) {
    if (place.packed) {
        return unpack(message);
    }
    if (!bytes_only) {
        // A slot has room behind the value; and where the type asks for it, before it.
        const std::size_t begin = type.is_plain() && type.align > place.payload_offset
                                      ? type.align - place.payload_offset
                                      : 0;
        return begin < message.size() ? decode(type, std::span(message).subspan(begin))
                                      : hexadecimal(message);
    }
    const bool text = std::all_of(message.begin(), message.end(), [](std::byte byte) {
        return byte >= std::byte{' '} && byte <= std::byte{'~'};
    });
    return text ? Json(std::string(reinterpret_cast<const char*>(message.data()), message.size()))
                : hexadecimal(message);
}

int run(const Options& options) {
    using Clock = std::chrono::steady_clock;
    shm::Failure failure;
    const auto inspector = shm::Inspector::open(path_of(options.name), failure);
    if (!inspector) {
        throw_failure(failure);
    }
    const std::vector<shm::RingPlace> places = inspector->rings();
    if (places.empty()) {
        throw CommandError(
            kNotOurs, fmt::format("{} is a {}: no messages pass through it that could be read; "
                                  "tap reads queues and pipes",
                                  options.name, to_string(inspector->facts().kind)));
    }
    const auto begin =
        options.oldest ? MessageTap::Begin::with_the_oldest : MessageTap::Begin::with_the_next;
    std::vector<MessageTap> taps;
    for (const shm::RingPlace& place : places) {
        taps.emplace_back(*inspector, place, begin);
    }
    const Type type =
        parse_plain_type(inspector->facts().type_text, inspector->facts().type_signature);
    const bool bytes_only = inspector->facts().kind == shm::SegmentKind::byte_pipe;
    const auto end = Clock::now() + std::chrono::duration<double>(options.seconds);
    std::uint64_t seen = 0;
    std::uint64_t told_missed = 0;
    std::vector<TappedMessage> messages;
    for (;;) {
        bool any = false;
        std::uint64_t missed = 0;
        for (std::size_t direction = 0; direction < taps.size(); ++direction) {
            messages.clear();
            taps[direction].read(messages);
            missed += taps[direction].missed();
            for (const TappedMessage& message : messages) {
                any = true;
                const Json value =
                    message.gone ? Json()
                                 : value_of(type, places[direction], bytes_only, message.bytes);
                Json line{{"position", message.position}};
                if (taps.size() > 1) {
                    line["direction"] = direction == 0 ? "first to second" : "second to first";
                }
                line["value"] = value;
                if (message.gone) {
                    line["gone"] = true;
                }
                fmt::print("{}\n", (options.json ? line : value)
                                       .dump(-1, ' ', false, Json::error_handler_t::replace));
                if (++seen == options.count) {
                    return kGood;
                }
            }
        }
        std::fflush(stdout);
        if (missed != told_missed) {
            fmt::print(stderr, "sluice: {} {} passed before they could be read\n",
                       missed - told_missed,
                       places[0].form == shm::RingPlace::Form::records ? "bytes" : "messages");
            told_missed = missed;
        }
        if (options.seconds > 0 && Clock::now() >= end) {
            return seen != 0 ? kGood : kFound;
        }
        if (!any) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
}

}  // namespace

void add_tap(CLI::App& app, int& exit_code) {
    auto options = std::make_shared<Options>();
    Command command =
        add_command(app, "tap",
                    "Shows messages as they pass through a queue or a pipe, as JSON lines, without "
                    "taking them. "
                    "Structures are told by position, by name where sluice::schema<T> gives names",
                    "sluice tap ticks --count 10");
    command.add_option("name", options->name, "The object's name, or its path").required();
    command.add_option("--count", options->count, "End after so many messages").type_name("N");
    command.add_option("--seconds", options->seconds, "End after so many seconds")
        .type_name("SECONDS")
        .between(0.0, 1e9);
    command.add_flag("--oldest", options->oldest, "Begin with what waits there already");
    command.add_flag("--json", options->json, "Write each line with its position");
    command.callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace sluice::tool
