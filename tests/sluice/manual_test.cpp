// The help, the manual page and the completion files say the same: all of it.
#include <regex>
#include <set>

#include "sluice/run.hpp"

namespace sluice::tool::test {
namespace {

std::vector<std::string> subcommands() {
    std::vector<std::string> names;
    bool listed = false;
    for (const std::string& line : sluice_command({"--help"}).lines()) {
        if (line == "Subcommands:") {
            listed = true;
        } else if (listed && line.starts_with("  ") && line.size() > 2 && line[2] != ' ') {
            names.push_back(line.substr(2, line.find(' ', 2) - 2));
        }
    }
    return names;
}

std::set<std::string> long_options(const std::string& help) {
    std::set<std::string> options;
    const std::regex option("(^|[ ,])(--[a-z0-9]+)");
    for (std::sregex_iterator match(help.begin(), help.end(), option), end; match != end; ++match) {
        options.insert((*match)[2]);
    }
    options.erase("--help");
    return options;
}

TEST(Help, EachSubcommandHasAnExampleAndJson) {
    const auto names = subcommands();
    ASSERT_GE(names.size(), 13U);
    for (const std::string& name : names) {
        const Ran ran = sluice_command({name, "--help"});
        EXPECT_EQ(ran.code, 0);
        EXPECT_TRUE(holds(ran.out, "Example: sluice " + name)) << ran.out;
        EXPECT_EQ(holds(ran.out, "--json"), name != "completion") << name;
    }
}

TEST(Help, GoesToStandardOutputAndMistakesToStandardError) {
    EXPECT_TRUE(sluice_command({"--help"}).err.empty());
    const Ran wrong = sluice_command({"ls", "--frobnicate"});
    EXPECT_EQ(wrong.code, 2);
    EXPECT_TRUE(wrong.out.empty());
    EXPECT_TRUE(holds(wrong.err, "--frobnicate")) << wrong.err;
    EXPECT_EQ(sluice_command({}).code, 2);
}

TEST(Manual, HasEverySubcommandAndEveryOption) {
    std::string page = read_file(SLUICE_MANUAL);
    ASSERT_FALSE(page.empty());
    page = std::regex_replace(page, std::regex("\\\\-"), "-");
    for (const std::string& name : subcommands()) {
        // From its heading to the next.
        const std::size_t begin = page.find("\n.SS " + name);
        ASSERT_NE(begin, std::string::npos) << "the manual page has no section on " << name;
        const std::string section = page.substr(begin, page.find("\n.S", begin + 1) - begin);
        const auto told = long_options(section);
        EXPECT_EQ(told, long_options(sluice_command({name, "--help"}).out)) << name;
    }
}

TEST(Completion, KnowsEverySubcommandAndEveryOption) {
    for (const std::string shell : {"bash", "zsh", "fish"}) {
        SCOPED_TRACE(shell);
        const Ran ran = sluice_command({"completion", shell});
        EXPECT_EQ(ran.code, 0);
        EXPECT_EQ(ran.out, read_file(SLUICE_COMPLETIONS "/sluice." + shell))
            << "the built file is another";
        for (const std::string& name : subcommands()) {
            EXPECT_TRUE(holds(ran.out, name)) << name;
            for (const std::string& option : long_options(sluice_command({name, "--help"}).out)) {
                EXPECT_TRUE(holds(ran.out, shell == "fish" ? "-l " + option.substr(2) : option))
                    << option;
            }
        }
    }
}

TEST(Completion, CompletesInBash) {
    const Ran ran = run({"bash", "-c",
                         "source " SLUICE_COMPLETIONS "/sluice.bash\n"
                         "COMP_WORDS=(sluice do) COMP_CWORD=1; _sluice; echo \"${COMPREPLY[@]}\"\n"
                         "COMP_WORDS=(sluice top --on) COMP_CWORD=2; _sluice; echo "
                         "\"${COMPREPLY[@]}\""});
    EXPECT_EQ(ran.out, "doctor\n--once\n") << ran.err;
}

}  // namespace
}  // namespace sluice::tool::test
