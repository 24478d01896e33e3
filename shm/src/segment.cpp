// Making, checking and opening segments.
#include "sluice/shm/segment.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace sluice::shm {
namespace {

constexpr std::uint32_t kMembersMax = 65'535;

// seq_cst: a serial is taken when its segment is complete, so whoever has read a count as high as
// that, and forks then, has copied the whole of it.
constinit std::atomic<std::uint64_t> last_segment{0};

}  // namespace

std::uint64_t segment_layout_signature(std::uint64_t body) noexcept {
    std::uint64_t hash = fnv1a("sluice segment");
    hash = fnv1a(sizeof(SegmentLayout), hash);
    hash = fnv1a(SegmentLayout::kVersion, hash);
    hash = fnv1a(offsetof(MembersLayout, cells), hash);
    return fnv1a(body, hash);
}

std::string_view to_string(SegmentKind kind) noexcept {
    switch (kind) {
        case SegmentKind::queue:
            return "queue";
        case SegmentKind::pipe:
            return "pipe";
        case SegmentKind::byte_pipe:
            return "byte_pipe";
        case SegmentKind::lock:
            return "lock";
        case SegmentKind::rlock:
            return "rlock";
        case SegmentKind::rw_lock:
            return "rw_lock";
        case SegmentKind::semaphore:
            return "semaphore";
        case SegmentKind::bounded_semaphore:
            return "bounded_semaphore";
        case SegmentKind::event:
            return "event";
        case SegmentKind::condition:
            return "condition";
        case SegmentKind::barrier:
            return "barrier";
        case SegmentKind::guarded:
            return "guarded";
        case SegmentKind::pool:
            return "pool";
        case SegmentKind::dict:
            return "dict";
        case SegmentKind::list:
            return "list";
        case SegmentKind::value:
            return "value";
        case SegmentKind::array:
            return "array";
        case SegmentKind::manager:
            return "manager";
    }
    return "unknown";
}

std::uint64_t Segment::last_serial() noexcept {
    return last_segment.load(std::memory_order_seq_cst);  // as above
}

Segment::~Segment() {
    members_.leave();
    if (home_) {
        const FileWindow window = mapping_.window();
        static_cast<void>(Mapping(std::move(mapping_)));  // let go of it first
        home_->let_go(window);
    }
}

namespace {

std::optional<Mapping> map_new(const SegmentPlace& place, const SegmentSpec& spec,
                               std::size_t bytes, const MemoryOptions& options, mode_t mode,
                               Failure& failure) {
    if (place.home) {
        auto window = place.home->make_window(failure);
        if (window && !window->create_in_window(bytes, options, failure, spec.room_bytes)) {
            const FileWindow held = window->window();
            window.reset();
            place.home->let_go(held);
        }
        return window;
    }
    return place.name.empty()
               ? Mapping::create_anonymous(to_string(spec.kind), bytes, options, failure,
                                           spec.room_bytes)
               : Mapping::create_unnamed_file(bytes, mode, options, failure, spec.room_bytes);
}

}  // namespace

