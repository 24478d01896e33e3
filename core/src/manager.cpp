// Making and opening Managers; what lies in them.
#include "sluice/manager.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "sluice/detail/failure.hpp"
#include "sluice/error.hpp"

namespace sluice {
namespace {

detail::ObjectShape shape_of() {
    detail::ObjectShape shape;
    shape.kind = shm::SegmentKind::manager;
    shape.noun = "Manager";
    shape.layout_signature = shm::Directory::layout_signature();
    shape.body_bytes = [](std::uint64_t, std::uint32_t) { return shm::Directory::bytes(); };
    shape.initialise = [](std::byte* body, const detail::ObjectShape&, std::uint32_t) {
        shm::Directory::initialise(body);
    };
    return shape;
}

ManagerOptions with_table_memory(const ManagerOptions& wanted) {
    if (wanted.memory.huge_pages == shm::HugePages::require) {
        throw std::invalid_argument(
            "Manager: its objects share one file, which cannot be of huge pages: use "
            "HugePages::prefer with the objects that need them");
    }
    ManagerOptions options = wanted;
    options.memory.huge_pages = shm::HugePages::off;
    return options;
}

std::shared_ptr<shm::Directory> directory_of(const detail::Origin& origin) {
    const detail::ObjectCore core(origin, shape_of());
    return std::make_shared<shm::Directory>(core.shared_segment(), core.object());
}

void throw_if(const shm::Failure& failure, const shm::Directory& directory) {
    if (failure) {
        detail::throw_failure(directory.what(), failure);
    }
}

}  // namespace

Manager::Manager(std::string_view name, detail::Open how, const ManagerOptions& options)
    : directory_(directory_of({name, how, with_table_memory(options)})) {}

std::shared_ptr<shm::Directory> Manager::received(detail::Unparcel& parcel) {
    return parcel.take_object<shm::Directory>([&] { return directory_of(detail::Origin(parcel)); });
}

void Manager::unlink(std::string_view name) {
    detail::unlink_object("Manager", name);
}

std::vector<ManagerEntry> Manager::entries() const {
    shm::Failure failure;
    std::vector<ManagerEntry> entries;
    for (shm::DirectoryEntry& found : directory_->list(failure)) {
        entries.push_back({std::move(found.name), std::string(to_string(found.kind)),
                           std::move(found.type_text)});
    }
    throw_if(failure, *directory_);
    std::sort(entries.begin(), entries.end(),
              [](const auto& one, const auto& other) { return one.name < other.name; });
    return entries;
}

std::vector<std::string> Manager::names() const {
    std::vector<std::string> names;
    for (ManagerEntry& entry : entries()) {
        names.push_back(std::move(entry.name));
    }
    return names;
}

bool Manager::contains(std::string_view name) const {
    shm::Failure failure;
    const bool found = directory_->contains(name, failure);
    throw_if(failure, *directory_);
    return found;
}

bool Manager::remove(std::string_view name) const {
    shm::Failure failure;
    if (directory_->remove(name, failure)) {
        return true;
    }
    if (failure.error != ENOENT) {
        throw_if(failure, *directory_);
    }
    return false;
}

}  // namespace sluice
