#include <sluice/dict.hpp>

struct Padded {
    char letter;
    int number;
};
sluice::Dict<Padded, int> dict;
