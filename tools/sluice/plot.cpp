// Axes, ticks, bars and lines.
#include "plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace sluice::tool {
namespace {

/// From values to places on an axis.
class Axis {
 public:
    Axis(Scale scale, double low, double high, double from, double to)
        : scale_(scale), from_(from), to_(to) {
        if (scale == Scale::log) {
            low_ = std::floor(std::log10(low) * 3.0) / 3.0;
            high_ = std::ceil(std::log10(high) * 3.0) / 3.0;
        } else {
            low_ = std::min(low, 0.0);
            high_ = high;
        }
        if (!(high_ > low_)) {
            high_ = low_ + 1.0;
        }
    }
    double at(double value) const {
        const double place = scale_ == Scale::log ? std::log10(value) : value;
        return from_ + (place - low_) / (high_ - low_) * (to_ - from_);
    }
    /// Round numbers: 1, 2, 5 of each decade, or about five steps.
    std::vector<double> ticks() const {
        std::vector<double> ticks;
        const double decades = high_ - low_;
        if (scale_ == Scale::log) {
            for (double decade = std::floor(low_); decade <= high_; decade += 1.0) {
                for (const double step : {1.0, 2.0, 5.0}) {
                    const double place = decade + std::log10(step);
                    const bool fits = step == 1.0 || decades < 3.0;
                    if (fits && place >= low_ - 1e-9 && place <= high_ + 1e-9) {
                        ticks.push_back(step * std::pow(10.0, decade));
                    }
                }
            }
            return ticks;
        }
        const double raw = (high_ - low_) / 5.0;
        const double power = std::pow(10.0, std::floor(std::log10(raw)));
        double step = 10.0 * power;
        for (const double factor : {5.0, 2.0, 1.0}) {
            step = factor * power >= raw ? factor * power : step;
        }
        for (double tick = std::ceil(low_ / step) * step; tick <= high_ * (1 + 1e-9);
             tick += step) {
            ticks.push_back(tick);
        }
        return ticks;
    }

 private:
    Scale scale_;
    double low_{};
    double high_{};
    double from_;
    double to_;
};

std::string number(double value) {
    const double size = std::abs(value);
    if (size >= 1e6) {
        return fmt::format("{:.3g} M", value / 1e6);
    }
    if (size >= 1e4) {
        return fmt::format("{:.3g} k", value / 1e3);
    }
    return size >= 100 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

bool drawable(Scale scale, double value) {
    return std::isfinite(value) && (scale == Scale::linear || value > 0.0);
}

}  // namespace

std::string escaped(std::string_view text) {
    std::string result;
    for (const char letter : text) {
        switch (letter) {
            case '&':
                result += "&amp;";
                break;
            case '<':
                result += "&lt;";
                break;
            case '>':
                result += "&gt;";
                break;
            case '"':
                result += "&quot;";
                break;
            default:
                result += letter;
        }
    }
    return result;
}

std::string to_svg(const BarPlot& plot) {
    constexpr double kWidth = 720, kLeft = 210, kRight = 90, kRow = 26, kTop = 30, kFoot = 40;
    std::vector<Bar> bars;
    std::copy_if(plot.bars.begin(), plot.bars.end(), std::back_inserter(bars),
                 [&](const Bar& bar) { return drawable(plot.scale, bar.value); });
    if (bars.empty()) {
        return {};
    }
    double low = bars.front().value;
    double high = low;
    for (const Bar& bar : bars) {
        low = std::min({low, bar.value, drawable(plot.scale, bar.low) ? bar.low : bar.value});
        high = std::max({high, bar.value, std::isfinite(bar.high) ? bar.high : bar.value});
    }
    if (plot.scale == Scale::log) {
        low /= 2.0;  // the shortest bar has a length, too
    }
    const double bottom = kTop + kRow * static_cast<double>(bars.size());
    const Axis axis(plot.scale, low, high, kLeft, kWidth - kRight);
    std::string svg = fmt::format(
        R"(<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}"><text class="title" x="0" y="16">{}</text>)",
        kWidth, bottom + kFoot, escaped(plot.title), escaped(plot.title));
    for (const double tick : axis.ticks()) {
        svg += fmt::format(
            R"(<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/><text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>)",
            axis.at(tick), kTop, bottom, bottom + 14, number(tick));
    }
    double y = kTop;
    for (const Bar& bar : bars) {
        const double end = axis.at(bar.value);
        svg += fmt::format(
            R"(<text class="label {5}-label" x="{0}" y="{1:.1f}" text-anchor="end">{2}</text><rect class="bar {5}" x="{3}" y="{4:.1f}" width="{6:.1f}" height="16"/>)",
            kLeft - 8, y + 17, escaped(bar.label), kLeft, y + 5, bar.css_class,
            std::max(end - kLeft, 1.0));
        double after = end;
        if (drawable(plot.scale, bar.low) && std::isfinite(bar.high) && bar.high > bar.low) {
            after = std::max(after, axis.at(bar.high));
            svg += fmt::format(
                R"(<path class="spread" d="M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}v8M{1:.1f} {3:.1f}v8"/>)",
                axis.at(bar.low), axis.at(bar.high), y + 13, y + 9);
        }
        svg += fmt::format(R"(<text class="value" x="{:.1f}" y="{:.1f}">{}</text>)", after + 6,
                           y + 17, number(bar.value));
        y += kRow;
    }
    svg += fmt::format(R"(<text class="axis" x="{}" y="{}" text-anchor="end">{}</text></svg>)",
                       kWidth, bottom + 32, escaped(plot.unit));
    return svg;
}

