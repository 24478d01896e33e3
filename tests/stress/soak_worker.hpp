// What the soak's workers do with queues, by every form of the public API, until they are killed.
#pragma once

#include <unistd.h>

#include <chrono>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "sluice/msgpack.hpp"
#include "sluice/queue.hpp"
#include "stress/soak_ledger.hpp"
#include "support/soak.hpp"

namespace sluice::soak {

/// The queues under test, for the whole soak the same. Workers inherit the first by fork, and open
/// the others by their names.
struct Queues {
    Queue<Item> plain;
    Queue<std::string> text;
    Queue<Item> narrow;

    template <class Function>
    decltype(auto) visit(unsigned queue, Function&& function) const {
        switch (queue) {
            case 0:
                return function(plain);
            case 1:
                return function(text);
            default:
                return function(narrow);
        }
    }
};

class Worker {
 public:
    Worker(Ledger& ledger, unsigned self, Queues queues, std::string scratch_name)
        : ledger_(ledger),
          note_(ledger.workers[self]),
          self_(self),
          queues_(std::move(queues)),
          scratch_name_(std::move(scratch_name)),
          random_(mix(static_cast<std::uint64_t>(getpid()) ^ note_.operations.load())) {}

    /// Serves round after round; the last workers serve one.
    void run() {
        if (one_in(8)) {
            make_and_remove();
        }
        note_.descriptors_first.store(count_descriptors());
        do {
            note_.doing.store(Doing::resting, std::memory_order_relaxed);
            while (ledger_.round.load(std::memory_order_acquire) == round_) {
                usleep(200);
            }
            round_ = ledger_.round.load(std::memory_order_acquire);
            serve(task_of(round_, self_));
            note_.doing.store(Doing::resting, std::memory_order_relaxed);
            note_.descriptors_last.store(count_descriptors());
            note_.round_done.store(round_, std::memory_order_release);
        } while (self_ < kWorkers - kTalkers);
    }

 private:
    using Clock = std::chrono::milliseconds;

    void serve(const Task& task) {
        if (task.role == Role::roam) {
            roam();
            return;
        }
        queues_.visit(task.queue, [&](const auto& queue) {
            if (task.role == Role::produce) {
                while (producing()) {
                    produce(queue, task.queue, random_() % 5);
                }
            } else {
                while (!consume(queue, task.queue, any_form(6))) {
                }
            }
        });
    }

    // From queue to queue, by forms that end by themselves: so that it may be the last one there.
    void roam() {
        while (producing()) {
            const auto index = static_cast<unsigned>(random_() % kQueues);
            queues_.visit(index, [&](const auto& queue) {
                if (one_in(2)) {
                    produce(queue, index, random_() % 2);
                } else {
                    static_cast<void>(consume(queue, index, any_form(3)));
                }
            });
        }
    }

    // Forms below 3 do not block for long; of each kind of consuming, the even ones are leases.
    unsigned any_form(unsigned count) {
        if (accounting_of(round_) == Accounting::only_leases) {
            return count == 3 ? 0 : (one_in(2) ? 0 : 4);
        }
        return static_cast<unsigned>(random_() % count);
    }

    template <class T>
    void produce(const Queue<T>& queue, unsigned index, std::uint64_t form) {
        Lane& lane = ledger_.lanes[index][self_];
        const std::uint64_t next = lane.begun.load(std::memory_order_relaxed);
        if (next + kBatchMax > kSequencesMax) {
            usleep(1000);  // the ledger of this round is full
            return;
        }
        const std::uint64_t count = form == 4 ? 1 + random_() % kBatchMax : 1;
        std::vector<T> values;
        for (std::uint64_t step = 0; step < count; ++step) {
            values.push_back(value_of<T>(Item::make(round_, self_, next + step)));
        }
        note_.doing.store(Doing::putting, std::memory_order_relaxed);
        lane.begun.store(next + count, std::memory_order_release);
        const std::uint64_t done = put(queue, values, form);
        lane.finished.store(next + done, std::memory_order_release);
        lane.begun.store(next + done, std::memory_order_release);  // the others were not put
        count_operations(done);
    }

