// What a Queue does with its T, without the Queue.
#pragma once

#include <sluice/codec.hpp>

template <class T>
struct Carrier {
    static_assert(sluice::check_shareable<T>());
};
