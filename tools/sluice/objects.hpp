// An object that was looked at, in words and in JSON: what ls, info, top and clean say alike.
#pragma once

#include <optional>
#include <sluice/shm/inspect.hpp>
#include <string>

#include "command.hpp"

namespace sluice::tool {

/// "pid 4711 (feed)", with its state where that is not "alive".
std::string who_text(const shm::Participant& participant);
/// "pid 4711 (feed) holds slot 12".
std::string holding_text(const shm::Inspection& seen, const shm::Holding& holding);
/// "12 of 1024", "64 KiB of 1 MiB"; "" where nothing passes through.
std::string depth_text(const shm::Inspection& seen);
/// How full it is, or in what state: what depth_text says, "12 entries", "held".
std::string fill_text(const shm::Inspection& seen);
/// How full the bar is, 0 to 1; none where nothing bounds it.
std::optional<double> fill_share(const shm::Inspection& seen);
/// "12", "64 KiB of 1 GiB", "3 of 4".
std::string gauge_text(const shm::Gauge& gauge);
/// "1024 messages, 64 bytes each"; "" where there is nothing to tell.
std::string capacity_text(const shm::SegmentFacts& facts);
/// "pid 4711 (PoolWorker-1), CPUs 2-3, node 0, working, runs task 12; 345 done".
std::string worker_text(const shm::PoolWorker& worker);
/// "lock", "queue of int64, in use".
std::string object_text(const shm::HeldObject& object);
/// "queue of int64".
std::string kind_text(const shm::SegmentFacts& facts);
/// "wait spin_then_park, owned".
std::string options_text(const shm::SegmentFacts& facts);
/// "0600 root"; the number where the owner has no name.
std::string owner_text(const shm::SegmentFacts& facts);

/// How many participants are in that state.
std::size_t count_of(const shm::Inspection& seen, shm::Vitality vitality);

Json to_json(const shm::Participant& participant);
Json to_json(const shm::Inspection& seen, const shm::Holding& holding);
/// All that a look tells; `path` is where.
Json to_json(const std::string& path, const shm::Inspection& seen);
Json to_json(const shm::PageReport& pages);

}  // namespace sluice::tool
