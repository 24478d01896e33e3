// sluice: looks at, watches and cleans what the programs of the library share; and at the machine
// they run on. Reads the command line; each subcommand has its file.
#include <CLI/CLI.hpp>
#include <exception>
#include <sluice/error.hpp>
#include <system_error>

#include "command.hpp"

namespace {

using namespace sluice::tool;

constexpr const char* kDescription =
    "Looks at what programs share through Sluice, watches it, cleans up after them; and looks at "
    "the machine they run on.";

constexpr const char* kFooter =
    "sluice COMMAND --help tells more, with an example.\n"
    "stdout is data, stderr is talk. Colours: only on a terminal, and not where NO_COLOR is set.\n"
    "Exit codes: 0 good; 1 something to mend was found or left, or nothing came; 2 wrong usage;\n"
    "3 no such object; 4 not a segment, damaged, another type, or not permitted; 5 the system "
    "refused.";

}  // namespace

int main(int argc, char** argv) {
    CLI::App app(kDescription, "sluice");
    app.footer(kFooter);
    app.set_version_flag("--version", "sluice " SLUICE_VERSION);
    app.require_subcommand(1);
    int exit_code = kGood;
    add_ls(app, exit_code);
    add_info(app, exit_code);
    add_top(app, exit_code);
    add_clean(app, exit_code);
    add_tap(app, exit_code);
    add_put(app, exit_code);
    add_get(app, exit_code);
    add_topo(app, exit_code);
    add_plan(app, exit_code);
    add_c2c(app, exit_code);
    add_jitter(app, exit_code);
    add_doctor(app, exit_code);
    add_bench(app, exit_code);
    add_completion(app, exit_code);
    try {
        app.parse(argc, argv);
        return exit_code;
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {  // --help, --version
            return app.exit(error);
        }
        fmt::print(stderr, "sluice: {}\nTry: sluice --help\n", error.what());
        return kUsage;
    } catch (const CommandError& error) {
        fmt::print(stderr, "sluice: {}\n", error.what());
        return error.code();
    } catch (const sluice::Error& error) {
        fmt::print(stderr, "sluice: {}\n", error.what());
        return kNotOurs;
    } catch (const std::exception& error) {
        fmt::print(stderr, "sluice: {}\n", error.what());
        return kRefused;
    }
}
