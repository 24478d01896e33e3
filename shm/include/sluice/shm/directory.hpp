// Many objects in one file: a table of names, and a window of the file's offsets for each object.
// What lies in a window is a whole segment, with header, members and body, and works as if it had a
// file of its own. The file is sparse: a window takes memory only where something was written.
//
// The table says what has a name. Whether anybody uses a window, named or not, the kernel says: who
// has it mapped holds a shared lock on it, by a description of its own, and whoever dies lets go of
// it. So a maker who is killed half-way leaves a window that nobody holds, as does the last user of
// an object whose name was removed; whoever comes by clears it.
//
//   free -> used    a maker has found it, under the table's lock, and holds it
//   used -> named   what is in it is complete: the commit store of making
//   named -> used   the commit store of removing
//   used -> free    nobody holds it: its memory is given back, under the table's lock
//
// I1 entries change only under the lock, and no two named ones have the same name.
// I2 a window whose entry is free takes no memory, and nobody holds it.
// I3 a hold begins only under the lock: with used, or on a named one.
// I4 entries from `high` on are free. It is raised before the entry is used, and never lowered.
//
// Ordering ledger
//   R1 state named -> A1 : who sees the state finds the name (else, after a death between the two:
//      takes what was there for the name), who sees it used the raised `high` (else: misses it).
//      All else is ordered by the lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/shm/lock_word.hpp"
#include "sluice/shm/segment.hpp"

namespace sluice::shm {

enum class DirectoryState : std::uint32_t { free = 0, used = 1, named = 2 };

/// The body of a Manager's segment.
struct DirectoryLayout {
    static constexpr std::size_t kObjects = 1024;
    static constexpr std::size_t kNameBytes = 256;

    LockWordLayout lock;
    std::atomic<std::uint32_t> high;    // I4
    std::atomic<std::uint32_t> cursor;  // who looks next for what was left begins here: a hint
    std::uint32_t reserved[24];
    std::atomic<std::uint32_t> states[kObjects];  // DirectoryState; entry k is of window k
    char names[kObjects][kNameBytes];             // ended by a zero
};
static_assert(offsetof(DirectoryLayout, high) == 24 && offsetof(DirectoryLayout, states) == 128);
static_assert(offsetof(DirectoryLayout, names) == 4'224);

/// What a name stands for.
struct DirectoryEntry {
    std::string name{};
    SegmentKind kind{};
    std::string type_text{};  // of its values, where it has any
};

/// This process's view of one table. Shared by the objects that were made or opened through it.
class Directory final : public SegmentHome, public std::enable_shared_from_this<Directory> {
 public:
    /// Of offsets. A queue of packed values has 2^36 for each of its slots.
    static constexpr unsigned kWindowShift = 52;

    static std::uint64_t layout_signature() noexcept;
    static std::size_t bytes() noexcept { return sizeof(DirectoryLayout); }
    static void initialise(std::byte* body) noexcept;

    /// `what` it is called in messages. Becomes the sweeper of the segment's members.
    Directory(std::shared_ptr<Segment> segment, std::string what);
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    // As SegmentHome says. Each takes the lock for a few system calls.
    // Crash, at any instruction: who comes next gets the lock at once, and clears what was left.
    std::optional<Mapping> make_window(Failure& failure) override;
    bool publish(const Mapping& window, std::string_view name, Failure& failure) override;
    std::optional<Mapping> open_window(std::string_view name, Failure& failure) override;
    void let_go(FileWindow window) noexcept override;
    std::string describe(std::string_view name) const override;

    /// Takes the name away; who has the object open goes on, and its memory goes with the last of
    /// them. Commit store: the entry's state. False with error ENOENT: there is none.
    bool remove(std::string_view name, Failure& failure);
    bool contains(std::string_view name, Failure& failure);
    /// What has a name, in no order.
    std::vector<DirectoryEntry> list(Failure& failure);

    Segment& segment() const noexcept { return *segment_; }
    DirectoryLayout& layout() const noexcept { return *layout_; }
    const std::string& what() const noexcept { return what_; }

    static constexpr FileWindow window_of(std::size_t index) noexcept {
        return {(std::uint64_t{index} + 1) << kWindowShift, std::uint64_t{1} << kWindowShift};
    }

 private:
    class Hold;

    DirectoryState state(std::size_t index) const noexcept;
    void set_state(std::size_t index, DirectoryState state) noexcept;
    std::string name_at(std::size_t index) const;
    std::size_t high() const noexcept;
    std::size_t find(std::string_view name) const noexcept;
    std::size_t find_free() noexcept;
    void look_for_what_was_left() noexcept;
    void reclaim(std::size_t index) noexcept;

    std::shared_ptr<Segment> segment_;
    DirectoryLayout* layout_;
    std::string what_;
    LockWord lock_;
    SpinBudget spin_{};
};

}  // namespace sluice::shm
