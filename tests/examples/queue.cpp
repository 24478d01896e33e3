// Exchange through a Queue (tutorial 3.1).
#include <chrono>
#include <iostream>
#include <sluice/msgpack.hpp>
#include <sluice/process.hpp>
#include <sluice/queue.hpp>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

using Message = std::tuple<int, std::string, std::string>;

static void func(const std::string& name, const sluice::Queue<Message>& q) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    std::cout << "SubProcess " << name << std::endl;
    q.put({42, name, "hello"});
}

static void print(const Message& message) {
    const auto& [number, name, greeting] = message;
    std::cout << '[' << number << ", '" << name << "', '" << greeting << "']" << std::endl;
}

int main() {
    const sluice::Queue<Message> q;
    std::vector<sluice::Process> processes;
    for (int idx = 0; idx < 3; ++idx) {
        processes.emplace_back(func, "user_" + std::to_string(idx), q).start();
    }
    print(q.get());
    print(q.get());
    print(q.get());
    for (auto& p : processes) {
        p.join();
    }
    std::cout << "MasterProcess End" << std::endl;
}
