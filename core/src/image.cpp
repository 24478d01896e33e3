#include "image.hpp"

#include <elf.h>
#include <link.h>

#include <cstddef>
#include <sluice/error.hpp>
#include <sluice/shm/facts.hpp>
#include <span>
#include <string_view>

namespace sluice::detail {
namespace {

using Headers = std::span<const ElfW(Phdr)>;

Headers headers_of(const dl_phdr_info& image) noexcept {
    return {image.dlpi_phdr, image.dlpi_phnum};
}

bool has_code_at(const dl_phdr_info& image, std::uint64_t offset) noexcept {
    for (const auto& header : headers_of(image)) {
        if (header.p_type == PT_LOAD && (header.p_flags & PF_X) != 0 && offset >= header.p_vaddr &&
            offset - header.p_vaddr < header.p_memsz) {
            return true;
        }
    }
    return false;
}

/// The build id, a hash of the linked file that compilers ask the linker for, together with where
/// each segment lies: where a build goes without an id, this still changes with nearly every
/// instruction.
std::uint64_t fingerprint_of(const dl_phdr_info& image) noexcept {
    std::uint64_t hash = shm::fnv1a("sluice image");
    for (const auto& header : headers_of(image)) {
        for (const std::uint64_t field :
             {std::uint64_t{header.p_type}, std::uint64_t{header.p_flags},
              std::uint64_t{header.p_offset}, std::uint64_t{header.p_vaddr},
              std::uint64_t{header.p_filesz}, std::uint64_t{header.p_memsz}}) {
            hash = shm::fnv1a(field, hash);
        }
        if (header.p_type == PT_NOTE) {
            hash = shm::fnv1a(
                std::string_view(reinterpret_cast<const char*>(image.dlpi_addr + header.p_vaddr),
                                 header.p_memsz),
                hash);
        }
    }
    return hash;
}

struct Search {
    std::uintptr_t address{};   // of an address
    const ImagePlace* place{};  // or of a place
    std::optional<ImagePlace> found{};
    std::uintptr_t found_address{};
    bool same_name{};
};

int look(dl_phdr_info* image, std::size_t, void* context) {
    auto& search = *static_cast<Search*>(context);
    const std::string_view name = image->dlpi_name == nullptr ? "" : image->dlpi_name;
    if (search.place == nullptr) {
        const std::uint64_t offset = search.address - image->dlpi_addr;
        if (!has_code_at(*image, offset)) {
            return 0;
        }
        search.found = {std::string(name), fingerprint_of(*image), offset};
        return 1;
    }
    if (name != search.place->image) {
        return 0;
    }
    search.same_name = true;
    if (fingerprint_of(*image) == search.place->fingerprint &&
        has_code_at(*image, search.place->offset)) {
        search.found_address = image->dlpi_addr + search.place->offset;
    }
    return 1;
}

}  // namespace

std::optional<ImagePlace> place_of(std::uintptr_t address) {
    Search search{.address = address};
    ::dl_iterate_phdr(look, &search);
    return search.found;
}

std::uintptr_t address_of(const ImagePlace& place) {
    Search search{.place = &place};
    ::dl_iterate_phdr(look, &search);
    if (search.found_address == 0) {
        const std::string image = place.image.empty() ? "the program" : place.image;
        throw Error("spawn: the target's function cannot be found: " + image +
                    (search.same_name ? " is not the build that the parent runs"
                                      : " is not loaded here as it is in the parent"));
    }
    return search.found_address;
}

}  // namespace sluice::detail
