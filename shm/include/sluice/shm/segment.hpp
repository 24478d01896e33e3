// A segment: the header that every shared object's memory begins with, and this
// process's view of it. What a segment contains is input. open() checks every field
// once and copies what is needed; nothing of the header is read again.
//
// A segment is made without a name, filled, marked ready and only then named: a maker killed at any
// instruction leaves nothing that could be opened.
//
// Ordering ledger
//   R1 header.ready -> A1 : who sees `ready` sees the whole header and the initialised body
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sluice/shm/mapping.hpp"
#include "sluice/shm/members.hpp"

namespace sluice::shm {

enum class SegmentKind : std::uint32_t {
    queue = 1,
    pipe = 2,
    byte_pipe = 3,
    lock = 4,
    rlock = 5,
    rw_lock = 6,
    semaphore = 7,
    bounded_semaphore = 8,
    event = 9,
    condition = 10,
    barrier = 11,
    guarded = 12,
    pool = 13,
    dict = 14,
    list = 15,
    value = 16,
    array = 17,
    manager = 18
};

/// What the bits of SegmentLayout::options mean. The lowest two say how the object waits.
struct SegmentOptions {
    static constexpr std::uint32_t kWaitMask = 3;         // a Wait (waiting.hpp)
    static constexpr std::uint32_t kQueueExtents = 4;     // memory beside the slots
    static constexpr std::uint32_t kPipeSimplex = 4;      // one direction
    static constexpr std::uint32_t kPermitsOwned = 4;     // a semaphore's: they have owners
    static constexpr std::uint32_t kRefuseAbandoned = 4;  // a lock's: no lock() until repair()
};

/// "queue", "pipe", ...; "unknown" for a number that is none of them.
std::string_view to_string(SegmentKind kind) noexcept;

/// The first bytes of every segment.
/// I1 constant once `ready` is set. I2 members_offset and body_offset are multiples of
/// kIsolationBytes and lie, with what they lead to, inside total_bytes.
struct SegmentLayout {
    static constexpr std::uint64_t kMagic = 0x0045'4349'554c'5353ULL;  // "SSLUICE\0"
    static constexpr std::uint32_t kVersion = 1;
    static constexpr std::uint32_t kReady = 0x5245'4144U;  // "READ"
    static constexpr std::size_t kTypeTextBytes = 128;

    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t kind;              // SegmentKind
    std::uint64_t layout_signature;  // of this header, the member table and the body
    std::uint64_t type_signature;    // of the values that travel through the object
    std::uint64_t total_bytes;       // mapped bytes; values beside their slots lie beyond
    std::uint64_t registry_nonce;    // the table of bells that the members refer to
    std::uint64_t segment_nonce;     // tells two segments of the same name apart
    std::uint64_t members_offset;
    std::uint64_t body_offset;
    std::uint64_t capacity;       // slots, or bytes of a byte ring
    std::uint64_t element_bytes;  // of one slot
    std::uint32_t member_capacity;
    std::uint32_t options;           // the object's own
    char type_text[kTypeTextBytes];  // for people
    std::uint32_t reserved[5];
    std::atomic<std::uint32_t> ready;
};
static_assert(sizeof(SegmentLayout) == 248 && offsetof(SegmentLayout, type_text) == 96);
static_assert(offsetof(SegmentLayout, ready) == 244);

/// SegmentLayout::layout_signature of an object whose body has that signature.
std::uint64_t segment_layout_signature(std::uint64_t body) noexcept;

/// What is to be made, or what an opener expects (then capacity, element_bytes, body_bytes
/// and beyond_bytes are of no account).
struct SegmentSpec {
    SegmentKind kind{};
    std::uint64_t layout_signature{};
    std::uint64_t type_signature{};
    std::string type_text{};
    std::uint64_t capacity{};
    std::uint64_t element_bytes{};
    std::uint32_t options{};
    std::uint32_t member_capacity{512};
    std::size_t body_bytes{};
    std::uint64_t beyond_bytes{};  // of offsets beyond it, for values beside their slots
    std::size_t body_alignment{kIsolationBytes};
    std::size_t room_bytes{};  // behind the body: mapped, without memory as yet
};

/// Where segments live that are no files of their own: in windows of one file, under names of its
/// own. Implemented by Directory (directory.hpp).
class SegmentHome {
 public:
    virtual ~SegmentHome() = default;

