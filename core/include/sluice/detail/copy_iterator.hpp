// Goes over a private copy of what an object held at one instant: begin() of a Dict or a List.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace sluice::detail {

/// Shared by the copies of an iterator; changes made meanwhile are not seen.
template <class T>
class CopyIterator {
 public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using reference = const T&;
    using pointer = const T*;
    using iterator_category = std::input_iterator_tag;

    CopyIterator() = default;
    explicit CopyIterator(std::vector<T> elements)
        : elements_(std::make_shared<std::vector<T>>(std::move(elements))) {}

    decltype(auto) operator*() const { return (*elements_)[at_]; }
    pointer operator->() const { return &(*elements_)[at_]; }
    CopyIterator& operator++() {
        ++at_;
        return *this;
    }
    CopyIterator operator++(int) {
        CopyIterator before = *this;
        ++at_;
        return before;
    }
    friend bool operator==(const CopyIterator& one, const CopyIterator& other) {
        return one.left() == other.left();
    }
    friend bool operator==(const CopyIterator& iterator, std::default_sentinel_t) {
        return iterator.left() == 0;
    }

 private:
    std::size_t left() const noexcept { return elements_ ? elements_->size() - at_ : 0; }

    std::shared_ptr<const std::vector<T>> elements_{};
    std::size_t at_{};
};

}  // namespace sluice::detail
