// What a spawned child gets from its parent: bytes, and descriptors that it inherits through
// execve(2) under the numbers they have here. Both sides are the same image, so plain values travel
// as they lie in memory. A parcel is read once, from the front, in the order in which it was
// packed.
//
// How a value travels: a handle on a shared object by that object's descriptors, what is Plain or
// Packable by the codec, and vectors, optionals, tuples, pairs and arrays element by element where
// a handle is among them.
//
// A Pool's tasks bring handles to its workers in the same way. Workers have inherited the
// descriptors of what was made before the Pool; what was made later travels by its name.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "sluice/codec.hpp"
#include "sluice/hand_over.hpp"
#include "sluice/shm/segment.hpp"

namespace sluice::detail {

[[noreturn]] void throw_bad_parcel();

/// The shared objects that tasks have brought to a worker, kept for the next task. Bounded: the one
/// that was brought first goes first.
class KeptObjects {
 public:
    static constexpr std::size_t kMax = 64;

    template <class Core>
    std::shared_ptr<Core> find(std::uint64_t nonce) const {
        return std::static_pointer_cast<Core>(find(nonce, typeid(Core)));
    }
    template <class Core>
    void keep(std::uint64_t nonce, std::shared_ptr<Core> core) {
        keep({nonce, &typeid(Core), std::move(core)});
    }
    /// This thread's; null where none are kept: in all but the thread that runs a worker's tasks.
    static KeptObjects* here() noexcept;
    /// From now on this thread keeps them, to its process's end.
    static void begin_here();

 private:
    struct Kept {
        std::uint64_t nonce{};
        const std::type_info* type{};
        std::shared_ptr<void> core{};
    };
    std::shared_ptr<void> find(std::uint64_t nonce, const std::type_info& type) const;
    void keep(Kept kept);

    std::vector<Kept> kept_{};
    std::size_t next_{};  // which goes first, once there are kMax
};

/// A parcel being packed.
class Parcel {
 public:
    /// For a child that inherits all descriptors which are named in it.
    Parcel() = default;
    /// For a process that has inherited the segments up to that serial (Segment::last_serial()).
    explicit Parcel(std::uint64_t inherited) : inherited_(inherited) {}

    template <class T>
    requires std::is_trivially_copyable_v<T>
    void put(const T& value) {
        bytes_.write(reinterpret_cast<const char*>(std::addressof(value)), sizeof value);
    }
    /// With its length.
    void put_bytes(std::span<const std::byte> bytes);
    void put_text(std::string_view text) { put_bytes(std::as_bytes(std::span(text))); }
    /// The descriptor must stay open until the child is started. -1: none.
    void put_descriptor(int descriptor);
    /// How the other finds the segment: by its descriptors, else by its name. `object`: what it is
    /// called in messages. Errors: NotPermitted, where it has neither.
    void put_segment(const shm::Segment& segment, std::string_view object);
    /// A function of this program, or of a library that it is linked to.
    /// Errors: Error, where the address lies in neither.
    void put_function(std::uintptr_t address);

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_.bytes(); }
    [[nodiscard]] const std::vector<int>& descriptors() const noexcept { return descriptors_; }

 private:
    PackBuffer bytes_{};
    std::vector<int> descriptors_{};
    std::uint64_t inherited_{~0ULL};
};

/// A parcel being unpacked. Errors: BadSegment, from every take, where the parcel is not what the
/// parent packed.
class Unparcel {
 public:
    explicit Unparcel(std::span<const std::byte> bytes) noexcept : left_(bytes) {}

    template <class T>
    requires std::is_trivially_copyable_v<T> T take() {
        return load_plain_image<T>(take_front(sizeof(T)));
    }
    [[nodiscard]] std::span<const std::byte> take_bytes();
    [[nodiscard]] std::string take_text();
    [[nodiscard]] std::span<const std::byte> left() const noexcept { return left_; }
    /// The descriptor is still the parcel's: duplicate it to keep it.
    [[nodiscard]] int take_descriptor() { return take<int>(); }
    /// Throws what opening a named object throws; BadSegment, where its name leads to another by
    /// now. `expected`: as for shm::Segment::open().
    [[nodiscard]] std::shared_ptr<shm::Segment> take_segment(const shm::SegmentSpec& expected,
                                                             std::string_view object);
    /// What `make()` makes of the segment that comes next; or what was kept of an earlier one.
    template <class Core, class Make>
    [[nodiscard]] std::shared_ptr<Core> take_object(Make&& make) {
        KeptObjects* const kept = KeptObjects::here();
        const std::uint64_t nonce = next_nonce();
        if (kept != nullptr) {
            if (std::shared_ptr<Core> core = kept->find<Core>(nonce)) {
                skip_segment();
                return core;
            }
        }
        std::shared_ptr<Core> core = make();
        if (kept != nullptr) {
            kept->keep(nonce, core);
        }
        return core;
    }
    /// Errors: Error, where the function's image is not the one that the parent ran.
    [[nodiscard]] std::uintptr_t take_function();

 private:
    template <class T>
    static T load_plain_image(std::span<const std::byte> bytes) noexcept {
        struct alignas(T) Image {
            std::byte bytes[sizeof(T)];
        } image;
        std::memcpy(image.bytes, bytes.data(), sizeof(T));
        return std::bit_cast<T>(image);
    }
    std::span<const std::byte> take_front(std::size_t count);
    [[nodiscard]] std::uint64_t next_nonce() const;
    void skip_segment();

    std::span<const std::byte> left_;
};

