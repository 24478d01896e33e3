// README's example. The document shows all of it but this line; tools/lint/check_docs compares.
#include <iostream>
#include <string>

#include <sluice/sluice.hpp>

static void work(int number, sluice::Queue<std::string> results) {
    results.put("hello from worker " + std::to_string(number));
}

int main() {
    sluice::Queue<std::string> results;
    sluice::Process one(work, 1, results), two(work, 2, results);
    one.start();
    two.start();
    std::cout << results.get() << '\n' << results.get() << '\n';
}
