// sluice top: one look anywhere, and the live screen in a terminal (tmux).
#include <signal.h>

#include <atomic>
#include <sluice/queue.hpp>

#include "sluice/run.hpp"
#include "support/processes.hpp"

namespace sluice::tool::test {
namespace {

using sluice::test::Child;
using sluice::test::FreshName;
using sluice::test::Shared;
using sluice::test::Watchdog;

TEST(Top, TellsRatesAndDeathsOnce) {
    const Watchdog watchdog(120);
    const FreshName name("top");
    const auto queue = Queue<std::int64_t>::create(name.name(), {.capacity = 8});
    const Child busy([&] {
        for (std::int64_t number = 0;; ++number) {
            queue.put(number);
            static_cast<void>(queue.get());
        }
    });
    sluice::test::await([&] {
        const Ran ran = sluice_command({"top", "--once", "--json", "--interval", "0.1"});
        const auto entry = entry_of(ran.json(), name.name());
        return entry.at("put_a_second") > 0 && entry.at("taken_a_second") > 0;
    });
    busy.signal(SIGKILL);
    sluice::test::await([&] {
        const Ran ran = sluice_command({"top", "--once", "--json", "--interval", "0.05"});
        const auto entry = entry_of(ran.json(), name.name());
        return entry.at("participants").at(0).at("state") == "dead";
    });
    const Ran text = sluice_command({"top", "--once", "--interval", "0.05"});
    EXPECT_EQ(text.code, 0);
    EXPECT_TRUE(holds(text.out, "IN/s")) << text.out;
    EXPECT_TRUE(holds(text.out, name.name().substr(0, 20))) << text.out;
    EXPECT_FALSE(holds(text.out, "\x1b")) << "sequences of a terminal in a file";
}

TEST(Top, WantsATerminalUnlessOnce) {
    const Ran ran = sluice_command({"top"});
    EXPECT_EQ(ran.code, 2);
    EXPECT_TRUE(holds(ran.err, "--once")) << ran.err;
}

/// A terminal of its own server, so that no other session is touched.
class Terminal {
 public:
    explicit Terminal(const std::string& command) {
        tmux({"new-session", "-d", "-x", "100", "-y", "60", command + "; echo ended with $?; cat"});
    }
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;
    ~Terminal() { tmux({"kill-server"}); }

    std::string screen() const { return tmux({"capture-pane", "-p"}).out; }
    void press(const std::string& key) const { tmux({"send-keys", key}); }
    void resize(int columns, int rows) const {
        tmux({"resize-window", "-x", std::to_string(columns), "-y", std::to_string(rows)});
    }
    std::string await(const std::string& text) const {
        std::string seen;
        sluice::test::await([&] { return holds(seen = screen(), text); });
        return seen;
    }
    /// Waits until the line that holds `name` holds the text, too; returns the screen.
    std::string await_line(const std::string& name, const std::string& text) const {
        std::string seen;
        sluice::test::await([&] {
            seen = screen();
            const std::size_t begin = seen.find(name);
            return begin != seen.npos &&
                   holds(seen.substr(begin, seen.find('\n', begin) - begin), text);
        });
        return seen;
    }

 private:
    Ran tmux(std::vector<std::string> words) const {
        words.insert(words.begin(), {SLUICE_TMUX, "-L", socket_, "-f", "/dev/null"});
        return run(words);
    }

    // Not one that a server which is still ending has.
    static inline int made_ = 0;
    std::string socket_ = "sluice-test-" + std::to_string(getpid()) + "-" + std::to_string(++made_);
};

class TopScreen : public ::testing::Test {
 protected:
    void SetUp() override {
        if (std::string(SLUICE_TMUX).empty()) {
            GTEST_SKIP() << "needs tmux";
        }
        queue_.put(1);
        queue_.put(2);
        queue_.put(3);
    }

    Watchdog watchdog_{120};
    FreshName name_{"t", "0-test-"};  // at the top: others' objects may fill the screen
    Queue<std::int64_t> queue_ = Queue<std::int64_t>::create(name_.name(), {.capacity = 4});
};

TEST_F(TopScreen, ShowsBarsFollowsTheQueueAndEndsWithQ) {
    const Terminal terminal(SLUICE_TOOL " top --interval 0.1");
    const std::string first = terminal.await_line(name_.name(), "3 of 4");
    EXPECT_TRUE(holds(first, "sluice top")) << first;
    EXPECT_TRUE(holds(first, "████████░░")) << first;
    EXPECT_EQ(queue_.get(), 1);
    EXPECT_EQ(queue_.get(), 2);
    terminal.await_line(name_.name(), "1 of 4");
    terminal.press("q");
    const std::string after = terminal.await("ended with 0");
    EXPECT_FALSE(holds(after, "IN/s")) << "the screen before was not restored: " << after;
}

TEST_F(TopScreen, IsCutToTheWindowWhenThatIsResized) {
    const Terminal terminal(SLUICE_TOOL " top --interval 0.1");
    terminal.await("OUT/s");
    terminal.resize(40, 6);
    sluice::test::await([&] { return !holds(terminal.screen(), "OUT/s"); });
    terminal.await("sluice top");
    terminal.resize(120, 60);
    terminal.await("HELD; ASLEEP");
}

TEST_F(TopScreen, ShowsADeath) {
    Shared<std::atomic<int>> leased;
    const Child child([&] {
        const auto lease = queue_.lease();
        leased->store(1);
        pause();
    });
    sluice::test::await([&] { return leased->load() != 0; });
    const Terminal terminal(SLUICE_TOOL " top --interval 0.1");
    terminal.resize(150, 60);
    terminal.await_line(name_.name(), "holds slot 0");
    child.signal(SIGKILL);
    const std::string after = terminal.await_line(name_.name(), "dead) holds slot 0");
    EXPECT_FALSE(holds(after, ", 0 deaths seen")) << after;
}

}  // namespace
}  // namespace sluice::tool::test
