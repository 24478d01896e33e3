// sluice-pipeline from end to end, as its users run it.
#include "program.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sluice/topology.hpp>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/exchange.hpp"

namespace sluice::pipeline {
namespace {

using nlohmann::json;
using test::Folder;
using test::Program;
using Options = std::vector<std::string>;

const Options kShort{"--messages", "20000"};

Options operator+(Options left, const Options& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

std::uint64_t number(const json& value) {
    return value.get<std::uint64_t>();
}

/// What holds for every run, however it ended: nothing is lost on the way.
void expect_nothing_lost(const Program& program, std::size_t strategies) {
    const json result = program.json();
    ASSERT_EQ(result["strategies"].size(), strategies);
    std::uint64_t orders = 0;
    for (const json& strategy : result["strategies"]) {
        EXPECT_EQ(strategy["events"], result["book_events"]);
        orders += number(strategy["orders"]);
    }
    EXPECT_EQ(result["orders"]["sent"], orders);
    EXPECT_EQ(result["orders"]["acknowledged"], orders);
    EXPECT_LE(number(result["orders"]["rejected"]), orders);

    std::uint64_t messages = 0;
    for (const json& input : result["inputs"]) {
        std::uint64_t of_input = 0;
        for (const json& count : input["counts"]) {
            of_input += number(count);
        }
        EXPECT_EQ(input["messages"], of_input);
        messages +=
            of_input - number(input["counts"]["other"]) - number(input["counts"]["malformed"]);
    }

    std::set<std::pair<int, int>> open;  // orders without acknowledgement
    std::uint64_t order_lines = 0;
    std::uint64_t acknowledgement_lines = 0;
    std::uint64_t rejected_lines = 0;
    for (const json& entry : program.journal()) {
        const std::pair<int, int> key{entry["strategy"], entry["id"]};
        if (entry["type"] == "order") {
            ++order_lines;
            EXPECT_TRUE(open.insert(key).second);
        } else {
            ++acknowledgement_lines;
            EXPECT_EQ(open.erase(key), 1U);
            rejected_lines += entry["status"] == "rejected" ? 1U : 0U;
        }
    }
    EXPECT_TRUE(open.empty());
    EXPECT_EQ(result["orders"]["sent"], order_lines);
    EXPECT_EQ(result["orders"]["acknowledged"], acknowledgement_lines);
    EXPECT_EQ(result["orders"]["rejected"], rejected_lines);

    std::map<std::string, std::uint64_t> hop_counts;
    for (const json& hop : result["hops"]) {
        hop_counts[hop["from"].get<std::string>() + ">" + hop["to"].get<std::string>()] =
            number(hop["count"]);
        EXPECT_LE(number(hop["p50_ns"]), number(hop["p99_ns"]));
        EXPECT_LE(number(hop["p99_ns"]), number(hop["p999_ns"]));
        EXPECT_LE(number(hop["p999_ns"]), number(hop["max_ns"]));
    }
    EXPECT_EQ(hop_counts["feed>book"], messages);
    EXPECT_EQ(hop_counts["book>strategy"], number(result["book_events"]) * strategies);
    EXPECT_EQ(hop_counts["strategy>risk"], orders);
    EXPECT_EQ(hop_counts["risk>journal"], 2 * orders);
    EXPECT_EQ(hop_counts["feed>journal"], orders);
}

/// The first `count` messages of the synthetic exchange as lines of a capture.
std::vector<std::string> capture_lines(std::uint64_t count) {
    SyntheticExchange exchange({.seed = 11, .messages = count});
    std::vector<std::string> lines;
    while (const auto line = exchange.next()) {
        lines.push_back(std::to_string(line->receive_ns) + " " + std::string(line->json));
    }
    return lines;
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) {
        text += line + "\n";
    }
    return text;
}

std::size_t line_with(const std::vector<std::string>& lines, const std::string& part, int nth = 1) {
    const auto found = std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
        return line.find(part) != std::string::npos && --nth == 0;
    });
    return static_cast<std::size_t>(found - lines.begin());
}

class PipelineWith : public testing::TestWithParam<std::size_t> {};

