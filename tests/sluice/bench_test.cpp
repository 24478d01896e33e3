// sluice bench: the page that it makes of results, and the programs that it runs for them.
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>

#include "sluice/run.hpp"

namespace sluice::tool::test {
namespace {

namespace fs = std::filesystem;

class Bench : public testing::Test {
 protected:
    Bench() {
        std::string name = (fs::temp_directory_path() / "sluice-bench-test.XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("mkdtemp");
        }
        folder = name;
    }
    ~Bench() override { fs::remove_all(folder); }

    std::string path(const std::string& name) const { return (folder / name).string(); }
    static std::string text_of(const std::string& file) {
        std::ifstream stream(file, std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), {}};
    }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(path(name), std::ios::binary) << text;
    }
    /// A program that leaves the results of another day, as the benchmarks leave theirs.
    void write_program(const std::string& name) const {
        write(name, "#!/bin/sh\nwhile [ \"$1\" != --json ]; do shift; done\ncp " +
                        std::string(SLUICE_BENCH_RESULTS) + " \"$2\"\necho a table\nexit 1\n");
        ASSERT_EQ(chmod(path(name).c_str(), 0755), 0);
    }
    static std::size_t count(const std::string& text, const std::string& what) {
        std::size_t found = 0;
        for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; ++at) {
            ++found;
        }
        return found;
    }

    fs::path folder{};
};

TEST_F(Bench, DrawsResultsAsOnePageThatNeedsNothingElse) {
    const Ran ran =
        sluice_command({"bench", "--from", SLUICE_BENCH_RESULTS, "--out", path("a.html")});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.out, path("a.html") + "\n" + path("a.json") + "\n");
    const std::string page = text_of(path("a.html"));
    EXPECT_EQ(page.find("<!doctype html>"), 0U);
    // Each race has bars and percentiles, and one family goes over the size of a message.
    EXPECT_EQ(count(page, "<svg "), 3U + 3U + 1U);
    EXPECT_EQ(count(page, "Percentiles of single round trips</text>"), 3U);
    EXPECT_EQ(count(page, "Pipe_RoundTrip by size of a message</text>"), 1U);
    EXPECT_NE(page.find("boost spsc_queue"), page.npos);
    EXPECT_EQ(page.find("nan"), page.npos);
    EXPECT_FALSE(std::regex_search(page, std::regex("(src|href)=\"(?!data:)"))) << "it fetches";
    // What it was made from can be drawn again.
    const Ran again = sluice_command({"bench", "--from", path("a.json"), "--out", path("b.html")});
    EXPECT_EQ(again.code, 0) << again.err;
    EXPECT_EQ(text_of(path("b.html")), page);
}

TEST_F(Bench, WritesEachPlotAsAPictureThatNeedsNoPage) {
    const Ran ran = sluice_command({"bench", "--from", SLUICE_BENCH_RESULTS, "--out",
                                    path("a.html"), "--pictures", path("pictures")});
    EXPECT_EQ(ran.code, 0) << ran.err;
    std::size_t pictures = 0;
    for (const auto& entry : fs::directory_iterator(folder / "pictures")) {
        const std::string svg = text_of(entry.path().string());
        EXPECT_TRUE(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ")) << entry;
        EXPECT_TRUE(svg.ends_with("</svg>\n")) << entry;
        EXPECT_NE(svg.find("--ours:"), svg.npos) << "without colours";
        EXPECT_EQ(svg.find("margin:"), svg.npos) << "it is moved out of its own frame";
        ++pictures;
    }
    EXPECT_EQ(pictures, 3U + 3U + 1U);
    EXPECT_TRUE(fs::exists(folder / "pictures/Pipe_RoundTrip-by-payload_bytes.svg"));
}

TEST_F(Bench, RunsTheProgramsAndSaysWhereThePageIs) {
    write_program("one_bench");
    write_program("two_bench");
    write_program("harness_bench");
    write("three_bench", "no program");
    const Ran ran = sluice_command(
        {"bench", "--programs", folder.string(), "--quick", "--out", path("page.html"), "--json"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.json().at("runs"), 2);
    EXPECT_EQ(ran.json().at("page"), path("page.html"));
    EXPECT_NE(ran.err.find("a table"), ran.err.npos) << "the programs' tables are talk";
    EXPECT_EQ(nlohmann::json::parse(text_of(path("page.json"))).size(), 2U);
}

TEST_F(Bench, ChoosesProgramsByName) {
    write_program("one_bench");
    write_program("two_bench");
    const Ran ran = sluice_command({"bench", "--programs", folder.string(), "--only", "^tw",
                                    "--out", path("page.html"), "--json"});
    EXPECT_EQ(ran.json().at("runs"), 1);
    const Ran none = sluice_command({"bench", "--programs", folder.string(), "--only", "four"});
    EXPECT_EQ(none.code, 3);
    EXPECT_NE(none.err.find("no benchmark program that matches \"four\""), none.err.npos)
        << none.err;
}

TEST_F(Bench, SaysWhatIsNoResult) {
    write("bad.json", "{\"races\": 7");
    const Ran cut = sluice_command({"bench", "--from", path("bad.json")});
    EXPECT_EQ(cut.code, 4);
    EXPECT_NE(cut.err.find("bad.json: not a benchmark's JSON"), cut.err.npos) << cut.err;
    write("other.json", "{\"races\": 7}");
    EXPECT_EQ(sluice_command({"bench", "--from", path("other.json")}).code, 4);
    write_program("one_bench");
    EXPECT_EQ(
        sluice_command({"bench", "--programs", folder.string(), "--out", "/no/such/folder/a"}).code,
        5);
}

TEST_F(Bench, OpensInABrowserWithoutErrors) {
    const std::string chromium = SLUICE_CHROMIUM;
    if (chromium.empty()) {
        GTEST_SKIP() << "no chromium: run tools/setup --test";
    }
    ASSERT_EQ(
        sluice_command({"bench", "--from", SLUICE_BENCH_RESULTS, "--out", path("page.html")}).code,
        0);
    const std::string command =
        "timeout 120 " + chromium +
        " --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir=" +
        path("profile") + " --enable-logging=stderr --dump-dom file://" + path("page.html") +
        " > " + path("dom") + " 2> " + path("log");
    ASSERT_EQ(std::system(command.c_str()), 0) << text_of(path("log"));
    const std::string dom = text_of(path("dom"));
    EXPECT_EQ(count(dom, "<svg "), 7U);
    EXPECT_EQ(count(dom, "</svg>"), 7U);
    const std::string log = text_of(path("log"));
    EXPECT_EQ(log.find("CONSOLE"), log.npos) << log;
}

}  // namespace
}  // namespace sluice::tool::test
