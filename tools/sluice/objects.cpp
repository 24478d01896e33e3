#include "objects.hpp"

#include <pwd.h>

#include <algorithm>

namespace sluice::tool {

using shm::HoldKind;
using shm::SegmentKind;
using shm::Vitality;

namespace {

std::string owner_name(uid_t owner) {
    const passwd* const entry = ::getpwuid(owner);
    return entry != nullptr ? entry->pw_name : std::to_string(owner);
}

std::string_view wait_text(std::uint32_t options) {
    switch (options & shm::SegmentOptions::kWaitMask) {
        case 0:
            return "spin_then_park";
        case 1:
            return "spin";
        case 2:
            return "park";
        default:
            return "?";
    }
}

std::string_view own_option_text(const shm::SegmentFacts& facts) {
    if ((facts.options & ~shm::SegmentOptions::kWaitMask) == 0) {
        return "";
    }
    switch (facts.kind) {
        case SegmentKind::queue:
            return "packed";
        case SegmentKind::pipe:
        case SegmentKind::byte_pipe:
            return "one-way";
        case SegmentKind::semaphore:
        case SegmentKind::bounded_semaphore:
            return "owned";
        case SegmentKind::lock:
        case SegmentKind::rlock:
        case SegmentKind::rw_lock:
            return "raise if abandoned";
        default:
            return "";
    }
}

std::string_view hold_word(HoldKind kind) {
    switch (kind) {
        case HoldKind::writing_slot:
            return "writing_slot";
        case HoldKind::reading_slot:
            return "reading_slot";
        case HoldKind::clearing_slot:
            return "clearing_slot";
        case HoldKind::lock:
            return "lock";
        case HoldKind::heir:
            return "heir";
        case HoldKind::permit:
            return "permit";
        case HoldKind::reading:
            return "reading";
        case HoldKind::party:
            return "party";
        case HoldKind::waiting:
            return "waiting";
        case HoldKind::notified:
            return "notified";
        case HoldKind::end:
            break;
    }
    return "end";
}

}  // namespace

std::string who_text(const shm::Participant& participant) {
    if (participant.pid == 0) {
        return fmt::format("member {} ({})", participant.id, to_string(participant.vitality));
    }
    std::string inside = participant.name;
    if (participant.vitality != Vitality::alive) {
        inside += (inside.empty() ? "" : ", ") + std::string(to_string(participant.vitality));
    }
    return inside.empty() ? fmt::format("pid {}", participant.pid)
                          : fmt::format("pid {} ({})", participant.pid, inside);
}

std::string holding_text(const shm::Inspection& seen, const shm::Holding& holding) {
    const shm::Participant* const who = seen.find(holding.member);
    if (who != nullptr) {
        return fmt::format("{} {}", who_text(*who), to_string(holding));
    }
    if (holding.kind == HoldKind::end && holding.member == shm::kNobody) {
        return fmt::format("a child that is being started {}", to_string(holding));
    }
    return fmt::format("member {}, who has left, {}", holding.member, to_string(holding));
}

std::string depth_text(const shm::Inspection& seen) {
    std::string text;
    for (const shm::Flow& flow : seen.flows) {
        text += text.empty() ? "" : " + ";
        text += flow.in_bytes ? bytes_text(flow.depth) : std::to_string(flow.depth);
    }
    if (!seen.flows.empty()) {
        const shm::Flow& flow = seen.flows.front();
        text +=
            " of " + (flow.in_bytes ? bytes_text(flow.capacity) : std::to_string(flow.capacity));
    }
    return text;
}

std::string kind_text(const shm::SegmentFacts& facts) {
    const std::string kind(to_string(facts.kind));
    return facts.type_text.empty() ? kind : kind + " of " + facts.type_text;
}

std::string options_text(const shm::SegmentFacts& facts) {
    const std::string_view own = own_option_text(facts);
    return fmt::format("wait {}{}{}", wait_text(facts.options), own.empty() ? "" : ", ", own);
}

std::string owner_text(const shm::SegmentFacts& facts) {
    return fmt::format("{:04o} {}", facts.mode, owner_name(facts.owner));
}

std::size_t count_of(const shm::Inspection& seen, Vitality vitality) {
    return static_cast<std::size_t>(
        std::count_if(seen.participants.begin(), seen.participants.end(),
                      [&](const shm::Participant& who) { return who.vitality == vitality; }));
}

Json to_json(const shm::Participant& participant) {
    return {{"id", participant.id},
            {"pid", participant.pid},
            {"thread", participant.thread},
            {"name", participant.name},
            {"state", to_string(participant.vitality)},
            {"asleep", participant.asleep}};
}

Json to_json(const shm::Inspection& seen, const shm::Holding& holding) {
    const shm::Participant* const who = seen.find(holding.member);
    return {{"what", hold_word(holding.kind)},
            {"index", holding.index},
            {"count", holding.count},
            {"member", holding.member},
            {"pid", who != nullptr ? who->pid : 0},
            {"state", to_string(who != nullptr ? who->vitality : Vitality::unknown)},
            {"text", holding_text(seen, holding)}};
}

Json to_json(const std::string& path, const shm::Inspection& seen) {
    const shm::SegmentFacts& facts = seen.facts;
    Json json{{"name", name_of(path)},
              {"path", path},
              {"kind", to_string(facts.kind)},
              {"type", facts.type_text},
              {"capacity", facts.capacity},
              {"element_bytes", facts.element_bytes},
              {"wait", wait_text(facts.options)},
              {"options", options_text(facts)},
              {"owner", owner_name(facts.owner)},
              {"uid", facts.owner},
              {"mode", fmt::format("{:04o}", facts.mode)},
              {"inode", facts.inode},
              {"in_use", facts.in_use},
              {"closed", seen.closed},
              {"bytes", facts.total_bytes},
              {"bytes_allocated", facts.bytes_allocated},
              {"flows", Json::array()},
              {"counters", Json::object()},
              {"marks", seen.marks},
              {"sleepers", seen.sleepers},
              {"participants", Json::array()},
              {"holdings", Json::array()},
              {"doubts", seen.doubts}};
    for (const shm::Flow& flow : seen.flows) {
        json["flows"].push_back({{"name", flow.name},
                                 {"unit", flow.in_bytes ? "bytes" : "messages"},
                                 {"depth", flow.depth},
                                 {"capacity", flow.capacity},
                                 {"put", flow.put},
                                 {"taken", flow.taken},
                                 {"exact", flow.exact}});
    }
    for (const auto& [name, value] : seen.counters) {
        json["counters"][std::string(name)] = value;
    }
    for (const shm::Participant& participant : seen.participants) {
        json["participants"].push_back(to_json(participant));
    }
    for (const shm::Holding& holding : seen.holdings) {
        json["holdings"].push_back(to_json(seen, holding));
    }
    return json;
}

Json to_json(const shm::PageReport& pages) {
    return {{"page_bytes", pages.page_bytes},
            {"huge_bytes", pages.huge_bytes},
            {"pages_on_node", pages.nodes.pages_on_node},
            {"pages_absent", pages.nodes.pages_absent},
            {"policy", pages.nodes.policy}};
}

}  // namespace sluice::tool