TEST_P(PipelineWith, LosesNothingOnTheWay) {
    Program program(kShort + Options{"--strategies", std::to_string(GetParam())});
    ASSERT_EQ(program.end(), 0) << program.err();
    EXPECT_EQ(program.err(), "");
    expect_nothing_lost(program, GetParam());
    const json result = program.json();
    EXPECT_EQ(result["inputs"][0]["messages"], 20'000);
    EXPECT_EQ(result["inputs"][0]["sequence_gaps"], 0);
    EXPECT_EQ(result["inputs"][0]["top_differ"], 0);
    EXPECT_GT(number(result["book_events"]), 10'000U);
    EXPECT_GT(number(result["orders"]["sent"]), 10U);
    EXPECT_GT(result["elapsed_s"].get<double>(), 0);
    EXPECT_GT(result["messages_per_s"].get<double>(), 0);
}

INSTANTIATE_TEST_SUITE_P(Strategies, PipelineWith, testing::Values(1U, 2U, 5U));

TEST(Pipeline, TheSameSeedGivesTheSameInputsAndOrders) {
    Program first(kShort + Options{"--seed", "3"});
    ASSERT_EQ(first.end(), 0) << first.err();
    Program second(kShort + Options{"--seed", "3", "--wait", "park", "--placement", "none"});
    ASSERT_EQ(second.end(), 0) << second.err();
    Program other(kShort + Options{"--seed", "4"});
    ASSERT_EQ(other.end(), 0) << other.err();
    EXPECT_EQ(first.json()["inputs"], second.json()["inputs"]);
    EXPECT_EQ(first.json()["strategies"], second.json()["strategies"]);
    EXPECT_NE(first.json()["inputs"], other.json()["inputs"]);
}

TEST(Pipeline, TheJsonHasExactlyTheFieldsThatWerePromised) {
    Program program({"--messages", "2000"});
    ASSERT_EQ(program.end(), 0) << program.err();
    const auto keys = [](const json& object) {
        std::set<std::string> names;
        for (const auto& item : object.items()) {
            names.insert(item.key());
        }
        return names;
    };
    const json result = program.json();
    using Names = std::set<std::string>;
    EXPECT_EQ(keys(result), (Names{"inputs", "book_events", "strategies", "hops", "orders",
                                   "elapsed_s", "messages_per_s"}));
    EXPECT_EQ(keys(result["inputs"][0]),
              (Names{"file", "messages", "counts", "level_updates", "sequence_gaps", "top_agree",
                     "top_differ", "best_bid", "best_ask", "bid_levels", "ask_levels",
                     "bid_quantity", "ask_quantity", "traded_quantity"}));
    EXPECT_EQ(keys(result["inputs"][0]["counts"]),
              (Names{"depth", "bookTicker", "trade", "snapshot", "other", "malformed"}));
    EXPECT_EQ(keys(result["strategies"][0]), (Names{"events", "orders"}));
    EXPECT_EQ(keys(result["hops"][0]),
              (Names{"from", "to", "count", "p50_ns", "p99_ns", "p999_ns", "max_ns"}));
    EXPECT_EQ(keys(result["orders"]), (Names{"sent", "rejected", "acknowledged"}));
}

TEST(Pipeline, WritesAPercentileFileForEachHop) {
    const Folder folder;
    Program program({"--messages", "2000", "--hgrm", folder / "deep/er"});
    ASSERT_EQ(program.end(), 0) << program.err();
    for (const char* hop : {"feed-book", "book-strategy", "strategy-risk", "risk-journal",
                            "feed-strategy", "feed-journal"}) {
        const std::string text =
            test::read_file(folder / ("deep/er/" + std::string(hop) + ".hgrm"));
        EXPECT_TRUE(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)"));
        EXPECT_NE(text.find("#[Max     ="), std::string::npos);
    }
}

TEST(Pipeline, RejectsWhatTheLimitsForbidAndThrowsTheKillSwitch) {
    Program limited(kShort + Options{"--max-position", "2"});
    ASSERT_EQ(limited.end(), 0) << limited.err();
    expect_nothing_lost(limited, 2);
    EXPECT_GT(number(limited.json()["orders"]["rejected"]), 0U);

    Program killed(kShort + Options{"--max-position", "2", "--kill-after", "5"});
    ASSERT_EQ(killed.end(), 0) << killed.err();
    expect_nothing_lost(killed, 2);
    const std::vector<json> journal = killed.journal();
    std::uint64_t rejected = 0;
    for (const json& entry : journal) {
        if (entry["type"] == "acknowledgement") {
            rejected += entry["status"] == "rejected" ? 1U : 0U;
            EXPECT_TRUE(rejected < 5 || entry["status"] == "rejected");
        }
    }
    EXPECT_EQ(journal.back()["reason"], "kill switch");
    EXPECT_NE(killed.out().find("the kill switch was thrown"), std::string::npos);
}

TEST(Pipeline, SeveralInputsAreMergedAndKeptApart) {
    const Folder folder;
    const std::vector<std::string> lines = capture_lines(6'000);
    test::write_gzip(folder / "a.gz", joined(lines));
    test::write_gzip(folder / "b.gz", joined({lines.begin(), lines.begin() + 3'000}));
    Program alone({"--input", folder / "a.gz"});
    ASSERT_EQ(alone.end(), 0) << alone.err();
    Program first({"--input", folder / "a.gz", "--input", folder / "b.gz"});
    ASSERT_EQ(first.end(), 0) << first.err();
    Program again({"--input", folder / "a.gz", "--input", folder / "b.gz"});
    ASSERT_EQ(again.end(), 0) << again.err();
    expect_nothing_lost(first, 2);
    EXPECT_EQ(first.json()["inputs"][0], alone.json()["inputs"][0]);
    EXPECT_EQ(first.json()["inputs"][1]["messages"], 3'000);
    EXPECT_EQ(first.json()["inputs"][1]["file"], "b.gz");
    EXPECT_EQ(first.json()["strategies"], again.json()["strategies"]);
}

TEST(Pipeline, PacedRunsFollowTheRecordedTimes) {
    const Folder folder;
    const std::vector<std::string> lines = capture_lines(1'000);
    const auto time_ns = [](const std::string& line) { return std::stoll(line); };
    const double recorded_s = 1e-9 * static_cast<double>(time_ns(lines.back()) - time_ns(lines[0]));
    test::write_gzip(folder / "a.gz", joined(lines));
    for (const char* wait : {"spin", "spin_then_park", "park"}) {
        Program program({"--input", folder / "a.gz", "--speed", "5", "--wait", wait});
        ASSERT_EQ(program.end(), 0) << program.err();
        expect_nothing_lost(program, 2);
        EXPECT_GE(program.json()["elapsed_s"].get<double>(), recorded_s / 5);
    }
}

TEST(Pipeline, DamagedInputIsToldCountedAndTheRestProcessed) {
    const Folder folder;
    std::vector<std::string> lines = capture_lines(5'000);
    const std::size_t removed = line_with(lines, "depthUpdate", 50);
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(removed));
    lines.insert(lines.begin() + 300, "this is garbage");
    lines.insert(lines.begin() + 301, "1723161600000000000 {\"cut\":");
    lines.insert(lines.begin() + 302, "1723161600000000000 {\"e\":\"unheard of\"}");
    test::write_gzip(folder / "a.gz", joined(lines));
    Program program({"--input", folder / "a.gz"});
    ASSERT_EQ(program.end(), 0) << program.err();
    expect_nothing_lost(program, 2);
    const json input = program.json()["inputs"][0];
    EXPECT_EQ(input["messages"], 5'002);
    EXPECT_EQ(input["counts"]["malformed"], 2);
    EXPECT_EQ(input["counts"]["other"], 1);
    EXPECT_EQ(input["sequence_gaps"], 1);
    const std::string err = program.err();
    EXPECT_NE(err.find("a.gz, line 301: has no receive time in front of its message"),
              std::string::npos)
        << err;
    EXPECT_NE(err.find("a.gz, line 302: no JSON"), std::string::npos) << err;
    EXPECT_NE(err.find("a.gz: a gap in the sequence before u = "), std::string::npos) << err;
}

TEST(Pipeline, ATruncatedFileIsToldAndWhatIsThereProcessed) {
    const Folder folder;
    test::write_gzip(folder / "a.gz", joined(capture_lines(20'000)));
    std::filesystem::resize_file(folder / "a.gz", std::filesystem::file_size(folder / "a.gz") / 2);
    Program program({"--input", folder / "a.gz"});
    ASSERT_EQ(program.end(), 0) << program.err();
    expect_nothing_lost(program, 2);
    const json input = program.json()["inputs"][0];
    EXPECT_GT(number(input["messages"]), 5'000U);
    EXPECT_LE(number(input["counts"]["malformed"]), 1U);
    EXPECT_NE(program.err().find("a.gz: the gzip file is truncated after line "),
              std::string::npos);
}

TEST(Pipeline, WithoutASnapshotNoBookIsBuilt) {
    const Folder folder;
    std::vector<std::string> lines = capture_lines(3'000);
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(line_with(lines, "lastUpdateId")));
    test::write_gzip(folder / "a.gz", joined(lines));
    Program program({"--input", folder / "a.gz"});
    ASSERT_EQ(program.end(), 0) << program.err();
    expect_nothing_lost(program, 2);
    const json input = program.json()["inputs"][0];
    EXPECT_EQ(input["best_bid"], nullptr);
    EXPECT_EQ(input["best_ask"], nullptr);
    EXPECT_EQ(input["bid_quantity"], "0");
    EXPECT_EQ(input["level_updates"], 0);
    EXPECT_NE(input["traded_quantity"], "0");
    EXPECT_NE(program.err().find("a.gz: there is no snapshot"), std::string::npos);
}

TEST(Pipeline, AFileThatCannotBeReadDoesNotStopTheOthers) {
    const Folder folder;
    test::write_gzip(folder / "a.gz", joined(capture_lines(2'000)));
    Program program({"--input", folder / "none.gz", "--input", folder / "a.gz"});
    EXPECT_EQ(program.end(), 1);
    expect_nothing_lost(program, 2);
    EXPECT_EQ(program.json()["inputs"][0]["messages"], 0);
    EXPECT_EQ(program.json()["inputs"][1]["messages"], 2'000);
    EXPECT_NE(program.err().find("none.gz: cannot be opened: No such file"), std::string::npos);
}

TEST(Pipeline, InterruptedItFinishesWhatIsUnderWay) {
    for (const bool whole_group : {false, true}) {
        for (const int number_of_signal : {SIGINT, SIGTERM}) {
            Program program({"--speed", "1", "--messages", "1000000"});
            program.wait_for_journal();
            whole_group ? program.signal_group(number_of_signal) : program.signal(number_of_signal);
            EXPECT_EQ(program.end(), 130) << program.err();
            expect_nothing_lost(program, 2);
            EXPECT_GT(number(program.json()["inputs"][0]["messages"]), 0U);
            EXPECT_NE(program.out().find("feed -> book"), std::string::npos);
            EXPECT_TRUE(program.group_is_empty());
        }
    }
}

TEST(Pipeline, NamesTheProcessThatDiedAndEndsTheOthers) {
    // Of two strategies: feed-0, book, strategy-0, strategy-1, risk, journal.
    const std::vector<std::string> names{"feed-0",     "book", "strategy-0",
                                         "strategy-1", "risk", "journal"};
    for (std::size_t victim = 0; victim < names.size(); ++victim) {
        if (names[victim].starts_with("strategy")) {
            continue;  // it is started again
        }
        Program program({"--speed", "1", "--messages", "1000000"});
        program.wait_for_children(names.size());
        program.wait_for_journal();
        const pid_t pid = program.children().at(victim);
        ASSERT_EQ(::kill(pid, SIGKILL), 0);
        EXPECT_EQ(program.end(), 1);
        EXPECT_EQ(program.err(), "sluice-pipeline: " + names[victim] + " (pid " +
                                     std::to_string(pid) + ") was killed by signal 9 (Killed)\n");
        EXPECT_TRUE(program.group_is_empty());
    }
}

TEST(Pipeline, AKilledStrategyIsStartedAgainAndTheOthersLoseNothing) {
    // A run that nobody disturbs: the same input, decisions and orders at any speed.
    const Options options{"--messages", "30000", "--strategies", "3"};
    Program calm(options);
    ASSERT_EQ(calm.end(), 0) << calm.err();
    const json expected = calm.json();
    for (std::size_t victim = 0; victim < 3; ++victim) {
        Program program(options + Options{"--speed", "20"});
        program.wait_for_children(7);
        program.wait_for_journal();
        const pid_t pid = program.children().at(2 + victim);
        ASSERT_EQ(::kill(pid, SIGKILL), 0);
        ASSERT_EQ(program.end(), 0) << program.err();
        EXPECT_EQ(program.err(), "sluice-pipeline: strategy-" + std::to_string(victim) + " (pid " +
                                     std::to_string(pid) +
                                     ") was killed by signal 9 (Killed): started again\n");
        const json result = program.json();
        EXPECT_EQ(result["inputs"], expected["inputs"]);
        EXPECT_EQ(result["book_events"], expected["book_events"]);
        for (std::size_t strategy = 0; strategy < 3; ++strategy) {
            // It was given every event, the dead one's last included, which was on loan.
            EXPECT_EQ(result["strategies"][strategy]["events"], expected["book_events"]);
            if (strategy != victim) {
                EXPECT_EQ(result["strategies"][strategy], expected["strategies"][strategy]);
            }
        }
        // Each order that was sent was acknowledged, and no id was used twice.
        std::set<std::pair<int, int>> orders;
        std::set<std::pair<int, int>> acknowledged;
        for (const json& entry : program.journal()) {
            const std::pair<int, int> key{entry["strategy"], entry["id"]};
            EXPECT_TRUE((entry["type"] == "order" ? orders : acknowledged).insert(key).second);
        }
        EXPECT_EQ(orders, acknowledged);
        EXPECT_EQ(result["orders"]["sent"], orders.size());
        EXPECT_EQ(result["orders"]["acknowledged"], orders.size());
        EXPECT_TRUE(program.group_is_empty());
    }
}

TEST(Pipeline, AStrategyMayBeKilledAgainAndAgain) {
    Program program({"--messages", "1000000", "--speed", "1", "--strategies", "1"});
    program.wait_for_children(5);
    program.wait_for_journal();
    pid_t strategy = program.children().at(2);  // feed-0, book, strategy-0, risk, journal
    for (int kills = 0; kills < 5; ++kills) {
        const pid_t newest = program.children().back();
        ASSERT_EQ(::kill(strategy, SIGKILL), 0);
        std::vector<pid_t> children;
        do {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            children = program.children();
            ASSERT_FALSE(children.empty()) << program.err();
        } while (children.size() != 5 || children.back() == newest);
        strategy = children.back();
    }
    program.signal(SIGINT);
    EXPECT_EQ(program.end(), 130) << program.err();
    const json result = program.json();
    EXPECT_EQ(result["strategies"][0]["events"], result["book_events"]);
    EXPECT_EQ(result["orders"]["sent"], result["orders"]["acknowledged"]);
    EXPECT_NE(program.out().find("(restarted 5 times)"), std::string::npos) << program.out();
}

TEST(Pipeline, PrintsThePlanOfAPlacement) {
    const unsigned cpu = sluice::Topology::system().pus().back().cpu;
    Program program(kShort + Options{"--placement", std::to_string(cpu), "--wait", "park"});
    ASSERT_EQ(program.end(), 0) << program.err();
    const std::string out = program.out();
    EXPECT_TRUE(out.starts_with("placement: list\n")) << out;
    for (const char* name : {"feed-0", "book", "strategy-0", "strategy-1", "risk", "journal"}) {
        const std::size_t line = out.find("  " + std::string(name) + " ");
        ASSERT_NE(line, std::string::npos) << name << '\n' << out;
        EXPECT_NE(out.substr(line, out.find('\n', line) - line).find("CPU " + std::to_string(cpu)),
                  std::string::npos);
    }
    Program silent(kShort);
    ASSERT_EQ(silent.end(), 0) << silent.err();
    EXPECT_EQ(silent.out().find("placement:"), std::string::npos);
}

TEST(Pipeline, ItsChildrenDoNotOutliveIt) {
    Program program({"--speed", "1", "--messages", "1000000"});
    program.wait_for_journal();
    const std::vector<pid_t> children = program.children();
    EXPECT_EQ(children.size(), 6U);
    program.signal(SIGKILL);
    EXPECT_EQ(program.end(), -SIGKILL);
    // They are waited for by another process then; a zombie of its is dead enough.
    for (const pid_t child : children) {
        const auto running = [&] {
            const std::string status = test::read_file("/proc/" + std::to_string(child) + "/stat");
            const std::size_t name_end = status.rfind(") ");
            return name_end != std::string::npos && status[name_end + 2] != 'Z';
        };
        while (running()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }
}

TEST(Pipeline, WrongUsageNamesTheOptionAndTheMend) {
    const std::vector<std::pair<Options, std::string>> cases{
        {{"--speed", "fast"}, "--speed: \"fast\" is neither \"max\" nor a factor such as 1"},
        {{"--speed", "-1"}, "--speed: \"-1\" is neither"},
        {{"--strategies", "0"}, "--strategies: Value 0 not in range 1 to 256"},
        {{"--messages", "-3"}, "--messages: "},
        {{"--wait", "long"}, "--wait: \"long\" is none of spin, spin_then_park and park"},
        {{"--placement", "nowhere"}, "--placement: "},
        {{"--placement", "4000"}, "--placement: "},
        {{"--collar", "20000"}, "--collar: "},
        {{"--no-such-option"}, "--no-such-option"},
    };
    for (const auto& [options, words] : cases) {
        Program program(options);
        EXPECT_EQ(program.end(), 2);
        const std::string err = program.err();
        EXPECT_NE(err.find(words), std::string::npos) << err;
    }
    Program unwritable({"--json", "/no/such/folder/x.json"});
    EXPECT_NE(unwritable.end(), 0);
}

TEST(Pipeline, HelpListsTheOptionsAndTheExitCodes) {
    Program program({"--help"});
    EXPECT_EQ(program.end(), 0);
    for (const char* word : {"--input", "--speed", "--strategies", "--placement", "--json",
                             "--journal", "--seed", "--hgrm", "--kill-after", "Exit codes:"}) {
        EXPECT_NE(program.out().find(word), std::string::npos) << word;
    }
}

json spot_figures() {
    return {{"file", test::kSpot},
            {"messages", 41'249},
            {"counts",
             {{"depth", 3'451},
              {"bookTicker", 28'040},
              {"trade", 9'757},
              {"snapshot", 1},
              {"other", 0},
              {"malformed", 0}}},
            {"level_updates", 126'073},
            {"sequence_gaps", 0},
            {"top_agree", 3'432},
            {"top_differ", 0},
            {"best_bid", "61685.99000000"},
            {"best_ask", "61686.00000000"},
            {"bid_levels", 1'209},
            {"ask_levels", 2'196},
            {"bid_quantity", "3087.28043"},
            {"ask_quantity", "3071.44102"},
            {"traded_quantity", "212.03315"}};
}

json usdm_figures() {
    return {{"file", test::kUsdm},
            {"messages", 93'954},
            {"counts",
             {{"depth", 6'551},
              {"bookTicker", 66'089},
              {"trade", 21'313},
              {"snapshot", 1},
              {"other", 0},
              {"malformed", 0}}},
            {"level_updates", 445'262},
            {"sequence_gaps", 0},
            {"top_agree", 6'270},
            {"top_differ", 29},
            {"best_bid", "61659.70"},
            {"best_ask", "61659.80"},
            {"bid_levels", 5'018},
            {"ask_levels", 4'578},
            {"bid_quantity", "9457.538"},
            {"ask_quantity", "8813.296"},
            {"traded_quantity", "2429.366"}};
}

class Captures : public testing::Test {
 protected:
    void SetUp() override {
        if (!test::have_captures()) {
            GTEST_SKIP() << test::kNoCaptures;
        }
    }
    const Options spot{"--input", (test::data_folder() / test::kSpot).string()};
    const Options usdm{"--input", (test::data_folder() / test::kUsdm).string()};
};

TEST_F(Captures, EachAloneGivesItsFigures) {
    for (const auto& [input, figures] :
         {std::pair(spot, spot_figures()), std::pair(usdm, usdm_figures())}) {
        Program program(input);
        ASSERT_EQ(program.end(), 0) << program.err();
        EXPECT_EQ(program.json()["inputs"], json::array({figures}));
        expect_nothing_lost(program, 2);
        EXPECT_GT(number(program.json()["orders"]["sent"]), 1'000U);
    }
}

TEST_F(Captures, TogetherTheyGiveTheSameFiguresWithAnyNumberOfStrategies) {
    for (const std::size_t strategies : {1U, 2U, 5U}) {
        Program program(spot + usdm + Options{"--strategies", std::to_string(strategies)});
        ASSERT_EQ(program.end(), 0) << program.err();
        EXPECT_EQ(program.json()["inputs"], json::array({spot_figures(), usdm_figures()}));
        expect_nothing_lost(program, strategies);
    }
}

TEST_F(Captures, APacedRunGivesTheSameFigures) {
    Program program(usdm + spot + Options{"--speed", "50"});
    ASSERT_EQ(program.end(), 0) << program.err();
    EXPECT_EQ(program.json()["inputs"], json::array({usdm_figures(), spot_figures()}));
    EXPECT_GE(program.json()["elapsed_s"].get<double>(), 344.0 / 50);
    expect_nothing_lost(program, 2);
}

}  // namespace
}  // namespace sluice::pipeline
