// What the tests of pipes share: each runs with plain and with packed messages.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

namespace sluice::testing {

template <class T>
class PipeMessages : public ::testing::Test {
 public:
    static T make(int number) {
        if constexpr (std::is_same_v<T, int>) {
            return number;
        } else {
            return std::to_string(number);
        }
    }
};
using MessageKinds = ::testing::Types<int, std::string>;
struct NameOfKind {
    template <class T>
    static std::string GetName(int) {
        return std::is_same_v<T, int> ? "Plain" : "Packed";
    }
};

}  // namespace sluice::testing
