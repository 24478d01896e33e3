// Processes from a subclass (tutorial 2.3).
#include <chrono>
#include <iostream>
#include <sluice/process.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

class MyProcess : public sluice::Process {
 public:
    explicit MyProcess(const std::string& name) : Process(sluice::ProcessOptions{.name = name}) {}

 protected:
    void run() override {
        std::this_thread::sleep_for(std::chrono::seconds(1));
        std::cout << "SubProcess " << name() << std::endl;
    }
};

}  // namespace

int main() {
    std::vector<MyProcess> processes;
    for (int idx = 0; idx < 3; ++idx) {
        processes.emplace_back("user_" + std::to_string(idx));
    }
    for (auto& p : processes) {
        p.start();
    }
    for (auto& p : processes) {
        p.join();
    }
    std::cout << "MasterProcess End" << std::endl;
}
