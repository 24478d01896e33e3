// The name of a type as text that g++ and clang++ agree on. Level 0 of core.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace sluice::detail {

template <class T>
consteval auto spelled_name() {
    constexpr std::string_view function{__PRETTY_FUNCTION__};
    constexpr std::string_view marker{"T = "};
    constexpr std::size_t begin = function.find(marker) + marker.size();
    return function.substr(begin, function.size() - begin - 1);
}

template <std::size_t N>
struct NameBuffer {
    std::array<char, N> text{};
    std::size_t size{0};
};

// Leaves out what the compilers spell differently: template arguments (3 or 3u, unsigned long or
// long unsigned int), inline namespaces of the library, the function that a local class belongs to,
// and the name of a namespace without name.
template <std::size_t N>
consteval NameBuffer<N> normalised(std::string_view spelled) {
    constexpr std::string_view kFunctionEnd{")::"};
    constexpr std::string_view kNoName{"(anonymous namespace)"};
    constexpr std::array<std::string_view, 6> kDropped{
        "{anonymous}::", "(anonymous namespace)::", "__cxx11::", "__1::", "__debug::", "_V2::"};
    for (std::size_t end = spelled.rfind(kFunctionEnd); end != std::string_view::npos && end != 0;
         end = spelled.rfind(kFunctionEnd, end - 1)) {
        const std::string_view head = spelled.substr(0, end + 1);
        if (!head.ends_with(kNoName)) {
            spelled.remove_prefix(end + kFunctionEnd.size());
            break;
        }
    }
    NameBuffer<N> name;
    std::size_t depth = 0;
    for (std::size_t i = 0; i < spelled.size(); ++i) {
        bool dropped = false;
        for (const std::string_view word : kDropped) {
            if ((i == 0 || spelled[i - 1] == ':') && spelled.substr(i).starts_with(word)) {
                i += word.size() - 1;
                dropped = true;
                break;
            }
        }
        if (dropped) {
            continue;
        }
        const char c = spelled[i];
        if (c == '<') {
            ++depth;
        } else if (c == '>') {
            --depth;
        } else if (depth == 0) {
            name.text[name.size++] = c;
        }
    }
    return name;
}

template <class T>
inline constexpr auto name_buffer = normalised<spelled_name<T>().size()>(spelled_name<T>());

/// The qualified name of a class or enumeration without template arguments: "std::vector",
/// "my::Order".
template <class T>
inline constexpr std::string_view type_name{name_buffer<T>.text.data(), name_buffer<T>.size};

}  // namespace sluice::detail
