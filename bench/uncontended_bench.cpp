// What one operation costs when nobody is in the way: one process, one thread, everything in its
// first cache. This is the instruction path; what two processes pay is in the other programs.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "baselines/atomic_queue.hpp"
#include "baselines/boost_spsc.hpp"
#include "baselines/xenium_vyukov.hpp"
#include "sluice/array.hpp"
#include "sluice/guarded.hpp"
#include "sluice/manager.hpp"
#include "sluice/value.hpp"
#include "support/blocks.hpp"
#include "support/machine.hpp"
#include "support/our_pipe.hpp"
#include "support/our_queue.hpp"

namespace {

using namespace sluice::bench;

template <class Line>
void put_and_get(benchmark::State& state) {
    SharedArena arena(4U << 20U);
    Line line(arena);
    std::uint64_t number = 0;
    for (auto _ : state) {
        line.put(numbered<typename Line::Value>(number++));
        benchmark::DoNotOptimize(line.get());
    }
}

template <class Line>
void failed_try_get(benchmark::State& state) {
    SharedArena arena(4U << 20U);
    Line line(arena);
    typename Line::Value value{};
    for (auto _ : state) {
        benchmark::DoNotOptimize(line.try_get(value));
    }
}

template <std::size_t Bytes, template <class> class Line>
void add(const std::string& name) {
    const std::string payload = "/payload_bytes:" + std::to_string(Bytes);
    benchmark::RegisterBenchmark(("BM_" + name + "_PutAndGet" + payload).c_str(),
                                 put_and_get<Line<Payload<Bytes>>>);
    benchmark::RegisterBenchmark(("BM_" + name + "_TryGetOnEmpty" + payload).c_str(),
                                 failed_try_get<Line<Payload<Bytes>>>);
}

template <class T>
using Queue = OurQueue<T>;
template <class T>
using PipeLine = OurPipeLine<T>;
template <class T>
using Boost = BoostSpsc<T>;
template <class T>
using Atomic = AtomicQueueAny<T, Sharing::many_each_side>;
template <class T>
using Xenium = XeniumVyukov<T>;

template <std::size_t Bytes>
void add_all() {
    add<Bytes, Queue>("Queue");
    add<Bytes, Atomic>("AtomicQueue2");
    add<Bytes, Xenium>("XeniumVyukov");
    add<Bytes, PipeLine>("Pipe");
    add<Bytes, Boost>("BoostSpsc");
}

// What is shared and not passed on: beside an atomic word, and a copy of as many bytes.

template <class T>
struct AtomicCell {
    T load(std::int64_t) const { return word.load(std::memory_order_acquire); }
    void store(std::int64_t, const T& value) const { word.store(value, std::memory_order_release); }

    SharedArena arena{4096};
    std::atomic<T>& word{arena.make<std::atomic<T>>()};
};
template <class T>
struct GuardedCell {
    T load(std::int64_t) const { return value.read(); }
    void store(std::int64_t, const T& number) const { value.store(number); }

    sluice::Guarded<T> value{};
};
template <class T>
struct ValueCell {
    T load(std::int64_t) const { return value.load(); }
    void store(std::int64_t, const T& number) const { value.store(number); }

    sluice::Value<T> value{};
};
template <class T>
struct ArrayCell {
    T load(std::int64_t index) const { return array.load(index % 16); }
    void store(std::int64_t index, const T& number) const { array.store(index % 16, number); }

    sluice::Array<T> array = sluice::Array<T>(16);
};

template <class Cell>
void load(benchmark::State& state) {
    const Cell cell;
    std::int64_t index = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(cell.load(index++));
    }
}
template <class Cell, class T>
void store(benchmark::State& state) {
    const Cell cell;
    std::int64_t index = 0;
    T value{};
    for (auto _ : state) {
        benchmark::DoNotOptimize(value);
        cell.store(index++, value);
    }
}
template <class Cell, class T>
void add_cell(const std::string& name) {
    const std::string bytes = "/value_bytes:" + std::to_string(sizeof(T));
    benchmark::RegisterBenchmark(("BM_" + name + "_Load" + bytes).c_str(), load<Cell>);
    benchmark::RegisterBenchmark(("BM_" + name + "_Store" + bytes).c_str(), store<Cell, T>);
}
template <class T>
void add_cells() {
    if constexpr (sizeof(T) == 8) {
        add_cell<AtomicCell<T>, T>("StdAtomic");
    }
    add_cell<GuardedCell<T>, T>("Guarded");
    add_cell<ValueCell<T>, T>("Value");
    add_cell<ArrayCell<T>, T>("Array");
}

void array_snapshot(benchmark::State& state) {
    const sluice::Array<std::uint64_t> array(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        benchmark::DoNotOptimize(array.snapshot());
    }
}

// By name: what a Manager's table costs, beside a name in /dev/shm.
void open_in_manager(benchmark::State& state) {
    const sluice::Manager manager;
    const sluice::Lock kept = manager.lock("door");
    for (auto _ : state) {
        benchmark::DoNotOptimize(manager.lock("door"));
    }
}
void open_by_name(benchmark::State& state) {
    const std::string name = "bench-door-" + std::to_string(getpid());
    const sluice::Lock kept = sluice::Lock::create(name);
    for (auto _ : state) {
        benchmark::DoNotOptimize(sluice::Lock::open(name));
    }
    sluice::Lock::unlink(name);
}
void make_and_remove_in_manager(benchmark::State& state) {
    const sluice::Manager manager;
    for (auto _ : state) {
        static_cast<void>(manager.lock("door"));
        benchmark::DoNotOptimize(manager.remove("door"));
    }
}
void make_and_remove_by_name(benchmark::State& state) {
    const std::string name = "bench-door-" + std::to_string(getpid());
    for (auto _ : state) {
        static_cast<void>(sluice::Lock::create(name));
        sluice::Lock::unlink(name);
    }
}

}  // namespace

int main(int argc, char** argv) {
    // --quick as in the other programs, for the smoke tests.
    std::vector<char*> arguments(argv, argv + argc);
    std::string quick = "--benchmark_min_time=0.0001";
    for (auto& argument : arguments) {
        if (std::string(argument) == "--quick") {
            argument = quick.data();
        }
    }
    int count = argc;
    benchmark::Initialize(&count, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) {
        return 2;
    }
    const unsigned cpu = usable_cpus().front();
    for (const auto& [name, value] : read_machine_facts(cpu, cpu).facts) {
        benchmark::AddCustomContext(name, value);
    }
    add_all<8>();
    add_all<48>();
    add_cells<std::uint64_t>();
    add_cells<Payload<48>>();
    benchmark::RegisterBenchmark("BM_Array_Snapshot", array_snapshot)->Arg(16)->Arg(1024);
    benchmark::RegisterBenchmark("BM_Manager_OpenLock", open_in_manager);
    benchmark::RegisterBenchmark("BM_DevShm_OpenLock", open_by_name);
    benchmark::RegisterBenchmark("BM_Manager_MakeAndRemoveLock", make_and_remove_in_manager);
    benchmark::RegisterBenchmark("BM_DevShm_MakeAndRemoveLock", make_and_remove_by_name);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
