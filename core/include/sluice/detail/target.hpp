// A Process's target with its arguments, of any types: called in a child made by fork, which has a
// copy of it, or packed into a parcel and made anew in a spawned one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "sluice/detail/callable.hpp"
#include "sluice/detail/parcel.hpp"
#include "sluice/detail/type_name.hpp"
#include "sluice/hand_over.hpp"

namespace sluice::detail {

class Target {
 public:
    Target() = default;
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;
    virtual ~Target() = default;

    // Around the start: see hand_over.hpp.
    virtual void prepare() = 0;
    virtual void cancel() noexcept = 0;
    virtual void finish(pid_t child) noexcept = 0;
    virtual void adopt() = 0;
    virtual void call() = 0;

    /// Packs the target and its arguments for a spawned child.
    /// Errors: NotPermitted, where one of them cannot travel; it says which and why.
    virtual void pack(Parcel& parcel) const = 0;
};

/// Makes the target again out of what pack() packed. The parcel names the function that does it by
/// its place in the image.
using Unpacker = std::unique_ptr<Target> (*)(Unparcel& parcel);
std::unique_ptr<Target> unpack_target(Unparcel& parcel);

[[noreturn]] void refuse_to_spawn_target(std::string_view type);
[[noreturn]] void refuse_to_spawn_argument(std::size_t number, std::string_view type);

/// Whether the target can be made again in a fresh image.
template <class F>
consteval bool target_travels() {
    if constexpr (is_function_pointer<F> || is_stateless<F>) {
        return true;
    } else {
        return travels<F>();  // a function object whose members obey the rule for values
    }
}

/// `kTravels` is worked out by whoever makes the target, and is part of its type: what a file knows
/// how to pack depends on whether it includes sluice/msgpack.hpp, and the linker must not take one
/// file's functions for another's.
template <bool kTravels, class F, class... Args>
class BoundTarget final : public Target {
 public:
    explicit BoundTarget(F target, Args... arguments)
        : target_(std::move(target)), arguments_(std::move(arguments)...) {}

    void prepare() override { prepare_hand_over(arguments_); }
    void cancel() noexcept override { cancel_hand_over(arguments_); }
    void finish(pid_t child) noexcept override { finish_hand_over(arguments_, child); }
    void adopt() override { detail::adopt(arguments_); }
    void call() override {
        if constexpr (std::invocable<F, Args...>) {
            std::apply(
                [this](Args&... arguments) {
                    std::invoke(std::move(target_), std::move(arguments)...);
                },
                arguments_);
        } else {  // the target takes an argument by reference: the child's own copy
            std::apply([this](Args&... arguments) { std::invoke(target_, arguments...); },
                       arguments_);
        }
    }

    void pack(Parcel& parcel) const override {
        if constexpr (kTravels) {
            parcel.put_function(reinterpret_cast<std::uintptr_t>(&unpack));
            if constexpr (is_function_pointer<F>) {
                parcel.put_function(reinterpret_cast<std::uintptr_t>(target_));
            } else if constexpr (!is_stateless<F>) {
                pack_travelling(target_, parcel);
            }
            std::apply([&](const Args&... arguments) { (pack_travelling(arguments, parcel), ...); },
                       arguments_);
        } else if constexpr (!target_travels<F>()) {
            refuse_to_spawn_target(type_name<F>);
        } else {
            std::size_t number = 0;
            ((++number,
              travels<Args>() ? void() : refuse_to_spawn_argument(number, type_name<Args>)),
             ...);
        }
    }

 private:
    static std::unique_ptr<Target> unpack(Unparcel& parcel) {
        // In braces from left to right, as they were packed.
        Remade remade{unpack_function(parcel), {unpack_travelling<Args>(parcel)...}};
        return std::apply(
            [&remade](Args&... arguments) {
                return std::make_unique<BoundTarget>(std::move(remade.target),
                                                     std::move(arguments)...);
            },
            remade.arguments);
    }
    struct Remade {
        F target;
        std::tuple<Args...> arguments;
    };
    static F unpack_function(Unparcel& parcel) {
        if constexpr (is_function_pointer<F>) {
            return reinterpret_cast<F>(parcel.take_function());
        } else if constexpr (is_stateless<F>) {
            return F();
        } else {
            return unpack_travelling<F>(parcel);
        }
    }

    F target_;
    std::tuple<Args...> arguments_;
};

template <class F, class... Args>
inline constexpr bool can_spawn = target_travels<F>() && (travels<Args>() && ...);

}  // namespace sluice::detail
