// A point on CLOCK_MONOTONIC until which an operation may wait. Absolute, so that
// EINTR, spurious wake-ups and chunked sleeps need no arithmetic, and monotonic, so
// that a step of the wall clock does no harm.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>
#include <limits>

namespace sluice::shm {

/// Nanoseconds on CLOCK_MONOTONIC, the clock that futexes use for absolute time-outs.
inline std::int64_t monotonic_now_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

/// Until when to wait. Units: nanoseconds on CLOCK_MONOTONIC.
class Deadline {
 public:
    /// Waits for ever.
    static constexpr Deadline never() noexcept { return Deadline{kNever}; }

    /// Has already passed: the operation tries once.
    static constexpr Deadline passed() noexcept { return Deadline{0}; }

    /// `duration` from now; a duration that would overflow means never, a negative one has passed.
    template <class Rep, class Period>
    static Deadline after(std::chrono::duration<Rep, Period> duration) noexcept {
        // In long double first: hours::max() in integral nanoseconds would overflow.
        // The comparison is written so that a NaN counts as passed.
        const auto ns = std::chrono::duration<long double, std::nano>(duration).count();
        if (!(ns > 0)) {
            return passed();
        }
        const std::int64_t now = monotonic_now_ns();
        if (ns >= static_cast<long double>(kNever - now)) {
            return never();
        }
        // Rounded up: a wait of 1.5 ns must not end early.
        const auto whole = static_cast<std::int64_t>(ns);
        return Deadline{now + whole + (static_cast<long double>(whole) < ns ? 1 : 0)};
    }

    /// The same instant on another clock, translated once. steady_clock is CLOCK_MONOTONIC itself.
    template <class Clock, class Duration>
    static Deadline at(std::chrono::time_point<Clock, Duration> time) noexcept {
        return after(time - Clock::now());
    }

    constexpr bool is_never() const noexcept { return at_ns_ == kNever; }
    /// Was made by passed(): the operation tries once, without a look at the clock.
    constexpr bool is_passed() const noexcept { return at_ns_ == 0; }
    bool has_passed() const noexcept {
        return !is_never() && (at_ns_ == 0 || monotonic_now_ns() >= at_ns_);
    }
    constexpr std::int64_t at_ns() const noexcept { return at_ns_; }

    /// The earlier of this and `chunk_ns` from now: sleeps are chunked as a last
    /// resort against wake-ups that died with their sender.
    Deadline chunk(std::int64_t chunk_ns) const noexcept {
        const std::int64_t end = monotonic_now_ns() + chunk_ns;
        return Deadline{end < at_ns_ ? end : at_ns_};
    }

 private:
    static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
    explicit constexpr Deadline(std::int64_t at_ns) noexcept : at_ns_(at_ns) {}

    std::int64_t at_ns_;
};

}  // namespace sluice::shm
