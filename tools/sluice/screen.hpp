// A terminal that a program fills again and again: plain ANSI sequences, no library.
#pragma once

#include <termios.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace sluice::tool {

/// Owns the terminal from its making to its end: the other screen, no cursor, keys one by one.
class Screen {
 public:
    /// Errors: std::system_error where standard input is no terminal.
    Screen();
    Screen(const Screen&) = delete;
    Screen& operator=(const Screen&) = delete;
    ~Screen();

    struct Size {
        std::size_t rows{};
        std::size_t columns{};
    };
    static Size size();

    /// Shows these lines, cut to the terminal's width and height.
    void show(const std::vector<std::string>& lines) const;

    enum class Event { nothing, resized, quit };
    /// Waits for a key, a new size, a signal that ends us, or until the time has passed.
    Event wait(std::chrono::milliseconds time) const;

 private:
    termios before_{};
};

/// The first `columns` columns of a line, with what colours it.
std::string cut(const std::string& line, std::size_t columns);

}  // namespace sluice::tool