std::shared_ptr<Segment> Segment::allocate(const SegmentPlace& place, const SegmentSpec& spec,
                                           const MemoryOptions& options, mode_t mode,
                                           Failure& failure) {
    Registry* registry = Registry::instance(failure);
    if (registry == nullptr) {
        return nullptr;
    }
    if (spec.member_capacity == 0 || spec.member_capacity > kMembersMax) {
        failure.set(FailureKind::bad_argument, "an object has places for 1 to 65535 threads, not " +
                                                   std::to_string(spec.member_capacity));
        return nullptr;
    }
    const std::size_t members_offset = round_up(sizeof(SegmentLayout), kIsolationBytes);
    const std::size_t body_offset =
        round_up(members_offset + MembersLayout::bytes(spec.member_capacity), spec.body_alignment);
    const std::size_t total = body_offset + spec.body_bytes + spec.room_bytes;
    if (!place.name.empty() && !path_of(place.name, failure)) {
        return nullptr;
    }
    auto mapping = map_new(place, spec, total, options, mode, failure);
    if (!mapping) {
        return nullptr;
    }
    std::shared_ptr<Segment> segment(new Segment);
    segment->mapping_ = std::move(*mapping);
    segment->home_ = place.home;
    if (!segment->mapping_.fits_beyond(0, spec.beyond_bytes)) {
        errno = EFBIG;
        failure.environment(std::to_string(spec.beyond_bytes) +
                            " bytes of offsets for values beside their slots: make it smaller, or "
                            "an object with a file of its own");
        return nullptr;
    }
    auto* header = new (segment->mapping_.data()) SegmentLayout{};
    header->magic = SegmentLayout::kMagic;
    header->version = SegmentLayout::kVersion;
    header->kind = static_cast<std::uint32_t>(spec.kind);
    header->layout_signature = segment_layout_signature(spec.layout_signature);
    header->type_signature = spec.type_signature;
    header->total_bytes = segment->mapping_.bytes();
    header->registry_nonce = registry->nonce();
    header->segment_nonce = random_nonce();
    header->members_offset = members_offset;
    header->body_offset = body_offset;
    header->capacity = spec.capacity;
    header->element_bytes = spec.element_bytes;
    header->member_capacity = spec.member_capacity;
    header->options = spec.options;
    const std::size_t text = std::min(spec.type_text.size(), SegmentLayout::kTypeTextBytes - 1);
    std::memcpy(header->type_text, spec.type_text.data(), text);

    segment->name_ = std::string(place.name);
    segment->body_offset_ = body_offset;
    segment->capacity_ = spec.capacity;
    segment->element_bytes_ = spec.element_bytes;
    segment->options_ = spec.options;
    segment->nonce_ = header->segment_nonce;
    auto* members = reinterpret_cast<MembersLayout*>(segment->mapping_.data() + members_offset);
    segment->members_.attach(members, spec.member_capacity, registry);
    segment->serial_ = last_segment.fetch_add(1, std::memory_order_seq_cst) + 1;  // as above
    return segment;
}

bool Segment::publish(Failure& failure) {
    auto* header = reinterpret_cast<SegmentLayout*>(mapping_.data());
    header->ready.store(SegmentLayout::kReady, std::memory_order_release);  // R1
    if (name_.empty()) {
        return true;
    }
    if (home_) {
        return home_->publish(mapping_, name_, failure);
    }
    const auto path = path_of(name_, failure);
    return path && mapping_.publish_as(*path, failure);
}

std::shared_ptr<Segment> Segment::open(const SegmentPlace& place, const SegmentSpec& expected,
                                       Failure& failure) {
    const auto path = path_of(place.name, failure);
    if (!path) {
        return nullptr;
    }
    const std::string what = place.home ? place.home->describe(place.name) : *path;
    auto mapping = place.home ? place.home->open_window(place.name, failure)
                              : Mapping::open_file(*path, sizeof(SegmentLayout), failure);
    if (!mapping) {
        return nullptr;
    }
    std::shared_ptr<Segment> segment(new Segment);
    segment->mapping_ = std::move(*mapping);
    segment->name_ = std::string(place.name);
    segment->home_ = place.home;
    if (place.home && !segment->mapping_.open_in_window(sizeof(SegmentLayout), what, failure)) {
        return nullptr;
    }
    if (!segment->adopt_header(expected, what, failure)) {
        return nullptr;
    }
    return segment;
}

std::shared_ptr<Segment> Segment::receive(const MappingPass& passed, std::string_view name,
                                          const SegmentSpec& expected, Failure& failure) {
    auto mapping = Mapping::receive(passed, sizeof(SegmentLayout), failure);
    if (!mapping) {
        return nullptr;
    }
    std::shared_ptr<Segment> segment(new Segment);
    segment->mapping_ = std::move(*mapping);
    segment->name_ = std::string(name);
    const std::string what = name.empty() ? std::string("the inherited segment") : segment->name_;
    return segment->adopt_header(expected, what, failure) ? segment : nullptr;
}

