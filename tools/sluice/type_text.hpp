// The type's text of a segment ("my::Order{price: int64, side: enum my::Side: uint8}") taken apart,
// so that messages of any plain type become JSON, and back, without the program's headers.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command.hpp"

namespace sluice::tool {

/// What type_description<T>() says of a type, with the layout that the ABI gives it.
struct Type {
    enum class Form {
        boolean,
        character,
        signed_integer,
        unsigned_integer,
        real,
        record,    // struct, pair, tuple: parts one after the other
        array,     // `count` times parts[0]
        optional,  // parts[0], then whether it is there
        string,
        list,
        map,
        opaque,  // not understood, or cut
    };
    Form form{Form::opaque};
    std::size_t bytes{};  // 0: not plain, or not known
    std::size_t align{1};
    std::size_t count{};
    std::vector<Type> parts{};
    std::vector<std::string> names{};  // of a record's parts, where their author gave them

    bool is_plain() const noexcept { return bytes != 0; }
};

/// Never fails: what is not understood is opaque.
Type parse_type(std::string_view text);

/// A plain value. Of an opaque type, or of too few bytes: words in hexadecimal.
Json decode(const Type& type, std::span<const std::byte> bytes);

/// Writes a plain value. Throws CommandError where the JSON is none of that type.
void encode(const Type& type, const Json& json, std::span<std::byte> bytes);

/// Whether JSON can stand for a value of that type, packed or plain. Opaque types take anything.
bool accepts(const Type& type, const Json& json);

/// Bytes without a type: "0x0000002a 0x...", eight bytes a word.
Json hexadecimal(std::span<const std::byte> bytes);
/// A MessagePack message; hexadecimal where it is none.
Json unpack(std::span<const std::byte> bytes);

}  // namespace sluice::tool
