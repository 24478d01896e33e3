// Exchange through a Manager (tutorial 3.3).
#include <chrono>
#include <iostream>
#include <map>
#include <sluice/manager.hpp>
#include <sluice/msgpack.hpp>
#include <sluice/process.hpp>
#include <string>
#include <thread>
#include <vector>

using Names = std::map<std::string, std::string>;

static void func(const std::string& name, const sluice::Dict<std::string, Names>& d,
                 const sluice::List<std::string>& l) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    d[name] = {{name, name}};
    l.append(name);
}

int main() {
    const sluice::Manager manager;
    const auto d = manager.dict<std::string, Names>();
    const auto l = manager.list<std::string>();
    std::vector<sluice::Process> processes;
    for (int idx = 0; idx < 3; ++idx) {
        processes.emplace_back(func, "user_" + std::to_string(idx), d, l).start();
    }
    for (auto& p : processes) {
        p.join();
    }
    l.sort();  // they append in any order
    std::cout << d << std::endl << l << std::endl;
    std::cout << "MasterProcess End" << std::endl;
}
