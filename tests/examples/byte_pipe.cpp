// Messages of any length without a copy: built in the ring, read in the ring.
#include <algorithm>
#include <cstddef>
#include <iostream>
#include <sluice/byte_pipe.hpp>
#include <sluice/process.hpp>
#include <span>

static void send(const sluice::ByteConnection& out) {
    for (const std::size_t size : {10UL, 100'000UL}) {
        const std::span<std::byte> room = out.claim(size);
        std::ranges::fill(room, std::byte{7});
        out.commit(size);
    }
    out.close();
}

int main() {
    const sluice::BytePipe pipe({.duplex = false, .capacity_bytes = 1U << 20U});
    sluice::Process sender(send, pipe.second);
    sender.start();
    try {
        for (;;) {
            const std::span<const std::byte> message = pipe.first.peek();
            const bool whole =
                std::ranges::all_of(message, [](std::byte byte) { return byte == std::byte{7}; });
            std::cout << message.size() << " bytes, " << (whole ? "whole" : "torn") << '\n';
            pipe.first.consume();
        }
    } catch (const sluice::Closed&) {
        std::cout << "the sender has closed its end\n";
    }
}
