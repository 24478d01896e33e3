// Plays a program against a damaged segment: the driver of the fuzzer and of its regressions.
//
// Every string of bytes is a program. The first byte chooses a scene: a segment of some kind in
// some state, valid, partly filled, perhaps with claims of the dead. Then come commands: patches of
// the segment's bytes, through a second mapping of the file, and operations on a handle, which is
// opened by name at the first of them. Patches before it are a damaged file, patches after it are a
// scribbler. Which byte means what is in segment_driver.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sluice::fuzz {

class Scene;

/// The scenes of one process. They are made once, and put in order before each program: what an
/// operation costs is an open, not a process.
class SegmentDriver {
 public:
    SegmentDriver();
    SegmentDriver(const SegmentDriver&) = delete;
    SegmentDriver& operator=(const SegmentDriver&) = delete;
    ~SegmentDriver();

    /// Runs one program.
    /// Errors: only what must not happen: any exception that is no sluice::Error, system_error,
    /// invalid_argument, length_error or out_of_range; std::logic_error where an undamaged segment
    /// is refused.
    void run(std::span<const std::uint8_t> program);

    std::size_t scene_count() const noexcept { return scenes_.size(); }
    std::string scene_name(std::size_t index) const;

 private:
    std::vector<std::unique_ptr<Scene>> scenes_;
};

/// Where the mapping that the library makes next ends, as far as the segment uses its last page:
/// the rest is poisoned where there is an AddressSanitizer. 0: unknown. See guarded_mapping.cpp.
struct MappingEnd {
    std::size_t mapped_bytes{};
    std::size_t used_bytes{};
};
extern MappingEnd expected_mapping_end;

}  // namespace sluice::fuzz
