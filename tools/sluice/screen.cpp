#include "screen.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace sluice::tool {
namespace {

// Only lock-free flags: set by a signal's handler.
volatile sig_atomic_t resized = 0;
volatile sig_atomic_t ended = 0;

void note_resize(int) {
    resized = 1;
}
void note_end(int) {
    ended = 1;
}

void on_signal(int number, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;  // without SA_RESTART: it is to end the poll
    sigaction(number, &action, nullptr);
}

}  // namespace

Screen::Screen() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) {
        throw std::system_error(errno, std::generic_category(), "tcgetattr of standard input");
    }
    on_signal(SIGWINCH, note_resize);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        on_signal(number, note_end);
    }
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fmt::print("\x1b[?1049h\x1b[?25l");
    std::fflush(stdout);
}

Screen::~Screen() {
    fmt::print("\x1b[?25h\x1b[?1049l");
    std::fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

Screen::Size Screen::size() {
    winsize window{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0) {
        return {24, 80};
    }
    return {window.ws_row, window.ws_col};
}

void Screen::show(const std::vector<std::string>& lines) const {
    const Size room = size();
    std::string frame = "\x1b[H";
    for (std::size_t row = 0; row < room.rows; ++row) {
        if (row < lines.size()) {
            frame += cut(lines[row], room.columns);
        }
        frame += row + 1 < room.rows ? "\x1b[0m\x1b[K\r\n" : "\x1b[0m\x1b[K";
    }
    std::fwrite(frame.data(), 1, frame.size(), stdout);
    std::fflush(stdout);
}

Screen::Event Screen::wait(std::chrono::milliseconds time) const {
    pollfd keys{STDIN_FILENO, POLLIN, 0};
    const int ready =
        ended != 0 || resized != 0 ? 0 : poll(&keys, 1, static_cast<int>(time.count()));
    char key = 0;
    if (ended != 0 || (ready > 0 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q'))) {
        return Event::quit;
    }
    if (resized != 0) {
        resized = 0;
        return Event::resized;
    }
    return Event::nothing;
}

std::string cut(const std::string& line, std::size_t columns) {
    std::size_t width = 0;
    for (std::size_t at = 0; at < line.size(); ++at) {
        if (line[at] == '\x1b') {
            at = line.find('m', at);
            if (at == std::string::npos) {
                return line;
            }
        } else if ((static_cast<unsigned char>(line[at]) & 0xc0U) != 0x80U && ++width > columns) {
            return line.substr(0, at);
        }
    }
    return line;
}

}  // namespace sluice::tool