/// How a handle travels: `static void pack(const T&, Parcel&)` and `static T unpack(Unparcel&)`;
/// `kIsShared` where there may be as many copies as one likes. Specialised in handle.hpp, and
/// beside each that is no Handle.
template <class T>
struct Passing {};

template <class T>
concept PassedByDescriptor = requires(const T& value, Parcel& parcel, Unparcel& unparcel) {
    Passing<T>::pack(value, parcel);
    { Passing<T>::unpack(unparcel) } -> std::same_as<T>;
};

template <class T>
consteval bool travels();

template <class T>
inline constexpr bool elements_travel = false;
template <class... Ts>
inline constexpr bool elements_travel<std::tuple<Ts...>> = (travels<Ts>() && ...);
template <class First, class Second>
inline constexpr bool elements_travel<std::pair<First, Second>> =
    travels<First>() && travels<Second>();
template <class T, std::size_t N>
inline constexpr bool elements_travel<std::array<T, N>> = travels<T>();

/// Whether a T can reach a spawned child.
template <class T>
consteval bool travels() {
    constexpr bool by_codec = Shareable<T>;
    if constexpr (PassedByDescriptor<T> || by_codec) {
        return true;
    } else if constexpr (kIsVector<T> || kIsOptional<T>) {
        return travels<typename T::value_type>();
    } else {
        return elements_travel<T>;
    }
}

template <class T>
concept SharedHandle = PassedByDescriptor<T> && requires {
    Passing<T>::kIsShared;
};

template <class T>
consteval bool travels_to_workers();
template <class T>
inline constexpr bool holds_handle = SharedHandle<T>;
template <class T>
requires(kIsVector<T> || kIsOptional<T>)  //
    inline constexpr bool holds_handle<T> = holds_handle<typename T::value_type>;
template <class... Ts>
inline constexpr bool holds_handle<std::tuple<Ts...>> = (holds_handle<Ts> || ...);
template <class First, class Second>
inline constexpr bool holds_handle<std::pair<First, Second>> =
    holds_handle<First> || holds_handle<Second>;
template <class T, std::size_t N>
inline constexpr bool holds_handle<std::array<T, N>> = holds_handle<T>;

template <class T>
inline constexpr bool elements_travel_to_workers = false;
template <class... Ts>
inline constexpr bool elements_travel_to_workers<std::tuple<Ts...>> = (travels_to_workers<Ts>() &&
                                                                       ...);
template <class First, class Second>
inline constexpr bool elements_travel_to_workers<std::pair<First, Second>> =
    travels_to_workers<First>() && travels_to_workers<Second>();
template <class T, std::size_t N>
inline constexpr bool elements_travel_to_workers<std::array<T, N>> = travels_to_workers<T>();

/// Whether a T can be an argument of a Pool's task, or its result: the end of a pipe, which has one
/// owner, cannot.
template <class T>
consteval bool travels_to_workers() {
    constexpr bool by_codec = Shareable<T>;
    if constexpr (by_codec || SharedHandle<T>) {
        return true;
    } else if constexpr (!holds_handle<T>) {
        return false;
    } else if constexpr (kIsVector<T> || kIsOptional<T>) {
        return travels_to_workers<typename T::value_type>();
    } else {
        return elements_travel_to_workers<T>;
    }
}

template <class T>
requires(travels<T>()) void pack_travelling(const T& value, Parcel& parcel) {
    constexpr bool plain = Plain<T>;
    constexpr bool packable = Packable<T>;
    if constexpr (PassedByDescriptor<T>) {
        Passing<T>::pack(value, parcel);
    } else if constexpr (plain) {
        std::array<std::byte, plain_bytes<T>> bytes{};
        store_plain(bytes.data(), value);
        parcel.put_bytes(bytes);
    } else if constexpr (packable) {
        PackBuffer buffer;
        Packer<T>::pack(value, buffer);
        parcel.put_bytes(buffer.bytes());
    } else if constexpr (kIsVector<T>) {
        parcel.put(value.size());
        for (const auto& element : value) {
            pack_travelling(element, parcel);
        }
    } else if constexpr (kIsOptional<T>) {
        parcel.put(value.has_value());
        if (value) {
            pack_travelling(*value, parcel);
        }
    } else {
        std::apply([&](const auto&... elements) { (pack_travelling(elements, parcel), ...); },
                   value);
    }
}

template <class T>
requires(travels<T>()) T unpack_travelling(Unparcel& parcel) {
    constexpr bool plain = Plain<T>;
    constexpr bool packable = Packable<T>;
    if constexpr (PassedByDescriptor<T>) {
        return Passing<T>::unpack(parcel);
    } else if constexpr (plain) {
        const std::span<const std::byte> bytes = parcel.take_bytes();
        if (bytes.size() != plain_bytes<T>) {
            throw_bad_parcel();
        }
        return load_plain<T>(bytes.data());
    } else if constexpr (packable) {
        return Packer<T>::unpack(parcel.take_bytes());
    } else if constexpr (kIsVector<T>) {
        T value;
        for (auto count = parcel.take<typename T::size_type>(); count > 0; --count) {
            value.push_back(unpack_travelling<typename T::value_type>(parcel));
        }
        return value;
    } else if constexpr (kIsOptional<T>) {
        return parcel.take<bool>() ? T(unpack_travelling<typename T::value_type>(parcel)) : T();
    } else {
        // In braces the elements are unpacked from left to right.
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            return T{unpack_travelling<std::tuple_element_t<I, T>>(parcel)...};
        }
        (std::make_index_sequence<std::tuple_size_v<T>>{});
    }
}

}  // namespace sluice::detail
