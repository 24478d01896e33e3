// Where a function lies in this program's images, in a form that another process of the same
// program can look up: images are mapped at other addresses there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace sluice::detail {

/// A place in the program's file or in that of a library it is linked to.
struct ImagePlace {
    std::string image{};          // as the dynamic linker calls it; "" is the program
    std::uint64_t fingerprint{};  // of that file's build
    std::uint64_t offset{};       // from where the image is mapped
};

/// None where the address lies in no image's code.
std::optional<ImagePlace> place_of(std::uintptr_t address);

/// The address here. Errors: Error, where the image is missing, is another build, or has no code at
/// that place.
std::uintptr_t address_of(const ImagePlace& place);

}  // namespace sluice::detail
