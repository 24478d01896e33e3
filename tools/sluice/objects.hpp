// An object that was looked at, in words and in JSON: what ls, info, top and clean say alike.
#pragma once

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
