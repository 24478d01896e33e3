// Exchange through a Pipe (tutorial 3.2).
#include <iostream>
#include <optional>
#include <sluice/msgpack.hpp>
#include <sluice/pipe.hpp>
#include <sluice/process.hpp>
#include <string>
#include <tuple>

namespace {

using Message = std::tuple<int, std::optional<std::string>, std::string>;

void func(const sluice::Connection<Message>& conn) {
    conn.send({42, std::nullopt, "hello"});
    conn.close();
}

void print(const Message& message) {
    const auto& [number, nothing, greeting] = message;
    std::cout << '[' << number << ", " << nothing.value_or("None") << ", '" << greeting << "']"
              << std::endl;
}

}  // namespace

int main() {
    auto [parent_conn, child_conn] = sluice::Pipe<Message>();
    sluice::Process p(func, child_conn);
    p.start();
    print(parent_conn.recv());
    p.join();
    std::cout << "MasterProcess End" << std::endl;
}
