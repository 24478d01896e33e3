// A Pool of five workers (tutorial 5).
#include <chrono>
#include <iostream>
#include <sluice/pool.hpp>
#include <thread>

namespace {

int Foo(int i) {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    return i + 100;
}

void Callback(int arg) {
    std::cout << "--->exec dong: " << arg << std::endl;
}

}  // namespace

int main() {
    sluice::Pool pool(5);
    for (int i = 0; i < 3; ++i) {
        pool.apply_async(Foo, i).then(Callback);
    }
    std::cout << "MasterProcess Start" << std::endl;
    pool.close();
    pool.join();
    std::cout << "MasterProcess End" << std::endl;
}
