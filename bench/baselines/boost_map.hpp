// Boost.Interprocess's way to share a map: an unordered_map in managed memory, under a mutex.
#pragma once

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/managed_external_buffer.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/unordered_map.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "support/shared_arena.hpp"

namespace sluice::bench {

class BoostMap {
 public:
    explicit BoostMap(SharedArena& arena, std::size_t bytes = kBytes)
        : memory_(boost::interprocess::create_only, arena.allocate(bytes), bytes),
          map_(memory_.construct<Map>("map")(0U, boost::hash<std::uint64_t>(),
                                             std::equal_to<std::uint64_t>(),
                                             memory_.get_segment_manager())),
          mutex_(memory_.construct<boost::interprocess::interprocess_mutex>("mutex")()) {}

    std::optional<std::uint64_t> get(std::uint64_t key) const {
        const Guard guard(*mutex_);
        const auto there = map_->find(key);
        return there == map_->end() ? std::nullopt : std::optional<std::uint64_t>(there->second);
    }
    void set(std::uint64_t key, std::uint64_t value) {
        const Guard guard(*mutex_);
        map_->insert_or_assign(key, value);
    }
    void erase(std::uint64_t key) {
        const Guard guard(*mutex_);
        map_->erase(key);
    }
    std::size_t memory_bytes() const { return memory_.get_size() - memory_.get_free_memory(); }

 private:
    static constexpr std::size_t kBytes = 4U << 20U;
    using Entry = std::pair<const std::uint64_t, std::uint64_t>;
    using Memory = boost::interprocess::managed_external_buffer;
    using Allocator = boost::interprocess::allocator<Entry, Memory::segment_manager>;
    using Map = boost::unordered_map<std::uint64_t, std::uint64_t, boost::hash<std::uint64_t>,
                                     std::equal_to<std::uint64_t>, Allocator>;
    using Guard = boost::interprocess::scoped_lock<boost::interprocess::interprocess_mutex>;

    Memory memory_;
    Map* map_;
    boost::interprocess::interprocess_mutex* mutex_;
};

}  // namespace sluice::bench
