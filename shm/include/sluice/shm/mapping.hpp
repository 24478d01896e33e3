// A piece of shared memory mapped into this process: anonymous (memfd) or a file in /dev/shm. Pages
// are allocated when it is made, so that a full tmpfs is an error here and not a SIGBUS later. What
// grows has room behind them: mapped, too, and allocated step by step before it is used.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sluice/shm/failure.hpp"
#include "sluice/shm/memory_options.hpp"
#include "sluice/shm/node_memory.hpp"

namespace sluice::shm {

/// How a mapping came to be backed.
enum class PageKind : std::uint8_t { normal, transparent_huge, huge };

/// A part of a file that is as good as a file of its own: several objects lie in one file, far
/// apart, and what is between them takes no memory. All zeros: the whole file.
struct FileWindow {
    std::uint64_t begin{};  // a multiple of any page size
    std::uint64_t bytes{};
};

/// What another process needs to map the same memory, once it has inherited the descriptors.
struct MappingPass {
    FileWindow window{};
    std::int32_t descriptor{-1};
    std::int32_t beyond{-1};
    std::uint64_t page_bytes{};
    PageKind page_kind{};
    MemoryOptions options{};
};

/// Owns the address range and its descriptor. Movable. Inherited by fork like any mapping.
class Mapping {
 public:
    Mapping() = default;
    Mapping(Mapping&& other) noexcept { swap(other); }
    Mapping& operator=(Mapping&& other) noexcept {
        swap(other);
        return *this;
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    /// Makes `bytes` of anonymous shared memory; `label` shows in /proc/PID/maps.
    /// Errors: environment: no memory, no huge pages (with HugePages::require), no
    /// such node, RLIMIT_MEMLOCK.
    /// Units: `room_bytes` of it, the last, get no memory as yet: see allocate_pages().
    /// Cost: about ten system calls, and a page fault for each page where prefault is on.
    static std::optional<Mapping> create_anonymous(std::string_view label, std::size_t bytes,
                                                   const MemoryOptions& options, Failure& failure,
                                                   std::size_t room_bytes = 0);

    /// Makes `bytes` of memory in /dev/shm without a name as yet: publish_as() names it when
    /// it is complete, so that nobody ever opens a half-made one, whenever its maker dies.
    static std::optional<Mapping> create_unnamed_file(std::size_t bytes, mode_t mode,
                                                      const MemoryOptions& options,
                                                      Failure& failure, std::size_t room_bytes = 0);

    /// Gives the file its name. False with error EEXIST when the name is taken.
    bool publish_as(const std::string& path, Failure& failure) const;

    /// Opens what publish_as() named, with a shared kernel lock on it for as long as
    /// it is mapped here.
    /// Errors: environment (ENOENT: no such object); not_permitted: another user's, not a
    /// plain file, or one of several names; bad_segment: shorter than `bytes_min`.
    static std::optional<Mapping> open_file(const std::string& path, std::size_t bytes_min,
                                            Failure& failure);

    /// The same file by a description of its own, so that its locks are its own, too. Nothing is
    /// mapped yet. Errors: environment: no descriptor is left, /proc is not there.
    std::optional<Mapping> reopen(Failure& failure) const;
    /// Of a reopened one: from now on it is that window of the file, with a shared kernel lock on
    /// it for as long as it, or a copy that a child inherited, lives.
    bool hold_window(FileWindow window, Failure& failure);
    /// Whether anybody holds that window, through another description than this one's. Unknown
    /// counts as held.
    bool is_window_held(FileWindow window) const noexcept;
    /// Gives all the memory of a window back to the kernel: it reads as zeros then. False: the
    /// memory is kept.
    bool clear_window(FileWindow window) const noexcept;
    /// Fills a held window: maps `bytes` of it, with their pages but for the last `room_bytes`.
    /// Errors: as create_unnamed_file(); environment with EFBIG: it is larger than the window, or
    /// lies beyond what RLIMIT_FSIZE lets this process write.
    bool create_in_window(std::size_t bytes, const MemoryOptions& options, Failure& failure,
                          std::size_t room_bytes = 0);
    /// Maps the header of what lies in a held window. Errors: bad_segment: there is none.
    bool open_in_window(std::size_t bytes_min, const std::string& what, Failure& failure);

    /// The byte of the file that kernel locks on this mapping's byte `number` are set on.
    off_t lock_byte(off_t number) const noexcept {
        return static_cast<off_t>(window_.begin) + number;
    }
    /// Whether that range of the memory beyond the mapped bytes can be there at all.
    bool fits_beyond(std::uint64_t offset, std::uint64_t bytes) const noexcept;

    /// What a process made by execve(2) maps this memory by. The descriptors stay ours.
    MappingPass pass() const noexcept {
        return {window_, descriptor_, beyond_, page_bytes_, page_kind_, options_};
    }

    /// Maps what another process passed on, by duplicates of the descriptors inherited from it, so
    /// that it may come several times. Its locks are those of the inherited descriptions.
    /// Errors: environment; bad_segment: not such memory, or shorter than `bytes_min`.
    static std::optional<Mapping> receive(const MappingPass& passed, std::size_t bytes_min,
                                          Failure& failure);

    /// Maps `bytes` of a file of which open_file() or receive() mapped only the header.
    /// Errors: bad_segment: the file is shorter than that.
    bool extend_to(std::size_t bytes, const std::string& path, Failure& failure);

    /// Makes memory for that range of the mapped bytes, where there is none yet. 0, or errno:
    /// ENOSPC where the file system or the memory is full. May be repeated.
    int allocate_pages(std::size_t offset, std::size_t bytes) const noexcept;

    /// Maps `bytes` at `offset` twice in a row, so that a record which wraps round the
    /// end is contiguous. Both must be multiples of page_bytes(). The caller unmaps 2
    /// x `bytes`. Null on failure.
    std::byte* map_twice(std::size_t offset, std::size_t bytes, Failure& failure) const;

    std::byte* data() const noexcept { return data_; }
    std::size_t bytes() const noexcept { return bytes_; }
    std::size_t page_bytes() const noexcept { return page_bytes_; }
    PageKind page_kind() const noexcept { return page_kind_; }
    int descriptor() const noexcept { return descriptor_; }
    FileWindow window() const noexcept { return window_; }

    /// Where the pages lie, read back from the kernel.
    NodeReport node_report() const { return read_placement(data_, bytes_, options_); }

    /// Memory beyond the mapped bytes, at `offset` from their end: for values that do
    /// not fit their slot. It is written and read by system call, so a full tmpfs is
    /// an error (ENOSPC) and not a signal.
    bool write_beyond(std::uint64_t offset, std::span<const std::byte> bytes,
                      Failure& failure) const;
    bool read_beyond(std::uint64_t offset, std::span<std::byte> bytes, Failure& failure) const;
    /// Gives the memory of that range back to the kernel. Errors are ignored: the
    /// memory is then kept.
    void release_beyond(std::uint64_t offset, std::uint64_t bytes) const noexcept;
    /// Memory that the kernel holds for the whole object; where that is a window, for the whole
    /// file. Units: bytes.
    std::uint64_t bytes_allocated() const noexcept;

 private:
    void swap(Mapping& other) noexcept;
    bool finish_creation(std::string_view what, std::size_t room_bytes, Failure& failure);
    bool fill(std::string_view what, std::size_t room_bytes, Failure& failure);
    bool map(std::string_view what, Failure& failure);
    int beyond_descriptor() const noexcept { return beyond_ >= 0 ? beyond_ : descriptor_; }
    std::uint64_t beyond_start() const noexcept {
        return beyond_ >= 0 ? 0 : window_.begin + bytes_;
    }

    std::byte* data_{};
    std::size_t bytes_{};
    std::size_t page_bytes_{};
    PageKind page_kind_{};
    int descriptor_{-1};
    // A plain memfd where descriptor_ is of huge pages, which cannot be written by call.
    int beyond_{-1};
    FileWindow window_{};
    MemoryOptions options_{};
};

/// The path of a named object. Errors: bad_argument: a name is 1 to 200 of
/// [A-Za-z0-9._-], not beginning with a dot.
std::optional<std::string> path_of(std::string_view name, Failure& failure);

}  // namespace sluice::shm
