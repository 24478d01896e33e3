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
        case HoldKind::stripe:
            return "stripe";
        case HoldKind::steps:
            return "steps";
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

namespace {

std::uint64_t counter_of(const shm::Inspection& seen, std::string_view name) {
    for (const auto& [known, value] : seen.counters) {
        if (known == name) {
            return value;
        }
    }
    return 0;
}

/// "1 entry", "2 entries".
std::string counted(const shm::Gauge& gauge) {
    std::string name(gauge.name);
    if (gauge.value == 1) {
        name = name == "entries" ? "entry" : name.substr(0, name.size() - 1);
    }
    return fmt::format("{} {}", gauge.value, name);
}

}  // namespace

std::string fill_text(const shm::Inspection& seen) {
    if (!seen.facts.body_known) {
        return "";
    }
    switch (seen.facts.kind) {
        case SegmentKind::lock:
        case SegmentKind::rlock:
        case SegmentKind::rw_lock:
            return seen.holdings.empty()                             ? "free"
                   : seen.holdings.front().kind == HoldKind::reading ? "read"
                                                                     : "held";
        case SegmentKind::semaphore:
        case SegmentKind::bounded_semaphore:
            return fmt::format("value {}", counter_of(seen, "value"));
        case SegmentKind::event:
            return std::string(seen.marks.front());
        case SegmentKind::condition:
            return fmt::format("{} wait", counter_of(seen, "waiting"));
        case SegmentKind::barrier:
            return fmt::format("{} arrived", counter_of(seen, "arrived"));
        case SegmentKind::pool:
            return fmt::format("{} busy, {} queued", gauge_text(seen.gauges.front()),
                               counter_of(seen, "queued"));
        case SegmentKind::guarded:
        case SegmentKind::value:
            return fmt::format("version {}", counter_of(seen, "version"));
        case SegmentKind::array:
        case SegmentKind::dict:
        case SegmentKind::list:
        case SegmentKind::manager:
            return counted(seen.gauges.front());
        default:
            return depth_text(seen);
    }
}

std::optional<double> fill_share(const shm::Inspection& seen) {
    std::optional<double> share;
    const auto count = [&](std::uint64_t value, std::uint64_t limit) {
        if (limit != 0) {
            share = std::max(share.value_or(0),
                             static_cast<double>(value) / static_cast<double>(limit));
        }
    };
    for (const shm::Flow& flow : seen.flows) {
        count(flow.depth, flow.capacity);
    }
    for (const shm::Gauge& gauge : seen.gauges) {
        count(gauge.value, gauge.limit);
    }
    return share;
}

std::string gauge_text(const shm::Gauge& gauge) {
    const auto text = [&](std::uint64_t value) {
        return gauge.in_bytes ? bytes_text(value) : std::to_string(value);
    };
    return gauge.limit != 0 ? text(gauge.value) + " of " + text(gauge.limit) : text(gauge.value);
}

std::string capacity_text(const shm::SegmentFacts& facts) {
    const auto each = [&](std::string_view what) {
        return fmt::format("{} {}, {} bytes each", facts.capacity, what, facts.element_bytes);
    };
    switch (facts.kind) {
        case SegmentKind::queue:
            return each("slots");
        case SegmentKind::pipe:
            return each("messages each way");
        case SegmentKind::byte_pipe:
            return bytes_text(facts.capacity) + " each way";
        case SegmentKind::array:
            return each("elements");
        case SegmentKind::guarded:
        case SegmentKind::value:
            return facts.element_bytes == 0 ? "" : fmt::format("{} bytes", facts.element_bytes);
        case SegmentKind::pool:
            return fmt::format("{} tasks at a time", facts.capacity);
        case SegmentKind::dict:
        case SegmentKind::list:
            return facts.element_bytes == 0
                       ? "values of any length"
                       : fmt::format("{} bytes {}", facts.element_bytes,
                                     facts.kind == SegmentKind::dict ? "an entry" : "an element");
        case SegmentKind::bounded_semaphore:
            return fmt::format("{} permits", facts.capacity);
        default:
            return "";
    }
}

std::string worker_text(const shm::PoolWorker& worker) {
    if (worker.pid == 0) {
        return fmt::format("nobody; {} done", worker.tasks_done);
    }
    shm::Participant who;
    who.pid = worker.pid;
    who.name = worker.name;
    who.vitality = worker.vitality;
    return fmt::format(
        "{}{}{}, {}{}; {} done", who_text(who),
        worker.cpus.empty() ? std::string() : ", CPUs " + cpu_list(worker.cpus),
        worker.node >= 0 ? fmt::format(", node {}", worker.node) : std::string(), worker.phase,
        worker.busy ? fmt::format(", runs task {}", worker.task) : ", idle", worker.tasks_done);
}

std::string object_text(const shm::HeldObject& object) {
    return fmt::format("{}{}{}{}", object.kind.empty() ? "damaged" : object.kind,
                       object.type_text.empty() ? "" : " of ", object.type_text,
                       object.in_use ? ", in use" : "");
}

std::string kind_text(const shm::SegmentFacts& facts) {
    const std::string kind(to_string(facts.kind));
    return facts.type_text.empty() || facts.kind == SegmentKind::pool
               ? kind
               : kind + " of " + facts.type_text;
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
              {"gauges", Json::array()},
              {"counters", Json::object()},
              {"marks", seen.marks},
              {"sleepers", seen.sleepers},
              {"participants", Json::array()},
              {"holdings", Json::array()},
              {"damages", seen.damages},
              {"doubts", seen.doubts}};
    for (const shm::Gauge& gauge : seen.gauges) {
        json["gauges"].push_back({{"name", gauge.name},
                                  {"unit", gauge.in_bytes ? "bytes" : "count"},
                                  {"value", gauge.value},
                                  {"limit", gauge.limit != 0 ? Json(gauge.limit) : Json()}});
    }
    if (facts.kind == SegmentKind::pool) {
        json["workers"] = Json::array();
    }
    for (const shm::PoolWorker& worker : seen.workers) {
        json["workers"].push_back({{"pid", worker.pid},
                                   {"name", worker.name},
                                   {"state", to_string(worker.vitality)},
                                   {"phase", worker.phase},
                                   {"cpus", worker.cpus},
                                   {"node", worker.node},
                                   {"task", worker.busy ? Json(worker.task) : Json()},
                                   {"tasks_done", worker.tasks_done}});
    }
    if (facts.kind == SegmentKind::manager) {
        json["objects"] = Json::array();
    }
    for (const shm::HeldObject& object : seen.objects) {
        json["objects"].push_back({{"name", object.name},
                                   {"kind", object.kind},
                                   {"type", object.type_text},
                                   {"capacity", object.capacity},
                                   {"in_use", object.in_use}});
    }
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
