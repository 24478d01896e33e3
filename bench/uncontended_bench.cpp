// What one operation costs when nobody is in the way: one process, one thread, everything in its
// first cache. This is the instruction path; what two processes pay is in the other programs.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "baselines/atomic_queue.hpp"
#include "baselines/boost_spsc.hpp"
#include "baselines/xenium_vyukov.hpp"
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
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
