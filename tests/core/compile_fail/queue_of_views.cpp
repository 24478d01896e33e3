#include <sluice/queue.hpp>
#include <string_view>

void use();
void use() {
    sluice::Queue<std::string_view> queue;
    queue.put("text");
    static_cast<void>(queue.get());
    static_cast<void>(queue.try_get());
}
