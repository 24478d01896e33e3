// Looking into any segment from outside: what it is, how full it is, who takes part and who holds
// what. The programs that use it neither help nor notice: nothing is written, no member joins, no
// lock is taken, no page comes to lie anywhere because of a look.
//
// A segment is copied by pread(2) and never loaded from a mapping. So each word is read once, a
// file that is cut meanwhile is a short read and not a SIGBUS, and a hole stays a hole (a load
// through a mapping would allocate its page, on the reader's node). What is copied is input like
// any segment: every number is bounded before it is used, and a damaged file comes to a Failure
// that says what is wrong, or to figures that nobody meant; never to a crash.
//
// The price: a look is no snapshot. Words that are read one after the other are of different
// instants, so a message on its way may be counted on both sides, or on neither.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/shm/failure.hpp"
#include "sluice/shm/members.hpp"
#include "sluice/shm/node_memory.hpp"
#include "sluice/shm/segment.hpp"

namespace sluice::shm {

/// What is known of a participant's thread. dead: its bell has rung, or the kernel knows it no
/// more. unknown: of another PID namespace, or of a table of bells that cannot be read.
enum class Vitality : std::uint8_t { alive, stopped, dead, unknown };
std::string_view to_string(Vitality vitality) noexcept;

/// A thread that takes part; of a pipe: the process that has the end of that number.
struct Participant {
    MemberId id{};
    std::int32_t pid{};     // 0: not known (any more)
    std::int32_t thread{};  // 0: a process as a whole
    std::string name{};     // of the process, as /proc tells it
    Vitality vitality{};
    bool asleep{};  // in the kernel, at this instant
};

enum class HoldKind : std::uint8_t {
    writing_slot,
    reading_slot,
    clearing_slot,
    lock,
    heir,
    permit,
    reading,
    party,
    waiting,
    notified,
    stripe,
    steps,
    end
};

/// Something that a participant has at this instant.
struct Holding {
    HoldKind kind{};
    MemberId member{};      // 0: nobody as yet (an end that is being handed over)
    std::uint64_t index{};  // of the slot, the permit, the stripe, the end
    std::uint64_t count{1};
    std::uint64_t word{};  // as it lies there: unchanged from look to look, it is the same holding
};

/// "is writing slot 12", "holds the lock", "reads, 2 times".
std::string to_string(const Holding& holding);

/// One direction in which messages pass.
struct Flow {
    std::string_view name{};  // "" where there is but one
    std::uint64_t put{};      // counts on for ever, in its lowest `bits` bits
    std::uint64_t taken{};    // likewise
    unsigned bits{64};
    std::uint64_t depth{};  // what waits to be taken
    std::uint64_t capacity{};
    bool in_bytes{};   // all of these are bytes and not messages
    bool exact{true};  // false: by hints, which lag by some messages

    /// How many passed since an earlier look.
    std::uint64_t put_since(const Flow& earlier) const noexcept {
        return (put - earlier.put) & mask();
    }
    std::uint64_t taken_since(const Flow& earlier) const noexcept {
        return (taken - earlier.taken) & mask();
    }

 private:
    std::uint64_t mask() const noexcept { return bits >= 64 ? ~0ULL : (1ULL << bits) - 1; }
};

/// How much there is of something: entries, memory, busy workers.
struct Gauge {
    std::string_view name{};
    std::uint64_t value{};
    std::uint64_t limit{};  // 0: none
    bool in_bytes{};
};

/// A line of a Pool: the worker that has it, if one lives.
struct PoolWorker {
    std::int32_t pid{};  // 0: none
    std::string name{};
    Vitality vitality{};
    std::string_view phase{};  // "working", "starting", ...
    std::vector<unsigned> cpus{};
    std::int32_t node{-1};
    bool busy{};
    std::uint32_t task{};  // its place in the table, where it is busy
    std::uint64_t tasks_done{};
};

/// What a Manager holds. Without a name: used, but not to be found.
struct HeldObject {
    std::string name{};
    std::string_view kind{};
    std::string type_text{};
    std::uint64_t capacity{};
    bool in_use{};
};

/// The header, checked, and the file as the kernel tells of it.
struct SegmentFacts {
    SegmentKind kind{};
    std::string type_text{};  // printable, whatever lies there
    std::uint64_t type_signature{};
    std::uint64_t capacity{};
    std::uint64_t element_bytes{};
    std::uint32_t options{};
    std::uint32_t member_capacity{};
    std::uint64_t nonce{};
    std::uint64_t total_bytes{};
    std::uint64_t body_offset{};
    std::uint64_t body_bytes{};
    bool body_known{};     // a layout of this build, and large enough: the body can be read
    bool body_fits{true};  // false: of a layout of this build, but its numbers do not fit