std::string to_svg(const LinePlot& plot) {
    constexpr double kWidth = 720, kHeight = 300, kLeft = 60, kTop = 30, kFoot = 48;
    // The legend is as wide as its longest label: about so much a letter, of fonts of 12.
    constexpr double kLetter = 7.0, kRightMin = 190, kRightMax = 330, kBeforeLabel = 48;
    std::size_t letters = 0;
    for (const Line& line : plot.lines) {
        letters = std::max(letters, line.label.size());
    }
    const double right =
        std::clamp(kBeforeLabel + kLetter * static_cast<double>(letters), kRightMin, kRightMax);
    std::vector<Line> lines = plot.lines;
    double low[2] = {HUGE_VAL, HUGE_VAL};
    double high[2] = {-HUGE_VAL, -HUGE_VAL};
    for (Line& line : lines) {
        std::erase_if(line.points, [&](const auto& point) {
            return !drawable(plot.x_scale, point.first) || !drawable(plot.y_scale, point.second);
        });
        for (const auto& [x, y] : line.points) {
            low[0] = std::min(low[0], x);
            high[0] = std::max(high[0], x);
            low[1] = std::min(low[1], y);
            high[1] = std::max(high[1], y);
        }
    }
    std::erase_if(lines, [](const Line& line) { return line.points.empty(); });
    if (lines.empty()) {
        return {};
    }
    const double bottom = kHeight - kFoot;
    const Axis across(plot.x_scale, low[0], high[0], kLeft, kWidth - right);
    const Axis up(plot.y_scale, low[1], high[1], bottom, kTop);
    std::string svg = fmt::format(
        R"(<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}"><text class="title" x="0" y="16">{}</text>)",
        kWidth, kHeight, escaped(plot.title), escaped(plot.title));
    for (const double tick : up.ticks()) {
        svg += fmt::format(
            R"(<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/><text class="tick" x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>)",
            kLeft, kWidth - right, up.at(tick), kLeft - 6, up.at(tick) + 4, number(tick));
    }
    std::vector<Tick> ticks = plot.x_ticks;
    if (ticks.empty()) {
        for (const double tick : across.ticks()) {
            ticks.push_back({tick, number(tick)});
        }
    }
    for (const Tick& tick : ticks) {
        if (tick.at >= low[0] * (1 - 1e-9) && tick.at <= high[0] * (1 + 1e-9)) {
            svg += fmt::format(
                R"(<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/><text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>)",
                across.at(tick.at), kTop, bottom, bottom + 16, escaped(tick.label));
        }
    }
    svg += fmt::format(
        R"(<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text><text class="axis" x="{}" y="{}">{}</text>)",
        (kLeft + kWidth - right) / 2, kHeight - 10, escaped(plot.x_title), kWidth - right + 12,
        kTop + 4, escaped(plot.y_title));
    double legend = kTop + 24;
    for (const Line& line : lines) {
        std::string path;
        std::string dots;
        for (const auto& [x, y] : line.points) {
            path +=
                fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", across.at(x), up.at(y));
            dots += fmt::format(R"(<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>)",
                                line.css_class, across.at(x), up.at(y));
        }
        svg += fmt::format(
            R"(<path class="line {0}" d="{1}"/>{2}<line class="line {0}" x1="{3}" x2="{4}" y1="{5}" y2="{5}"/><text class="label {0}-label" x="{6}" y="{7}">{8}</text>)",
            line.css_class, path, dots, kWidth - right + 12, kWidth - right + 34, legend,
            kWidth - right + 40, legend + 4, escaped(line.label));
        legend += 20;
    }
    return svg + "</svg>";
}

}  // namespace sluice::tool