    template <class T>
    std::uint64_t put(const Queue<T>& queue, const std::vector<T>& values, std::uint64_t form) {
        switch (form) {
            case 0:
                return queue.try_put(values[0]) ? 1 : 0;
            case 1:
                return queue.try_put_for(values[0], Clock(1)) ? 1 : 0;
            case 2:
                queue.put(values[0]);
                return 1;
            case 3: {
                Slot<T> slot = queue.claim();
                *slot = values[0];
                if (one_in(4)) {
                    return 0;  // given up
                }
                slot.publish();
                return 1;
            }
            default:
                return queue.put_many(values);
        }
    }

    /// Whether it was told to end.
    template <class T>
    bool consume(const Queue<T>& queue, unsigned index, unsigned form) {
        note_.queue.store(index, std::memory_order_relaxed);
        if (form == 0 || form == 4) {
            note_.doing.store(Doing::leasing, std::memory_order_relaxed);
            std::optional<Lease<T>> lease =
                form == 0 ? queue.try_lease_for(Clock(1)) : std::optional(queue.lease());
            // No drops in every other round: each tells all getters to look for what came back, and
            // so would hide that a rescue did not.
            const bool drop = round_ % 2 == 0 && one_in(16);
            return lease && !drop && commit(queue, index, *lease);
        }
        note_.doing.store(Doing::getting, std::memory_order_relaxed);
        std::vector<T> values(kBatchMax);
        std::size_t count = 1;
        note_.getting.store(form == 5 ? kBatchMax : 1, std::memory_order_release);
        if (form == 5) {
            count = queue.get_many(values);
        } else if (form == 3) {
            values[0] = queue.get();
        } else if (std::optional<T> value =
                       form == 1 ? queue.try_get() : queue.try_get_for(Clock(1))) {
            values[0] = std::move(*value);
        } else {
            count = 0;
        }
        std::size_t farewells = 0;
        for (std::size_t step = 0; step < count; ++step) {
            const std::optional<Item> item = item_of(values[step]);
            if (item && item->producer == kFarewell) {
                ++farewells;
            } else {
                ledger_.deliver(index, item);
            }
        }
        note_.getting.store(0, std::memory_order_release);
        for (std::size_t step = 0; step < count; ++step) {
            queue.task_done();
        }
        for (std::size_t others = 1; others < farewells; ++others) {
            queue.put(value_of<T>(Item::make(round_, kFarewell, 0)));
        }
        count_operations(count);
        return farewells != 0;
    }

    template <class T>
    bool commit(const Queue<T>& queue, unsigned index, Lease<T>& lease) {
        const std::optional<Item> item = item_of(*lease);
        const bool farewell = item && item->producer == kFarewell;
        if (item && !farewell) {
            note_.committing.store(WorkerNote::word(item->producer, item->sequence) + 1,
                                   std::memory_order_release);
        }
        lease.commit();
        if (!farewell) {
            ledger_.deliver(index, item);
        }
        note_.committing.store(0, std::memory_order_release);
        queue.task_done();
        count_operations(1);
        return farewell;
    }

    // A named queue's whole life, in which it may be killed as anywhere.
    void make_and_remove() {
        const auto queue = Queue<Item>::open_or_create(scratch_name_, {.capacity = 2});
        static_cast<void>(queue.try_put(Item::make(0, self_, 0)));
        static_cast<void>(queue.try_get());
        Queue<Item>::unlink(scratch_name_);
    }

    bool producing() const noexcept {
        return ledger_.producing.load(std::memory_order_relaxed) == round_;
    }
    bool one_in(std::uint64_t count) { return random_() % count == 0; }
    void count_operations(std::uint64_t count) noexcept {
        // only this worker writes it
        note_.operations.store(note_.operations.load(std::memory_order_relaxed) + count,
                               std::memory_order_relaxed);
    }

    Ledger& ledger_;
    WorkerNote& note_;
    unsigned self_;
    Queues queues_;
    std::string scratch_name_;
    std::mt19937_64 random_;
    std::uint32_t round_{};
};

}  // namespace sluice::soak
