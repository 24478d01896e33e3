// Processes from a function (tutorial 2.2).
#include <chrono>
#include <iostream>
#include <sluice/process.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

void func(const std::string& name) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    std::cout << "SubProcess " << name << std::endl;
}

}  // namespace

int main() {
    std::vector<sluice::Process> processes;
    for (int idx = 0; idx < 3; ++idx) {
        processes.emplace_back(func, "user_" + std::to_string(idx));
    }
    for (auto& p : processes) {
        p.start();
    }
    for (auto& p : processes) {
        p.join();
    }
    std::cout << "MasterProcess End" << std::endl;
}
