// A process that writes anything anywhere into a live segment, while others operate on it. They may
// get errors, or values that nobody sent; they must not crash, hang, or read out of bounds (the
// sanitizers' to see).
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "sluice/error.hpp"
#include "sluice/shm/segment.hpp"
#include "support/processes.hpp"

namespace sluice::fuzz {

using test::Child;
using test::FreshName;
using test::Shared;
using test::Watchdog;
using namespace std::chrono_literals;

inline constexpr unsigned kUsers = 3;
inline constexpr unsigned kOperations = 100;  // with one handle
inline constexpr auto kTime = 1s;
inline constexpr auto kMoment = 200us;

struct Progress {
    std::atomic<bool> stop{};
    std::atomic<bool> ended{};  // all users have
    std::atomic<std::uint64_t> scribbles{};
    std::array<std::atomic<std::uint64_t>, kUsers> done{};
    std::array<std::atomic<std::uint64_t>, kUsers> refused{};
};

/// The whole mapped segment, to be written to. Made before anybody uses it: what is put back later
/// is the object at rest, with locks that nobody holds. (A copy that was taken beside the users
/// holds what they held just then; put back, they all wait for one who never unlocks.)
class Target {
 public:
    explicit Target(const std::string& path) {
        descriptor_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
        shm::SegmentLayout header{};
        if (descriptor_ < 0 || pread(descriptor_, &header, sizeof header, 0) != sizeof header) {
            throw std::system_error(errno, std::generic_category(), path);
        }
        bytes_ = header.total_bytes;
        void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
        if (memory == MAP_FAILED) {
            throw std::system_error(errno, std::generic_category(), "mmap");
        }
        words_ = static_cast<std::atomic<std::uint64_t>*>(memory);
        for (std::size_t word = 0; word < count(); ++word) {
            image_.push_back(words_[word].load(std::memory_order_relaxed));
        }
        body_word_ = header.body_offset / 8;
    }
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;
    ~Target() {
        munmap(words_, bytes_);
        close(descriptor_);
    }

    std::size_t count() const noexcept { return bytes_ / 8; }
    // All of it relaxed: it is damage, and orders nothing.
    void scribble(std::mt19937_64& random) noexcept {
        // Mostly where all the words matter: the first kilobytes of the body, and the header.
        std::size_t word = 0;
        switch (random() % 8) {
            case 0:
                word = random() % count();  // now and then the header
                break;
            case 1:
                word = 32 + random() % 64;  // members
                break;
            default:
                word = body_word_ + random() % 256;
        }
        if (word >= count()) {
            return;
        }
        const std::uint64_t now = words_[word].load(std::memory_order_relaxed);
        const std::array<std::uint64_t, 8> values{random(),
                                                  0,
                                                  ~0ULL,
                                                  now + 1,
                                                  now - 1,
                                                  now ^ (1ULL << (random() % 64)),
                                                  now + (1ULL << 38U),
                                                  random() % 100'000};
        words_[word].store(values[random() % values.size()], std::memory_order_relaxed);
    }
    /// Puts everything back, so that there is something to use again.
    void mend() noexcept {
        for (std::size_t word = 0; word < count(); ++word) {
            words_[word].store(image_[word], std::memory_order_relaxed);
        }
    }

 private:
    int descriptor_{-1};
    std::size_t bytes_{};
    std::size_t body_word_{};
    std::atomic<std::uint64_t>* words_{};
    std::vector<std::uint64_t> image_{};
};

/// One user's operations, each of which may throw what damage explains.
class User {
 public:
    User(Progress& progress, unsigned index, std::uint64_t seed)
        : random_(seed), done_(progress.done[index]), refused_(progress.refused[index]) {}

    std::mt19937_64& random() noexcept { return random_; }

    template <class Operation>
    void tries(Operation&& operation) {
        try {
            operation();
            done_.fetch_add(1, std::memory_order_relaxed);
            return;
        } catch (const Error&) {
        } catch (const std::system_error&) {
        }
        refused_.fetch_add(1, std::memory_order_relaxed);
    }

 private:
    std::mt19937_64 random_;
    std::atomic<std::uint64_t>& done_;
    std::atomic<std::uint64_t>& refused_;
};

/// `use(user)` opens the segment and operates on it a while.
inline void run(const FreshName& name, const std::function<void(User&)>& use) {
    const Watchdog watchdog(100);
    const std::uint64_t seed = test::announce_seed();
    const Shared<Progress> progress;
    Target target(name.path());
    // Relaxed throughout: counters, and a flag that is looked at again and again.
    Child scribbler([&] {
        std::mt19937_64 random(seed);
        while (!progress->stop.load(std::memory_order_relaxed)) {
            target.mend();
            usleep(200);
            for (unsigned left = static_cast<unsigned>(random() % 2000); left != 0; --left) {
                target.scribble(random);
                if (left % 16 == 0) {
                    usleep(1);
                }
                progress->scribbles.fetch_add(1, std::memory_order_relaxed);
            }
        }
        // More than once: a user may have read its word before, and put that back.
        do {
            target.mend();
            usleep(5000);
        } while (!progress->ended.load(std::memory_order_relaxed));
    });
    std::vector<Child> users;
    for (unsigned user = 0; user < kUsers; ++user) {
        users.emplace_back([&, user] {
            User self(*progress, user, seed + 1 + user);
            while (!progress->stop.load(std::memory_order_relaxed)) {
                self.tries([&] { use(self); });
            }
        });
    }
    const auto sum = [](const auto& counters) {
        std::uint64_t all = 0;
        for (const auto& counter : counters) {
            all += counter.load(std::memory_order_relaxed);
        }
        return all;
    };
    std::this_thread::sleep_for(kTime);
    // On a machine that has much else to do the users may only have begun.
    test::await([&] {
        return progress->scribbles.load(std::memory_order_relaxed) != 0 &&
               sum(progress->done) + sum(progress->refused) != 0;
    });
    progress->stop.store(true, std::memory_order_relaxed);
    for (Child& user : users) {
        EXPECT_EQ(user.join(), 0);
    }
    progress->ended.store(true, std::memory_order_relaxed);
    EXPECT_EQ(scribbler.join(), 0);
    const std::uint64_t scribbles = progress->scribbles.load(std::memory_order_relaxed);
    std::printf("%llu words written, %llu operations went through, %llu were refused\n",
                static_cast<unsigned long long>(scribbles),
                static_cast<unsigned long long>(sum(progress->done)),
                static_cast<unsigned long long>(sum(progress->refused)));
}

}  // namespace sluice::fuzz