    /// A free window of its own, held; nothing is in it. Errors: environment, with ENOSPC: there is
    /// none.
    virtual std::optional<Mapping> make_window(Failure& failure) = 0;
    /// Gives what lies complete in that window a name. False with error EEXIST when it is taken.
    virtual bool publish(const Mapping& window, std::string_view name, Failure& failure) = 0;
    /// The window of that name, held. Errors: environment, with ENOENT: there is none.
    virtual std::optional<Mapping> open_window(std::string_view name, Failure& failure) = 0;
    /// This process has unmapped that window, and holds it no more.
    virtual void let_go(FileWindow window) noexcept = 0;
    /// What that name is called in messages: Manager "house": "door".
    virtual std::string describe(std::string_view name) const = 0;
};

/// What a segment is called, and where: in /dev/shm, or in a home.
struct SegmentPlace {
    SegmentPlace(std::string_view its_name = {}, std::shared_ptr<SegmentHome> its_home = {})
        : name(its_name), home(std::move(its_home)) {}
    SegmentPlace(const char* its_name) : name(its_name) {}
    SegmentPlace(const std::string& its_name) : name(its_name) {}

    std::string_view name;
    std::shared_ptr<SegmentHome> home;
};

/// One mapped segment. Shared by all handles of a process; inherited by fork.
class Segment {
 public:
    /// Makes a segment; `initialise` fills the body before it is marked ready.
    /// Without a name: anonymous, else what appears, complete, in /dev/shm or in the home.
    /// Errors: environment (EEXIST: the name is taken), bad_argument.
    template <class Initialise>
    static std::shared_ptr<Segment> create(const SegmentPlace& place, const SegmentSpec& spec,
                                           const MemoryOptions& options, mode_t mode,
                                           Failure& failure, Initialise&& initialise) {
        auto segment = allocate(place, spec, options, mode, failure);
        if (segment) {
            initialise(*segment);
            if (!segment->publish(failure)) {
                return nullptr;
            }
        }
        return segment;
    }

    /// Opens a named segment. Errors: environment (ENOENT: there is none), bad_segment: not ours,
    /// of another layout or type, truncated, of another registry; not_permitted: another user's.
    static std::shared_ptr<Segment> open(const SegmentPlace& place, const SegmentSpec& expected,
                                         Failure& failure);

    /// Maps a segment of which this process has inherited the descriptors through execve(2); its
    /// name, if any, need not lead to it any more. Errors: as open(), without ENOENT.
    static std::shared_ptr<Segment> receive(const MappingPass& passed, std::string_view name,
                                            const SegmentSpec& expected, Failure& failure);

    /// Removes the name; who has it open goes on. False with ENOENT where there is none.
    static bool unlink(std::string_view name, Failure& failure);

    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;
    ~Segment();

    std::byte* body() const noexcept { return mapping_.data() + body_offset_; }
    std::uint64_t capacity() const noexcept { return capacity_; }
    std::uint64_t element_bytes() const noexcept { return element_bytes_; }
    std::uint32_t options() const noexcept { return options_; }
    std::size_t body_bytes() const noexcept { return mapping_.bytes() - body_offset_; }
    std::uint64_t nonce() const noexcept { return nonce_; }
    /// Tells which segments this process had at a moment: those whose serial is at most what
    /// last_serial() said then. A child made by fork counts on.
    std::uint64_t serial() const noexcept { return serial_; }
    static std::uint64_t last_serial() noexcept;
    const std::string& name() const noexcept { return name_; }  // "" for an anonymous one
    const Mapping& mapping() const noexcept { return mapping_; }
    Members& members() noexcept { return members_; }
    /// Where it is no file of its own: what holds it.
    const std::shared_ptr<SegmentHome>& home() const noexcept { return home_; }

 private:
    Segment() = default;
    static std::shared_ptr<Segment> allocate(const SegmentPlace& place, const SegmentSpec& spec,
                                             const MemoryOptions& options, mode_t mode,
                                             Failure& failure);
    bool publish(Failure& failure);
    bool adopt_header(const SegmentSpec& expected, const std::string& path, Failure& failure);

    Mapping mapping_{};
    Members members_{};
    std::string name_{};
    std::shared_ptr<SegmentHome> home_{};
    std::uint64_t body_offset_{};
    std::uint64_t capacity_{};
    std::uint64_t element_bytes_{};
    std::uint64_t nonce_{};
    std::uint64_t serial_{};
    std::uint32_t options_{};
};

}  // namespace sluice::shm
