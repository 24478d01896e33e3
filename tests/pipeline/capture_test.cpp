#include "pipeline/capture.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support.hpp"

namespace sluice::pipeline {
namespace {

struct Reading {
    std::vector<std::string> messages{};
    std::vector<std::int64_t> times{};
    std::vector<std::string> problems{};
    std::uint64_t bad_lines{};
    bool readable{};
    bool cut_short{};
};

Reading read(const std::string& path, CaptureOptions options = {}) {
    Reading result;
    CaptureReader sut(
        path, [&](const CaptureProblem& problem) { result.problems.push_back(problem.text); },
        options);
    while (const auto line = sut.next()) {
        result.messages.emplace_back(line->json);
        result.times.push_back(line->receive_ns);
    }
    result.bad_lines = sut.bad_lines();
    result.readable = sut.readable();
    result.cut_short = sut.cut_short();
    return result;
}

TEST(CaptureReader, ReadsTimeAndMessageOfEachLine) {
    const test::Folder folder;
    test::write_gzip(folder / "a.gz", "17 {\"a\":1}\r\n18 {}\n19 {\"last\":\"without newline\"}");
    const Reading reading = read(folder / "a.gz");
    EXPECT_EQ(reading.messages,
              (std::vector<std::string>{"{\"a\":1}", "{}", "{\"last\":\"without newline\"}"}));
    EXPECT_EQ(reading.times, (std::vector<std::int64_t>{17, 18, 19}));
    EXPECT_TRUE(reading.problems.empty());
    EXPECT_TRUE(reading.readable);
}

TEST(CaptureReader, ReadsPlainText) {
    const test::Folder folder;
    std::ofstream(folder / "a.txt") << "17 {}\n";
    EXPECT_EQ(read(folder / "a.txt").messages.size(), 1U);
}

TEST(CaptureReader, KeepsALineWholeWhileTheNextIsLookedAt) {
    const test::Folder folder;
    std::string text;
    for (int i = 0; i < 1'000; ++i) {
        text += "17 {\"number\":" + std::to_string(i) + ",\"text\":\"" +
                std::string(static_cast<std::size_t>(i), 'x') + "\"}\n";
    }
    test::write_gzip(folder / "a.gz", text);
    CaptureReader sut(folder / "a.gz",
                      [](const CaptureProblem& problem) { ADD_FAILURE() << problem.text; });
    auto line = sut.next();
    for (int i = 0; i < 1'000; ++i) {
        const auto next = sut.next();
        ASSERT_TRUE(line.has_value());
        EXPECT_TRUE(line->json.starts_with("{\"number\":" + std::to_string(i) + ","));
        EXPECT_EQ(line->number, static_cast<std::uint64_t>(i) + 1);
        line = next;
    }
    EXPECT_FALSE(line.has_value());
}

TEST(CaptureReader, NamesTheLineThatHasNoTimeAndGoesOn) {
    const test::Folder folder;
    test::write_gzip(folder / "a.gz", "17 {}\n{\"no\":\"time\"}\n\n18x {}\n19 {}\n");
    const Reading reading = read(folder / "a.gz");
    EXPECT_EQ(reading.messages.size(), 2U);
    EXPECT_EQ(reading.bad_lines, 3U);
    ASSERT_EQ(reading.problems.size(), 3U);
    EXPECT_EQ(reading.problems[0],
              (folder / "a.gz") + ", line 2: has no receive time in front of its message");
    EXPECT_EQ(reading.problems[1], (folder / "a.gz") + ", line 3: is empty");
}

TEST(CaptureReader, SkipsALineThatIsTooLong) {
    const test::Folder folder;
    test::write_gzip(folder / "a.gz", "17 {}\n18 \"" + std::string(1'000'000, 'x') + "\"\n19 {}\n");
    const Reading reading = read(folder / "a.gz", {.line_bytes_max = 1'000});
    EXPECT_EQ(reading.messages.size(), 2U);
    EXPECT_EQ(reading.bad_lines, 1U);
    EXPECT_EQ(reading.problems.at(0), (folder / "a.gz") + ", line 2: is longer than 1000 bytes");
}

TEST(CaptureReader, ReadsWhatIsThereOfATruncatedFile) {
    const test::Folder folder;
    std::string text;
    for (int i = 0; i < 20'000; ++i) {
        text += std::to_string(i * 7'919 % 100'003) + " {\"number\":" + std::to_string(i) + "}\n";
    }
    test::write_gzip(folder / "a.gz", text);
    std::filesystem::resize_file(folder / "a.gz", std::filesystem::file_size(folder / "a.gz") / 2);
    const Reading reading = read(folder / "a.gz");
    EXPECT_GT(reading.messages.size(), 1'000U);
    EXPECT_LT(reading.messages.size(), 20'000U);
    EXPECT_TRUE(reading.cut_short);
    EXPECT_TRUE(reading.readable);
    ASSERT_FALSE(reading.problems.empty());
    EXPECT_NE(reading.problems[0].find("the gzip file is truncated after line"), std::string::npos);
}

TEST(CaptureReader, ReadsWhatIsBeforeTheDamage) {
    const test::Folder folder;
    std::string text;
    for (int i = 0; i < 50'000; ++i) {
        text += std::to_string(i * 7'919 % 100'003) + " {\"number\":" + std::to_string(i) + "}\n";
    }
    test::write_gzip(folder / "a.gz", text);
    std::string bytes = test::read_file(folder / "a.gz");
    for (std::size_t i = bytes.size() / 2; i < bytes.size() / 2 + 64; ++i) {
        bytes[i] = '\xff';
    }
    std::ofstream(folder / "a.gz", std::ios::binary) << bytes;
    const Reading reading = read(folder / "a.gz");
    EXPECT_GT(reading.messages.size(), 0U);
    EXPECT_TRUE(reading.cut_short);
    EXPECT_NE(reading.problems.back().find("damaged"), std::string::npos)
        << reading.problems.back();
}

TEST(CaptureReader, SaysWhyAFileCannotBeRead) {
    const test::Folder folder;
    const Reading missing = read(folder / "none.gz");
    EXPECT_FALSE(missing.readable);
    EXPECT_EQ(missing.problems.at(0),
              (folder / "none.gz") + ": cannot be opened: No such file or directory");

    std::ofstream(folder / "picture.gz") << "\x89PNG and so on";
    const Reading foreign = read(folder / "picture.gz");
    EXPECT_FALSE(foreign.readable);
    EXPECT_EQ(foreign.problems.at(0),
              (folder / "picture.gz") + ": is neither a gzip file nor a capture in plain text");

    std::filesystem::create_directory(folder / "folder.gz");
    EXPECT_FALSE(read(folder / "folder.gz").readable);

    std::ofstream(folder / "empty.gz").flush();
    EXPECT_EQ(read(folder / "empty.gz").problems.at(0), (folder / "empty.gz") + ": is empty");
}

}  // namespace
}  // namespace sluice::pipeline
