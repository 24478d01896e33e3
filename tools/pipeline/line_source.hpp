// Where a feed's messages come from: a capture on disk, or the synthetic exchange.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::pipeline {

/// One message as it was received. The text is valid until the second call of next() after the one
/// that gave it, so a feed can look one message ahead; kPaddingBytes readable bytes follow it.
struct CapturedLine {
    std::int64_t receive_ns{};
    std::uint64_t number{};  // counted from 1
    std::string_view json{};
};

/// How much of a source has been read, in whatever unit it has.
struct SourceProgress {
    std::uint64_t done{};
    std::uint64_t total{};
};

class LineSource {
 public:
    LineSource() = default;
    LineSource(const LineSource&) = delete;
    LineSource& operator=(const LineSource&) = delete;
    virtual ~LineSource() = default;

    /// The next message, or nothing at the end.
    virtual std::optional<CapturedLine> next() = 0;
    [[nodiscard]] virtual SourceProgress progress() const = 0;
    /// Lines that could not be told to be messages at all.
    [[nodiscard]] virtual std::uint64_t bad_lines() const { return 0; }
    /// False if nothing could be read: the rest of the run goes on without this source.
    [[nodiscard]] virtual bool readable() const { return true; }
    /// True if what could be read ended before its proper end.
    [[nodiscard]] virtual bool cut_short() const { return false; }
};

}  // namespace sluice::pipeline
