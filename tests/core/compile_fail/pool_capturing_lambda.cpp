#include <sluice/pool.hpp>

void use(const sluice::Pool& pool, int& count);
void use(const sluice::Pool& pool, int& count) {
    static_cast<void>(pool.apply([&count](int i) { return i + count; }, 1));
}
