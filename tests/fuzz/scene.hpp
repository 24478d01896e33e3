// A segment in some state, which programs damage and use: what every scene of the driver has.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/segment_driver.hpp"
#include "sluice/shm/mpmc_ring.hpp"
#include "sluice/shm/segment.hpp"

namespace sluice::fuzz {

inline constexpr auto kMoment = std::chrono::microseconds(1);
inline constexpr std::string_view kStem = "fuzz-";

/// Takes a program apart.
class Reader {
 public:
    explicit Reader(std::span<const std::uint8_t> bytes) : left_(bytes) {}

    bool done() const noexcept { return left_.empty(); }
    std::uint8_t byte() noexcept { return static_cast<std::uint8_t>(number<1>()); }
    std::uint16_t half() noexcept { return static_cast<std::uint16_t>(number<2>()); }
    std::uint64_t word() noexcept { return number<8>(); }

 private:
    template <std::size_t kBytes>
    std::uint64_t number() noexcept {
        std::uint64_t value = 0;
        const std::size_t have = std::min(kBytes, left_.size());
        if (have != 0) {
            std::memcpy(&value, left_.data(), have);
        }
        left_ = left_.subspan(have);
        return value;
    }

    std::span<const std::uint8_t> left_;
};

inline void require(bool holds, const std::string& what) {
    if (!holds) {
        throw std::logic_error("fuzz: " + what + ": " + std::strerror(errno));
    }
}

inline std::string path_of_name(const std::string& name) {
    return "/dev/shm/sluice." + name;
}

inline std::string fresh_name() {
    static unsigned count = 0;
    return std::string(kStem) + std::to_string(getpid()) + "-" + std::to_string(count++);
}

/// Runs the function in a child that is killed afterwards: its claims and its ends stay behind.
template <class Function>
void leave_a_corpse(Function&& function) {
    const pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        function();
        raise(SIGKILL);
        _exit(1);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    require(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "a child ended by itself");
}

/// A segment in some state, and a way to use it.
class Scene {
 public:
    explicit Scene(std::string title) : title_(std::move(title)), name_(fresh_name()) {}
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;
    virtual ~Scene() {
        munmap(live_, bytes_);
        ::close(descriptor_);
        ::unlink(path_of_name(name_).c_str());
    }

    const std::string& title() const noexcept { return title_; }
    const std::string& name() const noexcept { return name_; }

    /// The segment as it was made. No handle may be open.
    void restore() {
        if (file_bytes_ != bytes_) {
            require(ftruncate(descriptor_, static_cast<off_t>(bytes_)) == 0, "ftruncate");
            file_bytes_ = bytes_;
        }
        std::memcpy(live_, image_.data(), bytes_);
        if (has_memory_beside_) {
            require(ftruncate(descriptor_, static_cast<off_t>(bytes_)) == 0, "ftruncate");
            for (const Piece& piece : beside_) {
                require(pwrite(descriptor_, piece.bytes.data(), piece.bytes.size(), piece.offset) ==
                            static_cast<ssize_t>(piece.bytes.size()),
                        "pwrite");
            }
        }
        damaged_ = false;
        header_damaged_ = false;
    }

    void patch(std::uint8_t kind, Reader& program, bool in_use);
    bool damaged() const noexcept { return damaged_; }

    void open() {
        expect_mapping_end();
        open_handle();
    }
    virtual bool is_open() const noexcept = 0;
    virtual void close() = 0;
    virtual void operate(std::uint8_t operation, std::uint8_t argument) = 0;

 protected:
    virtual void open_handle() = 0;

    /// Before each opening. A damaged header may make use of what is left of the last page.
    void expect_mapping_end() const noexcept {
        expected_mapping_end = {bytes_, header_damaged_ ? 0 : used_bytes_};
    }
    /// To be called when the segment is as the programs are to find it.
    void capture(bool has_memory_beside = false) {
        descriptor_ = ::open(path_of_name(name_).c_str(), O_RDWR | O_CLOEXEC);
        require(descriptor_ >= 0, "open");
        shm::SegmentLayout header{};
        require(pread(descriptor_, &header, sizeof header, 0) == sizeof header, "pread");
        bytes_ = header.total_bytes;
        file_bytes_ = bytes_;
        void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
        require(memory != MAP_FAILED, "mmap");
        live_ = static_cast<std::byte*>(memory);
        image_.assign(live_, live_ + bytes_);
        body_offset_ = header.body_offset;
        capacity_ = header.capacity;
        element_bytes_ = header.element_bytes;
        kind_ = static_cast<shm::SegmentKind>(header.kind);
        has_memory_beside_ = has_memory_beside;
        if (has_memory_beside) {
            capture_beside();
        }
    }
    /// How many bytes of the mapping the segment uses, for the guards.
    void set_used_bytes(std::size_t body_bytes) noexcept {
        used_bytes_ = body_offset_ + body_bytes;
    }
    /// Changes the state that was captured.
    void set_word(std::size_t offset, std::uint64_t value) {
        std::memcpy(image_.data() + offset, &value, sizeof value);
    }
    std::size_t body_offset() const noexcept { return body_offset_; }

 private:
    struct Piece {
        off_t offset;
        std::vector<std::byte> bytes;
    };

    void capture_beside() {
        for (auto at = static_cast<off_t>(bytes_);;) {
            const off_t from = lseek(descriptor_, at, SEEK_DATA);
            if (from < 0) {
                return;
            }
            at = lseek(descriptor_, from, SEEK_HOLE);
            Piece piece{from, std::vector<std::byte>(static_cast<std::size_t>(at - from))};
            require(pread(descriptor_, piece.bytes.data(), piece.bytes.size(), from) > 0, "pread");
            beside_.push_back(std::move(piece));
        }
    }
    void write(std::size_t offset, const void* bytes, std::size_t count) {
        if (offset < file_bytes_) {  // beyond it lies SIGBUS
            std::memcpy(live_ + offset, bytes, std::min(count, file_bytes_ - offset));
            damaged_ = true;
            header_damaged_ = header_damaged_ || offset < sizeof(shm::SegmentLayout);
        }
    }
    std::uint64_t word_at(std::size_t offset) const {
        std::uint64_t value = 0;
        if (offset + sizeof value <= file_bytes_) {
            std::memcpy(&value, live_ + offset, sizeof value);
        }
        return value;
    }
    void patch_word(std::size_t offset, Reader& program);
    bool is_queue() const noexcept { return kind_ == shm::SegmentKind::queue; }
    void patch_control(Reader& program);
    void patch_length(Reader& program);
    void patch_record(Reader& program);
    std::size_t slot_offset(std::size_t slot) const noexcept {
        return body_offset_ + offsetof(shm::MpmcRingLayout, slots) + slot * element_bytes_;
    }

    std::string title_;
    std::string name_;
    int descriptor_{-1};
    std::byte* live_{};
    std::size_t bytes_{};
    std::size_t file_bytes_{};  // fewer once a program has cut the file
    std::size_t used_bytes_{};
    std::size_t body_offset_{};
    shm::SegmentKind kind_{};
    std::uint64_t capacity_{};
    std::uint64_t element_bytes_{};
    std::vector<std::byte> image_{};
    std::vector<Piece> beside_{};
    bool has_memory_beside_{};
    bool damaged_{};
    bool header_damaged_{};
};

using Scenes = std::vector<std::unique_ptr<Scene>>;

/// Locks, words, containers, a Manager: see object_scenes.cpp.
void add_object_scenes(Scenes& scenes);

}  // namespace sluice::fuzz
