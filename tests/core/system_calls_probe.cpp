// What system_calls_test.cpp runs under strace. The stretch of interest lies between two calls of
// getppid, which nothing else here makes.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <sluice/pipe.hpp>
#include <sluice/process.hpp>
#include <sluice/queue.hpp>
#include <string_view>

namespace {

using namespace std::chrono_literals;
constexpr int kTimes = 1000;

void mark() {
    static_cast<void>(::getppid());
}

void use_queue(const sluice::Queue<int>& queue) {
    for (int i = 0; i < kTimes; ++i) {
        queue.put(i);
        if (queue.get() != i || queue.try_get().has_value()) {
            ::_exit(3);
        }
    }
}

void queue_alone() {
    const sluice::Queue<int> queue;
    use_queue(queue);  // the first call of a thread makes it a member
    mark();
    use_queue(queue);
    mark();
}

// A consumer parks, is woken by a put, and goes on to other things: nobody sleeps any more.
void queue_after_a_wake() {
    const sluice::Queue<int> queue(sluice::QueueOptions{.wait = sluice::Wait::park});
    const sluice::Queue<int> woken;
    const sluice::Queue<int> end;
    sluice::Process consumer([&] {
        static_cast<void>(queue.get());
        woken.put(1);
        static_cast<void>(end.get());  // asleep, but on another queue
    });
    consumer.start();
    // Time to fall asleep; if it has not, this shows less, but nothing wrong.
    static_cast<void>(consumer.join_for(20ms));
    queue.put(1);
    static_cast<void>(woken.get());
    // What a stale note of sleepers costs is one call at most, and this put pays it.
    queue.put(2);
    static_cast<void>(queue.get());
    mark();
    use_queue(queue);
    mark();
    end.put(1);
    consumer.join();
}

// A getter that timed out is no sleeper either.
void queue_after_a_time_out() {
    const sluice::Queue<int> queue(sluice::QueueOptions{.wait = sluice::Wait::park});
    static_cast<void>(queue.try_get_for(5ms));
    mark();
    use_queue(queue);
    mark();
}

void pipe_alone() {
    const sluice::Pipe<int> pipe;
    const auto use = [&] {
        for (int i = 0; i < kTimes; ++i) {
            pipe.first.send(i);
            if (pipe.second.recv() != i || pipe.second.poll()) {
                ::_exit(3);
            }
        }
    };
    use();
    mark();
    use();
    mark();
}

void timed_waits() {
    const sluice::Queue<int> queue(1U);
    const sluice::Pipe<int> pipe;
    queue.put(1);
    mark();
    static_cast<void>(queue.try_put_for(2, 20ms));
    static_cast<void>(queue.try_join_for(20ms));
    static_cast<void>(queue.get());
    static_cast<void>(queue.try_get_for(20ms));
    static_cast<void>(queue.try_get_until(std::chrono::system_clock::now() + 20ms));
    static_cast<void>(pipe.first.try_recv_for(20ms));
    static_cast<void>(pipe.first.poll_for(20ms));
    mark();
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc == 2 ? argv[1] : "";
    if (what == "queue_alone") {
        queue_alone();
    } else if (what == "queue_after_a_wake") {
        queue_after_a_wake();
    } else if (what == "queue_after_a_time_out") {
        queue_after_a_time_out();
    } else if (what == "pipe_alone") {
        pipe_alone();
    } else if (what == "timed_waits") {
        timed_waits();
    } else {
        std::fprintf(stderr, "usage: system_calls_probe WHAT\n");
        ::_exit(2);
    }
    ::_exit(0);  // without a leak check, which cannot work under strace
}
