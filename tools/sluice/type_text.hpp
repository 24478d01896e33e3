// The type's text of a segment ("my::Order{price: int64, side: enum my::Side: uint8}") taken apart,
// so that messages of any plain type become JSON, and back, without the program's headers.
//
// The text does not tell everything: alignas and bit-fields are not in it. But the type's signature
// is made of the same walk and of each class's real size and alignment. So the signature is
// computed here as well, from the sizes that the text suggests: where the two agree, so do the
// layouts.
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

/// Never fails: what is not understood is opaque. For packed values, whose layout is of no account.
Type parse_type(std::string_view text);

/// For plain values: opaque, too, where the signature says that they are laid out otherwise.
Type parse_plain_type(std::string_view text, std::uint64_t signature);

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
