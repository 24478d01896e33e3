// How keys and values lie in the nodes of a Dict or a List: whole words, padded with zeros. Plain
// ones as the codec stores them, strings as their characters, all others packed.
//
// Two keys are one if their bytes are. So a key must have one form only: no padding, no unordered
// container, no float but as the key itself, where -0.0 becomes 0.0 and every NaN the same one.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "sluice/codec.hpp"
#include "sluice/shm/arena.hpp"

namespace sluice::detail {

/// This thread's buffer, on loan: who needs another meanwhile gets a new one.
class LentBuffer {
 public:
    LentBuffer() : buffer_(std::exchange(kept(), PackBuffer{})) { buffer_.clear(); }
    LentBuffer(const LentBuffer&) = delete;
    LentBuffer& operator=(const LentBuffer&) = delete;
    ~LentBuffer() {
        constexpr std::size_t kKeptBytes = 1U << 20U;
        if (buffer_.size() <= kKeptBytes) {
            kept() = std::move(buffer_);
        }
    }
    PackBuffer& operator*() noexcept { return buffer_; }

 private:
    static PackBuffer& kept() {
        thread_local PackBuffer buffer;
        return buffer;
    }
    PackBuffer buffer_;
};

/// A T as whole words. kBytes: of every T; 0 where they differ.
template <class T>
class EncodedWords {
 public:
    static constexpr std::size_t kBytes = 0;

    explicit EncodedWords(const T& value) {
        if constexpr (std::is_same_v<T, std::string>) {
            (*buffer_).write(value.data(), value.size());
        } else {
            Packer<T>::pack(value, *buffer_);
        }
        bytes_ = (*buffer_).size();
        constexpr char kZeros[sizeof(std::uint64_t)]{};
        (*buffer_).write(kZeros, shm::round_up(bytes_, sizeof kZeros) - bytes_);
    }
    shm::PaddedBytes bytes() noexcept { return {(*buffer_).data(), bytes_}; }

    static T decode(const std::byte* words, std::size_t bytes) {
        if constexpr (std::is_same_v<T, std::string>) {
            return std::string(reinterpret_cast<const char*>(words), bytes);
        } else {
            return Packer<T>::unpack({words, bytes});
        }
    }

 private:
    LentBuffer buffer_{};
    std::size_t bytes_{};
};

template <Plain T>
class EncodedWords<T> {
 public:
    static constexpr std::size_t kBytes =
        shm::round_up(plain_bytes<T> == 0 ? 1 : plain_bytes<T>, sizeof(std::uint64_t));

    explicit EncodedWords(const T& value) noexcept {
        if constexpr (kBytes != plain_bytes<T> || !std::is_trivially_copyable_v<T>) {
            std::memset(words_, 0, kBytes);
        }
        store_plain(words_, value);
    }
    const std::byte* words() const noexcept { return words_; }
    shm::PaddedBytes bytes() const noexcept { return {words_, kBytes}; }

    static T decode(const std::byte* words, std::size_t) { return load_plain<T>(words); }

 private:
    alignas(std::uint64_t) std::byte words_[kBytes];
};

/// The one form of a key.
template <class K>
K canonical(const K& key) {
    if constexpr (std::is_floating_point_v<K>) {
        if (std::isnan(key)) {
            return std::numeric_limits<K>::quiet_NaN();
        }
        return key == K{} ? K{} : key;
    } else {
        return key;
    }
}

template <class T>
consteval bool has_one_form();

template <class... T>
consteval bool all_have_one_form(TypeList<T...>) {
    return (has_one_form<std::remove_cv_t<T>>() && ...);
}

/// Whether equal values of T have equal bytes, as far as C++20 can see. A class that packs itself
/// (MSGPACK_DEFINE) is on its author's word.
template <class T>
consteval bool has_one_form() {
    constexpr bool plain = Plain<T>;
    if constexpr (std::is_floating_point_v<T>) {
        return false;
    } else if constexpr (is_tuple_like<T>) {
        return all_have_one_form(typename ArgumentsOf<T>::Type{});
    } else if constexpr (plain && CopiedWhole<T>) {
        return std::has_unique_object_representations_v<T>;
    } else if constexpr (type_name<T>.starts_with("std::unordered")) {
        return false;
    } else if constexpr (is_a<T, std::optional>) {
        return has_one_form<std::remove_cv_t<typename T::value_type>>();
    } else if constexpr (requires { typename T::mapped_type; }) {
        return has_one_form<typename T::key_type>() && has_one_form<typename T::mapped_type>();
    } else if constexpr (requires { typename T::value_type; }) {
        return has_one_form<std::remove_cv_t<typename T::value_type>>();
    } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
        return true;
    } else {
        return !plain;
    }
}

/// Refuses a K that cannot be the key of a Dict, by one readable message.
template <class K>
consteval bool check_key() {
    constexpr bool one_form =
        std::is_same_v<K, float> || std::is_same_v<K, double> || has_one_form<K>();
    static_assert(
        one_form,
        "sluice: K cannot be the key of a Dict: two equal values may differ in their "
        "bytes (padding, a float inside, an optional that is copied whole, an unordered "
        "container); use numbers, strings, ordered containers, pairs and tuples of these, "
        "or a struct without padding");
    return true;
}

}  // namespace sluice::detail