bool Segment::adopt_header(const SegmentSpec& expected, const std::string& path, Failure& failure) {
    Registry* registry = Registry::instance(failure);
    if (registry == nullptr) {
        return false;
    }
    const auto refuse = [&](const std::string& why) {
        failure.set(FailureKind::bad_segment, path + " " + why);
        return false;
    };
    const std::string remove = "; remove it, or choose another name";
    const std::string end_and_remove = "; end the programs that use it, then remove it";
    const auto* shared = reinterpret_cast<const SegmentLayout*>(mapping_.data());
    if (shared->ready.load(std::memory_order_acquire) != SegmentLayout::kReady) {  // A1
        return refuse("is not a sluice segment, or was never completed" + remove);
    }
    // One copy, then checks of the copy: another process may write while we read.
    struct Copy {
        alignas(8) std::byte bytes[offsetof(SegmentLayout, ready)];
    } copy;
    std::memcpy(copy.bytes, mapping_.data(), sizeof copy.bytes);
    // Nor may the compiler look at the shared bytes again in place of the copy.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const auto* header = reinterpret_cast<const SegmentLayout*>(copy.bytes);
    if (header->magic != SegmentLayout::kMagic) {
        return refuse("is not a sluice segment (wrong magic)" + remove);
    }
    if (header->version != SegmentLayout::kVersion) {
        return refuse("is of segment version " + std::to_string(header->version) +
                      ", this build reads version " + std::to_string(SegmentLayout::kVersion) +
                      end_and_remove);
    }
    if (header->kind != static_cast<std::uint32_t>(expected.kind)) {
        return refuse("is a " + std::string(to_string(static_cast<SegmentKind>(header->kind))) +
                      ", not a " + std::string(to_string(expected.kind)) +
                      "; open it as what it is, or choose another name");
    }
    std::string type(header->type_text, strnlen(header->type_text, SegmentLayout::kTypeTextBytes));
    for (char& character : type) {
        character = character >= ' ' && character <= '~' ? character : '?';
    }
    if (header->type_signature != expected.type_signature) {
        return refuse("carries values of type " + type + ", not " + expected.type_text +
                      "; open it with that type, or choose another name");
    }
    if (header->layout_signature != segment_layout_signature(expected.layout_signature)) {
        return refuse("has another memory layout: it was made by another version of sluice" +
                      end_and_remove);
    }
    const std::uint64_t total = header->total_bytes;
    const std::uint64_t members_end =
        header->members_offset + (header->member_capacity <= kMembersMax
                                      ? MembersLayout::bytes(header->member_capacity)
                                      : 0);
    if (header->member_capacity == 0 || header->member_capacity > kMembersMax ||
        header->members_offset != round_up(sizeof(SegmentLayout), kIsolationBytes) ||
        header->body_offset % kIsolationBytes != 0 || header->body_offset < members_end ||
        header->body_offset >= total || total % mapping_.page_bytes() != 0 || total == 0) {
        return refuse("has a damaged header: its offsets do not fit together; remove it");
    }
    if (header->registry_nonce != registry->nonce()) {
        return refuse(
            "belongs to another table of participants (another user's, or /dev/shm was cleared "
            "while it was in use): its members' deaths could not be seen; remove it");
    }
    if (!mapping_.extend_to(total, path, failure)) {
        return false;
    }
    body_offset_ = header->body_offset;
    capacity_ = header->capacity;
    element_bytes_ = header->element_bytes;
    options_ = header->options;
    nonce_ = header->segment_nonce;
    members_.attach(reinterpret_cast<MembersLayout*>(mapping_.data() + header->members_offset),
                    header->member_capacity, registry);
    serial_ = last_segment.fetch_add(1, std::memory_order_seq_cst) + 1;  // as above
    return true;
}

bool Segment::unlink(std::string_view name, Failure& failure) {
    const auto path = path_of(name, failure);
    if (!path) {
        return false;
    }
    if (::unlink(path->c_str()) != 0) {
        failure.environment("unlink of " + *path);
        return false;
    }
    return true;
}

}  // namespace sluice::shm
