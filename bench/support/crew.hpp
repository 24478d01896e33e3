// The processes of a race: forked once, each pinned, all running the same contestant's block on
// command. The calling process is role 0, the leader.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "contestant.hpp"
#include "shared_arena.hpp"

namespace sluice::bench {

/// Blocks: run() until every role has ended the block. A role that dies, or a block that takes
/// longer than the watchdog, ends the program with a message: a spinning leader cannot notice by
/// itself. Crash: the roles are killed by the kernel when the leader dies.
class Crew {
 public:
    /// Role r runs on cpus[r]. The contestants must have been made already: the roles get them by
    /// fork.
    Crew(SharedArena& arena, std::span<const std::unique_ptr<Contestant>> contestants,
         std::vector<unsigned> cpus);
    ~Crew();
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    struct Outcome {
        double ns{};         // from the common start until the last role has ended
        long preemptions{};  // times another program, or the kernel, took a role's CPU meanwhile
    };
    /// Runs one block with roles 0 .. participants-1.
    Outcome run(std::size_t contestant, std::uint64_t count, unsigned participants,
                std::uint64_t* stamps = nullptr);

 private:
    struct Board;
    [[noreturn]] void serve(unsigned role);

    SharedArena& arena_;
    std::span<const std::unique_ptr<Contestant>> contestants_;
    std::vector<unsigned> cpus_;
    Crowd crowd_;
    Board& board_;
    std::vector<pid_t> pids_;
    cpu_set_t affinity_before_;
    std::uint32_t epoch_ = 0;
};

}  // namespace sluice::bench
