// From SIGKILL to a survivor's next completed operation: it sleeps, waiting for somebody whom it
// can name, and that one is killed. Beside it, what the kernel itself takes to say so: the bell (a
// robust futex) seen by a process that spins on it, and a pidfd, which tells only when the dead
// one's memory has been torn down.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "sluice/lock.hpp"
#include "sluice/pipe.hpp"
#include "sluice/queue.hpp"

namespace {

std::int64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

/// What survivor, victim and killer tell each other.
struct Shared {
    std::atomic<int> victim_ready;
    std::atomic<std::int64_t> killed_at_ns;
    pthread_mutex_t bell;
};

pthread_mutex_t& make_robust(pthread_mutex_t& mutex) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return mutex;
}

Shared* make_shared_memory() {
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::runtime_error("mmap");
    }
    return new (memory) Shared{};
}

pid_t fork_child(const std::function<void()>& body) {
    std::fflush(nullptr);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
        throw std::runtime_error("fork");
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            body();
        }
        _exit(0);
    }
    return pid;
}
void reap(pid_t pid) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

bool sleeps(pid_t pid) {
    char text[64] = {};
    if (std::FILE* file = std::fopen(fmt::format("/proc/{}/wchan", pid).c_str(), "r")) {
        const std::size_t bytes = std::fread(text, 1, sizeof text - 1, file);
        text[bytes] = '\0';
        std::fclose(file);
    }
    return std::string(text).find("futex") != std::string::npos;
}

/// One way to wait for somebody's death.
struct Way {
    std::string name;
    bool survivor_sleeps;
    /// In the victim: what the survivor will wait for.
    std::function<void()> hold;
    /// In the survivor: returns when it goes on.
    std::function<void(pid_t victim)> survive;
};

/// One death. Units: nanoseconds.
std::int64_t measure(const Way& way, Shared& shared, std::size_t memory_bytes, unsigned delay_us) {
    shared.victim_ready.store(0);
    shared.killed_at_ns.store(0);
    const pid_t victim = fork_child([&] {
        if (memory_bytes != 0) {
            void* memory = mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
            if (memory == MAP_FAILED) {
                _exit(1);
            }
        }
        way.hold();
        shared.victim_ready.store(1);
        for (;;) {
            pause();
        }
    });
    while (shared.victim_ready.load() == 0) {
        usleep(100);
        if (waitpid(victim, nullptr, WNOHANG) == victim) {
            throw std::runtime_error("the victim could not begin: too little memory?");
        }
    }
    const pid_t survivor = getpid();
    const pid_t killer = fork_child([&] {
        while (way.survivor_sleeps && !sleeps(survivor)) {
            usleep(50);
        }
        usleep(delay_us);  // so that the survivor is anywhere in its sleep
        shared.killed_at_ns.store(now_ns());
        kill(victim, SIGKILL);
    });
    way.survive(victim);
    const std::int64_t went_on = now_ns();
    reap(killer);
    reap(victim);
    return went_on - shared.killed_at_ns.load();
}

