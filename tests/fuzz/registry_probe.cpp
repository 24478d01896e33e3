// A process that uses the registry of its user for the first time, and says what came of it.
#include <cstdio>
#include <exception>

#include "sluice/error.hpp"
#include "sluice/queue.hpp"

int main() {
    try {
        const sluice::Queue<int> queue;
        queue.put(42);
        return queue.get() == 42 ? 0 : 1;
    } catch (const sluice::BadSegment& error) {
        std::printf("BadSegment: %s\n", error.what());
    } catch (const sluice::NotPermitted& error) {
        std::printf("NotPermitted: %s\n", error.what());
    } catch (const std::exception& error) {
        std::printf("another exception: %s\n", error.what());
    }
    return 2;
}
