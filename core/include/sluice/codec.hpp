// How a value of type T travels through shared memory. Plain values are copied byte by byte into
// the slot; packable ones are packed into a message (sluice/msgpack.hpp); anything else does not
// compile.
//
// What a load reads was written by a process that may be broken: the bytes of a plain value are
// taken as they are, so a bool, an enumeration or a variant is only as sound as the peer that
// stored it.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "sluice/detail/codec_flat.hpp"
#include "sluice/detail/type_plain.hpp"
#include "sluice/detail/type_signature.hpp"

namespace sluice {

/// A value that is copied straight into a slot: is_shareable, and laid out by store_plain.
template <class T>
concept Plain = std::is_object_v<T> && !std::is_array_v<T> &&
                std::same_as<T, std::remove_cv_t<T>> && is_shareable<T> &&
                !detail::is_pointer_like<T> && std::copy_constructible<T> && detail::is_flat<T>();

/// The bytes of a slot that holds a T; 0 for what is not plain, so that only one error is reported.
template <class T>
inline constexpr std::size_t plain_bytes = 0;
template <Plain T>
inline constexpr std::size_t plain_bytes<T> = detail::Flat<T>::kBytes;

/// The alignment that suits a T in a slot. store_plain and load_plain do not depend on it.
template <class T>
inline constexpr std::size_t plain_align = 1;
template <Plain T>
inline constexpr std::size_t plain_align<T> = detail::Flat<T>::kAlign;

/// Copies the value to plain_bytes<T> bytes at the destination, which need not be aligned.
/// Cost: one memcpy of sizeof(T) for trivially copyable T; one an element for pairs and tuples.
template <Plain T>
void store_plain(std::byte* destination, const T& value) noexcept {
    detail::Flat<T>::store(destination, value);
}

/// Copies the value back out of plain_bytes<T> bytes, which need not be aligned.
/// Cost: as store_plain.
template <Plain T>
[[nodiscard]] T load_plain(const std::byte* source) {
    return detail::Flat<T>::load(source);
}

/// A growing buffer of bytes that one thread uses again and again: clear() keeps the memory.
class PackBuffer {
 public:
    /// Appends bytes. The signature is the one that msgpack's packer asks of its stream.
    void write(const char* bytes, std::size_t count) {
        if (count > capacity_ - size_) {
            grow(count);
        }
        if (count != 0) {
            std::memcpy(data_.get() + size_, bytes, count);
            size_ += count;
        }
    }
    void clear() noexcept { size_ = 0; }
    [[nodiscard]] const std::byte* data() const noexcept { return data_.get(); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_.get(), size_}; }

 private:
    static constexpr std::size_t kFirstCapacityBytes = 256;

    void grow(std::size_t count) {
        if (count > SIZE_MAX / 2 - size_) {
            throw std::bad_alloc();
        }
        const std::size_t capacity = std::max({kFirstCapacityBytes, 2 * capacity_, size_ + count});
        auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
        if (size_ != 0) {
            std::memcpy(larger.get(), data_.get(), size_);
        }
        data_ = std::move(larger);
        capacity_ = capacity;
    }

    std::unique_ptr<std::byte[]> data_;
    std::size_t size_{0};
    std::size_t capacity_{0};
};

/// How a value that is not plain becomes a message. sluice/msgpack.hpp specialises it for all
/// that it can pack. This one packs nothing: it has the members so that a class template
/// whose T was refused already (check_shareable) brings no further errors.
template <class T>
struct Packer {
    static constexpr bool kPacksNothing = true;  ///< no specialisation has it
    /// What unpack() gives.
    using Value = std::conditional_t<std::is_array_v<T> || std::is_abstract_v<T>, void, T>;

    /// Appends the value to the buffer.
    static void pack(const T& value, PackBuffer& buffer);
    /// Makes the value of the whole message. Errors: BadSegment: it is none.
    static Value unpack(std::span<const std::byte> message);
};

template <class T>
concept Packable = std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>> && !requires {
    Packer<T>::kPacksNothing;
};

/// What can be sent to another process.
template <class T>
concept Shareable = Plain<T> || Packable<T>;

/// Refuses a T that cannot be sent to another process, by one readable message. A class
/// template that carries values says `static_assert(sluice::check_shareable<T>());` first.
template <class T>
consteval bool check_shareable() {
    // A value, not the concept itself, whose every unmet requirement the compiler would explain.
    constexpr bool shareable = Shareable<T>;
    if constexpr (shareable) {
        return true;
    } else if constexpr (!std::is_object_v<T> || !std::is_same_v<T, std::remove_cv_t<T>>) {
        static_assert(shareable,
                      "sluice: T cannot be sent to another process: it is const, volatile, a "
                      "reference or no object type; use the type of the value itself");
    } else if constexpr (detail::holds_view<T>()) {
        static_assert(
            shareable,
            "sluice: T cannot be sent to another process: it holds a pointer, a reference "
            "or a view, which mean nothing there; use a type that owns its data "
            "(std::string, std::vector, std::array)");
    } else {
        static_assert(shareable,
                      "sluice: T cannot be sent to another process: it is neither plain (trivially "
                      "copyable aggregates; other trivially copyable classes by specialising "
                      "sluice::is_shareable<T>) nor packable (include <sluice/msgpack.hpp>; give "
                      "your classes MSGPACK_DEFINE)");
    }
    return true;
}

}  // namespace sluice
