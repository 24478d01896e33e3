// What things say: values printed, errors that are to be thrown.
#pragma once

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace sluice::test {

/// The value, printed.
template <class T>
std::string text_of(const T& value) {
    std::ostringstream out;
    out << value;
    return out.str();
}

/// What the exception says that `act` is to throw.
template <class Exception, class Act>
std::string message_of(Act&& act) {
    try {
        act();
    } catch (const Exception& error) {
        return error.what();
    }
    ADD_FAILURE() << "nothing of that type was thrown";
    return {};
}

}  // namespace sluice::test
