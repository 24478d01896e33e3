// Plots as SVG text: horizontal bars with their spread, and lines. Colours come from the page's
// style sheet, by class: s0 is ours, s1, s2, ... are the others, limit is the limit.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::tool {

enum class Scale : unsigned char { linear, log };

/// One bar: a median, and the spread that nine of ten blocks are within.
struct Bar {
    std::string label{};
    std::string css_class{};
    double value{};
    double low{};
    double high{};
};

struct BarPlot {
    std::string title{};
    std::string unit{};
    Scale scale{};
    std::vector<Bar> bars{};
};

struct Line {
    std::string label{};
    std::string css_class{};
    std::vector<std::pair<double, double>> points{};
};

/// A tick of the x axis, where its positions mean something to people.
struct Tick {
    double at{};
    std::string label{};
};

struct LinePlot {
    std::string title{};
    std::string x_title{};
    std::string y_title{};
    Scale x_scale{};
    Scale y_scale{};
    std::vector<Tick> x_ticks{};
    std::vector<Line> lines{};
};

/// Empty where there is nothing that can be drawn: values that are no numbers, or, on a log
/// scale, not above 0, are left out.
std::string to_svg(const BarPlot& plot);
std::string to_svg(const LinePlot& plot);

/// Text in HTML and SVG.
std::string escaped(std::string_view text);

}  // namespace sluice::tool