    uid_t owner{};
    mode_t mode{};
    ino_t inode{};
    std::uint64_t bytes_allocated{};
    bool in_use{};  // somebody has it open
};

/// Where a segment's pages lie.
struct PageReport {
    std::uint64_t page_bytes{};
    std::uint64_t huge_bytes{};  // mapped by huge pages
    NodeReport nodes{};
};

/// Where the messages of a segment lie, for who reads them as they pass.
struct RingPlace {
    enum class Form : std::uint8_t { none, slots, numbered, records };
    Form form{};
    bool packed{};
    std::uint64_t offset{};  // in the file: MpmcRingLayout, SpscRingLayout or ByteRingLayout
    std::uint64_t slot_bytes{};
    std::uint64_t payload_offset{};  // in a slot; of plain queues the least that it can be
    std::uint64_t data_offset{};     // in the file: of records
};

struct Inspection {
    SegmentFacts facts{};
    bool closed{};
    std::vector<Flow> flows{};
    std::vector<Gauge> gauges{};
    std::vector<std::pair<std::string_view, std::uint64_t>> counters{};  // "value", "waiting", ...
    std::vector<std::string_view> marks{};                               // "abandoned", "set", ...
    std::vector<std::string_view> sleepers{};  // on what somebody sleeps, or did when he died
    std::vector<Participant> participants{};
    bool bells_known{true};  // false: participants are of a table that cannot be read
    std::vector<Holding> holdings{};
    std::vector<PoolWorker> workers{};   // of a Pool
    std::vector<HeldObject> objects{};   // of a Manager
    std::vector<std::string> damages{};  // what cannot be, in a sound object
    std::vector<std::string> doubts{};   // what could not be told, and why

    const Participant* find(MemberId id) const noexcept;
    /// Messages that would be lost with the segment; bytes where flows are in bytes.
    std::uint64_t unread() const noexcept;
    /// Whether it holds what its users would miss: messages, a value, or what we do not know.
    bool holds_content() const noexcept;
};

/// A segment that is looked at.
class Inspector {
 public:
    /// Opens the file of a named object, or /proc/PID/fd/N of an anonymous one.
    /// Blocks: never. Errors: environment (ENOENT: there is none); not_permitted: may not be read,
    /// a symbolic link, no plain file; bad_segment: not a segment, half-made, cut, damaged.
    static std::optional<Inspector> open(const std::string& path, Failure& failure);

    Inspector(Inspector&& other) noexcept;
    Inspector& operator=(Inspector&& other) noexcept;
    Inspector(const Inspector&) = delete;
    Inspector& operator=(const Inspector&) = delete;
    ~Inspector();

    const SegmentFacts& facts() const noexcept { return facts_; }
    const std::string& path() const noexcept { return path_; }

    /// Looks once. Blocks: never. Cost: a system call for each part, two for each participant.
    Inspection look() const;

    /// Asks the kernel where the pages lie. Maps the segment for a moment, and looks only where
    /// there is memory already.
    PageReport pages() const;

    /// The rings of a queue (one) or a pipe (one or two); none of other kinds.
    std::vector<RingPlace> rings() const;

    /// Copies bytes out of the file; false where it has not so many.
    bool read(std::uint64_t offset, std::span<std::byte> bytes) const noexcept;
    /// Whether anybody has that window of a Manager's file open.
    bool is_window_held(FileWindow window) const noexcept {
        return is_locked(window.begin, window.bytes);
    }
    /// One word; 0 where there is none.
    std::uint64_t word(std::uint64_t offset) const noexcept;

 private:
    Inspector() = default;
    bool read_header(Failure& failure);
    bool is_locked(std::uint64_t offset, std::uint64_t bytes) const noexcept;
    std::uint64_t page_bytes() const noexcept;

    std::string path_{};
    int descriptor_{-1};
    SegmentFacts facts_{};
    std::uint64_t registry_nonce_{};
    std::uint64_t members_offset_{};
};

/// Whether a file that open() refuses begins as a segment does: it is a damaged one, or a half-made
/// one, or of another version, and no foreign file.
bool begins_as_segment(const std::string& path) noexcept;

/// The paths of all named objects of /dev/shm, and of what is named like one; sorted.
std::vector<std::string> list_named_segments();

/// /proc/PID/fd/N of anonymous segments that processes of this user hold, one for each segment.
std::vector<std::string> list_anonymous_segments();

}  // namespace sluice::shm
