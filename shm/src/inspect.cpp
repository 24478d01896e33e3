// Opening what is looked at; the header; who takes part, and whether he lives.
#include "sluice/shm/inspect.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "inspect_body.hpp"
#include "sluice/shm/identity.hpp"

namespace sluice::shm {
namespace {

namespace fs = std::filesystem;
using inspection::Bytes;

constexpr std::uint32_t kMembersMax = 65'535;
constexpr const char* kDirectory = "/dev/shm";
constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ, Linux 5.14

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

}  // namespace

char inspection::state_of(std::int32_t pid, std::int32_t thread) {
    const std::string text = first_line("/proc/" + std::to_string(pid) + "/task/" +
                                        std::to_string(thread != 0 ? thread : pid) + "/stat");
    const std::size_t end = text.rfind(')');
    return end == std::string::npos || end + 2 >= text.size() ? '\0' : text[end + 2];
}

std::string inspection::name_of(std::int32_t pid) {
    return first_line("/proc/" + std::to_string(pid) + "/comm");
}

namespace {

void describe(Participant& participant) {
    participant.name = inspection::name_of(participant.pid);
    const char state = inspection::state_of(participant.pid, participant.thread);
    if (state == 'T' || state == 't') {
        participant.vitality = Vitality::stopped;
    }
    participant.asleep = state == 'S';
}

/// The table of bells that a segment's members refer to, read and not mapped.
class RegistryReader {
 public:
    RegistryReader(uid_t user, std::uint64_t nonce) {
        descriptor_ = ::open(RegistryLayout::path_of(user).c_str(),
                             O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        RegistryLayout header{};
        if (descriptor_ >= 0 && (pread(descriptor_, &header, sizeof header, 0) != sizeof header ||
                                 !header.is_ours() || header.nonce != nonce)) {
            close(descriptor_);
            descriptor_ = -1;
        }
    }
    RegistryReader(const RegistryReader&) = delete;
    RegistryReader& operator=(const RegistryReader&) = delete;
    ~RegistryReader() {
        if (descriptor_ >= 0) {
            close(descriptor_);
        }
    }
    bool valid() const noexcept { return descriptor_ >= 0; }

    /// Whose bell that is. As Registry::has_ended(): the bell first, then the incarnation; here
    /// both are of one copy, which a newcomer may have torn, so it is taken twice.
    Participant look_up(std::uint32_t entry, std::uint64_t incarnation) const {
        Participant found;
        found.vitality = Vitality::unknown;
        alignas(BellLayout) std::byte bell[sizeof(BellLayout)];
        if (!valid() || entry >= Registry::kEntries || !copy(entry, bell)) {
            return found;
        }
        if ((word<std::uint64_t>(bell, offsetof(BellLayout, incarnation)) &
             Registry::kIncarnationMask) != incarnation) {
            found.vitality = Vitality::dead;  // the line is somebody else's by now
            return found;
        }
        found.pid = word<std::int32_t>(bell, offsetof(BellLayout, pid));
        found.thread = word<std::int32_t>(bell, offsetof(BellLayout, thread));
        const bool here = word<std::uint64_t>(bell, offsetof(BellLayout, pid_namespace)) ==
                          this_process().pid_namespace;
        found.vitality = (word<std::uint32_t>(bell, 0) & FUTEX_OWNER_DIED) != 0 ? Vitality::dead
                         : here                                                 ? Vitality::alive
                                                                                : Vitality::unknown;
        if (found.vitality == Vitality::alive) {
            describe(found);
        }
        return found;
    }

 private:
    template <class T>
    static T word(const std::byte* bytes, std::size_t offset) noexcept {
        T value{};
        std::memcpy(&value, bytes + offset, sizeof value);
        return value;
    }
    bool copy(std::uint32_t entry, std::byte* bell) const noexcept {
        constexpr int kAttempts = 10;
        const auto at = static_cast<off_t>(RegistryLayout::kHeaderBytes +
                                           std::size_t{entry} * sizeof(BellLayout));
        std::byte again[sizeof(BellLayout)];
        for (int attempt = 0; attempt < kAttempts; ++attempt) {
            if (pread(descriptor_, bell, sizeof(BellLayout), at) != sizeof(BellLayout) ||
                pread(descriptor_, again, sizeof again, at) != sizeof again) {
                return false;
            }
            if (std::memcmp(bell, again, sizeof again) == 0) {
                break;
            }
        }
        return true;
    }

    int descriptor_{-1};
};

void refuse_to_open(const std::string& path, Failure& failure) {
    switch (failure.error) {
        case ELOOP:
            failure.set(FailureKind::not_permitted, path + " is a symbolic link: not followed");
            break;
        case EACCES:
        case EPERM:
            failure.set(FailureKind::not_permitted,
                        path + " may not be read by this process: ask as its owner, or as root");
            break;
        case ENXIO:  // a socket
        case ENODEV:
            failure.set(FailureKind::not_permitted, path + " is not a plain file");
            break;
        default:
            break;
    }
}

}  // namespace

std::string_view to_string(Vitality vitality) noexcept {
    switch (vitality) {
        case Vitality::alive:
            return "alive";
        case Vitality::stopped:
            return "stopped";
        case Vitality::dead:
            return "dead";
        case Vitality::unknown:
            break;
    }
    return "unknown";
}

const Participant* Inspection::find(MemberId id) const noexcept {
    for (const Participant& participant : participants) {
        if (participant.id == id) {
            return &participant;
        }
    }
    return nullptr;
}

std::uint64_t Inspection::unread() const noexcept {
    std::uint64_t sum = 0;
    for (const Flow& flow : flows) {
        sum += flow.depth;
    }
    return sum;
}

bool Inspection::holds_content() const noexcept {
    switch (facts.kind) {
        case SegmentKind::lock:
        case SegmentKind::rlock:
        case SegmentKind::rw_lock:
        case SegmentKind::semaphore:
        case SegmentKind::bounded_semaphore:
        case SegmentKind::event:
        case SegmentKind::condition:
        case SegmentKind::barrier:
            return false;
        case SegmentKind::queue:
        case SegmentKind::pipe:
        case SegmentKind::byte_pipe:
            return !facts.body_known || unread() != 0;
        case SegmentKind::dict:
        case SegmentKind::list:
        case SegmentKind::manager:
            return !facts.body_known || !damages.empty() || gauges.front().value != 0;
        default:
            return true;
    }
}

Inspector::Inspector(Inspector&& other) noexcept {
    *this = std::move(other);
}

Inspector& Inspector::operator=(Inspector&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    std::swap(facts_, other.facts_);
    std::swap(registry_nonce_, other.registry_nonce_);
    std::swap(members_offset_, other.members_offset_);
    return *this;
}

Inspector::~Inspector() {
    if (descriptor_ >= 0) {
        close(descriptor_);
    }
}

std::optional<Inspector> Inspector::open(const std::string& path, Failure& failure) {
    Inspector inspector;
    inspector.path_ = path;
    // A descriptor in /proc is a link that leads to the very file, not to a name.
    const int follow = path.starts_with("/proc/") ? 0 : O_NOFOLLOW;
    inspector.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | follow);
    if (inspector.descriptor_ < 0) {
        failure.environment("open of " + path);
        refuse_to_open(path, failure);
        return std::nullopt;
    }
    if (!inspector.read_header(failure)) {
        return std::nullopt;
    }
    return inspector;
}

bool Inspector::read(std::uint64_t offset, std::span<std::byte> bytes) const noexcept {
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t rc = pread(descriptor_, bytes.data() + done, bytes.size() - done,
                                 static_cast<off_t>(offset + done));
        if (rc > 0) {
            done += static_cast<std::size_t>(rc);
        } else if (rc == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

std::uint64_t Inspector::word(std::uint64_t offset) const noexcept {
    std::uint64_t value = 0;
    return read(offset, std::as_writable_bytes(std::span(&value, 1))) ? value : 0;
}

bool Inspector::read_header(Failure& failure) {
    const auto refuse = [&](const std::string& why) {
        failure.set(FailureKind::bad_segment, path_ + " " + why);
        return false;
    };
    struct stat info {};
    if (fstat(descriptor_, &info) != 0) {
        failure.environment("fstat of " + path_);
        return false;
    }
    if (!S_ISREG(info.st_mode)) {
        failure.set(FailureKind::not_permitted, path_ + " is not a plain file");
        return false;
    }
    const auto file_bytes = static_cast<std::uint64_t>(info.st_size);
    if (file_bytes < sizeof(SegmentLayout)) {
        return refuse("is not a sluice segment: " + std::to_string(file_bytes) +
                      " bytes are too few for a header");
    }
    const Bytes header(*this, 0, sizeof(SegmentLayout));
    if (!header.valid()) {
        return refuse("cannot be read: it was cut meanwhile");
    }
    if (header.u64(offsetof(SegmentLayout, magic)) != SegmentLayout::kMagic) {
        return refuse("is not a sluice segment (wrong magic)");
    }
    if (header.u32(offsetof(SegmentLayout, ready)) != SegmentLayout::kReady) {
        return refuse("is a sluice segment that was never completed, or is damaged");
    }
    if (const auto version = header.u32(offsetof(SegmentLayout, version));
        version != SegmentLayout::kVersion) {
        return refuse("is of segment version " + std::to_string(version) +
                      ", this build reads version " + std::to_string(SegmentLayout::kVersion));
    }
    facts_.kind = static_cast<SegmentKind>(header.u32(offsetof(SegmentLayout, kind)));
    facts_.type_signature = header.u64(offsetof(SegmentLayout, type_signature));
    facts_.capacity = header.u64(offsetof(SegmentLayout, capacity));
    facts_.element_bytes = header.u64(offsetof(SegmentLayout, element_bytes));
    facts_.options = header.u32(offsetof(SegmentLayout, options));
    facts_.member_capacity = header.u32(offsetof(SegmentLayout, member_capacity));
    facts_.nonce = header.u64(offsetof(SegmentLayout, segment_nonce));
    facts_.total_bytes = header.u64(offsetof(SegmentLayout, total_bytes));
    facts_.body_offset = header.u64(offsetof(SegmentLayout, body_offset));
    facts_.owner = info.st_uid;
    facts_.mode = info.st_mode & 07777U;
    facts_.inode = info.st_ino;
    registry_nonce_ = header.u64(offsetof(SegmentLayout, registry_nonce));
    members_offset_ = header.u64(offsetof(SegmentLayout, members_offset));
    facts_.type_text = inspection::printable(header, offsetof(SegmentLayout, type_text),
                                             SegmentLayout::kTypeTextBytes);
    if (facts_.member_capacity == 0 || facts_.member_capacity > kMembersMax ||
        members_offset_ != round_up(sizeof(SegmentLayout), kIsolationBytes) ||
        facts_.body_offset % kIsolationBytes != 0 ||
        facts_.body_offset < members_offset_ + MembersLayout::bytes(facts_.member_capacity) ||
        facts_.body_offset >= facts_.total_bytes) {
        return refuse("has a damaged header: its offsets do not fit together");
    }
    if (facts_.total_bytes > file_bytes) {
        return refuse("is truncated: its header says " + std::to_string(facts_.total_bytes) +
                      " bytes, the file has " + std::to_string(file_bytes));
    }
    facts_.body_bytes = facts_.total_bytes - facts_.body_offset;
    const std::uint64_t signature = header.u64(offsetof(SegmentLayout, layout_signature));
    facts_.body_known = inspection::knows_layout(facts_, signature);
    facts_.body_fits = !facts_.body_known || inspection::fits(*this, signature);
    facts_.body_known = facts_.body_known && facts_.body_fits;
    return true;
}

Inspection Inspector::look() const {
    Inspection seen;
    seen.facts = facts_;
    struct stat info {};
    if (fstat(descriptor_, &info) == 0) {
        constexpr std::uint64_t kBlockBytes = 512;
        seen.facts.bytes_allocated = static_cast<std::uint64_t>(info.st_blocks) * kBlockBytes;
    }
    // Without a name it is there only because somebody has it.
    seen.facts.in_use = info.st_nlink == 0 || is_locked(0, 1);

    const bool is_pipe = inspection::is_pipe(facts_.kind);
    if (is_pipe) {
        MemberId id = 0;
        for (const inspection::PipeEnd& end : inspection::pipe_ends(*this)) {
            ++id;
            if (!end.identity_known) {
                continue;
            }
            Participant owner;
            owner.id = id;
            owner.pid = end.identity.pid;
            const Liveness liveness = process_liveness(end.identity);
            owner.vitality = liveness == Liveness::alive  ? Vitality::alive
                             : liveness == Liveness::dead ? Vitality::dead
                                                          : Vitality::unknown;
            if (owner.vitality == Vitality::alive) {
                describe(owner);
            }
            seen.participants.push_back(owner);
        }
    } else {
        const RegistryReader registry(facts_.owner, registry_nonce_);
        const Bytes cells(*this, members_offset_ + offsetof(MembersLayout, cells),
                          std::size_t{facts_.member_capacity} * sizeof(std::uint64_t));
        for (std::uint32_t index = 0; index < facts_.member_capacity; ++index) {
            const std::uint64_t cell = cells.u64(index * sizeof(std::uint64_t));
            if (cell == 0) {
                continue;
            }
            const auto entry = static_cast<std::uint32_t>(cell & 0xff'ffffU) - 1U;
            Participant member = registry.look_up(entry, cell >> 24U);
            member.id = static_cast<MemberId>(index + 1U);
            seen.participants.push_back(member);
        }
        seen.bells_known = registry.valid();
        if (!registry.valid() && !seen.participants.empty()) {
            seen.doubts.emplace_back(
                "who takes part cannot be told: the table of participants is another, or may not "
                "be read");
        }
    }
    if (facts_.body_known) {
        inspection::decode_body(*this, seen);
    } else if (!facts_.body_fits) {
        seen.damages.emplace_back("the numbers in its header do not fit its size");
    } else {
        seen.doubts.emplace_back(
            "only header and members can be read: this build does not know "
            "the layout of its body");
    }
    return seen;
}

// Asks whether an exclusive lock would be refused; takes none.
bool Inspector::is_locked(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    struct flock request {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    request.l_start = static_cast<off_t>(offset);
    request.l_len = static_cast<off_t>(bytes);
    return fcntl(descriptor_, F_OFD_GETLK, &request) == 0 && request.l_type != F_UNLCK;
}

std::uint64_t Inspector::page_bytes() const noexcept {
    struct statfs filesystem {};
    return fstatfs(descriptor_, &filesystem) == 0 && filesystem.f_bsize > 0
               ? static_cast<std::uint64_t>(filesystem.f_bsize)
               : 0;
}

PageReport Inspector::pages() const {
    PageReport report;
    report.page_bytes = page_bytes();
    const std::size_t bytes = facts_.total_bytes;
    void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor_, 0);
    if (mapped == MAP_FAILED) {
        return report;
    }
    // The kernel tells of pages that this process has mapped: so they are, without a load of ours,
    // where there are any (a fault in a hole would make one). A file that was cut is an error here.
    // Holes are not asked about: what may grow to 64 GiB has millions of absent pages.
    auto* base = static_cast<char*>(mapped);
    off_t at = 0;
    std::size_t pages_found = 0;
    while (at < static_cast<off_t>(bytes)) {
        const off_t data = lseek(descriptor_, at, SEEK_DATA);
        if (data < 0 || data >= static_cast<off_t>(bytes)) {
            break;
        }
        off_t hole = lseek(descriptor_, data, SEEK_HOLE);
        hole = hole < 0 ? static_cast<off_t>(bytes) : std::min(hole, static_cast<off_t>(bytes));
        const auto page = static_cast<off_t>(sysconf(_SC_PAGESIZE));
        const off_t first = data / page * page;
        const auto length = static_cast<std::size_t>(hole - first);
        static_cast<void>(madvise(base + first, length, kPopulateRead));
        const NodeReport part = read_placement(base + first, length, {});
        report.nodes.policy = part.policy;
        if (report.nodes.pages_on_node.size() < part.pages_on_node.size()) {
            report.nodes.pages_on_node.resize(part.pages_on_node.size());
        }
        for (std::size_t node = 0; node < part.pages_on_node.size(); ++node) {
            report.nodes.pages_on_node[node] += part.pages_on_node[node];
            pages_found += part.pages_on_node[node];
        }
        at = std::max(hole, data + 1);
    }
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    report.nodes.pages_absent = round_up(bytes, page) / page - pages_found;
    std::ifstream maps("/proc/self/smaps");
    char begin[32];
    *std::to_chars(begin, begin + sizeof begin - 1, reinterpret_cast<std::uintptr_t>(mapped), 16)
         .ptr = '\0';
    bool ours = false;
    for (std::string line; std::getline(maps, line);) {
        if (line.find('-') != std::string::npos && line.find(':') > line.find('-')) {
            ours = line.starts_with(begin + std::string("-"));
        } else if (ours && line.starts_with("ShmemPmdMapped:")) {
            report.huge_bytes = std::strtoull(line.c_str() + 15, nullptr, 10) * 1024;
            break;
        }
    }
    munmap(mapped, bytes);
    return report;
}

bool begins_as_segment(const std::string& path) noexcept {
    const int descriptor =
        ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0) {
        return false;
    }
    std::uint64_t magic = 0;
    const bool is_read = pread(descriptor, &magic, sizeof magic, 0) == sizeof magic;
    close(descriptor);
    return is_read && magic == SegmentLayout::kMagic;
}

std::vector<std::string> list_named_segments() {
    std::vector<std::string> paths;
    std::error_code error;
    for (fs::directory_iterator entry(kDirectory, error), end; !error && entry != end;
         entry.increment(error)) {
        if (entry->path().filename().string().starts_with("sluice.")) {
            paths.push_back(entry->path().string());
        }
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

std::vector<std::string> list_anonymous_segments() {
    std::vector<std::string> paths;
    std::set<std::pair<dev_t, ino_t>> known;
    std::error_code error;
    for (fs::directory_iterator process("/proc", error), end; !error && process != end;
         process.increment(error)) {
        const std::string pid = process->path().filename().string();
        if (pid.empty() || pid.front() < '0' || pid.front() > '9') {
            continue;
        }
        std::error_code refused;  // another user's, or it has just ended
        for (fs::directory_iterator link(process->path() / "fd", refused);
             !refused && link != fs::directory_iterator(); link.increment(refused)) {
            std::error_code gone;
            const std::string target = fs::read_symlink(link->path(), gone).string();
            struct stat info {};
            if (target.starts_with("/memfd:sluice:") &&
                !target.starts_with("/memfd:sluice:registry") &&
                stat(link->path().c_str(), &info) == 0 &&
                known.emplace(info.st_dev, info.st_ino).second) {
                paths.push_back(link->path().string());
            }
        }
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

}  // namespace sluice::shm
