// byte_pipe.hpp: large messages beside one memcpy each way; zero-copy messages of any size
// beside the limit.
#include <fmt/format.h>

#include <cstddef>
#include <cstring>
#include <sluice/byte_pipe.hpp>
#include <span>
#include <vector>

#include "support/contestant.hpp"
#include "support/limit.hpp"
#include "support/program.hpp"
#include "support/shared_arena.hpp"

namespace {

using namespace sluice::bench;

/// What no pipe can undercut without zero copy: one memcpy into shared memory, one out of it,
/// and a flag each way. Private memory on both sides is warm, as a user's buffer that is used
/// again and again.
class MemcpyEachWay final : public Contestant {
 public:
    MemcpyEachWay(SharedArena& arena, std::size_t bytes)
        : flags_(arena), shared_(arena.allocate(bytes)), own_(bytes, std::byte{1}) {}

    void run(const Block& block) override {
        FlagPairs::Pair& pair = flags_.next();
        std::uint64_t number = (block.role == 0 ? pair.there : pair.back)
                                   .number.load(std::memory_order_relaxed);  // its only writer
        for (std::uint64_t i = 0; i < block.count; ++i) {
            ++number;
            if (block.role == 0) {
                std::memcpy(shared_, own_.data(), own_.size());
                pair.there.number.store(number, std::memory_order_release);           // R1
                while (pair.back.number.load(std::memory_order_acquire) != number) {  // A1
                }
            } else {
                while (pair.there.number.load(std::memory_order_acquire) != number) {  // A1
                }
                std::memcpy(own_.data(), shared_, own_.size());
                pair.back.number.store(number, std::memory_order_release);  // R1
            }
        }
    }

 private:
    FlagPairs flags_;
    void* shared_;
    std::vector<std::byte> own_;
};

/// A message there, eight bytes back as its acknowledgement.
class BytePipeCopies final : public Contestant {
 public:
    BytePipeCopies(SharedArena&, std::size_t bytes)
        : pipe_({.capacity_bytes = 4U << 20U, .wait = sluice::Wait::spin}),
          own_(bytes, std::byte{1}) {}

    void run(const Block& block) override {
        std::byte acknowledgement[8]{};
        for (std::uint64_t i = 0; i < block.count; ++i) {
            if (block.role == 0) {
                std::memcpy(own_.data(), &i, sizeof i);
                pipe_.first.send(own_);
                if (pipe_.first.recv_into(acknowledgement) != sizeof acknowledgement) {
                    fail("BytePipe: an acknowledgement of another size");
                }
            } else {
                std::uint64_t number = 0;
                const std::size_t size = pipe_.second.recv_into(own_);
                std::memcpy(&number, own_.data(), sizeof number);
                if (size != own_.size() || number != i) {
                    fail("BytePipe: another message arrived");
                }
                pipe_.second.send(acknowledgement);
            }
        }
    }

 private:
    sluice::BytePipe pipe_;
    std::vector<std::byte> own_;
};

/// The same without copies: of the claimed bytes only the first word is written and read.
class BytePipeZeroCopy final : public Contestant {
 public:
    BytePipeZeroCopy(SharedArena&, std::size_t bytes)
        : pipe_({.capacity_bytes = 4U << 20U, .wait = sluice::Wait::spin}), bytes_(bytes) {}

    void run(const Block& block) override {
        for (std::uint64_t i = 0; i < block.count; ++i) {
            if (block.role == 0) {
                pass(pipe_.first, bytes_, i);
                take(pipe_.first, sizeof i, i);
            } else {
                take(pipe_.second, bytes_, i);
                pass(pipe_.second, sizeof i, i);
            }
        }
    }

 private:
    static void pass(const sluice::ByteConnection& end, std::size_t bytes, std::uint64_t number) {
        const std::span<std::byte> room = end.claim(bytes);
        std::memcpy(room.data(), &number, sizeof number);
        end.commit();
    }
    static void take(const sluice::ByteConnection& end, std::size_t bytes, std::uint64_t expected) {
        const std::span<const std::byte> message = end.peek();
        std::uint64_t number = 0;
        std::memcpy(&number, message.data(), sizeof number);
        if (message.size() != bytes || number != expected) {
            fail("BytePipe: another message arrived");
        }
        end.consume();
    }

    sluice::BytePipe pipe_;
    std::size_t bytes_;
};

}  // namespace

int main(int argc, char** argv) {
    Program program("byte_pipe", argc, argv);
    constexpr std::size_t kMebibyte = 1U << 20U;
    const char* const base = "memcpy each way";
    if (auto race = program.race({.name = fmt::format("BytePipe_Copy/payload_bytes:{}", kMebibyte),
                                  .unit = Unit::round_trip,
                                  .block_ms = 5.0,
                                  .base = base})) {
        race->add<MemcpyEachWay>(base, Kind::limit, "", kMebibyte);
        program.add<MemcpyEachWay>(*race, "memcpy each way, again", Kind::peer, "expect 1.0",
                                   kMebibyte);
        program.add<BytePipeCopies>(*race, "sluice BytePipe", Kind::ours, "", kMebibyte);
        race->expect(
            at_most_base("sluice BytePipe", 1 / 0.9, ">= 0.9 x the rate of one memcpy each way"));
        program.run(*race);
    }
    if (auto race = program.race({.name = "BytePipe_ZeroCopy", .unit = Unit::round_trip})) {
        program.add<BytePipeZeroCopy>(*race, "claim and peek, 64 B", Kind::ours, "", 64U);
        program.add<BytePipeZeroCopy>(*race, "claim and peek, 4 KiB", Kind::ours, "", 4096U);
        program.add<BytePipeZeroCopy>(*race, "claim and peek, 1 MiB", Kind::ours, "", kMebibyte);
        race->expect(rate_at_least("claim and peek, 1 MiB", 0.9, {"claim and peek, 4 KiB"}));
        program.run(*race);
    }
    return program.finish();
}
