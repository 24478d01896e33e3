#include "capture.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "message.hpp"

namespace sluice::pipeline {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{256} << 10;

}  // namespace

struct CaptureReader::File {
    gzFile gz{};
    std::uint64_t bytes{};  // compressed

    File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() {
        if (gz != nullptr) {
            gzclose(gz);
        }
    }
};

CaptureReader::CaptureReader(std::string path, OnProblem on_problem, CaptureOptions options)
    : path_(std::move(path)),
      on_problem_(std::move(on_problem)),
      options_(options),
      file_(std::make_unique<File>()) {
    open();
}

CaptureReader::~CaptureReader() = default;

void CaptureReader::open() {
    struct stat status {};
    errno = 0;
    if (::stat(path_.c_str(), &status) != 0) {
        file_problem(fmt::format("cannot be opened: {}", std::strerror(errno)));
        return;
    }
    if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode)) {
        file_problem("is not a file");
        return;
    }
    file_->bytes = static_cast<std::uint64_t>(status.st_size);
    file_->gz = gzopen(path_.c_str(), "rbe");
    if (file_->gz == nullptr) {
        file_problem(fmt::format("cannot be opened: {}", std::strerror(errno)));
        return;
    }
    gzbuffer(file_->gz, static_cast<unsigned>(kBlockBytes));
    block_.resize(kBlockBytes);
    readable_ = true;
    const bool some = fill();
    // zlib passes on what has no gzip header: good for a capture in plain text, but any other file
    // is a mistake.
    if (gzdirect(file_->gz) != 0 && some && (block_[0] < '0' || block_[0] > '9')) {
        file_problem("is neither a gzip file nor a capture in plain text");
        readable_ = false;
        block_bytes_ = 0;
    } else if (!some && !cut_short_) {
        file_problem("is empty");
    }
}

bool CaptureReader::fill() {
    if (cut_short_) {
        return false;
    }
    block_position_ = 0;
    block_bytes_ = 0;
    const int count = gzread(file_->gz, block_.data(), static_cast<unsigned>(block_.size()));
    int error = Z_OK;
    const char* text = gzerror(file_->gz, &error);
    if (count > 0) {
        block_bytes_ = static_cast<std::size_t>(count);
    }
    if (error == Z_OK || error == Z_STREAM_END) {
        return count > 0;
    }
    cut_short_ = true;
    if (error == Z_BUF_ERROR) {
        file_problem(fmt::format(
            "the gzip file is truncated after line {}; what was there is processed", line_number_));
    } else {
        file_problem(fmt::format(
            "the gzip file is damaged after line {} ({}); what was before it is processed",
            line_number_, error == Z_ERRNO ? std::strerror(errno) : text));
    }
    return count > 0;
}

bool CaptureReader::read_line(std::vector<char>& line, bool& too_long) {
    line.clear();
    too_long = false;
    bool any = false;
    for (;;) {
        if (block_position_ == block_bytes_ && !fill()) {
            return any;
        }
        any = true;
        const char* first = block_.data() + block_position_;
        const std::size_t rest = block_bytes_ - block_position_;
        const void* newline = std::memchr(first, '\n', rest);
        const std::size_t count =
            newline == nullptr
                ? rest
                : static_cast<std::size_t>(static_cast<const char*>(newline) - first);
        too_long = too_long || line.size() + count > options_.line_bytes_max;
        if (!too_long) {
            line.insert(line.end(), first, first + count);
        }
        block_position_ += count;
        if (newline != nullptr) {
            ++block_position_;
            return true;
        }
    }
}

void CaptureReader::bad_line(const std::string& what) {
    ++bad_lines_;
    on_problem_({line_number_, fmt::format("{}, line {}: {}", path_, line_number_, what)});
}

void CaptureReader::file_problem(const std::string& what) {
    on_problem_({0, fmt::format("{}: {}", path_, what)});
}

std::optional<CapturedLine> CaptureReader::next() {
    if (!readable_) {
        return std::nullopt;
    }
    std::vector<char>& line = lines_[1];
    bool too_long = false;
    while (read_line(line, too_long)) {
        ++line_number_;
        if (too_long) {
            bad_line(fmt::format("is longer than {} bytes", options_.line_bytes_max));
            continue;
        }
        while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) {
            line.pop_back();
        }
        const std::size_t bytes = line.size();
        line.resize(bytes + kPaddingBytes, '\0');
        const char* const first = line.data();
        const char* const last = first + bytes;
        std::int64_t receive_ns = 0;
        const std::from_chars_result stamp = std::from_chars(first, last, receive_ns);
        if (stamp.ec != std::errc{} || stamp.ptr == last || *stamp.ptr != ' ' || receive_ns < 0) {
            bad_line(bytes == 0 ? "is empty" : "has no receive time in front of its message");
            continue;
        }
        const char* const json = stamp.ptr + 1;
        lines_[0].swap(lines_[1]);
        return CapturedLine{receive_ns, line_number_,
                            std::string_view(json, static_cast<std::size_t>(last - json))};
    }
    return std::nullopt;
}

SourceProgress CaptureReader::progress() const {
    if (file_->gz == nullptr) {
        return {};
    }
    const auto offset = gzoffset(file_->gz);
    return {offset > 0 ? static_cast<std::uint64_t>(offset) : 0, file_->bytes};
}

}  // namespace sluice::pipeline
