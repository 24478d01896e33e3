// Finding windows, naming what lies in them, clearing those that nobody holds.
#include "sluice/shm/directory.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace sluice::shm {
namespace {

constexpr std::size_t kObjects = DirectoryLayout::kObjects;
constexpr std::size_t kNone = kObjects;

std::size_t index_of(FileWindow window) noexcept {
    return static_cast<std::size_t>(window.begin >> Directory::kWindowShift) - 1;
}

}  // namespace

/// The table's lock, for as long as this lives.
class Directory::Hold {
 public:
    Hold(Directory& directory, Deadline deadline, Failure& failure)
        : directory_(&directory), me_(directory.segment_->members().join(failure)) {
        if (me_ == kNobody) {
            return;
        }
        // Abandoned or not: what a dead one has left is put right by whoever comes by.
        const LockResult result = directory.lock_.lock(me_, Wait::spin_then_park, directory.spin_,
                                                       deadline, IfAbandoned::take);
        is_held_ = result == LockResult::done;
        if (result == LockResult::damaged) {
            failure.set(FailureKind::bad_segment,
                        directory.what_ +
                            " is damaged, something else wrote to its memory: remove "
                            "it and make it anew");
        }
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() {
        if (is_held_) {
            static_cast<void>(directory_->lock_.unlock(me_));
        }
    }
    explicit operator bool() const noexcept { return is_held_; }

 private:
    Directory* directory_;
    MemberId me_;
    bool is_held_{};
};

std::uint64_t Directory::layout_signature() noexcept {
    std::uint64_t hash = fnv1a("directory: lock, states, names; a window of offsets for each");
    hash = fnv1a(LockWord::layout_signature(), hash);
    hash = fnv1a(kWindowShift, hash);
    return fnv1a(sizeof(DirectoryLayout), hash);
}

void Directory::initialise(std::byte* body) noexcept {
    new (body) DirectoryLayout{};
}

Directory::Directory(std::shared_ptr<Segment> segment, std::string what)
    : segment_(std::move(segment)),
      layout_(reinterpret_cast<DirectoryLayout*>(segment_->body())),
      what_(std::move(what)),
      lock_(layout_->lock, segment_->members()) {
    segment_->members().set_sweeper({[](void* directory, MemberId id, const DeadTenant& dead) {
                                         static_cast<Directory*>(directory)->lock_.sweep(id, dead);
                                     },
                                     this});
}

DirectoryState Directory::state(std::size_t index) const noexcept {
    return static_cast<DirectoryState>(
        layout_->states[index].load(std::memory_order_acquire));  // A1
}

void Directory::set_state(std::size_t index, DirectoryState state) noexcept {
    layout_->states[index].store(static_cast<std::uint32_t>(state),
                                 std::memory_order_release);  // R1
}

std::string Directory::name_at(std::size_t index) const {
    const char* name = layout_->names[index];
    return {name, strnlen(name, DirectoryLayout::kNameBytes)};
}

std::size_t Directory::high() const noexcept {
    // relaxed: under the lock. Input: bounded
    return std::min<std::size_t>(layout_->high.load(std::memory_order_relaxed), kObjects);
}

std::size_t Directory::find(std::string_view name) const noexcept {
    const std::size_t end = high();
    for (std::size_t index = 0; index < end; ++index) {
        if (state(index) == DirectoryState::named &&
            name == std::string_view(layout_->names[index],
                                     strnlen(layout_->names[index], DirectoryLayout::kNameBytes))) {
            return index;
        }
    }
    return kNone;
}

void Directory::reclaim(std::size_t index) noexcept {
    const FileWindow window = window_of(index);
    if (state(index) == DirectoryState::used && !segment_->mapping().is_window_held(window) &&
        segment_->mapping().clear_window(window)) {
        set_state(index, DirectoryState::free);
    }
}

// Whoever makes something looks at some entries: more would make many objects cost ever more.
void Directory::look_for_what_was_left() noexcept {
    constexpr std::uint32_t kLooks = 16;
    const std::size_t end = high();
    if (end == 0) {
        return;
    }
    // relaxed: a hint
    const std::uint32_t start = layout_->cursor.load(std::memory_order_relaxed);
    for (std::uint32_t look = 0; look < kLooks; ++look) {
        reclaim((start + look) % end);
    }
    layout_->cursor.store(start + kLooks, std::memory_order_relaxed);  // as above
}

std::size_t Directory::find_free() noexcept {
    const std::size_t end = high();
    for (std::size_t index = 0; index < end; ++index) {
        if (state(index) == DirectoryState::free) {
            return index;
        }
    }
    if (end < kObjects) {
        // relaxed: published by the state, R1
        layout_->high.store(static_cast<std::uint32_t>(end + 1), std::memory_order_relaxed);
        return end;
    }
    // None is free: now all that may have been left are looked at.
    std::size_t found = kNone;
    for (std::size_t index = 0; index < kObjects; ++index) {
        reclaim(index);
        if (found == kNone && state(index) == DirectoryState::free) {
            found = index;
        }
    }
    return found;
}

std::optional<Mapping> Directory::make_window(Failure& failure) {
    auto window = segment_->mapping().reopen(failure);
    if (!window) {
        return std::nullopt;
    }
    const Hold hold(*this, Deadline::never(), failure);
    if (!hold) {
        return std::nullopt;
    }
    look_for_what_was_left();
    const std::size_t index = find_free();
    if (index == kNone) {
        errno = ENOSPC;
        failure.environment(what_ + " holds " + std::to_string(kObjects) +
                            " objects, which is the most: remove some");
        return std::nullopt;
    }
    // Held first: a used one that nobody holds is anybody's to clear.
    if (!window->hold_window(window_of(index), failure)) {
        return std::nullopt;
    }
    set_state(index, DirectoryState::used);
    return window;
}

bool Directory::publish(const Mapping& window, std::string_view name, Failure& failure) {
    const Hold hold(*this, Deadline::never(), failure);
    if (!hold) {
        return false;
    }
    if (find(name) != kNone) {
        errno = EEXIST;
        failure.environment("making " + describe(name));
        return false;
    }
    const std::size_t index = index_of(window.window());
    char* to = layout_->names[index];
    std::memcpy(to, name.data(), name.size());
    to[name.size()] = '\0';
    set_state(index, DirectoryState::named);
    return true;
}

std::optional<Mapping> Directory::open_window(std::string_view name, Failure& failure) {
    auto window = segment_->mapping().reopen(failure);
    if (!window) {
        return std::nullopt;
    }
    const Hold hold(*this, Deadline::never(), failure);
    if (!hold) {
        return std::nullopt;
    }
    const std::size_t index = find(name);
    if (index == kNone) {
        errno = ENOENT;
        failure.environment("opening " + describe(name));
        return std::nullopt;
    }
    if (!window->hold_window(window_of(index), failure)) {
        return std::nullopt;
    }
    return window;
}

void Directory::let_go(FileWindow window) noexcept {
    const std::size_t index = index_of(window);
    // Not at any price: what is left here is cleared by whoever makes something next.
    if (state(index) != DirectoryState::used || segment_->members().id_if_any() == kNobody) {
        return;
    }
    Failure ignored;
    if (const Hold hold(*this, Deadline::passed(), ignored); hold) {
        reclaim(index);
    }
}

std::string Directory::describe(std::string_view name) const {
    return what_ + ": \"" + std::string(name) + '"';
}

bool Directory::remove(std::string_view name, Failure& failure) {
    const Hold hold(*this, Deadline::never(), failure);
    if (!hold) {
        return false;
    }
    const std::size_t index = find(name);
    if (index == kNone) {
        errno = ENOENT;
        failure.environment("removing " + describe(name));
        return false;
    }
    set_state(index, DirectoryState::used);
    reclaim(index);
    return true;
}

bool Directory::contains(std::string_view name, Failure& failure) {
    const Hold hold(*this, Deadline::never(), failure);
    return hold && find(name) != kNone;
}

std::vector<DirectoryEntry> Directory::list(Failure& failure) {
    std::vector<DirectoryEntry> entries;
    const Hold hold(*this, Deadline::never(), failure);
    if (!hold) {
        return entries;
    }
    const std::size_t end = high();
    for (std::size_t index = 0; index < end; ++index) {
        if (state(index) != DirectoryState::named) {
            continue;
        }
        DirectoryEntry entry;
        entry.name = name_at(index);
        const FileWindow window = window_of(index);
        std::uint32_t kind = 0;
        char text[SegmentLayout::kTypeTextBytes]{};
        const int file = segment_->mapping().descriptor();
        const auto at = [&](std::size_t offset) {
            return static_cast<off_t>(window.begin + offset);
        };
        if (pread(file, &kind, sizeof kind, at(offsetof(SegmentLayout, kind))) == sizeof kind &&
            pread(file, text, sizeof text, at(offsetof(SegmentLayout, type_text))) > 0) {
            entry.kind = static_cast<SegmentKind>(kind);
            entry.type_text.assign(text, strnlen(text, sizeof text));
        }
        entries.push_back(std::move(entry));
    }
    return entries;
}

}  // namespace sluice::shm
