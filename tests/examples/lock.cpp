// Lock (tutorial 4). Python's try/finally is the guard's scope; an exception gives the lock back,
// too.
#include <chrono>
#include <iostream>
#include <mutex>
#include <sluice/lock.hpp>
#include <sluice/process.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

void func(const std::string& name, const sluice::Lock& lock) {
    const std::scoped_lock guard(lock);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    std::cout << "hello world " << name << std::endl;
}

}  // namespace

int main() {
    const sluice::Lock lock;
    std::vector<sluice::Process> processes;
    for (int idx = 0; idx < 3; ++idx) {
        processes.emplace_back(func, "user_" + std::to_string(idx), lock);
    }
    for (auto& p : processes) {
        p.start();
    }
    for (auto& p : processes) {
        p.join();
    }
}
