// How an argument learns that it is being passed to another process. A Connection has one owner, so
// its end must change hands at start(); most types need nothing. pipe.hpp specialises HandOver and
// needs no more of Process than this.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace sluice::detail {

/// What is done with an argument of type T around the fork. Specialise it for a type whose
/// ownership moves.
///
/// prepare  in the parent, before the fork; may throw, then nothing was prepared
/// cancel   in the parent, when the fork failed or a later argument's prepare threw
/// finish   in the parent, after the fork, with the child's pid; its own copy is destroyed next.
/// The
///          child already runs: finish may come before or after adopt
/// adopt    in the child, before the target; may throw, which ends the child like a throwing target
template <class T>
struct HandOver {
    static void prepare(T&) {}
    static void cancel(T&) noexcept {}
    static void finish(T&, pid_t) noexcept {}
    static void adopt(T&) {}
};

template <class T>
inline constexpr bool kIsVector = false;
template <class T, class Allocator>
inline constexpr bool kIsVector<std::vector<T, Allocator>> = !std::is_same_v<T, bool>;
template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
inline constexpr bool kIsTupleLike = false;
template <class... Ts>
inline constexpr bool kIsTupleLike<std::tuple<Ts...>> = true;
template <class First, class Second>
inline constexpr bool kIsTupleLike<std::pair<First, Second>> = true;
template <class T, std::size_t N>
inline constexpr bool kIsTupleLike<std::array<T, N>> = true;

/// Visits the value, or what is in it where it is a vector, optional, tuple, pair or array: a
/// vector of connections is handed over connection by connection.
template <class T, class Visit>
void visit_handed_over(T& value, Visit& visit) {
    if constexpr (kIsVector<T>) {
        for (auto& element : value) {
            visit_handed_over(element, visit);
        }
    } else if constexpr (kIsOptional<T>) {
        if (value) {
            visit_handed_over(*value, visit);
        }
    } else if constexpr (kIsTupleLike<T>) {
        std::apply([&visit](auto&... elements) { (visit_handed_over(elements, visit), ...); },
                   value);
    } else {
        visit(value);
    }
}

template <class T>
void cancel_hand_over(T& value) noexcept {
    auto cancel = []<class Leaf>(Leaf& leaf) { HandOver<Leaf>::cancel(leaf); };
    visit_handed_over(value, cancel);
}

/// All or nothing: if one prepare throws, those before it are cancelled.
template <class T>
void prepare_hand_over(T& value) {
    std::size_t prepared = 0;
    auto prepare = [&prepared]<class Leaf>(Leaf& leaf) {
        HandOver<Leaf>::prepare(leaf);
        ++prepared;
    };
    try {
        visit_handed_over(value, prepare);
    } catch (...) {
        auto cancel = [&prepared]<class Leaf>(Leaf& leaf) {
            if (prepared > 0) {
                HandOver<Leaf>::cancel(leaf);
                --prepared;
            }
        };
        visit_handed_over(value, cancel);
        throw;
    }
}

template <class T>
void finish_hand_over(T& value, pid_t child) noexcept {
    auto finish = [child]<class Leaf>(Leaf& leaf) { HandOver<Leaf>::finish(leaf, child); };
    visit_handed_over(value, finish);
}

template <class T>
void adopt(T& value) {
    auto take = []<class Leaf>(Leaf& leaf) { HandOver<Leaf>::adopt(leaf); };
    visit_handed_over(value, take);
}

}  // namespace sluice::detail
