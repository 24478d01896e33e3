// sluice completion: the files that make a shell complete subcommands, options and names. Made from
// the commands themselves, so they cannot fall behind.
#include <CLI/CLI.hpp>

#include "command.hpp"

namespace sluice::tool {
namespace {

std::vector<std::string> options_of(const CLI::App& command) {
    std::vector<std::string> words;
    for (const CLI::Option* option : command.get_options()) {
        for (const std::string& name : option->get_lnames()) {
            words.push_back("--" + name);
        }
        for (const std::string& name : option->get_snames()) {
            words.push_back("-" + name);
        }
    }
    return words;
}

bool takes_a_name(const CLI::App& command) {
    const auto options = command.get_options([](const CLI::Option* option) {
        return option->get_positional() && option->get_name(true) == "name";
    });
    return !options.empty();
}

std::vector<const CLI::App*> shown_commands(const CLI::App& app) {
    std::vector<const CLI::App*> commands;
    for (const CLI::App* command : app.get_subcommands({})) {
        if (!command->get_group().empty()) {
            commands.push_back(command);
        }
    }
    return commands;
}

constexpr const char* kNames =
    R"(for file in /dev/shm/sluice.*; do [ -e "$file" ] && echo "${file#/dev/shm/sluice.}"; done)";

std::string first_sentence(const std::string& text) {
    std::string sentence = text.substr(0, text.find_first_of(":.;,"));
    std::erase(sentence, '\'');
    return sentence;
}

void print_bash(const CLI::App& app) {
    std::string names;
    for (const CLI::App* command : shown_commands(app)) {
        names += (names.empty() ? "" : " ") + command->get_name();
    }
    fmt::print(
        "# bash completion for sluice, made by `sluice completion bash`\n"
        "_sluice_names() {{\n    {}\n}}\n"
        "_sluice() {{\n"
        "    local word=${{COMP_WORDS[COMP_CWORD]}} words=\n"
        "    if ((COMP_CWORD == 1)); then\n"
        "        words=\"{} --help --version\"\n"
        "    else\n"
        "        case ${{COMP_WORDS[1]}} in\n",
        kNames, names);
    for (const CLI::App* command : shown_commands(app)) {
        fmt::print("            {}) words=\"{}\"", command->get_name(),
                   fmt::join(options_of(*command), " "));
        fmt::print("{} ;;\n", takes_a_name(*command) ? "; words+=\" $(_sluice_names)\"" : "");
    }
    fmt::print(
        "        esac\n    fi\n"
        "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
        "}}\ncomplete -F _sluice sluice\n");
}

void print_zsh(const CLI::App& app) {
    fmt::print(
        "#compdef sluice\n# zsh completion for sluice, made by `sluice completion zsh`\n"
        "_sluice() {{\n    local -a commands names words\n    commands=(\n");
    for (const CLI::App* command : shown_commands(app)) {
        fmt::print("        '{}:{}'\n", command->get_name(),
                   first_sentence(command->get_description()));
    }
    fmt::print(
        "    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n"
        "        return\n    fi\n    case $words[2] in\n");
    for (const CLI::App* command : shown_commands(app)) {
        fmt::print("        {}) compadd -- {}", command->get_name(),
                   fmt::join(options_of(*command), " "));
        fmt::print("{} ;;\n", takes_a_name(*command)
                                  ? "; names=($(" + std::string(kNames) + ")); compadd -- $names"
                                  : "");
    }
    fmt::print("    esac\n}}\n_sluice \"$@\"\n");
}

void print_fish(const CLI::App& app) {
    fmt::print(
        "# fish completion for sluice, made by `sluice completion fish`\n"
        "complete -c sluice -f\n");
    for (const CLI::App* command : shown_commands(app)) {
        fmt::print("complete -c sluice -n __fish_use_subcommand -a {} -d '{}'\n",
                   command->get_name(), first_sentence(command->get_description()));
        for (const CLI::Option* option : command->get_options()) {
            for (const std::string& name : option->get_lnames()) {
                fmt::print("complete -c sluice -n '__fish_seen_subcommand_from {}' -l {} -d '{}'\n",
                           command->get_name(), name, first_sentence(option->get_description()));
            }
        }
        if (takes_a_name(*command)) {
            fmt::print(
                "complete -c sluice -n '__fish_seen_subcommand_from {}' -a "
                "'(path basename /dev/shm/sluice.* | string replace sluice. \"\")'\n",
                command->get_name());
        }
    }
}

}  // namespace

void add_completion(CLI::App& app, int& exit_code) {
    auto shell = std::make_shared<std::string>();
    Command command = add_command(app, "completion", "Writes the completion file of a shell",
                                  "sluice completion bash > sluice.bash");
    command.add_option("shell", *shell, "bash, zsh or fish")
        .required()
        .one_of({"bash", "zsh", "fish"});
    command.callback([shell, &app, &exit_code] {
        if (*shell == "bash") {
            print_bash(app);
        } else if (*shell == "zsh") {
            print_zsh(app);
        } else {
            print_fish(app);
        }
        exit_code = kGood;
    });
}

}  // namespace sluice::tool
