#include <sluice/pool.hpp>

void use(const sluice::Pool& pool, int* pointer);
void use(const sluice::Pool& pool, int* pointer) {
    static_cast<void>(pool.apply([](int* p) { return *p; }, pointer));
}