std::int64_t quantile(const std::vector<std::int64_t>& sorted, double share) {
    return sorted[std::min(sorted.size() - 1,
                           static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Sluice benchmark: from SIGKILL to a survivor's next completed operation."};
    bool quick = false;
    unsigned deaths = 200;
    std::string json_path;
    app.add_flag("--quick", quick, "A few deaths; judges nothing");
    app.add_option("--deaths", deaths, "Deaths for each line")->capture_default_str();
    app.add_option("--json", json_path, "Write the results to this file");
    CLI11_PARSE(app, argc, argv);

    Shared& shared = *make_shared_memory();
    sluice::Queue<std::uint64_t> queue({.capacity = 8});
    std::optional<sluice::Pipe<std::uint64_t>> ends;
    std::optional<sluice::Lock> lock;

    std::vector<Way> ways;
    ways.push_back({"Queue: get() behind a dead writer's claim", true,
                    [&] {
                        new auto(queue.claim());
                        queue.put(1);
                    },
                    [&](pid_t) { static_cast<void>(queue.get()); }});
    ways.push_back({"Queue: get() of what the dead had on loan", true,
                    [&] {
                        queue.put(1);
                        new auto(queue.lease());
                    },
                    [&](pid_t) { static_cast<void>(queue.get()); }});
    ways.push_back({"Pipe: recv() from the dead, Closed", true,
                    [&] { static_cast<void>(ends->second.poll()); },
                    [&](pid_t) {
                        ends->second.close();
                        try {
                            static_cast<void>(ends->first.recv());
                        } catch (const sluice::Closed&) {
                        }
                    }});
    ways.push_back({"Lock: lock() of what the dead held", true, [&] { lock->lock(); },
                    [&](pid_t) {
                        lock->lock();
                        lock->unlock();
                    }});
    ways.push_back({"a robust pthread mutex, locked", true,
                    [&] { pthread_mutex_lock(&make_robust(shared.bell)); },
                    [&](pid_t) {
                        if (pthread_mutex_lock(&shared.bell) == EOWNERDEAD) {
                            pthread_mutex_consistent(&shared.bell);
                        }
                        pthread_mutex_unlock(&shared.bell);
                    }});
    ways.push_back({"a robust futex, seen by who spins", false,
                    [&] { pthread_mutex_lock(&make_robust(shared.bell)); },
                    [&](pid_t) {
                        const auto* word = reinterpret_cast<std::atomic<unsigned>*>(&shared.bell);
                        while ((word->load(std::memory_order_acquire) & FUTEX_OWNER_DIED) == 0) {
                        }
                    }});
    ways.push_back({"a pidfd, polled", false, [] {},
                    [](pid_t victim) {
                        const int descriptor = static_cast<int>(syscall(SYS_pidfd_open, victim, 0));
                        pollfd waiting{descriptor, POLLIN, 0};
                        while (poll(&waiting, 1, -1) < 0 && errno == EINTR) {
                        }
                        close(descriptor);
                    }});

    constexpr std::size_t kMiB = 1U << 20U;
    std::mt19937 random(1);
    nlohmann::json results = nlohmann::json::array();
    fmt::print("from SIGKILL to the survivor's next completed operation; us\n");
    fmt::print("{:<44} {:>9} {:>7} {:>8} {:>8} {:>8} {:>8}\n", "", "victim", "deaths", "p50", "p90",
               "p99", "max");
    for (const std::size_t memory : {std::size_t{0}, quick ? 16 * kMiB : 1024 * kMiB}) {
        for (const Way& way : ways) {
            // A gibibyte takes half a second to touch.
            const unsigned count = quick ? 2 : memory == 0 ? deaths : std::max(1U, deaths / 8);
            std::vector<std::int64_t> times;
            for (unsigned death = 0; death < count; ++death) {
                ends.emplace();
                lock.emplace();
                times.push_back(
                    measure(way, shared, memory, 500 + static_cast<unsigned>(random() % 5000)));
            }
            std::sort(times.begin(), times.end());
            const auto us = [&](double share) {
                return static_cast<double>(quantile(times, share)) / 1000.0;
            };
            fmt::print("{:<44} {:>5} MiB {:>7} {:>8.0f} {:>8.0f} {:>8.0f} {:>8.0f}\n", way.name,
                       memory / kMiB, count, us(0.5), us(0.9), us(0.99), us(1.0));
            std::fflush(stdout);
            results.push_back({{"way", way.name},
                               {"victim_bytes", memory},
                               {"deaths", count},
                               {"p50_us", us(0.5)},
                               {"p90_us", us(0.9)},
                               {"p99_us", us(0.99)},
                               {"max_us", us(1.0)}});
        }
    }
    if (!json_path.empty()) {
        std::FILE* file = std::fopen(json_path.c_str(), "w");
        if (file == nullptr) {
            fmt::print(stderr, "bench: cannot write {}\n", json_path);
            return 1;
        }
        fmt::print(file, "{}\n", results.dump(2));
        std::fclose(file);
    }
    return 0;
}
